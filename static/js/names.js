// @ts-check
// The rules of names, texts and keys, as far as it helps to check them before the server does.

const ID = '[A-Za-z0-9_-]{0,63}[A-Za-z0-9]';
const KEY = '[A-Za-z0-9_-]{43}(?![A-Za-z0-9])'; // 32 bytes in base64url
const IN_PATH = new RegExp(`[/\\\\][^A-Za-z0-9_#-]{0,9}[rR][^A-Za-z0-9_#-]{0,9}[/\\\\][^A-Za-z0-9_#-]*(${ID})`, 'g');
const AT_ROOMS = /^[^A-Za-z0-9#]*r([^A-Za-z0-9_#-]*[/\\]|[^A-Za-z0-9_#-]*$)/i; // as in src/http/pages.rs
/** Apps put something else in place of the `=`; mail has `=3D`. */
const KEY_PART = new RegExp(`\\b[kK][^A-Za-z0-9_-]{1,9}(?:3D)?(${KEY})`);
const MESSAGE_PART = /\bm=\s*(\d+-\d+)/;
const TOKEN_PART = /\bt=\s*(lr_[\w-]+\.[\w-]+|[\w-]+\.[\w-]+\.[\w-]+)/; // or a JWT
const APPS = 3; // apps that a link passes through, each of which escapes it once more
const ALONE = new RegExp(`(?:^|[^A-Za-z0-9_-])(?:3D|_)?(${KEY})`);
const BROKEN_LINE = /=?[\r\n]+[ \t]*/g; // as mail clients break long ones

export const NAME_MAX = 32; // code points
export const TEXT_MAX = 4000; // code points
export const TOPIC_MAX = 120; // code points

const SHOWN = /[^\p{Default_Ignorable_Code_Point}\u2800\uFFF9-\uFFFB\u{13430}-\u{1343F}\p{M}\p{Z}\p{Cc}\p{Cs}]/u;

/** Whether a text has a visible character. @param {string} text */
export const showsSomething = (text) => SHOWN.test(text);

/** Whether a name has only visible letters and spaces, as most have. `hidesNothing` in visible.js judges the others. @param {string} name */
export const isPlain = (name) => [...name].every((letter) => letter === ' ' || SHOWN.test(letter));

/** @param {string} name */
export const cleanName = (name) => name.replace(/^\p{White_Space}+|\p{White_Space}+$/gu, '').normalize('NFC');

/** A name, or a part of one, as it is compared in a search: without regard to case, accents, and how its letters are encoded. @param {string} name */
export const folded = (name) => cleanName(name).normalize('NFKD').replace(/[\u0300-\u036f]/g, '').toUpperCase();

/** The number of code points, counted without an array of them. @param {string} text */
export function codePoints(text) {
  let count = text.length;
  for (let i = 1; i < text.length; i++) {
    if (isSurrogate(text.charCodeAt(i), 0xdc00) && isSurrogate(text.charCodeAt(i - 1), 0xd800)) count--;
  }
  return count;
}

/** @param {number} unit @param {number} half the first of the high or the low surrogates */
const isSurrogate = (unit, half) => (unit & 0xfc00) === half;

/** All but invisible characters. @param {string} name @returns {'nameEmpty' | 'nameLong' | 'nameReserved' | null} the key of the error's sentence */
export function checkName(name) {
  const clean = cleanName(name);
  if (clean === '') return 'nameEmpty';
  if (codePoints(clean) > NAME_MAX) return 'nameLong';
  return clean.startsWith('lr_') ? 'nameReserved' : null;
}

/**
 * A name like `name` that is not in `taken`.
 * @param {string} name
 * @param {Iterable<string>} taken
 */
export function freeName(name, taken) {
  const names = new Set(taken);
  const [, stem, digits] = /** @type {RegExpMatchArray} */ (cleanName(name).match(/^(.*?)(\d{0,3})$/su));
  for (let n = Number(digits || 1) + 1; ; n++) {
    const room = NAME_MAX - String(n).length;
    const candidate = [...stem].slice(0, room).join('').trimEnd() + n;
    if (!names.has(candidate)) return candidate;
  }
}

const RIGHT_TO_LEFT = /[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc\u{10800}-\u{10fff}\u{1e800}-\u{1efff}]/u;

/** @param {string} text */
export const hasRightToLeft = (text) => RIGHT_TO_LEFT.test(text);

/** A name for a sentence or a list, isolated: a right-to-left name must not change the order of the text around it. @param {string} name */
export const isolated = (name) => (hasRightToLeft(name) ? `\u2068${name}\u2069` : name);

/** The language of a text, if its script identifies it and its line breaks depend on it. @param {string} text */
export function languageOf(text) {
  if (/\p{Script=Hangul}/u.test(text)) return 'ko';
  if (/[\p{Script=Hiragana}\p{Script=Katakana}]/u.test(text)) return 'ja';
  return /\p{Script=Han}/u.test(text) ? 'zh' : '';
}

/** A stable number from 0 to 7: the colour of a name. @param {string} name */
export function hueOf(name) {
  let hash = 0;
  for (const letter of name) hash = Math.imul(hash ^ /** @type {number} */ (letter.codePointAt(0)), 0x9e3779b1);
  return hash >>> 29; // the highest bits depend on every character
}

/** @type {Intl.Segmenter | undefined} */
let segmenter;

/** The first character as people see it (one emoji, one syllable). @param {string} name */
export function initialOf(name) {
  segmenter ??= typeof Intl.Segmenter === 'function' ? new Intl.Segmenter() : undefined;
  const [first] = segmenter ? Array.from(segmenter.segment(name), (part) => part.segment) : [...name];
  return (first ?? '').toLocaleUpperCase();
}

/**
 * A room in a link. Apps that forward links escape them, wrap them, and attach surrounding text; so only characters
 * that an id or a key can have are taken.
 * @typedef {{roomId: string, key: string | null, message: string | null, token: string | null}} Link `message` is a message's id,
 *   `token` that of the room's creator, or the JWT of an application's user
 */

/** The links of rooms in a text, whether it is an address or all that somebody wrote around one. @param {string} text @returns {Link[]} */
export const linksIn = (text) => linksInPlain(unescaped(text));

/** @param {string} plain @returns {Link[]} */
function linksInPlain(plain) {
  const found = [...plain.matchAll(IN_PATH)];
  return found.map(({ 0: path, 1: roomId, index }, i) => {
    const end = i + 1 < found.length ? found[i + 1].index : plain.length;
    return { roomId, ...partsOf(plain.slice(index + path.length, end)) };
  });
}

/** Whether a path is below that of all rooms, however an app wrote that. @param {string} pathname */
export const isAtRooms = (pathname) => AT_ROOMS.test(unescaped(pathname).normalize('NFKC'));

/** Where the page is; null where that names no room. @param {{pathname: string, hash: string}} location */
export function linkAt({ pathname, hash }) {
  if (!isAtRooms(pathname)) return null;
  return linksInPlain(unescaped(pathname).normalize('NFKC') + unescaped(hash))[0] ?? null;
}

/** A room key that was pasted without its link. @param {string} text */
export const keyAlone = (text) => inLine(ALONE, unescaped(text));

/**
 * The address of a room on this server. The key is in the fragment, which browsers do not send to servers.
 * @param {{roomId: string, key: string | null, message?: string | null, token?: string | null}} link
 */
export function addressOf({ roomId, key, message, token }) {
  const parts = [key && `k=${key}`, message && `m=${message}`, token && `t=${token}`].filter(Boolean);
  return `/r/${roomId}${parts.length > 0 ? `#${parts.join('&')}` : ''}`;
}

/** The parts of a link after the room's id. @param {string} text */
function partsOf(text) {
  const at = text.search(/[#\uff03]/); // and its full-width form, which input methods produce
  const fragment = at < 0 ? '' : text.slice(at);
  return { key: inLine(KEY_PART, fragment), message: MESSAGE_PART.exec(fragment)?.[1] ?? null, token: TOKEN_PART.exec(fragment)?.[1] ?? null };
}

/** What a pattern finds in a text, or else in the text without its line breaks. @param {RegExp} pattern @param {string} text @returns {string | null} */
const inLine = (pattern, text) => (pattern.exec(text) ?? pattern.exec(text.replace(BROKEN_LINE, '')))?.[1] ?? null;

/** Removes percent-encoding, even if several apps added it. @param {string} text */
function unescaped(text) {
  let plain = text;
  for (let app = 0; app < APPS; app++) plain = plain.replace(/(?:%[0-9a-f]{2})+/gi, decoded);
  return plain;
}

/** @param {string} bytes */
function decoded(bytes) {
  try {
    return decodeURIComponent(bytes);
  } catch {
    return bytes;
  }
}
