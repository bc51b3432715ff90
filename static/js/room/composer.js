// @ts-check
// The input for messages. Enter sends, Shift+Enter inserts a line break; on touch screens Enter
// inserts a line break, and the button or Ctrl or Cmd with Enter sends.

import { h, icon } from '../dom.js';
import { t } from '../i18n.js';
import { tabStorage } from '../identity.js';
import { codePoints, languageOf, showsSomething, TEXT_MAX } from '../names.js';
import { sealedLength } from '../protocol.js';

const DRAFT_MAX = 2 * TEXT_MAX; // UTF-16 units; browsers take seconds for each letter in half a million
const TALL = 1_500; // UTF-16 units that fill the input on any screen, so its height need not be measured
const NEARLY = 200; // characters before the limit from which the rest is shown
const DRAFT = 'linkroom:draft:'; // kept for this tab, so that a reload does not lose it

/**
 * @param {object} options
 * @param {string} options.roomId
 * @param {boolean} options.encrypted a draft would lie on the disk in the clear, so none is kept
 * @param {(text: string) => void} options.send
 */
export function composer({ roomId, encrypted, send }) {
  const problem = h('div', { class: 'too-long-slot', id: 'too-long', role: 'alert' });
  const input = h('textarea', {
    testid: 'composer', class: 'composer-input', rows: '1', dir: 'auto', 'aria-label': t('composer'), placeholder: t('composerHint'),
    'aria-describedby': 'too-long', enterkeyhint: matchMedia('(pointer: coarse)').matches ? 'enter' : 'send', autocomplete: 'off', maxlength: String(DRAFT_MAX),
  });
  const left = h('span', { class: 'left', testid: 'left', 'aria-hidden': 'true' });
  const button = h('button', { class: 'send', testid: 'send', 'aria-label': t('send'), title: t('send') }, icon('send'));
  const form = h('form', { class: 'composer' }, problem, h('div', { class: 'composer-box' }, input, left, button));
  /** The last draft. */
  let draft = '';

  function update() {
    if (input.value.length > DRAFT_MAX) return refuse(input.value);
    draft = input.value;
    const text = trimmed(draft);
    const lang = languageOf(text) || document.documentElement.lang;
    if (input.lang !== lang) input.lang = lang;
    const complaint = tooLong(text, encrypted);
    complain(complaint);
    button.disabled = !showsSomething(text) || complaint !== null;
    const rest = encrypted || text.length < TEXT_MAX - NEARLY ? Infinity : TEXT_MAX - codePoints(text);
    left.textContent = rest <= NEARLY ? String(rest) : '';
    const isTall = draft.length > TALL;
    input.classList.toggle('tall', isTall);
    if (isTall) input.style.height = '';
    else if (!CSS.supports('field-sizing', 'content')) fit();
    if (encrypted) return;
    if (text === '') tabStorage.remove(DRAFT + roomId);
    else tabStorage.write(DRAFT + roomId, draft);
  }

  /** @param {string | null} complaint */
  function complain(complaint) {
    if (problem.textContent === (complaint ?? '')) return;
    problem.replaceChildren(...(complaint ? [h('p', { class: 'form-error', testid: 'too-long' }, complaint)] : []));
  }

  /** A text that is far too long is not inserted; the person still has it where they copied it. @param {string} text */
  function refuse(text) {
    if (input.value !== draft) input.value = draft;
    complain(t('tooLongToWrite', { n: codePoints(text), max: TEXT_MAX }));
  }

  /** Makes the input as tall as its text. The form keeps its size meanwhile, so that the log does not move. */
  function fit() {
    form.style.height = `${form.offsetHeight}px`;
    input.style.height = 'auto';
    input.style.height = `${input.scrollHeight}px`;
    form.style.height = '';
  }

  form.addEventListener('submit', (/** @type {Event} */ event) => {
    event.preventDefault();
    if (button.disabled) return;
    const text = trimmed(input.value);
    input.value = '';
    update();
    input.focus();
    send(text);
  });
  input.addEventListener('input', update);
  input.addEventListener('beforeinput', (/** @type {InputEvent} */ event) => {
    const added = event.data ?? event.dataTransfer?.getData('text/plain') ?? '';
    const kept = input.value.length - (input.selectionEnd - input.selectionStart);
    if (added === '' || kept + added.length <= DRAFT_MAX) return;
    event.preventDefault();
    refuse(added);
  });
  input.addEventListener('keydown', (/** @type {KeyboardEvent} */ event) => {
    // While a character is being composed, Enter belongs to the input method (keyCode 229 if
    // isComposing is set late).
    if (event.key !== 'Enter' || event.shiftKey || event.isComposing || event.keyCode === 229) return;
    if (matchMedia('(pointer: coarse)').matches && !event.ctrlKey && !event.metaKey) return;
    event.preventDefault();
    button.click();
  });
  input.value = encrypted ? '' : tabStorage.read(DRAFT + roomId) ?? '';
  requestAnimationFrame(update);
  return { element: form, input };
}

/** The text without blank lines around it. Its first line may be indented. @param {string} text */
const trimmed = (text) => text.replace(/^(?:[^\S\n]*\n)+/, '').trimEnd();

/** @param {string} text @param {boolean} encrypted @returns {string | null} */
function tooLong(text, encrypted) {
  if (encrypted) return sealedLength(text) > TEXT_MAX ? t('tooLongSealed') : null;
  const over = codePoints(text) - TEXT_MAX;
  return over > 0 ? t('tooLong', { n: over }) : null;
}
