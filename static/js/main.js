// @ts-check
// Shows the page for an address. It waits for as little as possible: on a slow network the server's
// answer about the room loads in parallel with the page's files.

import { getRoom } from './api.js';
import { loadIdentity, saveCreator, saveTicket } from './identity.js';
import { fetchAll, load, preload, serviceWorkers } from './loader.js';
import { addressOf, isAtRooms, linkAt } from './names.js';

const AGAIN = 2_000; // ms
/** Present while something essential is loading. */
const WAITING = '[aria-busy="true"], .late, .room:not([data-me])';

const app = /** @type {HTMLElement} */ (document.getElementById('app'));

/** Ends the current page. */
let endPage = () => {};
let turn = 0;
/** The current room and its key. @type {string | null} */
let shown = null;

/** Shows the page of the current address. */
async function route() {
  const link = repaired();
  const wanted = link && addressOf({ ...link, message: null, token: null });
  if (wanted && wanted === shown && !link.token) return;
  shown = wanted;
  endPage();
  endPage = () => {};
  const mine = ++turn;
  try {
    const open = await (isAtRooms(location.pathname) ? roomAt(link?.roomId ?? '') : landing());
    if (mine === turn) endPage = open();
  } catch {
    // A file failed to load, so no page could report it yet.
    shown = null;
    setTimeout(() => mine === turn && route(), AGAIN);
  }
}

/**
 * The room in the address. If an app damaged the address, it is repaired in the address bar first, so that nothing is
 * requested or shared with the damaged one: a key may have become part of its path. The token of a creator's link, or
 * an application's JWT, is saved, and removed from the address.
 */
function repaired() {
  const link = linkAt(location);
  if (!link) return null;
  if (link.token?.startsWith('lr_')) saveCreator(link.roomId, loadIdentity(link.roomId)?.name ?? '', link.token);
  else if (link.token) saveTicket(link.roomId, link.token);
  const isWhole = link.key !== null || link.message !== null || link.token !== null || !location.hash;
  const address = isWhole ? addressOf({ ...link, token: null }) : `/r/${link.roomId}${location.hash}`;
  if (address !== location.pathname + location.search + location.hash) history.replaceState(history.state, '', address);
  return link;
}

async function landing() {
  const { landingPage } = await load('landing', () => import('./pages/landing.js'));
  return () => landingPage(app, go);
}

/** @param {string} roomId */
async function roomAt(roomId) {
  const isMember = Boolean(loadIdentity(roomId)?.token);
  if (isMember) preload('room');
  else fetchAll('door');
  const asked = isMember ? null : getRoom(roomId);
  asked?.catch(() => {}); // the page handles the answer, and reports errors
  const { roomPage } = await load('entry', () => import('./pages/room.js'));
  return () => roomPage(app, roomId, go, asked);
}

/** @param {string} address */
function go(address) {
  history.pushState(null, '', address);
  route();
}

/** Reports an error while somebody waits to get in, instead of waiting forever. @param {unknown} error */
async function onFault(error) {
  if (!(error instanceof Error) || !app.querySelector(WAITING)) return;
  endPage();
  endPage = () => {};
  shown = null;
  turn++;
  const { brokenPage } = await import('./parts.js');
  app.replaceChildren(brokenPage());
}

addEventListener('error', (event) => onFault(event.error));
addEventListener('unhandledrejection', (event) => onFault(event.reason));
addEventListener('popstate', route);
route();

addEventListener('load', () => {
  serviceWorkers()?.register('/sw.js', { updateViaCache: 'none' }).catch(() => {
    // The client works without it, only not offline.
  });
});
