// @ts-check
// The creator's settings of a room: its name, its lifetime, its maximum number of members, and its
// bans.

import { h } from '../../dom.js';
import { cleanName, codePoints, TOPIC_MAX } from '../../names.js';
import { changeRoom, getOwnRoom, liftBans } from '../../moderation_api.js';
import { labelled, ttlChoice } from '../../parts.js';
import { openDialog } from '../dialog.js';
import { carriedOut } from './carry_out.js';
import { t } from './words.js';

const FEWEST = 2; // the least maximum of members

/** @param {import('../../session.js').Session} session @param {(text: string) => void} say */
export async function openRoomSettings(session, say) {
  const { roomId, topic } = session.state;
  const asked = getOwnRoom(roomId);
  if (!(await carriedOut(asked, say))) return;
  const { ttl, maxMembers, bans = 0 } = await asked;
  const name = h('input', { testid: 'settings-topic', id: 'settings-topic', class: 'field', value: topic ?? '', maxlength: TOPIC_MAX * 2, dir: 'auto', autocomplete: 'off' });
  const lasts = ttlChoice('settings-ttl', ttl);
  const most = h('input', { testid: 'settings-max', id: 'settings-max', class: 'field', type: 'number', min: FEWEST, value: maxMembers, inputmode: 'numeric', required: true });
  const error = h('p', { class: 'form-error', role: 'alert', testid: 'settings-error' });
  const complain = (/** @type {string} */ text) => (error.textContent = text);

  /** Sends only what changed. */
  async function change() {
    const wanted = cleanName(name.value);
    return {
      ...(wanted !== (topic ?? '') && { topic: wanted === '' ? null : (await session.cipher?.sealTopic(wanted)) ?? wanted }),
      ...(Number(lasts.value) !== ttl && { ttl: Number(lasts.value) }),
      ...(Number(most.value) !== maxMembers && { maxMembers: Number(most.value) }),
    };
  }

  /** @param {() => void} close */
  async function save(close) {
    if (codePoints(cleanName(name.value)) > TOPIC_MAX) return complain(t('topicLong'));
    const changed = await change();
    if (Object.keys(changed).length > 0) {
      if (!(await carriedOut(changeRoom(roomId, changed), complain))) return;
      say(t('saved'));
    }
    close();
  }

  const banned = h('div', { class: 'stack', testid: 'bans' }, h('p', {}, t('bans', { n: bans })),
    h('button', { type: 'button', class: 'button', testid: 'lift-bans', onclick: lift }, t('liftBans')));

  async function lift() {
    if (!(await carriedOut(liftBans(roomId), complain))) return;
    banned.replaceChildren(h('p', { role: 'status' }, t('bansLifted')));
  }

  await openDialog({
    testid: 'room-settings',
    title: t('roomSettingsTitle'),
    content: (close) => [
      h('form', { class: 'form', onsubmit: (/** @type {Event} */ event) => {
        event.preventDefault();
        save(close);
      } },
      labelled('settings-topic', t('topic'), name),
      labelled('settings-ttl', t('ttl'), lasts, t('ttlHint')),
      labelled('settings-max', t('maxMembers'), most),
      bans > 0 && banned,
      error,
      h('button', { class: 'button primary', testid: 'settings-save' }, t('save'))),
    ],
  });
}
