// @ts-check
// The HTTP calls of the client, and the one error they throw.

import { timeLimit } from './loader.js';

const TIMEOUT = 15_000; // ms
const AGAIN = 500; // ms

export class ApiError extends Error {
  /** @param {string} code @param {Record<string, string>} [details] field -> sentence @param {number} [wait] ms until a retry may succeed, as the server says */
  constructor(code, details, wait = 0) {
    super(code);
    this.code = code;
    this.details = details ?? {};
    this.wait = wait;
  }
}

/** How long the server wants a retry to wait, in ms. @param {unknown} error */
export const waitOf = (error) => (error instanceof ApiError ? error.wait : 0);

/**
 * @param {string} path
 * @param {{method?: string, body?: object, token?: string, once?: string, keepalive?: boolean}} [request] `once`: an idempotency key,
 *   so that retries have no further effect; `keepalive`: the request outlives the page
 * @returns {Promise<any>} the data of the answer
 * @throws {ApiError}
 */
export async function call(path, { method, body, token, once, keepalive } = {}) {
  const headers = {
    ...(body && { 'content-type': 'application/json' }),
    ...(token && { authorization: `Bearer ${token}` }),
    ...(once && { 'idempotency-key': once }),
  };
  let answer;
  let wait = 0;
  try {
    const response = await fetch(path, { method, headers, body: body && JSON.stringify(body), keepalive, signal: timeLimit(TIMEOUT) });
    wait = 1000 * (Number(response.headers.get('retry-after')) || 0);
    answer = await response.json();
  } catch {
    throw new ApiError('UNREACHABLE', {}, wait);
  }
  if (!answer.success) throw new ApiError(answer.error?.code ?? 'INTERNAL', answer.error?.details, wait);
  return answer.data;
}

/** @typedef {{creatorName: string, topic?: string | undefined, ttl?: number | undefined, e2e?: boolean | undefined}} RoomRequest the topic is encrypted if `e2e`; `ttl`: s */

/**
 * Creates a room. Requests with the same key create it only once. If the answer is lost, the request is retried once.
 * @param {RoomRequest} request
 * @param {string} once
 * @returns {Promise<{roomId: string, token: string}>}
 */
export async function createRoom(request, once) {
  const ask = () => call('/api/rooms', { method: 'POST', body: request, once });
  try {
    return await ask();
  } catch (error) {
    if (!(error instanceof ApiError && error.code === 'UNREACHABLE')) throw error;
    await new Promise((resolve) => setTimeout(resolve, AGAIN));
    return ask();
  }
}

/**
 * @typedef {{memberCount: number, members: string[], ttl: number, maxMembers: number, locked: boolean, topic: string | null,
 *   e2e?: boolean, bans?: number}} Room `ttl`: s; `bans`: banned addresses, only for the room's creator
 */

/** @param {string} roomId */
export const pathOf = (roomId) => `/api/rooms/${encodeURIComponent(roomId)}`;

/** @param {string} roomId @returns {Promise<Room>} */
export const getRoom = (roomId) => call(pathOf(roomId));

/** @typedef {{userId: string, status: import('./protocol.js').Status, joinedAt: string, read?: string | null}} Member */

/**
 * By name, in code point order.
 * @param {string} roomId
 * @param {string} [token] of a session
 * @param {{after: string, limit: number}} [page] those behind a name, so many; else the first, so many as the server likes
 * @returns {Promise<Member[]>}
 */
export function getMembers(roomId, token, page) {
  const query = page ? `?${new URLSearchParams({ after: page.after, limit: String(page.limit) })}` : '';
  return call(`${pathOf(roomId)}/members${query}`, { token });
}

/**
 * @param {string} roomId
 * @param {string | null} before null: the newest page
 * @param {number} limit
 * @param {string} [token] of a session
 * @returns {Promise<{messages: import('./protocol.js').WireMessage[], hasMore: boolean}>}
 */
export function getMessages(roomId, before, limit, token) {
  const query = new URLSearchParams({ limit: String(limit), ...(before && { before }) });
  return call(`${pathOf(roomId)}/messages?${query}`, { token });
}
