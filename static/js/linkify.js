// @ts-check
// Finds links in a text. Only http and https: anything else stays text.

const LINK = /\bhttps?:\/\/[^\s<>"'`\u200b\u202a-\u202e\u2066-\u2069]+/giu;
const TRAILING = /[.,:;!?…。、，）」』】》'"*_~]+$/u;

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
 * Leaves out the punctuation of the sentence around it, and a bracket that was opened outside.
 * @param {string} link
 */
function trim(link) {
  let trimmed = link;
  for (;;) {
    const before = trimmed;
    trimmed = trimmed.replace(TRAILING, '');
    if (trimmed.endsWith(')') && count(trimmed, ')') > count(trimmed, '(')) trimmed = trimmed.slice(0, -1);
    if (trimmed.endsWith(']') && count(trimmed, ']') > count(trimmed, '[')) trimmed = trimmed.slice(0, -1);
    if (trimmed === before) return trimmed;
  }
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
