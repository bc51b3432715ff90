import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { dayText, pickLanguage, TEXTS } from '../../static/js/i18n.js';
import { linkify } from '../../static/js/linkify.js';
import { checkName, codePoints, folded, freeName, hueOf, initialOf } from '../../static/js/names.js';
import { compareIds, isId, lowerBound, messagesIn, newKey, parseFrame } from '../../static/js/protocol.js';
import { WORDS as KEY } from '../../static/js/pages/key.js';
import { WORDS as REFUSED } from '../../static/js/pages/refused.js';
import { WORDS as MODERATION } from '../../static/js/room/moderation/words.js';
import { WORDS as ROOM } from '../../static/js/room/words.js';
import { backoff, isFinal } from '../../static/js/socket.js';
import { liesBetween, placeOf } from '../../static/js/timeline.js';

describe('ids', () => {
  test('are ordered by milliseconds, then by sequence, as numbers', () => {
    const sorted = ['9-2', '9-10', '10-0', '10-9007199254740991', '1700000000000-1'];
    assert.deepEqual([...sorted].reverse().sort(compareIds), sorted);
    assert.equal(compareIds('5-5', '5-5'), 0);
  });

  test('are told from anything else', () => {
    for (const id of ['1-0', '1700000000000-9007199254740991']) assert.ok(isId(id));
    for (const id of ['', '1', '-1', '1-', 'a-b', '1-2-3', '$', null, 7]) assert.ok(!isId(id));
  });

  test('are found in a list', () => {
    const list = ['1-1', '3-1', '5-1'].map((id) => ({ id }));
    assert.deepEqual(['0-0', '3-1', '4-0', '9-9'].map((id) => lowerBound(list, id)), [0, 1, 2, 3]);
  });

  test('keys are short enough and never the same', () => {
    const keys = new Set(Array.from({ length: 100 }, newKey));
    assert.equal(keys.size, 100);
    for (const key of keys) assert.ok(key.length <= 64);
  });
});

describe('backoff', () => {
  const most = () => 1;
  test('doubles up to 30 s', () => {
    assert.deepEqual([0, 1, 2, 6, 20, 2000].map((attempt) => backoff(attempt, 1006, most)), [500, 1000, 2000, 30_000, 30_000, 30_000]);
  });
  test('has full jitter', () => assert.equal(backoff(5, 1006, () => 0), 0));
  test('is short after a polite restart, once', () => {
    assert.equal(backoff(0, 1012, most), 2000);
    assert.equal(backoff(4, 1012, most), 8000);
  });
  test('does not come back where it would be turned away', () => {
    assert.deepEqual([1001, 1006, 1008, 1012, 1013].map(isFinal), [false, false, true, false, false]);
  });
});

describe('frames', () => {
  test('of the protocol are taken', () => {
    const frame = { t: 'msg', roomId: 'r', id: '1-1', from: 'A', text: 'x', timestamp: '1970-01-01T00:00:00.001Z' };
    assert.deepEqual(parseFrame(JSON.stringify(frame)), frame);
    assert.deepEqual(parseFrame('{"t":"pong"}'), { t: 'pong' });
  });
  test('of a message that was deleted have an empty text, and say why', () => {
    const deleted = { t: 'msg', roomId: 'r', id: '1-1', from: 'A', deleted: true, timestamp: '1970-01-01T00:00:00.001Z', key: 'k' };
    const { deleted: _, ...rest } = deleted;
    assert.deepEqual(parseFrame(JSON.stringify(deleted)), { ...rest, text: '', problem: 'deleted' });
    assert.deepEqual(messagesIn([{ ...deleted, text: 'still here' }])[0].text, '');
    assert.deepEqual(messagesIn([{ id: '1-1', from: 'A', text: 'x', problem: 'none' }])[0].problem, undefined, 'nobody else says so');
  });
  test('of anything else are left', () => {
    for (const text of ['', 'x', 'null', '[]', '{}', '{"t":"toString"}', '{"t":"msg","text":"x"}', '{"t":"msg","id":"x","from":"a","text":"b"}', '{"t":"msg","id":"1-1","from":"a","text":"b","key":1}',
      '{"t":"presence","userId":"a","status":"dancing"}', '{"t":"members","members":[1],"away":[]}', '{"t":"read","userId":"a","id":"?"}', '{"t":"deleted","id":"?"}', '{"t":"removed"}', '{"t":"msg","id":"1-1","from":"a","deleted":1}']) {
      assert.equal(parseFrame(text), null, text);
    }
    assert.deepEqual(messagesIn([null, 'x', { id: '1-1', from: 'A' }, { id: '1-1', from: 'A', text: {} }]), []);
  });
  test('have the time of their ids, whatever they say', () => {
    const said = [{}, { timestamp: 'soon' }, { timestamp: 7 }].map((more) => ({ id: '1-1', from: 'A', text: 'x', ...more }));
    const times = messagesIn(said).map(({ timestamp }) => timestamp);
    assert.deepEqual(times, Array(3).fill('1970-01-01T00:00:00.001Z'));
    const { messages } = parseFrame(JSON.stringify({ t: 'joined', me: 'A', token: 'lr_x', members: [], away: [], messages: [null, said[1]] }));
    assert.deepEqual(messages, [{ ...said[0], timestamp: times[0] }]);
    const last = parseFrame('{"t":"msg","id":"9999999999999999-0","from":"a","text":"b"}');
    assert.equal(Date.parse(last.timestamp), 8.64e15);
  });
});

describe('links', () => {
  const links = (text) => linkify(text).flatMap(({ href }) => (href ? [href] : []));
  test('are found, without the punctuation around them', () => {
    assert.deepEqual(links('see https://a.example/b.'), ['https://a.example/b']);
    assert.deepEqual(links('(https://a.example/x_(y)) and http://b.example?q=1!'), ['https://a.example/x_(y)', 'http://b.example/?q=1']);
    assert.deepEqual(links('여기 https://a.example/가 를 보세요'), ['https://a.example/%EA%B0%80']);
  });
  test('are only http and https', () => {
    assert.deepEqual(links('javascript:alert(1) data:text/html,x file:///etc ftp://a.example'), []);
    assert.deepEqual(links('https://'), []);
  });
  test('leave the text as it was', () => {
    for (const text of ['', 'no link', 'a https://a.example/b, c https://d.example. e', 'https://a.example\nline']) {
      assert.equal(linkify(text).map((piece) => piece.text).join(''), text);
    }
  });
  test('lose every bracket and every mark that ends them, in any order', () => {
    assert.deepEqual(links('[see https://a.example/b).]).'), ['https://a.example/b']);
    assert.deepEqual(links('(https://a.example/(b)[c]))'), ['https://a.example/(b)[c]']);
  });
  test('cost no more than their length, however they end', () => {
    const before = process.cpuUsage().user;
    for (const end of [')', ']', '.)', '.']) links(`https://a.example/${end.repeat(100_000)}`);
    links(`https://a.example/${'.'.repeat(100_000)}a`);
    // Each would take a minute if it were searched again for every character.
    assert.ok(process.cpuUsage().user - before < 5_000_000, 'in microseconds');
  });
  test('end where the writing direction is turned over', () => {
    assert.deepEqual(links('https://a.example/\u202egpj.exe'), ['https://a.example/']);
  });
});

describe('names', () => {
  test('and texts are counted in code points', () => {
    for (const text of ['', 'a', '가나', '👩‍👩‍👧', '\ud83d', '\udc4d\ud83d', '\ud83d\ud83d\udc4d', 'a👍b🇰🇷', '👍'.repeat(5_000)]) {
      assert.equal(codePoints(text), [...text].length, JSON.stringify(text.slice(0, 20)));
    }
  });

  test('are checked before the server does', () => {
    assert.equal(checkName('  '), 'nameEmpty');
    assert.equal(checkName('x'.repeat(33)), 'nameLong');
    assert.equal(checkName('👋'.repeat(32)), null);
    assert.equal(checkName('lr_abc'), 'nameReserved');
    assert.equal(checkName(' 홍길동 '), null);
  });
  test('that are taken give a free one', () => {
    assert.equal(freeName('Ann', ['Ann']), 'Ann2');
    assert.equal(freeName('Ann2', ['Ann', 'Ann2', 'Ann3']), 'Ann4');
    const long = freeName('가'.repeat(32), []);
    assert.equal([...long].length, 32);
    assert.equal(checkName(long), null);
  });
  test('are found however they are written', () => {
    for (const [name, sought] of [['Straße', 'strasse'], ['ΣΊΣΥΦΟΣ', 'σίσυφοσ'], ['각하', '각하'.normalize('NFD')], ['Zoë', 'zoe'], ['Zoe\u0308', 'Zoë'], ['İstanbul', 'istanbul'], ['민아', '미'], ['Ａｎｎ', 'ann'], ['Ann Lee', ' N L ']]) {
      assert.ok(folded(name).includes(folded(sought)), `${name} by ${sought}`);
    }
    for (const [name, sought] of [['Ann', 'm'], ['민아', '나'], ['דנה', 'ד נ']]) assert.ok(!folded(name).includes(folded(sought)), `${name} not by ${sought}`);
  });
  test('have a colour and an initial', () => {
    assert.equal(hueOf('Ann'), hueOf('Ann'));
    const used = new Set(Array.from({ length: 40 }, (_, i) => hueOf(`user${i}`)));
    assert.equal(used.size, 8, 'alike names still differ');
    for (const name of ['Ann', '홍길동', '👩‍💻 dev']) assert.ok(hueOf(name) >= 0 && hueOf(name) < 8);
    assert.equal(initialOf('ann'), 'A');
    assert.equal(initialOf('홍길동'), '홍');
    assert.equal(initialOf('👩‍💻 dev'), '👩‍💻');
  });
});

describe('the timeline', () => {
  const at = (minutes, from = 'A', id = undefined) => ({ from, timestamp: new Date(2024, 4, 1, 12, minutes).toISOString(), id });
  const place = (...args) => placeOf(args[0], args[1], args[2], () => false);
  test('puts what one author says in a run', () => {
    assert.deepEqual(place(undefined, at(0), at(1)), { day: true, first: true, last: false });
    assert.deepEqual(place(at(0), at(1), at(2)), { day: false, first: false, last: false });
    assert.deepEqual(place(at(0, 'B'), at(1), at(9)), { day: false, first: true, last: true });
  });
  test('begins a day with a line', () => {
    assert.deepEqual(place(at(-24 * 60), at(0), undefined), { day: true, first: true, last: true });
  });
  test('ends a run where a line stands', () => {
    assert.ok(placeOf(at(0), at(1), undefined, () => true).first);
  });
  test('knows between which two messages a line stands', () => {
    assert.ok(liesBetween('5-1', { ...at(0), id: '5-1' }, { ...at(1), id: '6-1' }));
    assert.ok(liesBetween('5-5', { ...at(0), id: '5-1' }, at(1)));
    assert.ok(!liesBetween('6-1', { ...at(0), id: '5-1' }, { ...at(1), id: '6-1' }));
    assert.ok(!liesBetween(null, { ...at(0), id: '5-1' }, { ...at(1), id: '6-1' }));
    // Before the first message, but not before an unstored one.
    assert.ok(liesBetween('5-1', undefined, { ...at(1), id: '6-1' }));
    assert.ok(!liesBetween('6-1', undefined, { ...at(1), id: '6-1' }));
    assert.ok(!liesBetween('5-1', undefined, at(1)));
  });
});

describe('texts', () => {
  const places = (text) => (typeof text === 'string' ? [text] : Object.values(text)).map((form) => [...form.matchAll(/\{\w+\}/g)].join().split(',').sort().join());
  test('are there in both languages, with the same places to fill', () => {
    for (const { en, ko } of [TEXTS, ROOM, MODERATION, REFUSED, KEY]) {
      assert.deepEqual(Object.keys(ko), Object.keys(en));
      for (const key of Object.keys(en)) assert.equal(places(ko[key])[0], places(en[key])[0], key);
    }
  });
  test('follow the browser', () => {
    assert.equal(pickLanguage(['ko-KR', 'en']), 'ko');
    assert.equal(pickLanguage(['fr', 'ko']), 'ko');
    assert.equal(pickLanguage(['en-GB', 'ko']), 'en');
    assert.equal(pickLanguage(['fr']), 'en');
    assert.equal(pickLanguage([]), 'en');
  });
  test('call days by their names', () => {
    const now = new Date(2024, 4, 3, 12);
    assert.equal(dayText(new Date(2024, 4, 3, 1).toISOString(), now), TEXTS.en.today);
    assert.equal(dayText(new Date(2024, 4, 2, 23).toISOString(), now), TEXTS.en.yesterday);
    assert.match(dayText(new Date(2024, 4, 1).toISOString(), now), /May 1/);
  });
});
