// @ts-check
// `/`: make a room.

import { ApiError, createRoom } from '../api.js';
import { h, icon, show } from '../dom.js';
import { errorText, t } from '../i18n.js';
import { rememberedName, saveIdentity } from '../identity.js';
import { cleanName, codePoints, TOPIC_MAX } from '../names.js';
import { brand, canEncrypt, focusGently, nameForm } from '../parts.js';

/**
 * @param {HTMLElement} app
 * @param {(address: string) => void} go
 * @returns {() => void} ends the page
 */
export function landingPage(app, go) {
  document.title = t('appTitle');
  const e2e = h('input', { type: 'checkbox', testid: 'e2e', id: 'e2e', disabled: !canEncrypt(), 'aria-describedby': 'e2e-hint' });
  const topic = h('input', { testid: 'topic', id: 'topic', class: 'field', maxlength: TOPIC_MAX * 2, dir: 'auto', autocomplete: 'off', enterkeyhint: 'go' });
  const button = h('button', { class: 'button primary', testid: 'create' }, t('create'));
  const { form, input, complain } = nameForm({
    testid: 'name', name: rememberedName(), button, busyText: t('creating'), extra: [named(topic), encryption(e2e)], submit: create,
  });

  /** What was asked for last. Asked for again, it is the same room. @type {Asked | null} */
  let asked = null;

  /** @param {string} name */
  async function create(name) {
    const wanted = cleanName(topic.value);
    if (codePoints(wanted) > TOPIC_MAX) return complain(t('topicLong'));
    try {
      const words = JSON.stringify([cleanName(name), wanted, e2e.checked]);
      asked = asked?.words === words ? asked : await ask(words, cleanName(name), wanted, e2e.checked);
      const { key, wish, once } = asked;
      const { roomId, token } = await createRoom(wish, once);
      saveIdentity(roomId, cleanName(name), token);
      go(`/r/${roomId}${key ? `#k=${key}` : ''}`);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      const { code, details } = error;
      complain(details?.creatorName ?? details?.topic ?? errorText(code));
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

/** @typedef {{words: string, key: string | null, wish: import('../api.js').Wish, once: string}} Asked */

/**
 * What encrypts, and what makes keys, comes with the room: without it none is made.
 * @param {string} words @param {string} creatorName @param {string} topic @param {boolean} e2e
 * @returns {Promise<Asked>}
 */
async function ask(words, creatorName, topic, e2e) {
  try {
    const once = (await import('../protocol.js')).newKey();
    if (!e2e) return { words, key: null, wish: { creatorName, topic: topic || undefined }, once };
    const { Cipher, newRoomKey } = await import('../crypto.js');
    const key = newRoomKey();
    const sealed = topic ? await (await Cipher.forRoom(key, '')).sealTopic(topic) : undefined;
    return { words, key, wish: { creatorName, topic: sealed, e2e }, once };
  } catch {
    throw new ApiError('UNREACHABLE');
  }
}

/** @param {HTMLInputElement} topic */
function named(topic) {
  return h('div', { class: 'stack' },
    h('label', { class: 'label', for: 'topic' }, t('topic'), h('span', { class: 'optional' }, t('optional'))), topic);
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
