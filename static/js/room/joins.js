// @ts-check
// One line that says who joined and left since the last message. A person who returns in that time
// did not leave.

import { h } from '../dom.js';
import { listText, t } from '../i18n.js';

const NAMED = 4; // names before '+n'

export class JoinLine {
  /** @type {Set<string>} */
  #came = new Set();
  /** @type {Set<string>} */
  #left = new Set();

  /** The line about the time since the last message. */
  element = h('div', { class: 'line joins', testid: 'comings', 'aria-live': 'off', hidden: true });

  /** @param {string} userId @param {boolean} came */
  note(userId, came) {
    if (!came) this.#left.add(userId);
    if (!came) this.#came.delete(userId);
    else if (!this.#left.delete(userId)) this.#came.add(userId);
    this.#draw();
  }

  /** A message arrived: the line moves in front of it. @returns {string} the words for that, or '' */
  settle() {
    if (this.element.hidden) return '';
    const words = this.element.textContent ?? '';
    this.#came.clear();
    this.#left.clear();
    this.#draw();
    return words;
  }

  #draw() {
    const parts = [this.#came.size > 0 && t('cameIn', { name: named(this.#came) }), this.#left.size > 0 && t('wentOut', { name: named(this.#left) })];
    this.element.textContent = parts.filter(Boolean).join(' · ');
    this.element.hidden = this.#came.size + this.#left.size === 0;
  }
}

/** @param {Set<string>} people */
function named(people) {
  const names = [...people].slice(0, NAMED).map((name) => `\u2068${name}\u2069`);
  return listText(names) + (people.size > NAMED ? ` +${people.size - NAMED}` : '');
}

/** The line in front of a message. @param {string} words */
export const joinLineElement = (words) => h('li', { class: 'line joins', testid: 'comings', 'aria-live': 'off' }, words);
