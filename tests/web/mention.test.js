import assert from 'node:assert/strict';
import { test } from 'node:test';
import { completions } from '../../static/js/room/mention.js';

const NAMES = ['Ann', 'Ann Lee', 'bob', '민아', '민준', 'דנה'];

test('a name that is begun behind an @ is completed', () => {
  const cases = [
    ['@', 0, ['Ann', 'Ann Lee', 'bob', 'דנה', '민아', '민준']],
    ['hi @a', 3, ['Ann', 'Ann Lee']],
    ['@Ann', 0, ['Ann Lee']],
    ['@ann l', 0, ['Ann Lee']],
    ['@B', 0, ['bob']],
    ['(@민', 1, ['민아', '민준']],
    ['안녕 @ד', 3, ['דנה']],
    ['@미', 0, ['민아', '민준']],
    ['@ANN L', 0, ['Ann Lee']],
  ];
  for (const [text, at, names] of cases) {
    const found = completions(text, [...NAMES]);
    assert.equal(found?.at, at, text);
    assert.deepEqual([...found.names].sort(), [...names].sort(), text);
  }
  for (const text of ['', 'Ann', 'a@', 'mail@a', '@x', '@Ann ', '@bob\n', '@민아']) assert.equal(completions(text, [...NAMES]), null, text);
});
