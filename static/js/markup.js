// @ts-check
// The markup that clients recognize in a text: a leading quote, code, mentions. Texts are not
// changed on the wire; docs/protocol.md describes the markup.

import { linkify } from './linkify.js';

const QUOTED_LINES = 3;
const QUOTED_LENGTH = 160; // code points
const FENCE = /^```([\w+#.-]*)[ \t]*\n([\s\S]*?)\n?^```[ \t]*$/gm;
const WORD = /[\p{L}\p{N}\p{M}_]/u;
/** A name in a text, as far as it can be told without knowing it. */
const UNKNOWN = /[\p{L}\p{N}\p{M}_]+(?:[.-][\p{L}\p{N}\p{M}_]+)*/uy;
/** Particles follow a name without a space. */
const PARTICLE = /[\p{Script=Hangul}\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}]/u;

/** @type {Names} */
const NOBODY = { known: new Set() };

/**
 * @typedef {{text: string, href?: string, code?: true, mention?: true}} Piece `text` of a mention is `@name`
 * @typedef {{kind: 'quote', text: string} | {kind: 'code', text: string, language: string} | {kind: 'text', pieces: Piece[]}} Block
 */

/**
 * @typedef {object} Names
 * @property {ReadonlySet<string>} known names that can be mentioned
 * @property {boolean} [isOpen] whether there are others, as in a large room: then every word behind an `@` may be one
 */

/**
 * @param {string} text
 * @param {Names} names
 * @returns {Block[]}
 */
export function parse(text, names) {
  const { quote, rest } = splitQuote(text);
  const blocks = /** @type {Block[]} */ (quote === null ? [] : [{ kind: 'quote', text: quote }]);
  let end = 0;
  for (const match of rest.includes('```') ? rest.matchAll(FENCE) : []) {
    addText(blocks, rest.slice(end, match.index), names);
    blocks.push({ kind: 'code', text: match[2], language: match[1] });
    end = match.index + match[0].length;
  }
  addText(blocks, rest.slice(end), names);
  return blocks;
}

/** @param {Block[]} blocks @param {string} text @param {Names} names */
function addText(blocks, text, names) {
  // The line break after a code block belongs to the block.
  const own = blocks.at(-1)?.kind === 'code' ? text.replace(/^\n/, '') : text;
  if (own.trim() !== '') blocks.push({ kind: 'text', pieces: piecesOf(own, names) });
}

/**
 * The leading lines that begin with `>`, and the rest.
 * @param {string} text
 * @returns {{quote: string | null, rest: string}}
 */
export function splitQuote(text) {
  if (!text.startsWith('>')) return { quote: null, rest: text };
  const lines = text.split('\n');
  const count = lines.findIndex((line) => !/^>( |$)/.test(line));
  if (count === 0) return { quote: null, rest: text };
  const quoted = lines.slice(0, count < 0 ? lines.length : count);
  return { quote: quoted.map((line) => line.slice(2)).join('\n'), rest: count < 0 ? '' : lines.slice(count).join('\n') };
}

/** @param {string} text @param {Names} names @returns {Piece[]} */
function piecesOf(text, names) {
  return spans(text).flatMap((span) => /** @type {Piece[]} */ (span.code ? [span] : linkify(span.text)))
    .flatMap((piece) => (piece.code || piece.href ? [piece] : withMentions(piece.text, names)));
}

/** Code between equal numbers of backticks, on one line. @param {string} text @returns {Piece[]} */
function spans(text) {
  if (!text.includes('`')) return [{ text }];
  const runs = [...text.matchAll(/`+|\n/g)];
  const pieces = /** @type {Piece[]} */ ([]);
  let end = 0;
  for (let i = 0; i < runs.length; i++) {
    const close = closing(runs, i);
    if (close < 0) continue;
    const from = runs[i].index + runs[i][0].length;
    if (runs[i].index > end) pieces.push({ text: text.slice(end, runs[i].index) });
    pieces.push({ text: text.slice(from, runs[close].index), code: true });
    end = runs[close].index + runs[close][0].length;
    i = close;
  }
  if (end < text.length) pieces.push({ text: text.slice(end) });
  return pieces;
}

/** @param {RegExpMatchArray[]} runs @param {number} open @returns {number} index of the run that closes this one, or -1 */
function closing(runs, open) {
  const mark = runs[open][0];
  for (let i = open + 1; mark !== '\n' && i < runs.length && runs[i][0] !== '\n'; i++) {
    if (runs[i][0] === mark) return i;
  }
  return -1;
}

/** @param {string} text @param {Names} names @returns {Piece[]} */
function withMentions(text, names) {
  const pieces = /** @type {Piece[]} */ ([]);
  let end = 0;
  for (let at = text.indexOf('@'); at >= 0; at = text.indexOf('@', Math.max(at + 1, end))) {
    const name = nameAt(text, at, names);
    if (name === null) continue;
    if (at > end) pieces.push({ text: text.slice(end, at) });
    end = at + 1 + name.length;
    pieces.push({ text: text.slice(at, end), mention: true });
  }
  if (end < text.length) pieces.push({ text: text.slice(end) });
  return pieces;
}

/** The longest known name that is mentioned at this `@`, or else what may be one. @param {string} text @param {number} at @param {Names} names @returns {string | null} */
function nameAt(text, at, { known, isOpen }) {
  if (at > 0 && WORD.test(lastOf(text.slice(0, at)))) return null;
  let longest = '';
  for (const name of known) {
    if (name.length > longest.length && text.startsWith(name, at + 1) && endsThere(text, at + 1 + name.length, name)) longest = name;
  }
  if (longest !== '' || !isOpen) return longest || null;
  UNKNOWN.lastIndex = at + 1;
  return UNKNOWN.exec(text)?.[0] ?? null;
}

/** @param {string} text @param {number} end @param {string} name */
function endsThere(text, end, name) {
  const next = String.fromCodePoint(text.codePointAt(end) ?? 0x20);
  return !WORD.test(next) || PARTICLE.test(next) || !WORD.test(lastOf(name));
}

/** @param {string} text */
const lastOf = (text) => [...text.slice(-2)].at(-1) ?? '';

/**
 * Whether a text is for this user: it mentions the name, or answers a message of that name.
 * @param {string} text
 * @param {string} name
 * @param {ReadonlySet<string>} known this name and others, because one may begin with another
 */
export function isFor(text, name, known) {
  if (!text.includes(name)) return false;
  return parse(text, { known }).some((block) =>
    (block.kind === 'quote' && block.text.startsWith(`${name}: `)) ||
    (block.kind === 'text' && block.pieces.some((piece) => piece.mention && piece.text === `@${name}`)));
}

/** The part of a message that a quote of it contains. @param {{from: string, text: string}} message */
export function quoteText({ from, text }) {
  const blocks = parse(text, NOBODY).flatMap((block) => (block.kind === 'quote' ? [] : [block.kind === 'code' ? block.text : block.pieces.map((piece) => piece.text).join('')]));
  const said = blocks.join('\n').split('\n').filter((line) => line.trim() !== '');
  const letters = [...(said.length > 0 ? said : [text.trim()]).slice(0, QUOTED_LINES).join('\n')];
  const isCut = letters.length > QUOTED_LENGTH || said.length > QUOTED_LINES;
  return `${from}: ${letters.slice(0, QUOTED_LENGTH).join('')}${isCut ? '…' : ''}`;
}

/** The beginning of an answer to a message. @param {{from: string, text: string}} message */
export const answerTo = (message) => `${quoteText(message).replace(/^/gm, '> ')}\n`;

/**
 * The quoted message: the last matching one before the answer.
 * @template {{from: string, text: string}} M
 * @param {readonly M[]} messages
 * @param {string} quote
 * @param {number} before index of the answer
 * @returns {M | undefined}
 */
export function quoted(messages, quote, before) {
  for (let i = before - 1; i >= 0; i--) {
    if (quote.startsWith(`${messages[i].from}: `) && quoteText(messages[i]) === quote) return messages[i];
  }
  return undefined;
}
