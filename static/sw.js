// @ts-check
// Opens the client without a network, and does not get in the way when there is one. Copies of the
// client are stored by version, each complete or not at all; a page and all its files have the same
// version.

const SHELL = '/';
const COPY = 'client '; // and a version: the caches that each hold one
const ROOMS = 'rooms'; // the cache of the links of rooms that this browser is notified of
const PAGES = 'pages'; // the cache that says which version a page is: workers forget, pages stay open
const OURS = /^(?:W\/)?"(linkroom-[^"]+)"$/; // the ETag of one of our files, which is the version of all,
const AT_ROOMS = /^[^a-z0-9]*r(?:$|[^a-z0-9_-]*[/\\%])/i; // the path of a room, however an app wrote that
const FORM = /\.[0-9a-f]{32}|[-;](?:gzip|br|zstd|deflate)/g; // but for what says how this answer was made
const STORAGE = 5_000; // ms for a look into storage
const RENEWAL = 60_000; // ms for all files of a version
const ANSWER = 500; // ms in which a page answers whether it is in a room
const PATIENCE = 3_000; // ms for the network, if there is a copy
/** @type {Record<string, string>} */
const TYPES = { js: 'text/javascript', css: 'text/css', svg: 'image/svg', webmanifest: 'application/manifest', [SHELL]: 'text/html' };

/** Of what was said while no page could say it. */
const WORDS = /^ko\b/i.test(navigator.language)
  ? { said: '새 메시지', more: '그 밖에 {n}개' }
  : { said: 'New message', more: 'and {n} more' };

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
  '/static/js/pages/landing.js',
  '/static/js/parts.js',
  '/static/js/pages/room.js',
];

/** The files of the room, which are stored once somebody has been in one. */
const ROOM = [
  '/static/js/crypto.js',
  '/static/js/heartbeat.js',
  '/static/js/linkify.js',
  '/static/js/markup.js',
  '/static/js/moderation_api.js',
  '/static/js/outbox.js',
  '/static/js/pages/entry.js',
  '/static/js/pages/key.js',
  '/static/js/pages/refused.js',
  '/static/js/protocol.js',
  '/static/js/reader.js',
  '/static/js/room/actions.js',
  '/static/js/room/attention.js',
  '/static/js/room/badge.js',
  '/static/js/room/joins.js',
  '/static/js/room/composer.js',
  '/static/js/room/crowd.js',
  '/static/js/room/dialog.js',
  '/static/js/room/draft.js',
  '/static/js/room/extras.js',
  '/static/js/room/gestures.js',
  '/static/js/room/header.js',
  '/static/js/room/invite.js',
  '/static/js/room/keyboard.js',
  '/static/js/room/log.js',
  '/static/js/room/marks.js',
  '/static/js/room/members.js',
  '/static/js/room/mention.js',
  '/static/js/room/menu.js',
  '/static/js/room/message.js',
  '/static/js/room/message_menu.js',
  '/static/js/room/notify.js',
  '/static/js/room/moderation.js',
  '/static/js/room/moderation/all.js',
  '/static/js/room/moderation/carry_out.js',
  '/static/js/room/moderation/confirm.js',
  '/static/js/room/moderation/creator_link.js',
  '/static/js/room/moderation/deletion.js',
  '/static/js/room/moderation/member_menu.js',
  '/static/js/room/moderation/room_items.js',
  '/static/js/room/moderation/room_settings.js',
  '/static/js/room/moderation/words.js',
  '/static/js/room/overlay.js',
  '/static/js/room/print.js',
  '/static/js/room/place.js',
  '/static/js/room/push.js',
  '/static/js/room/push/toggle.js',
  '/static/js/room/push/words.js',
  '/static/js/room/qr.js',
  '/static/js/room/quotes.js',
  '/static/js/room/room_menu.js',
  '/static/js/room/settings.js',
  '/static/js/room/share.js',
  '/static/js/room/shorten.js',
  '/static/js/room/sound.js',
  '/static/js/room/status.js',
  '/static/js/room/styles.js',
  '/static/js/room/text.js',
  '/static/js/room/typing.js',
  '/static/js/room/view.js',
  '/static/js/room/words.js',
  '/static/js/sender.js',
  '/static/js/session.js',
  '/static/js/socket.js',
  '/static/js/store.js',
  '/static/js/ticker.js',
  '/static/js/timeline.js',
  '/static/js/visible.js',
  '/static/menus.css',
];

const FILES = [...FIRST, ...ROOM];

const worker = /** @type {ServiceWorkerGlobalScope} */ (/** @type {unknown} */ (self));

/**
 * Storage that fails, or does not answer, counts as empty.
 * @template T, U
 * @param {() => Promise<T>} task
 * @param {U} otherwise
 * @returns {Promise<T | U>}
 */
async function attempt(task, otherwise) {
  try {
    return await Promise.race([task(), after(STORAGE, otherwise)]);
  } catch {
    return otherwise;
  }
}

/** @template T @param {number} ms @param {T} value @returns {Promise<T>} */
const after = (ms, value) => new Promise((resolve) => setTimeout(() => resolve(value), ms));

// Versions

/**
 * The client's version of an answer. Null if the answer is from something else: a maintenance page, a network
 * that wants a login first.
 * @param {Response | null | undefined} answer
 * @param {string} file
 */
function versionOf(answer, file) {
  if (answer?.status !== 200 || answer.redirected) return null;
  const type = answer.headers.get('content-type') ?? '';
  if (!type.startsWith(TYPES[file.slice(file.lastIndexOf('.') + 1)])) return null;
  return OURS.exec(answer.headers.get('etag') ?? '')?.[1].replace(FORM, '') ?? null;
}

class Mixed extends Error {}

/**
 * Fetches the files of a version and stores all of them, or none. The page is stored last: without it there is no copy.
 * @param {string} version
 * @param {string[]} files
 * @param {RequestCache} mode
 * @param {AbortSignal} [signal]
 */
async function keep(version, files, mode, signal) {
  const answers = await Promise.all(files.map(async (file) => {
    const answer = await fetch(new Request(file, { cache: mode, signal }));
    const its = versionOf(answer, file);
    if (its !== version) throw its ? new Mixed(file) : new Error(file);
    return /** @type {const} */ ([file, answer]);
  }));
  const cache = await caches.open(COPY + version);
  for (const [file, answer] of answers.reverse()) await cache.put(file, answer);
}

/** @param {string} version @param {string} file */
const copied = (version, file) => attempt(() => caches.match(file, { cacheName: COPY + version, ignoreVary: true }), undefined);

/** @param {string} version @param {string[]} files */
async function has(version, files) {
  const there = new Set((await (await caches.open(COPY + version)).keys()).map(({ url }) => new URL(url).pathname));
  return files.every((file) => there.has(file));
}

/** The stored versions, newest first. */
async function versions() {
  const names = await caches.keys();
  return names.filter((name) => name.startsWith(COPY)).map((name) => name.slice(COPY.length)).reverse();
}

/** The version that is used without a network. @returns {Promise<string | null>} */
async function latest() {
  for (const version of await versions()) if (await copied(version, SHELL)) return version;
  return null;
}

/** The renewal in progress. @type {{version: string, stop: AbortController, done: Promise<void>} | null} */
let renewal = null;

/** Makes this version the stored one. A renewal to an earlier version is cancelled. @param {string} version */
function renew(version) {
  if (renewal?.version === version) return renewal.done;
  renewal?.stop.abort();
  const stop = new AbortController();
  setTimeout(() => stop.abort(), RENEWAL);
  const mine = { version, stop, done: replace(version, stop.signal) };
  renewal = mine;
  mine.done.catch(() => {}).then(() => {
    if (renewal === mine) renewal = null;
  });
  return mine.done;
}

/** Includes the room's files if they were stored before. @param {string} version @param {AbortSignal} signal */
async function replace(version, signal) {
  const rooms = await Promise.all((await versions()).map((one) => copied(one, ROOM[0])));
  const files = rooms.some(Boolean) ? FILES : FIRST;
  if (!(await has(version, files))) await keep(version, files, 'no-cache', signal);
  await tidy(version);
}

/** Deletes the copies that no open page uses. @param {string | null} version the version that is used without a network */
async function tidy(version) {
  const open = new Set((await worker.clients.matchAll({ includeUncontrolled: true })).map(({ id }) => id));
  const used = new Set([COPY + version, COPY + renewal?.version, PAGES, ROOMS]);
  const pages = await caches.open(PAGES);
  for (const request of await pages.keys()) {
    const id = new URL(request.url).pathname.slice(1);
    if (open.has(id) || starting.has(id)) used.add(COPY + (await (await pages.match(request))?.text()));
    else await pages.delete(request);
  }
  for (const name of await caches.keys()) if (!used.has(name)) await caches.delete(name);
}

// Pages

/** Pages that are about to open, by client id, with their versions: they are not among the open clients yet. @type {Map<string, string>} */
const starting = new Map();

/** @param {string} id @param {string} version */
async function begin(id, version) {
  starting.set(id, version);
  await attempt(async () => (await caches.open(PAGES)).put(`/${id}`, new Response(version)), undefined);
}

/** @param {string} id @returns {Promise<string | undefined>} undefined for a page that was loaded without a worker */
async function versionOfPage(id) {
  const version = starting.get(id);
  if (version && starting.delete(id)) attempt(async () => tidy(await latest()), undefined); // the previous page is gone now
  return version ?? attempt(async () => (await caches.match(`/${id}`, { cacheName: PAGES }))?.text(), undefined);
}

/**
 * Stores what the network has now: `whole` if all files had its version, `mixed` if some had another one.
 * @param {Response | null} fresh
 */
async function arrival(fresh) {
  const version = versionOf(fresh, SHELL);
  if (!version) return 'none';
  return renew(version).then(() => 'whole', (error) => (error instanceof Mixed ? 'mixed' : 'failed'));
}

/** @param {FetchEvent} event */
async function answerPage(event) {
  const coming = fetch(event.request).catch(() => null);
  const arrived = coming.then(arrival);
  event.waitUntil(arrived);
  const copy = await attempt(latest, null);
  const fresh = await (copy ? Promise.race([coming, after(PATIENCE, null)]) : coming);
  const version = versionOf(fresh, SHELL);
  // A proxy without a live node behind it is the same as no network.
  const isAnswer = fresh !== null && fresh.status < 500;
  const isNews = copy && version && version !== copy;
  const state = isNews ? await Promise.race([arrived, after(PATIENCE, 'slow')]) : '';
  if (copy && (!isAnswer || state === 'mixed' || state === 'slow')) {
    const page = await copied(copy, SHELL);
    await begin(event.resultingClientId, copy);
    if (page) return page;
  }
  if (version) await begin(event.resultingClientId, version);
  return fresh ?? (await coming) ?? Response.error();
}

/** A file of another version would break the page: an error makes the page reload. @param {FetchEvent} event @param {string} file */
async function answerFile(event, file) {
  const version = await versionOfPage(event.clientId);
  const copy = version && (await copied(version, file));
  if (copy) return copy;
  const fresh = await fetch(event.request).catch(() => null);
  const its = versionOf(fresh, file);
  if (version && its && its !== version) return Response.error();
  if (fresh && fresh.status < 500) return fresh;
  const last = version ? null : await attempt(latest, null);
  return (last && (await copied(last, file))) || fresh || Response.error();
}

/** The client's file that a request is for, if any. @param {Request} request */
function fileOf(request) {
  const { origin, pathname } = new URL(request.url);
  if (request.method !== 'GET' || origin !== location.origin) return null;
  if (request.mode === 'navigate') return pathname === SHELL || AT_ROOMS.test(pathname) ? SHELL : null;
  return FILES.includes(pathname) ? pathname : null;
}

/** If an app escaped the `#` of a link, its key would be sent to the server. @param {string} url */
function mended(url) {
  const { pathname } = new URL(url);
  const end = pathname.search(/%(?:25)*23/i);
  return end < 0 ? null : Response.redirect(pathname.slice(0, end) + pathname.slice(end).replace(/%(?:25)*23/i, '#'));
}

// Life cycle

/** On a first visit the page has just fetched most files, so they come from the HTTP cache. */
async function install() {
  const version = versionOf(await fetch(new Request(SHELL, { cache: 'no-cache' })), SHELL);
  if (!version) return;
  await keep(version, FIRST, 'force-cache').catch(() => {});
  await renew(version);
}

/** A page is in a room and has just fetched nearly all of the room's files, so they come from the HTTP cache. @param {string} id of its client */
async function keepRoom(id) {
  const version = (await versionOfPage(id)) ?? (await latest());
  if (!version || (await has(version, FILES))) return;
  await keep(version, FILES, 'force-cache').catch(() => keep(version, FILES, 'no-cache'));
}

worker.addEventListener('install', (event) => {
  worker.skipWaiting();
  event.waitUntil(install().catch(() => {}));
});

worker.addEventListener('activate', (event) => event.waitUntil(worker.clients.claim()));

worker.addEventListener('message', (event) => {
  const { source } = event;
  if (source instanceof Client) event.waitUntil(keepRoom(source.id).catch(() => {}));
});

worker.addEventListener('fetch', (event) => {
  const { request } = event;
  const file = fileOf(request);
  if (!file) return;
  const redirect = file === SHELL && mended(request.url);
  const answer = file === SHELL ? answerPage : answerFile;
  event.respondWith(redirect || answer(event, file).catch(() => fetch(request)));
});

worker.addEventListener('push', (event) => {
  if (event.data) event.waitUntil(notify(event.data.json()));
});

/**
 * Shows what was said while nobody looked, one notification a room. Where a tab notifies by itself, there is its own, and no
 * second one is heard; a browser wants one for every push.
 * @param {{roomId: string, from?: string, text?: string, more: number}} push
 */
async function notify({ roomId, from, text, more }) {
  const pages = await worker.clients.matchAll({ type: 'window' });
  const answers = await Promise.all(pages.map((client) => ask(client, roomId)));
  if (answers.some((answer) => answer?.looks)) return;
  const isTold = answers.some((answer) => answer?.notifies);
  const tag = `linkroom-${roomId}`;
  const [shown] = await worker.registration.getNotifications({ tag });
  const usual = { tag, icon: '/static/icon-192.png', renotify: !isTold, silent: isTold };
  if (isTold && shown) return worker.registration.showNotification(shown.title, { ...usual, body: shown.body, data: shown.data });
  const link = await attempt(async () => (await caches.match(`/${roomId}`, { cacheName: ROOMS }))?.text(), undefined);
  const body = [text ?? WORDS.said, ...(more > 0 ? [WORDS.more.replace('{n}', String(more))] : [])].join('\n');
  await worker.registration.showNotification(from ?? 'linkroom', {
    ...usual, body, data: { url: link ?? `${location.origin}/r/${roomId}`, roomId },
  });
}

worker.addEventListener('notificationclick', (event) => {
  event.notification.close();
  event.waitUntil(openRoom(event.notification.data));
});

/** Brings the tab that is in the room to the front, or opens a new one. @param {{url: string, roomId: string}} room */
async function openRoom({ url, roomId }) {
  const pages = await worker.clients.matchAll({ type: 'window' });
  const isIn = pages.map(async (client) => (await ask(client, roomId)) && client);
  const page = (await firstTrue(isIn)) ?? pages.find((client) => client.url === url);
  await (page ? page.focus() : worker.clients.openWindow(url));
}

/**
 * Pages know themselves which room they are in: their address as a worker sees it is where they began.
 * @param {Client} client
 * @param {string} roomId
 * @returns {Promise<{looks: boolean, notifies: boolean} | null>} where it is in the room, and says so in time, whether somebody
 *   looks at it there, and whether it notifies of messages by itself
 */
function ask(client, roomId) {
  const { port1, port2 } = new MessageChannel();
  const answer = new Promise((resolve) => (port1.onmessage = ({ data }) => resolve(data)));
  client.postMessage({ inRoom: roomId }, [port2]);
  return Promise.race([answer, after(ANSWER, null)]);
}

/** @template T @param {Promise<T | null>[]} promises @returns {Promise<T | null>} the first value that is not null */
function firstTrue(promises) {
  return new Promise((resolve) => {
    for (const promise of promises) promise.then((value) => value && resolve(value));
    Promise.all(promises).then(() => resolve(null));
  });
}
