// @ts-check
// The sentences of what its creator can do with a room. Whoever takes `t` from
// here has those of i18n.js as well.

import { errorText as usualText, speaker, TEXTS } from '../../i18n.js';

const en = {
  lockRoom: 'Lock the room',
  unlocked: 'The room is open again.',
  lockedNow: 'The room is locked: nobody new comes in.',
  roomSettings: 'Room settings…',
  roomSettingsTitle: 'Room settings',
  maxMembers: 'People at most',
  save: 'Save',
  saved: 'Saved',
  creatorLink: 'Copy creator link…',
  creatorLinkTitle: 'Your creator link',
  creatorLinkText: 'Open it on another device of yours to be the room’s creator there too.',
  creatorLinkWarning: 'Give it to nobody. Whoever has it speaks in your name, and can remove people and end the room. It cannot be taken back.',
  creatorLinkCopy: 'Copy creator link',
  FORBIDDEN: 'Only who made this room may do that, or who said it.',
};

/** @type {{[K in keyof typeof en]: import('../../i18n.js').Text}} */
const ko = {
  lockRoom: '방 잠그기',
  unlocked: '방을 다시 열었어요.',
  lockedNow: '방을 잠갔어요. 이제 아무도 새로 들어올 수 없어요.',
  roomSettings: '방 설정…',
  roomSettingsTitle: '방 설정',
  maxMembers: '최대 인원',
  save: '저장',
  saved: '저장했어요',
  creatorLink: '방장 링크 복사…',
  creatorLinkTitle: '방장 링크',
  creatorLinkText: '내 다른 기기에서 열면 그 기기에서도 방장이 됩니다.',
  creatorLinkWarning: '아무에게도 주지 마세요. 이 링크가 있으면 내 이름으로 말하고, 사람을 내보내고, 방을 끝낼 수 있습니다. 한번 넘어가면 되돌릴 수 없어요.',
  creatorLinkCopy: '방장 링크 복사',
  FORBIDDEN: '방을 만든 사람이나 쓴 사람만 할 수 있어요.',
};

export const WORDS = { en, ko };

export const t = speaker({ en: { ...TEXTS.en, ...en }, ko: { ...TEXTS.ko, ...ko } });

/** The sentence for an error code. @param {string} code */
export const errorText = (code) => (Object.hasOwn(en, code) ? t(/** @type {keyof typeof en} */ (code)) : usualText(code));
