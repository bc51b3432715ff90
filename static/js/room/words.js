// @ts-check
// The sentences of parts that are loaded after the room: menus, the invitation dialog. `t` of this
// module also has those of i18n.js.

import { speaker, TEXTS } from '../i18n.js';

const en = {
  showPeople: 'Show people',
  peopleMore: 'Show more people',
  peopleSearching: 'Looking through the list…',
  peopleFound: { one: '{n} person found', other: '{n} people found' },
  peopleFailed: 'The list did not load. Try again.',
  shareTitle: 'Invite people',
  shareText: 'Whoever has this link can enter.',
  shareTextE2e: 'Whoever has this link can enter and read everything.',
  shareLink: 'Link to this room',
  shareNative: 'Share with…',
  shareMessage: 'Come talk:',
  qrLabel: 'QR code of the link',
  notify_all: 'Notify me of everything',
  notify_mentions: 'Only when I am called',
  notify_off: 'No notifications',
  push: 'Notify me with no tab open',
  sound: 'Sound for new messages',
  lifetime: 'The room is gone {time} after the last sign of life in it.',
  lifetimeUnknown: 'A room that nobody comes to is gone after a while.',
  printAgain: 'There is more than what you printed. It is loaded now: print again for all of it.',
  onlyText: 'Only text can be sent here, no files or pictures.',
  reply: 'Reply',
  copyText: 'Copy text',
  textCopied: 'Text copied',
  copyMessageLink: 'Copy link to message',
  messageMenu: 'What to do with this message',
  deleteMessage: 'Delete…',
  messageGone: 'That message is not here any more.',
  readBy: 'Read by {names}',
  readByCount: { one: 'Read by {n} person', other: 'Read by {n} people' },
  readByNobody: 'Nobody else has read this yet',
  codeCopied: 'Code copied',
};

/** @type {{[K in keyof typeof en]: import('../i18n.js').Text}} */
const ko = {
  showPeople: '사람들 보기',
  peopleMore: '더 보기',
  peopleSearching: '이름을 찾는 중…',
  peopleFound: '{n}명을 찾았어요',
  peopleFailed: '목록을 불러오지 못했어요. 다시 시도해 주세요.',
  shareTitle: '초대하기',
  shareText: '이 링크가 있으면 누구나 들어올 수 있어요.',
  shareTextE2e: '이 링크가 있으면 누구나 들어와 모두 읽을 수 있어요.',
  shareLink: '이 방의 링크',
  shareNative: '다른 앱으로 공유…',
  shareMessage: '이야기해요:',
  qrLabel: '링크의 QR 코드',
  notify_all: '모든 메시지 알림',
  notify_mentions: '나를 부를 때만 알림',
  notify_off: '알림 끄기',
  push: '탭을 닫아도 알림 받기',
  sound: '새 메시지 소리',
  lifetime: '마지막 활동에서 {time}이 지나면 방이 사라져요.',
  lifetimeUnknown: '아무도 오지 않으면 방은 얼마 뒤 사라져요.',
  printAgain: '인쇄한 것보다 더 있어요. 이제 모두 불러왔으니 다시 인쇄해 주세요.',
  onlyText: '여기서는 글만 보낼 수 있어요. 파일이나 사진은 보낼 수 없습니다.',
  reply: '답장',
  copyText: '글 복사',
  textCopied: '글을 복사했어요',
  copyMessageLink: '메시지 링크 복사',
  messageMenu: '이 메시지로 할 수 있는 일',
  deleteMessage: '삭제…',
  messageGone: '그 메시지는 더 이상 없어요.',
  readBy: '읽은 사람: {names}',
  readByCount: '{n}명이 읽음',
  readByNobody: '아직 아무도 읽지 않았어요',
  codeCopied: '코드를 복사했어요',
};

export const WORDS = { en, ko };

export const t = speaker({ en: { ...TEXTS.en, ...en }, ko: { ...TEXTS.ko, ...ko } });
