// @ts-check
// Notifications of a room, and the sound of a message. All tabs of this browser in it decide as one: nothing is shown while somebody
// looks at one of them, a message is shown once, and what is read, wherever that was, is taken away.

import { t } from '../i18n.js';
import { storage } from '../identity.js';
import { serviceWorkers } from '../loader.js';
import { isFor, splitQuote } from '../markup.js';
import { BEGINNING, compareIds } from '../protocol.js';
import { notifyMode, sound } from './settings.js';
import { shorten } from './shorten.js';

const TEXT_SHOWN = 120; // UTF-16 units
const PAUSE = 300; // ms in which a tab that is looked at says so, in browsers without locks

export class Notifier {
  #session;
  #tag;
  /** Where the tabs note the newest message of which the person knows; it goes with the read position. */
  #told;
  /** @type {(() => void) | null} gives up the lock of a tab that is looked at */
  #lookAway = null;
  #looks = false;
  /** @type {Notification | null} where there is no worker that shows them */
  #shown = null;
  /** Unread messages; an earlier page may have left a notification of some. */
  #unread = Infinity;

  /** @param {import('../session.js').Session} session */
  constructor(session) {
    const { roomId } = session.state;
    this.#session = session;
    this.#tag = `linkroom-${roomId}`;
    this.#told = `linkroom:read:${roomId}:told`;
    session.signal.addEventListener('abort', () => this.look(false));
    serviceWorkers()?.addEventListener('message', ({ data, ports }) => {
      if (data?.inRoom === roomId) ports[0].postMessage(true);
    }, { signal: session.signal });
  }

  /** Whether the person looks at this tab. @param {boolean} looks */
  look(looks) {
    this.#looks = looks;
    this.#lookAway?.();
    this.#lookAway = null;
    if (!looks || !navigator.locks) return;
    const away = new Promise((resolve) => (this.#lookAway = () => resolve(null)));
    navigator.locks.request(this.#tag, { mode: 'shared' }, () => away).catch(() => {});
  }

  /**
   * Somebody else has said something, at once or while there was no connection. Whoever looks has seen it: nothing more is
   * asked then, as browsers take a millisecond to say what is allowed.
   * @param {readonly import('../store.js').Message[]} messages
   */
  async tell(messages) {
    if (this.#looks) return void storage.write(this.#told, messages.at(-1)?.id ?? BEGINNING);
    const { me, members } = this.#session.state;
    const mode = notifyMode() ?? 'off';
    const message = messages.filter(({ text }) => mode !== 'mentions' || isFor(text, me, members.keys())).at(-1);
    if (!message || (mode === 'off' && !sound.get())) return;
    if (await this.#isLookedAt()) return;
    await this.#inTurn(async () => {
      if (compareIds(storage.read(this.#told) ?? BEGINNING, message.id) >= 0) return;
      storage.write(this.#told, message.id);
      if (sound.get()) import('./sound.js').then(({ play }) => play()).catch(() => {});
      if (mode !== 'off') await this.#show(message);
    });
  }

  /** What is read is no news, whichever tab has shown it. @param {number} unread */
  async count(unread) {
    const isRead = unread === 0 && this.#unread > 0;
    this.#unread = unread;
    if (!isRead) return;
    for (const notification of await this.#notifications()) notification.close();
  }

  /** What a message said is gone: nothing shows it any longer. @param {string} id */
  async forget(id) {
    for (const notification of await this.#notifications()) if (notification.data.id === id) notification.close();
  }

  /** What this page or an earlier one shows of the room. @returns {Promise<Notification[]>} */
  async #notifications() {
    const registration = await serviceWorkers()?.getRegistration();
    const shown = (await registration?.getNotifications?.({ tag: this.#tag })) ?? [];
    return this.#shown ? [...shown, this.#shown] : shown;
  }

  /** Whether another tab is looked at. */
  async #isLookedAt() {
    if (!navigator.locks) {
      await new Promise((resolve) => setTimeout(resolve, PAUSE));
      return false;
    }
    const { held } = await navigator.locks.query().catch(() => ({ held: [] }));
    return held?.some(({ name }) => name === this.#tag);
  }

  /** Runs `task` while no other tab does. @param {() => Promise<void>} task */
  async #inTurn(task) {
    if (!navigator.locks) return task();
    let ran = false;
    const once = async () => {
      ran = true;
      await task();
    };
    await navigator.locks.request(`${this.#tag}-turn`, once).catch(() => (ran ? undefined : task()));
  }

  /** One a room, with the newest message; each that comes is noticed. @param {import('../store.js').Message} message */
  async #show({ id, from, text, problem, roomId }) {
    const { topic } = this.#session.state;
    const title = topic ? `${from} · ${topic}` : from;
    const options = {
      body: problem ? t(problem) : shorten(splitQuote(text).rest || text, TEXT_SHOWN),
      tag: this.#tag, renotify: true, icon: '/static/icon-192.png', data: { url: location.href, roomId, id },
    };
    // Phones only know notifications of a service worker.
    const registration = await serviceWorkers()?.getRegistration();
    if (registration) return registration.showNotification(title, options).catch(() => {});
    this.#shown = new Notification(title, options);
    this.#shown.onclick = () => focus();
  }
}
