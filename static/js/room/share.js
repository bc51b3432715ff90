// @ts-check
// The link of the room in a dialog of its own: copied, handed to the system or shown as a QR code.

import { h, icon } from '../dom.js';
import { t } from '../i18n.js';
import { copyButton, roomLink } from './invite.js';
import { overlay } from './overlay.js';

/** @param {boolean} encrypted @param {(text: string) => void} notice */
export function shareDialog(encrypted, notice) {
  const code = h('div', { class: 'qr-slot' });
  const link = h('input', { class: 'field', testid: 'share-link', readonly: true, 'aria-label': t('shareLink'), onfocus: () => link.select() });
  const dialog = h('dialog', { class: 'dialog', testid: 'share-dialog', 'aria-labelledby': 'share-title' },
    h('div', { class: 'dialog-head' },
      h('h2', { id: 'share-title' }, t('shareTitle')),
      h('button', { class: 'icon-button', testid: 'share-close', 'aria-label': t('close'), onclick: () => dialog.close() }, icon('close'))),
    code,
    h('p', { class: 'hint' }, t(encrypted ? 'shareTextE2e' : 'shareText')),
    link,
    h('div', { class: 'dialog-actions' },
      copyButton('share-copy', 'button primary copy', notice),
      typeof navigator.share === 'function' && h('button', { class: 'button', testid: 'share-native', onclick: shareNative }, t('shareNative'))));
  dialog.addEventListener('click', (/** @type {Event} */ event) => {
    if (event.target === dialog) dialog.close();
  });
  const over = overlay(() => dialog.close());
  dialog.addEventListener('close', over.closed);

  async function open() {
    link.value = roomLink();
    dialog.showModal();
    over.opened();
    try {
      const { qrElement } = await import('./qr.js');
      code.replaceChildren(qrElement(roomLink(), t('qrLabel')));
    } catch {
      code.hidden = true; // The link itself is there.
    }
  }
  return { element: dialog, open };
}

async function shareNative() {
  try {
    await navigator.share({ title: document.title, text: t('shareMessage'), url: roomLink() });
  } catch {
    // The person changed their mind.
  }
}
