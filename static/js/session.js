// @ts-check
// One browser tab in one room: joins, resumes and keeps the heartbeat. What is sent goes through
// `sender`, what is read through `reader`; all three work on one store. Draws nothing.

import { forgetCreator, forgetTicket, loadIdentity, saveIdentity, secretOf, withIdentityLock } from './identity.js';
import * as frames from './protocol.js';
import { BEGINNING, compareIds, newKey, timeOf } from './protocol.js';
import { Reader } from './reader.js';
import { PASSING, REJOINED, Sender } from './sender.js';
import { Socket } from './socket.js';
import * as store from './store.js';
import { Ticker } from './ticker.js';

const REJOIN = 2_000; // ms, at most, before a join that could not be served is tried again
const VERIFY = 2_000; // ms before the stream is asked again
const AHEAD = 5 * 60_000; // ms by which no message is ahead of its time, where clocks are right

/** @typedef {{code: string, message?: string}} Refusal `message` in the reader's language, where the server sent one */

export class Session {
  /** Others said something, just now or while this page was not connected. @type {(messages: readonly store.Message[]) => void} */
  onMessages = () => {};
  /** Somebody said something that is not kept. @type {(message: {from: string, text: string, problem?: store.Problem}) => void} */
  onPassing = () => {};
  /** What a message said is gone. @type {(id: string) => void} */
  onDeleted = () => {};
  /** Somebody came in or left. @type {(userId: string, came: boolean) => void} */
  onJoinOrLeave = () => {};

  #roomId;
  #name;
  #cipher;
  #onRefused;
  #socket;
  #ended = new AbortController();
  #store;

  #token = '';
  /** Whether it asked as a new guest. */
  #asGuest = false;
  #joined = false;
  #joinTurn = 0;
  /** @type {() => void} resolves the question that a join is */
  #answered = () => {};
  #asking = false;
  /** Frames are handled one after the other, also when decrypting takes a moment. */
  #work = Promise.resolve();
  /** Another number for each connection: what one brought and was not handled while it lived comes again. */
  #era = 0;

  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #joinTimer;

  /** @type {store.Status} */
  #status = 'online';
  /** What the server's clock said at least when the page began, in ms. */
  #serverStart = -Infinity;
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
  constructor(options, onRefused) {
    const { roomId, name, cipher } = options;
    this.#roomId = roomId;
    this.#name = name;
    this.#cipher = cipher;
    this.#onRefused = onRefused;
    this.#store = new store.Store(store.initialState(roomId, name), this.#ended.signal);
    const isJoined = () => this.#joined;
    this.sender = new Sender(options, this.#store, {
      isJoined,
      send: (frame) => this.#socket.send(frame),
      rejoin: () => this.#rejoin(),
    });
    this.reader = new Reader(options, this.#store, {
      isJoined,
      onPage: (next) => this.sender.take(next),
      onRead: () => this.#ping(),
    });
    this.#socket = new Socket(socketUrl(), {
      onOpen: () => this.#join(),
      onFrame: (frame) => this.#queue(frame),
      onConnection: (connection) => this.#onConnection(connection),
    });
  }

  get state() {
    return this.#store.state;
  }

  /** What seals and opens in an encrypted room. */
  get cipher() {
    return this.#cipher;
  }

  /** Ends together with the session. */
  get signal() {
    return this.#ended.signal;
  }

  /** @param {(state: store.State) => void} listener */
  subscribe(listener) {
    this.#store.subscribe(listener);
  }

  async start() {
    const { signal } = this.#ended;
    this.reader.start();
    await this.sender.start();
    if (signal.aborted) return;
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
    clearTimeout(this.#joinTimer);
    this.#ticker?.stop();
    this.#socket.close();
  }

  leave() {
    this.#socket.send(frames.leave(this.#roomId));
    this.stop();
  }

  /** Connects at once instead of waiting for the back-off. */
  tryNow() {
    if (this.#started && this.#store.state.connection.phase !== 'online') this.#socket.connect();
  }

  /** As `tryNow`, but not against the server's will. */
  #comeBack() {
    if (this.#store.state.connection.phase === 'offline') this.tryNow();
  }

  /** The page is looked at again: is the connection still what it seems to be? */
  wake() {
    this.#comeBack();
    // While the machine sleeps no clock can be trusted to run.
    if (this.#joined) this.#socket.probe(this.#pingFrame());
  }

  /** A browser may keep the page for the way back, and its connection with it: nobody is in the room there. */
  #withdraw() {
    this.reader.keep();
    this.#ping();
    this.#socket.lose();
  }

  /** @param {store.Status} status */
  setStatus(status) {
    if (status === this.#status) return;
    this.#status = status;
    this.#ping();
  }

  // The connection

  /** @param {import('./socket.js').Connection} connection */
  #onConnection(connection) {
    if (connection.phase !== 'online') {
      this.#joined = false;
      this.#era++;
      this.sender.land();
      clearTimeout(this.#joinTimer);
      this.#joinTurn++;
      this.#answered();
    }
    this.#store.set(store.setConnection(this.#store.state, connection));
  }

  /** Joins with the token of this browser, or by name while no other tab does. */
  async #join() {
    const turn = ++this.#joinTurn;
    const known = loadIdentity(this.#roomId)?.token;
    if (known) return this.#ask(known);
    await withIdentityLock(this.#roomId, async () => {
      if (turn !== this.#joinTurn) return;
      const token = loadIdentity(this.#roomId)?.token;
      await (token ? this.#ask(token) : this.#ask(this.#name, secretOf(this.#roomId, this.#name, newKey())));
    });
  }

  /** The server does not have this connection in the room, whatever it looked like. */
  #rejoin() {
    if (!this.#joined) return;
    this.#joined = false;
    this.sender.land();
    this.#join();
  }

  /**
   * @param {string} token @param {string | null} [secret] beside a name
   * @returns {Promise<void>} settled by the answer, or by the loss of the connection
   */
  #ask(token, secret = null) {
    if (!this.#socket.send(frames.join(this.#roomId, token, this.#store.state.cursor, secret))) return Promise.resolve();
    this.#socket.expect();
    this.#token = token;
    this.#asGuest = secret !== null;
    this.#asking = true;
    return new Promise((resolve) => {
      this.#answered = () => {
        this.#asking = false;
        resolve();
      };
    });
  }

  /** @param {frames.ErrorFrame} frame */
  #onError({ code, message, key, retryAfter }) {
    if (key) this.sender.refused(key, code);
    else if (this.#asking && code !== 'NOT_IN_ROOM') this.#onJoinRefused({ code, message }, retryAfter);
    else if (REJOINED.has(code)) this.#rejoin();
  }

  /** @param {Refusal} refusal @param {number} [retryAfter] seconds, another number for everybody who is told to wait */
  #onJoinRefused(refusal, retryAfter) {
    const { code } = refusal;
    const known = loadIdentity(this.#roomId);
    // Another tab may have a newer token already.
    const isLatest = known?.token === this.#token;
    this.#answered();
    if (code === 'INVALID_TOKEN' && known?.ticket) {
      // Only the application can send them again.
      this.#end({ code: 'expired' });
    } else if (code === 'INVALID_TOKEN' && isLatest && known.creator === this.#token) {
      forgetCreator(this.#roomId);
      saveIdentity(this.#roomId, this.#name, null);
      this.#end(refusal);
    } else if (code === 'INVALID_TOKEN') {
      // The session is over: the name may be free.
      if (isLatest) saveIdentity(this.#roomId, this.#name, null);
      this.#join();
    } else if (PASSING.has(code) || code === 'RATE_LIMITED') {
      const wait = retryAfter === undefined ? REJOIN * (0.25 + Math.random() * 0.75) : retryAfter * 1000;
      this.#joinTimer = setTimeout(() => this.#join(), wait);
    } else {
      // While its creator was away somebody else took the name.
      if (code === 'NAME_TAKEN' && known?.ticket) forgetTicket(this.#roomId);
      else if (code === 'NAME_TAKEN' && isLatest) saveIdentity(this.#roomId, this.#name, null);
      this.#end(refusal);
    }
  }

  /** Somebody ended this connection's stay in the room. It does not come back by itself. @param {string} reason */
  #onRemoved(reason) {
    saveIdentity(this.#roomId, this.#name, null);
    this.#end({ code: reason });
  }

  /** @param {Refusal} refusal */
  #end(refusal) {
    this.stop();
    this.#onRefused(refusal);
  }

  // Frames

  /** @param {frames.ServerFrame} frame */
  #queue(frame) {
    const cipher = this.#cipher;
    if (!cipher) {
      this.#handle(frame);
      return;
    }
    const era = this.#era;
    this.#work = this.#work.then(async () => {
      const opened = await cipher.openFrame(frame);
      if (era === this.#era) this.#handle(opened);
    }).catch(reportError);
  }

  /** @param {frames.ServerFrame} frame */
  #handle(frame) {
    if (this.#ended.signal.aborted) return;
    if (frame.t === 'error') this.#onError(frame);
    else if (frame.t === 'joined') this.#onJoined(frame);
    else if (frame.t === 'removed') this.#onRemoved(frame.reason);
    else if (frame.t !== 'msg') this.#onOther(frame);
    else if (frame.id === undefined) this.onPassing(frame);
    else if (this.#isAhead(frame.id)) this.#verify(frame);
    else this.#onMessage(frame);
  }

  /** Whether a message is from the future, by this clock and by the server's. @param {string} id */
  #isAhead(id) {
    return timeOf(id) > Math.max(Date.now(), this.#serverNow()) + AHEAD;
  }

  /** The least that the server's clock says now: the time of its newest message, and what has passed since that came. */
  #serverNow() {
    const newest = timeOf(this.#store.state.messages.at(-1)?.id ?? BEGINNING);
    this.#serverStart = Math.max(this.#serverStart, newest - performance.now());
    return this.#serverStart + performance.now();
  }

  /**
   * Somebody published a message by hand, under an id that would stand below all others for ever. Or
   * this clock is wrong: the stream knows, and is asked until it answers.
   * @param {frames.Msg} frame
   */
  async #verify(frame) {
    const page = await this.reader.page(null, 1);
    if (this.#ended.signal.aborted) return;
    if (!page) {
      setTimeout(() => this.#verify(frame), VERIFY);
      return;
    }
    const newest = page.messages.at(-1)?.id ?? BEGINNING;
    if (compareIds(frame.id, newest) <= 0) this.#onMessage(frame);
    else this.onPassing(frame);
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
    const before = this.#store.state;
    this.sender.take(store.receive(this.#store.state, frame));
    if (frame.more) this.sender.doubtOld(this.#store.state.pending);
    this.#joined = true;
    if (frame.heartbeat > 0) this.#heartbeat = frame.heartbeat * 1000;
    this.#ticker?.tick(this.#heartbeat);
    this.#socket.settled();
    if (before.members.size > 0) this.#tellMissed(before.messages.at(-1)?.id ?? BEGINNING, frame);
    if (!fresh) return void this.reader.loadUnread();
    if (this.#asGuest) this.reader.beginAsGuest();
    this.#ping();
    this.sender.flush();
    this.sender.adoptSoon();
    this.reader.loadReads();
  }

  /** What came while this page was not connected. @param {string} last @param {frames.Joined} frame */
  #tellMissed(last, { me, messages }) {
    const missed = messages.filter(({ id, from, problem }) => from !== me && problem !== 'deleted' && compareIds(id, last) > 0);
    if (missed.length > 0) this.onMessages(missed);
  }

  /** @param {frames.Msg} frame */
  #onMessage(frame) {
    const known = this.#store.state.messages;
    this.sender.take(store.receive(this.#store.state, frame));
    if (this.#store.state.messages !== known && frame.from !== this.#store.state.me) this.onMessages([frame]);
  }

  /** @param {frames.JoinOrLeave | frames.Presence | frames.Read | frames.Members | frames.Room | frames.Deleted | frames.Pong} frame */
  #onOther(frame) {
    const before = this.#store.state;
    const known = frame.t === 'user_joined' && before.members.has(frame.userId);
    this.#store.set(store.receive(before, frame));
    if (frame.t === 'deleted' && this.#store.state !== before) this.onDeleted(frame.id);
    const came = frame.t === 'user_joined';
    if ((came || frame.t === 'user_left') && !known && frame.userId !== this.#store.state.me) {
      this.onJoinOrLeave(frame.userId, came);
    }
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
    return frames.ping(this.#roomId, this.#status, this.#store.state.reads.get(this.#store.state.me) ?? null);
  }
}

function socketUrl() {
  const url = new URL('/ws', location.href);
  url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:';
  return url.href;
}
