// @ts-check
// One browser tab in one room: joins, resumes, keeps the heartbeat, sends what waits in the outbox.
// Holds the state and tells its listeners; draws nothing.

import { getMembers, getMessages } from './api.js';
import { loadIdentity, saveIdentity, withIdentityLock } from './identity.js';
import { Outbox } from './outbox.js';
import * as frames from './protocol.js';
import { BEGINNING, compareIds, newKey, timeOf } from './protocol.js';
import { Socket } from './socket.js';
import * as store from './store.js';
import { Ticker } from './ticker.js';

const PAGE = 100; // messages in one page of history
const ACK_TIMEOUT = 15_000; // ms; a lost acknowledgement comes within a heartbeat
const RATE_PAUSE = 1_000; // ms after which a message may be sent again
const RETRY_LIMIT = 15_000; // ms between attempts while the server cannot store
const REJOIN = 2_000; // ms, at most, before a join that could not be served is tried again
const ADOPT = 3_000; // ms in which the tab that wrote a message may send it itself
const READS_AGAIN = 2_000; // ms before positions that did not come are asked for again
const READ_DELAY = 400; // ms in which several read positions become one frame
const AHEAD = 5 * 60_000; // ms by which no message is ahead of its time, where clocks are right
const KEYS_LIVE = 9 * 60_000; // ms in which the server surely knows a key again

/** Errors that a new join answers, one way or the other. */
const REJOINED = new Set(['NOT_IN_ROOM', 'ROOM_NOT_FOUND', 'INVALID_TOKEN']);

/** Errors that go away by themselves; the message keeps its place and is tried again. */
const PASSING = new Set(['SERVICE_UNAVAILABLE', 'INTERNAL', 'TIMEOUT']);

/** @typedef {{code: string, message?: string}} Refusal `message` in the reader's language, where the server sent one */

export class Session {
  /** Somebody else said something just now. @type {(message: store.Message) => void} */
  onMessage = () => {};
  /** Somebody said something that is not kept. @type {(message: {from: string, text: string, problem?: store.Problem}) => void} */
  onPassing = () => {};
  /** Somebody came in or left. @type {(userId: string, came: boolean) => void} */
  onCame = () => {};

  #roomId;
  #name;
  #cipher;
  #onRefused;
  #socket;
  #outbox;
  /** @type {Set<(state: store.State) => void>} */
  #listeners = new Set();
  /** @type {store.State} */
  #state;
  #ended = new AbortController();

  #token = '';
  #joined = false;
  #joinTurn = 0;
  /** @type {() => void} resolves the question that a join is */
  #answered = () => {};
  #asking = false;
  /** Frames are handled one after the other, also when decrypting takes a moment. */
  #work = Promise.resolve();
  /** Another number for each connection: what one brought and was not handled while it lived comes again. */
  #era = 0;

  /** @type {string | null} key of the message that waits for its acknowledgement */
  #inFlight = null;
  #failures = 0;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #sendTimer;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #joinTimer;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #adoptTimer;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #readTimer;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #readsTimer;

  /** @type {store.Status} */
  #status = 'online';
  #heartbeat = 10_000; // ms, until the server says
  /** @type {Ticker | undefined} */
  #ticker;
  #started = false;

  /**
   * @param {object} options
   * @param {string} options.roomId
   * @param {string} options.name whom to be where no token is kept
   * @param {import('./crypto.js').Cipher | null} options.cipher
   * @param {(refusal: Refusal) => void} onRefused the room cannot be entered (any more)
   */
  constructor({ roomId, name, cipher }, onRefused) {
    this.#roomId = roomId;
    this.#name = name;
    this.#cipher = cipher;
    this.#onRefused = onRefused;
    this.#state = store.initialState(roomId, name);
    this.#outbox = new Outbox(roomId, cipher);
    this.#socket = new Socket(socketUrl(), {
      onOpen: () => this.#join(),
      onFrame: (frame) => this.#queue(frame),
      onConnection: (connection) => this.#onConnection(connection),
    });
  }

  get state() {
    return this.#state;
  }

  get isEncrypted() {
    return this.#cipher !== null;
  }

  /** Ends together with the session. */
  get signal() {
    return this.#ended.signal;
  }

  /** @param {(state: store.State) => void} listener */
  subscribe(listener) {
    this.#listeners.add(listener);
  }

  async start() {
    const { signal } = this.#ended;
    const waiting = await this.#outbox.load();
    if (signal.aborted) return;
    this.#set(store.setPending(this.#state, waiting));
    this.#set({ ...this.#state, cursor: earliestAttempt(waiting) });
    this.#outbox.watch({ onPut: () => this.#adoptSoon(), onRemoved: (key) => this.#onRemoved(key) }, signal);
    this.#ticker = new Ticker(() => this.#beat());
    addEventListener('online', () => this.#comeBack(), { signal });
    addEventListener('offline', () => this.#socket.lose(), { signal });
    addEventListener('pagehide', () => this.#withdraw(), { signal });
    this.#started = true;
    this.#socket.connect();
  }

  /** Stops without leaving: the name stays a member for the grace, as in a reload. */
  stop() {
    this.#ended.abort();
    this.#answered();
    clearTimeout(this.#sendTimer);
    clearTimeout(this.#joinTimer);
    clearTimeout(this.#adoptTimer);
    clearTimeout(this.#readTimer);
    clearTimeout(this.#readsTimer);
    this.#ticker?.stop();
    this.#socket.close();
  }

  leave() {
    this.#socket.send(frames.leave(this.#roomId));
    this.stop();
  }

  /** Connects at once instead of waiting for the back-off. */
  tryNow() {
    if (this.#started && this.#state.connection.phase !== 'online') this.#socket.connect();
  }

  /** As `tryNow`, but not against the server's will. */
  #comeBack() {
    if (this.#state.connection.phase === 'offline') this.tryNow();
  }

  /** The page is looked at again: is the connection still what it seems to be? */
  wake() {
    this.#comeBack();
    if (this.#socket.silence > this.#heartbeat / 2) this.#socket.probe(this.#pingFrame());
  }

  /** A browser may keep the page for the way back, and its connection with it: nobody is in the room there. */
  #withdraw() {
    this.#ping();
    this.#socket.lose();
  }

  /** @param {store.Status} status */
  setStatus(status) {
    if (status === this.#status) return;
    this.#status = status;
    this.#ping();
  }

  // Sending

  /** @param {string} text */
  async send(text) {
    const { pending, me } = this.#state;
    const at = Math.max(Date.now(), (pending.at(-1)?.at ?? 0) + 1);
    const entry = { key: newKey(), text, at, from: me };
    this.#set(store.setUnreadAfter(store.setPending(this.#state, [...pending, entry]), null));
    await this.#keep(entry);
    this.#flush();
  }

  /** @param {string} key */
  retry(key) {
    this.#change(key, { failed: undefined });
    this.#land();
    this.#flush();
  }

  /** @param {string} key */
  discard(key) {
    this.#outbox.remove(key);
    this.#forget(key);
  }

  /**
   * Sends the oldest waiting message; the next goes out when it is stored. One at a time keeps the
   * order whatever happens, and never runs into the rate limit by more than one message.
   */
  #flush() {
    if (!this.#joined || this.#inFlight !== null) return;
    const entry = this.#state.pending.find(({ failed }) => !failed || PASSING.has(failed));
    if (!entry) return;
    this.#inFlight = entry.key;
    this.#sendTimer = setTimeout(() => this.#refused(entry.key, 'TIMEOUT'), ACK_TIMEOUT);
    this.#transmit(entry);
  }

  /** @param {store.Pending} entry */
  async #transmit(entry) {
    const { me, cursor } = this.#state;
    const after = entry.after ?? cursor ?? BEGINNING;
    if (entry.after === undefined || entry.from !== me) {
      this.#change(entry.key, { after, from: me });
      await this.#keep({ ...entry, after, from: me });
    }
    const text = this.#cipher ? await this.#cipher.seal(entry.text, me) : entry.text;
    if (this.#inFlight === entry.key) this.#socket.send(frames.msg(this.#roomId, text, entry.key));
  }

  /** @param {string} key @param {string} code */
  #refused(key, code) {
    const isLatest = key === this.#inFlight;
    if (isLatest) this.#land();
    if (REJOINED.has(code)) {
      this.#rejoin();
      return;
    }
    if (code !== 'RATE_LIMITED') this.#change(key, { failed: code });
    if (!isLatest) return;
    this.#sendTimer = setTimeout(() => this.#flush(), this.#pause(code) * (0.5 + Math.random() / 2));
  }

  /** How long to wait, at most, before the next message goes out after this error. @param {string} code */
  #pause(code) {
    if (code === 'RATE_LIMITED') return RATE_PAUSE;
    return PASSING.has(code) ? Math.min(RETRY_LIMIT, RATE_PAUSE * 2 ** this.#failures++) : 0;
  }

  /**
   * Messages came in: what waited and turns out to be stored leaves the outbox, and the next one may go.
   * @param {store.State} next the state with them
   */
  #take(next) {
    const stored = this.#state.pending.filter((entry) => !next.pending.includes(entry));
    this.#set(next);
    for (const { key } of stored) {
      this.#outbox.remove(key);
      if (key !== this.#inFlight) continue;
      this.#land();
      this.#failures = 0;
    }
    if (stored.length > 0) this.#flush();
  }

  /** @param {string} key @param {Partial<store.Pending>} change */
  #change(key, change) {
    const pending = this.#state.pending.map((entry) => (entry.key === key ? { ...entry, ...change } : entry));
    this.#set(store.setPending(this.#state, pending));
  }

  /** @param {string} key */
  #forget(key) {
    if (this.#inFlight === key) this.#land();
    this.#set(store.setPending(this.#state, this.#state.pending.filter((entry) => entry.key !== key)));
    this.#flush();
  }

  /** The message in flight is so no more. */
  #land() {
    this.#inFlight = null;
    clearTimeout(this.#sendTimer);
  }

  /** Sealing takes a moment, in which the message may be sent or dropped by another tab. @param {store.Pending} entry */
  async #keep(entry) {
    await this.#outbox.put(entry);
    if (!this.#isPending(entry.key)) this.#outbox.remove(entry.key);
  }

  /** @param {string} key */
  #isPending(key) {
    return this.#state.pending.some((entry) => entry.key === key);
  }

  // What other tabs do with the outbox

  /** Another tab has sent a message, or dropped it. @param {string} key */
  #onRemoved(key) {
    if (this.#joined) this.#forget(key);
    else this.#change(key, { elsewhere: true });
  }

  #adoptSoon() {
    clearTimeout(this.#adoptTimer);
    this.#adoptTimer = setTimeout(() => this.#adopt(), ADOPT);
  }

  /** What other tabs wrote and have not sent, for instance because they were closed, is sent here. */
  async #adopt() {
    if (!this.#joined) return;
    const waiting = await this.#outbox.load();
    if (this.#ended.signal.aborted) return;
    const found = waiting.filter(({ key }) => !this.#isPending(key));
    this.#set(store.adopt(this.#state, found));
    for (const { key } of found) {
      if (!this.#isPending(key)) this.#outbox.remove(key);
    }
    if (this.#state.holes.length > 0) this.#doubtOld(found);
    this.#flush();
  }

  // Reading

  /** The view says so itself, so listeners are not told. @param {string} id the newest message seen */
  markRead(id) {
    const { me, reads } = this.#state;
    const before = reads.get(me);
    if (before && compareIds(before, id) >= 0) return;
    this.#state = { ...this.#state, reads: new Map(reads).set(me, id) };
    clearTimeout(this.#readTimer);
    this.#readTimer = setTimeout(() => this.#ping(), READ_DELAY);
  }

  /** @param {string | null} id */
  setUnreadAfter(id) {
    if (id !== this.#state.unreadAfter) this.#set(store.setUnreadAfter(this.#state, id));
  }

  async loadOlder() {
    const { older, messages } = this.#state;
    if (older !== 'more' && older !== 'failed') return;
    this.#set(store.setOlder(this.#state, 'loading'));
    const before = messages[0]?.id ?? null;
    const page = await this.#page(before, PAGE);
    if (page) this.#take(store.receivePage(this.#state, before, page));
    else this.#set(store.setOlder(this.#state, 'failed'));
  }

  /** @param {store.Hole} hole */
  async loadHole(hole) {
    if (hole.busy) return;
    this.#set(store.setHoleBusy(this.#state, hole.before, true));
    const page = await this.#page(hole.before, PAGE);
    if (page) this.#take(store.receivePage(this.#state, hole.before, page));
    else this.#set(store.setHoleBusy(this.#state, hole.before, false));
  }

  /** @param {string | null} before @param {number} limit */
  async #page(before, limit) {
    try {
      const page = await getMessages(this.#roomId, before, limit);
      return { ...page, messages: await this.#openAll(frames.messagesIn(page.messages)) };
    } catch {
      return null;
    }
  }

  async #loadReads() {
    try {
      const list = await getMembers(this.#roomId);
      this.#set(store.receiveReads(this.#state, list));
      if (!this.#state.knowsReads) this.#set(store.beginReading(this.#state));
    } catch {
      // Where I had read to before this page must be known; the rest comes with the next `read` events.
      if (this.#state.knowsReads || !this.#joined || this.#ended.signal.aborted) return;
      clearTimeout(this.#readsTimer);
      this.#readsTimer = setTimeout(() => this.#loadReads(), READS_AGAIN);
    }
  }

  // The connection

  /** @param {import('./socket.js').Connection} connection */
  #onConnection(connection) {
    if (connection.phase !== 'online') {
      this.#joined = false;
      this.#era++;
      this.#land();
      clearTimeout(this.#joinTimer);
      clearTimeout(this.#readsTimer);
      this.#joinTurn++;
      this.#answered();
    }
    this.#set(store.setConnection(this.#state, connection));
  }

  /** Joins with the token of this browser, or by name while no other tab does. */
  async #join() {
    const turn = ++this.#joinTurn;
    const known = loadIdentity(this.#roomId)?.token;
    if (known) return this.#ask(known);
    await withIdentityLock(this.#roomId, async () => {
      if (turn !== this.#joinTurn) return;
      await this.#ask(loadIdentity(this.#roomId)?.token ?? this.#name);
    });
  }

  /** The server does not have this connection in the room, whatever it looked like. */
  #rejoin() {
    if (!this.#joined) return;
    this.#joined = false;
    this.#land();
    this.#join();
  }

  /** @param {string} token @returns {Promise<void>} settled by the answer, or by the loss of the connection */
  #ask(token) {
    if (!this.#socket.send(frames.join(this.#roomId, token, this.#state.cursor))) return Promise.resolve();
    this.#socket.expect();
    this.#token = token;
    this.#asking = true;
    return new Promise((resolve) => {
      this.#answered = () => {
        this.#asking = false;
        resolve();
      };
    });
  }

  /** @param {frames.ErrorFrame} frame */
  #onError({ code, message, key }) {
    if (key) this.#refused(key, code);
    else if (this.#asking && code !== 'NOT_IN_ROOM') this.#onJoinRefused({ code, message });
    else if (REJOINED.has(code)) this.#rejoin();
  }

  /** @param {Refusal} refusal */
  #onJoinRefused(refusal) {
    const { code } = refusal;
    this.#answered();
    if (code === 'INVALID_TOKEN') {
      const known = loadIdentity(this.#roomId);
      // Another tab may have a newer token already. Otherwise the session is over: the name may be free.
      if (known?.token === this.#token) saveIdentity(this.#roomId, this.#name, null);
      this.#join();
    } else if (PASSING.has(code) || code === 'RATE_LIMITED') {
      this.#joinTimer = setTimeout(() => this.#join(), REJOIN * (0.25 + Math.random() * 0.75));
    } else {
      this.#end(refusal);
    }
  }

  /** @param {Refusal} refusal */
  #end(refusal) {
    this.stop();
    this.#onRefused(refusal);
  }

  // Frames

  /** @param {frames.ServerFrame} frame */
  #queue(frame) {
    if (!this.#cipher) {
      this.#handle(frame);
      return;
    }
    const era = this.#era;
    this.#work = this.#work.then(async () => {
      const opened = await this.#opened(frame);
      if (era === this.#era) this.#handle(opened);
    }).catch(reportError);
  }

  /** @param {frames.ServerFrame} frame */
  #handle(frame) {
    if (this.#ended.signal.aborted) return;
    if (frame.t === 'error') this.#onError(frame);
    else if (frame.t === 'joined') this.#onJoined(frame);
    else if (frame.t !== 'msg') this.#onOther(frame);
    else if (frame.id === undefined) this.onPassing(frame);
    else if (this.#isAhead(frame.id)) this.#verify(frame);
    else this.#onMessage(frame);
  }

  /** Whether a message is from the future, by this clock and by what was said last. @param {string} id */
  #isAhead(id) {
    const newest = this.#state.messages.at(-1)?.id ?? BEGINNING;
    return timeOf(id) > Math.max(Date.now(), timeOf(newest)) + AHEAD;
  }

  /**
   * Somebody published a message by hand, under an id that would stand below all others for ever. Or
   * this clock is wrong: the stream knows.
   * @param {frames.Msg} frame
   */
  async #verify(frame) {
    const page = await this.#page(null, 1);
    const newest = page?.messages.at(-1)?.id ?? BEGINNING;
    if (compareIds(frame.id, newest) <= 0) this.#onMessage(frame);
    else if (!this.#ended.signal.aborted) this.onPassing(frame);
  }

  /** Comes after a join, and also by itself when events may have been missed. @param {frames.Joined} frame */
  #onJoined(frame) {
    if (frame.e2e && !this.#cipher) {
      this.#end({ code: 'KEY_MISSING' });
      return;
    }
    saveIdentity(this.#roomId, frame.me, frame.token);
    this.#name = frame.me;
    this.#answered();
    const fresh = !this.#joined;
    const before = this.#state;
    this.#take(store.receive(this.#state, frame));
    if (frame.more) this.#doubtOld(this.#state.pending);
    this.#joined = true;
    if (frame.heartbeat > 0) this.#heartbeat = frame.heartbeat * 1000;
    this.#ticker?.tick(this.#heartbeat);
    this.#socket.settled();
    if (before.members.size > 0) this.#tellMissed(before.messages.at(-1)?.id ?? BEGINNING, frame);
    if (!fresh) return;
    this.#ping();
    this.#flush();
    this.#adoptSoon();
    this.#loadReads();
  }

  /** One word about what came while this page was not connected. @param {string} last @param {frames.Joined} frame */
  #tellMissed(last, { me, messages }) {
    const missed = messages.filter(({ id, from }) => from !== me && compareIds(id, last) > 0);
    const latest = missed.at(-1);
    if (latest) this.onMessage(latest);
  }

  /** @param {frames.Msg} frame */
  #onMessage(frame) {
    const known = this.#state.messages;
    this.#take(store.receive(this.#state, frame));
    if (this.#state.messages !== known && frame.from !== this.#state.me) this.onMessage(frame);
  }

  /** @param {frames.Came | frames.Presence | frames.Read | frames.Members | frames.Pong} frame */
  #onOther(frame) {
    const known = frame.t === 'user_joined' && this.#state.members.has(frame.userId);
    this.#set(store.receive(this.#state, frame));
    const came = frame.t === 'user_joined';
    if ((came || frame.t === 'user_left') && !known && frame.userId !== this.#state.me) {
      this.onCame(frame.userId, came);
    }
  }

  /**
   * The answer has a gap and the server no longer knows keys that old: whether such a message was
   * stored cannot be known, so the person decides.
   * @param {readonly store.Pending[]} pending
   */
  #doubtOld(pending) {
    for (const { key, at, after } of pending) {
      if (after !== undefined && Date.now() - at > KEYS_LIVE) this.#change(key, { failed: 'UNCERTAIN' });
    }
  }

  /** @param {frames.ServerFrame} frame @returns {Promise<frames.ServerFrame>} */
  async #opened(frame) {
    if (frame.t === 'msg') return { ...frame, ...(await this.#readable(frame)) };
    if (frame.t === 'joined') return { ...frame, messages: await this.#openAll(frame.messages) };
    return frame;
  }

  /** @param {readonly frames.WireMessage[]} messages */
  #openAll(messages) {
    return Promise.all(messages.map((message) => this.#openOne(message)));
  }

  /** @param {frames.WireMessage} message @returns {Promise<store.Message>} */
  async #openOne(message) {
    return { ...message, ...(await this.#readable(message)) };
  }

  /** @param {{text: string, from: string}} message @returns {Promise<{text: string, problem?: store.Problem}>} */
  async #readable({ text, from }) {
    return this.#cipher ? this.#cipher.open(text, from) : { text };
  }

  // Heartbeat

  #beat() {
    if (!this.#joined) return;
    if (this.#socket.silence > this.#heartbeat * 2.5) this.#socket.lose();
    else this.#socket.probe(this.#pingFrame());
  }

  #ping() {
    if (this.#joined) this.#socket.send(this.#pingFrame());
  }

  #pingFrame() {
    return frames.ping(this.#roomId, this.#status, this.#state.reads.get(this.#state.me) ?? null);
  }

  /** @param {store.State} next */
  #set(next) {
    if (next === this.#state || this.#ended.signal.aborted) return;
    this.#state = next;
    for (const listener of this.#listeners) listener(next);
  }
}

/** Where to resume so that an attempt of an earlier page is surely seen. @param {readonly store.Pending[]} waiting */
function earliestAttempt(waiting) {
  const tried = waiting.flatMap(({ after }) => (after === undefined ? [] : [after]));
  return tried.length > 0 ? tried.reduce((a, b) => (compareIds(a, b) < 0 ? a : b)) : null;
}

function socketUrl() {
  const url = new URL('/ws', location.href);
  url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:';
  return url.href;
}
