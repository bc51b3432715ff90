// @ts-check
// Who this browser is in each room, shared by all its tabs through localStorage.

const PREFIX = 'linkroom:room:';
const NAME = 'linkroom:name';
const KEEP = 7 * 24 * 60 * 60_000; // ms after which an unused identity is forgotten

/** @typedef {{name: string, token: string | null, at: number}} Identity */

/** @param {string} roomId @returns {Identity | null} */
export function loadIdentity(roomId) {
  return parse(localStorage.getItem(PREFIX + roomId));
}

/** @param {string} roomId @param {string} name @param {string | null} token null: the name is ours to try again, its token is dead */
export function saveIdentity(roomId, name, token) {
  localStorage.setItem(PREFIX + roomId, JSON.stringify({ name, token, at: Date.now() }));
  localStorage.setItem(NAME, name);
  forgetOld();
}

/** The name used last, in any room. */
export const rememberedName = () => localStorage.getItem(NAME) ?? '';

/**
 * Runs `task` while no other tab of this browser runs one for the same room, so that two tabs that
 * open at once do not both enter as new guests. Without Web Locks (plain http) it just runs.
 * @template T
 * @param {string} roomId
 * @param {() => Promise<T>} task
 * @returns {Promise<T>}
 */
export async function withIdentityLock(roomId, task) {
  return navigator.locks ? navigator.locks.request(PREFIX + roomId, task) : task();
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
  for (const key of Object.keys(localStorage)) {
    if (!key.startsWith(PREFIX)) continue;
    const identity = parse(localStorage.getItem(key));
    if (!identity || Date.now() - identity.at > KEEP) localStorage.removeItem(key);
  }
}
