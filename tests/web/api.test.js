// @ts-check
import assert from 'node:assert/strict';
import test from 'node:test';

import { ApiError, createRoom } from '../../static/js/api.js';

/**
 * Answers each call with the next of these: data, an error code, or null for a lost answer.
 * @param {(object | string | null)[]} answers
 */
function server(answers) {
  /** @type {{key: string | null, body: string}[]} */
  const asked = [];
  globalThis.fetch = /** @type {typeof fetch} */ (async (_path, request) => {
    asked.push({ key: new Headers(request?.headers).get('idempotency-key'), body: String(request?.body) });
    const answer = answers.shift() ?? null;
    if (answer === null) throw new TypeError('lost');
    const envelope = typeof answer === 'string' ? { success: false, error: { code: answer } } : { success: true, data: answer };
    return new Response(JSON.stringify(envelope));
  });
  return asked;
}

test('a room whose answer was lost is asked for again, and is the same', async () => {
  const asked = server([null, { roomId: 'abc12345', token: 't' }]);
  assert.equal((await createRoom({ creatorName: 'a' }, 'k'.repeat(32))).roomId, 'abc12345');
  assert.deepEqual(asked[0], asked[1]);
  assert.equal(asked[0]?.key, 'k'.repeat(32));
});

test('what is refused is not asked for again, and what stays away is said', async () => {
  for (const [answers, code, times] of /** @type {const} */ ([[['VALIDATION_FAILED'], 'VALIDATION_FAILED', 1], [[null, null], 'UNREACHABLE', 2]])) {
    const asked = server([...answers]);
    await assert.rejects(createRoom({ creatorName: 'a' }, 'k'.repeat(32)), (error) => error instanceof ApiError && error.code === code);
    assert.equal(asked.length, times);
  }
});
