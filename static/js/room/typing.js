// @ts-check
// What is typed, pasted or dropped while nothing has the focus is meant for the composer; and what is no
// text can go nowhere, which is said.

import { t } from './words.js';

/**
 * @param {HTMLTextAreaElement} input
 * @param {(text: string) => void} say
 * @param {AbortSignal} signal
 */
export function watchTyping(input, say, signal) {
  /** Nothing that does something with a key has the focus, and nothing lies over the room. */
  const isFree = () => {
    const focused = document.activeElement;
    const isNothing = !focused || focused === document.body || focused.matches('.log, main');
    return isNothing && input.checkVisibility?.() !== false && !document.querySelector('dialog[open], .people.open, [role="menu"]');
  };

  document.addEventListener('keydown', (event) => {
    const { key, keyCode, ctrlKey, metaKey, altKey } = event;
    if (ctrlKey || metaKey || altKey || event.defaultPrevented || !isFree()) return;
    // Input methods say 229 for a letter. A blank scrolls.
    if (([...key].length === 1 && key !== ' ') || key === 'Dead' || keyCode === 229) input.focus();
  }, { signal });

  document.addEventListener('paste', (event) => {
    const { clipboardData } = event;
    const text = clipboardData?.getData('text/plain') ?? '';
    if (text === '' && clipboardData && clipboardData.files.length > 0) return refuse(event);
    if (text === '' || !isFree()) return;
    event.preventDefault();
    input.focus();
    // A text that is inserted in this way is asked about nowhere else.
    const mayCome = input.dispatchEvent(new InputEvent('beforeinput', { data: text, inputType: 'insertFromPaste', cancelable: true }));
    if (mayCome) document.execCommand('insertText', false, text);
  }, { signal });

  // A file that is dropped beside the composer would take the place of the page.
  for (const kind of /** @type {const} */ (['dragover', 'drop'])) {
    document.addEventListener(kind, (event) => {
      if (!event.dataTransfer?.types.includes('Files')) return;
      if (kind === 'drop') refuse(event);
      else event.preventDefault();
    }, { signal });
  }

  /** @param {Event} event */
  function refuse(event) {
    event.preventDefault();
    say(t('onlyText'));
  }
}
