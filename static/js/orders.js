// @ts-check
// The HTTP calls of who keeps order: a room's creator, and authors of messages. Each wants a token.

import { call, pathOf } from './api.js';
import { loadIdentity } from './identity.js';

/** What this browser may order with in a room: its creator's token, else one's own. @param {string} roomId */
function order(roomId) {
  const known = loadIdentity(roomId);
  return { token: known?.creator ?? known?.token ?? undefined };
}

/** The room as its creator is told. @param {string} roomId @returns {Promise<import('./api.js').Room>} */
export const getOwnRoom = (roomId) => call(pathOf(roomId), order(roomId));

/**
 * @param {string} roomId
 * @param {{locked?: boolean, topic?: string | null, ttl?: number, maxMembers?: number}} change `topic`: sealed in an encrypted room; `ttl`: s
 * @returns {Promise<import('./api.js').Room>}
 */
export const changeRoom = (roomId, change) => call(pathOf(roomId), { ...order(roomId), method: 'PATCH', body: change });

/** @param {string} roomId @returns {Promise<void>} */
export const endRoom = (roomId) => call(pathOf(roomId), { ...order(roomId), method: 'DELETE' });

/** @param {string} roomId @param {string} name @param {boolean} ban @returns {Promise<void>} */
export function removeMember(roomId, name, ban) {
  // A browser takes `.` and `..` in a path for steps. Blanks around a name do not count.
  const named = encodeURIComponent(/^\.\.?$/.test(name) ? ` ${name}` : name);
  return call(`${pathOf(roomId)}/members/${named}${ban ? '?ban=true' : ''}`, { ...order(roomId), method: 'DELETE' });
}

/** Lets everybody in again who was banned. @param {string} roomId @returns {Promise<void>} */
export const liftBans = (roomId) => call(`${pathOf(roomId)}/bans`, { ...order(roomId), method: 'DELETE' });

/** @param {string} roomId @param {string} id @param {boolean} [keepalive] the page may be closed meanwhile @returns {Promise<void>} */
export const deleteMessage = (roomId, id, keepalive) =>
  call(`${pathOf(roomId)}/messages/${id}`, { ...order(roomId), method: 'DELETE', keepalive });
