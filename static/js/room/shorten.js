// @ts-check
// The beginning of a text, never cut inside what people see as one character.

/** Code points that belong to the character before them. */
const CONTINUES = /^[\p{M}\p{Emoji_Modifier}\u200c\u200d\u1160-\u11ff\ufe00-\ufe0f\u{e0020}-\u{e007f}]/u;
const REGION = /^[\u{1f1e6}-\u{1f1ff}]/u; // two of them form a flag

/** @param {string} text @param {number} length UTF-16 units, at most @returns {string} */
export function shorten(text, length) {
  if (text.length <= length) return text;
  const head = text.slice(0, 2 * length);
  const end = typeof Intl.Segmenter === 'function' ? lastBoundary(head, length) : boundaryBefore(head, length);
  // If a single character is longer, it is cut between code points.
  return `${text.slice(0, end || length - Number(isLow(text, length)))}…`;
}

/** @param {string} text @param {number} length */
function lastBoundary(text, length) {
  let end = 0;
  for (const { index } of new Intl.Segmenter().segment(text)) {
    if (index > length) break;
    end = index;
  }
  return end;
}

/** The same for browsers without Intl.Segmenter, by the kinds of the code points. @param {string} text @param {number} length */
function boundaryBefore(text, length) {
  let end = length;
  while (end > 0 && !isBoundary(text, end)) end--;
  return end;
}

/** @param {string} text @param {number} at */
function isBoundary(text, at) {
  if (isLow(text, at) || text[at - 1] === '\u200d') return false;
  const rest = text.slice(at, at + 2);
  return REGION.test(rest) ? regionsBefore(text, at) % 2 === 0 : !CONTINUES.test(rest);
}

/** @param {string} text @param {number} at */
function regionsBefore(text, at) {
  let count = 0;
  for (let i = at - 2; i >= 0 && REGION.test(text.slice(i, i + 2)); i -= 2) count++;
  return count;
}

/** Whether the unit is the second half of a surrogate pair. @param {string} text @param {number} at */
const isLow = (text, at) => (text.charCodeAt(at) & 0xfc00) === 0xdc00;
