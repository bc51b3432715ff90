// @ts-check
// Own messages that may not be stored yet, kept in the browser until they are: they survive a
// reload and are sent once. One item per message, so that tabs never overwrite each other's. In an
// encrypted room they are stored encrypted as well, and wait for a page that has the key.

import { storage } from './identity.js';
import { isSealed } from './protocol.js';

const PREFIX = 'linkroom:out:';
const STALE = 7 * 24 * 60 * 60_000; // ms after which a message is not sent automatically any more

/**
 * @typedef {import('./store.js').Pending} Pending
 * @typedef {Pick<Pending, 'text' | 'from' | 'at' | 'after'>} Kept
 */

export class Outbox {
  #prefix;
  #cipher;

  /** @param {string} roomId @param {import('./crypto.js').Cipher | null} cipher */
  constructor(roomId, cipher) {
    this.#prefix = `${PREFIX}${roomId}:`;
    this.#cipher = cipher;
  }

  /** The waiting messages of all tabs, oldest first. @returns {Promise<Pending[]>} */
  async load() {
    tidy();
    const entries = await Promise.all(storage.keys(this.#prefix).map((item) => this.#read(item)));
    return entries.filter((entry) => entry !== null).sort((a, b) => a.at - b.at);
  }

  /** @param {Pending} entry @returns {Promise<boolean>} whether it outlives the page */
  async put({ key, text, from, at, after }) {
    const kept = this.#cipher ? await this.#cipher.seal(text, from) : text;
    return storage.write(this.#prefix + key, JSON.stringify({ text: kept, from, at, after }));
  }

  /** @param {string} key */
  remove(key) {
    storage.remove(this.#prefix + key);
  }

  /**
   * Calls back when another tab has added a message, and with the key of a message that it removed.
   * @param {{onPut(): void, onRemoved(key: string): void}} events
   * @param {AbortSignal} signal
   */
  watch({ onPut, onRemoved }, signal) {
    addEventListener('storage', ({ key, newValue }) => {
      if (!key?.startsWith(this.#prefix)) return;
      if (newValue === null) onRemoved(key.slice(this.#prefix.length));
      else onPut();
    }, { signal });
  }

  /** @param {string} item @returns {Promise<Pending | null>} */
  async #read(item) {
    const kept = parse(item);
    if (!kept) return null;
    const text = await this.#open(kept);
    if (text === '') return null;
    const failed = Date.now() - kept.at > STALE ? 'STALE' : undefined;
    return { ...kept, key: item.slice(this.#prefix.length), text, failed };
  }

  /** @param {Kept} kept @returns {Promise<string>} nothing if the key is missing or wrong */
  async #open({ text, from }) {
    if (!isSealed(text)) return text;
    return this.#cipher ? (await this.#cipher.open(text, from)).text : '';
  }
}

/** @param {string} item @returns {Kept | null} */
function parse(item) {
  try {
    const { text, from, at, after } = JSON.parse(storage.read(item) ?? '');
    const fits = typeof text === 'string' && typeof from === 'string' && Number.isFinite(at);
    return fits ? { text, from, at, after } : null;
  } catch {
    return null;
  }
}

/** Removes invalid items. Age alone is no reason: the clock may have been wrong by years, then or now. */
function tidy() {
  for (const item of storage.keys(PREFIX)) if (!parse(item)) storage.remove(item);
}
