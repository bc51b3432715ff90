// @ts-check
// Whether the person is active, which all tabs of this browser share; and what they see while they
// look at another page: the room's name and a count in the title.

import { collator, t } from '../i18n.js';
import { storage } from '../identity.js';
import { isolated } from '../names.js';
import { newKey } from '../protocol.js';

const IDLE = 2 * 60_000; // ms without input until the person counts as away
const SIGNS = ['pointerdown', 'pointermove', 'keydown', 'wheel', 'touchstart', 'focus'];

export const NOTED = 4_000; // ms for which a tab's note counts that the person looks at it, in browsers without locks

const NAMED = 3; // names in the title of a room

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

/** Whether the person looks at a room in this tab, announced to the other tabs of this browser. */
export class TabFocus {
  /** Whether the person looks at this tab. */
  isHere = false;
  /** The lock shared by all tabs that the person looks at. */
  lock;
  /** The prefix of the storage items that announce it, with the time, in browsers without locks. */
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

  /** Announces it to the other tabs. @returns {() => void} takes it back */
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
 * The first names of a list of members, cached: they are needed with every message, but sorted only when somebody joins or leaves.
 * @type {WeakMap<import('../store.js').State['members'], string>}
 */
const names = new WeakMap();

/** The topic of the room, or else the names of the others in it; the same in every tab. @param {import('../store.js').State} state */
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
