// @ts-check
// Read marks: who has read up to which message. Not needed to show the room, so they are loaded
// right after.

import { h } from '../dom.js';
import { listText } from '../i18n.js';
import { hueOf, initialOf } from '../names.js';
import { lowerBound } from '../protocol.js';
import { t } from './words.js';

const READERS = 4; // faces under a message before '+n'

/**
 * @typedef {import('../store.js').State} State
 * @typedef {import('../store.js').Message} Message
 */

export class Marks {
  /** @type {Map<string, {read: string, at: string}>} userId -> what was read, and the message that shows it */
  #marks = new Map();
  /** @type {Map<string, Set<string>>} message id -> who is shown there */
  #readers = new Map();

  /** @param {State | null} before @param {State} state @param {Map<string, HTMLLIElement>} elements messages by id */
  draw(before, state, elements) {
    const same = before?.reads === state.reads && before?.members === state.members;
    if (same && before?.messages === state.messages) return;
    /** @type {Set<string>} */
    const changed = new Set();
    const shown = new Set([...state.members.keys()].filter((userId) => userId !== state.me && state.reads.has(userId)));
    for (const [userId, mark] of this.#marks) if (!shown.has(userId)) this.#unmark(userId, mark.at, changed);
    for (const userId of shown) this.#mark(state, userId, /** @type {string} */ (state.reads.get(userId)), changed);
    for (const id of changed) {
      const element = elements.get(id);
      if (element) markReaders(element, [...(this.#readers.get(id) ?? [])]);
    }
  }

  /** @param {State} state @param {string} userId @param {string} read @param {Set<string>} changed */
  #mark(state, userId, read, changed) {
    const old = this.#marks.get(userId);
    if (old?.read === read && old.at === read) return;
    const message = this.#readMessage(state, read);
    if (old && message?.id === old.at) return;
    if (old) this.#unmark(userId, old.at, changed);
    if (!message || message.from === userId) return;
    this.#marks.set(userId, { read, at: message.id });
    this.#readers.set(message.id, (this.#readers.get(message.id) ?? new Set()).add(userId));
    changed.add(message.id);
  }

  /** The message itself, or the last one before it. @param {State} state @param {string} read @returns {Message | undefined} */
  #readMessage({ messages }, read) {
    const at = lowerBound(messages, read);
    return messages[at]?.id === read ? messages[at] : messages[at - 1];
  }

  /** @param {string} userId @param {string} at @param {Set<string>} changed */
  #unmark(userId, at, changed) {
    this.#marks.delete(userId);
    this.#readers.get(at)?.delete(userId);
    changed.add(at);
  }
}

/**
 * Shows who has read up to this message.
 * @param {HTMLLIElement} li
 * @param {readonly string[]} names
 */
function markReaders(li, names) {
  li.querySelector('.read-by')?.remove();
  if (names.length === 0) return;
  const label = t('readBy', { names: listText(names) });
  li.append(h('div', { class: 'read-by', testid: 'read-by', role: 'img', 'aria-label': label, 'aria-live': 'off', title: label, data: { names: names.join(',') } },
    ...names.slice(0, READERS).map((name) => h('span', { class: `avatar tiny hue-${hueOf(name)}` }, initialOf(name))),
    names.length > READERS && h('span', { class: 'read-more' }, `+${names.length - READERS}`)));
}
