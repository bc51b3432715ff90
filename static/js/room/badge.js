// @ts-check
// The number of unread messages, on the tab's icon and on that of the installed app.

const MOST = 9; // counts up to this have their own icon

/** @type {HTMLLinkElement | null} */
const link = document.querySelector('link[rel="icon"]');
const plain = link?.getAttribute('href') ?? '';
let shown = 0;

/** @param {number} count */
export function showBadge(count) {
  if (count === shown) return;
  shown = count;
  if (link) link.href = count === 0 ? plain : `/static/badges/${count > MOST ? 'more' : count}.svg`;
  setAppBadge(count).catch(() => {}); // not allowed
}

/** @param {number} count */
async function setAppBadge(count) {
  await /** @type {{setAppBadge?(count: number): Promise<void>}} */ (navigator).setAppBadge?.(count);
}
