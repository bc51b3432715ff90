// @ts-check
// Opens the client while there is no network. The network always comes first, so that nobody sees an
// old version after a deploy; the copy kept here is renewed as a whole, so that it never mixes two.

const CACHE = 'shell';
const SHELL = '/';

/** What a first page is made of. */
const FIRST = [
  SHELL,
  '/manifest.webmanifest',
  '/static/app.css',
  '/static/icon.svg',
  '/static/js/api.js',
  '/static/js/dom.js',
  '/static/js/i18n.js',
  '/static/js/identity.js',
  '/static/js/loader.js',
  '/static/js/main.js',
  '/static/js/names.js',
  '/static/js/pages/entry.js',
  '/static/js/pages/landing.js',
  '/static/js/pages/parts.js',
  '/static/js/pages/room.js',
];

/** The room, which is kept once somebody has been in one. */
const ROOM = [
  '/static/js/crypto.js',
  '/static/js/heartbeat.js',
  '/static/js/linkify.js',
  '/static/js/opening.js',
  '/static/js/markup.js',
  '/static/js/outbox.js',
  '/static/js/protocol.js',
  '/static/js/reader.js',
  '/static/js/room/actions.js',
  '/static/js/room/attention.js',
  '/static/js/room/composer.js',
  '/static/js/room/gestures.js',
  '/static/js/room/header.js',
  '/static/js/room/invite.js',
  '/static/js/room/log.js',
  '/static/js/room/members.js',
  '/static/js/room/menu.js',
  '/static/js/room/message.js',
  '/static/js/room/message_menu.js',
  '/static/js/room/place.js',
  '/static/js/room/qr.js',
  '/static/js/room/status.js',
  '/static/js/room/text.js',
  '/static/js/room/view.js',
  '/static/js/sender.js',
  '/static/js/session.js',
  '/static/js/socket.js',
  '/static/js/store.js',
  '/static/js/ticker.js',
  '/static/js/timeline.js',
];

const FILES = [...FIRST, ...ROOM];

const PATIENCE = 3_000; // ms for the network, where there is a copy

/** Pages that began with a copy and go on so: they neither wait again for each file nor mix two versions. */
const withoutNetwork = new Set();

const worker = /** @type {ServiceWorkerGlobalScope} */ (/** @type {unknown} */ (self));

/** Fetches these files and keeps them all, or, where one fails, none. @param {string[]} files @param {RequestCache} mode */
async function keep(files, mode) {
  const cache = await caches.open(CACHE);
  await cache.addAll(files.map((file) => new Request(file, { cache: mode })));
}

/** @param {string} file */
const kept = (file) => caches.match(file, { cacheName: CACHE });

const keepsRoom = async () => (await kept(ROOM[0])) !== undefined;

let work = Promise.resolve();

/** One after the other: what was just renewed need not be again. @param {() => Promise<void>} task */
function inTurn(task) {
  work = work.then(task).catch(() => {});
  return work;
}

/**
 * What tells versions of a file apart. Behind a full stop an ETag speaks of what only this room's page has.
 * @param {Response | undefined} answer
 */
const versionOf = (answer) => answer?.headers.get('etag')?.split('.')[0];

/**
 * Renews everything when one file turns out to be another version than the one that is kept.
 * @param {string} file
 * @param {Response} fresh
 */
async function renewIfOther(file, fresh) {
  const known = versionOf(await kept(file));
  if (fresh.ok && known && known !== versionOf(fresh)) await keep((await keepsRoom()) ? FILES : FIRST, 'no-cache');
}

/** On a first visit the page has just fetched most files: they need not travel again. */
async function install() {
  if (await keepsRoom()) await keep(FILES, 'no-cache');
  else await keep(FIRST, (await caches.has(CACHE)) ? 'no-cache' : 'force-cache');
}

/** Somebody is in a room, whose page has just fetched nearly all of it. */
async function keepRoom() {
  if (!(await keepsRoom())) await keep(FILES, 'force-cache');
}

/** The file of the shell that answers a request, if any. @param {Request} request */
function shellFile(request) {
  const { origin, pathname } = new URL(request.url);
  if (request.method !== 'GET' || origin !== location.origin) return null;
  if (request.mode === 'navigate') return pathname === '/' || pathname.startsWith('/r/') ? SHELL : null;
  return FILES.includes(pathname) ? pathname : null;
}

/** @param {number} ms @returns {Promise<null>} */
const nothingAfter = (ms) => new Promise((resolve) => setTimeout(() => resolve(null), ms));

/** @param {FetchEvent} event @param {string} file */
async function answer(event, file) {
  const coming = fetch(event.request).catch(() => null);
  event.waitUntil(coming.then((fresh) => fresh && inTurn(() => renewIfOther(file, fresh))));
  const copy = await kept(file);
  if (copy && file !== SHELL && withoutNetwork.has(event.clientId)) return copy;
  const fresh = await (copy ? Promise.race([coming, nothingAfter(PATIENCE)]) : coming);
  // A proxy whose nodes are all away is as good as no network.
  if (fresh && fresh.status < 500) return fresh;
  if (copy && file === SHELL) withoutNetwork.add(event.resultingClientId);
  return copy ?? fresh ?? Response.error();
}

worker.addEventListener('install', (event) => {
  worker.skipWaiting();
  event.waitUntil(install());
});

worker.addEventListener('activate', (event) => event.waitUntil(worker.clients.claim()));

worker.addEventListener('message', (event) => event.waitUntil(inTurn(keepRoom)));

worker.addEventListener('fetch', (event) => {
  const file = shellFile(event.request);
  if (file) event.respondWith(answer(event, file));
});

worker.addEventListener('notificationclick', (event) => {
  event.notification.close();
  event.waitUntil(openPage(event.notification.data.url));
});

/** @param {string} url */
async function openPage(url) {
  const pages = await worker.clients.matchAll({ type: 'window' });
  const page = pages.find((client) => client.url === url);
  await (page ? page.focus() : worker.clients.openWindow(url));
}
