// @ts-check
// One message as an element.

import { h, icon } from '../dom.js';
import { fullTimeText, t, timeText } from '../i18n.js';
import { hueOf, initialOf, languageOf } from '../names.js';
import { knownNames } from '../store.js';
import { foldButton, isLong, textNodes } from './text.js';

/** @param {import('../store.js').Message} message @param {import('../store.js').State} state @returns {HTMLLIElement} */
export function messageElement(message, state) {
  const li = element(message.from, message.timestamp, message.problem ? textless(message.problem) : bubble(message.text, state), message.from === state.me);
  if (!message.problem && isLong(message.text)) fold(li);
  if (message.problem) li.dataset.problem = message.problem;
  if (message.key) li.dataset.key = message.key;
  markStored(li, message);
  return li;
}

/** @param {import('../store.js').Pending} pending @param {import('../store.js').State} state @returns {HTMLLIElement} */
export function pendingElement(pending, state) {
  const li = element(state.me, new Date(pending.at).toISOString(), bubble(pending.text, state), true);
  if (isLong(pending.text)) fold(li);
  li.dataset.key = pending.key;
  li.dataset.id = '';
  return li;
}

/** Shown instead of a text. @param {import('../store.js').Problem} problem */
function textless(problem) {
  return h('div', { class: 'bubble problem', testid: 'message-text' }, problem !== 'deleted' && icon('shield'), t(problem));
}

/** Removes the text of a deleted message; its element stays. @param {HTMLLIElement} li */
export function markDeleted(li) {
  li.querySelector('.bubble')?.replaceWith(textless('deleted'));
  li.querySelector('.fold')?.remove();
  li.classList.remove('long', 'unfolded');
  li.dataset.problem = 'deleted';
}

/** A pending message became a stored one. @param {HTMLLIElement} li @param {import('../store.js').Message} message */
export function markStored(li, message) {
  li.dataset.id = message.id;
  li.dataset.state = 'sent';
  li.querySelector('.delivery')?.remove();
  markTime(li, message.timestamp);
}

/** @param {HTMLLIElement} li @param {string} timestamp */
export function markTime(li, timestamp) {
  const time = /** @type {HTMLTimeElement} */ (li.querySelector('time'));
  time.dateTime = timestamp;
  time.title = fullTimeText(timestamp);
  time.textContent = timeText(timestamp);
}

/**
 * Shows the state of an own pending message.
 * @param {HTMLLIElement} li
 * @param {import('../store.js').Pending} pending
 * @param {boolean} online
 * @param {{retry(key: string): void, discard(key: string): void}} actions
 */
export function markPending(li, { key, failed, unkept }, online, actions) {
  const look = failed ?? (online ? 'sending' : unkept ? 'waitingHere' : 'waiting');
  if (li.dataset.look === look) return;
  li.dataset.look = look;
  li.dataset.state = failed ? 'failed' : 'sending';
  li.querySelector('.delivery')?.remove();
  li.append(failed ? failure(key, failed, actions) : h('div', { class: 'delivery' }, t(/** @type {'sending' | 'waiting' | 'waitingHere'} */ (look))));
}

/** Why a message was not stored. @param {string} code */
export const failureText = (code) => t(code === 'UNCERTAIN' ? 'uncertain' : 'notSent');

/** @param {string} key @param {string} code @param {{retry(key: string): void, discard(key: string): void}} actions */
function failure(key, code, actions) {
  return h('div', { class: 'delivery failed' },
    h('span', {}, failureText(code)),
    h('button', { class: 'text-button', testid: 'retry', onclick: () => actions.retry(key) }, t('retry')),
    h('button', { class: 'text-button', testid: 'discard', onclick: () => actions.discard(key) }, t('discard')));
}

/** @param {string} from @param {string} timestamp @param {HTMLElement} content @param {boolean} mine @returns {HTMLLIElement} */
function element(from, timestamp, content, mine) {
  return h('li', { class: `message hue-${hueOf(from)}${mine ? ' mine' : ''}`, testid: 'message', data: { from, initial: initialOf(from) } },
    h('bdi', { class: 'author' }, from),
    content,
    h('time', { datetime: timestamp, title: fullTimeText(timestamp) }, timeText(timestamp)));
}

/** Folds a long text: only its beginning is shown at first. @param {HTMLLIElement} li */
function fold(li) {
  li.classList.add('long');
  li.append(foldButton());
}

/** @param {string} text @param {import('../store.js').State} state */
function bubble(text, state) {
  // Few texts have an `@`, and only these look at the names.
  const names = { get known() { return knownNames(state); }, isOpen: state.isLarge };
  return h('div', { class: 'bubble', testid: 'message-text', dir: 'auto', lang: languageOf(text) || null }, ...textNodes(text, state.me, names));
}
