// @ts-check
// The list of people. A person who leaves stays in it for a moment, marked as gone.

import { h, icon } from '../dom.js';
import { collator, t } from '../i18n.js';
import { loadLater } from '../loader.js';
import { folded, hueOf, initialOf } from '../names.js';

const LEFT_SHOWN = 6_000; // ms

/**
 * @typedef {import('../store.js').State} State
 * @typedef {import('../protocol.js').Status | 'left' | 'unknown'} Shown
 * @typedef {{userId: string, status: Shown, at?: number, of?: number}} Row its place, where not all are shown
 */

const ORDER = { online: 0, away: 1, left: 2, unknown: 3 };

export class MemberList {
  /** @type {Map<string, HTMLElement>} */
  #items = new Map();
  /** @type {Map<string, number>} userId -> when it left */
  #left = new Map();
  /** @type {State | null} */
  #shown = null;
  #session;
  #onPerson;
  /** Those of a large room, once what asks for them is there. @type {import('./crowd.js').Crowd | undefined} */
  #crowd;
  /** @type {Promise<void> | undefined} */
  #coming;

  #list = h('ul', { class: 'members', testid: 'members', 'aria-label': t('people') });
  #count = h('span', { class: 'people-count', testid: 'people-count' });
  #stale = h('p', { class: 'people-stale', testid: 'people-stale', hidden: true }, t('peopleStale'));
  #nobody = h('p', { class: 'people-stale', hidden: true }, t('peopleNobody'));
  #search = h('input', { type: 'search', class: 'field people-search', testid: 'people-search', 'aria-label': t('peopleSearch'), placeholder: t('peopleSearch'), autocomplete: 'off', dir: 'auto', oninput: () => this.#redraw() });
  #sheet = h('div', { class: 'people-sheet' });

  /** The panel: a heading with the close button, a search field, the list. @param {HTMLElement} close @returns {HTMLElement} */
  panel(close) {
    this.#sheet.append(h('div', { class: 'people-head' }, h('h2', {}, t('people'), this.#count), close), this.#search, this.#stale, this.#nobody, this.#list);
    return this.#sheet;
  }

  /** @param {import('../session.js').Session} session @param {((name: string, at: DOMRect) => void) | null} onPerson what the menu of somebody else opens */
  constructor(session, onPerson) {
    this.#session = session;
    this.#onPerson = onPerson;
  }

  /** @param {State} state */
  render(state) {
    const before = this.#shown;
    const isStale = state.connection.phase !== 'online' && state.members.size > 0;
    this.#stale.hidden = !isStale;
    this.#list.classList.toggle('stale', isStale);
    if (before?.members === state.members && before.memberCount === state.memberCount && before.me === state.me
      && before.isCreatorNameTaken === state.isCreatorNameTaken) return;
    this.#shown = state;
    // Who is not in a list of some members may be there all the same.
    const gone = state.isLarge || before?.isLarge ? [] : before?.members.keys() ?? [];
    for (const userId of gone) if (!state.members.has(userId)) this.#keepForAMoment(userId);
    for (const userId of state.members.keys()) this.#left.delete(userId);
    if (state.isLarge && before?.members !== state.members) this.#crowd?.begin(state.members);
    if (state.isLarge && !this.#crowd) this.#coming ??= this.#bringCrowd().finally(() => (this.#coming = undefined));
    this.#draw(state);
  }

  /** Where it does not come it is asked for again when somebody came or left. */
  async #bringCrowd() {
    const module = await loadLater('crowd', () => import('./crowd.js')).catch(() => null);
    const { signal, state, reader } = this.#session;
    if (!module || signal.aborted) return;
    const panel = /** @type {HTMLElement} */ (this.#sheet.parentElement);
    this.#crowd = new module.Crowd({ ask: (after, limit) => reader.members(after, limit), me: state.me, panel, search: this.#search, onChange: () => this.#redraw(), signal });
    this.#sheet.append(this.#crowd.foot);
    this.#crowd.begin(state.members);
    this.#redraw();
  }

  /** @param {string} userId */
  #keepForAMoment(userId) {
    this.#left.set(userId, performance.now());
    setTimeout(() => {
      const since = this.#left.get(userId);
      if (this.#session.signal.aborted || since === undefined || performance.now() - since < LEFT_SHOWN) return;
      this.#left.delete(userId);
      this.#redraw();
    }, LEFT_SHOWN);
  }

  #redraw() {
    if (this.#shown) this.#draw(this.#shown);
  }

  /** @param {State} state */
  #draw(state) {
    const { members, memberCount, me, isLarge } = state;
    const creator = state.isCreatorNameTaken ? null : state.creator;
    const crowd = isLarge ? this.#crowd : undefined;
    this.#count.textContent = memberCount > 0 ? String(memberCount) : '';
    const rows = crowd ? crowd.list(memberCount) : this.#rows(state);
    if (this.#crowd) this.#crowd.foot.hidden = !isLarge;
    this.#nobody.hidden = rows.length > 0 || members.size === 0 || crowd !== undefined;
    this.#show(rows.map((row) => this.#item(row, row.userId === me, row.userId === creator)));
  }

  /** Of a room whose members are all known, those who are sought. @param {State} state @returns {Row[]} */
  #rows({ members, me }) {
    /** @type {[string, Shown][]} */
    const people = [...members, ...[...this.#left.keys()].map((userId) => /** @type {[string, Shown]} */ ([userId, 'left']))];
    people.sort(([a, x], [b, y]) => Number(b === me) - Number(a === me) || ORDER[x] - ORDER[y] || collator.compare(a, b));
    const sought = folded(this.#search.value);
    const found = sought === '' ? people : people.filter(([userId]) => folded(userId).includes(sought));
    return found.map(([userId, status]) => ({ userId, status }));
  }

  /** Who is there already stays, with the focus and where the list is scrolled to. @param {HTMLElement[]} wanted */
  #show(wanted) {
    const now = new Set(wanted);
    for (const [userId, item] of this.#items) {
      if (now.has(item)) continue;
      this.#items.delete(userId);
      item.remove();
    }
    let next = this.#list.firstElementChild;
    for (const item of wanted) {
      if (item === next) next = next.nextElementSibling;
      else this.#list.insertBefore(item, next);
    }
  }

  /** @param {Row} row @param {boolean} isMe @param {boolean} isCreator */
  #item({ userId, status, at, of }, isMe, isCreator) {
    const item = this.#items.get(userId) ?? memberElement(userId, isMe, this.#onPerson);
    this.#items.set(userId, item);
    markCreator(item, isCreator);
    if (item.dataset.status !== status) {
      item.dataset.status = status;
      /** @type {HTMLElement} */ (item.querySelector('.status')).textContent = status === 'unknown' ? '' : t(status);
    }
    setPlace(item, 'aria-posinset', at);
    setPlace(item, 'aria-setsize', of);
    return item;
  }
}

/** @param {HTMLElement} item @param {string} name @param {number | undefined} value */
function setPlace(item, name, value) {
  if (value === undefined) item.removeAttribute(name);
  else if (item.getAttribute(name) !== String(value)) item.setAttribute(name, String(value));
}

/** @param {HTMLElement} item @param {boolean} isCreator another user may get the creator's name */
function markCreator(item, isCreator) {
  const mark = item.querySelector('[data-testid="creator"]');
  if (isCreator === (mark !== null)) return;
  if (mark) mark.remove();
  else item.querySelector('.member-name')?.append(h('span', { class: 'me', testid: 'creator' }, t('creator')));
}

/**
 * @param {string} userId
 * @param {boolean} isMe
 * @param {((name: string, at: DOMRect) => void) | null} onPerson
 * @returns {HTMLElement}
 */
function memberElement(userId, isMe, onPerson) {
  return h('li', { class: 'member', testid: 'member', data: { user: userId } },
    h('span', { class: `avatar hue-${hueOf(userId)}`, 'aria-hidden': 'true' }, initialOf(userId)),
    h('span', { class: 'member-name' }, h('bdi', {}, userId), isMe && h('span', { class: 'me' }, t('me'))),
    h('span', { class: 'status' }),
    onPerson && !isMe && h('button', {
      class: 'icon-button', testid: 'member-menu', 'aria-label': t('memberMenu', { name: userId }), 'aria-haspopup': 'menu',
      onclick: (/** @type {MouseEvent} */ { currentTarget }) => onPerson(userId, /** @type {Element} */ (currentTarget).getBoundingClientRect()),
    }, icon('more')));
}
