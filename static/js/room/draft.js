// @ts-check
// The draft of an answer: its direction, and the name of whom it answers.

import { answerTo, splitQuote } from '../markup.js';
import { hasRightToLeft, isolated } from '../names.js';

/** What the draft of an answer begins with: a name in there does not turn the line that it stands in. @param {{from: string, text: string}} message */
export const draftTo = (message) => answerTo(message).replace(message.from, isolated);

/** A draft as it is said: who wrote on may have moved what kept the name apart. @param {string} draft */
export const saidOf = (draft) => draft.replace(/^> \u2068([^\n\u2069]*)\u2069?/, '> $1').replace(/^(> [^\n:]*)\u2069/, '$1');

/** The direction of a text: that of its first letter. @param {string} text @returns {'ltr' | 'rtl' | null} null where it has none */
function directionOf(text) {
  const letter = /\p{L}/u.exec(text);
  return letter && (hasRightToLeft(letter[0]) ? 'rtl' : 'ltr');
}

/** The direction of a draft: that of an answer, else of what it answers, whoever wrote that. @param {string} draft */
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
