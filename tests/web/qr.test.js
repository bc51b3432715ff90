import assert from 'node:assert/strict';
import { test } from 'node:test';
import jsqr from 'jsqr';
import { qrMatrix } from '../../static/js/room/qr.js';

const SCALE = 4;
const QUIET = 4;

/** Draws the code as a picture and reads it with an independent decoder. */
function read(matrix) {
  const size = (matrix.length + 2 * QUIET) * SCALE;
  const pixels = new Uint8ClampedArray(size * size * 4).fill(255);
  for (let y = 0; y < size; y++) {
    for (let x = 0; x < size; x++) {
      const dark = matrix[Math.floor(y / SCALE) - QUIET]?.[Math.floor(x / SCALE) - QUIET];
      if (dark) pixels.fill(0, (y * size + x) * 4, (y * size + x) * 4 + 3);
    }
  }
  return jsqr(pixels, size, size)?.data;
}

test('every length of text that fits is read back', () => {
  for (let length = 1; length <= 666; length += length < 250 ? 7 : 31) {
    const text = `https://linkroom.example/r/${'0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_'.repeat(11)}`.slice(-length);
    assert.equal(read(qrMatrix(text)), text, `${length} bytes`);
  }
});

test('the link of an encrypted room is read back', () => {
  const link = `https://rooms.linkroom.example/r/Ab3dEf6hIj9k#k=${'Az09-_'.repeat(8).slice(0, 43)}`;
  assert.equal(read(qrMatrix(link)), link);
});

test('what is too long is refused', () => {
  assert.throws(() => qrMatrix('x'.repeat(667)), RangeError);
});
