// @ts-check
// The link of the room in a dialog of its own: copied, handed to the system or shown as a QR code.

import { h } from '../dom.js';
import { openDialog } from './dialog.js';
import { copyButton, roomLink } from './invite.js';
import { t } from './words.js';

/** @param {boolean} encrypted @param {(text: string) => void} notice */
export function openShare(encrypted, notice) {
  const code = h('div', { class: 'qr-slot' });
  const link = h('input', { class: 'field', testid: 'share-link', readonly: true, value: roomLink(), 'aria-label': t('shareLink'), onfocus: () => link.select() });
  openDialog({
    testid: 'share-dialog',
    title: t('shareTitle'),
    content: () => [
      code,
      h('p', { class: 'hint' }, t(encrypted ? 'shareTextE2e' : 'shareText')),
      link,
      h('div', { class: 'dialog-actions' },
        copyButton('share-copy', 'button primary copy', notice),
        typeof navigator.share === 'function' && h('button', { class: 'button', testid: 'share-native', onclick: shareNative }, t('shareNative'))),
    ],
  });
  import('./qr.js').then(({ qrElement }) => code.replaceChildren(qrElement(roomLink(), t('qrLabel')))).catch(() => {
    code.hidden = true; // The link itself is there.
  });
}

async function shareNative() {
  try {
    await navigator.share({ title: document.title, text: t('shareMessage'), url: roomLink() });
  } catch {
    // The person changed their mind.
  }
}
