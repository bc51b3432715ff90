// @ts-check
// Reading: how far somebody has read, and what lies further back, by HTTP.

import { getMembers, getMessages } from './api.js';
import { loadIdentity, storage } from './identity.js';
import { BEGINNING, compareIds, isId, messagesIn, timeOf } from './protocol.js';
import { beginReading, isUnreadAbove, readableTo, readTo, receivePage, receiveReads, setFill, setOlder, setUnreadAfter, unreadHole } from './store.js';

const PAGE = 100; // messages in one page of history
const READS_AGAIN = 2_000; // ms before positions that did not come are asked for again
const READ_DELAY = 400; // ms in which several read positions become one frame
const BACK = 40; // pages, at most, that are loaded to find where reading stopped

const PREFIX = 'linkroom:read:'; // in the browser: the server forgets with the session how far somebody had read
const KEEP = 7 * 24 * 60 * 60_000; // ms of a position, as long as an identity

export class Reader {
  #roomId;
  #cipher;
  #store;
  #events;
  /** @type {Promise<void> | null} the page of older messages that is on its way */
  #older = null;
  /** @type {Map<string, Promise<boolean>>} the pages of holes that are on their way, by the message behind the hole */
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

  /** Remembers how far an earlier visit read. */
  start() {
    const known = storage.read(PREFIX + this.#roomId);
    if (isId(known)) this.#store.set({ ...this.#store.state, since: known });
  }

  /** The view says so itself, so listeners are not told. @param {string} seen the newest message seen */
  markRead(seen) {
    const { me, reads } = this.#store.state;
    const before = reads.get(me);
    const id = readableTo(this.#store.state, seen);
    if (before && compareIds(before, id) >= 0) return;
    this.#store.setQuietly({ ...this.#store.state, reads: new Map(reads).set(me, id) });
    clearTimeout(this.#readTimer);
    this.#readTimer = setTimeout(() => {
      this.keep();
      this.#events.onRead();
    }, READ_DELAY);
  }

  /** For the next visit. */
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

  /** Loads a page of a hole, the last one that is missing. @param {import('./store.js').Hole} hole @returns {Promise<boolean>} whether it came */
  loadHole({ before }) {
    const filling = this.#filling.get(before) ?? this.#loadHole(before).finally(() => this.#filling.delete(before));
    this.#filling.set(before, filling);
    return filling;
  }

  /** @param {string} before */
  async #loadHole(before) {
    this.#store.set(setFill(this.#store.state, before, 'loading'));
    const page = await this.page(before, PAGE);
    if (page) this.#events.onPage(receivePage(this.#store.state, before, page));
    else this.#store.set(setFill(this.#store.state, before, 'failed'));
    return page !== null;
  }

  /** A locked room tells who has a session only. */
  get #token() {
    return loadIdentity(this.#roomId)?.token ?? undefined;
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

  /** Whoever is new here has nothing of what was said before to read. */
  beginAsGuest() {
    const { since, knowsReads, messages } = this.#store.state;
    if (since !== null || knowsReads) return;
    this.#store.set(beginReading({ ...this.#store.state, since: messages.at(-1)?.id ?? BEGINNING }));
  }

  /** Asks where everybody has read to; I go on where I had stopped. */
  async loadReads() {
    try {
      const list = await getMembers(this.#roomId, this.#token);
      this.#store.set(receiveReads(this.#store.state, list));
    } catch {
      // Where I had read to before this page must be known; the rest comes with the next `read` events.
      if (this.#store.state.knowsReads || !this.#events.isJoined() || this.#store.signal.aborted) return;
      clearTimeout(this.#readsTimer);
      this.#readsTimer = setTimeout(() => this.#events.isJoined() && this.loadReads(), READS_AGAIN);
      return;
    }
    await this.loadUnread();
    if (!this.#store.state.knowsReads) this.#store.set(beginReading(this.#store.state));
    this.keep();
  }

  /** Loads what I have not read, as far back as it begins. */
  async loadUnread() {
    for (let pages = 0; pages < BACK && (await this.#loadUnreadPage()); pages++);
  }

  /** @returns {Promise<boolean>} whether a page came, so that there may be another */
  async #loadUnreadPage() {
    const { state } = this.#store;
    const hole = unreadHole(state);
    if (hole) return this.loadHole(hole);
    if (state.older !== 'more' || !isUnreadAbove(state)) return false;
    await this.loadOlder();
    return true;
  }
}
