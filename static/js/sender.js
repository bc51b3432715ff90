// @ts-check
// Sending: one message after the other from the outbox, each retried until it is stored or refused;
// and coordination with the outbox of other tabs.

import { Outbox } from './outbox.js';
import { BEGINNING, compareIds, msg, newKey } from './protocol.js';
import { adopt, setPending, setUnreadAfter } from './store.js';

const ACK_TIMEOUT = 15_000; // ms; a lost acknowledgement arrives within a heartbeat
const RATE_PAUSE = 1_000; // ms after which a message may be sent again
const RETRY_LIMIT = 15_000; // ms between attempts while the server cannot store
const ADOPT = 3_000; // ms in which the tab that wrote a message may send it itself
const KEYS_LIVE = 9 * 60_000; // ms for which the server certainly remembers a key

/** Errors after which a new join brings the answer. */
export const REJOINED = new Set(['NOT_IN_ROOM', 'ROOM_NOT_FOUND', 'INVALID_TOKEN']);

/** Temporary errors; the message keeps its place and is retried. */
export const PASSING = new Set(['SERVICE_UNAVAILABLE', 'INTERNAL', 'TIMEOUT']);

/** @typedef {import('./store.js').Pending} Pending */

export class Sender {
  #roomId;
  #cipher;
  #store;
  #connection;
  #outbox;
  /** @type {string | null} key of the message that waits for its acknowledgement */
  #inFlight = null;
  #failures = 0;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #sendTimer;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #adoptTimer;

  /**
   * @param {object} options
   * @param {string} options.roomId
   * @param {import('./crypto.js').Cipher | null} options.cipher
   * @param {import('./store.js').Store} store
   * @param {{isJoined(): boolean, send(frame: object): boolean, rejoin(): void}} connection
   */
  constructor({ roomId, cipher }, store, connection) {
    this.#roomId = roomId;
    this.#cipher = cipher;
    this.#store = store;
    this.#connection = connection;
    this.#outbox = new Outbox(roomId, cipher);
  }

  /** Loads messages that earlier pages left in the outbox. */
  async start() {
    const { signal } = this.#store;
    const waiting = await this.#outbox.load();
    if (signal.aborted) return;
    // Another message may have been written meanwhile.
    const found = waiting.filter(({ key }) => !this.#isPending(key));
    this.#store.set({ ...adopt(this.#store.state, found), cursor: earliestAttempt(waiting) });
    this.#outbox.watch({ onPut: () => this.adoptSoon(), onRemoved: (key) => this.#onRemoved(key) }, signal);
    signal.addEventListener('abort', () => {
      clearTimeout(this.#sendTimer);
      clearTimeout(this.#adoptTimer);
    });
  }

  /** @param {string} text */
  async send(text) {
    const { pending, me } = this.#store.state;
    const at = Math.max(Date.now(), (pending.at(-1)?.at ?? 0) + 1);
    const entry = { key: newKey(), text, at, from: me };
    this.#store.set(setUnreadAfter(setPending(this.#store.state, [...pending, entry]), null));
    await this.#keep(entry);
    this.flush();
  }

  /** @param {string} key */
  retry(key) {
    this.#change(key, { failed: undefined });
    this.land();
    this.flush();
  }

  /** @param {string} key */
  discard(key) {
    this.#outbox.remove(key);
    this.#forget(key);
  }

  /**
   * Sends the oldest waiting message; the next goes out when it is stored. One at a time keeps the
   * order in every case, and exceeds the rate limit by at most one message.
   */
  flush() {
    if (!this.#connection.isJoined() || this.#inFlight !== null) return;
    const entry = this.#store.state.pending.find(({ failed }) => !failed || PASSING.has(failed));
    if (!entry) return;
    this.#inFlight = entry.key;
    this.#sendTimer = setTimeout(() => this.refused(entry.key, 'TIMEOUT'), ACK_TIMEOUT);
    this.#transmit(entry);
  }

  /** @param {Pending} entry */
  async #transmit(entry) {
    const { me, cursor } = this.#store.state;
    const after = entry.after ?? cursor ?? BEGINNING;
    if (entry.after === undefined || entry.from !== me) {
      this.#change(entry.key, { after, from: me });
      await this.#keep({ ...entry, after, from: me });
    }
    const text = this.#cipher ? await this.#cipher.seal(entry.text, me) : entry.text;
    // After a rejoin with another name the message is sent again, encrypted for that name.
    if (this.#inFlight === entry.key && this.#store.state.me === me) this.#connection.send(msg(this.#roomId, text, entry.key));
  }

  /** The server has not stored a message. @param {string} key @param {string} code */
  refused(key, code) {
    const isLatest = key === this.#inFlight;
    if (isLatest) this.land();
    if (REJOINED.has(code)) {
      this.#connection.rejoin();
      return;
    }
    if (code !== 'RATE_LIMITED') this.#change(key, { failed: code });
    if (!isLatest) return;
    this.#sendTimer = setTimeout(() => this.flush(), this.#pause(code) * (0.5 + Math.random() / 2));
  }

  /** How long to wait, at most, before the next message goes out after this error. @param {string} code */
  #pause(code) {
    if (code === 'RATE_LIMITED') return RATE_PAUSE;
    return PASSING.has(code) ? Math.min(RETRY_LIMIT, RATE_PAUSE * 2 ** this.#failures++) : 0;
  }

  /**
   * Messages arrived: stored ones leave the outbox, and the next one may be sent.
   * @param {import('./store.js').State} next the state with them
   */
  take(next) {
    const stored = this.#store.state.pending.filter((entry) => !next.pending.includes(entry));
    this.#store.set(next);
    for (const { key } of stored) {
      this.#outbox.remove(key);
      if (key !== this.#inFlight) continue;
      this.land();
      this.#failures = 0;
    }
    if (stored.length > 0) this.flush();
  }

  /** @param {string} key @param {Partial<Pending>} change */
  #change(key, change) {
    const pending = this.#store.state.pending.map((entry) => (entry.key === key ? { ...entry, ...change } : entry));
    this.#store.set(setPending(this.#store.state, pending));
  }

  /** @param {string} key */
  #forget(key) {
    if (this.#inFlight === key) this.land();
    this.#store.set(setPending(this.#store.state, this.#store.state.pending.filter((entry) => entry.key !== key)));
    this.flush();
  }

  /** No message is in flight any more. */
  land() {
    this.#inFlight = null;
    clearTimeout(this.#sendTimer);
  }

  /** Encryption takes a moment, in which another tab may send or discard the message. @param {Pending} entry */
  async #keep(entry) {
    const unkept = !(await this.#outbox.put(entry));
    if (!this.#isPending(entry.key)) this.#outbox.remove(entry.key);
    else if (unkept !== Boolean(entry.unkept)) this.#change(entry.key, { unkept });
  }

  /** @param {string} key */
  #isPending(key) {
    return this.#store.state.pending.some((entry) => entry.key === key);
  }

  // Other tabs and the outbox

  /** Another tab has sent a message, or discarded it. @param {string} key */
  #onRemoved(key) {
    if (this.#connection.isJoined()) this.#forget(key);
    else this.#change(key, { elsewhere: true });
  }

  /** Checks in a moment for messages that other tabs have left. */
  adoptSoon() {
    clearTimeout(this.#adoptTimer);
    this.#adoptTimer = setTimeout(() => this.#adopt(), ADOPT);
  }

  /** Messages that other tabs wrote but did not send, for instance because they were closed, are sent here. */
  async #adopt() {
    if (!this.#connection.isJoined()) return;
    const waiting = await this.#outbox.load();
    if (this.#store.signal.aborted) return;
    const found = waiting.filter(({ key }) => !this.#isPending(key));
    this.#store.set(adopt(this.#store.state, found));
    for (const { key } of found) {
      if (!this.#isPending(key)) this.#outbox.remove(key);
    }
    if (this.#store.state.gaps.length > 0) this.doubtOld(found);
    this.flush();
  }

  /**
   * The answer has a gap and the server no longer remembers keys of that age: whether such a message was stored cannot
   * be known, so the person decides.
   * @param {readonly Pending[]} pending
   */
  doubtOld(pending) {
    for (const { key, at, after } of pending) {
      const age = Date.now() - at;
      const mayBeOld = age > KEYS_LIVE || age < 0; // the clock was set back, so the age is unknown
      if (after !== undefined && mayBeOld) this.#change(key, { failed: 'UNCERTAIN' });
    }
  }
}

/** The position to resume from, so that an attempt of an earlier page is certainly seen. @param {readonly Pending[]} waiting */
function earliestAttempt(waiting) {
  const tried = waiting.flatMap(({ after }) => (after === undefined ? [] : [after]));
  return tried.length > 0 ? tried.reduce((a, b) => (compareIds(a, b) < 0 ? a : b)) : null;
}
