// @ts-check
// Deletes a message. It asks once, and the deletion can be undone for a moment: until then nothing
// is sent. If the page or the room's view ends meanwhile, it is sent at once.

import { h, keepFocus } from '../../dom.js';
import { deleteMessage } from '../../moderation_api.js';
import { carriedOut } from './carry_out.js';
import { confirmed } from './confirm.js';
import { t } from './words.js';

const UNDO = 5_000; // ms

/**
 * @param {object} options
 * @param {import('../../session.js').Session} options.session
 * @param {string} options.id of the message
 * @param {HTMLElement} options.element that shows it
 * @param {HTMLElement} options.refuge the element that gets the focus if the focused one disappears
 * @param {(text: string) => void} options.say
 */
export async function askToDelete({ session, id, element, refuge, say }) {
  if (!(await confirmed({ title: t('deleteTitle'), text: t('deleteText'), action: t('deleteDo') }))) return;
  const text = element.querySelector('.bubble');
  if (!text || element.dataset.problem === 'deleted') return;
  const { roomId } = session.state;
  const undo = h('button', { type: 'button', class: 'text-button', testid: 'undo-delete', onclick: stay }, t('undo'));
  const words = h('div', { class: 'bubble problem', testid: 'message-text' }, t('deleting'), undo);
  const fold = /** @type {HTMLElement | null} */ (element.querySelector('.fold'));
  const waiting = new AbortController();
  const { signal } = waiting;

  /** @param {Element} before @param {Element} after */
  function replace(before, after) {
    if (!before.isConnected) return; // somebody else deleted it meanwhile
    const isText = after === text;
    keepFocus(refuge, () => before.replaceWith(after));
    element.toggleAttribute('data-deleting', !isText);
    element.classList.toggle('long', isText && fold !== null);
    if (fold) fold.hidden = !isText;
  }

  function stay() {
    waiting.abort();
    clearTimeout(timer);
    replace(words, /** @type {Element} */ (text));
  }

  async function send() {
    waiting.abort();
    clearTimeout(timer);
    keepFocus(refuge, () => undo.remove());
    const isGone = await carriedOut(deleteMessage(roomId, id, true), (problem) => say(t('notDeleted', { problem })));
    if (!isGone) return stay();
    element.removeAttribute('data-deleting'); // the `deleted` frame replaces these words
  }

  const timer = setTimeout(send, UNDO);
  addEventListener('pagehide', send, { signal });
  session.signal.addEventListener('abort', send, { signal });
  replace(text, words);
  undo.focus();
}
