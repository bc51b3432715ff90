// @ts-check
// Reading: how far somebody has read, and what lies further back, by HTTP.

import { getMembers, getMessages } from './api.js';
import { openAll } from './opening.js';
import { compareIds, messagesIn } from './protocol.js';
import { beginReading, receivePage, receiveReads, setHoleBusy, setOlder, setUnreadAfter } from './store.js';

const PAGE = 100; // messages in one page of history
const READS_AGAIN = 2_000; // ms before positions that did not come are asked for again
const READ_DELAY = 400; // ms in which several read positions become one frame

export class Reader {
  #roomId;
  #cipher;
  #store;
  #events;
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

  /** The view says so itself, so listeners are not told. @param {string} id the newest message seen */
  markRead(id) {
    const { me, reads } = this.#store.state;
    const before = reads.get(me);
    if (before && compareIds(before, id) >= 0) return;
    this.#store.setQuietly({ ...this.#store.state, reads: new Map(reads).set(me, id) });
    clearTimeout(this.#readTimer);
    this.#readTimer = setTimeout(() => this.#events.onRead(), READ_DELAY);
  }

  /** @param {string | null} id */
  setUnreadAfter(id) {
    if (id !== this.#store.state.unreadAfter) this.#store.set(setUnreadAfter(this.#store.state, id));
  }

  async loadOlder() {
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

  /** One page of history; null where it did not come. @param {string | null} before @param {number} limit */
  async page(before, limit) {
    try {
      const page = await getMessages(this.#roomId, before, limit);
      return { ...page, messages: await openAll(this.#cipher, messagesIn(page.messages)) };
    } catch {
      return null;
    }
  }

  /** Asks where everybody has read to. */
  async loadReads() {
    try {
      const list = await getMembers(this.#roomId);
      this.#store.set(receiveReads(this.#store.state, list));
      if (!this.#store.state.knowsReads) this.#store.set(beginReading(this.#store.state));
    } catch {
      // Where I had read to before this page must be known; the rest comes with the next `read` events.
      if (this.#store.state.knowsReads || !this.#events.isJoined() || this.#store.signal.aborted) return;
      clearTimeout(this.#readsTimer);
      this.#readsTimer = setTimeout(() => this.#events.isJoined() && this.loadReads(), READS_AGAIN);
    }
  }
}
