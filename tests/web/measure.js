// Measures what the client promises: the weight of a first load and of the way into a room, when a page
// is usable on a slow network, what a message costs with 5,000 messages on the page, and what a room of thousands
// does. Starts a private Redis and linkroom: `make measure`.
//
//   LINKROOM=path/to/linkroom CHROMIUM=path/to/chromium node measure.js

import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { chromium } from 'playwright-core';

const LINKROOM = process.env.LINKROOM ?? new URL('../../target/release/linkroom', import.meta.url).pathname;
const CHROMIUM = process.env.CHROMIUM ?? '/usr/bin/chromium';
const FLAGS = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'];

const MESSAGES = 5000;
const ARRIVING = 100; // messages that are measured
const MEMBERS = 2000; // of a large room
const RATE = 50; // messages a second in it
const TALK = 15; // s
const HEAVIEST = 6; // files that are named
const INSIDE = '/healthz'; // what is asked for when the room can be used
const RUNS = 5; // of each page load; the middle one counts
const LIMITS = { firstLoadBytes: 60_000, wayInBytes: 90_000, usableMs: 1000, messageMs: 4, frameMs: 50, letterMs: 8 };
/** 'Fast 3G' as WebPageTest has it: 1.6 Mbit/s down, 768 kbit/s up, 150 ms. */
const FAST_3G = { offline: false, latency: 150, downloadThroughput: 1.6e6 / 8, uploadThroughput: 768e3 / 8 };

if (!existsSync(LINKROOM)) throw new Error(`${LINKROOM} is missing; make it with: make build`);
const dir = mkdtempSync(join(tmpdir(), 'linkroom-measure-'));
const children = [];
const failures = [];
let redisPort = 0;

function report(what, value, limit, unit) {
  const text = `${what}: ${Math.round(value * 100) / 100} ${unit}${limit ? ` (limit ${limit})` : ''}`;
  console.log(text);
  if (limit && value > limit) failures.push(text);
}

async function freePort() {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  server.close();
  return port;
}

async function startServer() {
  const redis = await freePort();
  redisPort = redis;
  children.push(spawn('redis-server', ['--port', redis, '--bind', '127.0.0.1', '--save', '', '--dir', dir], { stdio: 'ignore' }));
  const env = {
    ...process.env, REDIS_URL: `redis://127.0.0.1:${redis}`, LISTEN_ADDR: '127.0.0.1:0', DATA_DIR: dir,
    HISTORY_MAX: '8000', MESSAGES_PER_SECOND: '10000', REQUESTS_PER_SECOND: '10000', LOG_LEVEL: 'error',
  };
  const linkroom = spawn(LINKROOM, { env, stdio: ['ignore', 'pipe', 'inherit'] });
  children.push(linkroom);
  const [line] = await once(linkroom.stdout, 'data');
  const base = /http:\S+/.exec(line)[0];
  while (!(await fetch(`${base}/readyz`)).ok) await sleep(50);
  return base;
}

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const middle = (numbers) => numbers.sort((a, b) => a - b)[Math.floor(numbers.length / 2)];

async function post(url, body, token) {
  const headers = { 'content-type': 'application/json', ...(token && { authorization: `Bearer ${token}` }) };
  const answer = await (await fetch(url, { method: 'POST', headers, body: JSON.stringify(body) })).json();
  if (!answer.success) throw new Error(JSON.stringify(answer.error));
  return answer.data;
}

/** A page in its own browser profile; `network` throttles it. */
async function newPage(browser, network) {
  const context = await browser.newContext({ locale: 'en-US', viewport: { width: 1200, height: 800 } });
  const page = await context.newPage();
  const devtools = await context.newCDPSession(page);
  await devtools.send('Network.enable');
  if (network) await devtools.send('Network.emulateNetworkConditions', network);
  return { context, page, devtools };
}

/** A proxy to the server that counts the bytes of the answers. */
async function countingProxy(base) {
  const counter = { bytes: 0, inside: 0, base: '' };
  const proxy = createServer((down) => {
    const up = connect(new URL(base).port, '127.0.0.1');
    down.on('data', (sent) => {
      if (sent.includes(`GET ${INSIDE}`)) counter.inside = counter.bytes;
    });
    up.on('data', ({ length }) => (counter.bytes += length));
    down.pipe(up).pipe(down);
    for (const [one, other] of [[up, down], [down, up]]) one.on('error', () => other.destroy());
  }).listen(0, '127.0.0.1');
  await once(proxy, 'listening');
  proxy.unref();
  counter.base = `http://127.0.0.1:${proxy.address().port}`;
  return counter;
}

/** Bytes over the wire until nothing more arrives: the page, and what its service worker stores for later. */
async function weight(browser, base, path) {
  const counter = await countingProxy(base);
  const { context, page } = await newPage(browser);
  await page.goto(counter.base + path);
  await page.evaluate(() => navigator.serviceWorker.ready.then(() => {}));
  await page.waitForLoadState('networkidle');
  await context.close();
  return counter.bytes;
}

/** In the page: tells the proxy that the room is usable, before anything else begins. */
function noteInside(path) {
  new MutationObserver((_, observer) => {
    if (!document.querySelector('[data-testid="room"][data-me]')) return;
    observer.disconnect();
    const word = new XMLHttpRequest();
    word.open('GET', path, false);
    word.send();
  }).observe(document, { childList: true, subtree: true, attributes: true });
}

/** The same for a person who creates a room on the landing page: until they are in it, and until nothing more arrives. */
async function weightOfWayIn(browser, base) {
  const counter = await countingProxy(base);
  const { context, page } = await newPage(browser);
  const files = new Set();
  page.on('request', (request) => files.add(new URL(request.url()).pathname));
  await page.addInitScript(noteInside, INSIDE);
  await page.goto(counter.base);
  await page.locator('[data-testid="name"]').fill('Ben');
  await page.keyboard.press('Enter');
  await page.locator('[data-testid="room"][data-complete]').waitFor();
  await page.evaluate(() => navigator.serviceWorker.ready.then(() => {}));
  await page.waitForLoadState('networkidle');
  await context.close();
  return { inside: counter.inside, all: counter.bytes, files: [...files].filter((file) => file.startsWith('/static/')) };
}

/** The largest files on the wire, without their headers. */
async function heaviest(base, files) {
  const weigh = async (file) => {
    const { headers } = await fetch(base + file, { method: 'HEAD', headers: { 'accept-encoding': 'gzip' } });
    return { file, bytes: Number(headers.get('content-length')) };
  };
  const weighed = await Promise.all(files.map(weigh));
  return weighed.sort((a, b) => b.bytes - a.bytes).slice(0, HEAVIEST);
}

/** In the page: records when the frame is due that shows the element with this test id. */
function noteUsable(testid) {
  new MutationObserver((_, observer) => {
    if (!document.querySelector(`[data-testid="${testid}"]`)) return;
    observer.disconnect();
    requestAnimationFrame(() => setTimeout(() => (window.usable = performance.now())));
  }).observe(document, { childList: true, subtree: true });
}

/** Time from the start of the navigation until `testid` is usable, by the page's own clock. */
async function usableAfter(browser, url, testid, network) {
  const { context, page } = await newPage(browser, network);
  await page.addInitScript(noteUsable, testid);
  await page.goto(url, { waitUntil: 'commit' });
  const usable = await (await page.waitForFunction(() => window.usable)).jsonValue();
  await context.close();
  return usable;
}

async function measureLoads(browser, base) {
  const { roomId } = await post(`${base}/api/rooms`, { creatorName: 'Ann' });
  for (const [name, path, testid] of [['landing page', '/', 'name'], ['link to a room', `/r/${roomId}`, 'nickname']]) {
    const usable = [];
    for (let run = 0; run < RUNS; run++) usable.push(await usableAfter(browser, base + path, testid, FAST_3G));
    report(`${name}, first load with all that is kept for later`, await weight(browser, base, path), LIMITS.firstLoadBytes, 'bytes');
    report(`${name}, usable on Fast 3G`, middle(usable), LIMITS.usableMs, 'ms');
  }
  const { inside, all, files } = await weightOfWayIn(browser, base);
  report('from the landing page into a room', inside, LIMITS.wayInBytes, 'bytes');
  report('from the landing page into a room, with all that is kept for later', all, undefined, 'bytes');
  for (const { file, bytes } of await heaviest(base, files)) console.log(`  ${file}: ${bytes} bytes`);
}

/** Scrolls up until the whole history is loaded. */
async function loadHistory(page) {
  const older = page.locator('[data-testid="older"]');
  while ((await older.getAttribute('data-state')) !== 'end') {
    await page.evaluate(() => (document.querySelector('[data-testid="log"]').scrollTop = 0));
    await sleep(50);
  }
}

/** Longest gap between two frames while the log is scrolled, in ms. */
function longestFrame() {
  return new Promise((resolve) => {
    const log = document.querySelector('[data-testid="log"]');
    log.scrollTop = log.scrollHeight;
    const gaps = [];
    let last = performance.now();
    const step = (now) => {
      gaps.push(now - last);
      last = now;
      log.scrollTop -= 120;
      if (gaps.length < 300) requestAnimationFrame(step);
      else resolve(gaps.slice(2).sort((a, b) => a - b));
    };
    requestAnimationFrame(step);
  });
}

/** Time of the thread itself, in ms: what other programs take from it does not count. */
async function mainThread(devtools) {
  await devtools.send('Performance.enable', { timeDomain: 'threadTicks' });
  return async () => {
    const { metrics } = await devtools.send('Performance.getMetrics');
    return metrics.find(({ name }) => name === 'TaskDuration').value * 1000;
  };
}

/** The room that `linkroom bench` fills: it says nothing of its name, and Redis has no other with as many members. */
async function crowdedRoom() {
  for (;;) {
    const script = "for _,k in ipairs(redis.call('KEYS','room:*:members')) do if redis.call('SCARD',k)>=tonumber(ARGV[1]) then return k end end";
    const key = execFileSync('redis-cli', ['-p', redisPort, 'EVAL', script, '0', String(MEMBERS)]).toString().trim();
    if (key) return key.split(':')[1];
    await sleep(200);
  }
}

/** Thousands of people, and as many messages as anybody can follow: reading them, writing among them, looking somebody up. */
async function measureCrowd(browser, base) {
  const bench = spawn(LINKROOM, ['bench', '--url', base, '--rooms', '1', '--connections', String(MEMBERS), '--rate', String(RATE), '--seconds', String(6 * TALK)], { stdio: 'ignore' });
  children.push(bench);
  const roomId = await crowdedRoom();
  const { page, devtools } = await newPage(browser);
  await page.goto(`${base}/r/${roomId}`);
  await page.locator('[data-testid="nickname"]').fill('Ben');
  await page.keyboard.press('Enter');
  await page.locator('[data-testid="room"][data-complete]').waitFor();
  const count = () => page.locator('[data-testid="message"]').count();
  const busy = await mainThread(devtools);
  const [from, before] = [await busy(), await count()];
  await sleep(TALK * 1000);
  report(`in a room of ${MEMBERS} at ${RATE} messages/s, a message, main thread`, ((await busy()) - from) / ((await count()) - before), LIMITS.messageMs, 'ms');

  const letters = 40;
  const input = page.locator('[data-testid="composer"]');
  await input.focus();
  const paint = () => page.evaluate(() => new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve))));
  const words = 'words of a long draft '.repeat(60);
  await input.fill(words);
  const keys = [];
  for (let n = 0; n < letters; n++) {
    const start = await busy();
    await page.keyboard.press('a');
    await paint();
    keys.push((await busy()) - start);
  }
  report('there, a letter in a long draft, with what comes meanwhile, main thread', middle(keys), LIMITS.letterMs, 'ms');

  const gaps = await page.evaluate(longestFrame);
  report('there, scrolling, 99 of 100 frames', gaps[Math.floor(gaps.length * 0.99)], LIMITS.frameMs, 'ms');
  const start = Date.now();
  await page.locator('[data-testid="people-search"]').fill('7');
  await page.waitForFunction(() => /found/.test(document.querySelector('[data-testid="people-words"]').innerText));
  report('there, everybody looked through for a part of a name', Date.now() - start, undefined, 'ms');
  bench.kill();
}

async function measureRoom(browser, base) {
  const { roomId, token } = await post(`${base}/api/rooms`, { creatorName: 'Ann' });
  const say = (n) => post(`${base}/api/rooms/${roomId}/messages`, { text: `message ${n}, with some words in it` }, token);
  for (let n = 0; n < MESSAGES; n += 50) await Promise.all(Array.from({ length: 50 }, (_, i) => say(n + i)));

  const { page, devtools } = await newPage(browser);
  await page.goto(`${base}/r/${roomId}`);
  await page.locator('[data-testid="nickname"]').fill('Ben');
  await page.keyboard.press('Enter');
  await page.locator('[data-testid="message"]').first().waitFor();
  await loadHistory(page);
  const count = await page.locator('[data-testid="message"]').count();
  if (count < MESSAGES) throw new Error(`only ${count} messages on the page`);

  const gaps = await page.evaluate(longestFrame);
  report('scrolling, typical frame', gaps[Math.floor(gaps.length / 2)], undefined, 'ms');
  report('scrolling, 99 of 100 frames', gaps[Math.floor(gaps.length * 0.99)], LIMITS.frameMs, 'ms');

  await page.evaluate(() => (document.querySelector('[data-testid="log"]').scrollTop = 1e9));
  await sleep(1000);
  const busy = await mainThread(devtools);
  const idleFrom = await busy();
  await sleep(ARRIVING * 40);
  const idle = (await busy()) - idleFrom;
  const from = await busy();
  for (let n = 0; n < ARRIVING; n++) {
    await say(`new ${n}`);
    await sleep(40);
  }
  report('a message arrives, main thread', ((await busy()) - from - idle) / ARRIVING, LIMITS.messageMs, 'ms');
}

try {
  const base = await startServer();
  const browser = await chromium.launch({ executablePath: CHROMIUM, args: FLAGS });
  await measureLoads(browser, base);
  await measureRoom(browser, base);
  await measureCrowd(browser, base);
  await browser.close();
} finally {
  for (const child of children.reverse()) child.kill();
  rmSync(dir, { recursive: true, force: true, maxRetries: 5 });
}
for (const failure of failures) console.error(`over the limit: ${failure}`);
process.exit(failures.length > 0 ? 1 : 0);
