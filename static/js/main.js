// @ts-check
// Which page is shown for which address.

import { language } from './i18n.js';
import { landingPage } from './pages/landing.js';
import { roomPage } from './pages/room.js';

const ROOM = /^\/r\/([^/]+)\/?$/;

const app = /** @type {HTMLElement} */ (document.getElementById('app'));

/** Ends the page that is shown. */
let endPage = () => {};

/** Shows the page of the address. */
function route() {
  endPage();
  const room = ROOM.exec(location.pathname);
  endPage = room ? roomPage(app, room[1], go) : landingPage(app, go);
}

/** @param {string} address */
function go(address) {
  history.pushState(null, '', address);
  route();
}

document.documentElement.lang = language;
addEventListener('popstate', route);
route();

if ('serviceWorker' in navigator && isSecureContext) {
  addEventListener('load', () => {
    navigator.serviceWorker.register('/sw.js', { updateViaCache: 'none' }).catch(() => {
      // Without it the client works as well, only not offline.
    });
  });
}
