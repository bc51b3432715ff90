// @ts-check
// Reading: how far the person has read, and loading older messages over HTTP.

import { getMembers, getMessages, waitOf } from './api.js';
import { loadIdentity, storage } from './identity.js';
import { BEGINNING, isId, messagesIn, timeOf } from './protocol.js';
import { beginReading, isUnreadAbove, noteSeen, readTo, receivePage, receiveReads, setFill, setOlder, setUnreadAfter, unreadGap } from './store.js';

const PAGE = 100; // messages in one page of history
const READS_AGAIN = 2_000; // ms before missing read positions are requested again
const READ_DELAY = 400; // ms in which read positions are combined into one frame
const BACK = 40; // maximum number of pages that are loaded to find where reading stopped

const PREFIX = 'linkroom:read:'; // in the browser: the server deletes read positions with the session
const KEEP = 7 * 24 * 60 * 60_000; // ms of a position, as long as an identity

export class Reader {
  #roomId;
  #cipher;
  #store;
  #events;
  /** @type {Promise<void> | null} the page of older messages that is loading */
  #older = null;
  /** @type {Map<string, Promise<boolean>>} the pages of gaps that are loading, by the message after the gap */
  #filling = new Map();
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #readTimer;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #readsTimer;

  /**
   * @param {object} options
   * @param {string} options.roomId
   * @param {import('./crypto.js').Cipher | null} options.cipher
   * @param {import('./store.js').Store} store
   * @param {{onPage(next: import('./store.js').State): void, onRead(): void, isJoined(): boolean}} events
   */
  constructor({ roomId, cipher }, store, events) {
    this.#roomId = roomId;
    this.#cipher = cipher;
    this.#store = store;
    this.#events = events;
    store.signal.addEventListener('abort', () => {
      clearTimeout(this.#readTimer);
      clearTimeout(this.#readsTimer);
    });
  }

  /** Restores how far an earlier visit read. */
  start() {
    const known = storage.read(PREFIX + this.#roomId);
    if (isId(known)) this.#store.set({ ...this.#store.state, since: known });
  }

  /** The view shows the change itself, so listeners are not called. @param {string} seen the newest message seen */
  markRead(seen) {
    const { reads } = this.#store.state;
    const next = noteSeen(this.#store.state, seen);
    this.#store.setQuietly(next);
    if (next.reads === reads) return;
    clearTimeout(this.#readTimer);
    this.#readTimer = setTimeout(() => {
      this.keep();
      this.#events.onRead();
    }, READ_DELAY);
  }

  /** Saves the position for the next visit. */
  keep() {
    const { state } = this.#store;
    const read = state.knowsReads ? readTo(state) : null;
    if (read === null || read === storage.read(PREFIX + this.#roomId)) return;
    storage.write(PREFIX + this.#roomId, read);
    for (const key of storage.keys(PREFIX)) {
      if (timeOf(read) - timeOf(storage.read(key) ?? read) > KEEP) storage.remove(key);
    }
  }

  /** @param {string | null} id */
  setUnreadAfter(id) {
    if (id !== this.#store.state.unreadAfter) this.#store.set(setUnreadAfter(this.#store.state, id));
  }

  loadOlder() {
    this.#older ??= this.#loadOlder().finally(() => (this.#older = null));
    return this.#older;
  }

  async #loadOlder() {
    const { older, messages } = this.#store.state;
    if (older !== 'more' && older !== 'failed') return;
    this.#store.set(setOlder(this.#store.state, 'loading'));
    const before = messages[0]?.id ?? null;
    const page = await this.page(before, PAGE);
    if (page) this.#events.onPage(receivePage(this.#store.state, before, page));
    else this.#store.set(setOlder(this.#store.state, 'failed'));
  }

  /** Loads the last missing page of a gap. @param {import('./store.js').Gap} gap @returns {Promise<boolean>} whether it was loaded */
  loadGap({ before }) {
    const filling = this.#filling.get(before) ?? this.#loadGap(before).finally(() => this.#filling.delete(before));
    this.#filling.set(before, filling);
    return filling;
  }

  /** @param {string} before */
  async #loadGap(before) {
    this.#store.set(setFill(this.#store.state, before, 'loading'));
    const page = await this.page(before, PAGE);
    if (page) this.#events.onPage(receivePage(this.#store.state, before, page));
    else this.#store.set(setFill(this.#store.state, before, 'failed'));
    return page !== null;
  }

  /** A locked room needs the token of a session. */
  get #token() {
    return loadIdentity(this.#roomId)?.token ?? undefined;
  }

  /** Members behind a name. @param {string} after @param {number} limit */
  members(after, limit) {
    return getMembers(this.#roomId, this.#token, { after, limit });
  }

  /** One page of history; null where it did not come. @param {string | null} before @param {number} limit */
  async page(before, limit) {
    try {
      const page = await getMessages(this.#roomId, before, limit, this.#token);
      const messages = messagesIn(page.messages);
      return { ...page, messages: this.#cipher ? await this.#cipher.openAll(messages) : messages };
    } catch {
      return null;
    }
  }

  /** For a new guest, earlier messages are not unread. */
  beginAsGuest() {
    const { since, knowsReads, messages } = this.#store.state;
    if (since !== null || knowsReads) return;
    this.#store.set(beginReading({ ...this.#store.state, since: messages.at(-1)?.id ?? BEGINNING }));
  }

  /** Loads everybody's read positions; reading continues where it stopped. */
  async loadReads() {
    try {
      const { isLarge, me } = this.#store.state;
      // Of the others in a large room nobody is told how far they have read.
      const list = await (isLarge ? this.members(justBefore(me), 1) : getMembers(this.#roomId, this.#token));
      this.#store.set(receiveReads(this.#store.state, list));
    } catch (error) {
      // The position of an earlier visit is required; the others come with the next `read` events.
      if (this.#store.state.knowsReads || !this.#events.isJoined() || this.#store.signal.aborted) return;
      clearTimeout(this.#readsTimer);
      this.#readsTimer = setTimeout(() => this.#events.isJoined() && this.loadReads(), Math.max(READS_AGAIN, waitOf(error)));
      return;
    }
    await this.loadUnread();
    if (!this.#store.state.knowsReads) this.#store.set(beginReading(this.#store.state));
    this.keep();
  }

  /** Loads the unread messages, back to the first one. */
  async loadUnread() {
    for (let pages = 0; pages < BACK && (await this.#loadUnreadPage()); pages++);
  }

  /** @returns {Promise<boolean>} whether a page was loaded, so that there may be another */
  async #loadUnreadPage() {
    const { state } = this.#store;
    const gap = unreadGap(state);
    if (gap) return this.loadGap(gap);
    if (state.older !== 'more' || !isUnreadAbove(state)) return false;
    await this.loadOlder();
    return true;
  }
}

/** The end of what comes before a name, among all texts in code point order. @param {string} name */
export function justBefore(name) {
  const letters = [...name];
  const last = /** @type {number} */ (letters.pop()?.codePointAt(0)) - 1;
  return letters.join('') + String.fromCodePoint(last === 0xdfff ? 0xd7ff : last, 0x10ffff);
}
