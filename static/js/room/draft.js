// @ts-check
// The draft of an answer: its direction, and the name of the person it answers.

import { answerTo, splitQuote } from '../markup.js';
import { hasRightToLeft, isolated } from '../names.js';

/** The beginning of the draft of an answer. The name is isolated, so that it cannot change the direction of its line. @param {{from: string, text: string}} message */
export const draftTo = (message) => answerTo(message).replace(message.from, isolated);

/** The text to send for a draft, without the isolating characters, which the person may have moved. @param {string} draft */
export const saidOf = (draft) => draft.replace(/^> \u2068([^\n\u2069]*)\u2069?/, '> $1').replace(/^(> [^\n:]*)\u2069/, '$1');

/** The direction of a text: that of its first letter. @param {string} text @returns {'ltr' | 'rtl' | null} null where it has none */
function directionOf(text) {
  const letter = /\p{L}/u.exec(text);
  return letter && (hasRightToLeft(letter[0]) ? 'rtl' : 'ltr');
}

/** The direction of a draft: that of the answer, or else that of the quoted text, whatever the direction of the quoted name. @param {string} draft */
function direction(draft) {
  const { quote, rest } = splitQuote(draft);
  return directionOf(rest) ?? directionOf((quote ?? '').replace(/^.*?: /, '')) ?? 'auto';
}

/** @param {HTMLElement} form @param {HTMLTextAreaElement} input */
export function watchDraft(form, input) {
  function update() {
    const dir = direction(input.value);
    if (input.dir !== dir) input.dir = dir;
  }
  input.addEventListener('input', update);
  // Before the composer sends it, and after.
  form.addEventListener('submit', () => (input.value = saidOf(input.value)), { capture: true });
  form.addEventListener('submit', update);
  update();
}
