// @ts-check
// Whether the person is here, and what reaches them when they look elsewhere: a count in the title
// and, when wanted, a notification.

import { h, icon } from '../dom.js';
import { collator, t } from '../i18n.js';
import { storage } from '../identity.js';
import { isolated } from '../names.js';
import { onNotifyMode } from './settings.js';

const IDLE = 2 * 60_000; // ms without a sign of the person
const SIGNS = ['pointerdown', 'pointermove', 'keydown', 'wheel', 'touchstart', 'focus'];

const WANTED = 'linkroom:notify';
const NAMED = 3; // people in the name of a room
const TEXT_SHOWN = 120; // characters

/**
 * @param {(status: import('../protocol.js').Status) => void} onStatus called at once, and when it changes
 * @param {AbortSignal} signal
 */
export function watchActivity(onStatus, signal) {
  /** @type {import('../protocol.js').Status | undefined} */
  let status;
  let lastSign = Date.now();
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;

  function update() {
    const idle = Date.now() - lastSign;
    const next = document.hidden || idle >= IDLE ? 'away' : 'online';
    clearTimeout(timer);
    if (next === 'online') timer = setTimeout(update, IDLE - idle);
    if (next === status) return;
    status = next;
    onStatus(next);
  }

  function onSign() {
    lastSign = Date.now();
    if (status === 'away') update();
  }

  for (const sign of SIGNS) addEventListener(sign, onSign, { signal, passive: true });
  document.addEventListener('visibilitychange', () => {
    lastSign = Date.now();
    update();
  }, { signal });
  signal.addEventListener('abort', () => clearTimeout(timer));
  update();
}

/**
 * The names for lists of members: they are asked for with every message, and sorted when somebody came or went.
 * @type {WeakMap<import('../store.js').State['members'], string>}
 */
const names = new WeakMap();

/** What the room is called, else who is in it besides me; the same in every tab. @param {import('../store.js').State} state */
export function roomName({ topic, members, me }) {
  if (topic) return topic;
  const known = names.get(members);
  if (known !== undefined) return known;
  const others = [...members.keys()].filter((userId) => userId !== me).sort(collator.compare);
  const more = others.length > NAMED ? ` +${others.length - NAMED}` : '';
  const name = others.length > 0 ? others.slice(0, NAMED).map(isolated).join(', ') + more : t('justYou');
  names.set(members, name);
  return name;
}

/** @param {import('../store.js').State} state @param {number} unread */
export function titleOf(state, unread) {
  // A title's own direction is that of the browser, which isolates nothing in it.
  const name = roomName(state).replace(/[\u2068\u2069]/g, '');
  return `${unread > 0 ? `(${unread}) ` : ''}${name} · linkroom`;
}

/** The switch for notifications; absent where there are none. @param {(text: string) => void} notice */
export function notifyButton(notice) {
  if (!('Notification' in globalThis)) return null;
  const button = h('button', { class: 'icon-button', testid: 'notify', 'aria-label': t('notifyOn'), title: t('notifyOn'), onclick: toggle },
    icon('bell'), icon('bellOff'));
  const show = () => button.setAttribute('aria-pressed', String(isOn()));

  async function toggle() {
    if (isOn()) storage.remove(WANTED);
    else if ((await Notification.requestPermission()) === 'granted') storage.write(WANTED, '1');
    else notice(t('notifyDenied'));
    show();
  }
  onNotifyMode(show);
  show();
  return button;
}

function isOn() {
  return Notification.permission === 'granted' && storage.read(WANTED) !== null;
}

/** @param {import('../store.js').Message} message */
export async function notifyOf({ from, text, problem, roomId }) {
  if (!document.hidden || !('Notification' in globalThis) || !isOn()) return;
  const body = problem ? t(problem) : text.slice(0, TEXT_SHOWN);
  const options = { body, tag: `linkroom-${roomId}`, icon: '/static/icon-192.png', data: { url: location.href } };
  // Phones only know notifications of a service worker.
  const registration = await navigator.serviceWorker?.getRegistration();
  if (registration) registration.showNotification(from, options).catch(() => {});
  else new Notification(from, options).onclick = () => focus();
}
