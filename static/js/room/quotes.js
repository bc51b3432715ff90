// @ts-check
// Answers that quote a deleted message hide the quote too.

import { quoted } from '../markup.js';
import { lowerBound } from '../protocol.js';
import { t } from './words.js';

/** @typedef {import('../store.js').Message} Message */

/** @param {import('../session.js').Session} session @param {HTMLElement} log */
export function watchQuotes(session, log) {
  /** @type {readonly Message[]} */
  let known = [];
  let deleted = 0;

  function update() {
    const { messages } = session.state;
    if (messages === known) return;
    const before = { first: known[0], deleted };
    known = messages;
    deleted = messages.reduce((count, { problem }) => count + Number(problem === 'deleted'), 0);
    const isAll = messages[0] !== before.first || deleted > before.deleted;
    // The log is drawn a moment later.
    if (deleted > 0) requestAnimationFrame(() => setTimeout(() => hideQuotes(log, messages, isAll)));
  }
  session.subscribe(update);
  update();
}

/** The hidden quotes, to restore one if another message turns out to be the quoted one. @type {WeakMap<Element, string>} */
const hidden = new WeakMap();

/**
 * A quote is part of the answer's text, without the id of the quoted message. So a quote counts as deleted if its author
 * has deleted a message before the answer, and no message there has the quoted text.
 * @param {HTMLElement} log
 * @param {readonly Message[]} messages
 * @param {boolean} isAll or only quotes that are new
 */
function hideQuotes(log, messages, isAll) {
  const gone = messages.flatMap(({ from, problem }, at) => (problem === 'deleted' ? [{ start: `${from}: `, at }] : []));
  for (const button of /** @type {NodeListOf<HTMLElement>} */ (log.querySelectorAll(`.quote-jump${isAll ? '' : ':not([data-known])'}`))) {
    const quote = hidden.get(button) ?? button.dataset.quote ?? '';
    const id = /** @type {HTMLElement | null} */ (button.closest('.message'))?.dataset.id;
    const at = id ? lowerBound(messages, id) : messages.length;
    const isGone = gone.some((message) => message.at < at && quote.startsWith(message.start)) && !quoted(messages, quote, at);
    button.dataset.known = '';
    if (isGone !== hidden.has(button)) setHidden(button, quote, isGone);
  }
}

/** @param {HTMLElement} button @param {string} quote @param {boolean} isGone */
function setHidden(button, quote, isGone) {
  const said = /** @type {HTMLElement} */ (button.querySelector('.quote-text'));
  button.dataset.quote = isGone ? '' : quote;
  if (isGone) hidden.set(button, quote);
  else hidden.delete(button);
  said.textContent = isGone ? t('deleted') : quote.slice((button.querySelector('.quote-from')?.textContent?.length ?? -2) + 2);
}
