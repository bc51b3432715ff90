// @ts-check
// Notifications of a room, and the sound of a message. All tabs of this browser in the room
// coordinate: they show nothing while the person looks at one of them, one tab shows a message, and
// each closes notifications of read messages.

import { t } from '../i18n.js';
import { storage } from '../identity.js';
import { serviceWorkers } from '../loader.js';
import { isFor, splitQuote } from '../markup.js';
import { isolated } from '../names.js';
import { BEGINNING, compareIds, newKey } from '../protocol.js';
import { knownNames } from '../store.js';
import { NOTED } from './attention.js';
import { notifyMode, sound } from './settings.js';
import { shorten } from './shorten.js';
import { play } from './sound.js';

const TEXT_SHOWN = 120; // UTF-16 units
const NOTE = 400; // ms in which what was seen becomes one note, as storage takes its time
const TURN = 150; // ms in which a tab sees that another one has taken its turn, in browsers without locks

export class Notifier {
  #session;
  #tabFocus;
  #tag;
  /** Storage key of the newest message that the person was told of; removed together with the read position. */
  #told;
  /** Storage key of the tab whose turn it is, in browsers without locks. */
  #turn;
  /** @type {Notification | null} where there is no worker that shows them */
  #shown = null;
  /** The newest message that was seen, until that is noted. @type {readonly import('../store.js').Message[]} */
  #seen = [];
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #noting;
  /** Unread messages; an earlier page may have left a notification of some. */
  #unread = Infinity;

  /** @param {import('../session.js').Session} session @param {import('./attention.js').TabFocus} tabFocus */
  constructor(session, tabFocus) {
    const { roomId } = session.state;
    this.#session = session;
    this.#tabFocus = tabFocus;
    this.#tag = `linkroom-${roomId}`;
    this.#told = `linkroom:read:${roomId}:told`;
    this.#turn = `linkroom:turn:${roomId}`;
    serviceWorkers()?.addEventListener('message', ({ data, ports }) => {
      if (data?.inRoom === roomId) ports[0].postMessage({ looks: tabFocus.isHere, notifies: notifyMode() === 'all' });
    }, { signal: session.signal });
  }

  /**
   * Others have sent messages, just now or while the connection was down. If the person is looking, they have seen them, and
   * permissions are not queried, because that takes browsers a millisecond.
   * @param {readonly import('../store.js').Message[]} messages
   */
  async tell(messages) {
    if (this.#tabFocus.isHere) return this.#noteSoon(messages);
    const { state } = this.#session;
    const mode = notifyMode() ?? 'off';
    const message = messages.filter(({ text }) => mode !== 'mentions' || isFor(text, state.me, knownNames(state))).at(-1);
    if (!message || (mode === 'off' && !sound.get())) return;
    await this.#inTurn(async () => {
      if (await this.#isLookedAt()) return;
      if (compareIds(storage.read(this.#told) ?? BEGINNING, message.id) >= 0) return;
      this.#note([message]);
      if (sound.get()) play();
      if (mode !== 'off') await this.#show(message);
    });
  }

  /** The same for what was seen, a moment later. @param {readonly import('../store.js').Message[]} messages */
  #noteSoon(messages) {
    this.#seen = messages.slice(-1);
    this.#noting ??= setTimeout(() => {
      this.#noting = undefined;
      this.#note(this.#seen);
    }, NOTE);
  }

  /** What these messages say is no news any more. @param {readonly import('../store.js').Message[]} messages */
  #note(messages) {
    for (const { id } of messages.slice(-1)) {
      if (compareIds(storage.read(this.#told) ?? BEGINNING, id) < 0) storage.write(this.#told, id);
    }
  }

  /** Closes the notifications when all messages are read, whichever tab showed them. @param {number} unread */
  async count(unread) {
    const isRead = unread === 0 && this.#unread > 0;
    this.#unread = unread;
    if (!isRead) return;
    const shown = await this.#notifications();
    // More messages may have arrived meanwhile.
    if (this.#unread === 0) for (const notification of shown) notification.close();
  }

  /** Closes the notification of a deleted message. @param {string} id */
  async forget(id) {
    for (const notification of await this.#notifications()) if (notification.data.id === id) notification.close();
  }

  /** The room's notifications, of this page or an earlier one. @returns {Promise<Notification[]>} */
  async #notifications() {
    const registration = await serviceWorkers()?.getRegistration();
    const shown = (await registration?.getNotifications?.({ tag: this.#tag })) ?? [];
    return this.#shown ? [...shown, this.#shown] : shown;
  }

  /** Whether the person looks at the room in any tab. */
  async #isLookedAt() {
    const { isHere, lock, note } = this.#tabFocus;
    if (!navigator.locks) return storage.keys(note).some((key) => Math.abs(Date.now() - Number(storage.read(key))) < NOTED);
    const { held } = await navigator.locks.query().catch(() => ({ held: [] }));
    return isHere || Boolean(held?.some(({ name }) => name === lock));
  }

  /** Runs `task` while no other tab does. Without locks, only one of the tabs that try at the same time runs it. @param {() => Promise<void>} task */
  async #inTurn(task) {
    if (!navigator.locks) {
      const mine = newKey();
      storage.write(this.#turn, mine);
      await new Promise((resolve) => setTimeout(resolve, TURN));
      if (storage.read(this.#turn) !== mine) return;
      storage.remove(this.#turn);
      return task();
    }
    let ran = false;
    const once = async () => {
      ran = true;
      await task();
    };
    await navigator.locks.request(`${this.#tag}-turn`, once).catch(() => (ran ? undefined : task()));
  }

  /** Shows one notification per room, of the newest message; each new message alerts again. @param {import('../store.js').Message} message */
  async #show({ id, from, text, problem, roomId }) {
    const { topic } = this.#session.state;
    const title = topic ? `${isolated(from)} · ${isolated(topic)}` : from;
    const options = {
      body: problem ? t(problem) : shorten(splitQuote(text).rest || text, TEXT_SHOWN),
      tag: this.#tag, renotify: true, icon: '/static/icon-192.png', data: { url: location.href, roomId, id },
    };
    // On phones only a service worker can show notifications.
    const registration = await serviceWorkers()?.getRegistration();
    if (registration) return registration.showNotification(title, options).catch(() => {});
    this.#shown = new Notification(title, options);
    this.#shown.onclick = () => focus();
  }
}
