#!/usr/bin/env python3
"""A bot in a room: it repeats what follows "@echo ". It comes back by itself, and answers what it missed.

    pip install websockets
    ./echo_bot.py http://localhost:8080 ROOM
"""

import asyncio
import contextlib
import json
import secrets
import sys

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

BASE, ROOM = sys.argv[1:3]
CALL = "@echo "
# A join whose answer was lost is repeated with the same secret: it is the same guest.
me = {"token": "echo", "secret": secrets.token_hex(16), "since": None}


async def beat(socket, interval):
    while True:
        await asyncio.sleep(interval)
        await socket.send('{"t":"ping"}')


async def answer(socket, message):
    me["since"] = message["id"]
    text = message.get("text", "")
    if text.startswith(CALL):
        # With this key the answer is one message, however often it is sent.
        reply = {"t": "msg", "roomId": ROOM, "text": text[len(CALL) :], "key": f"re {message['id']}"}
        await socket.send(json.dumps(reply))


async def main():
    # Connects again, after longer and longer pauses, whenever the connection ends.
    async for socket in connect(BASE.replace("http", "ws", 1) + "/ws"):
        with contextlib.suppress(ConnectionClosed):
            await socket.send(json.dumps({"t": "join", "roomId": ROOM, **me}))
            async for text in socket:
                frame = json.loads(text)
                if frame["t"] == "joined":
                    asyncio.create_task(beat(socket, frame["heartbeat"]))
                    # What was said before it first came is not for it.
                    for message in frame["messages"] if me["since"] else []:
                        await answer(socket, message)
                    newest = frame["messages"][-1:] or [{"id": "0-0"}]
                    me.update(token=frame["token"], since=me["since"] or newest[0]["id"])
                elif frame["t"] == "msg":
                    await answer(socket, frame)
                elif frame["t"] in ("error", "removed"):
                    sys.exit(text)


asyncio.run(main())
