import assert from 'node:assert/strict';
import { createDecipheriv } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { describe, test } from 'node:test';
import { Cipher, newRoomKey } from '../../static/js/crypto.js';
import { sealedLength } from '../../static/js/protocol.js';
import { linksIn } from '../../static/js/names.js';

const vectors = JSON.parse(readFileSync(new URL('vectors.json', import.meta.url), 'utf8'));
const [vector] = vectors;
const cipherFor = (change = {}) => {
  const { key, roomId } = { ...vector, ...change };
  return Cipher.forRoom(key, roomId);
};

describe('test vectors', () => {
  for (const { name, link, key, roomId, from, iv, associatedData, plaintext, text } of vectors) {
    test(`${name}: sealing gives the documented envelope`, async () => {
      const cipher = await Cipher.forRoom(key, roomId);
      assert.equal(await cipher.seal(plaintext, from, new Uint8Array(Buffer.from(iv, 'hex'))), text);
      assert.equal(linksIn(link)[0].key, key);
    });

    test(`${name}: opening gives the text back`, async () => {
      const cipher = await Cipher.forRoom(key, roomId);
      assert.deepEqual(await cipher.open(text, from), { text: plaintext });
    });

    test(`${name}: another implementation of AES-GCM agrees`, () => {
      const envelope = Buffer.from(text.slice('e2e1.'.length), 'base64url');
      const decipher = createDecipheriv('aes-256-gcm', Buffer.from(key, 'base64url'), envelope.subarray(0, 12));
      decipher.setAAD(Buffer.from(associatedData, 'hex'));
      decipher.setAuthTag(envelope.subarray(-16));
      const opened = Buffer.concat([decipher.update(envelope.subarray(12, -16)), decipher.final()]);
      assert.equal(opened.toString(), plaintext);
      assert.equal(Buffer.from(associatedData, 'hex').toString(), `linkroom-e2e-1\n${roomId}\n${from}`);
    });

    test(`${name}: docs/encryption.md shows it`, () => {
      const page = readFileSync(new URL('../../docs/encryption.md', import.meta.url), 'utf8');
      for (const part of [key, roomId, from, iv, associatedData, plaintext, text]) assert.ok(page.includes(part), part);
    });
  }
});

describe('what does not open', () => {
  const undecryptable = { text: '', problem: 'undecryptable' };

  test('a text that was changed', async () => {
    const cipher = await cipherFor();
    const at = 40;
    const letter = vector.text[at] === 'A' ? 'B' : 'A';
    const changed = vector.text.slice(0, at) + letter + vector.text.slice(at + 1);
    assert.deepEqual(await cipher.open(changed, vector.from), undecryptable);
  });

  test('a text under another name', async () => {
    assert.deepEqual(await (await cipherFor()).open(vector.text, 'Mallory'), undecryptable);
  });

  test('a text in another room', async () => {
    assert.deepEqual(await (await cipherFor({ roomId: 'zzzzzzzzzzzz' })).open(vector.text, vector.from), undecryptable);
  });

  test('a text under another key', async () => {
    assert.deepEqual(await (await cipherFor({ key: newRoomKey() })).open(vector.text, vector.from), undecryptable);
  });

  test('an envelope that is cut short', async () => {
    const cipher = await cipherFor();
    for (const text of ['e2e1.A', 'e2e1.AAAA', vector.text.slice(0, -1)]) {
      assert.deepEqual(await cipher.open(text, vector.from), undecryptable);
    }
  });

  test('what was never sealed', async () => {
    const cipher = await cipherFor();
    for (const text of ['hello', 'e2e1.', 'e2e1.?', '']) {
      assert.deepEqual(await cipher.open(text, vector.from), { text: '', problem: 'unencrypted' });
    }
  });
});

test('the same text is never sealed the same way twice', async () => {
  const cipher = await cipherFor();
  assert.notEqual(await cipher.seal('same', 'A'), await cipher.seal('same', 'A'));
});

test('a topic is opened in its room whatever id that got, and is no message', async () => {
  const key = newRoomKey();
  const sealed = await (await Cipher.forRoom(key, '')).sealTopic('금요일 🚀');
  const room = await Cipher.forRoom(key, 'Ab3dEf6hIj9k');
  assert.equal(await room.openTopic(sealed), '금요일 🚀');
  assert.equal((await room.open(sealed, '')).problem, 'undecryptable');
  assert.equal(await (await Cipher.forRoom(newRoomKey(), '')).openTopic(sealed), null);
  assert.equal(await room.openTopic('in the clear'), null);
});

test('the length of an envelope is known before sealing', async () => {
  const cipher = await cipherFor();
  for (const text of ['', 'a', 'ab', 'abc', '가나다라', '👋'.repeat(50)]) {
    assert.equal((await cipher.seal(text, 'A')).length, sealedLength(text));
  }
});

test('a key is taken from a fragment only when it is whole', () => {
  const keyOf = (link) => linksIn(link)[0]?.key ?? null;
  const key = newRoomKey();
  assert.equal(key.length, 43);
  assert.equal(keyOf(`https://a.example/r/x#k=${key}`), key);
  for (const link of [`https://a.example/r/x?k=${key}`, `https://a.example/r/x#k=${key}A`, 'https://a.example/r/x#k=', 'https://a.example/r/x', '']) {
    assert.equal(keyOf(link), null, link);
  }
});
