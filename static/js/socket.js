// @ts-check
// A WebSocket that reconnects. It knows frames and timeouts, and nothing about rooms.
//
// Invariants: at most one WebSocket is alive, and events of an earlier one are ignored; in the
// phases `connecting` and `offline` exactly one timer is set; after `close()` nothing happens any
// more.

import { parseFrame } from './protocol.js';

const FIRST = 500; // ms, ceiling of the first wait between attempts
const LIMIT = 30_000; // ms, ceiling of every wait
const AFTER_RESTART = 2_000; // ms: the node shut down gracefully, other nodes are available

/** Close codes after which a reconnect would be refused too. */
const FINAL = new Set([1008, 1009]);

const OPEN_TIMEOUT = 10_000; // ms for a connection to open, and for its first answer
const PATIENCE = 60_000; // ms, ceiling of the timeout of an answer
const PROBE_TIMEOUT = 4_000; // ms for an answer to a probe

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
  #lastHeard = 0; // ms of performance.now(), like all times here: nobody can set that clock
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

  /** The owner has sent a request whose answer it needs. Until `settled`, the connection counts as possibly dead. */
  expect() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#lost(1006), patience(this.#attempt));
  }

  /** The owner reports that the connection works: the next loss starts with the shortest back-off. */
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
   * Sends `frame`, and closes the connection if nothing arrives after it: after a phone has slept, its sockets look open
   * but are not.
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

  /** Milliseconds since the last input. */
  get silence() {
    return performance.now() - this.#lastHeard;
  }

  get isOpen() {
    return this.#ws?.readyState === WebSocket.OPEN;
  }

  /** Closes the connection and plans the next one. */
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
 * The timeout of an answer: longer with every attempt, because on a slow network a long answer takes longer.
 * @param {number} attempt Failed attempts so far, from 0.
 */
export const patience = (attempt) => Math.min(PATIENCE, OPEN_TIMEOUT * 2 ** attempt);

/** @param {number} code */
export const isFinal = (code) => FINAL.has(code);

/**
 * Exponential back-off with full jitter: a random time between now and the ceiling, so that the clients of a node that
 * died do not all reconnect at once.
 * @param {number} attempt Failed attempts so far, from 0.
 * @param {number} [code] WebSocket close code.
 * @param {() => number} [random]
 */
export function backoff(attempt, code, random = Math.random) {
  const ceiling = code === 1012 && attempt === 0 ? AFTER_RESTART : Math.min(LIMIT, FIRST * 2 ** attempt);
  return Math.round(random() * ceiling);
}
