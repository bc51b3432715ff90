import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { addressOf, isAtRooms, keyAlone, linkAt, linksIn } from '../../static/js/names.js';

const ID = 'Ab3dEf6hIj9l';
const KEY = 'q83vEjRWeJCrze8SNFZ4kKvN7xI0VniQq83vEjRWe_-';
const PLAIN = { roomId: ID, key: null, message: null, token: null };
const WHOLE = { ...PLAIN, key: KEY };
const at = (address) => {
  const [pathname, ...hash] = address.split('#');
  return linkAt({ pathname, hash: hash.length > 0 ? `#${hash.join('#')}` : '' });
};

describe('an address that an app damaged', () => {
  const plain = [
    '', '/', '.', ',', ')', '%20', '%20%20', '%22', '%3E', '%E3%80%82', '%EC%9D%84', '%EC%97%90%EC%84%9C', '%E3%82%92', '%E2%80%8B', '%C2%A0', '/.', '//', "'s", '!', '%5D', '_', '**', '%', '%E', '%FF',
    '/index.html', '%3Futm_source=x', '#', '#x', '#k=', '#k=short', '%23', `#k=${KEY}x`,
  ];
  for (const end of plain) test(`names the room with ${end || 'nothing'} behind its id`, () => assert.deepEqual(at(`/r/${ID}${end}`), PLAIN));

  const whole = [
    '#k=KEY', '/#k=KEY', '%20#k=KEY', '#k=KEY.', '#k=KEY)', '#k=KEY%20', '#k=KEY%EB%A1%9C', '#k=KEY로', '#k=KEY&fbclid=x', '#utm=1&k=KEY', '#%20k=KEY', '#k%3DKEY', '#k=%20KEY', '#k=KEY*', '#k=KEY__', '#k=KEY#k=KEY',
    '%23k=KEY', '%23k%3DKEY', '%2523k=KEY', '%252523k%25253DKEY', '/%23k=KEY', '%23k=KEY.', '%23k=KEY%EC%9D%84', '%EC%9D%84#k=KEY', '%3Fx=1%23k=KEY', '#K=KEY', '%EF%BC%83k=KEY', '＃k=KEY',
    '#k=3DKEY', '#k%3D3DKEY', '＃k＝KEY', '#k%EF%BC%9DKEY', '#k%20=%20KEY', '#k: KEY',
  ];
  for (const end of whole) test(`has its key in ${end}`, () => assert.deepEqual(at(`/r/${ID}${end.replaceAll('KEY', KEY)}`), WHOLE));

  test('that names no room is none', () => {
    for (const address of ['/', '/r/', '/r/%20', '/r/%EC%9D%84', '/x/r/y', `/#/r/${ID}`]) assert.equal(at(address), null, address);
  });

  test('has what stands before the id left out', () => {
    for (const start of ['/', '%20', '%22', '%E2%80%8B']) assert.deepEqual(at(`/r/${start}${ID}`), PLAIN, start);
  });

  test('is known however its fixed part was written', () => {
    for (const fixed of ['/R/', '//r/', '/r//', '/%72/', '/%2572/', '/r%2F', '/%2Fr/', '/%20r/', '/r%20/', '/r%5C', '/./R/', '/%E2%80%8Br/', '/%EF%BD%92/', '/r%EF%BC%8F', '/%3Cr/', '/r:/']) {
      assert.deepEqual(at(`${fixed}${ID}#k=${KEY}`), WHOLE, fixed);
      assert.deepEqual(at(`${fixed}${ID}%23k=${KEY}`), WHOLE, fixed);
      assert.ok(isAtRooms(fixed), fixed);
    }
    for (const path of ['/', '/x', '/x/r/abc', '/rabc', '/r-/abc', '/robots.txt', '/r.txt', '/%20']) assert.ok(!isAtRooms(path), path);
  });

  test('may name a message', () => {
    assert.deepEqual(at(`/r/${ID}#k=${KEY}&m=1795221987747-505076210.`), { ...WHOLE, message: '1795221987747-505076210' });
    assert.deepEqual(at(`/r/${ID}#m=1-2`), { ...PLAIN, message: '1-2' });
  });

  test('may carry the token of who made the room, alone and beside a key and a message', () => {
    const token = 'lr_7ZmN6ri464-Z.vvO5taBC8yx4YSwevm3oMx';
    for (const end of [`#t=${token}`, `#t=${token}.`, `#t=${token})`, `#%20t=${token}`, `#t%3D${token}&fbclid=x`, `%23t=${token}`]) assert.deepEqual(at(`/r/${ID}${end}`), { ...PLAIN, token }, end);
    assert.deepEqual(at(`/r/${ID}#m=1-2&t=${token}&k=${KEY}`), { ...WHOLE, message: '1-2', token });
    const jwt = 'eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ1In0.4-_5aA';
    for (const end of [`#t=${jwt}`, `#t=${jwt}.`, `#t%3D${jwt}&fbclid=x`]) assert.deepEqual(at(`/r/${ID}${end}`), { ...PLAIN, token: jwt }, end);
    for (const end of ['#t=', '#t=lr_', '#t=lr_x', '#at=lr_x.y', '#t=x.y']) assert.deepEqual(at(`/r/${ID}${end}`), PLAIN, end);
  });

  test('is whole again when written anew, and stays so', () => {
    for (const link of [PLAIN, WHOLE, { ...WHOLE, token: 'lr_x.y' }, { ...WHOLE, message: '1-2' }, { ...PLAIN, message: '1-2' }]) assert.deepEqual(at(addressOf(link)), link);
    assert.equal(addressOf(WHOLE), `/r/${ID}#k=${KEY}`);
  });

  test('costs no more than its length', () => {
    const before = process.cpuUsage().user;
    for (const part of ['%25', '25', '/r/', '/', '/ r', '#k=', 'a', '%', `/r/a#k=${KEY}`]) linksIn(`/r/${part.repeat(100_000)}`);
    assert.ok(process.cpuUsage().user - before < 5_000_000, 'in microseconds');
  });
});

describe('a room in what somebody pasted', () => {
  const host = 'https://room.example';
  test('is found among words', () => {
    const link = `${host}/r/${ID}#k=${KEY}`;
    for (const text of [link, `  ${link}\n`, `여기로 와 ${link} 에서 봐`, `“${link}”로 와`, `<${link}>`, `[here](${link})`, `${link}을 열어`, `_${link}_`, link.replace('https://', ''),
      encodeURIComponent(link), `https://l.example/?u=${encodeURIComponent(link)}&h=1`, `${host}/r/${ID} #k=${KEY}`, ...['\r\n', '\n ', '=\r\n', '\r\n\t'].flatMap((fold) => ['=', '=3D'].map((sign) => `${host}/r/${ID}#k${sign}${KEY.slice(0, 20)}${fold}${KEY.slice(20)}`))]) {
      assert.deepEqual(linksIn(text), [WHOLE], text);
    }
  });
  test('is told from others', () => {
    const other = 'zzzzzzzzzzzz';
    assert.deepEqual(linksIn(`${host}/r/${other} 말고 ${host}/r/${ID}#k=${KEY}`), [{ ...PLAIN, roomId: other }, WHOLE]);
  });
  test('may be its key alone', () => {
    for (const text of [KEY, `#k=${KEY}`, `k=${KEY}.`, ` ${KEY} `, `열쇠는 ${KEY}야`, `k=3D${KEY}`, `_${KEY}_`, `${KEY.slice(0, 9)}=\r\n${KEY.slice(9)}`]) assert.equal(keyAlone(text), KEY, text);
    for (const text of ['', 'none', KEY.slice(1), `${KEY}x`, 'a'.repeat(60)]) assert.equal(keyAlone(text), null, text);
  });
});
