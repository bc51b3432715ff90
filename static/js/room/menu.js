// @ts-check
// A menu: beside its element, or on a phone a sheet at the bottom. It is modal, so that nothing
// behind it is pressed by accident; Escape and a click outside close it, and the focus returns to
// where it was.

import { h, icon } from '../dom.js';
import { overlay } from './overlay.js';
import './styles.js';

const EDGE = 8; // px that stay free around it

/**
 * @typedef {object} Item
 * @property {string} testid
 * @property {string} text
 * @property {import('../dom.js').IconName} [icon]
 * @property {boolean} [checked] for something that is on or off
 * @property {boolean} [radio] of several only one is on
 * @property {boolean} [danger]
 * @property {() => void} act
 */

/**
 * @param {object} options
 * @param {string} options.label
 * @param {DOMRect | {left: number, right: number, top: number, bottom: number}} options.at the box that it opens beside
 * @param {readonly (Item | null | false)[]} options.items
 * @param {Node[]} [options.head]
 * @param {Node[]} [options.foot]
 */
export function openMenu({ label, at, items, head = [], foot = [] }) {
  const buttons = items.flatMap((item) => (item ? [button(item, () => dialog.close())] : []));
  const dialog = h('dialog', { class: 'menu', testid: 'menu', 'aria-label': label },
    ...head,
    h('div', { class: 'menu-items', role: 'menu', 'aria-label': label, onkeydown: (/** @type {KeyboardEvent} */ event) => move(event, buttons) }, ...buttons),
    ...foot);
  // After a long press, the finger that opened the menu is lifted over it.
  let isPressed = false;
  dialog.addEventListener('pointerdown', () => (isPressed = true));
  dialog.addEventListener('click', (/** @type {MouseEvent} */ event) => {
    if (event.detail > 0 && !isPressed) event.stopPropagation();
    else if (event.target === dialog) dialog.close();
  }, { capture: true });
  dialog.addEventListener('contextmenu', (/** @type {Event} */ event) => event.preventDefault());
  const over = overlay(() => dialog.close());
  dialog.addEventListener('close', () => {
    dialog.remove();
    over.closed();
  });
  document.body.append(dialog);
  dialog.showModal();
  over.opened();
  place(dialog, at);
  buttons[0]?.focus({ preventScroll: true });
  return dialog;
}

/** @param {Item} item @param {() => void} close */
function button(item, close) {
  const isSwitch = item.checked !== undefined;
  return h('button', {
    type: 'button', class: item.danger ? 'menu-item danger' : 'menu-item', testid: item.testid,
    role: !isSwitch ? 'menuitem' : item.radio ? 'menuitemradio' : 'menuitemcheckbox', 'aria-checked': isSwitch && String(item.checked),
    onclick: () => {
      close();
      item.act();
    },
  }, item.icon && icon(item.icon), h('span', {}, item.text), isSwitch && h('span', { class: item.radio ? 'choice' : 'switch', 'aria-hidden': 'true' }));
}

/** @param {KeyboardEvent} event @param {HTMLElement[]} buttons */
function move(event, buttons) {
  const at = buttons.indexOf(/** @type {HTMLElement} */ (document.activeElement));
  /** @type {Record<string, number>} */
  const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: -1 };
  if (!(event.key in to)) return;
  event.preventDefault();
  buttons.at(to[event.key] % buttons.length)?.focus();
}

/** Positions the menu below its element if it fits, else above. A sheet is positioned by CSS. @param {HTMLElement} dialog @param {{left: number, right: number, top: number, bottom: number}} at */
function place(dialog, at) {
  const { width, height } = dialog.getBoundingClientRect();
  const [right, bottom] = [innerWidth - width - EDGE, innerHeight - height - EDGE];
  const left = (at.left + at.right) / 2 > innerWidth / 2 ? at.right - width : at.left;
  const top = at.bottom <= bottom ? at.bottom : at.top - height;
  dialog.style.setProperty('--x', `${Math.max(EDGE, Math.min(left, right))}px`);
  dialog.style.setProperty('--y', `${Math.max(EDGE, Math.min(top, bottom))}px`);
}
