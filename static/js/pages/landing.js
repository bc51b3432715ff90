// @ts-check
// `/`: create a room.

import { ApiError, createRoom } from '../api.js';
import { h, icon, show } from '../dom.js';
import { errorText, t } from '../i18n.js';
import { rememberedName, saveCreator } from '../identity.js';
import { load, loadLater } from '../loader.js';
import { cleanName, codePoints, TOPIC_MAX } from '../names.js';
import { brand, canEncrypt, focusGently, labelled, nameForm, ttlChoice } from '../parts.js';

/**
 * @param {HTMLElement} app
 * @param {(address: string) => void} go
 * @returns {() => void} ends the page
 */
export function landingPage(app, go) {
  document.title = t('appTitle');
  const e2e = h('input', { type: 'checkbox', testid: 'e2e', id: 'e2e', disabled: !canEncrypt(), 'aria-describedby': 'e2e-hint' });
  const topic = h('input', { testid: 'topic', id: 'topic', class: 'field', maxlength: TOPIC_MAX * 2, dir: 'auto', autocomplete: 'off', enterkeyhint: 'go' });
  const ttl = ttlChoice('ttl');
  const options = h('details', { class: 'options', testid: 'options' }, h('summary', { testid: 'more-options' }, t('moreOptions')),
    h('div', { class: 'form' }, labelled('topic', t('topic'), topic), labelled('ttl', t('ttl'), ttl, t('ttlHint')), encryption(e2e)));
  const button = h('button', { class: 'button primary', testid: 'create' }, t('create'));
  const { form, input, complain } = nameForm({
    testid: 'name', name: rememberedName(), button, busyText: t('creating'), extra: [options], submit: create,
  });

  /** The last request. Repeated without changes, it returns the same room. @type {Asked | null} */
  let asked = null;

  /** @param {string} name */
  async function create(name) {
    const wanted = cleanName(topic.value);
    if (codePoints(wanted) > TOPIC_MAX) return complain(t('topicLong'));
    try {
      const chosen = { creatorName: cleanName(name), topic: wanted || undefined, ttl: Number(ttl.value) || undefined, e2e: e2e.checked || undefined };
      const words = JSON.stringify(chosen);
      asked = asked?.words === words ? asked : await ask(words, chosen);
      const { key, request, once } = asked;
      const { roomId, token } = await createRoom(request, once);
      saveCreator(roomId, cleanName(name), token);
      go(`/r/${roomId}${key ? `#k=${key}` : ''}`);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      const { code, details } = error;
      complain(Object.values(details)[0] ?? errorText(code));
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

/** @typedef {{words: string, key: string | null, request: import('../api.js').RoomRequest, once: string}} Asked */

/**
 * Encryption and the generation of keys are in the room's modules: without them no room is created.
 * @param {string} words @param {import('../api.js').RoomRequest} request
 * @returns {Promise<Asked>}
 */
async function ask(words, request) {
  try {
    const once = (await load('room', () => import('../protocol.js'))).newKey();
    if (!request.e2e) return { words, key: null, request, once };
    const { Cipher, newRoomKey } = await loadLater('crypto', () => import('../crypto.js'));
    const key = newRoomKey();
    const topic = request.topic && (await (await Cipher.forRoom(key, '')).sealTopic(request.topic));
    return { words, key, request: { ...request, topic }, once };
  } catch {
    throw new ApiError('UNREACHABLE');
  }
}

/** @param {HTMLInputElement} checkbox */
function encryption(checkbox) {
  return h('div', { class: 'check' }, checkbox,
    h('label', { for: 'e2e' }, icon('shield'), t('e2eLabel')),
    h('p', { class: 'hint', id: 'e2e-hint' }, t(canEncrypt() ? 'e2eHint' : 'e2eUnavailable')));
}

function facts() {
  return h('ul', { class: 'facts' },
    h('li', {}, icon('link'), t('factLink')),
    h('li', {}, icon('people'), t('factName')),
    h('li', {}, icon('clock'), t('factGone')));
}
