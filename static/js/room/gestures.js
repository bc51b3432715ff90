// @ts-check
// Gestures that open a message's menu or answer it: a button under the mouse, the right button, a
// long press, a swipe, the arrow keys and Enter. Does not know what they do.

import { focusOn, h, icon } from '../dom.js';
import { t } from './words.js';

const LONG = 500; // ms
const STILL = 10; // px that a finger may move during a long press
const SWIPED = 56; // px
const FARTHEST = 80; // px

/**
 * @param {HTMLElement} log
 * @param {object} on
 * @param {(message: HTMLElement, at: DOMRect) => void} on.menu
 * @param {(message: HTMLElement) => void} on.swipe
 * @param {() => void} on.escape
 * @param {AbortSignal} signal
 */
export function watchMessages(log, on, signal) {
  const more = h('button', { class: 'message-more', testid: 'message-more', tabindex: '-1', 'aria-hidden': 'true', title: t('messageMenu'), onclick: open }, icon('more'));
  function open() {
    const message = messageOf(more);
    if (message) on.menu(message, more.getBoundingClientRect());
  }

  log.addEventListener('pointerover', (event) => {
    const message = event.pointerType === 'mouse' && messageOf(event.target);
    if (message && more.parentElement !== message) message.append(more);
  }, { signal });

  log.addEventListener('contextmenu', (event) => {
    const message = messageOf(event.target);
    if (!message || isWanted(event)) return;
    event.preventDefault();
    const byKey = event.clientX === 0 && event.clientY === 0;
    on.menu(message, byKey ? boxOf(message) : new DOMRect(event.clientX, event.clientY, 0, 0));
  }, { signal });

  log.addEventListener('keydown', (event) => onKey(event, log, on), { signal });
  log.addEventListener('pointerdown', (event) => {
    const message = event.pointerType === 'touch' && event.isPrimary && messageOf(event.target);
    if (message && !isElement(event.target)?.closest('pre')) followFinger(message, event, log, on);
  }, { signal });
}

/** @param {unknown} target */
const isElement = (target) => (target instanceof Element ? target : null);

/** @param {unknown} target @returns {HTMLElement | null} */
const messageOf = (target) => isElement(target)?.closest('.message') ?? null;

/** @param {HTMLElement} message */
const boxOf = (message) => (message.querySelector('.bubble') ?? message).getBoundingClientRect();

/** Whether the browser's own menu is wanted: on a link, or on selected text. @param {MouseEvent} event */
function isWanted(event) {
  const marked = getSelection();
  const isMarked = marked !== null && !marked.isCollapsed && marked.containsNode(/** @type {Node} */ (event.target), true);
  return isMarked || isElement(event.target)?.closest('a') !== null;
}

/** @param {KeyboardEvent} event @param {HTMLElement} log @param {{menu(message: HTMLElement, at: DOMRect): void, escape(): void}} on */
function onKey(event, log, on) {
  const message = messageOf(event.target);
  const isPlain = !event.altKey && !event.ctrlKey && !event.metaKey && !event.shiftKey;
  if (!isPlain || (event.target !== log && event.target !== message)) return;
  if (event.key === 'Enter' && message) {
    event.preventDefault();
    on.menu(message, boxOf(message));
  } else if (event.key === 'Escape') {
    on.escape();
  } else if (event.key === 'ArrowUp' || event.key === 'ArrowDown') {
    const messages = /** @type {HTMLElement[]} */ ([...log.querySelectorAll('.message')]);
    const to = event.key === 'ArrowUp' ? (message ? messages.indexOf(message) : messages.length) - 1 : messages.indexOf(message ?? log) + 1;
    if (!message && event.key === 'ArrowDown') return;
    event.preventDefault();
    if (messages[to]) focusOn(messages[to]);
  }
}

/**
 * @param {HTMLElement} message
 * @param {PointerEvent} down
 * @param {HTMLElement} log
 * @param {{menu(message: HTMLElement, at: DOMRect): void, swipe(message: HTMLElement): void}} on
 */
function followFinger(message, down, log, on) {
  const ended = new AbortController();
  let isSwipe = false;
  let far = 0;
  const held = setTimeout(() => {
    end();
    if (!isElement(down.target)?.closest('a')) on.menu(message, boxOf(message));
  }, LONG);

  function end() {
    clearTimeout(held);
    ended.abort();
    message.style.removeProperty('transform');
    if (isSwipe && far >= SWIPED) on.swipe(message);
  }

  log.addEventListener('pointermove', (event) => {
    const [x, y] = [event.clientX - down.clientX, event.clientY - down.clientY];
    if (Math.hypot(x, y) > STILL) clearTimeout(held);
    isSwipe ||= x > STILL && x > 2 * Math.abs(y);
    far = isSwipe ? Math.max(0, Math.min(x, FARTHEST)) : 0;
    if (isSwipe) message.style.transform = `translateX(${far}px)`;
  }, { signal: ended.signal });
  log.addEventListener('pointerup', end, { signal: ended.signal });
  log.addEventListener('pointercancel', () => {
    far = 0;
    end();
  }, { signal: ended.signal });
}
