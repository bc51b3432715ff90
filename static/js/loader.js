// @ts-check
// Fetches the parts of the client, each when it is needed. Knows their names and not what is in them:
// whoever asks for a part says how to import it.

/** @typedef {'landing' | 'entry' | 'room' | 'extras'} Part */

const RELOADED = 'linkroom:reloaded:'; // and a part, in sessionStorage: this page was begun anew for it, and it has not come since
const ANSWER = 5_000; // ms for the server to answer

/** Fetches all files of a part side by side, once. index.html names them. @param {Part} part */
export function preload(part) {
  const modules = /** @type {HTMLTemplateElement} */ (document.getElementById(`${part}-modules`));
  document.head.append(modules.content);
}

/** A part does not come, though the server is there. */
export class BrokenPart extends Error {}

/**
 * A part of the client. A page remembers that a file did not come, and after a deploy new files may not
 * fit those that it has: where the server answers, only a fresh page helps.
 * @template Module
 * @param {Part} part
 * @param {() => Promise<Module>} bring imports it
 * @returns {Promise<Module>}
 * @throws {BrokenPart} where a fresh page did not help
 */
export async function load(part, bring) {
  preload(part);
  try {
    const module = await bring();
    noteWhole(part);
    return module;
  } catch (error) {
    if (!(await serverAnswers())) throw error;
    if (!mayReload(part)) throw new BrokenPart(part);
    location.reload();
    return new Promise(() => {}); // this page has nothing more to say
  }
}

/** A signal that ends a request after so many ms. @param {number} ms @returns {AbortSignal} */
export function timeLimit(ms) {
  if (typeof AbortSignal.timeout === 'function') return AbortSignal.timeout(ms);
  const limit = new AbortController();
  setTimeout(() => limit.abort(), ms);
  return limit.signal;
}

/** What keeps the client for when there is no network, where the browser lets it. */
export function serviceWorkers() {
  try {
    return isSecureContext ? navigator.serviceWorker : undefined;
  } catch {
    return undefined; // forbidden
  }
}

/** @param {Part} part that came: should it fail again, then for another reason */
function noteWhole(part) {
  try {
    sessionStorage.removeItem(RELOADED + part);
  } catch {
    // Nothing was noted either.
  }
}

/** Notes that it was allowed, so that no page begins anew for ever. @param {Part} part */
function mayReload(part) {
  try {
    if (sessionStorage.getItem(RELOADED + part) !== null) return false;
    sessionStorage.setItem(RELOADED + part, '');
    return true;
  } catch {
    const [loaded] = performance.getEntriesByType('navigation');
    return /** @type {PerformanceNavigationTiming | undefined} */ (loaded)?.type === 'navigate';
  }
}

/** Asked in a way that nothing kept in this browser answers. */
async function serverAnswers() {
  try {
    return (await fetch('/', { method: 'HEAD', cache: 'no-store', signal: timeLimit(ANSWER) })).ok;
  } catch {
    return false;
  }
}
