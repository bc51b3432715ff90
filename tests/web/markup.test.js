import assert from 'node:assert/strict';
import { test } from 'node:test';
import { answerTo, isFor, parse, quoted, quoteText } from '../../static/js/markup.js';
import { draftTo, saidOf } from '../../static/js/room/draft.js';

const NAMES = new Set(['Ann', 'Ann Lee', 'anna', '민아', '지훈', 'דנה', 'a.b', 'C:3', 'Zoë 👋']);
const NOBODY = { known: new Set() };

/** Blocks in short: quotes as `>…`, code as `#language|…`, mentions in `<…>`, inline code in `[…]`, links in `(…)`. */
const short = (text, isOpen = false) => parse(text, { known: NAMES, isOpen }).map((block) => {
  if (block.kind === 'quote') return `>${block.text}`;
  if (block.kind === 'code') return `#${block.language}|${block.text}`;
  return block.pieces.map(({ text: words, href, code, mention }) =>
    (href ? `(${words})` : code ? `[${words}]` : mention ? `<${words}>` : words)).join('');
});

test('a text is what it was where nothing is read into it', () => {
  for (const text of ['hello', '  two\n\n lines ', 'a > b', '>no blank', '@', '`', '``', '```', '```js', 'a@b.example', '', '5 `', '@nobody']) {
    assert.equal(short(text).join(''), text.trim() === '' ? '' : text, text);
  }
});

test('a quote stands at the beginning', () => {
  const cases = [
    ['> Ann: hi\nyes', ['>Ann: hi', 'yes']],
    ['> a\n> b\n\nc', ['>a\nb', '\nc']],
    ['> a\n>\n> b', ['>a\n\nb']],
    ['> only', ['>only']],
    ['no\n> quote', ['no\n> quote']],
    ['> a `b`\n`c`', ['>a `b`', '[c]']],
  ];
  for (const [text, blocks] of cases) assert.deepEqual(short(text), blocks, text);
});

test('code', () => {
  const cases = [
    ['run `make test` now', ['run [make test] now']],
    ['``a ` b`` and `c`', ['[a ` b] and [c]']],
    ['`not\nclosed`', ['`not\nclosed`']],
    ['`@Ann https://a.example`', ['[@Ann https://a.example]']],
    ['see\n```js\nlet a;\n\nlet b;\n```\ndone', ['see\n', '#js|let a;\n\nlet b;', 'done']],
    ['```\n```', ['#|']],
    ['```\nopen', ['```\nopen']],
    ['```c++\na\n```\n```\nb\n```', ['#c++|a', '#|b']],
    ['```inline```', ['[inline]']],
    ['```\n> not a quote\n```', ['#|> not a quote']],
  ];
  for (const [text, blocks] of cases) assert.deepEqual(short(text), blocks, text);
});

test('names that are called', () => {
  const cases = [
    ['@Ann hi', '<@Ann> hi'],
    ['hi @Ann, @민아!', 'hi <@Ann>, <@민아>!'],
    ['@Ann Lee and @Anna', '<@Ann Lee> and @Anna'],
    ['@민아님 @지훈이가 @Ann은', '<@민아>님 <@지훈>이가 <@Ann>은'],
    ['mail@Ann x@민아 _@Ann', 'mail@Ann x@민아 _@Ann'],
    ['(@Ann)', '(<@Ann>)'],
    ['@@Ann', '@<@Ann>'],
    ['@ann', '@ann'],
    ['@דנה שלום', '<@דנה> שלום'],
    ['@a.b. @a.bc @C:3', '<@a.b>. @a.bc <@C:3>'],
    ['@Zoë 👋👋', '<@Zoë 👋>👋'],
    ['https://a.example/@Ann', '(https://a.example/@Ann)'],
    ['https://a.example @Ann', '(https://a.example) <@Ann>'],
  ];
  for (const [text, words] of cases) assert.equal(short(text).join(''), words, text);
});

test('where not all names are known, a word behind an @ is one, and a known name comes first', () => {
  const cases = [
    ['@Zed hi', '<@Zed> hi'],
    ['hi @deploy-bot, @x.y. @_a', 'hi <@deploy-bot>, <@x.y>. <@_a>'],
    ['@Ann Lee and @Annabel', '<@Ann Lee> and <@Annabel>'],
    ['@민아님 @철수야', '<@민아>님 <@철수야>'],
    ['@משה שלום', '<@משה> שלום'],
    ['@हिन्दी!', '<@हिन्दी>!'],
    ['a@zed.example `@Zed` https://a.example/@zed @ @- @👋', 'a@zed.example [@Zed] (https://a.example/@zed) @ @- @👋'],
    ['@@Zed', '@<@Zed>'],
  ];
  for (const [text, words] of cases) assert.equal(short(text, true).join(''), words, text);
});

test('a text is for whom it calls, and for whom it answers', () => {
  const cases = [
    ['@Ann', 'Ann', true],
    ['@Ann Lee', 'Ann', false],
    ['@Ann Lee', 'Ann Lee', true],
    ['> Ann: hi\nyes', 'Ann', true],
    ['> Ann Lee: hi\nyes', 'Ann', false],
    ['Ann: hi', 'Ann', false],
    ['`@Ann`', 'Ann', false],
    ['> Ben: @Ann\nyes', 'Ann', false],
    ['> Ben: hi\n@Ann?', 'Ann', true],
  ];
  for (const [text, name, expected] of cases) assert.equal(isFor(text, name, NAMES), expected, text);
});

test('an answer begins with a quote that leads back to what it answers', () => {
  const texts = ['hi', 'two\nlines', '\n\n spaced \n', '> Ben: older\nan answer', '```js\nlet a;\n```', 'x'.repeat(500), '👋'.repeat(200), 'a\nb\nc\nd', '> Ben: only a quote', '`', 'שלום, hello'];
  for (const text of texts) {
    const message = { from: 'C:3', text };
    const answer = `${answerTo(message)}yes`;
    const [quote, rest] = parse(answer, NOBODY);
    assert.equal(quote.kind, 'quote', text);
    assert.equal(quote.text, quoteText(message));
    assert.deepEqual(rest, { kind: 'text', pieces: [{ text: 'yes' }] });
    assert.equal(quoted([{ from: 'Ben', text }, message, { from: 'C:3', text: 'other' }], quote.text, 3), message, text);
    assert.equal(quoted([message], quote.text, 0), undefined);
    assert.ok([...quote.text].length < 180);
  }
});

test('a name in a draft is kept apart, and what is said is the plain quote', () => {
  for (const from of ['Ann', 'דנה', 'دانا: 3', 'דנה (1)']) {
    for (const text of ['hi', 'שלום', '\u2068a\u2069: b', 'two\n\u2068lines\u2069']) {
      const [draft, said] = [`${draftTo({ from, text })}yes`, `${answerTo({ from, text })}yes`];
      assert.equal(saidOf(draft), said);
      assert.equal(draft.includes(`\u2068${from}\u2069: `), from !== 'Ann', from);
      assert.equal(saidOf(draft.replace('\u2069: ', ': ')).replace(/[\u2068\u2069]/g, ''), said.replace(/[\u2068\u2069]/g, ''), 'one of the two deleted');
    }
  }
  for (const text of ['', '\u2068a\u2069', 'hi > \u2068a\u2069', '>\u2068a\u2069']) assert.equal(saidOf(text), text);
});
