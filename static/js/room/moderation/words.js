// @ts-check
// The sentences of what its creator can do with a room, and authors with their messages. Whoever takes `t` from
// here has those of i18n.js as well.

import { errorText as usualText, speaker, TEXTS } from '../../i18n.js';

const en = {
  lockRoom: 'Lock the room',
  roomSettings: 'Room settings…',
  roomSettingsTitle: 'Room settings',
  maxMembers: 'People at most',
  bans: { one: '{n} address is banned.', other: '{n} addresses are banned.' },
  liftBans: 'Let them in again',
  bansLifted: 'Whoever was banned can come in again.',
  save: 'Save',
  saved: 'Saved',
  cancel: 'Cancel',
  creatorLink: 'Copy creator link…',
  creatorLinkTitle: 'Your creator link',
  creatorLinkText: 'Open it on another device of yours to be the room’s creator there too.',
  creatorLinkWarning: 'Give it to nobody. Whoever has it speaks in your name, and can remove people and end the room. It cannot be taken back.',
  creatorLinkCopy: 'Copy creator link',
  endRoom: 'End the room…',
  endRoomTitle: 'End the room for everybody?',
  endRoomText: 'Everybody is out at once, and all messages are gone for good.',
  endRoomDo: 'End the room',
  remove: 'Remove…',
  removeTitle: 'Remove \u2068{name}\u2069?',
  removeText: 'What they said stays. They can come in again by the link, unless the room is locked.',
  removeDo: 'Remove',
  removed: '\u2068{name}\u2069 was removed.',
  ban: 'Remove and ban…',
  banTitle: 'Remove and ban \u2068{name}\u2069?',
  banText: 'Nobody new comes in from the same address: others in the same house or office neither. Whoever is determined finds another; lock the room for that.',
  banDo: 'Remove and ban',
  banned: '\u2068{name}\u2069 was removed and banned.',
  deleteTitle: 'Delete this message?',
  deleteText: 'Nobody can read it any more. Its place stays.',
  deleteDo: 'Delete',
  deleting: 'Message deleted',
  undo: 'Undo',
  notDeleted: 'The message was not deleted. {problem}',
  FORBIDDEN: 'Only who made this room may do that, or who said it.',
  NOT_FOUND: 'That is not there any more.',
};

/** @type {{[K in keyof typeof en]: import('../../i18n.js').Text}} */
const ko = {
  lockRoom: '방 잠그기',
  roomSettings: '방 설정…',
  roomSettingsTitle: '방 설정',
  maxMembers: '최대 인원',
  bans: '주소 {n}개가 차단되어 있어요.',
  liftBans: '차단 풀기',
  bansLifted: '차단을 모두 풀었어요.',
  save: '저장',
  saved: '저장했어요',
  cancel: '취소',
  creatorLink: '방장 링크 복사…',
  creatorLinkTitle: '방장 링크',
  creatorLinkText: '내 다른 기기에서 열면 그 기기에서도 방장이 됩니다.',
  creatorLinkWarning: '아무에게도 주지 마세요. 이 링크가 있으면 내 이름으로 말하고, 사람을 내보내고, 방을 끝낼 수 있습니다. 한번 넘어가면 되돌릴 수 없어요.',
  creatorLinkCopy: '방장 링크 복사',
  endRoom: '방 끝내기…',
  endRoomTitle: '모두에게서 방을 끝낼까요?',
  endRoomText: '모든 사람이 바로 나가게 되고, 메시지는 모두 영영 사라집니다.',
  endRoomDo: '방 끝내기',
  remove: '내보내기…',
  removeTitle: '\u2068{name}\u2069 님을 내보낼까요?',
  removeText: '한 말은 남습니다. 방을 잠그지 않으면 링크로 다시 들어올 수 있어요.',
  removeDo: '내보내기',
  removed: '\u2068{name}\u2069 님을 내보냈어요.',
  ban: '내보내고 차단…',
  banTitle: '\u2068{name}\u2069 님을 내보내고 차단할까요?',
  banText: '같은 주소에서는 아무도 새로 들어올 수 없어요. 같은 집이나 사무실의 다른 사람도 마찬가지입니다. 작정한 사람은 다른 주소로 올 수 있으니, 그럴 때는 방을 잠그세요.',
  banDo: '내보내고 차단',
  banned: '\u2068{name}\u2069 님을 내보내고 차단했어요.',
  deleteTitle: '이 메시지를 삭제할까요?',
  deleteText: '이제 아무도 읽을 수 없게 됩니다. 자리는 남아요.',
  deleteDo: '삭제',
  deleting: '메시지를 삭제했어요',
  undo: '되돌리기',
  notDeleted: '메시지를 삭제하지 못했어요. {problem}',
  FORBIDDEN: '방을 만든 사람이나 쓴 사람만 할 수 있어요.',
  NOT_FOUND: '이미 없어요.',
};

export const WORDS = { en, ko };

export const t = speaker({ en: { ...TEXTS.en, ...en }, ko: { ...TEXTS.ko, ...ko } });

/** The sentence for an error code. @param {string} code */
export const errorText = (code) => (Object.hasOwn(en, code) ? t(/** @type {keyof typeof en} */ (code)) : usualText(code));
