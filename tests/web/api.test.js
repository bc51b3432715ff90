// @ts-check
import assert from 'node:assert/strict';
import test from 'node:test';

import { ApiError, createRoom, getRoom, waitOf } from '../../static/js/api.js';

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

test('an error says how long the server wants a retry to wait', async () => {
  for (const [header, body, wait] of /** @type {const} */ ([['7', '{"success":false,"error":{"code":"RATE_LIMITED"}}', 7000], ['2', '<h1>busy</h1>', 2000], ['Wed, 21 Oct 2026 07:28:00 GMT', '{"success":false}', 0], [null, '{"success":false}', 0]])) {
    globalThis.fetch = async () => new Response(body, { status: 429, headers: header === null ? {} : { 'retry-after': header } });
    await assert.rejects(getRoom('abc12345'), (error) => waitOf(error) === wait);
  }
  assert.equal(waitOf(new Error()), 0);
});

test('what is refused is not asked for again, and what stays away is said', async () => {
  for (const [answers, code, times] of /** @type {const} */ ([[['VALIDATION_FAILED'], 'VALIDATION_FAILED', 1], [[null, null], 'UNREACHABLE', 2]])) {
    const asked = server([...answers]);
    await assert.rejects(createRoom({ creatorName: 'a' }, 'k'.repeat(32)), (error) => error instanceof ApiError && error.code === code);
    assert.equal(asked.length, times);
  }
});
