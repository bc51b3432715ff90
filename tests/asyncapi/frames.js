// Checks a conversation against docs/asyncapi.yaml: every frame matches its description, and every described
// frame and error code occurs. tests/ops/asyncapi.rs holds the conversation.
//
//   node frames.js CONVERSATION.json     {"receive": [frame, …], "send": [frame, …]}

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";

import { checker, description, messages } from "./description.js";

const conversation = JSON.parse(readFileSync(process.argv[2], "utf8"));

for (const [direction, frames] of Object.entries(conversation)) {
  const described = messages(direction);
  const checkers = new Map([...described].map(([t, message]) => [t, checker(message)]));
  for (const frame of frames) {
    const wrong = checkers.get(frame.t) ?? (() => "not described");
    assert.equal(wrong(frame), undefined, JSON.stringify(frame));
    // A description that accepts everything would be useless.
    for (const field of described.get(frame.t).payload.required) {
      const { [field]: _, ...less } = frame;
      assert.ok(wrong(less), `${field} may be missing: ${JSON.stringify(frame)}`);
      assert.ok(wrong({ ...frame, [field]: {} }), `${field} may be anything`);
    }
  }
  const seen = new Set(frames.map(({ t }) => t));
  assert.deepEqual([...described.keys()].filter((t) => !seen.has(t)), [], `never: ${direction}`);
  for (const [t, { payload }] of described) {
    const fields = new Set(frames.filter((frame) => frame.t === t).flatMap(Object.keys));
    const missing = Object.keys(payload.properties).filter((field) => !fields.has(field));
    assert.deepEqual(missing, [], `fields of ${t} that were never seen`);
  }
}

const codes = new Set(conversation.send.map(({ code }) => code));
const missing = description.components.schemas.code.enum.filter((code) => !codes.has(code));
assert.deepEqual(missing, [], "codes that were never seen");
