// @ts-check
// The creator's menu for a person in the room.

import { h } from '../../dom.js';
import { removeMember } from '../../moderation_api.js';
import { openMenu } from '../menu.js';
import { carriedOut } from './carry_out.js';
import { confirmed } from './confirm.js';
import { t } from './words.js';

/**
 * @param {object} options
 * @param {string} options.roomId
 * @param {string} options.name
 * @param {DOMRect} options.at
 * @param {(text: string) => void} options.say
 */
export function openMemberMenu({ roomId, name, at, say }) {
  async function remove() {
    const isWanted = await confirmed({ title: t('removeTitle', { name }), text: t('removeText'), action: t('removeDo') });
    if (isWanted && (await carriedOut(removeMember(roomId, name, false), say))) say(t('removed', { name }));
  }

  async function ban() {
    const isWanted = await confirmed({ title: t('banTitle', { name }), text: t('banText'), action: t('banDo') });
    if (isWanted && (await carriedOut(removeMember(roomId, name, true), say))) say(t('banned', { name }));
  }

  openMenu({
    label: t('memberMenu', { name }),
    at,
    head: [h('p', { class: 'menu-head' }, h('bdi', {}, name))],
    items: [
      { testid: 'member-remove', icon: 'leave', text: t('remove'), danger: true, act: remove },
      { testid: 'member-ban', icon: 'lock', text: t('ban'), danger: true, act: ban },
    ],
  });
}
