// @ts-check
// What the pages outside a room are made of: the mark, a form that asks for a name, a page that says
// one thing.

import { h } from './dom.js';
import { durationText, t } from './i18n.js';
import { storage } from './identity.js';
import { preload } from './loader.js';
import { checkName, NAME_MAX } from './names.js';

const TTLS = [3_600, 28_800, 86_400, 259_200, 604_800]; // s

/** WebCrypto exists only on https and localhost. */
export const canEncrypt = () => globalThis.crypto?.subtle !== undefined;

/** The mark and the name. */
export function brand() {
  return h('a', { class: 'brand', href: '/' },
    h('img', { src: '/static/icon.svg', width: '28', height: '28', alt: '' }), 'linkroom');
}

/**
 * A page that says one thing and offers one way on. Its heading can have the focus, for what is read next.
 * @param {string} testid
 * @param {string} title
 * @param {string} text
 * @param {...Node} actions
 */
export function noticePage(testid, title, text, ...actions) {
  document.title = `${title} · linkroom`;
  return h('main', { class: 'page', testid },
    brand(),
    h('div', { class: 'card' }, h('h1', { tabindex: '-1' }, title), h('p', {}, text), ...actions));
}

/** Said where the page itself failed. Only a fresh one helps. */
export function brokenPage() {
  return noticePage('broken', t('brokenTitle'), t('brokenText'),
    h('button', { class: 'button primary', testid: 'again', onclick: () => location.reload() }, t('again')));
}

/** A field under its label. @param {string} id of the field @param {string} words @param {HTMLElement} field @param {string} [hint] */
export function labelled(id, words, field, hint) {
  return h('div', { class: 'stack' }, h('label', { class: 'label', for: id }, words), field, hint && h('p', { class: 'hint' }, hint));
}

/** How long a room lasts without a sign of life, to choose from. @param {string} id @param {number} [ttl] what it is now, in s; else as usual */
export function ttlChoice(id, ttl) {
  const lengths = TTLS.filter((length) => length !== ttl).concat(ttl ?? []).sort((a, b) => a - b);
  return h('select', { class: 'field', id, testid: id },
    !ttl && h('option', { value: '' }, t('ttlUsual')),
    ...lengths.map((length) => h('option', { value: length, selected: length === ttl }, durationText(length))));
}

/**
 * A form with a name, a button and a place for what went wrong.
 * @param {object} options
 * @param {string} options.testid of the input
 * @param {string} options.name to begin with
 * @param {HTMLButtonElement} options.button
 * @param {string} options.busyText on the button while `submit` runs
 * @param {Node[]} [options.extra] between the input and the button
 * @param {(name: string) => Promise<void>} options.submit
 */
export function nameForm({ testid, name, button, busyText, extra = [], submit }) {
  const idleText = button.textContent;
  const input = h('input', {
    testid, id: testid, class: 'field', value: name, maxlength: NAME_MAX * 2, dir: 'auto', required: true,
    autocomplete: 'nickname', placeholder: t('namePlaceholder'), enterkeyhint: 'go', 'aria-describedby': 'form-error',
  });
  const error = h('div', { id: 'form-error', role: 'alert' });
  const form = h('form', { class: 'form', novalidate: true },
    h('label', { class: 'label', for: testid }, t('yourName')), input, error, ...extra,
    !storage.lasts && h('p', { class: 'hint', testid: 'nothing-kept' }, t('nothingKept')), button);

  /** @param {string | null} text @param {...Node} more */
  function complain(text, ...more) {
    error.replaceChildren(...(text ? [h('p', { class: 'form-error', testid: 'form-error' }, text), ...more] : []));
    input.setAttribute('aria-invalid', String(text !== null));
  }

  /** @param {boolean} busy */
  function setBusy(busy) {
    button.disabled = busy;
    button.textContent = busy ? busyText : idleText;
    form.setAttribute('aria-busy', String(busy));
  }

  // The room itself is most of the program. A first page is light, and whoever begins to type a name
  // finds the room loaded when done.
  for (const sign of ['input', 'pointerdown', 'submit']) form.addEventListener(sign, () => preload('room'));
  form.addEventListener('submit', async (/** @type {Event} */ event) => {
    event.preventDefault();
    if (button.disabled) return;
    const wrong = checkName(input.value);
    complain(wrong && t(wrong));
    if (wrong) {
      input.focus();
      return;
    }
    setBusy(true);
    await submit(input.value);
    setBusy(false);
  });
  return { form, input, complain };
}

/** Puts the cursor there, except where that would pull up a keyboard unasked. @param {HTMLElement} element */
export function focusGently(element) {
  if (matchMedia('(pointer: fine)').matches) element.focus();
}
