// @ts-check
// Printing covers the whole conversation, so history that is not loaded yet is loaded first. The
// browser's own print menu does not wait for that; then a notice says that there is more.

import { t } from './words.js';

const PAGES = 100; // pages of history to load, at most

/**
 * @param {import('../session.js').Session} session
 * @param {(text: string) => void} say
 * @param {AbortSignal} signal
 */
export function watchPrinting(session, say, signal) {
  const hasMore = () => session.state.older === 'more';

  async function readBack() {
    for (let page = 0; page < PAGES && hasMore(); page++) await session.reader.loadOlder();
    // It is drawn in the next frame.
    await new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve)));
  }

  addEventListener('keydown', async (event) => {
    const isPrint = (event.ctrlKey || event.metaKey) && !event.altKey && !event.shiftKey && event.key.toLowerCase() === 'p';
    if (!isPrint || !hasMore()) return;
    event.preventDefault();
    await readBack();
    print();
  }, { signal });
  addEventListener('beforeprint', async () => {
    if (!hasMore()) return;
    await readBack();
    say(t('printAgain'));
  }, { signal });
}
