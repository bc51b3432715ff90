import assert from 'node:assert/strict';
import { beforeEach, describe, test } from 'node:test';
import { Cipher, newRoomKey } from '../../static/js/crypto.js';
import { forgetCreator, forgetTicket, loadIdentity, rememberedName, saveCreator, saveIdentity, saveTicket, secretOf, storage } from '../../static/js/identity.js';
import { Outbox } from '../../static/js/outbox.js';

/** Like a browser's storage: items are properties, methods are not. */
class FakeStorage {
  getItem(key) {
    return this[key] ?? null;
  }
  setItem(key, value) {
    this[key] = value;
  }
  removeItem(key) {
    delete this[key];
  }
}

/** The storage is full. */
class Full extends FakeStorage {
  setItem() {
    throw new DOMException('full', 'QuotaExceededError');
  }
}

const put = (shelf) => Object.defineProperty(globalThis, 'localStorage', { value: shelf, configurable: true });
const forbid = () => Object.defineProperty(globalThis, 'localStorage', {
  get() {
    throw new DOMException('forbidden', 'SecurityError');
  },
  configurable: true,
});

beforeEach(() => {
  put(new FakeStorage());
  for (const key of storage.keys('')) storage.remove(key);
});

for (const [what, where] of [['there', () => put(new FakeStorage())], ['full', () => put(new Full())], ['forbidden', forbid]]) {
  test(`where storage is ${what}, the page knows what it wrote`, async () => {
    where();
    saveIdentity('r', 'Me', 'lr_x');
    assert.equal(loadIdentity('r').token, 'lr_x');
    assert.equal(loadIdentity('other'), null);
    assert.equal(rememberedName(), 'Me');
    const outbox = new Outbox('r', null);
    const now = Date.now();
    await outbox.put({ key: 'b', text: 'second', from: 'Me', at: now });
    await outbox.put({ key: 'a', text: 'first', from: 'Me', at: now - 1 });
    assert.deepEqual((await outbox.load()).map(({ key, text }) => [key, text]), [['a', 'first'], ['b', 'second']]);
    outbox.remove('a');
    assert.deepEqual((await outbox.load()).map(({ key }) => key), ['b']);
  });
}

test('a tab is whom an application says, and the browser remembers nothing of it', () => {
  const jwt = (claims) => `eyJhbGciOiJIUzI1NiJ9.${Buffer.from(JSON.stringify(claims)).toString('base64url')}.c2ln`;
  saveIdentity('r', 'Guest', 'lr_x');
  saveTicket('r', jwt({ sub: 'u', name: 'Zoë' }));
  const { token, creator, ticket } = loadIdentity('r');
  assert.deepEqual([token, creator, ticket], [jwt({ sub: 'u', name: 'Zoë' }), undefined, true]);
  saveIdentity('r', 'Zoë', null);
  const kept = storage.keys('').map((key) => storage.read(key)).join();
  assert.ok(kept.includes('lr_x') && !kept.includes('eyJ'), kept);
  saveTicket('r', jwt({ sub: 'u', creator: true }));
  assert.equal(loadIdentity('r').creator, jwt({ sub: 'u', creator: true }));
  saveTicket('r', 'no.jwt.atall');
  assert.equal(loadIdentity('r').creator, undefined);
  forgetTicket('r');
  assert.equal(loadIdentity('r').token, 'lr_x');
});

test('who made a room keeps its powers, whoever that is in it later', () => {
  saveCreator('r', 'Ann', 'lr_made');
  assert.equal(loadIdentity('r').token, 'lr_made');
  saveIdentity('r', 'Ann', null);
  secretOf('r', 'Ann2', 'one');
  saveIdentity('r', 'Ann2', 'lr_guest');
  assert.equal(loadIdentity('r').creator, 'lr_made');
  forgetCreator('r');
  assert.deepEqual([loadIdentity('r').token, loadIdentity('r').creator], ['lr_guest', undefined]);
});

test('a link that makes somebody the creator says no name, and the one used last is kept', () => {
  saveIdentity('other', 'Ann', 'lr_x');
  saveCreator('r', '', 'lr_made');
  assert.equal(rememberedName(), 'Ann');
});

test('a secret is asked with again until it is a token, by this name alone', () => {
  const first = secretOf('r', 'Me', 'one');
  assert.equal(first, 'one');
  saveIdentity('r', 'Me', null);
  assert.equal(secretOf('r', 'Me', 'two'), first, 'as after a reload');
  assert.equal(secretOf('r', 'Other', 'three'), 'three');
  saveIdentity('r', 'Other', 'lr_x');
  saveIdentity('r', 'Other', null);
  assert.equal(secretOf('r', 'Other', 'four'), 'four', 'the session of the other is over');
});

test('what was written while storage was full gives way to what is written later', () => {
  put(new Full());
  storage.write('key', 'old');
  put(new FakeStorage());
  storage.write('key', 'new');
  assert.equal(storage.read('key'), 'new');
  storage.remove('key');
  assert.equal(storage.read('key'), null);
});

test('who one was in a room is forgotten when many rooms came after it, and by no clock', (t) => {
  t.mock.timers.enable({ apis: ['Date'], now: 1_000_000 });
  saveIdentity('first', 'Me', 'lr_1');
  for (const now of [90 * 24 * 60 * 60_000, 1_000_000, 2_000_000]) {
    t.mock.timers.setTime(Math.max(now, Date.now()));
    saveIdentity('second', 'Me', 'lr_2');
    assert.equal(loadIdentity('first')?.token, 'lr_1');
  }
  for (let room = 0; room < 300; room++) {
    t.mock.timers.tick(1);
    saveIdentity(`room ${room}`, 'Me', 'lr_x');
  }
  assert.equal(loadIdentity('first'), null);
  assert.equal(loadIdentity('room 299').token, 'lr_x');
  assert.equal(storage.keys('linkroom:room:').length, 200);
});

describe('the outbox', () => {
  const entry = { key: 'a', text: 'between us', from: 'Me', at: Date.now() };
  const texts = async (outbox) => (await outbox.load()).map(({ text }) => text);

  test('of an encrypted room gives nothing without the key, and keeps what it has', async () => {
    const right = new Outbox('r', await Cipher.forRoom(newRoomKey(), 'r'));
    await right.put(entry);
    assert.ok(!localStorage.getItem('linkroom:out:r:a').includes('between us'));
    assert.deepEqual(await texts(new Outbox('r', null)), []);
    assert.deepEqual(await texts(new Outbox('r', await Cipher.forRoom(newRoomKey(), 'r'))), []);
    assert.deepEqual(await texts(right), ['between us']);
  });

  test('gives what was written before the key was there', async () => {
    await new Outbox('r', null).put(entry);
    assert.deepEqual(await texts(new Outbox('r', await Cipher.forRoom(newRoomKey(), 'r'))), ['between us']);
  });

  test('forgets, in any room, what is no message, and nothing else, whatever the clock says', async () => {
    const left = new Outbox('left', null);
    for (const [key, at] of [['a', 0], ['b', Date.now() - 8 * 24 * 60 * 60_000], ['c', Date.now()], ['d', Date.now() + 1e10]]) {
      await left.put({ ...entry, key, at });
    }
    localStorage.setItem('linkroom:out:left:e', '{"text":"x"}');
    assert.deepEqual(await texts(new Outbox('r', null)), []);
    assert.deepEqual(Object.keys(localStorage).map((key) => key.at(-1)), ['a', 'b', 'c', 'd']);
    const states = (await left.load()).map(({ key, failed }) => [key, failed]);
    assert.deepEqual(states, [['a', 'STALE'], ['b', 'STALE'], ['c', undefined], ['d', undefined]], 'what is old waits for the person');
  });

  test('says whether what it has outlives the page', async () => {
    assert.equal(await new Outbox('r', null).put(entry), true);
    put(new Full());
    assert.equal(await new Outbox('r', null).put({ ...entry, key: 'b' }), false);
    assert.deepEqual(await texts(new Outbox('r', null)), ['between us'], 'the page knows it');
  });
});
