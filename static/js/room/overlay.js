// @ts-check
// What is open over the room: the back button first closes it, and only then leaves the room, which
// matters most on phones. All of it shares one history entry, because one overlay often closes as
// it opens another.

/** Marks the entry: a reloaded page finds the entry with nothing open. */
const MARK = 'over';

/** Functions that close what is open, the topmost last. @type {(() => void)[]} */
const open = [];
let hasEntry = false;
/** Whether the entry is being removed: the browser's event for that comes a moment later. */
let isGoing = false;

/** Makes the entry exist exactly while something is open. */
function settle() {
  if (isGoing || open.length > 0 === hasEntry) return;
  if (hasEntry) {
    hasEntry = false;
    isGoing = true;
    history.back();
  } else {
    hasEntry = addEntry();
  }
}

/** @returns {boolean} whether the browser allowed it: some forbid many entries in a short time */
function addEntry() {
  try {
    history.pushState({ ...history.state, [MARK]: true }, '');
    return true;
  } catch {
    return false;
  }
}

addEventListener('popstate', () => {
  if (isGoing) {
    // This was our own step back; what has been opened since stays open.
    isGoing = false;
    settle();
    return;
  }
  if (!hasEntry) return passEmpty();
  hasEntry = false;
  open.pop()?.();
  setTimeout(settle);
});

/** Steps back from an entry with nothing open, as after a reload or on the way forward. */
function passEmpty() {
  if (hasEntry || !history.state?.[MARK]) return;
  isGoing = true;
  history.back();
}

passEmpty();

/**
 * @param {() => void} close closes the overlay when the person goes back
 * @returns {{opened(): void, closed(): void}} to call when it was opened or closed
 */
export function overlay(close) {
  function opened() {
    if (!open.includes(close)) open.push(close);
    settle();
  }

  function closed() {
    const at = open.indexOf(close);
    if (at < 0) return;
    open.splice(at, 1);
    setTimeout(settle);
  }
  return { opened, closed };
}
