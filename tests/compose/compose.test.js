// docker-compose.yml against the Compose schema, and checks that a schema cannot express.

import assert from "node:assert/strict";
import { BlockList } from "node:net";
import { test } from "node:test";

import Ajv from "ajv";
import addFormats from "ajv-formats";
import { parse } from "yaml";

import { read, seconds, settings } from "./files.js";

const compose = parse(read("docker-compose.yml"), { merge: true });
const nodes = ["node-a", "node-b", "cluster-node"].map((name) => compose.services[name]);
const holds = (network, address) => {
  const [first, prefix] = network.split("/");
  const list = new BlockList();
  list.addSubnet(first, Number(prefix));
  return list.check(address);
};

test("it follows the schema", () => {
  // ajv knows this draft only under its http: name, and it is the default.
  const { $schema: _, ...schema } = JSON.parse(read("tests/compose/compose-spec.json"));
  const ajv = addFormats(new Ajv({ strict: false, allErrors: true }));
  const follows = ajv.compile(schema);
  assert.ok(follows(compose), ajv.errorsText(follows.errors, { separator: "\n" }));
  assert.ok(!follows({ services: { redis: { imago: "redis" } } }), "the schema finds mistakes");
});

test("only this machine reaches it", () => {
  for (const [name, { ports = [] }] of Object.entries(compose.services)) {
    for (const port of ports) assert.match(port, /^127\.0\.0\.1:\d+:\d+$/, name);
  }
});

test("every service has a health check, and waits for healthy ones", () => {
  // What runs once has no health, but an end.
  const once = (name) => compose.services[name].restart === "no";
  for (const [name, { healthcheck, depends_on = {} }] of Object.entries(compose.services)) {
    assert.ok(healthcheck?.test || once(name), name);
    for (const [other, { condition }] of Object.entries(depends_on)) {
      const wanted = once(other) ? "service_completed_successfully" : "service_healthy";
      assert.equal(condition, wanted, `${name} on ${other}`);
    }
  }
});

test("what is set are settings, and a node has time to drain", () => {
  for (const { environment, stop_grace_period, healthcheck } of nodes) {
    assert.deepEqual(healthcheck.test, ["CMD", "linkroom", "health"], "the image has no curl");
    for (const name of Object.keys(environment)) assert.ok(settings.has(name), name);
    assert.ok(seconds(stop_grace_period) > seconds(environment.DRAIN_TIMEOUT));
  }
});

test("the nodes trust the balancer alone, at an address that nobody else is given", () => {
  for (const [balancer, network] of [["balancer", "default"], ["cluster", "shards"]]) {
    const { networks, depends_on } = compose.services[balancer];
    const { subnet, ip_range } = compose.networks[network].ipam.config[0];
    const { ipv4_address } = networks[network];
    assert.ok(holds(subnet, ipv4_address) && !holds(ip_range, ipv4_address));
    for (const node of Object.keys(depends_on)) {
      assert.equal(compose.services[node].environment.TRUSTED_PROXIES, ipv4_address, node);
    }
  }
});

test("Redis keeps what it was told", () => {
  const { command, volumes } = compose.services.redis;
  assert.equal(command[command.indexOf("--appendonly") + 1], "yes");
  assert.deepEqual(volumes, ["redis-data:/data"]);
});

test("the balancer knows every node, and the volume is declared", () => {
  const nginx = read("deploy/nginx.conf");
  const balanced = [...nginx.matchAll(/^ +server ([a-z-]+):8080 /gm)].map(([, name]) => name);
  assert.deepEqual(balanced, Object.keys(compose.services.balancer.depends_on));
  assert.deepEqual(balanced, compose.services["cluster-node"].networks.shards.aliases);
  assert.deepEqual(Object.keys(compose.volumes), ["redis-data", "prometheus-data"]);
});

test("the cluster is three primaries with a replica each, three nodes, and nothing of the single Redis", () => {
  const { services } = compose;
  const clustered = Object.entries(services).filter(([, { profiles }]) => profiles?.includes("cluster"));
  assert.deepEqual(clustered.map(([name]) => name), ["shard", "cluster-setup", "cluster-node", "cluster"]);
  for (const [name, { networks, depends_on = {} }] of clustered) {
    assert.deepEqual(Array.isArray(networks) ? networks : Object.keys(networks), ["shards"], name);
    for (const other of Object.keys(depends_on)) assert.deepEqual(services[other].profiles, ["cluster"]);
  }
  assert.deepEqual([services.shard.deploy.replicas, services["cluster-node"].deploy.replicas], [6, 3]);
  assert.match(services["cluster-node"].environment.REDIS_URL, /^redis-cluster:\/\/shard:/);
});

test("Prometheus scrapes every node, Grafana asks Prometheus, and both only when they are wanted", () => {
  const { prometheus, grafana } = compose.services;
  assert.deepEqual([prometheus.profiles, grafana.profiles], [["watch"], ["watch"]]);
  const config = parse(read("deploy/prometheus/prometheus.yml"));
  const targets = config.scrape_configs.flatMap((job) => job.static_configs[0].targets);
  assert.deepEqual(targets, ["node-a:8080", "node-b:8080"]);
  const sources = parse(read("deploy/grafana/provisioning/datasources/prometheus.yml"));
  const [{ uid, url }] = sources.datasources;
  assert.equal(url, "http://prometheus:9090");
  const dashboard = JSON.parse(read("deploy/grafana/dashboards/linkroom.json"));
  for (const { title, datasource } of dashboard.panels.filter(({ type }) => type !== "row")) {
    assert.equal(datasource.uid, uid, title);
  }
});
