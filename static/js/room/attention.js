// @ts-check
// Whether the person is here, which all tabs of this browser know; and what reaches them when they look
// elsewhere: a name for the room, with a count, in the title.

import { collator, t } from '../i18n.js';
import { storage } from '../identity.js';
import { isolated } from '../names.js';
import { newKey } from '../protocol.js';

const IDLE = 2 * 60_000; // ms without a sign of the person
const SIGNS = ['pointerdown', 'pointermove', 'keydown', 'wheel', 'touchstart', 'focus'];

export const NOTED = 4_000; // ms for which a tab is looked at that says so, in browsers without locks

const NAMED = 3; // people in the name of a room

/**
 * @typedef {object} Activity
 * @property {import('../protocol.js').Status} status for others
 * @property {boolean} looks whether what appears is seen: the window has the focus, too
 *
 * @param {(activity: Activity) => void} onActivity called at once, and when it changes
 * @param {AbortSignal} signal
 */
export function watchActivity(onActivity, signal) {
  /** @type {Activity | undefined} */
  let now;
  let lastSign = performance.now();
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;

  function update() {
    const idle = performance.now() - lastSign;
    const status = document.hidden || idle >= IDLE ? 'away' : 'online';
    const looks = status === 'online' && document.hasFocus();
    clearTimeout(timer);
    if (status === 'online') timer = setTimeout(update, IDLE - idle);
    if (now?.status === status && now.looks === looks) return;
    now = { status, looks };
    onActivity(now);
  }

  function onSign() {
    lastSign = performance.now();
    if (!now?.looks) update();
  }

  for (const sign of SIGNS) addEventListener(sign, onSign, { signal, passive: true });
  addEventListener('blur', update, { signal });
  document.addEventListener('visibilitychange', () => {
    lastSign = performance.now();
    update();
  }, { signal });
  signal.addEventListener('abort', () => clearTimeout(timer));
  update();
}

/** Whether somebody looks at a room in this tab, which the other ones of this browser can see. */
export class Gaze {
  /** Whether it is this tab. */
  isHere = false;
  /** The lock of all tabs that are looked at. */
  lock;
  /** What the items of storage begin with in which tabs without locks say so, with the time. */
  note;
  #end = () => {};

  /** @param {string} roomId @param {AbortSignal} signal */
  constructor(roomId, signal) {
    this.lock = `linkroom-${roomId}`;
    this.note = `linkroom:read:${roomId}:seen:`;
    signal.addEventListener('abort', () => this.set(false));
  }

  /** @param {boolean} isHere */
  set(isHere) {
    this.isHere = isHere;
    this.#end();
    this.#end = isHere ? this.#say() : () => {};
  }

  /** Says so to the other tabs. @returns {() => void} takes it back */
  #say() {
    if (navigator.locks) {
      let end = () => {};
      const ended = new Promise((resolve) => (end = () => resolve(null)));
      navigator.locks.request(this.lock, { mode: 'shared' }, () => ended).catch(() => {});
      return end;
    }
    const mine = this.note + newKey(); // of this tab, as another one may be looked at before this one knows
    const note = () => storage.write(mine, String(Date.now()));
    const timer = setInterval(note, NOTED / 2);
    note();
    return () => {
      clearInterval(timer);
      storage.remove(mine);
    };
  }
}

/**
 * The first names of lists of members: they are asked for with every message, and sorted when somebody came or went.
 * @type {WeakMap<import('../store.js').State['members'], string>}
 */
const names = new WeakMap();

/** What the room is called, else who is in it besides me; the same in every tab. @param {import('../store.js').State} state */
export function roomName({ topic, members, memberCount, me }) {
  if (topic) return topic;
  const more = memberCount - 1 - NAMED;
  const known = names.get(members) ?? firstNames(members, me);
  names.set(members, known);
  return known ? known + (more > 0 ? ` +${more}` : '') : t('justYou');
}

/** @param {import('../store.js').State['members']} members @param {string} me */
function firstNames(members, me) {
  const others = [...members.keys()].filter((userId) => userId !== me).sort(collator.compare);
  return others.slice(0, NAMED).map(isolated).join(', ');
}

/** @param {import('../store.js').State} state @param {number} unread */
export function titleOf(state, unread) {
  return `${unread > 0 ? `(${unread}) ` : ''}${isolated(roomName(state))} · linkroom`;
}
