// @ts-check
// Fetches the parts of the client, each when it is needed. Knows their names and not what is in them:
// whoever asks for a part says how to import it.

/** @typedef {'landing' | 'entry' | 'room'} Part */

const RELOADED = 'linkroom:reloaded'; // in sessionStorage: when this page was last begun anew for a part
const PATIENCE = 60_000; // ms until that may be done again
const ANSWER = 5_000; // ms for the server to answer

/** Fetches all files of a part side by side, once. index.html names them. @param {Part} part */
export function preload(part) {
  const modules = /** @type {HTMLTemplateElement} */ (document.getElementById(`${part}-modules`));
  document.head.append(modules.content);
}

/**
 * A part of the client. A page remembers that a file did not come, and after a deploy new files may not
 * fit those that it has: where the server answers, only a fresh page helps.
 * @template Module
 * @param {Part} part
 * @param {() => Promise<Module>} bring imports it
 * @returns {Promise<Module>}
 */
export async function load(part, bring) {
  preload(part);
  try {
    return await bring();
  } catch (error) {
    if ((await serverAnswers()) && mayReload()) location.reload();
    throw error;
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

/** Notes that it was allowed, so that no page begins anew for ever. */
function mayReload() {
  try {
    if (Date.now() - Number(sessionStorage.getItem(RELOADED)) <= PATIENCE) return false;
    sessionStorage.setItem(RELOADED, String(Date.now()));
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
