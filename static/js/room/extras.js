// @ts-check
// The parts of a room that are not needed to show and send messages: its menu and link, actions on
// messages, completion of names, notifications and the icon, printing, typing without focus, space for
// an on-screen keyboard. They are loaded right after the room is shown.

import { knownNames } from '../store.js';
import { messageActions } from './actions.js';
import { showBadge } from './badge.js';
import { watchDraft } from './draft.js';
import { fitKeyboard } from './keyboard.js';
import { Marks } from './marks.js';
import { mentionList } from './mention.js';
import { Notifier } from './notify.js';
import { loadModeration } from './moderation.js';
import { overlay } from './overlay.js';
import { watchPrinting } from './print.js';
import { keepPushed } from './push.js';
import { watchQuotes } from './quotes.js';
import { openRoomMenu } from './room_menu.js';
import { openShare } from './share.js';
import './styles.js';
import { watchTyping } from './typing.js';

/** The names that are completed: of the others who are here. In a large room, in which not all of these are known, authors may be. @param {import('../store.js').State} state */
function others(state) {
  const names = state.isLarge ? knownNames(state) : state.members.keys();
  return [...names].filter((name) => name !== state.me);
}

/**
 * @param {object} room
 * @param {import('../session.js').Session} room.session
 * @param {HTMLElement} room.view
 * @param {import('./log.js').Log} room.log
 * @param {{element: HTMLElement, input: HTMLTextAreaElement}} room.writing
 * @param {import('./attention.js').TabFocus} room.tabFocus
 * @param {(text: string) => void} room.say
 */
export function extras({ session, view, log, writing, tabFocus, say }) {
  const { signal } = session;
  const { input } = writing;
  const { toLinked } = messageActions({ session, log, input, say });
  const notifier = new Notifier(session, tabFocus);
  writing.element.prepend(mentionList(input, () => others(session.state)));
  log.mark(new Marks());
  watchDraft(writing.element, input);
  watchTyping(input, say, signal);
  watchPrinting(session, say, signal);
  fitKeyboard(view, signal);
  watchQuotes(session, log.focusable);
  keepPushed(session);
  signal.addEventListener('abort', () => showBadge(0));

  /** @param {number} unread */
  function count(unread) {
    if (session.state.knowsReads) notifier.count(unread);
    showBadge(unread);
  }

  /** The menu of another person, for the room's creator. @param {string} name @param {DOMRect} at */
  async function openPerson(name, at) {
    (await loadModeration(say))?.openMemberMenu({ roomId: session.state.roomId, name, at, say });
  }

  return { toLinked, notifier, count, openPerson, openRoomMenu, openShare, overlay };
}
