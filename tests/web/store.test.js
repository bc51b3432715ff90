import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import * as store from '../../static/js/store.js';

const message = (id, from = 'Ann', more = {}) => ({ roomId: 'r', id, from, text: `text of ${id}`, timestamp: new Date(Number(id.split('-')[0])).toISOString(), ...more });
const joined = (messages = [], more = {}) => ({
  t: 'joined', roomId: 'r', me: 'Me', token: 'lr_x', members: ['Me', 'Ann'], away: ['Ann'], messages, more: false, heartbeat: 10, ...more,
});
const msg = (id, from, more) => ({ t: 'msg', ...message(id, from, more) });
const start = () => store.initialState('r', 'Me');
const play = (state, ...frames) => frames.reduce(store.receive, state);
const ids = (state) => state.messages.map(({ id }) => id);

describe('members', () => {
  test('come with the join, and with every frame that tells the whole truth', () => {
    const state = play(start(), joined());
    assert.deepEqual([...state.members], [['Me', 'online'], ['Ann', 'away']]);
    const again = play(state, { t: 'members', roomId: 'r', members: ['Ben'], away: [] });
    assert.deepEqual([...again.members], [['Ben', 'online']]);
  });

  test('come, change and go', () => {
    const state = play(start(), joined(),
      { t: 'user_joined', roomId: 'r', userId: 'Ben' },
      { t: 'presence', roomId: 'r', userId: 'Ben', status: 'away' },
      { t: 'user_left', roomId: 'r', userId: 'Ann' });
    assert.deepEqual([...state.members], [['Me', 'online'], ['Ben', 'away']]);
    assert.equal(state.memberCount, 2);
  });

  test('of a large room are some of them, and a number', () => {
    const large = play(start(), joined([], { memberCount: 900 }));
    assert.deepEqual([large.members.size, large.memberCount], [2, 900]);
    const counted = play(large, { t: 'members', roomId: 'r', memberCount: 905 });
    assert.deepEqual([counted.members, counted.memberCount], [large.members, 905]);
    const small = play(counted, { t: 'members', roomId: 'r', members: ['Me'], away: [], memberCount: 1 });
    assert.deepEqual([[...small.members.keys()], small.memberCount], [['Me'], 1]);
  });
});

test('the names that are known are mine, those of members, and of authors whose messages are here', () => {
  const state = play(start(), joined([message('1-1', 'Ben')]), msg('2-1', 'Eve'));
  assert.deepEqual([...store.knownNames(state)].sort(), ['Ann', 'Ben', 'Eve', 'Me']);
  const more = store.receivePage(state, '1-1', { messages: [message('0-5', 'Zed')], hasMore: false });
  assert.ok(store.knownNames(more).has('Zed'));
  assert.equal(play(state, msg('3-1', 'Ben')).authors, state.authors, 'the same set, unless there is a new one');
});

test('a room has the lock and the creator that the join says, and the lock that was set last', () => {
  const state = play(start(), joined([], { creator: 'Ann', locked: true }));
  assert.deepEqual([state.creator, state.locked], ['Ann', true]);
  assert.equal(play(state, { t: 'room', roomId: 'r', locked: false, topic: null }).locked, false);
  const taken = play(state, { t: 'room', roomId: 'r', locked: true, topic: null, creatorNameTaken: true });
  assert.deepEqual([state, taken, play(taken, joined([], { creator: 'Ann' }))].map(({ isCreatorNameTaken }) => isCreatorNameTaken), [false, true, false]);
});

test('a room is called what its creator said last', () => {
  const named = play(start(), joined([], { topic: 'Lunch' }));
  assert.equal(named.topic, 'Lunch');
  assert.equal(play(named, { t: 'room', roomId: 'r', locked: false, topic: 'Dinner' }).topic, 'Dinner');
  assert.equal(play(named, { t: 'room', roomId: 'r', locked: false, topic: null }).topic, null);
  assert.equal(play(start(), joined()).topic, null);
});

describe('messages', () => {
  test('stand in the order of their ids, each once', () => {
    const state = play(start(), joined([message('5-1'), message('5-9')]), msg('5-10', 'Ann'), msg('5-9', 'Ann'), msg('5-2', 'Ann'), msg('10-0', 'Ann'));
    assert.deepEqual(ids(state), ['5-1', '5-2', '5-9', '5-10', '10-0']);
  });

  test('that are known stay the same objects', () => {
    const before = play(start(), joined([message('1-1')]));
    const after = play(before, joined([message('1-1'), message('2-1')]));
    assert.equal(after.messages[0], before.messages[0]);
    assert.equal(play(after, msg('2-1', 'Ann')).messages, after.messages);
  });

  test('that were deleted keep their place, however that is heard', () => {
    const said = [message('1-1'), message('2-1', 'Me', { key: 'k' }), message('3-1')];
    const gone = (id, from) => message(id, from, { text: '', problem: 'deleted' });
    const ways = [
      { t: 'deleted', roomId: 'r', id: '2-1' },
      joined([gone('2-1', 'Me'), message('3-1')]),
      { t: 'msg', ...gone('2-1', 'Me'), key: 'k' },
    ];
    const before = play(start(), joined(said));
    for (const way of ways) {
      const { messages } = play(before, way);
      assert.deepEqual(messages.map(({ text }) => text), ['text of 1-1', '', 'text of 3-1']);
      assert.equal(messages[1].problem, 'deleted');
      assert.equal(messages[2], before.messages[2]);
    }
    const page = store.receivePage(before, '3-1', { messages: [gone('1-1')], hasMore: false });
    assert.equal(page.messages[0].problem, 'deleted');
    const after = play(before, ways[0]);
    for (const way of [...ways, joined(said), { t: 'deleted', roomId: 'r', id: '9-9' }]) assert.equal(play(after, way).messages, after.messages, 'nothing changes any more');
  });

  test('resume behind the one that was delivered last', () => {
    assert.equal(play(start(), joined([message('1-1')]), msg('7-3', 'Ann')).cursor, '7-3');
    assert.equal(play({ ...start(), cursor: '7-3' }, joined()).cursor, '7-3');
    assert.equal(play({ ...start(), cursor: '7-3' }, msg('7-2', 'Ann')).cursor, '7-3');
  });

  test('of an empty room resume from its beginning', () => {
    assert.equal(play(start(), joined()).cursor, '0-0');
  });

  test('of one’s own take the place of what was waiting', () => {
    const waiting = store.setPending(play(start(), joined()), [
      { key: 'a', text: 'x', at: 1, from: 'Me' },
      { key: 'b', text: 'y', at: 2, from: 'Me' },
    ]);
    assert.deepEqual(play(waiting, msg('3-1', 'Me', { key: 'a' })).pending.map(({ key }) => key), ['b']);
    assert.equal(play(waiting, msg('3-1', 'Mallory', { key: 'a' })).pending.length, 2);
    assert.deepEqual(play(waiting, joined([message('3-1', 'Me', { key: 'b' })])).pending.map(({ key }) => key), ['a']);
  });

  test('that another tab wrote wait here in their turn, if they are not stored', () => {
    const entry = (key, at) => ({ key, text: key, at, from: 'Me' });
    const mine = entry('b', 2);
    const state = store.setPending(play(start(), joined([message('3-1', 'Me', { key: 'd' })])), [mine]);
    const next = store.adopt(state, [entry('a', 1), entry('c', 3), entry('d', 4)]);
    assert.deepEqual(next.pending.map(({ key }) => key), ['a', 'b', 'c']);
    assert.equal(next.pending[1], mine);
    assert.equal(next.messages, state.messages);
  });

  test('that another tab took out wait until a join tells what became of them', () => {
    const gone = store.setPending(start(), [{ key: 'a', text: 'x', at: 1, from: 'Me', elsewhere: true }, { key: 'b', text: 'y', at: 2, from: 'Me' }]);
    assert.deepEqual(play(gone, joined()).pending.map(({ key }) => key), ['b']);
  });

  test('of one’s own are known under the name of then and of now', () => {
    const waiting = store.setPending(start(), [
      { key: 'a', text: 'x', at: 1, from: 'Me' },
      { key: 'b', text: 'y', at: 2, from: 'Me' },
    ]);
    const stored = [message('3-1', 'Me', { key: 'a' }), message('3-2', 'Me2', { key: 'b' })];
    assert.deepEqual(play(waiting, joined(stored, { me: 'Me2' })).pending, []);
  });
});

describe('history', () => {
  test('begins where the first join says so', () => {
    assert.equal(play(start(), joined([message('1-1')])).older, 'end');
    assert.equal(play(start(), joined([message('1-1')], { more: true })).older, 'more');
    assert.equal(play({ ...start(), cursor: '0-5' }, joined([message('1-1')])).older, 'more');
  });

  test('begins anew where an absence from an empty room ended', () => {
    const empty = play(start(), joined());
    assert.equal(empty.older, 'end');
    assert.equal(play(empty, joined([message('1-1')])).older, 'end');
    const missed = play(empty, joined([message('9-1')], { more: true }));
    assert.equal(missed.older, 'more');
    assert.deepEqual(missed.gaps, []);
  });

  test('fills the top page by page', () => {
    const state = play(start(), joined([message('9-1')], { more: true }));
    const next = store.receivePage(state, '9-1', { messages: [message('7-1'), message('8-1')], hasMore: true });
    assert.deepEqual(ids(next), ['7-1', '8-1', '9-1']);
    assert.equal(next.older, 'more');
    assert.equal(store.receivePage(next, '7-1', { messages: [], hasMore: false }).older, 'end');
  });

  test('that is missing between two messages is a gap', () => {
    const state = play(start(), joined([message('1-1')]), joined([message('9-1')], { more: true }));
    assert.deepEqual(state.gaps, [{ after: '1-1', before: '9-1' }]);
    assert.equal(state.older, 'end');
  });

  test('is no gap when the resync overlaps', () => {
    const state = play(start(), joined([message('1-1'), message('2-1')]), joined([message('2-1'), message('3-1')], { more: true }));
    assert.deepEqual(state.gaps, []);
  });

  test('fills a gap until it meets what is known', () => {
    const gap = play(start(), joined([message('1-1'), message('2-1')]), joined([message('9-1')], { more: true }));
    const smaller = store.receivePage(gap, '9-1', { messages: [message('7-1'), message('8-1')], hasMore: true });
    assert.deepEqual(smaller.gaps, [{ after: '2-1', before: '7-1' }]);
    const closed = store.receivePage(smaller, '7-1', { messages: [message('2-1'), message('3-1')], hasMore: true });
    assert.deepEqual(closed.gaps, []);
    assert.deepEqual(ids(closed), ['1-1', '2-1', '3-1', '7-1', '8-1', '9-1']);
    assert.deepEqual(store.receivePage(smaller, '7-1', { messages: [], hasMore: false }).gaps, []);
  });
});

describe('reading', () => {
  const read = (userId, id) => ({ t: 'read', roomId: 'r', userId, id });

  test('never goes back', () => {
    const state = play(start(), joined(), read('Ann', '5-10'), read('Ann', '5-9'));
    assert.equal(state.reads.get('Ann'), '5-10');
  });

  const member = (userId, read, joinedAt = new Date(2).toISOString()) => ({ userId, read, joinedAt });
  const begin = (state, ...list) => store.beginReading(store.receiveReads(state, list));

  test('counts only what others wrote', () => {
    const state = play(start(), joined([message('1-1'), message('2-1', 'Me'), message('3-1'), message('4-1')]));
    assert.equal(store.countUnread(begin(state, member('Me', '1-1'))), 2);
    assert.equal(store.countUnread(begin(state, member('Me', '4-1'))), 0);
    assert.equal(store.countUnread(state), 0);
  });

  test('begins with what came after me, where I have read nothing yet', () => {
    const state = begin(play(start(), joined([message('1-1')])), member('Me', null), member('Ann', '1-1'));
    assert.equal(store.countUnread(state), 0);
    assert.equal(state.unreadAfter, null);
    assert.equal(store.countUnread(play(state, msg('3-1', 'Ann'), msg('4-1', 'Ann'))), 2);
    assert.equal(store.unreadBoundary(play(state, msg('3-1', 'Ann'))), '1-1');
  });

  test('goes on from what this browser remembers, where the server has forgotten', () => {
    const state = play({ ...start(), since: '3-1' }, joined([message('2-1'), message('4-1')]));
    assert.equal(store.firstUnread(begin(state, member('Me', null, new Date(9).toISOString()))), '4-1');
    assert.equal(store.firstUnread(begin(state, member('Me', '2-1'))), '4-1');
    assert.equal(store.firstUnread(begin(state, member('Me', '4-1'))), null);
    assert.equal(store.firstUnread(state), null, 'nothing is unread until that is known');
  });

  test('begins above what is here, where more is unread', () => {
    const state = play(start(), joined([message('5-1'), message('6-1')], { more: true }));
    assert.ok(store.isUnreadAbove(store.receiveReads(state, [member('Me', '3-1')])));
    assert.ok(!store.isUnreadAbove(store.receiveReads(state, [member('Me', '5-1')])));
    assert.ok(!store.isUnreadAbove({ ...store.receiveReads(state, [member('Me', '3-1')]), older: 'end' }));
  });

  const gap = () => begin(play({ ...start(), since: '2-1' }, joined([message('1-1'), message('2-1')])), member('Me', '2-1'));
  const missed = () => play(gap(), joined([message('8-1'), message('9-1')], { more: true }));

  test('ends where messages are missing, at the line', () => {
    const state = missed();
    assert.equal(store.readableTo(state, '9-1'), '2-1');
    assert.equal(store.readableTo(gap(), '9-1'), '9-1', 'nothing is missing');
    assert.equal(state.unreadAfter, '2-1');
    assert.deepEqual(store.unreadGap(state), { after: '2-1', before: '8-1' });
    const filled = store.receivePage(state, '8-1', { messages: [message('2-1'), message('5-1')], hasMore: true });
    assert.equal(store.unreadGap(filled), undefined);
    assert.equal(store.readableTo(filled, '9-1'), '9-1');
    assert.equal(store.unreadBoundary(filled), '2-1');
    assert.equal(store.countUnread(filled), 3);
  });

  test('is over for who has seen the end, though what is missing stays unread', () => {
    const failed = store.setFill(missed(), '8-1', 'failed');
    const seen = store.noteSeen(failed, '9-1');
    assert.equal(store.countUnread(failed), 2);
    assert.equal(store.countUnread(seen), 0);
    assert.equal(store.firstUnread(seen), null);
    assert.equal(store.readTo(seen), '2-1');
    assert.equal(store.unreadBoundary(seen), '2-1');
    assert.equal(store.countUnread(play(seen, msg('10-1', 'Ann'))), 1);
    assert.equal(store.countUnread(store.noteSeen(seen, '8-1')), 0, 'who scrolls back has seen it all the same');
    assert.equal(store.countUnread(store.noteSeen(missed(), '9-1')), 2, 'what is on its way may still be read');
  });

  test('ends where they are missing also for who has read some of them elsewhere', () => {
    const state = play(missed(), read('Me', '4-1'));
    assert.equal(store.readableTo(state, '9-1'), '4-1');
    assert.equal(store.unreadBoundary(state), '4-1');
    assert.equal(store.readableTo(play(state, read('Me', '8-1')), '9-1'), '9-1', 'the gap is read');
  });

  test('goes on up to a gap, and not past the first of several', () => {
    const twice = play(missed(), joined([message('20-1')], { more: true }));
    assert.deepEqual(store.unreadGap(twice), { after: '9-1', before: '20-1' });
    const filled = store.receivePage(twice, '8-1', { messages: [message('2-1')], hasMore: true });
    assert.equal(store.readableTo(filled, '8-1'), '8-1');
    assert.equal(store.readableTo(filled, '20-1'), '9-1');
  });

  test('ends at the edge of what is here, until that is the beginning', () => {
    for (const older of ['more', 'loading', 'failed']) {
      const state = { ...begin(play(start(), joined([message('5-1'), message('6-1')], { more: true })), member('Me', '3-1')), older };
      assert.equal(store.readableTo(state, '6-1'), '3-1', older);
      assert.equal(store.awaitsUnread(state), older !== 'failed');
      assert.equal(store.readableTo({ ...state, older: 'end' }, '6-1'), '6-1', 'what is older is gone');
    }
  });

  test('waits for what is missing unless that fails', () => {
    const state = missed();
    assert.ok(store.awaitsUnread(state));
    assert.ok(store.awaitsUnread(store.setFill(state, '8-1', 'loading')));
    assert.ok(!store.awaitsUnread(store.setFill(state, '8-1', 'failed')));
    assert.ok(!store.awaitsUnread(gap()));
    assert.deepEqual(store.receivePage(store.setFill(state, '8-1', 'loading'), '8-1', { messages: [message('5-1')], hasMore: true }).gaps, [{ after: '2-1', before: '5-1' }]);
  });

  test('begins again where a lost connection ended it, with a line', () => {
    const state = begin(play(start(), joined([message('1-1')])), member('Me', '1-1'));
    const back = play(state, joined([message('2-1', 'Me'), message('3-1'), message('4-1')]));
    assert.equal(back.unreadAfter, '2-1');
    assert.equal(play(back, joined([message('5-1')])).unreadAfter, '2-1');
    assert.equal(play(back, read('Me', '4-1'), joined([message('5-1')])).unreadAfter, '4-1');
    assert.equal(play(state, joined()).unreadAfter, null);
  });

  test('does not end where the session did, with a line', () => {
    const state = begin(play(start(), joined([message('1-1')])), member('Me', null));
    const back = play(state, joined([message('3-1'), message('4-1')]));
    const again = store.receiveReads(back, [member('Me', null, new Date(5).toISOString())]);
    assert.equal(store.countUnread(again), 2);
    assert.equal(again.unreadAfter, '1-1');
  });

  test('begins where an earlier visit ended, with a line', () => {
    const state = play(start(), joined([message('1-1'), message('2-1')]));
    assert.equal(begin(state, member('Me', '1-1'), member('Ann', null)).unreadAfter, '1-1');
    assert.equal(begin(state).unreadAfter, null);
  });
});

test('the unread line stands in front of the first message of somebody else', () => {
  const read = { t: 'read', roomId: 'r', userId: 'Me', id: '1-1' };
  const state = play(start(), joined([message('1-1'), message('2-1', 'Me'), message('3-1'), message('4-1')]), read);
  assert.equal(store.unreadBoundary(state), '2-1');
  assert.equal(store.unreadBoundary(play(state, { ...read, id: '4-1' })), null);
  assert.equal(store.unreadBoundary(play(start(), joined([message('1-1')]))), null);
});

test('no frame changes a state in place', () => {
  const state = Object.freeze(play(start(), joined([message('1-1')])));
  const copy = structuredClone(state);
  play(state, msg('2-1', 'Ann'), { t: 'user_left', roomId: 'r', userId: 'Ann' }, { t: 'read', roomId: 'r', userId: 'Ann', id: '1-1' }, joined([], { more: true }));
  assert.deepEqual(state, copy);
});
