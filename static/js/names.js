// @ts-check
// What people and rooms may be called, as far as it helps to know before the server says so.

const KEY = /^[A-Za-z0-9_-]{43}$/; // 32 bytes in base64url
export const NAME_MAX = 32; // code points
export const TEXT_MAX = 4000; // code points

/** @param {string} name */
export const cleanName = (name) => name.trim().normalize('NFC');

/** @param {string} text */
export const codePoints = (text) => [...text].length;

/** @param {string} name @returns {'nameEmpty' | 'nameLong' | 'nameReserved' | null} key of the sentence that says what is wrong */
export function checkName(name) {
  const clean = cleanName(name);
  if (clean === '') return 'nameEmpty';
  if (codePoints(clean) > NAME_MAX) return 'nameLong';
  if (clean.startsWith('lr_')) return 'nameReserved';
  return null;
}

/**
 * A name like `name` that nobody in `taken` has.
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

/** A stable number from 0 to 7: the colour of a name. @param {string} name */
export function hueOf(name) {
  let hash = 0;
  for (const letter of name) hash = Math.imul(hash ^ /** @type {number} */ (letter.codePointAt(0)), 0x9e3779b1);
  return hash >>> 29; // the highest bits depend on every letter
}

/** @type {Intl.Segmenter | undefined} */
let segmenter;

/** The first letter as people see it (one emoji, one syllable). @param {string} name */
export function initialOf(name) {
  segmenter ??= typeof Intl.Segmenter === 'function' ? new Intl.Segmenter() : undefined;
  const [first] = segmenter ? Array.from(segmenter.segment(name), (part) => part.segment) : [...name];
  return (first ?? '').toLocaleUpperCase();
}

/** The room key in a link's fragment (`#k=…`). @param {string} link */
export function keyInLink(link) {
  const hash = link.includes('#') ? link.slice(link.indexOf('#') + 1) : '';
  const key = new URLSearchParams(hash).get('k');
  return key && KEY.test(key) ? key : null;
}
