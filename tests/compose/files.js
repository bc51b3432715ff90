// Helpers of both tests.

import { readFileSync } from "node:fs";

/** The text of a file of the repository. */
export const read = (path) => readFileSync(new URL(`../../${path}`, import.meta.url), "utf8");

/** A duration such as 30s in seconds. */
export function seconds(text) {
  const [, number, unit] = /^(\d+)([sm]?)$/.exec(text);
  return Number(number) * (unit === "m" ? 60 : 1);
}

/** Every setting of linkroom with its default, as the README has them. */
export const settings = new Map(
  [...read("README.md").matchAll(/^\| `([A-Z_]+)` \| (?:`(.*?)`)? \| /gm)].map(
    ([, name, byDefault]) => [name, byDefault],
  ),
);
