// @ts-check
// The menu of the room: what does not fit into the header, the person's settings, and the room's
// lifetime.

import { getRoom } from '../api.js';
import { h } from '../dom.js';
import { durationText } from '../i18n.js';
import { loadIdentity } from '../identity.js';
import { openMenu } from './menu.js';
import { loadModeration } from './moderation.js';
import { pushItem } from './push.js';
import { joinLines, NOTIFY, notifyMode, setNotifyMode, sound } from './settings.js';
import { t } from './words.js';

/** Shows or hides lines that are drawn already. */
function setJoinLines() {
  joinLines.toggle();
  document.querySelector('.room')?.classList.toggle('no-joins', !joinLines.get());
}

/**
 * @param {object} options
 * @param {import('../session.js').Session} options.session
 * @param {DOMRect} options.at
 * @param {boolean} options.isNarrow if the header has space only for this menu
 * @param {() => void} options.people
 * @param {() => void} options.share
 * @param {() => void} options.leave
 * @param {(text: string) => void} options.say
 */
export async function openRoomMenu({ session, at, isNarrow, people, share, leave, say }) {
  const { roomId } = session.state;
  const isCreator = Boolean(loadIdentity(roomId)?.creator);
  const push = pushItem(session, say);
  const moderation = isCreator ? (await loadModeration(say))?.roomItems(session, say) ?? [] : [];
  const pushing = await push;
  if (document.querySelector('dialog[open]')) return;
  const mode = notifyMode();
  const lifetime = h('p', { class: 'menu-foot', testid: 'lifetime' }, t('lifetimeUnknown'));
  getRoom(roomId).then(({ ttl }) => (lifetime.textContent = t('lifetime', { time: durationText(ttl) }))).catch(() => {});
  openMenu({
    label: t('roomMenu'),
    at,
    items: [
      isNarrow && { testid: 'menu-people', icon: 'people', text: t('showPeople'), act: people },
      isNarrow && { testid: 'menu-share', icon: 'share', text: t('share'), act: share },
      ...(mode === null ? [] : NOTIFY.map((value) => ({
        testid: `notify-${value}`, icon: value === 'off' ? /** @type {const} */ ('bellOff') : /** @type {const} */ ('bell'), text: t(`notify_${value}`), radio: true, checked: value === mode,
        act: () => setNotifyMode(value, say),
      }))),
      pushing,
      { testid: 'menu-sound', icon: 'sound', text: t('sound'), checked: sound.get(), act: () => sound.toggle() },
      { testid: 'menu-comings', icon: 'door', text: t('joinLines'), checked: joinLines.get(), act: setJoinLines },
      ...moderation,
      isNarrow && { testid: 'menu-leave', icon: 'leave', text: t('leave'), danger: true, act: leave },
    ],
    foot: [lifetime],
  });
}
