// @ts-check
// Inviting others: the room's link, copied, and the invitation in an empty room.

import { h, icon } from '../dom.js';
import { t } from '../i18n.js';
import { addressOf, linkAt } from '../names.js';

const COPIED = 2_000; // ms for which the button confirms it

/** The link of this room, with its key if it has one. */
export function roomLink() {
  const link = linkAt(location);
  return location.origin + (link ? addressOf({ ...link, message: null, token: null }) : location.pathname);
}

/**
 * @param {string} testid
 * @param {string} className
 * @param {(text: string) => void} notice
 * @param {() => string} [link] returns the text to copy
 * @param {string} [words] shown to confirm it
 */
export function copyButton(testid, className, notice, link = roomLink, words = t('copyLink')) {
  const label = h('span', {}, words);
  const button = h('button', { type: 'button', class: className, testid, 'aria-label': words, title: words, onclick: copy },
    icon('link'), icon('check'), label);

  async function copy() {
    const done = await copyText(link());
    notice(t(done ? 'copied' : 'copyFailed'));
    if (!done) return;
    button.dataset.copied = 'true';
    label.textContent = t('copied');
    setTimeout(() => {
      delete button.dataset.copied;
      label.textContent = words;
    }, COPIED);
  }
  return button;
}

/** What an empty log shows. @param {(text: string) => void} notice */
export function emptyRoom(notice) {
  const text = h('p', {});
  const copy = copyButton('empty-copy', 'button primary copy', notice);
  const element = h('div', { class: 'empty', testid: 'empty' },
    h('div', { class: 'empty-bubbles', 'aria-hidden': 'true' }, h('i'), h('i'), h('i')),
    h('h2', {}, t('emptyTitle')), text, copy);

  /** @param {import('../store.js').State} state */
  function render({ memberCount }) {
    const alone = memberCount < 2;
    const words = t(alone ? 'emptyText' : 'emptyTextCompany');
    if (text.textContent !== words) text.textContent = words;
    copy.hidden = !alone;
  }
  return { element, render };
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

/** For plain http, where the clipboard API is missing. @param {string} text */
function copyBySelection(text) {
  const field = h('textarea', { class: 'visually-hidden', readonly: true });
  field.value = text;
  (document.querySelector('dialog[open]') ?? document.body).append(field);
  const focused = document.activeElement;
  field.select();
  let done = false;
  try {
    done = document.execCommand('copy');
  } catch {
    // The browser forbids it.
  }
  field.remove();
  if (focused instanceof HTMLElement) focused.focus();
  return done;
}
