// @ts-check
// The header of the room: who is here, and its buttons.

import { h, icon } from '../dom.js';
import { t } from '../i18n.js';
import { roomName } from './attention.js';
import { copyButton } from './invite.js';
import { notifies, notifyMode, onNotifyMode, setNotifyMode } from './settings.js';

const NARROW = '(max-width: 47.5em)'; // as in app.css

/**
 * @param {object} options
 * @param {import('../session.js').Session} options.session
 * @param {() => void} options.leave
 * @param {() => void} options.share
 * @param {() => Promise<import('./view.js').Extras | undefined>} options.rest what is loaded later, including menus
 * @param {(text: string) => void} options.say
 * @param {(close: HTMLElement) => HTMLElement} options.people the content of the panel, around its close button
 */
export function header({ session, leave, share, rest, say, people: fill }) {
  const isEncrypted = session.cipher !== null;
  const name = h('bdi');
  const count = h('span', {});
  const locked = h('span', { class: 'badge', testid: 'locked', hidden: true }, icon('lock'), t('locked'));
  const menu = h('button', {
    class: 'icon-button', testid: 'room-menu', 'aria-label': t('roomMenu'), title: t('roomMenu'), 'aria-haspopup': 'menu', onclick: openMenu,
  }, icon('menu'));
  const close = h('button', { class: 'icon-button members-close', testid: 'members-close', 'aria-label': t('close'), onclick: () => setOpen(false) }, icon('close'));
  /** Beside the log; on narrow screens a sheet over it. @type {HTMLElement} */
  const people = h('aside', { class: 'people', id: 'people', 'aria-label': t('people') }, fill(close));
  const isOpen = () => people.classList.contains('open');

  /** Closed by the back button; set once the menu has opened it. @type {ReturnType<import('./view.js').Extras['overlay']> | undefined} */
  let sheet;

  /** @param {boolean} open */
  function setOpen(open) {
    if (open) sheet?.opened();
    else sheet?.closed();
    people.classList.toggle('open', open);
    (open ? close : menu).focus();
  }

  async function openMenu() {
    const more = await rest();
    const at = menu.getBoundingClientRect();
    if (!more) return;
    sheet ??= more.overlay(() => setOpen(false));
    more.openRoomMenu({ session, at, isNarrow: matchMedia(NARROW).matches, people: () => setOpen(true), share, leave, say });
  }

  people.addEventListener('click', (event) => {
    if (event.target === people) setOpen(false);
  });
  people.addEventListener('keydown', (event) => {
    if (event.key === 'Escape' && isOpen()) setOpen(false);
  });

  const element = h('header', { class: 'room-head' },
    h('a', { class: 'home', href: '/', 'aria-label': t('appTitle') }, h('img', { src: '/static/icon.svg', width: '32', height: '32', alt: '' })),
    h('div', { class: 'room-title' },
      h('h1', { class: 'room-name' }, name),
      h('p', { class: 'room-sub' }, count,
        isEncrypted && h('span', { class: 'badge', testid: 'e2e-badge' }, icon('shield'), h('span', {}, t('encrypted'))), locked)),
    copyButton('copy-link', 'button copy', say),
    h('div', { class: 'room-actions' },
      h('button', { class: 'icon-button', testid: 'share', 'aria-label': t('share'), title: t('share'), 'aria-haspopup': 'dialog', onclick: share }, icon('share')),
      notifyButton(say)),
    menu,
    h('div', { class: 'room-actions' },
      h('button', { class: 'icon-button', testid: 'leave', 'aria-label': t('leave'), title: t('leave'), onclick: leave }, icon('leave'))));

  /** @param {import('../store.js').State} state */
  function render(state) {
    const words = state.topic || state.members.size > 0 ? roomName(state) : t('appTitle');
    name.dir = state.topic ? 'auto' : 'ltr'; // a list of names has the direction of the page
    if (name.textContent !== words) name.textContent = words;
    const size = state.memberCount > 0 ? t('peopleCount', { n: state.memberCount }) : '';
    if (count.textContent !== size) count.textContent = size;
    locked.hidden = !state.locked;
  }
  return { element, people, render };
}

/** The switch for notifications; absent if the browser has none. @param {(text: string) => void} notice */
function notifyButton(notice) {
  if (notifyMode() === null) return null;
  const button = h('button', {
    class: 'icon-button', testid: 'notify', 'aria-label': t('notifyOn'), title: t('notifyOn'),
    onclick: () => setNotifyMode(notifies() ? 'off' : 'all', notice),
  }, icon('bell'), icon('bellOff'));
  const show = () => button.setAttribute('aria-pressed', String(notifies()));
  onNotifyMode(show);
  show();
  return button;
}
