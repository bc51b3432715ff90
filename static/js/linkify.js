// @ts-check
// Finds links in a text as readers of Korean, Japanese or English see them: only http and https,
// without the surrounding sentence, which often follows without a space.

const SCHEME = /https?:\/\//gi;
const LABEL = '[\\p{L}\\p{N}_](?:[\\p{L}\\p{N}\\p{M}_-]*[\\p{L}\\p{N}\\p{M}])?';
const HOST = new RegExp(`\\[[0-9a-f:.]+\\]|${LABEL}(?:\\.${LABEL})*`, 'iuy');
const PORT = /:\d{1,5}/y;

/** Characters that end a link: spaces, quotes, East Asian punctuation and brackets, invisible characters. */
const REST = new RegExp(
  '[/?#][^\\s<>"`\\\\\\p{Cc}\\u00ad\\u061c\\u200b\\u200e\\u200f\\u202a-\\u202e\\u2060\\u2066-\\u2069\\ufeff' +
  '“”„‘«»‹›—…。、，．！？：；（）［］｛｝「」『』【】《》〈〉\\p{Extended_Pictographic}]*', 'uy');

/** How a top-level domain begins, by script: none mixes scripts. There are few Hangul ones, and words follow them. */
const TOPS = [
  /^[\p{Script=Latin}\d_-]+/u, /^(?:한국|닷컴|닷넷|삼성)/, /^\p{Script=Han}+/u, /^[\p{Script=Katakana}ー]+/u, /^\p{Script=Hiragana}+/u,
  /^(?:(?!\p{Script=Latin}|\p{Script=Hangul}|\p{Script=Han}|\p{Script=Katakana}|\p{Script=Hiragana})[\p{L}\p{M}])+/u,
];

const TRAILING = '.,:;!?|\'’–';
const EMPHASIS = '*_~';
/** @type {Record<string, string>} */
const OPENED_BY = { ')': '(', ']': '[', '}': '{' };

/**
 * Korean particles and endings, one or several, that follow a word; and Japanese ones, with everything after them.
 * After a `/` only those that are not words themselves.
 */
const PARTICLE = '에서|에게|에는|에도|에만|에|으로|로|까지|부터|보다|처럼|같은|같이|마다|밖에|이랑|랑|하고|이나|이라고|라고|이라는|라는|이란|란|' +
  '입니다|입니까|이에요|예요|이야|인데|이고|이며|이네요|네요|이다|이죠|죠|요|을|를|이|가|은|는|의|와|과|도|만|나|야|인';
const STRONG = '에서|에게|에는|에도|으로|까지|부터|보다|처럼|이랑|하고|이라고|라고|이라는|라는|입니다|이에요|예요|을|를|는';
const SPOKEN = new RegExp(`(?:[A-Za-z0-9)\\]}](?:${PARTICLE}){1,3}|/(?:${STRONG}))$`);
const LONGEST = 14; // maximum characters of them
const HIRAGANA = /[A-Za-z0-9)\]}]\p{Script=Hiragana}/u;

/**
 * @param {string} text
 * @returns {{text: string, href?: string}[]} the text in pieces, in order
 */
export function linkify(text) {
  const pieces = [];
  let end = 0;
  for (const { 0: scheme, index } of text.matchAll(SCHEME)) {
    if (index < end || /[A-Za-z0-9]/.test(text[index - 1] ?? ' ')) continue;
    const link = linkAt(text, index, scheme);
    const href = link && safeHref(link);
    if (!href) continue;
    if (index > end) pieces.push({ text: text.slice(end, index) });
    pieces.push({ text: link, href });
    end = index + link.length;
  }
  if (end < text.length) pieces.push({ text: text.slice(end) });
  return pieces;
}

/** @param {string} text @param {number} start @param {string} scheme @returns {string | null} */
function linkAt(text, start, scheme) {
  const written = matchAt(HOST, text, start + scheme.length);
  const host = hostIn(written);
  if (!host) return null;
  const beyond = start + scheme.length + host.length;
  const port = host === written ? matchAt(PORT, text, beyond) : '';
  const rest = host === written ? matchAt(REST, text, beyond + port.length) : '';
  // User information before an `@` is not a host.
  if (text[beyond + port.length] === '@' || (port === '' && /^:[^\s/]*@/.test(text.slice(beyond, beyond + 64)))) return null;
  return scheme + host + port + trim(rest, text[start - 1] ?? '');
}

/** @param {RegExp} sticky @param {string} text @param {number} at */
function matchAt(sticky, text, at) {
  sticky.lastIndex = at;
  return sticky.exec(text)?.[0] ?? '';
}

/** The prefix that can be a host: `example.com` of `example.com을`. @param {string} written @returns {string | null} */
function hostIn(written) {
  if (written.startsWith('[')) return written;
  const labels = written.split('.');
  for (let n = labels.length; n > 0; n--) {
    const tops = n > 1 ? TOPS : TOPS.slice(0, 1);
    const top = tops.map((pattern) => pattern.exec(labels[n - 1])?.[0]).find(Boolean);
    if (top) return [...labels.slice(0, n - 1), top].join('.');
  }
  return null;
}

/**
 * Cuts off unbalanced brackets, punctuation at the end, and particles.
 * @param {string} rest path, query and fragment
 * @param {string} before the character before the link
 */
function trim(rest, before) {
  const marks = TRAILING + (EMPHASIS.includes(before) ? before : '');
  const hiragana = HIRAGANA.exec(rest);
  const link = inBrackets(hiragana ? rest.slice(0, hiragana.index + 1) : rest);
  let end = link.length;
  for (let before = -1; before !== end; ) {
    before = end;
    while (end > 0 && marks.includes(link[end - 1])) end--;
    const spoken = SPOKEN.exec(link.slice(Math.max(0, end - LONGEST), end));
    if (spoken) end -= spoken[0].length - 1;
  }
  return link.slice(0, end);
}

/** The prefix with balanced brackets. @param {string} rest */
function inBrackets(rest) {
  const open = [];
  for (let i = 0; i < rest.length; i++) {
    if ('([{'.includes(rest[i])) open.push(i);
    else if (rest[i] in OPENED_BY) {
      const last = open.pop();
      if (last === undefined || rest[last] !== OPENED_BY[rest[i]]) return rest.slice(0, open[0] ?? last ?? i);
    }
  }
  return rest.slice(0, open[0] ?? rest.length);
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
