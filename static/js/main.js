// @ts-check
// Which page is shown for which address. Waits for as little as it can: on a slow network what the
// server has to say about the room travels side by side with the page that shows it.

import { getRoom } from './api.js';
import { loadIdentity, saveCreator, saveTicket } from './identity.js';
import { load, preload, serviceWorkers } from './loader.js';
import { addressOf, linkAt } from './names.js';

const AGAIN = 2_000; // ms
/** What is on the page while something is under way that nobody can do without. */
const WAITING = '[aria-busy="true"], .late, .room:not([data-me])';
const BELOW_ROOMS = /^\/r\b/;

const app = /** @type {HTMLElement} */ (document.getElementById('app'));

/** Ends the page that is shown. */
let endPage = () => {};
let turn = 0;
/** The room that is shown, and by which key. @type {string | null} */
let shown = null;

/** Shows the page of the address. */
async function route() {
  const link = repaired();
  const wanted = link && addressOf({ ...link, message: null, token: null });
  if (wanted && wanted === shown && !link.token) return;
  shown = wanted;
  endPage();
  endPage = () => {};
  const mine = ++turn;
  try {
    const open = await (BELOW_ROOMS.test(location.pathname) ? roomAt(link?.roomId ?? '') : landing());
    if (mine === turn) endPage = open();
  } catch {
    // A file did not come through, so there is nothing yet that could say so.
    shown = null;
    setTimeout(() => mine === turn && route(), AGAIN);
  }
}

/**
 * What the address says of a room. Where an app damaged it, that is mended in the address bar first of all,
 * so that nothing is ever asked or shared under the damaged one: a key may have become a part of its path. The
 * token of a creator's link is kept, and leaves the address; so does the JWT with which an application sends somebody.
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
  const asked = isMember ? null : getRoom(roomId);
  asked?.catch(() => {}); // The page looks at the answer, and says what is wrong.
  const { roomPage } = await load('entry', () => import('./pages/room.js'));
  return () => roomPage(app, roomId, go, asked);
}

/** @param {string} address */
function go(address) {
  history.pushState(null, '', address);
  route();
}

/** Whatever fails while somebody waits to get in is said: nobody waits for what does not come. @param {unknown} error */
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
    // Without it the client works as well, only not offline.
  });
});
