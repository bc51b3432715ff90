// @ts-check
// The log of messages: draws what changed between two states.
//
// Messages are in chunks that the browser does not render while they are off screen, so that
// thousands of messages cost no more than a screenful.

import { focusOn, h, icon, keepFocus } from '../dom.js';
import { dayText, t, timeText } from '../i18n.js';
import { compareIds, lowerBound } from '../protocol.js';
import { awaitsUnread, countUnread, firstUnread, unreadBoundary } from '../store.js';
import { liesBetween, localDate, onNewDay, placeOf } from '../timeline.js';
import { JoinLine, joinLineElement } from './joins.js';
import { markDeleted, markPending, markStored, markTime, messageElement, pendingElement } from './message.js';
import { Place } from './place.js';

const CHUNK = 120; // messages
const MANY = 20; // from this many at once, new messages are not read out
const QUIET = 1000; // ms without announcements after a page of history is drawn

/**
 * @typedef {import('../store.js').State} State
 * @typedef {import('../store.js').Message} Message
 * @typedef {import('../timeline.js').Entry & {key?: string}} Entry
 */

export class Log {
  #session;
  #onRead;
  /** @type {State | null} */
  #shown = null;
  /** @type {Map<string, HTMLLIElement>} by message id */
  #elements = new Map();
  /** @type {Map<string, HTMLLIElement>} by key */
  #pendingElements = new Map();
  /** @type {WeakMap<Element, HTMLElement[]>} the lines in front of a message */
  #lines = new WeakMap();
  /** Shows who has read how far, once it is loaded. @type {import('./marks.js').Marks | undefined} */
  #marks;

  #joinLine = new JoinLine();
  /** @type {Map<string, string>} message id -> who came and left in front of it */
  #came = new Map();
  /** @type {string | null} what is to be brought into sight once it is drawn */
  #wanted = null;
  #place;
  #reading = false;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #quiet;

  #older = h('div', { class: 'older', testid: 'older' });
  #pending = h('ol', { class: 'chunk pending', 'aria-live': 'off' });
  #empty = h('div', { class: 'empty-slot' });
  #chunks = h('div', { class: 'chunks' });
  #inner = h('div', { class: 'log-inner' }, this.#older, this.#empty, this.#chunks, this.#joinLine.element, this.#pending);
  /** @type {HTMLElement} */
  #scroller = h('div', { class: 'log', testid: 'log', role: 'log', 'aria-live': 'polite', 'aria-relevant': 'additions', 'aria-label': t('messages'), tabindex: '0' }, this.#inner);
  #pillText = h('span');
  /** @type {HTMLButtonElement} */
  #pill = h('button', { class: 'pill', testid: 'new-messages', hidden: true, onclick: () => this.toBottom() }, icon('down'), this.#pillText);

  element = h('div', { class: 'log-area' }, this.#scroller, this.#pill);

  /**
   * @param {import('../session.js').Session} session
   * @param {HTMLElement} empty what an empty room shows
   * @param {() => void} onRead the person has read on by scrolling
   */
  constructor(session, empty, onRead) {
    this.#session = session;
    this.#onRead = onRead;
    this.#empty.append(empty);
    this.#place = new Place({ scroller: this.#scroller, inner: this.#inner, chunks: this.#chunks, pending: this.#pending }, {
      firstUnread: () => this.#firstUnread(),
      onScrolled: () => this.#onScrolled(),
    }, session.signal);
    onNewDay(() => this.#nameDays(), session.signal);
    this.#scroller.addEventListener('click', (event) => this.#onClick(event));
  }

  /** A text that is unfolded stays at its beginning, for the person to read it. @param {MouseEvent} event */
  #onClick({ target }) {
    if (target instanceof Element && target.closest('.fold[aria-expanded="true"]')) this.#place.stay();
  }

  /** The element that takes the keyboard focus. */
  get focusable() {
    return this.#scroller;
  }

  /** Shows the newest message, and follows the end from now on. */
  toBottom() {
    this.#place.toEnd();
  }

  /** Shows read marks from now on. @param {import('./marks.js').Marks} marks */
  mark(marks) {
    this.#marks = marks;
    if (this.#shown) marks.draw(null, this.#shown, this.#elements);
    this.#place.hold();
  }

  /** Somebody joined or left. @param {string} userId @param {boolean} came */
  noteJoin(userId, came) {
    this.#joinLine.note(userId, came);
    this.#place.hold();
  }

  /** Scrolls to a message that is loaded, or about to be drawn, and highlights it for a moment. @param {string} id */
  reveal(id) {
    const element = this.#elements.get(id);
    this.#wanted = element ? null : id;
    if (!element) return;
    this.#place.show(element);
    element.classList.remove('revealed');
    requestAnimationFrame(() => element.classList.add('revealed'));
    focusOn(element);
  }

  /**
   * @param {State} state
   * @param {boolean} reading whether the person is looking; only then messages count as read
   */
  render(state, reading) {
    const before = this.#shown;
    this.#shown = state;
    if (before !== state) this.#draw(before, state);
    this.#reading = reading && this.#stay(state);
    this.#readOn();
  }

  /** @param {State | null} before @param {State} state */
  #draw(before, state) {
    const dirty = new Set([...this.#drawMessages(before, state), ...this.#changedLines(before, state)]);
    this.#drawPending(state);
    for (const index of dirty) this.#arrange(state, index);
    this.#marks?.draw(before, state, this.#elements);
    this.#drawOlder(state);
    this.#empty.hidden = state.messages.length + state.pending.length > 0 || state.older !== 'end';
    if (state.knowsReads && !before?.knowsReads) this.#place.begin();
    else this.#place.hold();
    if (this.#wanted) this.reveal(this.#wanted);
    this.#fill();
  }

  // Messages

  /**
   * Draws what is in `state` but not in `before`. Both are in order, so the changes are between their common beginning
   * and their common end.
   * @param {State | null} before
   * @param {State} state
   * @returns {number[]} indexes whose neighbours changed
   */
  #drawMessages(before, state) {
    const old = before?.messages ?? [];
    const now = state.messages;
    if (old === now) return before && before.pending !== state.pending ? [now.length - 1] : [];
    let head = 0;
    while (head < old.length && old[head] === now[head]) head++;
    let tail = 0;
    while (tail < old.length - head && old[old.length - 1 - tail] === now[now.length - 1 - tail]) tail++;
    const end = now.length - tail;
    const added = now.length - old.length;
    if ((tail > 0 && added > 0) || added > MANY || (old.length === 0 && added > 1)) this.#hush();
    const came = tail === 0 && added > 0 ? this.#joinLine.settle() : '';
    if (came) this.#came.set(now[old.length].id, came);
    for (let i = head; i < end; i++) {
      const known = this.#elements.get(now[i].id);
      if (!known) this.#insert(now[i], now[i - 1], i === 0 ? now.find(({ id }) => this.#elements.has(id)) : undefined);
      else if (now[i].problem === 'deleted' && known.dataset.problem !== 'deleted') markDeleted(known);
    }
    return range(head - 1, end + 1);
  }

  /**
   * @param {Message} message
   * @param {Message | undefined} previous
   * @param {Message | undefined} next the first message already drawn, if this one comes before all of them
   */
  #insert(message, previous, next) {
    const element = this.#adopt(message) ?? messageElement(message, /** @type {State} */ (this.#shown));
    this.#elements.set(message.id, element);
    const above = previous && this.#elements.get(previous.id);
    const below = next && this.#elements.get(next.id);
    const chunk = above?.parentElement;
    if (above && chunk && (chunk.childElementCount < CHUNK || chunk.lastElementChild !== above)) above.after(element);
    else if (above && chunk) chunk.after(newChunk(element));
    else if (below) below.parentElement?.before(newChunk(element));
    else this.#chunks.append(newChunk(element));
  }

  /** The element of an own pending message, if it became this stored message. @param {Message} message */
  #adopt(message) {
    const element = message.key && message.from === this.#shown?.me && this.#pendingElements.get(message.key);
    if (!element) return undefined;
    this.#pendingElements.delete(/** @type {string} */ (message.key));
    this.#setLines(element, []);
    markStored(element, message);
    if (message.problem) markDeleted(element);
    return element;
  }

  /** @param {State} state */
  #drawPending(state) {
    const keys = new Set(state.pending.map(({ key }) => key));
    for (const [key, element] of this.#pendingElements) {
      if (keys.has(key)) continue;
      this.#setLines(element, []);
      element.remove();
      this.#pendingElements.delete(key);
    }
    for (const entry of state.pending) {
      let element = this.#pendingElements.get(entry.key);
      if (!element) {
        element = pendingElement(entry, state);
        this.#pendingElements.set(entry.key, element);
        this.#pending.append(element);
      }
      markPending(element, entry, state.connection.phase === 'online', this.#session.sender);
    }
    for (let i = 0; i < state.pending.length; i++) this.#arrange(state, state.messages.length + i);
  }

  // Grouping of messages, and the lines between them

  /** @param {State} state @param {number} index @returns {Entry | undefined} stored messages first, then pending ones */
  #entry({ messages, pending, me }, index) {
    if (index < messages.length) return messages[index];
    const waiting = pending[index - messages.length];
    return waiting && { from: me, timestamp: new Date(waiting.at).toISOString(), key: waiting.key };
  }

  /** @param {State} state @param {number} index */
  #arrange(state, index) {
    const entry = this.#entry(state, index);
    if (!entry) return;
    const element = entry.id ? this.#elements.get(entry.id) : this.#pendingElements.get(entry.key ?? '');
    if (!element) return;
    const previous = this.#entry(state, index - 1);
    const isCut = (/** @type {Entry} */ a, /** @type {Entry} */ b) =>
      liesBetween(state.unreadAfter, a, b) || state.gaps.some((gap) => gap.before === b.id);
    const { day, first, last } = placeOf(previous, entry, this.#entry(state, index + 1), isCut);
    element.classList.toggle('first', first);
    element.classList.toggle('last', last);
    const came = this.#came.get(entry.id ?? '');
    const gap = state.gaps.find(({ before }) => before === entry.id);
    const unread = liesBetween(state.unreadAfter, previous, entry) ? [unreadLine()] : [];
    // Missing messages may be unread too.
    const isUnreadGap = gap && state.unreadAfter && compareIds(state.unreadAfter, gap.after) <= 0;
    this.#setLines(element, [
      ...(isUnreadGap ? unread : []),
      ...(gap ? [this.#gapLine(gap)] : []),
      ...(came ? [joinLineElement(came)] : []),
      ...(day ? [dayLine(entry.timestamp)] : []),
      ...(isUnreadGap ? [] : unread),
    ]);
  }

  /** @param {HTMLLIElement} element @param {HTMLElement[]} lines */
  #setLines(element, lines) {
    const old = this.#lines.get(element) ?? [];
    const same = old.length === lines.length && old.every((line, i) => line.isEqualNode(lines[i]));
    if (same) return;
    for (const line of old) line.remove();
    element.before(...lines);
    this.#lines.set(element, lines);
  }

  /** @param {import('../store.js').Gap} gap */
  #gapLine(gap) {
    return h('li', { class: 'line gap' },
      h('button', { class: 'text-button', testid: 'hole', disabled: gap.fill === 'loading', onclick: () => this.#session.reader.loadGap(gap) },
        t(gap.fill === 'loading' ? 'loadingOlder' : gap.fill ? 'olderFailed' : 'gap')));
  }

  /** After midnight days have other names; in another time zone messages have other times, and may be of other days. */
  #nameDays() {
    const state = this.#shown;
    for (const [index, message] of state?.messages.entries() ?? []) {
      const element = this.#elements.get(message.id);
      if (element?.querySelector('time')?.textContent === timeText(message.timestamp)) break;
      if (element) markTime(element, message.timestamp);
      this.#arrange(/** @type {State} */ (state), index);
    }
    for (const time of this.#inner.querySelectorAll('.day time')) {
      // Without a zone the time is local.
      time.textContent = dayText(`${time.dateTime}T00:00`);
    }
  }

  /** @param {State | null} before @param {State} state @returns {number[]} indexes next to lines that moved */
  #changedLines(before, state) {
    if (before?.unreadAfter === state.unreadAfter && before?.gaps === state.gaps) return [];
    const { messages } = state;
    const boundaries = [before?.unreadAfter, state.unreadAfter].flatMap((id) => {
      if (!id) return [];
      const at = lowerBound(messages, id);
      return [at - 1, at, at + 1];
    });
    const gaps = [...(before?.gaps ?? []), ...state.gaps].flatMap((gap) => {
      const at = lowerBound(messages, gap.before);
      return [at - 1, at];
    });
    return [...boundaries, ...gaps];
  }

  // The top

  /** @param {State} state */
  #drawOlder({ older, messages }) {
    const look = older === 'end' && messages.length === 0 ? 'none' : older;
    if (this.#older.dataset.look === look) return;
    this.#older.dataset.look = look;
    this.#older.dataset.state = older;
    if (look === 'loading') this.#older.textContent = t('loadingOlder');
    else if (look === 'end') this.#older.textContent = t('historyStart');
    else if (look === 'failed') this.#older.replaceChildren(h('button', { class: 'text-button', testid: 'older-again', onclick: () => this.#session.reader.loadOlder() }, t('olderFailed')));
    else this.#older.textContent = '';
  }

  /** Loads history when its end comes near, and missing messages when their gap comes into sight. */
  #fill() {
    const { older, gaps, connection } = /** @type {State} */ (this.#shown);
    if (connection.phase !== 'online') return;
    const { reader } = this.#session;
    if (older === 'more' && this.#scroller.scrollTop < this.#scroller.clientHeight) reader.loadOlder();
    for (const gap of gaps) {
      const element = !gap.fill && this.#elements.get(gap.before);
      if (element && this.#place.isInSight(element)) reader.loadGap(gap);
    }
  }

  // Reading

  #onScrolled() {
    this.#readOn();
    this.#onRead();
    this.#fill();
  }

  /** The first message neither read nor seen, or the line in front of it. */
  #firstUnread() {
    const element = this.#elements.get(firstUnread(this.#session.state) ?? '');
    return element && (this.#lines.get(element)?.find((line) => line.matches('.unread')) ?? element);
  }

  /**
   * If more messages arrive at once than fit while the log follows the end, the person reads from the unread line: the log
   * stays there while missing messages load, and then stops following.
   * @param {State} state
   * @returns {boolean} whether messages may be marked as read: the line is in its place
   */
  #stay(state) {
    if (!this.#place.follows || this.#place.isAtEnd) return true;
    const boundary = unreadBoundary(this.#session.state);
    if (boundary && boundary !== state.unreadAfter) {
      this.#session.reader.setUnreadAfter(boundary);
      return false;
    }
    if (boundary && !awaitsUnread(this.#session.state)) this.#place.stay();
    return true;
  }

  /** Reports the last message in sight as read, and shows how many are left. */
  #readOn() {
    const seen = this.#reading && this.#place.lastSeen()?.dataset.id;
    if (seen) this.#session.reader.markRead(seen);
    const now = this.#session.state;
    this.#drawPill(countUnread(now), this.#place.follows || now.messages.length === 0);
  }

  /** @param {number} count @param {boolean} hidden */
  #drawPill(count, hidden) {
    if (this.#pill.hidden !== hidden) keepFocus(this.#scroller, () => (this.#pill.hidden = hidden));
    if (this.#pill.dataset.count === String(count)) return;
    const words = count > 0 ? t('newCount', { n: count }) : '';
    this.#pill.dataset.count = String(count);
    this.#pillText.textContent = words;
    this.#pill.setAttribute('aria-label', words || t('toBottom'));
  }

  /** Loaded history is not announced by screen readers. */
  #hush() {
    this.#scroller.setAttribute('aria-live', 'off');
    clearTimeout(this.#quiet);
    this.#quiet = setTimeout(() => this.#scroller.setAttribute('aria-live', 'polite'), QUIET);
  }
}

const unreadLine = () => h('li', { class: 'line unread', testid: 'unread-line' }, t('unread'));

/** @param {string} timestamp */
function dayLine(timestamp) {
  return h('li', { class: 'line day', testid: 'day' }, h('time', { datetime: localDate(timestamp) }, dayText(timestamp)));
}

/** @param {HTMLLIElement} first */
function newChunk(first) {
  return h('ol', { class: 'chunk' }, first);
}

/** @param {number} from @param {number} to */
function range(from, to) {
  return Array.from({ length: to - from }, (_, i) => from + i);
}
