// @ts-check
// Text that is typed, pasted or dropped while nothing has the focus goes to the composer; files are
// refused with a notice.

import { t } from './words.js';

/**
 * @param {HTMLTextAreaElement} input
 * @param {(text: string) => void} say
 * @param {AbortSignal} signal
 */
export function watchTyping(input, say, signal) {
  /** Nothing that takes a text has the focus, and nothing lies over the room. */
  const isFree = () => {
    const takesText = document.activeElement?.matches('input, textarea, select, [contenteditable]');
    return !takesText && input.checkVisibility?.() !== false && !document.querySelector('dialog[open], .people.open, [role="menu"]');
  };

  document.addEventListener('keydown', (event) => {
    const { key, keyCode, ctrlKey, metaKey, altKey } = event;
    if (ctrlKey || metaKey || altKey || event.defaultPrevented || !isFree()) return;
    // Input methods say 229 for a letter. A blank scrolls, or presses a button.
    if (([...key].length === 1 && key !== ' ') || key === 'Dead' || keyCode === 229) input.focus();
  }, { signal });

  document.addEventListener('paste', (event) => {
    const { clipboardData } = event;
    const text = clipboardData?.getData('text/plain') ?? '';
    if (text === '' && clipboardData && clipboardData.files.length > 0) return refuse(event);
    if (text === '' || !isFree()) return;
    event.preventDefault();
    insert(text);
  }, { signal });

  // A file or a link dropped outside the composer would replace the page.
  for (const kind of /** @type {const} */ (['dragover', 'drop'])) {
    document.addEventListener(kind, (event) => {
      const { dataTransfer, target } = event;
      const isFile = dataTransfer?.types.includes('Files');
      if (!dataTransfer || (!isFile && target instanceof Element && target.closest('input, textarea'))) return;
      if (kind === 'drop' && isFile) return refuse(event);
      event.preventDefault();
      if (kind === 'drop' && !document.querySelector('dialog[open]')) insert(dataTransfer.getData('text/plain') || dataTransfer.getData('text/uri-list'));
    }, { signal });
  }

  /** @param {string} text */
  function insert(text) {
    input.focus();
    // The browser fires no beforeinput event for text that is inserted this way.
    const mayCome = input.dispatchEvent(new InputEvent('beforeinput', { data: text, inputType: 'insertFromPaste', cancelable: true }));
    if (mayCome) document.execCommand('insertText', false, text);
  }

  /** @param {Event} event */
  function refuse(event) {
    event.preventDefault();
    say(t('onlyText'));
  }
}
