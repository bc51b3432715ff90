// @ts-check
// What was deleted is not shown by answers that quote it either.

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
    // The log draws a moment later.
    if (deleted > 0) requestAnimationFrame(() => setTimeout(() => hideQuotes(log, messages, isAll)));
  }
  session.subscribe(update);
  update();
}

/** What quotes say whose message was deleted, for when another turns out to be what they quote. @type {WeakMap<Element, string>} */
const hidden = new WeakMap();

/**
 * A quote stands in the text of its answer, so nothing but its words tells of what it is: what an author said who
 * has deleted something before the answer, and is not there any more, was deleted.
 * @param {HTMLElement} log
 * @param {readonly Message[]} messages
 * @param {boolean} isAll else only the quotes that came since
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
