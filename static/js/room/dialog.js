// @ts-check
// A dialog over the room: modal, with a heading. Escape, a click outside and the back button close
// it, and the focus returns to where it was.

import { h, icon } from '../dom.js';
import { t } from '../i18n.js';
import { overlay } from './overlay.js';
import './styles.js';

/**
 * @param {object} options
 * @param {string} options.testid
 * @param {string} options.title
 * @param {string} [options.role]
 * @param {(close: (value?: string) => void) => (Node | false)[]} options.content the elements below the heading
 * @returns {Promise<string>} the value that it was closed with, or ''
 */
export function openDialog({ testid, title, role, content }) {
  const id = `${testid}-title`;
  /** @param {string} [value] */
  const close = (value) => dialog.close(value);
  /** @type {HTMLDialogElement} */
  const dialog = h('dialog', { class: 'dialog', testid, role, 'aria-labelledby': id },
    h('div', { class: 'dialog-head' },
      h('h2', { id }, title),
      h('button', { type: 'button', class: 'icon-button', testid: 'dialog-close', 'aria-label': t('close'), onclick: () => close() }, icon('close'))),
    ...content(close));
  dialog.addEventListener('click', (event) => {
    if (event.target === dialog) close();
  });
  const over = overlay(() => close());
  document.body.append(dialog);
  dialog.showModal();
  over.opened();
  return new Promise((resolve) => {
    dialog.addEventListener('close', () => {
      dialog.remove();
      over.closed();
      resolve(dialog.returnValue);
    });
  });
}
