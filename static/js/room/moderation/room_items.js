// @ts-check
// What its creator finds in the menu of a room.

import { loadIdentity } from '../../identity.js';
import { changeRoom, endRoom } from '../../moderation_api.js';
import { carriedOut } from './carry_out.js';
import { confirmed } from './confirm.js';
import { openCreatorLink } from './creator_link.js';
import { openRoomSettings } from './room_settings.js';
import { t } from './words.js';

/**
 * @param {import('../../session.js').Session} session
 * @param {(text: string) => void} say
 * @returns {import('../menu.js').Item[]}
 */
export function roomItems(session, say) {
  const { roomId, locked } = session.state;

  async function end() {
    const isWanted = await confirmed({ title: t('endRoomTitle'), text: t('endRoomText'), action: t('endRoomDo') });
    if (isWanted) await carriedOut(endRoom(roomId), say);
  }

  /** @type {import('../menu.js').Item} */
  const creatorLink = { testid: 'menu-creator-link', icon: 'link', text: t('creatorLink'), act: () => openCreatorLink(roomId, say) };
  return [
    { testid: 'menu-lock', icon: 'lock', text: t('lockRoom'), checked: locked, act: () => carriedOut(changeRoom(roomId, { locked: !locked }), say) },
    { testid: 'menu-settings', icon: 'edit', text: t('roomSettings'), act: () => openRoomSettings(session, say) },
    // Whom an application sends has nothing of the room's to hand on.
    ...(loadIdentity(roomId)?.ticket ? [] : [creatorLink]),
    { testid: 'menu-end', icon: 'bin', text: t('endRoom'), danger: true, act: end },
  ];
}
