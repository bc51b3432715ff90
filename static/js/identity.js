// @ts-check
// What this browser stores for all its tabs, above all its identity in each room. One file, because
// each file of the first load may cost a round trip.

import { timeLimit } from './loader.js';

const PREFIX = 'linkroom:room:';
const NAME = 'linkroom:name';
const TICKET = 'linkroom:ticket:';
const PROBE = 'linkroom:probe';
const LOCKED = 5_000; // ms that a tab waits for the others at most: one of them may not run
const KEPT = 200; // rooms; the identities of the least recently used ones are deleted, independent of the clock

/**
 * @typedef {{name: string, token: string | null, secret?: string, creator?: string, ticket?: boolean, at: number}} Identity
 *   `creator`: the token of the room's creation, which keeps the creator's powers under any name;
 *   `ticket`: the token is a JWT from the application that opened this tab
 */

/** If storage is forbidden or full, values are kept in memory while the page is open. */
class SafeStorage {
  #open;
  /** @type {Map<string, string>} values that could not be stored */
  #memory = new Map();

  /** @param {() => Storage} open throws if it is forbidden */
  constructor(open) {
    this.#open = open;
  }

  /** Whether a value that is written now outlives the page. */
  get lasts() {
    this.write(PROBE, '');
    const lasts = !this.#memory.has(PROBE);
    this.remove(PROBE);
    return lasts;
  }

  /** @param {string} key @returns {string | null} */
  read(key) {
    return this.#memory.get(key) ?? attempt(() => this.#open().getItem(key), null);
  }

  /** @param {string} key @param {string} value @returns {boolean} whether it outlives the page */
  write(key, value) {
    const isKept = attempt(() => {
      this.#open().setItem(key, value);
      return true;
    }, false);
    if (isKept) this.#memory.delete(key);
    else this.#memory.set(key, value);
    return isKept;
  }

  /** @param {string} key */
  remove(key) {
    this.#memory.delete(key);
    attempt(() => this.#open().removeItem(key), undefined);
  }

  /** The keys with this prefix. @param {string} prefix */
  keys(prefix) {
    const kept = attempt(() => Object.keys(this.#open()), []);
    return [...new Set([...kept, ...this.#memory.keys()])].filter((key) => key.startsWith(prefix));
  }
}

/** Storage shared by all tabs of this browser. */
export const storage = new SafeStorage(() => localStorage);

/** Storage of this tab, until it is closed. */
export const tabStorage = new SafeStorage(() => sessionStorage);

/** @param {string} roomId @returns {Identity | null} */
export function loadIdentity(roomId) {
  return ticketFor(roomId) ?? parse(storage.read(PREFIX + roomId));
}

/** An application says who this tab is in the room, whoever else this browser is there. @param {string} roomId @param {string} jwt */
export const saveTicket = (roomId, jwt) => tabStorage.write(TICKET + roomId, jwt);

/** @param {string} roomId */
export const forgetTicket = (roomId) => tabStorage.remove(TICKET + roomId);

/** @param {string} roomId @returns {Identity | null} */
function ticketFor(roomId) {
  const token = tabStorage.read(TICKET + roomId);
  if (!token) return null;
  const body = token.split('.')[1].replaceAll('-', '+').replaceAll('_', '/');
  const creator = attempt(() => JSON.parse(atob(body)).creator === true, false) ? token : undefined;
  return { name: '', token, creator, ticket: true, at: 0 };
}

/** @param {string} roomId @param {string} name @param {string | null} token null: the token is invalid, the name can be tried again */
export function saveIdentity(roomId, name, token) {
  const known = loadIdentity(roomId);
  if (known?.ticket) return;
  // A secret that has not become a token yet is used again.
  const secret = token === null && known?.token === null && known.name === name ? known.secret : undefined;
  write(roomId, { name, token, secret, creator: known?.creator });
}

/** Saves the creator's token: this browser created the room, or has the creator's link. @param {string} roomId @param {string} name @param {string} token */
export const saveCreator = (roomId, name, token) => write(roomId, { name, token, creator: token });

/** The saved creator's token is invalid. @param {string} roomId */
export function forgetCreator(roomId) {
  const known = loadIdentity(roomId);
  if (known) write(roomId, { ...known, creator: undefined });
}

/**
 * The random part of this browser's token with this name. It is stored before it is sent, so that a join whose
 * answer was lost can be repeated, even after a reload: nobody else gets the name then.
 * @param {string} roomId @param {string} name @param {string} fresh the value to store if there is none
 * @returns {string}
 */
export function secretOf(roomId, name, fresh) {
  const known = loadIdentity(roomId);
  if (known?.secret && known.name === name) return known.secret;
  write(roomId, { name, token: null, secret: fresh, creator: known?.creator });
  return fresh;
}

/** @param {string} roomId @param {Omit<Identity, 'at'>} identity */
function write(roomId, identity) {
  storage.write(PREFIX + roomId, JSON.stringify({ ...identity, at: Date.now() }));
  if (identity.name) storage.write(NAME, identity.name);
  forgetOld();
}

/** The last used name, in any room. */
export const rememberedName = () => storage.read(NAME) ?? '';

/**
 * Runs `task` while no other tab of this browser runs one for the same room, so that two tabs that
 * open at once do not both join as new guests. Without Web Locks (plain http, or storage that is
 * forbidden), or where another tab holds the lock for too long, it just runs.
 * @template T
 * @param {string} roomId
 * @param {() => Promise<T>} task
 * @returns {Promise<T>}
 */
export async function withIdentityLock(roomId, task) {
  let isRunning = false;
  const run = () => {
    isRunning = true;
    return task();
  };
  try {
    return await navigator.locks.request(PREFIX + roomId, { signal: timeLimit(LOCKED) }, run);
  } catch (error) {
    if (isRunning) throw error;
    return task();
  }
}

/**
 * Calls back when another tab has entered the room.
 * @param {string} roomId
 * @param {(identity: Identity) => void} callback
 * @param {AbortSignal} signal
 */
export function onIdentity(roomId, callback, signal) {
  addEventListener('storage', (event) => {
    const identity = event.key === PREFIX + roomId && parse(event.newValue);
    if (identity && identity.token) callback(identity);
  }, { signal });
}

/** @param {string | null} text @returns {Identity | null} */
function parse(text) {
  try {
    const identity = JSON.parse(text ?? 'null');
    return typeof identity?.name === 'string' ? identity : null;
  } catch {
    return null;
  }
}

function forgetOld() {
  const usedAt = (/** @type {string} */ key) => Number(parse(storage.read(key))?.at ?? -Infinity);
  const used = storage.keys(PREFIX).map((key) => ({ key, at: usedAt(key) })).sort((a, b) => b.at - a.at);
  for (const { key } of used.filter(({ at }, index) => index >= KEPT || at === -Infinity)) storage.remove(key);
}

/** @template T @param {() => T} task @param {T} otherwise @returns {T} */
function attempt(task, otherwise) {
  try {
    return task();
  } catch {
    return otherwise;
  }
}
