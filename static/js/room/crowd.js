// @ts-check
// The people of a large room. The server tells by itself how many there are; who they are it is asked for, in pages by
// name, while somebody looks at the list, reads on in it or searches it, and not otherwise.

import { h } from '../dom.js';
import { folded } from '../names.js';
import { t } from './words.js';

const SEARCH = 5; // pages that a search asks for at once
const LARGEST = 1000; // names that the server gives at once
const FRESH = 10_000; // ms, for each answer that the list takes, until it is asked for again while somebody looks
const KNOWN = 60_000; // ms after which what was told of people's presence is not known any more
const NEAR = 400; // px from the end of the list where more of it is shown

/**
 * @typedef {import('../protocol.js').Status} Status
 * @typedef {{userId: string, status: Status}} Member
 * @typedef {Member & {folded: string}} Person with the name as it is compared in a search
 * @typedef {{userId: string, status: Status | 'unknown', at: number, of: number}} Row `at`: its place, from 1 on, among so many
 */

/** By code points, as the server sorts. @param {{userId: string}} a @param {{userId: string}} b */
function byName({ userId: a }, { userId: b }) {
  const [x, y] = [[...a], [...b]];
  const at = x.findIndex((letter, i) => letter !== y[i]);
  return at < 0 ? x.length - y.length : (x[at].codePointAt(0) ?? 0) - (y[at]?.codePointAt(0) ?? -1);
}

export class Crowd {
  #ask;
  #me;
  #panel;
  #search;
  #onChange;
  /** Those who are known, without me, from the first on. @type {Person[]} */
  #people = [];
  /** The last name that was told: nobody in front of it is missing. */
  #last = '';
  /** Whether nobody comes behind it. */
  #isWhole = false;
  #isSearching = false;
  #hasFailed = false;
  #page = 1;
  /** Rows that are shown, where there are as many. */
  #rows = 0;
  /** When all of this was told. */
  #told = 0;
  /** What the server is being asked. @type {Promise<boolean> | null} */
  #asking = null;

  #more = h('button', { class: 'text-button', testid: 'people-more', onclick: () => this.#showMore() }, t('peopleMore'));
  #words = h('p', { class: 'people-words', testid: 'people-words', role: 'status' });

  /** What stands below the list. */
  foot = h('div', { class: 'people-foot' }, this.#words, this.#more);

  /**
   * @param {object} options
   * @param {(after: string, limit: number) => Promise<Member[]>} options.ask the server for those behind a name
   * @param {string} options.me
   * @param {HTMLElement} options.panel what the list is scrolled in
   * @param {HTMLInputElement} options.search
   * @param {() => void} options.onChange the list is to be drawn anew
   * @param {AbortSignal} options.signal
   */
  constructor({ ask, me, panel, search, onChange, signal }) {
    this.#ask = ask;
    this.#me = me;
    this.#panel = panel;
    this.#search = search;
    this.#onChange = onChange;
    for (const sign of ['pointerenter', 'focusin']) panel.addEventListener(sign, () => this.#renewIfOld(), { signal });
    panel.addEventListener('scroll', () => this.#onScroll(), { signal, passive: true });
    search.addEventListener('input', () => this.#onSearch(), { signal });
    this.#watch(signal);
  }

  /** The server has named some by itself, the first by name. @param {ReadonlyMap<string, Status>} members */
  begin(members) {
    if (this.#people.length > members.size) return void this.#renewIfOld();
    this.#page = Math.min(LARGEST, Math.max(1, members.size));
    this.#rows ||= this.#page;
    this.#isWhole = false;
    const list = [...members].map(([userId, status]) => ({ userId, status })).filter(({ userId }) => userId !== this.#me).sort(byName);
    this.#take([], list);
    if (this.#search.value !== '') this.#lookThrough();
  }

  /** What is to be shown of so many. @param {number} count @returns {Row[]} */
  list(count) {
    const sought = folded(this.#search.value);
    const found = this.#people.filter((person) => person.folded.includes(sought));
    const isMine = folded(this.#me).includes(sought);
    const all = found.length + Number(isMine);
    const isKnown = performance.now() - this.#told < KNOWN;
    /** @type {{userId: string, status: Status | 'unknown'}[]} */
    const rows = found.slice(0, this.#rows).map(({ userId, status }) => ({ userId, status: isKnown ? status : 'unknown' }));
    if (isMine) rows.unshift({ userId: this.#me, status: 'online' });
    this.#say(sought, all, all > rows.length || !this.#isWhole);
    const of = sought === '' ? count : this.#isWhole ? all : -1;
    return rows.map((row, i) => ({ ...row, at: i + 1, of }));
  }

  /** @param {string} sought @param {number} found @param {boolean} hasMore */
  #say(sought, found, hasMore) {
    this.#more.hidden = this.#isSearching || !hasMore;
    const end = found > 0 ? t('peopleFound', { n: found }) : t('peopleNobody');
    const result = sought === '' ? '' : this.#isSearching ? t('peopleSearching') : end;
    const words = this.#hasFailed ? t('peopleFailed') : result;
    if (this.#words.textContent !== words) this.#words.textContent = words;
  }

  // What makes the list longer

  #onSearch() {
    this.#rows = this.#page;
    this.#panel.scrollTop = 0;
    this.#lookThrough();
  }

  /** Asks for everybody, as long as somebody is sought. */
  async #lookThrough() {
    if (this.#isSearching) return;
    this.#isSearching = true;
    this.#onChange();
    while (!this.#isWhole && this.#search.value.trim() !== '' && (await this.#readOn(SEARCH * this.#page)));
    this.#isSearching = false;
    this.#onChange();
  }

  #onScroll() {
    const { scrollTop, scrollHeight, clientHeight } = this.#panel;
    if (!this.#more.hidden && scrollHeight - clientHeight - scrollTop < NEAR) this.#showMore();
  }

  async #showMore() {
    if (this.#asking) return;
    this.#rows += this.#page;
    if (this.#search.value.trim() !== '') return this.#lookThrough();
    if (this.#people.length < this.#rows && !this.#isWhole) await this.#readOn(this.#page);
    this.#onChange();
  }

  // What the server tells

  /** The people behind those who are known. @param {number} limit @returns {Promise<boolean>} whether they came */
  #readOn(limit) {
    return this.#work(() => this.#pages(this.#people, this.#last, limit, this.#people.length + 1));
  }

  /** Those who are known, anew; all, where all were known. */
  #renew() {
    const wanted = this.#isWhole ? Infinity : Math.max(this.#people.length, this.#page);
    return this.#work(() => this.#pages([], '', Math.min(wanted, LARGEST), wanted));
  }

  /** One thing after the other. @param {() => Promise<void>} task @returns {Promise<boolean>} */
  #work(task) {
    this.#asking ??= task().then(() => true, () => false).then((came) => {
      this.#asking = null;
      this.#hasFailed = !came;
      this.#onChange();
      return came;
    });
    return this.#asking;
  }

  /**
   * Asks for pages until there are so many people.
   * @param {readonly Person[]} known
   * @param {string} after the last of them
   * @param {number} limit names in a page
   * @param {number} wanted
   */
  async #pages(known, after, limit, wanted) {
    /** @type {Member[]} */
    const fresh = [];
    let isWhole = false;
    let last = after;
    while (!isWhole && known.length + fresh.length < wanted) {
      const page = await this.#ask(last, Math.min(limit, LARGEST));
      isWhole = page.length < Math.min(limit, LARGEST);
      fresh.push(...page);
      last = page.at(-1)?.userId ?? last;
    }
    this.#isWhole = isWhole;
    this.#take(known, fresh);
    this.#last = last;
  }

  /** @param {readonly Person[]} known @param {readonly Member[]} fresh */
  #take(known, fresh) {
    const others = fresh.filter(({ userId }) => userId !== this.#me).map((member) => ({ ...member, folded: folded(member.userId) }));
    this.#people = [...known, ...others];
    this.#last = others.at(-1)?.userId ?? this.#last;
    if (known.length === 0) this.#told = performance.now();
  }

  // Time

  /** How long what was told holds, in ms: as many answers as it took. */
  get #lasts() {
    return FRESH * Math.max(1, Math.ceil(this.#people.length / LARGEST));
  }

  #renewIfOld() {
    if (performance.now() - this.#told >= this.#lasts) this.#renew();
  }

  /** @param {AbortSignal} signal */
  #watch(signal) {
    const look = () => {
      const isLookedAt = document.visibilityState === 'visible' && this.#panel.matches(':hover, :focus-within, .open');
      if (isLookedAt) this.#renewIfOld();
      else this.#onChange();
      timer = setTimeout(look, this.#lasts);
    };
    let timer = setTimeout(look, this.#lasts);
    signal.addEventListener('abort', () => clearTimeout(timer));
  }
}
