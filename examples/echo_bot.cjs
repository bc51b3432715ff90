#!/usr/bin/env node
// A bot in a room: it repeats what follows "@echo ". It comes back by itself, and answers what it missed.
//
//     npm install ws        (not needed from Node.js 22 on)
//     ./echo_bot.cjs http://localhost:8080 ROOM

const { randomBytes } = require('node:crypto');
const Socket = globalThis.WebSocket ?? require('ws');

const [base, roomId] = process.argv.slice(2);
const CALL = '@echo ';
const PAUSE = 1_000; // ms, about, before it connects again
// A join whose answer was lost is repeated with the same secret: it is the same guest.
const me = { token: 'echo', secret: randomBytes(16).toString('hex'), since: null };

function connect() {
  const socket = new Socket(`${base.replace('http', 'ws')}/ws`);
  const send = (frame) => socket.send(JSON.stringify(frame));
  let beat;

  function answer({ id, text }) {
    me.since = id;
    // With this key the answer is one message, however often it is sent.
    if (text?.startsWith(CALL)) send({ t: 'msg', roomId, text: text.slice(CALL.length), key: `re ${id}` });
  }

  socket.onopen = () => send({ t: 'join', roomId, ...me });
  socket.onmessage = ({ data }) => {
    const frame = JSON.parse(data);
    if (frame.t === 'joined') {
      clearInterval(beat);
      beat = setInterval(() => send({ t: 'ping' }), frame.heartbeat * 1000);
      me.token = frame.token;
      // What was said before it first came is not for it.
      if (me.since) frame.messages.forEach(answer);
      else me.since = frame.messages.at(-1)?.id ?? '0-0';
    } else if (frame.t === 'msg') {
      answer(frame);
    } else if (frame.t === 'error' || frame.t === 'removed') {
      console.error(data);
      process.exit(1);
    }
  };
  socket.onerror = () => {}; // the close follows
  socket.onclose = () => {
    clearInterval(beat);
    setTimeout(connect, PAUSE * (0.5 + Math.random()));
  };
}

connect();
