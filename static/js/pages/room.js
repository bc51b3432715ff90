// @ts-check
// `/r/ID`: checks whether this browser is in the room already, asks for what is missing (a name,
// the key), and hands over to the room's view.

import { getRoom, waitOf } from '../api.js';
import { h, show } from '../dom.js';
import { t } from '../i18n.js';
import { loadIdentity, onIdentity, saveIdentity } from '../identity.js';
import { BrokenPart, load, loadLater } from '../loader.js';
import { linkAt } from '../names.js';
import { brokenPage, canEncrypt, focusGently, noticePage } from '../parts.js';

/** @typedef {import('../session.js').Refusal} Refusal */
/** @typedef {import('../api.js').Room} Room */

/** Codes that mean that there is no such room; any other failure may be temporary. */
const GONE_CODES = new Set(['ROOM_NOT_FOUND', 'NOT_FOUND', 'VALIDATION_FAILED']);

/** Codes of a refused join after which the same form is shown again. */
const FORM_CODES = new Set(['NAME_TAKEN', 'ROOM_FULL', 'ROOM_LOCKED', 'INVALID_TOKEN', 'VALIDATION_FAILED']);

const UNDO = 5_000; // ms in which leaving can be undone
const AGAIN = 3_000; // ms, approximately, between attempts to reach the server

/**
 * @param {HTMLElement} app
 * @param {string} roomId
 * @param {(address: string) => void} go
 * @param {Promise<Room> | null} asked a request about the room that is already in progress
 * @returns {() => void} ends the page
 */
export function roomPage(app, roomId, go, asked) {
  const page = new RoomPage(app, roomId, go, asked);
  page.open();
  return () => page.end();
}

class RoomPage {
  #app;
  #roomId;
  #go;
  #asked;
  #key = linkAt(location)?.key ?? null;
  /** @type {ReturnType<typeof import('./entry.js').entryPage> | undefined} */
  #entry;
  /** @type {import('../session.js').Session | null} */
  #session = null;
  #ended = new AbortController();
  /** @type {AbortController | undefined} */
  #waiting;
  /** Leaves now, while leaving can still be undone. @type {(() => void) | undefined} */
  #endLeaving;
  /** The page that reports an unreachable server. @type {HTMLElement | undefined} */
  #unreachable;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #retryTimer;

  /** @param {HTMLElement} app @param {string} roomId @param {(address: string) => void} go @param {Promise<Room> | null} asked */
  constructor(app, roomId, go, asked) {
    this.#app = app;
    this.#roomId = roomId;
    this.#go = go;
    this.#asked = asked;
  }

  end() {
    this.#endLeaving?.();
    this.#ended.abort();
    this.#waiting?.abort();
    clearTimeout(this.#retryTimer);
    this.#session?.stop();
  }

  async open() {
    if (this.#key && !canEncrypt()) return this.#askForKey();
    const identity = loadIdentity(this.#roomId);
    // The creator can always come back with the token of the room's creation.
    if (identity?.creator && !identity.token) saveIdentity(this.#roomId, identity.name, identity.creator);
    if (identity?.token ?? identity?.creator) await this.#resume(/** @type {{name: string}} */ (identity).name);
    else await this.#askForName(identity?.name);
  }

  /** This browser has a token: joins directly. @param {string} name */
  async #resume(name) {
    const room = await this.#room(name, (refusal) => this.#onRefused(refusal, name));
    if (!room) return this.#showUnreachable(() => this.#resume(name));
    this.#show(room.view);
    room.shown();
    room.session.start();
  }

  /** @param {string} [name] @param {Refusal} [refusal] why the name has to be asked for again */
  async #askForName(name, refusal) {
    if (!this.#unreachable?.isConnected) this.#show(h('main', { class: 'page loading', 'aria-busy': 'true' }, h('p', {}, t('loading'))));
    const asked = this.#asked ?? getRoom(this.#roomId);
    this.#asked = null;
    const again = (/** @type {number} */ wait) => this.#showUnreachable(() => this.#askForName(name, refusal), wait);
    const room = await asked.catch((error) => {
      if (GONE_CODES.has(error.code)) this.#showGone();
      else again(waitOf(error));
    });
    if (!room || this.#ended.signal.aborted) return;
    if (room.e2e && !this.#key) return this.#onRefused({ code: 'KEY_MISSING' }, '');
    const door = await loadLater('door', () => import('./entry.js')).catch(() => null);
    if (!door) again(0);
    else if (!this.#ended.signal.aborted) this.#showEntry(door, room, name, refusal);
  }

  /**
   * @param {typeof import('./entry.js')} door
   * @param {Room} room
   * @param {string | undefined} name
   * @param {Refusal | undefined} refusal
   */
  #showEntry({ entryPage }, room, name, refusal) {
    const entry = entryPage({ room, name, encrypted: this.#key !== null, enter: (wanted) => this.#enter(wanted), again: () => this.open() });
    this.#entry = entry;
    this.#waiting = new AbortController();
    onIdentity(this.#roomId, (identity) => {
      this.#waiting?.abort();
      this.#session?.stop();
      this.#resume(identity.name);
    }, this.#waiting.signal);
    this.#show(entry.element);
    this.#topic(room).then((topic) => topic && entry.element.isConnected && entry.call(topic));
    if (refusal) entry.refuse(refusal);
    if (!room.locked) focusGently(entry.input);
  }

  /** The topic. In an encrypted room, the module that decrypts it may still be loading. @param {Room} room @returns {Promise<string | null>} */
  async #topic({ topic, e2e }) {
    if (!topic || !this.#key) return e2e ? null : topic;
    try {
      return (await (await this.#cipher())?.openTopic(topic)) ?? null;
    } catch {
      return null;
    }
  }

  /** The cipher with the key in the address; null if the room is not encrypted. */
  async #cipher() {
    if (!this.#key) return null;
    const { Cipher } = await loadLater('crypto', () => import('../crypto.js'));
    return Cipher.forRoom(this.#key, this.#roomId);
  }

  /** @param {string} name @returns {Promise<Refusal | null>} */
  #enter(name) {
    // If the page has to be reloaded, it remembers the name.
    if (!loadIdentity(this.#roomId)?.token) saveIdentity(this.#roomId, name, null);
    return new Promise(async (resolve) => {
      const room = await this.#room(name, (refusal) => {
        if (FORM_CODES.has(refusal.code) && !room?.view.isConnected) resolve(refusal);
        else this.#onRefused(refusal, name);
      });
      if (!room) return resolve({ code: 'UNREACHABLE' });
      const { session, view, shown } = room;
      let isInside = false;
      session.subscribe(({ connection }) => {
        if (isInside) return;
        if (connection.phase === 'offline') this.#entry?.refuse({ code: 'UNREACHABLE' });
        if (connection.phase !== 'online') return;
        isInside = true;
        this.#waiting?.abort();
        this.#show(view);
        shown();
        resolve(null);
      });
      session.start();
    });
  }

  /**
   * A session for `name`, and its view; null if the view's files cannot be loaded.
   * @param {string} name
   * @param {(refusal: Refusal) => void} onRefused
   */
  async #room(name, onRefused) {
    const parts = await load('room', () => Promise.all([import('../room/view.js'), this.#cipher()])).catch((error) => {
      if (!(error instanceof BrokenPart)) return null;
      this.#show(brokenPage());
      return /** @type {Promise<never>} */ (new Promise(() => {})); // only a reload helps
    });
    if (!parts) return null;
    const [{ openRoom }, cipher] = parts;
    const onLeave = () => this.#leave(room);
    const room = openRoom({ roomId: this.#roomId, name, cipher, onRefused, onLeave });
    if (this.#ended.signal.aborted) room.session.stop();
    this.#session?.stop();
    this.#session = room.session;
    return room;
  }

  /** @param {Refusal} refusal @param {string} name */
  #onRefused(refusal, name) {
    if (refusal.code === 'KEY_MISSING') this.#askForKey();
    else if (FORM_CODES.has(refusal.code)) this.#askForName(name, refusal);
    else if (GONE_CODES.has(refusal.code)) this.#showGone();
    else this.#showRefused(refusal.code);
  }

  async #askForKey() {
    const module = await loadLater('key', () => import('./key.js')).catch(() => null);
    if (!module) return this.#showUnreachable(() => this.#askForKey());
    const page = module.keyPage(this.#roomId, this.#go);
    this.#show(page);
    focusGently(page.querySelector('textarea') ?? page);
  }

  /** Shows the page for a removal, or a refusal. @param {string} code */
  async #showRefused(code) {
    const module = await loadLater('refused', () => import('./refused.js')).catch(() => null);
    const page = module?.refusedPage(code, () => this.open(), () => this.#go('/'));
    if (page) this.#show(page);
    else this.#showGone();
  }

  #showGone() {
    this.#show(noticePage('room-gone', t('goneTitle'), t('goneText'),
      h('button', { class: 'button primary', testid: 'new-room', onclick: () => this.#go('/') }, t('newRoom'))));
  }

  /**
   * Leaves without a question: it can be undone for a moment, and until then nothing is sent.
   * @param {{session: import('../session.js').Session, view: HTMLElement, shown(): void}} room
   */
  #leave(room) {
    const rejoin = h('button', { class: 'button primary', testid: 'rejoin', onclick: () => this.#endLeaving ? back() : this.open() }, t('undoLeave'));
    const stay = () => {
      clearTimeout(timer);
      removeEventListener('pagehide', end, true);
      this.#endLeaving = undefined;
      rejoin.textContent = t('rejoin');
    };
    const end = () => {
      stay();
      room.session.leave();
    };
    const back = () => {
      stay();
      this.#show(room.view);
      room.shown();
    };
    const timer = setTimeout(end, UNDO);
    // Runs before the session itself closes the connection.
    addEventListener('pagehide', end, true);
    this.#endLeaving = end;
    this.#showLeft(rejoin);
  }

  /** @param {HTMLElement} rejoin */
  #showLeft(rejoin) {
    this.#show(noticePage('left', t('leftTitle'), t('leftText'), rejoin,
      h('button', { class: 'button', testid: 'new-room', onclick: () => this.#go('/') }, t('newRoom'))));
  }

  /** Stays unchanged while further attempts fail. @param {() => void} again @param {number} [wait] ms that the server wants the next one to wait */
  #showUnreachable(again, wait = 0) {
    clearTimeout(this.#retryTimer);
    if (this.#ended.signal.aborted) return;
    this.#retryTimer = setTimeout(again, wait + AGAIN * (0.5 + Math.random()));
    if (this.#unreachable?.isConnected) return;
    const now = () => {
      clearTimeout(this.#retryTimer);
      again();
    };
    const page = noticePage('unreachable', t('unreachableTitle'), t('unreachableText'),
      h('button', { class: 'button', testid: 'try-now', onclick: now }, t('tryNow')));
    this.#unreachable = page;
    this.#show(page);
  }

  /** @param {HTMLElement} element */
  #show(element) {
    if (this.#ended.signal.aborted) return;
    show(this.#app, element);
    /** @type {HTMLElement | null} */ (element.querySelector('h1[tabindex]'))?.focus();
  }
}
