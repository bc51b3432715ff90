// @ts-check
// The HTTP calls of the client, and the one error they throw.

import { timeLimit } from './loader.js';

const TIMEOUT = 15_000; // ms
const AGAIN = 500; // ms

export class ApiError extends Error {
  /** @param {string} code @param {Record<string, string>} [details] field -> sentence */
  constructor(code, details) {
    super(code);
    this.code = code;
    this.details = details ?? {};
  }
}

/** @param {string} path @param {object} [body] @param {HeadersInit} [headers] @returns {Promise<any>} */
async function call(path, body, headers) {
  const request = body
    ? { method: 'POST', headers: { 'content-type': 'application/json', ...headers }, body: JSON.stringify(body) }
    : {};
  let answer;
  try {
    const response = await fetch(path, { ...request, signal: timeLimit(TIMEOUT) });
    answer = await response.json();
  } catch {
    throw new ApiError('UNREACHABLE');
  }
  if (!answer.success) throw new ApiError(answer.error?.code ?? 'INTERNAL', answer.error?.details);
  return answer.data;
}

/** @typedef {{creatorName: string, topic?: string | undefined, e2e?: true | undefined}} Wish a topic is sealed where `e2e` */

/**
 * Makes a room: the same one each time it is asked for with the same key. A lost answer is asked for once more.
 * @param {Wish} wish
 * @param {string} key
 * @returns {Promise<{roomId: string, token: string}>}
 */
export async function createRoom(wish, key) {
  const ask = () => call('/api/rooms', wish, { 'idempotency-key': key });
  try {
    return await ask();
  } catch (error) {
    if (!(error instanceof ApiError && error.code === 'UNREACHABLE')) throw error;
    await new Promise((resolve) => setTimeout(resolve, AGAIN));
    return ask();
  }
}

/** @typedef {{memberCount: number, members: string[], ttl: number, topic: string | null, e2e?: boolean}} Room `ttl`: s */

/** @param {string} roomId @returns {Promise<Room>} */
export const getRoom = (roomId) => call(`/api/rooms/${encodeURIComponent(roomId)}`);

/** @param {string} roomId @returns {Promise<{userId: string, joinedAt: string, read?: string | null}[]>} */
export const getMembers = (roomId) => call(`/api/rooms/${encodeURIComponent(roomId)}/members`);

/**
 * @param {string} roomId
 * @param {string | null} before null: the newest page
 * @param {number} limit
 * @returns {Promise<{messages: import('./protocol.js').WireMessage[], hasMore: boolean}>}
 */
export function getMessages(roomId, before, limit) {
  const query = new URLSearchParams({ limit: String(limit), ...(before && { before }) });
  return call(`/api/rooms/${encodeURIComponent(roomId)}/messages?${query}`);
}
