// @ts-check
// The sentences about notifications that come while no tab is open. Whoever takes `t` from here has those of i18n.js
// as well.

import { speaker, TEXTS } from '../../i18n.js';

const en = {
  pushTitle: 'Be notified with no tab open?',
  pushText: 'Where something is said while you do not look, this browser shows it: once in half a minute at most, until you turn this off or the room is gone.',
  pushWhere: 'It comes through the push service of this browser’s maker, such as Google, Mozilla or Apple. Who spoke and how the message begins is encrypted for this browser alone. The service learns when there was a message, and neither the room nor what was said.',
  pushWhereE2e: 'It comes through the push service of this browser’s maker, such as Google, Mozilla or Apple. This room is encrypted: you only see who spoke, and what was said is not sent. The service learns when there was a message, and not in which room. This browser keeps the link, so that a click opens the room.',
  pushDo: 'Notify me',
  pushOn: 'This browser notifies you of this room now, with no tab open too.',
  pushOff: 'This browser no longer notifies you with no tab open.',
  pushFailed: 'This browser cannot be notified at the moment. Try again later.',
  cancel: 'Cancel',
};

/** @type {{[K in keyof typeof en]: import('../../i18n.js').Text}} */
const ko = {
  pushTitle: '탭을 닫아도 알림을 받을까요?',
  pushText: '보고 있지 않을 때 누가 말하면 이 브라우저가 알려 줍니다. 30초에 한 번까지만 오고, 끄거나 방이 사라지면 오지 않아요.',
  pushWhere: '알림은 Google, Mozilla, Apple처럼 브라우저를 만든 곳의 푸시 서비스를 거쳐 옵니다. 누가 말했는지와 메시지 첫머리는 이 브라우저만 읽을 수 있게 암호화됩니다. 푸시 서비스는 메시지가 온 때만 알고, 어느 방인지 무슨 말인지는 모릅니다.',
  pushWhereE2e: '알림은 Google, Mozilla, Apple처럼 브라우저를 만든 곳의 푸시 서비스를 거쳐 옵니다. 암호화된 방이라 누가 말했는지만 보이고, 무슨 말인지는 보내지 않습니다. 푸시 서비스는 메시지가 온 때만 알고, 어느 방인지는 모릅니다. 눌러서 방을 열 수 있도록 링크는 이 브라우저에 남습니다.',
  pushDo: '알림 받기',
  pushOn: '이제 탭을 닫아도 이 방의 알림이 와요.',
  pushOff: '이제 탭을 닫으면 알림이 오지 않아요.',
  pushFailed: '지금은 이 브라우저로 알림을 보낼 수 없어요. 나중에 다시 해 주세요.',
  cancel: '취소',
};

export const WORDS = { en, ko };

export const t = speaker({ en: { ...TEXTS.en, ...en }, ko: { ...TEXTS.ko, ...ko } });
