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
    if (mayReload() && (await serverAnswers())) reload();
    throw error;
  }
}

function mayReload() {
  return Date.now() - Number(sessionStorage.getItem(RELOADED)) > PATIENCE;
}

function reload() {
  sessionStorage.setItem(RELOADED, String(Date.now()));
  location.reload();
}

/** Asked in a way that nothing kept in this browser answers. */
async function serverAnswers() {
  try {
    return (await fetch('/', { method: 'HEAD', cache: 'no-store', signal: AbortSignal.timeout(ANSWER) })).ok;
  } catch {
    return false;
  }
}
