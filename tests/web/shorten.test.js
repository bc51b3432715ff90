import assert from 'node:assert/strict';
import { test } from 'node:test';
import { shorten } from '../../static/js/room/shorten.js';

const CHARACTERS = [
  'a', '가', '👍', '👍🏽', '👩‍👩‍👧‍👦', '🏴󠁧󠁢󠁥󠁮󠁧󠁿', '🇰🇷', 'é', '각', '❤️', '1️⃣', 'ก็', '🧑🏿‍🚀',
];

function cutsNothing(name) {
  const segmenter = new Segmenter();
  const pieces = (text) => Array.from(segmenter.segment(text), ({ segment }) => segment);
  for (const character of CHARACTERS) {
    for (let before = 0; before < 20; before++) {
      const text = 'x'.repeat(before) + character.repeat(40);
      const [...kept] = pieces(shorten(text, 24).slice(0, -1));
      assert.deepEqual(kept, pieces(text).slice(0, kept.length), `${name}: ${character} behind ${before}`);
      assert.ok(kept.length > 0 && kept.join('').length <= 24);
    }
  }
}

const { Segmenter } = Intl;

test('a text is cut between what people see as characters', () => cutsNothing('with Intl.Segmenter'));

test('also where the browser does not know them', () => {
  Intl.Segmenter = undefined;
  try {
    cutsNothing('without it');
  } finally {
    Intl.Segmenter = Segmenter;
  }
});

test('a short text stays, and one endless character is cut between code points', () => {
  assert.equal(shorten('👩‍👩‍👧‍👦', 11), '👩‍👩‍👧‍👦');
  assert.equal(shorten(`a${'\u0301'.repeat(500)}`, 10), `a${'\u0301'.repeat(9)}…`);
  assert.equal(shorten(`👩${'‍👩'.repeat(500)}`, 10).isWellFormed(), true);
});
