// @ts-check
// Asks for the key of an encrypted room, if the link came without it.

import { h } from '../dom.js';
import { speaker } from '../i18n.js';
import { addressOf, keyAlone, linksIn } from '../names.js';
import { canEncrypt, noticePage } from '../parts.js';

const en = {
  keyTitle: 'This room is encrypted',
  keyText: 'The link you opened lacks its last part, the key behind “#”. Paste the complete link here.',
  keyInsecure: 'Encrypted rooms need https. Open the link with https:// to enter.',
  keyLabel: 'Complete link',
  keyApply: 'Open',
  keyWrong: 'There is no complete key in that.',
  keyOther: 'That is the link of another room.',
  openOther: 'Open that room',
};

/** @type {{[K in keyof typeof en]: import('../i18n.js').Text}} */
const ko = {
  keyTitle: '암호화된 방이에요',
  keyText: '열어 본 링크에 “#” 뒤의 열쇠 부분이 빠졌습니다. 전체 링크를 여기에 붙여 넣어 주세요.',
  keyInsecure: '암호화된 방에는 https가 필요합니다. https:// 주소로 열어 주세요.',
  keyLabel: '전체 링크',
  keyApply: '열기',
  keyWrong: '온전한 열쇠가 들어 있지 않아요.',
  keyOther: '다른 방의 링크예요.',
  openOther: '그 방 열기',
};

export const WORDS = { en, ko };

const t = speaker(WORDS);

/** @param {string} roomId @param {(address: string) => void} go */
export function keyPage(roomId, go) {
  if (!canEncrypt()) return noticePage('key-missing', t('keyTitle'), t('keyInsecure'));
  const input = h('textarea', { class: 'field', id: 'key', testid: 'key-input', rows: '2', autocomplete: 'off', spellcheck: 'false', 'aria-describedby': 'key-error' });
  const error = h('div', { role: 'alert', id: 'key-error' });
  const complain = (/** @type {string} */ text, /** @type {Node[]} */ ...more) => error.replaceChildren(h('p', { class: 'form-error' }, text), ...more);
  const apply = (/** @type {Event} */ event) => {
    event.preventDefault();
    const { key, other } = keyIn(input.value, roomId);
    if (key) go(addressOf({ roomId, key }));
    else if (other) complain(t('keyOther'), h('button', { type: 'button', class: 'button', testid: 'open-other', onclick: () => go(addressOf(other)) }, t('openOther')));
    else complain(t('keyWrong'));
  };
  input.addEventListener('keydown', (/** @type {KeyboardEvent} */ event) => {
    if (event.key === 'Enter' && !event.isComposing) apply(event);
  });
  return noticePage('key-missing', t('keyTitle'), t('keyText'),
    h('form', { class: 'form', onsubmit: apply },
      h('label', { class: 'label', for: 'key' }, t('keyLabel')), input, error,
      h('button', { class: 'button primary', testid: 'key-apply' }, t('keyApply'))));
}

/**
 * The room's key in a pasted text; if it is a link of another room, that link instead.
 * @param {string} text
 * @param {string} roomId
 * @returns {{key?: string | null, other?: import('../names.js').Link}}
 */
function keyIn(text, roomId) {
  const links = linksIn(text);
  if (links.length === 0) return { key: keyAlone(text) };
  const mine = links.find((link) => link.roomId === roomId && link.key);
  return mine ? { key: mine.key } : { other: links.find((link) => link.roomId !== roomId) };
}
