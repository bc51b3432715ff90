// @ts-check
// Grouping of messages: which one begins a day, and which begin and end a run of one author; and
// when the reader's day changes.

import { zoneNow } from './i18n.js';
import { compareIds } from './protocol.js';

const RUN = 5 * 60_000; // ms of silence after which an author is named again
const LOOK = 30_000; // ms between checks of the date

/**
 * @typedef {{from: string, timestamp: string, id?: string}} Entry
 * @typedef {{day: boolean, first: boolean, last: boolean}} Place
 */

/** @param {string} a @param {string} b RFC 3339 */
function sameDay(a, b) {
  return new Date(a).toDateString() === new Date(b).toDateString();
}

/** The date in the reader's time zone, as `<time>` has it. @param {string} timestamp RFC 3339 */
export function localDate(timestamp) {
  const day = new Date(timestamp);
  return [day.getFullYear(), day.getMonth() + 1, day.getDate()].map((part) => String(part).padStart(2, '0')).join('-');
}

/**
 * Calls back when the date changes: after midnight, after a sleep of the machine, in which timers do not run, after a
 * change of the time zone, or when the clock was set.
 * @param {() => void} callback
 * @param {AbortSignal} signal
 */
export function onNewDay(callback, signal) {
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;
  let day = '';
  function update() {
    clearTimeout(timer);
    timer = setTimeout(update, LOOK);
    const today = `${new Date().toDateString()} ${zoneNow()}`;
    if (today === day) return;
    day = today;
    callback();
  }
  document.addEventListener('visibilitychange', update, { signal });
  addEventListener('focus', update, { signal });
  signal.addEventListener('abort', () => clearTimeout(timer));
  update();
}

/** @param {Entry | undefined} a @param {Entry | undefined} b @param {(a: Entry, b: Entry) => boolean} isCut */
function together(a, b, isCut) {
  return (
    a !== undefined && b !== undefined && a.from === b.from &&
    Date.parse(b.timestamp) - Date.parse(a.timestamp) < RUN &&
    sameDay(a.timestamp, b.timestamp) && !isCut(a, b)
  );
}

/**
 * @param {Entry | undefined} previous
 * @param {Entry} entry
 * @param {Entry | undefined} next
 * @param {(a: Entry, b: Entry) => boolean} isCut whether a line is between two neighbours
 * @returns {Place}
 */
export function placeOf(previous, entry, next, isCut) {
  return {
    day: !previous || !sameDay(previous.timestamp, entry.timestamp),
    first: !together(previous, entry, isCut),
    last: !together(entry, next, isCut),
  };
}

/**
 * Whether a boundary (unread line, gap) is between two neighbours, or before the
 * first message that is known.
 * @param {string | null} boundary
 * @param {Entry | undefined} a
 * @param {Entry} b
 */
export function liesBetween(boundary, a, b) {
  if (!boundary) return false;
  if (!a) return b.id !== undefined && compareIds(boundary, b.id) < 0;
  return a.id !== undefined && compareIds(a.id, boundary) <= 0 && (!b.id || compareIds(boundary, b.id) < 0);
}
