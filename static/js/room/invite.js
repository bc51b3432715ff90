// @ts-check
// Getting others in: the link of the room, copied, handed to the system or shown as a QR code, and
// the invitation that stands in an empty room.

import { h, icon } from '../dom.js';
import { t } from '../i18n.js';
import { addressOf, linkAt } from '../names.js';
import { overlay } from './overlay.js';

const COPIED = 2_000; // ms the button says so

/** The link of this room, with its key where it has one. */
export function roomLink() {
  const link = linkAt(location);
  return location.origin + (link ? addressOf({ ...link, message: null }) : location.pathname);
}

/**
 * @param {string} testid
 * @param {string} className
 * @param {(text: string) => void} notice
 */
export function copyButton(testid, className, notice) {
  const label = h('span', {}, t('copyLink'));
  const button = h('button', { type: 'button', class: className, testid, 'aria-label': t('copyLink'), title: t('copyLink'), onclick: copy },
    icon('link'), icon('check'), label);

  async function copy() {
    const done = await copyText(roomLink());
    notice(t(done ? 'copied' : 'copyFailed'));
    if (!done) return;
    button.dataset.copied = 'true';
    label.textContent = t('copied');
    setTimeout(() => {
      delete button.dataset.copied;
      label.textContent = t('copyLink');
    }, COPIED);
  }
  return button;
}

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

/** What stands where no message is yet. @param {(text: string) => void} notice */
export function emptyRoom(notice) {
  const text = h('p', {});
  const copy = copyButton('empty-copy', 'button primary copy', notice);
  const element = h('div', { class: 'empty', testid: 'empty' },
    h('div', { class: 'empty-bubbles', 'aria-hidden': 'true' }, h('i'), h('i'), h('i')),
    h('h2', {}, t('emptyTitle')), text, copy);

  /** @param {import('../store.js').State} state */
  function render({ members }) {
    const alone = members.size < 2;
    const words = t(alone ? 'emptyText' : 'emptyTextCompany');
    if (text.textContent !== words) text.textContent = words;
    copy.hidden = !alone;
  }
  return { element, render };
}

async function shareNative() {
  try {
    await navigator.share({ title: document.title, text: t('shareMessage'), url: roomLink() });
  } catch {
    // The person changed their mind.
  }
}

/** @param {string} text @returns {Promise<boolean>} */
export async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return copyBySelection(text);
  }
}

/** For plain http, where there is no clipboard interface. @param {string} text */
function copyBySelection(text) {
  const field = h('textarea', { class: 'visually-hidden', readonly: true });
  field.value = text;
  (document.querySelector('dialog[open]') ?? document.body).append(field);
  const focused = document.activeElement;
  field.select();
  const done = document.execCommand('copy');
  field.remove();
  if (focused instanceof HTMLElement) focused.focus();
  return done;
}
