// @ts-check
// `/`: make a room.

import { ApiError, createRoom } from '../api.js';
import { h, icon, show } from '../dom.js';
import { errorText, t } from '../i18n.js';
import { rememberedName, saveIdentity } from '../identity.js';
import { cleanName } from '../names.js';
import { brand, canEncrypt, focusGently, nameForm } from './parts.js';

/**
 * @param {HTMLElement} app
 * @param {(address: string) => void} go
 * @returns {() => void} ends the page
 */
export function landingPage(app, go) {
  document.title = t('appTitle');
  const e2e = h('input', { type: 'checkbox', testid: 'e2e', id: 'e2e', disabled: !canEncrypt(), 'aria-describedby': 'e2e-hint' });
  const button = h('button', { class: 'button primary', testid: 'create' }, t('create'));
  const { form, input, complain } = nameForm({
    testid: 'name', name: rememberedName(), button, busyText: t('creating'), extra: [encryption(e2e)], submit: create,
  });

  /** @param {string} name */
  async function create(name) {
    try {
      const key = e2e.checked ? await newKey() : null;
      const { roomId, token } = await createRoom(cleanName(name), key !== null);
      saveIdentity(roomId, cleanName(name), token);
      go(`/r/${roomId}${key ? `#k=${key}` : ''}`);
    } catch (error) {
      const { code, details } = /** @type {import('../api.js').ApiError} */ (error);
      complain(details?.creatorName ?? errorText(code));
    }
  }

  show(app, h('main', { class: 'landing', testid: 'landing' },
    h('div', { class: 'landing-words' },
      brand(),
      h('h1', {}, t('tagline')),
      h('p', { class: 'pitch' }, t('pitch')),
      h('div', { class: 'card' }, form)),
    facts()));
  focusGently(input);
  return () => {};
}

/** What encrypts comes with the room: without it none is made. */
async function newKey() {
  try {
    return (await import('../crypto.js')).newRoomKey();
  } catch {
    throw new ApiError('UNREACHABLE');
  }
}

/** @param {HTMLInputElement} checkbox */
function encryption(checkbox) {
  return h('div', { class: 'check' }, checkbox,
    h('label', { for: 'e2e' }, icon('lock'), t('e2eLabel')),
    h('p', { class: 'hint', id: 'e2e-hint' }, t(canEncrypt() ? 'e2eHint' : 'e2eUnavailable')));
}

function facts() {
  return h('ul', { class: 'facts' },
    h('li', {}, icon('link'), t('factLink')),
    h('li', {}, icon('people'), t('factName')),
    h('li', {}, icon('clock'), t('factGone')));
}
