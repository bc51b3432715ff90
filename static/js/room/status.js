// @ts-check
// Status of the room: the state of the connection, and one line about what just happened.

import { h } from '../dom.js';
import { t } from '../i18n.js';

const SLOW = 4_000; // ms of connecting after which the person may retry
const TICK = 500; // ms between updates of the countdown
const NOTICE = 4_000; // ms that a notice is shown

/** The state of the connection in words, with a countdown while it is down. */
export class ConnectionBar {
  #session;
  #say;
  /** Whether a loss was shown, so that the recovery is shown too. */
  #wasLost = false;
  /** @type {import('../socket.js').Connection | null} */
  #shown = null;
  /** @type {ReturnType<typeof setInterval> | undefined} */
  #timer;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #slow;

  #words = h('span', { class: 'connection-words', role: 'status' });
  #countdown = h('span', { class: 'countdown', 'aria-hidden': 'true' });
  #button = h('button', { class: 'text-button', testid: 'try-now', hidden: true, onclick: () => this.#session.tryNow() }, t('tryNow'));

  element = h('div', { class: 'connection', testid: 'connection', data: { state: 'connecting' } }, this.#words, this.#countdown, this.#button);

  /** @param {import('../session.js').Session} session @param {(text: string) => void} say */
  constructor(session, say) {
    this.#session = session;
    this.#say = say;
    session.signal.addEventListener('abort', () => this.#stopTimers());
  }

  /** @param {import('../store.js').State} state */
  render({ connection }) {
    if (connection === this.#shown) return;
    this.#shown = connection;
    this.#stopTimers();
    const { phase } = connection;
    this.element.dataset.state = phase === 'stopped' ? 'offline' : phase;
    this.element.dataset.reason = 'code' in connection ? String(connection.code) : '';
    // The button stays in place for a person who has just pressed it.
    if (phase !== 'connecting') this.#button.hidden = phase === 'online';
    this.#show(phase);
    this.#count();
    if (phase === 'offline') this.#timer = setInterval(() => this.#count(), TICK);
    if (phase === 'connecting') this.#slow = setTimeout(() => (this.#button.hidden = false), SLOW);
  }

  #stopTimers() {
    clearInterval(this.#timer);
    clearTimeout(this.#slow);
  }

  /** @param {import('../socket.js').Connection['phase']} phase */
  #show(phase) {
    if (phase === 'offline') this.#wasLost = true;
    if (phase === 'online' && this.#wasLost) {
      this.#wasLost = false;
      this.#say(t('back'));
    }
    const words = { online: '', connecting: t('connecting'), offline: t('offline'), stopped: t('stopped') }[phase];
    if (this.#words.textContent !== words) this.#words.textContent = words;
  }

  #count() {
    const connection = this.#shown;
    this.#countdown.textContent = connection?.phase === 'offline'
      ? t('retryIn', { n: Math.max(0, Math.ceil((connection.retryAt - performance.now()) / 1000)) })
      : '';
  }
}

/** One line above the composer that says what just happened, and disappears. */
export function notices() {
  const element = h('div', { class: 'notice', testid: 'notice', role: 'status' });
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;

  /** @param {string} text @param {number} [ms] @param {boolean} [isSeen] elsewhere: then it is only for whoever listens */
  function say(text, ms = NOTICE, isSeen = false) {
    clearTimeout(timer);
    element.classList.toggle('unseen', isSeen);
    element.textContent = text;
    timer = setTimeout(() => (element.textContent = ''), ms);
  }
  return { element, say };
}
