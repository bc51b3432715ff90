// @ts-check
// How many messages are unread, on the tab's icon and on that of the installed app.

const MOST = 9; // counts that have an icon of their own

/** @type {HTMLLinkElement | null} */
const link = document.querySelector('link[rel="icon"]');
const plain = link?.getAttribute('href') ?? '';
let shown = 0;

/** @param {number} count */
export function showBadge(count) {
  const next = Math.min(count, MOST + 1);
  if (next !== shown && link) link.href = next === 0 ? plain : `/static/badges/${next > MOST ? 'more' : next}.svg`;
  shown = next;
  const app = /** @type {{setAppBadge?(count: number): Promise<void>}} */ (navigator);
  app.setAppBadge?.(count).catch(() => {});
}
