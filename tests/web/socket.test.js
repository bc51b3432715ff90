import assert from 'node:assert/strict';
import { beforeEach, describe, mock, test } from 'node:test';
import { Socket } from '../../static/js/socket.js';

/** A WebSocket of which nothing is heard unless a test says so. */
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
  let socket;
  let phase;

  beforeEach(() => {
    mock.timers.reset();
    mock.timers.enable({ apis: ['setTimeout', 'Date'] });
    globalThis.WebSocket = Silent;
    socket = new Socket('ws://localhost/ws', {
      onOpen: () => socket.expect(),
      onFrame: ({ t }) => t === 'joined' && socket.settled(),
      onConnection: (connection) => (phase = connection.phase),
    });
    socket.connect();
  });

  test('that does not open is given up', () => {
    mock.timers.tick(9_999);
    assert.equal(phase, 'connecting');
    mock.timers.tick(1);
    assert.equal(phase, 'offline');
  });

  test('that opens and answers nothing is given up, later with every attempt', () => {
    for (const wait of [10_000, 20_000, 40_000, 60_000, 60_000]) {
      Silent.last.open();
      mock.timers.tick(wait - 1);
      assert.equal(phase, 'connecting');
      mock.timers.tick(1);
      assert.equal(phase, 'offline');
      socket.connect();
    }
  });

  test('that answers stays', () => {
    Silent.last.open();
    Silent.last.hear({ t: 'joined', me: 'Me', token: 'lr_x', members: [], away: [], messages: [] });
    mock.timers.tick(600_000);
    assert.equal(phase, 'online');
    socket.expect();
    mock.timers.tick(10_000);
    assert.equal(phase, 'offline', 'a question asked later is one too');
  });
});
