// @ts-check
// The page's knowledge of its room: a store of the state, and pure functions from (state, event) to
// the next state. States are never changed in place, so the view compares by identity.

import { BEGINNING, compareIds, lowerBound } from './protocol.js';

/**
 * @typedef {import('./protocol.js').Status} Status
 * @typedef {import('./protocol.js').Problem} Problem
 * @typedef {import('./protocol.js').WireMessage} Message
 * @typedef {{key: string, text: string, at: number, from: string, after?: string, failed?: string, elsewhere?: true, unkept?: boolean}} Pending
 *   `elsewhere`: another tab has sent or discarded it; the next join shows which. `unkept`: it is lost with the page
 * @typedef {{after: string, before: string, fill?: 'loading' | 'failed'}} Gap Messages between these two ids are missing here.
 * @typedef {'unknown' | 'more' | 'loading' | 'failed' | 'end'} Older
 *
 * @typedef {object} State
 * @property {string} roomId
 * @property {string} me
 * @property {string | null} topic the room's name
 * @property {boolean} locked whether it is closed for new guests
 * @property {string | null} creator the creator's name
 * @property {boolean} isCreatorNameTaken whether somebody else has it
 * @property {import('./socket.js').Connection} connection
 * @property {ReadonlyMap<string, Status>} members of a large room some of them
 * @property {number} memberCount how many there are
 * @property {boolean} isLarge whether nobody is told who comes, goes and reads, only how many there are
 * @property {ReadonlyMap<string, string>} reads userId -> id of the last message read
 * @property {string | null} since the id at which this user joined, or up to which an earlier visit had read
 * @property {boolean} knowsReads whether the positions of an earlier visit are known, so that reading may continue
 * @property {readonly Message[]} messages by id
 * @property {ReadonlySet<string>} authors the users who sent them
 * @property {readonly Gap[]} gaps
 * @property {Older} older the state of the history before the first message
 * @property {readonly Pending[]} pending own messages not stored yet, oldest first
 * @property {string | null} cursor id of the message delivered last; where to resume
 * @property {string} seen the newest message that was in sight on this page, when nothing before it was still to come:
 *   it may count as read, or not, where something before it is missing
 * @property {string | null} unreadAfter the unread line stands behind this message
 */

/** The current state and its listeners; it does not change once `signal` is aborted. */
export class Store {
  #state;
  /** @type {Set<(state: State) => void>} */
  #listeners = new Set();

  /** @param {State} state @param {AbortSignal} signal */
  constructor(state, signal) {
    this.#state = state;
    this.signal = signal;
  }

  get state() {
    return this.#state;
  }

  /** @param {State} next */
  set(next) {
    if (next === this.#state || this.signal.aborted) return;
    this.#state = next;
    for (const listener of this.#listeners) listener(next);
  }

  /** Sets the state without calling listeners, for a caller that shows the change already. @param {State} next */
  setQuietly(next) {
    this.#state = next;
  }

  /** @param {(state: State) => void} listener */
  subscribe(listener) {
    this.#listeners.add(listener);
  }
}

/** @param {string} roomId @param {string} me @returns {State} */
export function initialState(roomId, me) {
  return {
    roomId,
    me,
    topic: null,
    locked: false,
    creator: null,
    isCreatorNameTaken: false,
    connection: { phase: 'connecting' },
    members: new Map(),
    memberCount: 0,
    isLarge: false,
    reads: new Map(),
    since: null,
    knowsReads: false,
    messages: [],
    authors: new Set(),
    gaps: [],
    older: 'unknown',
    pending: [],
    cursor: null,
    seen: BEGINNING,
    unreadAfter: null,
  };
}

/**
 * The effect of each frame. The messages in them are already decrypted.
 * @type {{[T in 'joined' | 'msg' | 'deleted' | 'user_joined' | 'user_left' | 'presence' | 'read' | 'members' | 'room']:
 *   (state: State, frame: any) => State}}
 */
const FRAMES = {
  joined(state, /** @type {import('./protocol.js').Joined} */ frame) {
    const last = state.messages.at(-1)?.id;
    const first = frame.messages[0]?.id;
    const next = addMessages({ ...state, me: frame.me }, frame.messages);
    return {
      ...next,
      pending: next.pending.filter(({ elsewhere }) => !elsewhere),
      topic: frame.topic || null,
      locked: frame.locked === true,
      creator: frame.creator ?? null,
      isCreatorNameTaken: frame.creatorNameTaken === true,
      ...toMembers(frame.members, frame.away, frame.memberCount),
      cursor: frame.messages.at(-1)?.id ?? state.cursor ?? BEGINNING,
      gaps: frame.more && last && first && compareIds(last, first) < 0
        ? [...next.gaps, { after: last, before: first }]
        : next.gaps,
      older: state.messages.length === 0 ? olderAtFirst(state, frame) : next.older,
      unreadAfter: countUnread(state) > 0 ? state.unreadAfter : unreadBoundary(next) ?? state.unreadAfter,
    };
  },

  msg(state, /** @type {import('./protocol.js').Msg} */ frame) {
    const isNewest = compareIds(state.cursor ?? BEGINNING, frame.id) < 0;
    return { ...addMessages(state, [frame]), cursor: isNewest ? frame.id : state.cursor };
  },

  user_joined(state, /** @type {import('./protocol.js').JoinOrLeave} */ { userId }) {
    return withMembers(state, new Map(state.members).set(userId, 'online'));
  },

  user_left(state, /** @type {import('./protocol.js').JoinOrLeave} */ { userId }) {
    const members = new Map(state.members);
    members.delete(userId);
    return withMembers(state, members);
  },

  presence(state, /** @type {import('./protocol.js').Presence} */ { userId, status }) {
    return withMembers(state, new Map(state.members).set(userId, status));
  },

  read(state, /** @type {import('./protocol.js').Read} */ { userId, id }) {
    const before = state.reads.get(userId);
    if (before && compareIds(before, id) >= 0) return state;
    return { ...state, reads: new Map(state.reads).set(userId, id) };
  },

  deleted(state, /** @type {import('./protocol.js').Deleted} */ { id }) {
    const message = state.messages[lowerBound(state.messages, id)];
    return message?.id === id ? addMessages(state, [{ ...message, text: '', problem: 'deleted' }]) : state;
  },

  room(state, /** @type {import('./protocol.js').Room} */ { locked, topic, creatorNameTaken }) {
    return { ...state, locked, topic: topic || null, isCreatorNameTaken: creatorNameTaken === true };
  },

  members(state, /** @type {import('./protocol.js').Members} */ frame) {
    if (!frame.members) return { ...state, memberCount: frame.memberCount ?? state.memberCount, isLarge: true };
    return { ...state, ...toMembers(frame.members, frame.away ?? [], frame.memberCount) };
  },
};

/** @param {State} state @param {import('./protocol.js').ServerFrame} frame @returns {State} */
export function receive(state, frame) {
  return frame.t in FRAMES ? FRAMES[/** @type {keyof typeof FRAMES} */ (frame.t)](state, frame) : state;
}

/**
 * A page of history before `before` was loaded over HTTP: it extends the top, or fills a gap.
 * @param {State} state
 * @param {string | null} before
 * @param {{messages: readonly Message[], hasMore: boolean}} page
 * @returns {State}
 */
export function receivePage(state, before, page) {
  const first = page.messages[0]?.id;
  const next = addMessages(state, page.messages);
  if (before === (state.messages[0]?.id ?? null)) return { ...next, older: page.hasMore && first ? 'more' : 'end' };
  const gaps = state.gaps.flatMap((gap) => {
    if (gap.before !== before) return [gap];
    const closed = !page.hasMore || !first || compareIds(first, gap.after) <= 0;
    return closed ? [] : [{ after: gap.after, before: first }];
  });
  return { ...next, gaps };
}

/** @param {State} state @param {Older} older @returns {State} */
export const setOlder = (state, older) => ({ ...state, older });

/** @param {State} state @param {string} before @param {'loading' | 'failed'} fill @returns {State} */
export const setFill = (state, before, fill) => ({
  ...state,
  gaps: state.gaps.map((gap) => (gap.before === before ? { ...gap, fill } : gap)),
});

/** @param {State} state @param {import('./socket.js').Connection} connection @returns {State} */
export const setConnection = (state, connection) => ({ ...state, connection });

/** @param {State} state @param {readonly Pending[]} pending @returns {State} */
export const setPending = (state, pending) => ({ ...state, pending });

/**
 * Messages that other tabs wrote become pending here too, unless they are stored.
 * @param {State} state
 * @param {readonly Pending[]} found
 * @returns {State}
 */
export function adopt(state, found) {
  const pending = [...state.pending, ...found].sort((a, b) => a.at - b.at);
  return addMessages({ ...state, pending }, state.messages);
}

/** @param {State} state @param {string | null} unreadAfter @returns {State} */
export const setUnreadAfter = (state, unreadAfter) => ({ ...state, unreadAfter });

/**
 * Everybody's read positions, from the list of members over HTTP.
 * @param {State} state
 * @param {readonly {userId: string, joinedAt: string, read?: string | null}[]} list
 * @returns {State}
 */
export function receiveReads(state, list) {
  const mine = list.find(({ userId }) => userId === state.me);
  // After the session has expired, a user who comes back has a new `joinedAt`, but has not read
  // what came meanwhile.
  const isKnown = state.since !== null && state.since !== BEGINNING;
  const since = isKnown || !mine ? state.since : `${Date.parse(mine.joinedAt)}-0`;
  return list.reduce(
    (next, { userId, read }) => (read ? FRAMES.read(next, { userId, id: read }) : next),
    { ...state, since },
  );
}

/** How far this user has read: the later of what this browser and the server have stored. @param {State} state @returns {string | null} */
export function readTo({ reads, me, since }) {
  const read = reads.get(me);
  return read && since ? (compareIds(read, since) < 0 ? since : read) : read ?? since;
}

/**
 * The positions of an earlier visit are known: what came since is unread.
 * @param {State} state
 * @returns {State}
 */
export function beginReading(state) {
  return { ...state, knowsReads: true, unreadAfter: unreadBoundary(state) };
}

/**
 * The message before the first unread one, if there is one.
 * @param {State} state
 * @returns {string | null}
 */
export function unreadBoundary(state) {
  const read = readTo(state);
  const index = firstBehind(state, read);
  if (index < 0) return null;
  const isMissing = state.gaps.some(({ after, before }) => read && compareIds(after, read) < 0 && compareIds(read, before) < 0);
  return isMissing ? read : state.messages[index - 1]?.id ?? read;
}

/** How far I have read or seen on, where that is known. @param {State} state @returns {string | null} */
function seenTo(state) {
  const read = state.knowsReads ? readTo(state) : null;
  return read && compareIds(read, state.seen) < 0 ? state.seen : read;
}

/** The first message of somebody else that I have neither read nor seen, as far as that is known. @param {State} state @returns {string | null} */
export function firstUnread(state) {
  return state.messages[firstBehind(state, seenTo(state))]?.id ?? null;
}

/** Index of the first message of another user after this one. @param {State} state @param {string | null} read @returns {number} -1 if there is none */
function firstBehind({ messages, me }, read) {
  if (!read) return -1;
  for (let i = lowerBound(messages, read); i < messages.length; i++) {
    if (messages[i].from !== me && compareIds(messages[i].id, read) > 0) return i;
  }
  return -1;
}

/** Whether unread messages may be in the history before the loaded ones. @param {State} state */
export function isUnreadAbove(state) {
  const { messages, older } = state;
  const read = readTo(state);
  return older !== 'end' && read !== null && messages.length > 0 && compareIds(read, messages[0].id) < 0;
}

/** The last gap among the unread messages. @param {State} state @returns {Gap | undefined} */
export function unreadGap(state) {
  const read = readTo(state);
  return state.gaps.filter(({ before }) => read !== null && compareIds(read, before) < 0).at(-1);
}

/** Whether some unread messages are missing here and still loading. @param {State} state */
export function awaitsUnread(state) {
  const gap = unreadGap(state);
  return gap ? gap.fill !== 'failed' : isUnreadAbove(state) && state.older !== 'failed';
}

/**
 * How far a user who has seen a message has read: not past missing messages.
 * @param {State} state
 * @param {string} id of that message
 * @returns {string}
 */
export function readableTo(state, id) {
  const read = readTo(state) ?? BEGINNING;
  if (isUnreadAbove(state)) return read;
  const gap = state.gaps.find(({ before }) => compareIds(read, before) < 0);
  const end = gap && compareIds(gap.after, id) < 0 ? gap.after : id;
  return compareIds(end, read) < 0 ? read : end;
}

/**
 * I have seen a message: it counts as read up to what is missing here, and is news no more.
 * @param {State} state
 * @param {string} id of the message
 * @returns {State}
 */
export function noteSeen(state, id) {
  const read = readableTo(state, id);
  const before = state.reads.get(state.me);
  const isRead = before && compareIds(before, read) >= 0;
  const next = isRead ? state : { ...state, reads: new Map(state.reads).set(state.me, read) };
  return awaitsUnread(next) || compareIds(id, next.seen) <= 0 ? next : { ...next, seen: id };
}

/** Messages of others that I have neither read nor seen. @param {State} state */
export function countUnread(state) {
  const seen = seenTo(state);
  if (!seen) return 0;
  let count = 0;
  for (let i = state.messages.length - 1; i >= 0 && compareIds(state.messages[i].id, seen) > 0; i--) {
    if (state.messages[i].from !== state.me) count++;
  }
  return count;
}

/**
 * Merges messages by id; known messages stay the same object, unless they were deleted. Own pending messages that
 * were stored are no longer pending, even if they were sent under a name that was lost since.
 * @param {State} state
 * @param {readonly Message[]} added
 * @returns {State}
 */
function addMessages(state, added) {
  const isStored = (/** @type {Pending} */ { key, from }) =>
    added.some((m) => m.key === key && (m.from === state.me || m.from === from));
  const pending = state.pending.some(isStored) ? state.pending.filter((p) => !isStored(p)) : state.pending;
  return { ...state, pending, messages: merge(state.messages, added), authors: withAuthors(state.authors, added) };
}

/** @param {ReadonlySet<string>} authors @param {readonly Message[]} added */
function withAuthors(authors, added) {
  const isNew = added.some(({ from }) => !authors.has(from));
  return isNew ? new Set([...authors, ...added.map(({ from }) => from)]) : authors;
}

/**
 * The names that are known here: this user's, those of members, and of authors of loaded messages. In a large room there
 * are others.
 * @param {State} state
 * @returns {ReadonlySet<string>}
 */
export const knownNames = ({ me, members, authors }) => new Set([me, ...members.keys(), ...authors]);

/** @param {readonly Message[]} list @param {readonly Message[]} added */
function merge(list, added) {
  const gone = new Map();
  const fresh = added.filter((message) => {
    const known = list[lowerBound(list, message.id)];
    if (known?.id !== message.id) return true;
    if (message.problem === 'deleted' && known.problem !== 'deleted') gone.set(known, message);
    return false;
  });
  const kept = gone.size > 0 ? list.map((message) => gone.get(message) ?? message) : list;
  if (fresh.length === 0) return kept;
  const last = kept.at(-1);
  const inOrder = !last || compareIds(last.id, fresh[0].id) < 0;
  const all = [...kept, ...fresh];
  return inOrder ? all : all.sort((a, b) => compareIds(a.id, b.id));
}

/** @param {readonly string[]} list @param {readonly string[]} away @param {number} [memberCount] */
function toMembers(list, away, memberCount = list.length) {
  const gone = new Set(away);
  /** @type {Map<string, Status>} */
  const members = new Map(list.map((userId) => [userId, gone.has(userId) ? 'away' : 'online']));
  return { members, memberCount, isLarge: memberCount > members.size };
}

/** Somebody came, went or changed, of which only rooms are told whose members are all known. @param {State} state @param {Map<string, Status>} members @returns {State} */
const withMembers = (state, members) => ({ ...state, members, memberCount: members.size, isLarge: false });

/**
 * Whether there is history before the first messages of a join. A join that resumed from a
 * message (for the outbox of an earlier page) always has that message above it.
 * @param {State} state
 * @param {import('./protocol.js').Joined} frame
 * @returns {Older}
 */
function olderAtFirst(state, frame) {
  return frame.more || (state.cursor ?? BEGINNING) !== BEGINNING ? 'more' : 'end';
}
