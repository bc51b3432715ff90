// @ts-check
// The list of people. A person who leaves stays in it for a moment, marked as gone.

import { h, icon } from '../dom.js';
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
  #onPerson;

  #list = h('ul', { class: 'members', testid: 'members', 'aria-label': t('people') });
  #count = h('span', { class: 'people-count', testid: 'people-count' });
  #stale = h('p', { class: 'people-stale', testid: 'people-stale', hidden: true }, t('peopleStale'));
  #nobody = h('p', { class: 'people-stale', hidden: true }, t('peopleNobody'));
  #search = h('input', { type: 'search', class: 'field people-search', testid: 'people-search', 'aria-label': t('peopleSearch'), placeholder: t('peopleSearch'), autocomplete: 'off', dir: 'auto', oninput: () => this.#shown && this.#draw(this.#shown) });

  /** The panel: a heading with the close button, a search field, the list. @param {HTMLElement} close @returns {HTMLElement} */
  panel(close) {
    return h('div', { class: 'people-sheet' },
      h('div', { class: 'people-head' }, h('h2', {}, t('people'), this.#count), close), this.#search, this.#stale, this.#nobody, this.#list);
  }

  /** @param {AbortSignal} signal @param {((name: string, at: DOMRect) => void) | null} onPerson what the menu of somebody else opens */
  constructor(signal, onPerson) {
    this.#signal = signal;
    this.#onPerson = onPerson;
  }

  /** @param {import('../store.js').State} state */
  render(state) {
    const before = this.#shown;
    const isStale = state.connection.phase !== 'online' && state.members.size > 0;
    this.#stale.hidden = !isStale;
    this.#list.classList.toggle('stale', isStale);
    if (before?.members === state.members && before.memberCount === state.memberCount && before.me === state.me) return;
    this.#shown = state;
    // If the list has only some of the members, a person missing in it may still be here.
    const gone = state.memberCount > state.members.size ? [] : before?.members.keys() ?? [];
    for (const userId of gone) if (!state.members.has(userId)) this.#keepForAMoment(userId);
    for (const userId of state.members.keys()) this.#left.delete(userId);
    this.#draw(state);
  }

  /** @param {string} userId */
  #keepForAMoment(userId) {
    this.#left.set(userId, performance.now());
    setTimeout(() => {
      const since = this.#left.get(userId);
      if (this.#signal.aborted || since === undefined || performance.now() - since < LEFT_SHOWN) return;
      this.#left.delete(userId);
      if (this.#shown) this.#draw(this.#shown);
    }, LEFT_SHOWN);
  }

  /** @param {import('../store.js').State} state */
  #draw({ members, memberCount, me, creator }) {
    /** @type {[string, Shown][]} */
    const people = [...members, ...[...this.#left.keys()].map((userId) => /** @type {[string, Shown]} */ ([userId, 'left']))];
    this.#count.textContent = memberCount > 0 ? String(memberCount) : '';
    people.sort(([a, x], [b, y]) => Number(b === me) - Number(a === me) || ORDER[x] - ORDER[y] || collator.compare(a, b));
    const sought = this.#search.value.trim().toLocaleLowerCase();
    const found = people.filter(([userId]) => userId.toLocaleLowerCase().includes(sought));
    this.#nobody.hidden = found.length > 0 || people.length === 0;
    const wanted = found.map(([userId, status]) => this.#item(userId, status, userId === me, userId === creator));
    const now = new Set(wanted);
    for (const [userId, item] of this.#items) if (!now.has(item)) this.#items.delete(userId);
    const same = wanted.length === this.#list.children.length && wanted.every((item, i) => item === this.#list.children[i]);
    if (!same) this.#list.replaceChildren(...wanted);
  }

  /** @param {string} userId @param {Shown} status @param {boolean} isMe @param {boolean} isCreator */
  #item(userId, status, isMe, isCreator) {
    const item = this.#items.get(userId) ?? memberElement(userId, isMe, isCreator, this.#onPerson);
    this.#items.set(userId, item);
    if (item.dataset.status !== status) {
      item.dataset.status = status;
      /** @type {HTMLElement} */ (item.querySelector('.status')).textContent = t(status);
    }
    return item;
  }
}

/**
 * @param {string} userId
 * @param {boolean} isMe
 * @param {boolean} isCreator
 * @param {((name: string, at: DOMRect) => void) | null} onPerson
 * @returns {HTMLElement}
 */
function memberElement(userId, isMe, isCreator, onPerson) {
  return h('li', { class: 'member', testid: 'member', data: { user: userId } },
    h('span', { class: `avatar hue-${hueOf(userId)}`, 'aria-hidden': 'true' }, initialOf(userId)),
    h('span', { class: 'member-name' }, h('bdi', {}, userId), isMe && h('span', { class: 'me' }, t('me')), isCreator && h('span', { class: 'me', testid: 'creator' }, t('creator'))),
    h('span', { class: 'status' }),
    onPerson && !isMe && h('button', {
      class: 'icon-button', testid: 'member-menu', 'aria-label': t('memberMenu', { name: userId }), 'aria-haspopup': 'menu',
      onclick: (/** @type {MouseEvent} */ { currentTarget }) => onPerson(userId, /** @type {Element} */ (currentTarget).getBoundingClientRect()),
    }, icon('more')));
}
