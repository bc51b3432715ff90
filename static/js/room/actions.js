// @ts-check
// The actions on a message: its menu, an answer, a jump to what it quotes, its link, copying its
// code.

import { focusOn } from '../dom.js';
import { quoted, splitQuote } from '../markup.js';
import { linkAt } from '../names.js';
import { lowerBound } from '../protocol.js';
import { draftTo } from './draft.js';
import { watchMessages } from './gestures.js';
import { copyText } from './invite.js';
import { openMessageMenu } from './message_menu.js';
import { loadModeration } from './moderation.js';
import { t } from './words.js';

const PAGES = 40; // pages of history to load, at most, to find a message
const LOADING = 50; // ms between checks whether a page has arrived

/** @typedef {import('../store.js').Message} Message */

/**
 * @param {object} room
 * @param {import('../session.js').Session} room.session
 * @param {import('./log.js').Log} room.log
 * @param {HTMLTextAreaElement} room.input
 * @param {(text: string) => void} room.say
 */
export function messageActions({ session, log, input, say }) {
  const { signal } = session;
  const scroller = log.focusable;

  /** @param {HTMLElement} element @returns {Message | undefined} */
  function messageOf({ dataset }) {
    const { messages } = session.state;
    const at = lowerBound(messages, dataset.id ?? '');
    return messages[at]?.id === dataset.id ? messages[at] : undefined;
  }

  /** @param {HTMLElement} element @param {DOMRect} at */
  function openMenu(element, at) {
    const message = messageOf(element);
    if (!message || 'deleting' in element.dataset || document.querySelector('dialog[open]')) return;
    openMessageMenu({ message, at, state: session.state, answer, copy, remove: () => remove(element, message.id) });
  }

  /** @param {HTMLElement} element @param {string} id */
  async function remove(element, id) {
    (await loadModeration(say))?.askToDelete({ session, id, element, refuge: scroller, say });
  }

  /** @param {Message} message */
  function answer(message) {
    if (message.problem) return;
    input.value = draftTo(message) + splitQuote(input.value).rest;
    input.dispatchEvent(new Event('input'));
    input.focus();
    input.setSelectionRange(input.value.length, input.value.length);
  }

  /** @param {string} text @param {Parameters<typeof t>[0]} done */
  async function copy(text, done) {
    say(t((await copyText(text)) ? done : 'copyFailed'));
  }

  /** @param {HTMLElement} element of the answer @param {string} quote */
  async function toQuoted(element, quote) {
    const find = () => {
      const { messages } = session.state;
      return quoted(messages, quote, lowerBound(messages, element.dataset.id || '9'.repeat(16) + '-0'));
    };
    const message = await found(find);
    if (message) log.reveal(message.id);
    else say(t('messageGone'));
  }

  /** Returns what `find` finds, loading history until it does. @param {() => Message | undefined} find */
  async function found(find) {
    for (let page = 0; page < PAGES && !find(); page++) {
      if (session.state.older === 'more') await session.reader.loadOlder();
      else if (session.state.older === 'loading') await new Promise((resolve) => setTimeout(resolve, LOADING));
      else break;
    }
    return find();
  }

  /** Shows the message that the address names, then removes it from the address. */
  async function toLinked() {
    const link = linkAt(location);
    if (!link?.message) return;
    const id = link.message;
    history.replaceState(history.state, '', location.pathname + (link.key ? `#k=${link.key}` : ''));
    const { messages } = session.state;
    if (messages.length > 0 && lowerBound(messages, id) >= messages.length) return say(t('messageGone'));
    const message = await found(() => session.state.messages.find((known) => known.id === id));
    if (message) log.reveal(id);
    else say(t('messageGone'));
  }

  watchMessages(scroller, {
    menu: openMenu,
    swipe: (element) => {
      const message = messageOf(element);
      if (message) answer(message);
    },
    escape: () => input.focus(),
  }, signal);
  scroller.addEventListener('click', ({ target }) => {
    const element = target instanceof Element ? target : null;
    const quote = /** @type {HTMLElement | null | undefined} */ (element?.closest('.quote-jump'));
    const code = element?.closest('.copy-code');
    if (quote) toQuoted(/** @type {HTMLElement} */ (quote.closest('.message')), quote.dataset.quote ?? '');
    if (code) copy(code.previousElementSibling?.textContent ?? '', 'codeCopied');
  }, { signal });
  input.addEventListener('keydown', (/** @type {KeyboardEvent} */ event) => {
    const last = /** @type {HTMLElement | undefined} */ ([...scroller.querySelectorAll('.message')].at(-1));
    if (event.key !== 'ArrowUp' || input.value !== '' || event.isComposing || !last) return;
    event.preventDefault();
    focusOn(last);
  });
  addEventListener('hashchange', toLinked, { signal });
  return { toLinked };
}
