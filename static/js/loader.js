// @ts-check
// Loads the parts of the client, each when it is needed. Knows their names but not their contents:
// the caller says how to import a part.

/** @typedef {'landing' | 'entry' | 'door' | 'visible' | 'room' | 'extras' | 'crowd' | 'moderation' | 'push' | 'crypto' | 'key' | 'refused'} Part */

const RELOADED = 'linkroom:reloaded:'; // followed by a part, in sessionStorage: this page was reloaded for it, and it has not loaded since
const ANSWER = 5_000; // ms for the server to answer
const FILES = 30_000; // ms for the files of a part that is loaded later

/** The links to the files of a part, from index.html. @param {Part} part */
const linksTo = (part) => /** @type {HTMLTemplateElement} */ (document.getElementById(`${part}-modules`)).content;

/** Fetches all files of a part in parallel, once. @param {Part} part */
export function preload(part) {
  document.head.append(linksTo(part));
}

/** The same for a part that `loadLater` loads, repeatable. @param {Part} part @returns {Promise<boolean>} whether all came */
export async function fetchAll(part) {
  const links = /** @type {HTMLLinkElement[]} */ ([...linksTo(part).children].map((link) => link.cloneNode()));
  const came = links.map((link) => new Promise((resolve) => {
    link.onload = () => resolve(true);
    link.onerror = () => resolve(false);
    setTimeout(() => resolve(false), FILES);
  }));
  document.head.append(...links);
  return (await Promise.all(came)).every(Boolean);
}

/** Parts that were loaded later, and need not be fetched again. @type {Set<Part>} */
const whole = new Set();

/** A part does not load, though the server answers. */
export class BrokenPart extends Error {}

/**
 * Loads a part of the client. A page remembers that a file failed to load, and after a deployment new files may not
 * match the ones that it has. So if the server answers, only a reload helps.
 * @template Module
 * @param {Part} part
 * @param {() => Promise<Module>} bring imports it
 * @returns {Promise<Module>}
 * @throws {BrokenPart} if a reload did not help
 */
export async function load(part, bring) {
  preload(part);
  return attempt(part, bring);
}

/**
 * Loads a part while the page is in use, and can be retried after network errors: nothing is imported before all its
 * files have been fetched, because the page would remember that one was missing.
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
    return new Promise(() => {}); // the page is about to reload
  }
}

/** A signal that aborts a request after this many ms. @param {number} ms @returns {AbortSignal} */
export function timeLimit(ms) {
  if (typeof AbortSignal.timeout === 'function') return AbortSignal.timeout(ms);
  const limit = new AbortController();
  setTimeout(() => limit.abort(), ms);
  return limit.signal;
}

/** The service workers, which store the client for offline use; undefined if the browser does not allow them. */
export function serviceWorkers() {
  try {
    return isSecureContext ? navigator.serviceWorker : undefined;
  } catch {
    return undefined; // forbidden
  }
}

/** @param {Part} part that loaded: a later failure has another reason */
function noteWhole(part) {
  try {
    sessionStorage.removeItem(RELOADED + part);
  } catch {
    // Nothing was noted either.
  }
}

/** Notes that a reload was allowed, so that the page does not reload forever. @param {Part} part */
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

/** Whether the server answers; the request bypasses every cache of this browser. */
async function serverAnswers() {
  try {
    return (await fetch('/', { method: 'HEAD', cache: 'no-store', signal: timeLimit(ANSWER) })).ok;
  } catch {
    return false;
  }
}
