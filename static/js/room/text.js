// @ts-check
// A text as elements: with its quote, its code, its links and the names that it mentions.

import { h, icon } from '../dom.js';
import { t } from '../i18n.js';
import { parse } from '../markup.js';
import { hasRightToLeft } from '../names.js';

const LONG = 22; // lines from which a text is folded
const LINE = 72; // characters in a line, approximately

/**
 * @param {string} text
 * @param {string} me
 * @param {import('../markup.js').Names} names
 * @returns {Node[]}
 */
export function textNodes(text, me, names) {
  // Only if needed: a link with its own direction is isolated from a particle after it.
  const dir = hasRightToLeft(text) ? 'ltr' : null;
  return parse(text, names).flatMap((block) => {
    if (block.kind === 'quote') return [quoteElement(block.text)];
    if (block.kind === 'code') return [codeElement(block.text, block.language)];
    return block.pieces.map((piece) => pieceNode(piece, me, dir));
  });
}

/** @param {import('../markup.js').Piece} piece @param {string} me @param {string | null} dir of links */
function pieceNode({ text, href, code, mention }, me, dir) {
  if (href) return h('a', { href, dir, target: '_blank', rel: 'noopener noreferrer nofollow' }, text);
  if (code) return h('code', { dir: 'auto', translate: 'no' }, text);
  if (mention) return h('bdi', { class: text === `@${me}` ? 'mention me-too' : 'mention', testid: 'mention' }, text);
  return document.createTextNode(text);
}

/** Jumps to the quoted message, see `jump`. @param {string} quote */
function quoteElement(quote) {
  const [, from, said] = /^(.+?): ([^]*)$/.exec(quote) ?? [null, null, quote];
  return h('blockquote', { class: 'quote' },
    h('button', { type: 'button', class: 'quote-jump', testid: 'quote', dir: 'auto', data: { quote }, title: t('toQuoted') },
      from && h('bdi', { class: 'quote-from' }, from),
      h('span', { class: 'quote-text', dir: 'auto' }, said)));
}

/** @param {string} code @param {string} language */
function codeElement(code, language) {
  return h('div', { class: 'code', dir: 'ltr', translate: 'no' },
    h('pre', { tabindex: '0', 'aria-label': language || t('code'), role: 'group' }, h('code', {}, code)),
    h('button', { type: 'button', class: 'icon-button copy-code', testid: 'copy-code', 'aria-label': t('copyCode'), title: t('copyCode') }, icon('copy')));
}

/** Whether a text is so long that only its beginning is shown at first. @param {string} text */
export function isLong(text) {
  if (text.length < LONG) return false;
  return text.split('\n').reduce((count, line) => count + Math.max(1, Math.ceil(line.length / LINE)), 0) > LONG;
}

/** The button that unfolds a long text, and folds it again. */
export function foldButton() {
  const button = h('button', { type: 'button', class: 'fold text-button', testid: 'fold', 'aria-expanded': 'false', onclick: toggle }, t('showAll'));
  function toggle() {
    const isOpen = button.getAttribute('aria-expanded') !== 'true';
    button.setAttribute('aria-expanded', String(isOpen));
    button.textContent = t(isOpen ? 'showLess' : 'showAll');
    const message = button.closest('.message');
    message?.classList.toggle('unfolded', isOpen);
    if (!isOpen) message?.scrollIntoView({ block: 'nearest' });
  }
  return button;
}
