// @ts-check
// The elements of pages outside a room: the logo, a form that asks for a name, a page with a single
// notice.

import { h } from './dom.js';
import { durationText, t } from './i18n.js';
import { storage } from './identity.js';
import { loadLater, preload } from './loader.js';
import { checkName, cleanName, isPlain, NAME_MAX } from './names.js';

const TTLS = [3_600, 28_800, 86_400, 259_200, 604_800]; // s

/** WebCrypto exists only on https and localhost. */
export const canEncrypt = () => globalThis.crypto?.subtle !== undefined;

/** The logo and the name. */
export function brand() {
  return h('a', { class: 'brand', href: '/' },
    h('img', { src: '/static/icon.svg', width: '28', height: '28', alt: '' }), 'linkroom');
}

/**
 * A page with one notice and one action. Its heading can have the focus, so that a screen reader reads it next.
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

/** The page itself failed. Only a reload helps. */
export function brokenPage() {
  return noticePage('broken', t('brokenTitle'), t('brokenText'),
    h('button', { class: 'button primary', testid: 'again', onclick: () => location.reload() }, t('again')));
}

/** A field with its label. @param {string} id of the field @param {string} words @param {HTMLElement} field @param {string} [hint] */
export function labelled(id, words, field, hint) {
  return h('div', { class: 'stack' }, h('label', { class: 'label', for: id }, words), field, hint && h('p', { class: 'hint' }, hint));
}

/** A choice of the room's lifetime without activity. @param {string} id @param {number} [ttl] the present value in s; else the default */
export function ttlChoice(id, ttl) {
  const lengths = TTLS.filter((length) => length !== ttl).concat(ttl ?? []).sort((a, b) => a - b);
  return h('select', { class: 'field', id, testid: id },
    !ttl && h('option', { value: '' }, t('ttlUsual')),
    ...lengths.map((length) => h('option', { value: length, selected: length === ttl }, durationText(length))));
}

/**
 * A form with a name, a button and a place for errors.
 * @param {object} options
 * @param {string} options.testid of the input
 * @param {string} options.name the initial value
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

  // The room is most of the program. The first page is light, and while somebody types a name, the
  // room is loaded.
  for (const sign of ['input', 'pointerdown', 'submit']) form.addEventListener(sign, () => preload('room'));
  form.addEventListener('submit', async (/** @type {Event} */ event) => {
    event.preventDefault();
    if (button.disabled) return;
    setBusy(true);
    const wrong = await problemOf(input.value);
    complain(wrong && t(wrong));
    if (!wrong) await submit(input.value);
    setBusy(false);
    if (wrong) input.focus();
  });
  return { form, input, complain };
}

/** What is wrong with a name, as the key of a sentence. If it cannot be said here, the server says it. @param {string} name */
async function problemOf(name) {
  const wrong = checkName(name);
  if (wrong || isPlain(cleanName(name))) return wrong;
  const visible = await loadLater('visible', () => import('./visible.js')).catch(() => null);
  return !visible || visible.hidesNothing(cleanName(name)) ? null : 'nameHidden';
}

/** Focuses the field, unless that would open an on-screen keyboard unasked. @param {HTMLElement} element */
export function focusGently(element) {
  if (matchMedia('(pointer: fine)').matches) element.focus();
}
