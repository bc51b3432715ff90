// @ts-check
// The list of people. Whoever leaves stays for a moment, marked as gone.

import { h } from '../dom.js';
import { collator, t } from '../i18n.js';
import { hueOf, initialOf } from '../names.js';

const LEFT_SHOWN = 6_000; // ms

/** @typedef {import('../protocol.js').Status | 'left'} Shown */

const ORDER = { online: 0, away: 1, left: 2 };

export class MemberList {
  /** @type {Map<string, HTMLElement>} */
  #items = new Map();
  /** @type {Map<string, number>} userId -> when it left */
  #left = new Map();
  /** @type {import('../store.js').State | null} */
  #shown = null;
  #signal;

  element = h('ul', { class: 'members', testid: 'members', 'aria-label': t('people') });

  /** @param {AbortSignal} signal */
  constructor(signal) {
    this.#signal = signal;
  }

  /** @param {import('../store.js').State} state */
  render(state) {
    const before = this.#shown;
    if (before?.members === state.members && before.me === state.me) return;
    this.#shown = state;
    for (const userId of before?.members.keys() ?? []) if (!state.members.has(userId)) this.#keepForAMoment(userId);
    for (const userId of state.members.keys()) this.#left.delete(userId);
    this.#draw(state);
  }

  /** @param {string} userId */
  #keepForAMoment(userId) {
    this.#left.set(userId, Date.now());
    setTimeout(() => {
      const since = this.#left.get(userId);
      if (this.#signal.aborted || since === undefined || Date.now() - since < LEFT_SHOWN) return;
      this.#left.delete(userId);
      if (this.#shown) this.#draw(this.#shown);
    }, LEFT_SHOWN);
  }

  /** @param {import('../store.js').State} state */
  #draw({ members, me }) {
    /** @type {[string, Shown][]} */
    const people = [...members, ...[...this.#left.keys()].map((userId) => /** @type {[string, Shown]} */ ([userId, 'left']))];
    people.sort(([a, x], [b, y]) => Number(b === me) - Number(a === me) || ORDER[x] - ORDER[y] || collator.compare(a, b));
    const wanted = people.map(([userId, status]) => this.#item(userId, status, userId === me));
    const now = new Set(wanted);
    for (const [userId, item] of this.#items) if (!now.has(item)) this.#items.delete(userId);
    const same = wanted.length === this.element.children.length && wanted.every((item, i) => item === this.element.children[i]);
    if (!same) this.element.replaceChildren(...wanted);
  }

  /** @param {string} userId @param {Shown} status @param {boolean} isMe */
  #item(userId, status, isMe) {
    const item = this.#items.get(userId) ?? memberElement(userId, isMe);
    this.#items.set(userId, item);
    if (item.dataset.status !== status) {
      item.dataset.status = status;
      /** @type {HTMLElement} */ (item.querySelector('.status')).textContent = t(status);
    }
    return item;
  }
}

/** @param {string} userId @param {boolean} isMe @returns {HTMLElement} */
function memberElement(userId, isMe) {
  return h('li', { class: 'member', testid: 'member', data: { user: userId } },
    h('span', { class: `avatar hue-${hueOf(userId)}`, 'aria-hidden': 'true' }, initialOf(userId)),
    h('span', { class: 'member-name' }, h('bdi', {}, userId), isMe && h('span', { class: 'me' }, t('me'))),
    h('span', { class: 'status' }));
}
