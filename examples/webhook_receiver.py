#!/usr/bin/env python3
"""Receives linkroom's webhooks, verifies their signatures and prints each event once.

    WEBHOOK_SECRET=whsec_... ./webhook_receiver.py 9000

Start linkroom with the same WEBHOOK_SECRET, WEBHOOK_URL=http://127.0.0.1:9000/ and, as that address is not a
public one, WEBHOOK_ALLOW_PRIVATE=on.
"""

import base64
import hashlib
import hmac
import os
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

KEY = base64.b64decode(os.environ["WEBHOOK_SECRET"].removeprefix("whsec_"))
LEEWAY = 5 * 60  # seconds that an event may be on its way
seen = set()  # keep the ids in your database


def is_genuine(headers, body):
    event, at = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not at.isdigit() or abs(time.time() - int(at)) > LEEWAY:
        return False
    signed = hmac.new(KEY, f"{event}.{at}.".encode() + body, hashlib.sha256).digest()
    expected = "v1," + base64.b64encode(signed).decode()
    signatures = headers.get("webhook-signature", "").split()
    return any(hmac.compare_digest(expected, one) for one in signatures)


class Receiver(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        if not is_genuine(self.headers, body):
            return self.answer(401)
        if self.headers["webhook-id"] not in seen:
            print(body.decode(), flush=True)
            seen.add(self.headers["webhook-id"])
        self.answer(204)  # only now: until it is answered, an event is sent again

    def answer(self, status):
        self.send_response(status)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Receiver).serve_forever()
