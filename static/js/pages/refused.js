// @ts-check
// Explains why somebody is out of a room, or was not let in, and what they can do.

import { h } from '../dom.js';
import { speaker, TEXTS } from '../i18n.js';
import { noticePage } from '../parts.js';

const en = {
  removedTitle: 'You were removed',
  removedText: 'The creator of the room removed you.',
  leftTitle: 'You left the room',
  leftText: 'You left it on another device.',
  closedTitle: 'The room was ended',
  closedText: 'Its creator ended it. Everything that was said in it is gone.',
  expiredTitle: 'Your time in the room is over',
  expiredText: 'The app that brought you here let you in for a while. Open the room from there again.',
  BANNEDTitle: 'You cannot come in',
  BANNEDText: 'The creator of the room lets nobody new in from where you are. Perhaps that is about somebody else at the same place.',
  FORBIDDENTitle: 'You cannot come in',
  FORBIDDENText: 'Only people of the app that this room belongs to enter it. Open it from there.',
  comeIn: 'Come in again',
};

/** @type {{[K in keyof typeof en]: import('../i18n.js').Text}} */
const ko = {
  removedTitle: '방에서 내보내졌어요',
  removedText: '방장이 내보냈습니다.',
  leftTitle: '방에서 나왔어요',
  leftText: '다른 기기에서 이 방을 나갔습니다.',
  closedTitle: '끝난 방이에요',
  closedText: '방장이 방을 끝냈습니다. 나눈 이야기는 모두 사라졌어요.',
  expiredTitle: '들어와 있을 시간이 끝났어요',
  expiredText: '이 방으로 안내한 앱이 정한 시간이 지났습니다. 그 앱에서 방을 다시 열어 주세요.',
  BANNEDTitle: '들어갈 수 없어요',
  BANNEDText: '방장이 지금 계신 곳에서는 새로 들어올 수 없게 했습니다. 같은 곳에 있는 다른 사람 때문일 수도 있어요.',
  FORBIDDENTitle: '들어갈 수 없어요',
  FORBIDDENText: '이 방이 속한 앱의 사용자만 들어올 수 있습니다. 그 앱에서 열어 주세요.',
  comeIn: '다시 들어가기',
};

export const WORDS = { en, ko };

const t = speaker({ en: { ...TEXTS.en, ...en }, ko: { ...TEXTS.ko, ...ko } });

/**
 * @param {string} code of the refusal, or the reason of a removal
 * @param {() => void} again tries to join again
 * @param {() => void} makeRoom
 * @returns {HTMLElement | null} null if there is no page for the code
 */
export function refusedPage(code, again, makeRoom) {
  if (!Object.hasOwn(en, `${code}Title`)) return null;
  const reason = /** @type {'removed' | 'left' | 'closed' | 'expired' | 'BANNED' | 'FORBIDDEN'} */ (code);
  const isOver = reason === 'closed';
  const page = noticePage('refused', t(`${reason}Title`), t(`${reason}Text`),
    ...(isOver ? [] : [h('button', { class: 'button', testid: 'again', onclick: again }, t(/^[a-z]/.test(reason) ? 'comeIn' : 'again'))]),
    h('button', { class: isOver ? 'button primary' : 'button', testid: 'new-room', onclick: makeRoom }, t('newRoom')));
  page.dataset.reason = reason;
  return page;
}
