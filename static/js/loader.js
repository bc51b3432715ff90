// @ts-check
// Fetches the parts of the client, each when it is needed. Knows their names and not what is in them:
// whoever asks for a part says how to import it.

/** @typedef {'landing' | 'entry' | 'room' | 'extras' | 'order' | 'push' | 'crypto' | 'key' | 'refused'} Part */

const RELOADED = 'linkroom:reloaded:'; // and a part, in sessionStorage: this page was begun anew for it, and it has not come since
const ANSWER = 5_000; // ms for the server to answer
const FILES = 30_000; // ms for the files of a part that comes later

/** The links to the files of a part, which index.html names. @param {Part} part */
const linksTo = (part) => /** @type {HTMLTemplateElement} */ (document.getElementById(`${part}-modules`)).content;

/** Fetches all files of a part side by side, once. @param {Part} part */
export function preload(part) {
  document.head.append(linksTo(part));
}

/** The same, as often as it takes. @param {Part} part @returns {Promise<boolean>} whether all came */
async function fetchAll(part) {
  const links = /** @type {HTMLLinkElement[]} */ ([...linksTo(part).children].map((link) => link.cloneNode()));
  const came = links.map((link) => new Promise((resolve) => {
    link.onload = () => resolve(true);
    link.onerror = () => resolve(false);
    setTimeout(() => resolve(false), FILES);
  }));
  document.head.append(...links);
  return (await Promise.all(came)).every(Boolean);
}

/** What came later, and needs not be fetched again. @type {Set<Part>} */
const whole = new Set();

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
  return attempt(part, bring);
}

/**
 * A part that is asked for while the page is in use, and again where the network was away: nothing is imported
 * before all files are there, as a page would remember that one was not.
 * @template Module
 * @param {Part} part
 * @param {() => Promise<Module>} bring imports it
 * @returns {Promise<Module>}
 */
export async function loadLater(part, bring) {
  const isHere = whole.has(part) || (await fetchAll(part));
  if (!isHere && !(await serverAnswers())) throw new Error(part);
  return attempt(part, async () => {
    if (!isHere && !(await fetchAll(part))) throw new Error(part);
    const module = await bring();
    whole.add(part);
    return module;
  });
}

/** @template Module @param {Part} part @param {() => Promise<Module>} bring @returns {Promise<Module>} */
async function attempt(part, bring) {
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
