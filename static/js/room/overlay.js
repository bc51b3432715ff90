// @ts-check
// What lies over the room, on a phone above all: the way back closes it, and only then leaves the room. One
// entry of the history stands for all of it, as one thing often opens another and closes itself.

/** Marks the entry: a page that is loaded anew finds it, with nothing open. */
const MARK = 'over';

/** How to close what is open, the topmost last. @type {(() => void)[]} */
const open = [];
let hasEntry = false;
/** Whether the entry is being taken away: the browser says a moment later that it is. */
let isGoing = false;

/** The history has the entry exactly while something is open. */
function settle() {
  if (isGoing || open.length > 0 === hasEntry) return;
  hasEntry = !hasEntry;
  isGoing = !hasEntry;
  if (hasEntry) history.pushState({ ...history.state, [MARK]: true }, '');
  else history.back();
}

addEventListener('popstate', () => {
  if (isGoing) {
    // Nobody went back, and what was opened since stays.
    isGoing = false;
    settle();
    return;
  }
  if (!hasEntry) return passEmpty();
  hasEntry = false;
  open.pop()?.();
  setTimeout(settle);
});

/** An entry over which nothing lies, as after a reload or on the way forward, is stepped back from. */
function passEmpty() {
  if (hasEntry || !history.state?.[MARK]) return;
  isGoing = true;
  history.back();
}

passEmpty();

/**
 * @param {() => void} close closes it, when somebody went back
 * @returns {{opened(): void, closed(): void}} to be told
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
