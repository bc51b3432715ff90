// @ts-check
// The HTTP calls for moderation, by a room's creator and by authors of messages. Each needs a
// token.

import { call, pathOf } from './api.js';
import { loadIdentity } from './identity.js';

/** The token to moderate with in a room: the creator's if this browser has it, else the user's own. @param {string} roomId */
function authorization(roomId) {
  const known = loadIdentity(roomId);
  return { token: known?.creator ?? known?.token ?? undefined };
}

/** The room as its creator sees it. @param {string} roomId @returns {Promise<import('./api.js').Room>} */
export const getOwnRoom = (roomId) => call(pathOf(roomId), authorization(roomId));

/**
 * @param {string} roomId
 * @param {{locked?: boolean, topic?: string | null, ttl?: number, maxMembers?: number}} change `topic`: sealed in an encrypted room; `ttl`: s
 * @returns {Promise<import('./api.js').Room>}
 */
export const changeRoom = (roomId, change) => call(pathOf(roomId), { ...authorization(roomId), method: 'PATCH', body: change });

/** @param {string} roomId @returns {Promise<void>} */
export const endRoom = (roomId) => call(pathOf(roomId), { ...authorization(roomId), method: 'DELETE' });

/** @param {string} roomId @param {string} name @param {boolean} ban @returns {Promise<void>} */
export function removeMember(roomId, name, ban) {
  // A browser resolves `.` and `..` in a path. Spaces around a name do not matter.
  const named = encodeURIComponent(/^\.\.?$/.test(name) ? ` ${name}` : name);
  return call(`${pathOf(roomId)}/members/${named}${ban ? '?ban=true' : ''}`, { ...authorization(roomId), method: 'DELETE' });
}

/** Lifts all bans. @param {string} roomId @returns {Promise<void>} */
export const liftBans = (roomId) => call(`${pathOf(roomId)}/bans`, { ...authorization(roomId), method: 'DELETE' });

/** @param {string} roomId @param {string} id @param {boolean} [keepalive] the request outlives the page @returns {Promise<void>} */
export const deleteMessage = (roomId, id, keepalive) =>
  call(`${pathOf(roomId)}/messages/${id}`, { ...authorization(roomId), method: 'DELETE', keepalive });
