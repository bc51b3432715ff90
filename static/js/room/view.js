// @ts-check
// The room: header, messages, composer, people. Puts the parts together and redraws them.

import { h, keepFocus } from '../dom.js';
import { t } from '../i18n.js';
import { loadIdentity } from '../identity.js';
import { loadLater, serviceWorkers } from '../loader.js';
import { focusGently } from '../parts.js';
import { Session } from '../session.js';
import { countUnread, unreadBoundary } from '../store.js';
import { TabFocus, titleOf, watchActivity } from './attention.js';
import { composer } from './composer.js';
import { header } from './header.js';
import { emptyRoom } from './invite.js';
import { Log } from './log.js';
import { MemberList } from './members.js';
import { failureText } from './message.js';
import { joinLines } from './settings.js';
import { ConnectionBar, notices } from './status.js';

/**
 * @typedef {import('../store.js').Pending} Pending
 * @typedef {ReturnType<typeof import('./extras.js').extras>} Extras
 */

const PASSING = 12_000; // ms for which something said by hand is shown
const AGAIN = 2_000; // ms, at first, until what did not come is asked for again
const SELDOM = 60_000; // ms, at last
const HIDDEN = 250; // ms after which a page is drawn that gets no animation frames, as hidden ones

/**
 * @param {object} options
 * @param {string} options.roomId
 * @param {string} options.name
 * @param {import('../crypto.js').Cipher | null} options.cipher of an encrypted room
 * @param {(refusal: import('../session.js').Refusal) => void} options.onRefused
 * @param {() => void} options.onLeave
 * @returns {{session: Session, view: HTMLElement, shown(): void}} a session that has yet to be started, what
 *   shows it, and what to call once that is on the page
 */
export function openRoom({ roomId, name, cipher, onRefused, onLeave }) {
  const session = new Session({ roomId, name, cipher }, onRefused);
  return { session, ...roomView(session, onLeave) };
}

/** What a phone calls the page on its home screen. @type {HTMLMetaElement | null} */
const appName = document.querySelector('meta[name="apple-mobile-web-app-title"]');

/** @param {Session} session @param {() => void} leave */
function roomView(session, leave) {
  const { signal } = session;
  const { roomId } = session.state;
  const isEncrypted = session.cipher !== null;
  const notice = notices();
  const members = new MemberList(session, loadIdentity(roomId)?.creator ? openPerson : null);
  const connection = new ConnectionBar(session, notice.say);
  const empty = emptyRoom(notice.say);
  const log = new Log(session, empty.element, onRead);
  const head = header({ session, leave, say: notice.say, share, rest, people: (close) => members.panel(close) });
  const writing = composer({ roomId, encrypted: isEncrypted, send });
  /** @type {HTMLElement} */
  const view = h('main', { class: joinLines.get() ? 'room' : 'room no-joins', testid: 'room', data: { room: roomId } },
    head.element,
    h('div', { class: 'talk' }, connection.element, log.element, notice.element, writing.element),
    head.people);

  async function share() {
    (await rest())?.openShare(isEncrypted, notice.say);
  }

  /** @param {string} name @param {DOMRect} at */
  async function openPerson(name, at) {
    (await rest())?.openPerson(name, at);
  }

  /** @param {string} text */
  function send(text) {
    session.sender.send(text);
    log.toBottom();
  }

  /** What comes once the room can be used. @type {Extras | undefined} */
  let extras;
  /** @type {Promise<void> | undefined} */
  let coming;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let again;
  let wait = AGAIN;
  const tabFocus = new TabFocus(session.state.roomId, signal);
  /** What came before there was somebody to tell. @type {import('../store.js').Message[]} */
  const untold = [];
  let unread = 0;
  /** What the log shows. */
  let drawn = session.state;

  /** Fetches the rest. Where the network is away it is asked for again: now and then, when the network is back, and when somebody wants it. */
  function complete() {
    if (!extras && !signal.aborted) coming ??= bringRest().finally(() => (coming = undefined));
    return coming;
  }

  async function bringRest() {
    clearTimeout(again);
    const module = await loadLater('extras', () => import('./extras.js')).catch(() => null);
    if (signal.aborted) return;
    if (module) return begin(module.extras({ session, view, log, writing, tabFocus, say: notice.say }));
    again = setTimeout(complete, wait);
    wait = Math.min(2 * wait, SELDOM);
  }

  /** For who wants something of it now. */
  async function rest() {
    await complete();
    if (!extras) notice.say(t('UNREACHABLE'));
    return extras;
  }

  /** @param {Extras} more */
  function begin(more) {
    extras = more;
    more.count(unread);
    more.notifier.tell(untold);
    if (drawn.older !== 'unknown') more.toLinked();
    view.dataset.complete = 'true';
    // From now on the room opens without a network too, to write in.
    serviceWorkers()?.ready.then(({ active }) => active?.postMessage('in a room'));
  }

  function draw() {
    if (!view.isConnected) return;
    const { state } = session;
    if (state.connection.phase === 'online') view.dataset.me = state.me;
    if (!again && state.connection.phase !== 'connecting') again = setTimeout(complete);
    connection.render(state);
    members.render(state);
    head.render(state);
    empty.render(state);
    log.render(state, tabFocus.isHere && state.knowsReads);
    if (drawn.older === 'unknown' && state.older !== 'unknown') extras?.toLinked();
    sayFailures(drawn.pending, state.pending);
    // Whoever comes in sees the lock; whoever is in hears that it changed.
    if (drawn.creator !== null && state.locked !== drawn.locked) notice.say(t(state.locked ? 'lockedNow' : 'unlocked'));
    const isLineNew = !drawn.knowsReads || session.state.unreadAfter !== drawn.unreadAfter;
    drawn = state;
    drawUnread(!isLineNew);
  }

  /**
   * The log does not announce what one writes oneself, but that it was not sent is news.
   * @param {readonly Pending[]} before
   * @param {readonly Pending[]} now
   */
  function sayFailures(before, now) {
    const known = new Set(before.flatMap(({ key, failed }) => (failed ? [key] : [])));
    const news = now.find(({ key, failed }) => failed && !known.has(key));
    const isUnkept = (/** @type {Pending} */ { unkept }) => Boolean(unkept);
    if (session.state.connection.phase !== 'online' && now.some(isUnkept) && !before.some(isUnkept)) notice.say(t('unkept'), PASSING);
    if (news) notice.say(t('failure', { problem: failureText(news.failed ?? ''), text: news.text }), PASSING);
  }

  /** Scrolling has read on. What came in since the last drawing is not unread, only not drawn yet. */
  function onRead() {
    if (session.state.messages === drawn.messages) drawUnread(false);
  }

  /** The count in the title; the line goes where the first message was not read at once. @param {boolean} mayMoveLine */
  function drawUnread(mayMoveLine) {
    const { state } = session;
    const before = unread;
    unread = countUnread(state);
    if (mayMoveLine && unread > 0 && before === 0) session.reader.setUnreadAfter(unreadBoundary(state));
    extras?.count(unread);
    const title = titleOf(state, unread);
    if (document.title !== title) document.title = title;
    const called = state.topic ?? t('appTitle');
    if (appName && appName.content !== called) appName.content = called;
  }

  const redraw = scheduler(() => keepFocus(log.focusable, draw), signal);
  session.subscribe(redraw);
  session.onMessages = (messages) => {
    if (extras) extras.notifier.tell(messages);
    else untold.push(...messages);
  };
  session.onPassing = ({ from, text, problem }) =>
    notice.say(problem ? t(problem) : t('saysInPassing', { name: from, text }), PASSING);
  session.onDeleted = (id) => extras?.notifier.forget(id);
  session.onJoinOrLeave = (userId, came) => {
    notice.say(t(came ? 'cameIn' : 'wentOut', { name: userId }), undefined, joinLines.get());
    log.noteJoin(userId, came);
  };
  watchActivity(({ looks, status }) => {
    tabFocus.set(looks);
    session.setStatus(status);
    if (status === 'online') session.wake();
    if (!looks && unread === 0) session.reader.setUnreadAfter(null);
    redraw();
  }, signal);

  addEventListener('online', complete, { signal });
  signal.addEventListener('abort', () => clearTimeout(again));
  addEventListener('beforeunload', (event) => {
    if (session.state.pending.some(({ unkept }) => unkept)) event.preventDefault();
  }, { signal });

  function shown() {
    draw();
    focusGently(writing.input);
  }
  return { view, shown };
}

/**
 * Many changes, one drawing.
 * @param {() => void} draw
 * @param {AbortSignal} signal
 * @returns {() => void} asks for a drawing soon
 */
function scheduler(draw, signal) {
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;
  const run = () => {
    if (timer === undefined) return;
    clearTimeout(timer);
    timer = undefined;
    if (!signal.aborted) draw();
  };
  return () => {
    if (timer !== undefined) return;
    timer = setTimeout(run, HIDDEN);
    requestAnimationFrame(run);
  };
}
