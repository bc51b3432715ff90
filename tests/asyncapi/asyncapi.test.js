// docs/asyncapi.yaml by itself: it is valid AsyncAPI, and its examples match it.

import assert from "node:assert/strict";
import { test } from "node:test";

import specs from "@asyncapi/specs";
import Ajv from "ajv";
import addFormats from "ajv-formats";

import { checker, description, messages } from "./description.js";

test("it follows the schema of AsyncAPI", () => {
  const ajv = addFormats(new Ajv({ strict: false, allErrors: true, validateFormats: true }));
  const { $schema: _, ...schema } = specs.schemasWithoutId[description.asyncapi];
  const follows = ajv.compile(schema);
  assert.ok(follows(description), ajv.errorsText(follows.errors, { separator: "\n" }));
  assert.ok(!follows({ ...description, channels: [] }), "the schema finds mistakes");
});

test("every message is of the channel and of an operation", () => {
  const used = new Set([...messages("receive").values(), ...messages("send").values()]);
  const named = Object.values(description.components.messages);
  assert.deepEqual(used, new Set(named));
  assert.deepEqual(
    Object.keys(description.channels.socket.messages),
    Object.keys(description.components.messages),
  );
});

test("its examples are what it says", () => {
  for (const message of messages("receive").values()) {
    assert.ok(message.examples.length > 0);
    for (const { payload } of message.examples) {
      assert.equal(checker(message)(payload), undefined);
    }
  }
});
