// @ts-check
// Opens the client while there is no network. The network always comes first, so that nobody sees an
// old version after a deploy; the copy kept here is renewed as a whole, so that it never mixes two.

const CACHE = 'shell';
const SHELL = '/';
const FILES = [
  SHELL,
  '/manifest.webmanifest',
  '/static/app.css',
  '/static/icon.svg',
  '/static/js/api.js',
  '/static/js/crypto.js',
  '/static/js/dom.js',
  '/static/js/heartbeat.js',
  '/static/js/i18n.js',
  '/static/js/identity.js',
  '/static/js/linkify.js',
  '/static/js/main.js',
  '/static/js/names.js',
  '/static/js/outbox.js',
  '/static/js/pages/entry.js',
  '/static/js/pages/landing.js',
  '/static/js/pages/parts.js',
  '/static/js/pages/room.js',
  '/static/js/protocol.js',
  '/static/js/room/attention.js',
  '/static/js/room/composer.js',
  '/static/js/room/header.js',
  '/static/js/room/invite.js',
  '/static/js/room/log.js',
  '/static/js/room/members.js',
  '/static/js/room/message.js',
  '/static/js/room/qr.js',
  '/static/js/room/status.js',
  '/static/js/room/view.js',
  '/static/js/session.js',
  '/static/js/socket.js',
  '/static/js/store.js',
  '/static/js/timeline.js',
];

const worker = /** @type {ServiceWorkerGlobalScope} */ (/** @type {unknown} */ (self));

/** Fetches every file and keeps them all, or, where one fails, none. @param {RequestCache} mode */
async function keepAll(mode) {
  const cache = await caches.open(CACHE);
  await cache.addAll(FILES.map((file) => new Request(file, { cache: mode })));
}

/** @type {Promise<void> | undefined} */
let renewal;

/**
 * Renews everything when one file turns out to be another version than the one that is kept.
 * @param {string} file
 * @param {Response} fresh
 */
async function renewIfOther(file, fresh) {
  const kept = await caches.match(file, { cacheName: CACHE });
  if (!fresh.ok || kept?.headers.get('etag') === fresh.headers.get('etag')) return;
  renewal ??= keepAll('no-cache').catch(() => {}).finally(() => (renewal = undefined));
  await renewal;
}

/** On a first visit the page has just fetched most files: they need not travel again. */
async function install() {
  await keepAll((await caches.has(CACHE)) ? 'no-cache' : 'force-cache');
}

/** The file of the shell that answers a request, if any. @param {Request} request */
function shellFile(request) {
  const { origin, pathname } = new URL(request.url);
  if (request.method !== 'GET' || origin !== location.origin) return null;
  if (request.mode === 'navigate') return pathname === '/' || pathname.startsWith('/r/') ? SHELL : null;
  return FILES.includes(pathname) ? pathname : null;
}

/** @param {FetchEvent} event @param {string} file */
async function answer(event, file) {
  try {
    const fresh = await fetch(event.request);
    event.waitUntil(renewIfOther(file, fresh));
    return fresh;
  } catch (error) {
    const kept = await caches.match(file, { cacheName: CACHE });
    if (kept) return kept;
    throw error;
  }
}

worker.addEventListener('install', (event) => {
  worker.skipWaiting();
  event.waitUntil(install());
});

worker.addEventListener('activate', (event) => event.waitUntil(worker.clients.claim()));

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
