// @ts-check
// The frames of the WebSocket, as the server writes and reads them, and the ids in them. No logic
// beyond their shape and order.

/**
 * @typedef {'online' | 'away'} Status
 * @typedef {'undecryptable' | 'unencrypted' | 'deleted'} Problem why a message has no text to show
 * @typedef {{roomId: string, id: string, from: string, text: string, timestamp: string, key?: string, problem?: Problem}} WireMessage
 *   One that was deleted comes without a text: here it has an empty one, and says why.
 *
 * @typedef {{t: 'joined', roomId: string, me: string, token: string | null, members: string[], away: string[],
 *   memberCount?: number, creator?: string, creatorNameTaken?: boolean, locked?: boolean, topic?: string | null, messages: WireMessage[], more: boolean, heartbeat: number, e2e?: boolean}} Joined
 * @typedef {{t: 'room', roomId: string, locked: boolean, topic: string | null, creatorNameTaken?: boolean}} Room What its creator changed, and
 *   whether another user has the creator's name.
 * @typedef {{t: 'deleted', roomId: string, id: string}} Deleted What a message said is gone.
 * @typedef {{t: 'removed', roomId: string, reason: string}} Removed This connection is out of the room.
 * @typedef {{t: 'msg'} & WireMessage} Msg
 * @typedef {{t: 'msg', id?: undefined, from: string, text: string}} Passing Somebody with redis-cli: heard now, kept nowhere.
 * @typedef {{t: 'user_joined' | 'user_left', roomId: string, userId: string}} JoinOrLeave
 * @typedef {{t: 'presence', roomId: string, userId: string, status: Status}} Presence
 * @typedef {{t: 'read', roomId: string, userId: string, id: string}} Read
 * @typedef {{t: 'members', roomId: string, members?: string[], away?: string[], memberCount?: number}} Members
 *   Of a large room the first members, or their number alone.
 * @typedef {{t: 'pong'}} Pong
 * @typedef {{t: 'error', code: string, message: string, roomId?: string, key?: string, retryAfter?: number}} ErrorFrame
 * @typedef {Joined | Msg | Passing | JoinOrLeave | Presence | Read | Members | Room | Deleted | Removed | Pong | ErrorFrame} ServerFrame
 */

/**
 * @param {string} roomId
 * @param {string} token a nickname, or the token of a session
 * @param {string | null} since
 * @param {string | null} secret beside a nickname: what its token is made of
 */
export const join = (roomId, token, since, secret) =>
  ({ t: 'join', roomId, token, ...(since && { since }), ...(secret && { secret }) });

/** @param {string} roomId @param {string} text @param {string} key */
export const msg = (roomId, text, key) => ({ t: 'msg', roomId, text, key });

/** @param {string} roomId @param {Status} status @param {string | null} read */
export const ping = (roomId, status, read) =>
  read ? { t: 'ping', roomId, status, read } : { t: 'ping', status };

/** @param {string} roomId */
export const leave = (roomId) => ({ t: 'leave', roomId });

/**
 * What a frame must carry to be one of ours; anybody with redis-cli can publish something else.
 * @type {Record<string, (frame: any) => boolean>}
 */
const SHAPES = {
  joined: (f) => isText(f.me) && (f.token === null || isText(f.token)) && isRoster(f) && Array.isArray(f.messages) && isTopic(f.topic ?? null),
  msg: (f) => isMessage(f) || (f.id === undefined && isText(f.from) && isText(f.text)),
  user_joined: (f) => isText(f.userId),
  user_left: (f) => isText(f.userId),
  presence: (f) => isText(f.userId) && (f.status === 'online' || f.status === 'away'),
  read: (f) => isText(f.userId) && isId(f.id),
  members: (f) => isRoster(f) || (f.members === undefined && isCount(f.memberCount)),
  room: (f) => isTopic(f.topic),
  deleted: (f) => isId(f.id),
  removed: (f) => isText(f.reason),
  pong: () => true,
  error: (f) => isText(f.code),
};

/** @param {any} m @returns {m is WireMessage} */
function isMessage(m) {
  return isId(m?.id) && isText(m.from) && (isText(m.text) || m.deleted === true) && (m.key === undefined || isText(m.key));
}

/** The messages in a list. @param {readonly unknown[]} list @returns {WireMessage[]} */
export function messagesIn(list) {
  return list.filter(isMessage).map(whole);
}

/**
 * With the time that the id says, as the server's messages have it; what somebody published by hand may have any or none.
 * @param {any} message
 * @returns {WireMessage}
 */
function whole({ deleted, problem, ...message }) {
  const timestamp = new Date(Math.min(timeOf(message.id), LAST_TIME)).toISOString();
  return { ...message, ...(deleted && { text: '', problem: 'deleted' }), timestamp };
}

/** @param {unknown} data @returns {ServerFrame | null} */
export function parseFrame(data) {
  try {
    const frame = JSON.parse(String(data));
    const fits = Object.hasOwn(SHAPES, frame?.t) && SHAPES[frame.t](frame);
    if (!fits) return null;
    if (frame.t === 'joined') return { ...frame, messages: messagesIn(frame.messages) };
    return frame.t === 'msg' && frame.id !== undefined ? { ...whole(frame), t: 'msg' } : frame;
  } catch {
    return null;
  }
}

/** @param {unknown} value */
function isText(value) {
  return typeof value === 'string';
}

/** @param {unknown} value */
function isTopic(value) {
  return value === null || isText(value);
}

/** @param {any} f */
function isRoster(f) {
  return isTexts(f.members) && isTexts(f.away) && (f.memberCount === undefined || isCount(f.memberCount));
}

/** @param {unknown} value */
function isCount(value) {
  return Number.isSafeInteger(value) && Number(value) >= 0;
}

/** @param {unknown} value */
function isTexts(value) {
  return Array.isArray(value) && value.every(isText);
}

// Message ids are `ms-seq`, ordered by ms, then seq, as numbers (both below 2^53).

/** The id before all others: where a room begins. */
export const BEGINNING = '0-0';

const LAST_TIME = 8.64e15; // ms, the last that a Date can be

/** When a message was stored, in ms of Redis's clock. @param {string} id */
export const timeOf = (id) => Number(id.split('-')[0]);

/** @param {unknown} id @returns {id is string} */
export function isId(id) {
  return typeof id === 'string' && /^\d{1,16}-\d{1,16}$/.test(id);
}

/**
 * Negative when `a` came before `b`, zero when they are the same message.
 * @param {string} a
 * @param {string} b
 */
export function compareIds(a, b) {
  if (a === b) return 0;
  const [aMs, aSeq] = a.split('-');
  const [bMs, bSeq] = b.split('-');
  return Number(aMs) - Number(bMs) || Number(aSeq) - Number(bSeq);
}

/**
 * Index of the first entry of a sorted list that is not before `id`.
 * @param {readonly {id: string}[]} list
 * @param {string} id
 */
export function lowerBound(list, id) {
  let low = 0;
  let high = list.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (compareIds(list[middle].id, id) < 0) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** A fresh idempotency key. Works where `crypto.randomUUID` does not (plain http). */
export function newKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

// The envelope of a sealed text, as far as it can be told without the key

/** What an envelope begins with. */
export const SEALED = 'e2e1.';
export const IV_BYTES = 12;
export const TAG_BYTES = 16;
const ENVELOPE = /^e2e1\.[A-Za-z0-9_-]+$/;

/** @param {string} text */
export const isSealed = (text) => ENVELOPE.test(text);

/** Length of the envelope of a text, in characters. @param {string} text */
export function sealedLength(text) {
  const bytes = IV_BYTES + new TextEncoder().encode(text).length + TAG_BYTES;
  return SEALED.length + Math.ceil((bytes * 4) / 3);
}
