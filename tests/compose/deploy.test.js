// The other ways to run a node: the image, Kubernetes, systemd. They refer to things that exist,
// and give a node enough time.

import assert from "node:assert/strict";
import { existsSync, readdirSync } from "node:fs";
import { test } from "node:test";

import { parse } from "yaml";

import { read, seconds, settings } from "./files.js";

const root = new URL("../../", import.meta.url);

const manifests = Object.fromEntries(
  readdirSync(new URL("deploy/kubernetes", root))
    .map((file) => [file, parse(read(`deploy/kubernetes/${file}`))])
    .map(([file, manifest]) => [manifest.kind, { file, ...manifest }]),
);
const { Deployment, Service, PodDisruptionBudget, HorizontalPodAutoscaler } = manifests;
const pod = Deployment.spec.template;
const [container] = pod.spec.containers;
const environment = new Map(container.env.map(({ name, value }) => [name, value]));

/** The unit's assignments, in order: [key, value]. */
const unit = read("deploy/linkroom.service")
  .split("\n")
  .filter((line) => /^\w+=/.test(line))
  .map((line) => [line.slice(0, line.indexOf("=")), line.slice(line.indexOf("=") + 1)]);

/** The Dockerfile's instructions in order: [name, the rest], each on one line. */
const image = read("Dockerfile")
  .replaceAll(/^#.*\n/gm, "")
  .replaceAll(/\\\n/g, "")
  .split("\n")
  .filter((line) => line.trim())
  .map((line) => /^(\w+) +(.*)$/.exec(line.trim()).slice(1));
const stages = image.flatMap(([name], line) => (name === "FROM" ? [line] : []));

/** The sources of a COPY in the repository. */
const sources = ([name, rest]) =>
  name === "COPY" && !rest.startsWith("--from") ? rest.split(/ +/).slice(0, -1) : [];

function assertSettings(names, where) {
  assert.ok(settings.size > 30, "the README has a table");
  for (const name of names) assert.ok(settings.has(name), `${where}: ${name} is no setting`);
}

test("Kubernetes: kustomize takes every manifest, and all of them mean the same pods", () => {
  const { file: _, ...others } = manifests.Kustomization;
  const files = Object.values(manifests).map(({ file }) => file);
  assert.deepEqual([...others.resources, "kustomization.yaml"].sort(), files.sort());
  const { labels } = pod.metadata;
  const [spread] = pod.spec.topologySpreadConstraints;
  const selectors = [
    Deployment.spec.selector.matchLabels,
    Service.spec.selector,
    PodDisruptionBudget.spec.selector.matchLabels,
    spread.labelSelector.matchLabels,
  ];
  for (const selector of selectors) assert.deepEqual(selector, labels);
  const { kind, name } = HorizontalPodAutoscaler.spec.scaleTargetRef;
  assert.deepEqual([kind, name], ["Deployment", Deployment.metadata.name]);
});

test("Kubernetes: the probes ask what answers", () => {
  const { livenessProbe, readinessProbe, ports } = container;
  assert.equal(livenessProbe.httpGet.path, "/healthz");
  assert.equal(readinessProbe.httpGet.path, "/readyz");
  const routes = read("src/http/health.rs");
  const [{ name, containerPort }] = ports;
  for (const { httpGet } of [livenessProbe, readinessProbe]) {
    assert.ok(routes.includes(`path = "${httpGet.path}"`), httpGet.path);
    assert.equal(httpGet.port, name);
  }
  assert.equal(Service.spec.ports[0].targetPort, name);
  assert.equal(environment.get("LISTEN_ADDR"), `0.0.0.0:${containerPort}`);
  assert.equal(pod.metadata.annotations["prometheus.io/port"], String(containerPort));
});

test("Kubernetes: a node has time to drain", () => {
  // Not a command: the image has none but linkroom.
  const preStop = container.lifecycle.preStop.sleep.seconds;
  const drain = seconds(environment.get("DRAIN_TIMEOUT") ?? settings.get("DRAIN_TIMEOUT"));
  assert.ok(pod.spec.terminationGracePeriodSeconds > preStop + drain);
});

test("Kubernetes: what is set are settings, and the image is this version", () => {
  const needed = [...read("deploy/kubernetes/kustomization.yaml").matchAll(/literal=(\w+)=/g)];
  assert.deepEqual(needed.map(([, name]) => name), ["REDIS_URL"]);
  assertSettings([...environment.keys(), "REDIS_URL"], "deployment.yaml");
  const [, version] = /^version = "(.*)"$/m.exec(read("Cargo.toml"));
  assert.equal(container.image, `linkroom:${version}`);
});

test("Kubernetes: nobody trusts a whole private range", () => {
  for (const network of environment.get("TRUSTED_PROXIES").split(",")) {
    assert.ok(Number(network.split("/")[1] ?? 32) >= 16, network);
  }
});

test("Kubernetes: the autoscaler asks for a metric that there is", () => {
  const [{ pods }] = HorizontalPodAutoscaler.spec.metrics;
  assert.match(read("docs/operations.md"), new RegExp(`^\\| \`${pods.metric.name}\` \\|`, "m"));
});

test("systemd: what is set are settings, and a node has time to drain", () => {
  const set = new Map(unit.filter(([key]) => key === "Environment").map(([, value]) => value.split("=")));
  assertSettings(set.keys(), "linkroom.service");
  const [, limit] = unit.find(([key]) => key === "TimeoutStopSec");
  assert.ok(seconds(limit) > seconds(set.get("DRAIN_TIMEOUT") ?? settings.get("DRAIN_TIMEOUT")));
  const [, kill] = unit.find(([key]) => key === "KillMode");
  assert.equal(kill, "mixed", "its redis-server is needed until the drain is over");
});

test("the image: built in one stage, run in another without a shell, by nobody who may do anything", () => {
  assert.equal(stages.length, 2);
  assert.deepEqual(image[stages[1]], ["FROM", "scratch"]);
  const run = image.slice(stages[1]);
  const [, user] = run.findLast(([name]) => name === "USER");
  assert.match(user, /^[1-9]\d*$/, "a number, so that Kubernetes sees that it is not root");
  const entry = run.find(([name]) => name === "ENTRYPOINT")[1];
  assert.deepEqual(JSON.parse(entry), ["linkroom"], "no shell that keeps SIGTERM to itself");
  const set = run.filter(([name]) => name === "ENV").map(([, rest]) => rest.split("=")[0]);
  assertSettings(set.filter((name) => name !== "PATH"), "Dockerfile");
  const check = run.find(([name]) => name === "HEALTHCHECK")[1];
  assert.match(check, / CMD \["linkroom", "health"\]$/);
});

test("the image: dependencies are built before the source is there", () => {
  const first = (what) => image.findIndex((line) => sources(line).includes(what));
  const build = image.findIndex(([name, rest]) => name === "RUN" && rest.includes("cargo build"));
  for (const what of ["Cargo.toml", "Cargo.lock"]) {
    assert.ok(first(what) >= 0 && first(what) < build, what);
  }
  assert.ok(first("src") > build);
});

test("the image: everything that is copied is there, and not kept out", () => {
  const rules = read(".dockerignore").split("\n").filter((line) => line && !line.startsWith("#"));
  assert.equal(rules[0], "*", "nothing but what is named");
  const copied = image.flatMap(sources);
  assert.deepEqual(copied.map((source) => `!${source}`).sort(), rules.slice(1).sort());
  for (const source of copied) assert.ok(existsSync(new URL(source, root)), source);
});
