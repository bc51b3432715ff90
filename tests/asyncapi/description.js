// docs/asyncapi.yaml with its references resolved, and validators for its frames.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";

import Ajv from "ajv";
import { parse } from "yaml";

export const description = parse(
  readFileSync(new URL("../../docs/asyncapi.yaml", import.meta.url), "utf8"),
);

/** The target of a reference; a part that is no reference is its own target. */
function follow(part) {
  while (part?.$ref) {
    assert.match(part.$ref, /^#\//);
    part = part.$ref.slice(2).split("/").reduce((at, name) => at?.[name], description);
    assert.ok(part, "a reference leads nowhere");
  }
  return part;
}

/** The messages that the server gets (`receive`) or sends (`send`), by their `t`. */
export function messages(direction) {
  const operations = Object.values(description.operations);
  const said = operations.filter(({ action }) => action === direction);
  const answers = direction === "send" ? operations.map(({ reply }) => reply ?? {}) : [];
  const named = [...said, ...answers].flatMap(({ messages = [] }) => messages.map(follow));
  return new Map(named.map((message) => [message.payload.properties.t.const, message]));
}

/**
 * A function of a frame that returns what is wrong with it, or undefined. Stricter than the description:
 * fields that clients may ignore have to be described as well.
 */
export function checker({ payload }) {
  const ajv = new Ajv({ strict: false, allErrors: true });
  const { components } = description;
  const follows = ajv.compile({ ...payload, additionalProperties: false, components });
  return (frame) => (follows(frame) ? undefined : ajv.errorsText(follows.errors));
}
