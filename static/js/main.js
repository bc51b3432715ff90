// @ts-check
// Which page is shown for which address. Waits for as little as it can: on a slow network what the
// server has to say about the room travels side by side with the page that shows it.

import { getRoom } from './api.js';
import { loadIdentity } from './identity.js';
import { load, preload } from './loader.js';

const AGAIN = 2_000; // ms
const ROOM = /^\/r\/([^/]+)\/?$/;

const app = /** @type {HTMLElement} */ (document.getElementById('app'));

/** Ends the page that is shown. */
let endPage = () => {};
let turn = 0;

/** Shows the page of the address. */
async function route() {
  endPage();
  endPage = () => {};
  const mine = ++turn;
  const room = ROOM.exec(location.pathname)?.[1];
  try {
    const open = await (room ? roomAt(room) : landing());
    if (mine === turn) endPage = open();
  } catch {
    // A file did not come through, so there is nothing yet that could say so.
    setTimeout(() => mine === turn && route(), AGAIN);
  }
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

addEventListener('popstate', route);
route();

if ('serviceWorker' in navigator && isSecureContext) {
  addEventListener('load', () => {
    navigator.serviceWorker.register('/sw.js', { updateViaCache: 'none' }).catch(() => {
      // Without it the client works as well, only not offline.
    });
  });
}
