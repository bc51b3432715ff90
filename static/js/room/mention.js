// @ts-check
// Completes a name after `@` while a message is written: a list above the composer, controlled with
// the arrow keys while the focus stays in the text.

import { h } from '../dom.js';
import { collator, t } from '../i18n.js';
import { folded, hueOf, initialOf } from '../names.js';

const SHOWN = 6; // names at once
const BEGUN = /(^|[^\p{L}\p{N}\p{M}_])@([^@\n]{0,32})$/u;

/**
 * The name that is begun at the end of a text, and the names that complete it.
 * @param {string} text in front of the cursor
 * @param {readonly string[]} names
 * @returns {{at: number, names: string[]} | null} `at` is the position of the `@`
 */
export function completions(text, names) {
  const begun = BEGUN.exec(text);
  // A name followed by a space is complete, even if a longer name begins with it.
  if (!begun || (begun[2].endsWith(' ') && names.includes(begun[2].trimEnd()))) return null;
  // A blank at the end is part of what is begun.
  const start = folded(`${begun[2]}x`).slice(0, -1);
  const found = names.filter((name) => name !== begun[2] && folded(name).startsWith(start));
  return found.length > 0 ? { at: text.length - begun[2].length - 1, names: found.sort(collator.compare).slice(0, SHOWN) } : null;
}

/**
 * @param {HTMLTextAreaElement} input
 * @param {() => string[]} others the names that can be mentioned
 * @returns {HTMLElement} the list
 */
export function mentionList(input, others) {
  const list = h('ul', { class: 'mention-list', id: 'mention-list', role: 'listbox', testid: 'mention-list', 'aria-label': t('people'), hidden: true });
  /** @type {ReturnType<typeof completions>} */
  let open = null;
  let chosen = 0;
  input.setAttribute('aria-autocomplete', 'list');
  input.setAttribute('aria-controls', 'mention-list');

  function update() {
    const { selectionStart, selectionEnd, value } = input;
    const text = value.slice(0, selectionStart);
    open = selectionStart === selectionEnd && text.includes('@') ? completions(text, others()) : null;
    list.replaceChildren(...(open?.names ?? []).map(option));
    list.hidden = open === null;
    choose(0);
  }

  /** @param {string} name @param {number} index */
  function option(name, index) {
    return h('li', { id: `mention-${index}`, role: 'option', class: 'mention-option', testid: 'mention-option', onclick: () => accept(name) },
      h('span', { class: `avatar small hue-${hueOf(name)}`, 'aria-hidden': 'true' }, initialOf(name)), h('bdi', {}, name));
  }

  /** @param {number} index */
  function choose(index) {
    const options = [...list.children];
    chosen = (index + options.length) % Math.max(1, options.length);
    options.forEach((element, i) => element.setAttribute('aria-selected', String(i === chosen)));
    if (open) input.setAttribute('aria-activedescendant', `mention-${chosen}`);
    else input.removeAttribute('aria-activedescendant');
  }

  function close() {
    open = null;
    list.hidden = true;
    choose(0);
  }

  /** @param {string} name */
  function accept(name) {
    if (!open) return;
    input.setRangeText(`@${name} `, open.at, input.selectionStart, 'end');
    close();
    input.dispatchEvent(new Event('input'));
  }

  input.addEventListener('input', update);
  input.addEventListener('blur', close);
  list.addEventListener('pointerdown', (/** @type {Event} */ event) => event.preventDefault());
  input.addEventListener('keydown', (event) => {
    if (!open || event.isComposing || event.shiftKey || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === 'ArrowDown' || event.key === 'ArrowUp') choose(chosen + (event.key === 'ArrowDown' ? 1 : -1));
    else if (event.key === 'Enter' || event.key === 'Tab') accept(open.names[chosen]);
    else if (event.key === 'Escape') close();
    else return;
    event.preventDefault();
    event.stopImmediatePropagation();
  }, { capture: true });
  return list;
}
