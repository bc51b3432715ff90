// @ts-check
// Finds links in a text. Only http and https: anything else stays text.

const LINK = /\bhttps?:\/\/[^\s<>"'`\u200b\u202a-\u202e\u2066-\u2069]+/giu;
const TRAILING = /[.,:;!?…。、，）」』】》'"*_~]/u;

/**
 * @param {string} text
 * @returns {{text: string, href?: string}[]} the text in pieces, in order
 */
export function linkify(text) {
  const pieces = [];
  let end = 0;
  for (const match of text.matchAll(LINK)) {
    const link = trim(match[0]);
    const href = safeHref(link);
    if (!href) continue;
    if (match.index > end) pieces.push({ text: text.slice(end, match.index) });
    pieces.push({ text: link, href });
    end = match.index + link.length;
  }
  if (end < text.length) pieces.push({ text: text.slice(end) });
  return pieces;
}

/**
 * Leaves out the punctuation of the sentence around it, and brackets that were opened outside.
 * @param {string} link
 */
function trim(link) {
  /** @type {Record<string, number>} how many are closed and not opened */
  const extra = { ')': count(link, ')') - count(link, '('), ']': count(link, ']') - count(link, '[') };
  let end = link.length;
  for (; end > 0; end--) {
    const last = link[end - 1];
    if (extra[last] > 0) extra[last]--;
    else if (!TRAILING.test(last)) break;
  }
  return link.slice(0, end);
}

/** @param {string} text @param {string} letter */
function count(text, letter) {
  return text.split(letter).length - 1;
}

/** @param {string} link */
function safeHref(link) {
  try {
    const url = new URL(link);
    return url.protocol === 'http:' || url.protocol === 'https:' ? url.href : null;
  } catch {
    return null;
  }
}
