import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, test } from 'node:test';
import fakeTimers from '@sinonjs/fake-timers';
import { Socket } from '../../static/js/socket.js';

/** A WebSocket that does nothing unless a test says so. */
class Silent {
  static OPEN = 1;
  static last;
  readyState = 0;
  constructor() {
    Silent.last = this;
  }
  open() {
    this.readyState = Silent.OPEN;
    this.onopen();
  }
  hear(frame) {
    this.onmessage({ data: JSON.stringify(frame) });
  }
  send() {}
  close() {}
}

describe('a connection', () => {
  let clock;
  let socket;
  let phase;

  beforeEach(() => {
    clock = fakeTimers.install({ toFake: ['setTimeout', 'clearTimeout', 'Date', 'performance'] });
    globalThis.WebSocket = Silent;
    socket = new Socket('ws://localhost/ws', {
      onOpen: () => socket.expect(),
      onFrame: ({ t }) => t === 'joined' && socket.settled(),
      onConnection: (connection) => (phase = connection.phase),
    });
    socket.connect();
  });

  afterEach(() => clock.uninstall());

  test('that does not open is given up', () => {
    clock.tick(9_999);
    assert.equal(phase, 'connecting');
    clock.tick(1);
    assert.equal(phase, 'offline');
  });

  test('that opens and answers nothing is given up, later with every attempt', () => {
    for (const wait of [10_000, 20_000, 40_000, 60_000, 60_000]) {
      Silent.last.open();
      clock.tick(wait - 1);
      assert.equal(phase, 'connecting');
      clock.tick(1);
      assert.equal(phase, 'offline');
      socket.connect();
    }
  });

  test('knows how long it was silent, wherever the clock is set', () => {
    Silent.last.open();
    for (const [set, passed] of [[-3_600_000, 20_000], [7 * 86_400_000, 50_000]]) {
      clock.setSystemTime(Date.now() + set);
      clock.tick(passed - socket.silence);
      assert.equal(socket.silence, passed);
    }
  });

  test('that answers stays', () => {
    Silent.last.open();
    Silent.last.hear({ t: 'joined', me: 'Me', token: 'lr_x', members: [], away: [], messages: [] });
    clock.tick(600_000);
    assert.equal(phase, 'online');
    socket.expect();
    clock.tick(10_000);
    assert.equal(phase, 'offline', 'a question asked later is one too');
  });
});
