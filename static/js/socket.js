// @ts-check
// A WebSocket that comes back. It knows frames and time, and nothing about rooms.
//
// Always true: at most one WebSocket is alive; events of an earlier one are ignored; in the phases
// `connecting` and `offline` exactly one timer is set; after `close()` nothing happens any more.

import { parseFrame } from './protocol.js';

const FIRST = 500; // ms, ceiling of the first wait between attempts
const LIMIT = 30_000; // ms, ceiling of every wait
const AFTER_RESTART = 2_000; // ms: the node went away politely, others are there

/** Close codes after which coming back would only be turned away again. */
const FINAL = new Set([1008, 1009]);

const OPEN_TIMEOUT = 10_000; // ms for a connection to open, and for a first answer on it
const PATIENCE = 60_000; // ms, ceiling of the wait for an answer
const PROBE_TIMEOUT = 4_000; // ms for a sign of life after a probe

/**
 * @typedef {{phase: 'connecting'} | {phase: 'online'} | {phase: 'offline', retryAt: number, code: number}
 *   | {phase: 'stopped', code: number}} Connection
 * @typedef {{
 *   onOpen(): void,
 *   onFrame(frame: import('./protocol.js').ServerFrame): void,
 *   onConnection(connection: Connection): void,
 * }} SocketEvents
 */

export class Socket {
  #url;
  #events;
  /** @type {WebSocket | null} */
  #ws = null;
  #attempt = 0;
  #lastHeard = 0; // ms of performance.now(), as all times here: nobody sets it
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #probe;

  /** @param {string} url @param {SocketEvents} events */
  constructor(url, events) {
    this.#url = url;
    this.#events = events;
  }

  /** Connects now, whatever was planned. */
  connect() {
    this.#drop();
    this.#events.onConnection({ phase: 'connecting' });
    const ws = new WebSocket(this.#url);
    this.#ws = ws;
    this.#timer = setTimeout(() => this.#lost(1006), OPEN_TIMEOUT);
    ws.onopen = () => {
      this.#lastHeard = performance.now();
      this.#events.onOpen();
    };
    ws.onmessage = (event) => {
      this.#lastHeard = performance.now();
      const frame = parseFrame(event.data);
      if (frame) this.#events.onFrame(frame);
    };
    ws.onclose = (event) => this.#lost(event.code);
  }

  /** The owner has asked what it needs an answer to; until it is `settled` the connection may as well be dead. */
  expect() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#lost(1006), patience(this.#attempt));
  }

  /** The owner says that the connection is of use: the next loss starts the back-off anew. */
  settled() {
    clearTimeout(this.#timer);
    this.#attempt = 0;
    this.#events.onConnection({ phase: 'online' });
  }

  /** @param {object} frame @returns {boolean} false when there is no open connection */
  send(frame) {
    if (this.#ws?.readyState !== WebSocket.OPEN) return false;
    this.#ws.send(JSON.stringify(frame));
    return true;
  }

  /**
   * Sends `frame` and gives the connection up when nothing at all is heard after it: a phone that
   * slept holds sockets that look open and are not.
   * @param {object} frame
   */
  probe(frame) {
    if (!this.send(frame) || this.#probe !== undefined) return;
    const asked = performance.now();
    this.#probe = setTimeout(() => {
      this.#probe = undefined;
      if (this.#lastHeard < asked) this.#lost(1006);
    }, PROBE_TIMEOUT);
  }

  /** Milliseconds since anything was heard. */
  get silence() {
    return performance.now() - this.#lastHeard;
  }

  get isOpen() {
    return this.#ws?.readyState === WebSocket.OPEN;
  }

  /** Gives the connection up and plans the next one. */
  lose() {
    if (this.#ws) this.#lost(1006);
  }

  close() {
    this.#drop();
  }

  /** @param {number} code */
  #lost(code) {
    this.#drop();
    if (isFinal(code)) {
      this.#events.onConnection({ phase: 'stopped', code });
      return;
    }
    const wait = backoff(this.#attempt++, code);
    this.#timer = setTimeout(() => this.connect(), wait);
    this.#events.onConnection({ phase: 'offline', retryAt: performance.now() + wait, code });
  }

  #drop() {
    clearTimeout(this.#timer);
    clearTimeout(this.#probe);
    this.#probe = undefined;
    const ws = this.#ws;
    this.#ws = null;
    if (!ws) return;
    ws.onopen = ws.onmessage = ws.onclose = null;
    ws.close();
  }
}

/**
 * How long an answer may take: longer with every attempt, because on a slow network a long one does.
 * @param {number} attempt Failed attempts so far, from 0.
 */
export const patience = (attempt) => Math.min(PATIENCE, OPEN_TIMEOUT * 2 ** attempt);

/** @param {number} code */
export const isFinal = (code) => FINAL.has(code);

/**
 * Exponential back-off with full jitter: any time between now and the ceiling is as good, so that
 * the clients of a node that died do not come back in one herd.
 * @param {number} attempt Failed attempts so far, from 0.
 * @param {number} [code] WebSocket close code.
 * @param {() => number} [random]
 */
export function backoff(attempt, code, random = Math.random) {
  const ceiling = code === 1012 && attempt === 0 ? AFTER_RESTART : Math.min(LIMIT, FIRST * 2 ** attempt);
  return Math.round(random() * ceiling);
}
