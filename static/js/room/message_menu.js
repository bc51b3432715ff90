// @ts-check
// The menu of one message: when it was sent, what can be done with it, who has read it.

import { h } from '../dom.js';
import { collator, fullTimeText } from '../i18n.js';
import { loadIdentity } from '../identity.js';
import { addressOf, linkAt } from '../names.js';
import { compareIds } from '../protocol.js';
import { openMenu } from './menu.js';
import { t } from './words.js';

const PAGE = 50; // names shown at once

/**
 * @param {object} options
 * @param {import('../store.js').Message} options.message
 * @param {DOMRect} options.at
 * @param {import('../store.js').State} options.state
 * @param {(message: import('../store.js').Message) => void} options.answer
 * @param {(text: string, done: 'textCopied' | 'copied') => void} options.copy
 * @param {() => void} options.remove
 */
export function openMessageMenu({ message, at, state, answer, copy, remove }) {
  const isReadable = !message.problem;
  const isMine = message.from === state.me || Boolean(loadIdentity(state.roomId)?.creator);
  openMenu({
    label: t('messageMenu'),
    at,
    head: [h('p', { class: 'menu-head' }, h('bdi', {}, message.from), h('time', { testid: 'exact-time', datetime: message.timestamp }, fullTimeText(message.timestamp)))],
    items: [
      isReadable && { testid: 'reply', icon: 'reply', text: t('reply'), act: () => answer(message) },
      isReadable && { testid: 'copy-text', icon: 'copy', text: t('copyText'), act: () => copy(message.text, 'textCopied') },
      { testid: 'copy-message-link', icon: 'link', text: t('copyMessageLink'), act: () => copy(linkTo(message.id), 'copied') },
      isMine && message.problem !== 'deleted' && { testid: 'delete-message', icon: 'bin', text: t('deleteMessage'), danger: true, act: remove },
    ],
    foot: [readers(state, message)],
  });
}

/** @param {string} id of a message in this room */
function linkTo(id) {
  const link = linkAt(location);
  return location.origin + (link ? addressOf({ ...link, message: id, token: null }) : location.pathname);
}

/** Who has read up to it, in pages. @param {import('../store.js').State} state @param {import('../store.js').Message} message */
function readers({ reads, me }, { id, from }) {
  const names = [...reads].filter(([name, read]) => name !== me && name !== from && compareIds(read, id) >= 0)
    .map(([name]) => name).sort(collator.compare);
  const list = h('ul', { class: 'menu-readers', testid: 'readers' });
  const more = h('button', { type: 'button', class: 'text-button', testid: 'more-readers', onclick: showMore });

  function showMore() {
    const shown = list.childElementCount;
    list.append(...names.slice(shown, shown + PAGE).map((name) => h('li', {}, h('bdi', {}, name))));
    const left = names.length - list.childElementCount;
    more.hidden = left <= 0;
    more.textContent = t('andMore', { n: left });
  }
  showMore();
  return h('section', { class: 'menu-foot' },
    h('h2', {}, names.length > 0 ? t('readByCount', { n: names.length }) : t('readByNobody')), list, more);
}
