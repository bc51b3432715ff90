// @ts-check
// Reading: how far somebody has read, and what lies further back, by HTTP.

import { getMembers, getMessages } from './api.js';
import { loadIdentity, storage } from './identity.js';
import { BEGINNING, compareIds, isId, messagesIn, timeOf } from './protocol.js';
import { beginReading, isUnreadAbove, readTo, receivePage, receiveReads, setHoleBusy, setOlder, setUnreadAfter } from './store.js';

const PAGE = 100; // messages in one page of history
const READS_AGAIN = 2_000; // ms before positions that did not come are asked for again
const READ_DELAY = 400; // ms in which several read positions become one frame
const BACK = 20; // pages, at most, that are loaded to find where reading stopped

const PREFIX = 'linkroom:read:'; // in the browser: the server forgets with the session how far somebody had read
const KEEP = 7 * 24 * 60 * 60_000; // ms of a position, as long as an identity

export class Reader {
  #roomId;
  #cipher;
  #store;
  #events;
  /** @type {Promise<void> | null} the page of older messages that is on its way */
  #older = null;
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

  /** The view says so itself, so listeners are not told. @param {string} id the newest message seen */
  markRead(id) {
    const { me, reads } = this.#store.state;
    const before = reads.get(me);
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

  /** @param {import('./store.js').Hole} hole */
  async loadHole(hole) {
    if (hole.busy) return;
    this.#store.set(setHoleBusy(this.#store.state, hole.before, true));
    const page = await this.page(hole.before, PAGE);
    if (page) this.#events.onPage(receivePage(this.#store.state, hole.before, page));
    else this.#store.set(setHoleBusy(this.#store.state, hole.before, false));
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

  /** Loads what I have not read, from its beginning on. */
  async loadUnread() {
    for (let pages = 0; pages < BACK && isUnreadAbove(this.#store.state); pages++) await this.loadOlder();
  }
}
