// @ts-check
// The sentences of the client in Korean and English, and how dates are written. Parts that are loaded later have
// theirs with them. \u2068 and \u2069 keep a name that is written from right to left from turning the sentence
// around it.

import { isolated } from './names.js';

/** @typedef {string | {one: string, other: string}} Text `{name}` is replaced; one/other by `n` */

const en = {
  appTitle: 'linkroom',
  tagline: 'A room, one link away',
  pitch: 'Make a room, share its link, talk. No account, no app.',
  factLink: 'The link is the key. Whoever has it is in.',
  factName: 'Bring a name, nothing else.',
  factGone: 'Left alone for a day, a room forgets everything.',
  yourName: 'Your name',
  namePlaceholder: 'What should people call you?',
  topic: 'Name of the room',
  topicLong: 'The name of a room has at most 120 characters.',
  moreOptions: 'More: room name, lifetime, encryption',
  ttl: 'How long it lasts',
  ttlHint: 'Counted from the last sign of life in it.',
  ttlUsual: 'As usual',
  e2eLabel: 'End-to-end encrypted',
  e2eHint: 'Only people with the full link can read along. The server cannot.',
  e2eUnavailable: 'Needs https in this browser.',
  create: 'Make a room',
  creating: 'Making your room…',
  enterTitle: 'Come in',
  insideNow: { one: '{n} person inside', other: '{n} people inside' },
  insideNobody: 'Nobody is inside right now.',
  andMore: { one: 'and {n} more', other: 'and {n} more' },
  enter: 'Enter',
  entering: 'Entering…',
  useName: 'Enter as \u2068{name}\u2069',
  loading: 'One moment…',
  nameEmpty: 'Please enter a name.',
  nameLong: 'A name has at most 32 characters.',
  nameReserved: 'A name cannot begin with “lr_”.',
  nameHidden: 'Please leave out characters that nobody can see.',
  goneTitle: 'This room is gone',
  goneText: 'It was ended, nobody came for a long time, or the link is not quite right.',
  newRoom: 'Make a new room',
  unreachableTitle: 'No connection to the server',
  unreachableText: 'We keep trying. Your room will open as soon as it answers.',
  nothingKept: 'This browser keeps nothing for this page: after a reload you come in anew.',
  brokenTitle: 'That did not work',
  brokenText: 'Something in the page failed. Your browser may be too old, or forbid what it needs.',
  again: 'Try again',
  leftTitle: 'You left the room',
  leftText: 'Your name is kept for a few minutes, in case you want back in.',
  rejoin: 'Back to the room',
  me: 'you',
  creator: 'creator',
  justYou: 'Just you',
  peopleCount: { one: '{n} person', other: '{n} people' },
  people: 'People',
  online: 'online',
  away: 'away',
  left: 'left',
  copyLink: 'Copy link',
  copied: 'Link copied',
  copyFailed: 'Copying did not work. Mark the link and copy it yourself.',
  share: 'Share',
  close: 'Close',
  notifyOn: 'Notify me of new messages',
  notifyDenied: 'Notifications are blocked in your browser.',
  joinLines: 'Say who comes and leaves',
  roomMenu: 'Room menu',
  peopleStale: 'No connection: as it was last',
  peopleSearch: 'Find people',
  memberMenu: 'What to do with \u2068{name}\u2069',
  peopleNobody: 'Nobody of that name',
  undoLeave: 'Undo',
  leave: 'Leave room',
  encrypted: 'End-to-end encrypted',
  locked: 'Locked',
  lockedNow: 'The room is locked: nobody new comes in.',
  unlocked: 'The room is open again.',
  messages: 'Messages',
  composer: 'Message',
  composerHint: 'Write a message',
  send: 'Send',
  tooLong: { one: '{n} character too long', other: '{n} characters too long' },
  tooLongToWrite: 'That has {n} characters. A message has at most {max}.',
  tooLongSealed: 'Too long for an encrypted message. Send it in parts.',
  sending: 'Sending…',
  waiting: 'Waiting…',
  waitingHere: 'Waiting… Keep this page open.',
  unkept: 'The storage of this browser is full or blocked: what you write is lost if this page closes before it is sent.',
  notSent: 'Not sent',
  uncertain: 'Perhaps not sent',
  failure: '{problem}: \u2068{text}\u2069',
  retry: 'Try again',
  discard: 'Delete',
  undecryptable: 'This message does not fit the key of your link.',
  unencrypted: 'This message was not encrypted, so it is not shown.',
  deleted: 'This message was deleted.',
  unread: 'New messages',
  newCount: { one: '{n} new', other: '{n} new' },
  toBottom: 'To the newest message',
  historyStart: 'This is where it begins.',
  toQuoted: 'Go to what is quoted',
  code: 'Code',
  copyCode: 'Copy code',
  showAll: 'Show all',
  showLess: 'Show less',
  loadingOlder: 'Loading older messages…',
  olderFailed: 'Older messages did not load. Try again',
  gap: 'Messages are missing here. Load them',
  emptyTitle: 'It is quiet here',
  emptyText: 'Send the link to someone, then say hello.',
  emptyTextCompany: 'Say hello.',
  today: 'Today',
  yesterday: 'Yesterday',
  cameIn: '\u2068{name}\u2069 came in',
  wentOut: '\u2068{name}\u2069 left',
  saysInPassing: '\u2068{name}\u2069 (not kept): \u2068{text}\u2069',
  connecting: 'Connecting…',
  offline: 'No connection',
  retryIn: { one: 'Next try in {n} second', other: 'Next try in {n} seconds' },
  tryNow: 'Try now',
  stopped: 'The server ended this connection.',
  back: 'Connected again',
  NAME_TAKEN: 'Someone here already has that name.',
  ROOM_FULL: 'This room is full.',
  ROOM_LOCKED: 'This room is locked. Its creator can let you in.',
  FORBIDDEN: 'Only people of the app that this place belongs to make and enter rooms here.',
  INVALID_TOKEN: 'That link does not make you the creator of this room.',
  ROOM_NOT_FOUND: 'This room is gone.',
  RATE_LIMITED: 'That was a bit fast. Try again in a moment.',
  SERVICE_UNAVAILABLE: 'The server is not ready. Try again in a moment.',
  UNREACHABLE: 'No connection to the server. Try again in a moment.',
  VALIDATION_FAILED: 'The server did not accept that.',
  INTERNAL: 'Something went wrong on the server.',
};

/** @type {{[K in keyof typeof en]: Text}} */
const ko = {
  appTitle: 'linkroom',
  tagline: '링크 하나로 열리는 대화방',
  pitch: '방을 만들고, 링크를 보내고, 이야기하세요. 가입도 설치도 없습니다.',
  factLink: '링크가 곧 열쇠입니다. 링크가 있으면 들어올 수 있어요.',
  factName: '이름만 정하면 됩니다.',
  factGone: '하루 동안 아무도 없으면 방은 모든 것을 잊습니다.',
  yourName: '이름',
  namePlaceholder: '어떻게 불러 드릴까요?',
  topic: '방 이름',
  topicLong: '방 이름은 120자까지 쓸 수 있어요.',
  moreOptions: '더 보기: 방 이름, 유지 시간, 암호화',
  ttl: '유지 시간',
  ttlHint: '마지막 활동부터 셉니다.',
  ttlUsual: '기본',
  e2eLabel: '종단간 암호화',
  e2eHint: '전체 링크를 가진 사람만 읽을 수 있습니다. 서버도 읽지 못해요.',
  e2eUnavailable: '이 브라우저에서는 https가 필요합니다.',
  create: '방 만들기',
  creating: '방을 만드는 중…',
  enterTitle: '들어오세요',
  insideNow: '지금 {n}명이 있어요',
  insideNobody: '지금은 아무도 없어요.',
  andMore: '외 {n}명',
  enter: '들어가기',
  entering: '들어가는 중…',
  useName: '“\u2068{name}\u2069” 이름으로 들어가기',
  loading: '잠시만요…',
  nameEmpty: '이름을 입력해 주세요.',
  nameLong: '이름은 32자까지 쓸 수 있어요.',
  nameReserved: '이름은 “lr_”로 시작할 수 없어요.',
  nameHidden: '눈에 보이지 않는 문자는 빼 주세요.',
  goneTitle: '사라진 방이에요',
  goneText: '방이 끝났거나, 오래 아무도 없었거나, 링크가 올바르지 않습니다.',
  newRoom: '새 방 만들기',
  unreachableTitle: '서버에 연결할 수 없어요',
  unreachableText: '계속 시도하고 있어요. 응답이 오면 바로 방이 열립니다.',
  nothingKept: '이 브라우저는 아무것도 저장하지 않아요. 새로 고치면 다시 들어와야 합니다.',
  brokenTitle: '열지 못했어요',
  brokenText: '페이지에 문제가 생겼어요. 브라우저가 너무 오래되었거나 필요한 기능을 막고 있을 수 있습니다.',
  again: '다시 시도',
  leftTitle: '방에서 나왔어요',
  leftText: '다시 들어올 수 있도록 이름을 몇 분 동안 맡아 둡니다.',
  rejoin: '방으로 돌아가기',
  me: '나',
  creator: '방장',
  justYou: '혼자예요',
  peopleCount: '{n}명',
  people: '사람들',
  online: '접속 중',
  away: '자리 비움',
  left: '나감',
  copyLink: '링크 복사',
  copied: '링크를 복사했어요',
  copyFailed: '복사하지 못했어요. 링크를 선택해서 직접 복사해 주세요.',
  share: '공유',
  close: '닫기',
  notifyOn: '새 메시지 알림 받기',
  notifyDenied: '브라우저에서 알림이 차단되어 있어요.',
  joinLines: '들어오고 나간 사람 표시',
  roomMenu: '방 메뉴',
  peopleStale: '연결이 끊겨 마지막 모습을 보여 드려요',
  peopleSearch: '이름 찾기',
  memberMenu: '\u2068{name}\u2069 님에 대해 할 수 있는 일',
  peopleNobody: '그런 이름은 없어요',
  undoLeave: '되돌리기',
  leave: '방 나가기',
  encrypted: '종단간 암호화',
  locked: '잠김',
  lockedNow: '방이 잠겼어요. 이제 아무도 새로 들어올 수 없어요.',
  unlocked: '방이 다시 열렸어요.',
  messages: '메시지',
  composer: '메시지',
  composerHint: '메시지를 입력하세요',
  send: '보내기',
  tooLong: '{n}자를 줄여 주세요',
  tooLongToWrite: '{n}자입니다. 메시지는 {max}자까지 보낼 수 있어요.',
  tooLongSealed: '암호화 메시지로는 너무 깁니다. 나누어 보내 주세요.',
  sending: '보내는 중…',
  waiting: '기다리는 중…',
  waitingHere: '기다리는 중… 이 페이지를 닫지 마세요.',
  unkept: '브라우저 저장 공간이 가득 찼거나 막혀 있어요. 보내기 전에 이 페이지를 닫으면 쓴 글이 사라집니다.',
  notSent: '보내지 못함',
  uncertain: '보내지 못했을 수 있어요',
  failure: '{problem}: \u2068{text}\u2069',
  retry: '다시 보내기',
  discard: '삭제',
  undecryptable: '이 링크의 열쇠로 열 수 없는 메시지입니다.',
  unencrypted: '암호화되지 않은 메시지라서 표시하지 않습니다.',
  deleted: '삭제된 메시지입니다.',
  unread: '새 메시지',
  newCount: '새 메시지 {n}개',
  toBottom: '최신 메시지로',
  historyStart: '대화의 시작입니다.',
  toQuoted: '인용한 메시지로 가기',
  code: '코드',
  copyCode: '코드 복사',
  showAll: '모두 보기',
  showLess: '접기',
  loadingOlder: '이전 메시지를 불러오는 중…',
  olderFailed: '이전 메시지를 불러오지 못했어요. 다시 시도',
  gap: '빠진 메시지가 있어요. 불러오기',
  emptyTitle: '아직 조용하네요',
  emptyText: '링크를 보내고 첫인사를 건네 보세요.',
  emptyTextCompany: '첫인사를 건네 보세요.',
  today: '오늘',
  yesterday: '어제',
  cameIn: '\u2068{name}\u2069 님이 들어왔어요',
  wentOut: '\u2068{name}\u2069 님이 나갔어요',
  saysInPassing: '\u2068{name}\u2069 (기록되지 않음): \u2068{text}\u2069',
  connecting: '연결하는 중…',
  offline: '연결이 끊겼어요',
  retryIn: '{n}초 뒤에 다시 시도합니다',
  tryNow: '지금 시도',
  stopped: '서버가 연결을 종료했어요.',
  back: '다시 연결됐어요',
  NAME_TAKEN: '이미 쓰고 있는 이름이에요.',
  ROOM_FULL: '방이 가득 찼어요.',
  ROOM_LOCKED: '잠긴 방이에요. 방장이 열어 주면 들어갈 수 있어요.',
  FORBIDDEN: '이곳이 속한 앱의 사용자만 방을 만들고 들어올 수 있어요.',
  INVALID_TOKEN: '이 링크로는 이 방의 방장이 될 수 없어요.',
  ROOM_NOT_FOUND: '사라진 방이에요.',
  RATE_LIMITED: '조금 빨랐어요. 잠시 뒤에 다시 시도해 주세요.',
  SERVICE_UNAVAILABLE: '서버가 준비되지 않았어요. 잠시 뒤에 다시 시도해 주세요.',
  UNREACHABLE: '서버에 연결할 수 없어요. 잠시 뒤에 다시 시도해 주세요.',
  VALIDATION_FAILED: '서버가 받아들이지 않았어요.',
  INTERNAL: '서버에 문제가 생겼어요.',
};

export const TEXTS = { en, ko };

/** @param {readonly string[]} wanted the browser's languages, best first @returns {'ko' | 'en'} */
export function pickLanguage(wanted) {
  for (const language of wanted) {
    const base = language.toLowerCase().split(/[-_.@]/)[0];
    if (base === 'ko' || base === 'en') return base;
  }
  return 'en';
}

const wanted = globalThis.navigator?.languages ?? [];
export const language = pickLanguage(wanted);
if (globalThis.document) document.documentElement.lang = language;
/** Dates follow the browser's own variant of the language ('en-GB' writes 24 hours). */
const locale = wanted.find((tag) => tag.toLowerCase().startsWith(language) && isKnown(tag)) ?? language;

/** Some systems name their locale in a way that `Intl` throws at (`en-US@posix`). @param {string} tag */
function isKnown(tag) {
  try {
    return Intl.DateTimeFormat.supportedLocalesOf(tag).length > 0;
  } catch {
    return false;
  }
}

/**
 * What says the sentences of a table in the reader's language.
 * @template {string} Key
 * @param {{en: Record<Key, Text>, ko: Record<Key, Text>}} texts
 * @returns {(key: Key, values?: Record<string, string | number>) => string}
 */
export function speaker(texts) {
  return (key, values = {}) => {
    const text = texts[language][key];
    const form = typeof text === 'string' ? text : text[values.n === 1 ? 'one' : 'other'];
    return form.replace(/\{(\w+)\}/g, (whole, name) => String(values[name] ?? whole));
  };
}

export const t = speaker(TEXTS);

/** The sentence for an error code. @param {string} code */
export function errorText(code) {
  return t(code in en ? /** @type {keyof typeof en} */ (code) : 'INTERNAL');
}

const dayFormat = inZone({ weekday: 'long', month: 'long', day: 'numeric' });
const timeOfMinute = ofMinute(inZone({ hour: 'numeric', minute: '2-digit' }));
const fullOfMinute = ofMinute(inZone({ dateStyle: 'full', timeStyle: 'short' }));
const listFormat = Intl.ListFormat && new Intl.ListFormat(locale, { type: 'unit', style: 'short' });
export const collator = new Intl.Collator(locale, { numeric: true });

/** @param {string} timestamp */
export const timeText = (timestamp) => timeOfMinute(timestamp);

/** @param {string} timestamp */
export const fullTimeText = (timestamp) => fullOfMinute(timestamp);

/**
 * A format keeps the time zone that it was made in, and the reader may travel.
 * @param {Intl.DateTimeFormatOptions} options
 * @returns {(date: Date) => string}
 */
function inZone(options) {
  let format = new Intl.DateTimeFormat(locale, options);
  let zone = zoneNow();
  return (date) => {
    if (zone !== zoneNow()) format = new Intl.DateTimeFormat(locale, options);
    zone = zoneNow();
    return format.format(date);
  };
}

/** The reader's offset from UTC, in minutes. */
export function zoneNow() {
  return new Date().getTimezoneOffset();
}

/**
 * Writing a time is slow, and each message has it four times: it is kept for those of the same minute.
 * @param {(date: Date) => string} format
 * @returns {(timestamp: string) => string}
 */
function ofMinute(format) {
  let minute = '';
  let text = '';
  return (timestamp) => {
    const its = `${Math.floor(Date.parse(timestamp) / 60_000)} ${zoneNow()}`;
    if (its !== minute) text = format(new Date(timestamp));
    minute = its;
    return text;
  };
}

/** @param {readonly string[]} names */
export function listText(names) {
  const apart = names.map(isolated);
  return listFormat ? listFormat.format(apart) : apart.join(', ');
}

/** @param {string} timestamp @param {Date} [now] */
export function dayText(timestamp, now = new Date()) {
  const day = new Date(timestamp);
  const yesterday = new Date(now);
  yesterday.setDate(now.getDate() - 1);
  if (day.toDateString() === now.toDateString()) return t('today');
  if (day.toDateString() === yesterday.toDateString()) return t('yesterday');
  return dayFormat(day);
}

const UNITS = /** @type {const} */ ([['day', 86_400], ['hour', 3_600], ['minute', 60], ['second', 1]]);

/** A length of time in the largest unit of which it is a whole number, but one day as hours. @param {number} seconds */
export function durationText(seconds) {
  const [unit, length] = UNITS.find(([unit, size]) => seconds % size === 0 && (seconds > size || unit !== 'day')) ?? ['second', 1];
  return new Intl.NumberFormat(locale, { style: 'unit', unit, unitDisplay: 'long' }).format(seconds / length);
}
