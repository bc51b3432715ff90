// @ts-check
// End-to-end encryption of message texts. docs/encryption.md describes the format; the test vector
// there is checked against this file. Rooms without a key do not load it.

import { isSealed, IV_BYTES, SEALED, TAG_BYTES } from './protocol.js';

const TOPIC = 'linkroom-e2e-topic-1'; // a topic is sealed before its room has an id

/** A new room key, as it appears in the link. */
export const newRoomKey = () => toBase64Url(crypto.getRandomValues(new Uint8Array(32)));

export class Cipher {
  #key;
  #roomId;

  /** @param {CryptoKey} key @param {string} roomId */
  constructor(key, roomId) {
    this.#key = key;
    this.#roomId = roomId;
  }

  /** @param {string} roomKey base64url @param {string} roomId */
  static async forRoom(roomKey, roomId) {
    const key = await crypto.subtle.importKey('raw', fromBase64Url(roomKey), 'AES-GCM', false, ['encrypt', 'decrypt']);
    return new Cipher(key, roomId);
  }

  /**
   * @param {string} text
   * @param {string} from the sender's userId
   * @param {Uint8Array<ArrayBuffer>} [iv] set only by a test vector: no two messages may share one
   * @returns {Promise<string>}
   */
  seal(text, from, iv) {
    return this.#seal(text, this.#messageOf(from), iv);
  }

  /** @param {string} topic */
  sealTopic(topic) {
    return this.#seal(topic, TOPIC);
  }

  /** @param {string} text @param {string} about @param {Uint8Array<ArrayBuffer>} [iv] */
  async #seal(text, about, iv = crypto.getRandomValues(new Uint8Array(IV_BYTES))) {
    const sealed = await crypto.subtle.encrypt(bound(iv, about), this.#key, new TextEncoder().encode(text));
    const envelope = new Uint8Array(IV_BYTES + sealed.byteLength);
    envelope.set(iv);
    envelope.set(new Uint8Array(sealed), IV_BYTES);
    return SEALED + toBase64Url(envelope);
  }

  /**
   * @param {string} text the message
   * @param {string} from
   * @returns {Promise<{text: string, problem?: import('./store.js').Problem}>}
   */
  async open(text, from) {
    if (!isSealed(text)) return { text: '', problem: 'unencrypted' };
    const opened = await this.#open(text, this.#messageOf(from));
    return opened === null ? { text: '', problem: 'undecryptable' } : { text: opened };
  }

  /** @param {string} sealed @returns {Promise<string | null>} null if the key does not decrypt it */
  openTopic(sealed) {
    return this.#open(sealed, TOPIC);
  }

  /** @param {import('./protocol.js').ServerFrame} frame @returns {Promise<import('./protocol.js').ServerFrame>} */
  async openFrame(frame) {
    if (frame.t === 'msg') return 'problem' in frame ? frame : { ...frame, ...(await this.open(frame.text, frame.from)) };
    if (frame.t === 'room') return { ...frame, topic: await this.#topicOf(frame) };
    if (frame.t === 'joined') {
      const [messages, topic] = await Promise.all([this.openAll(frame.messages), this.#topicOf(frame)]);
      return { ...frame, messages, topic };
    }
    return frame;
  }

  /** @param {readonly import('./protocol.js').WireMessage[]} messages @returns {Promise<import('./store.js').Message[]>} */
  openAll(messages) {
    return Promise.all(messages.map(async (message) => (message.problem ? message : { ...message, ...(await this.open(message.text, message.from)) })));
  }

  /** @param {{topic?: string | null}} frame */
  async #topicOf({ topic }) {
    return topic ? this.openTopic(topic) : null;
  }

  /** @param {string} text @param {string} about @returns {Promise<string | null>} */
  async #open(text, about) {
    try {
      const envelope = fromBase64Url(text.slice(SEALED.length));
      const algorithm = bound(envelope.subarray(0, IV_BYTES), about);
      const opened = await crypto.subtle.decrypt(algorithm, this.#key, envelope.subarray(IV_BYTES));
      return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(opened);
    } catch {
      return null;
    }
  }

  /** Binds a message to its room and to its sender. @param {string} from */
  #messageOf(from) {
    return `linkroom-e2e-1\n${this.#roomId}\n${from}`;
  }
}

/** @param {Uint8Array<ArrayBuffer>} iv @param {string} about the associated data */
function bound(iv, about) {
  return { name: 'AES-GCM', iv, additionalData: new TextEncoder().encode(about), tagLength: TAG_BYTES * 8 };
}

/** @param {Uint8Array} bytes */
function toBase64Url(bytes) {
  let binary = '';
  for (const byte of bytes) binary += String.fromCharCode(byte);
  return btoa(binary).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '');
}

/** @param {string} text @returns {Uint8Array<ArrayBuffer>} */
function fromBase64Url(text) {
  const binary = atob(text.replaceAll('-', '+').replaceAll('_', '/'));
  return Uint8Array.from(binary, (letter) => letter.charCodeAt(0));
}
