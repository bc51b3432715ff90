// @ts-check
// Printing gives the whole conversation, so what was not read back yet is read back first. A browser's own
// menu does not wait for that: then it is said that there is more.

import { t } from './words.js';

const PAGES = 100; // of history, at most

/**
 * @param {import('../session.js').Session} session
 * @param {(text: string) => void} say
 * @param {AbortSignal} signal
 */
export function watchPrinting(session, say, signal) {
  const hasMore = () => session.state.older === 'more';

  async function readBack() {
    for (let page = 0; page < PAGES && hasMore(); page++) await session.reader.loadOlder();
    // It is drawn with the next frame.
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
