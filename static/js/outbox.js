// @ts-check
// Own messages that are not known to be stored yet, kept in localStorage until they are: they
// survive a reload and go out once. One item a message, so that tabs never overwrite each other.
// In an encrypted room they lie here sealed as well.

const PREFIX = 'linkroom:out:';

/** @typedef {import('./store.js').Pending} Pending */

export class Outbox {
  #prefix;
  #cipher;

  /** @param {string} roomId @param {import('./crypto.js').Cipher | null} cipher */
  constructor(roomId, cipher) {
    this.#prefix = `${PREFIX}${roomId}:`;
    this.#cipher = cipher;
  }

  /** What an earlier page left, oldest first. @returns {Promise<Pending[]>} */
  async load() {
    const keys = Object.keys(localStorage).filter((key) => key.startsWith(this.#prefix));
    const entries = await Promise.all(keys.map((key) => this.#read(key)));
    return entries.filter((entry) => entry !== null).sort((a, b) => a.at - b.at);
  }

  /** @param {Pending} entry */
  async put({ key, text, from, at, after }) {
    const kept = this.#cipher ? await this.#cipher.seal(text, from) : text;
    try {
      localStorage.setItem(this.#prefix + key, JSON.stringify({ text: kept, from, at, after }));
    } catch {
      // Storage is full or forbidden: the message still goes out, it just would not survive a reload.
    }
  }

  /** @param {string} key */
  remove(key) {
    localStorage.removeItem(this.#prefix + key);
  }

  /** Calls back with the key of what another tab removed. @param {(key: string) => void} callback @param {AbortSignal} signal */
  onRemoved(callback, signal) {
    addEventListener('storage', ({ key, newValue }) => {
      if (key?.startsWith(this.#prefix) && newValue === null) callback(key.slice(this.#prefix.length));
    }, { signal });
  }

  /** @param {string} item @returns {Promise<Pending | null>} */
  async #read(item) {
    try {
      const { text, from, at, after } = JSON.parse(localStorage.getItem(item) ?? '');
      const opened = this.#cipher ? await this.#cipher.open(text, from) : { text };
      return opened.text === '' ? null : { key: item.slice(this.#prefix.length), text: opened.text, from, at, after };
    } catch {
      return null;
    }
  }
}
