// @ts-check
// A dialog with the room's link: to copy, to share through the system, or as a QR code.

import { h } from '../dom.js';
import { openDialog } from './dialog.js';
import { copyButton, roomLink } from './invite.js';
import { qrElement } from './qr.js';
import { t } from './words.js';

/** @param {boolean} encrypted @param {(text: string) => void} notice */
export function openShare(encrypted, notice) {
  const link = h('input', { class: 'field', testid: 'share-link', readonly: true, value: roomLink(), 'aria-label': t('shareLink'), onfocus: () => link.select() });
  openDialog({
    testid: 'share-dialog',
    title: t('shareTitle'),
    content: () => [
      h('div', { class: 'qr-slot' }, qrElement(roomLink(), t('qrLabel'))),
      h('p', { class: 'hint' }, t(encrypted ? 'shareTextE2e' : 'shareText')),
      link,
      h('div', { class: 'dialog-actions' },
        copyButton('share-copy', 'button primary copy', notice),
        typeof navigator.share === 'function' && h('button', { class: 'button', testid: 'share-native', onclick: shareNative }, t('shareNative'))),
    ],
  });
}

async function shareNative() {
  try {
    await navigator.share({ title: document.title, text: t('shareMessage'), url: roomLink() });
  } catch {
    // The person cancelled.
  }
}
