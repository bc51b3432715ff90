// @ts-check
// The reading position in the log, by geometry. Only the reader moves it: whatever grows or shrinks
// in or around the log, a reader at the end stays at the end, and for a reader further up the
// visible messages do not move. The browser's scroll anchoring is off: not all browsers have it,
// and none applies it at the very top.

const NEAR = 8; // px from the end that still count as being there
const MARGIN = 16; // px above what is to be read first
const SLACK = 1; // px by which the measures of a log, which are whole numbers, may be wrong

/** @typedef {{element: Element, top: number}} Anchor the text of a message, and where it stands, in px below the top of the log */

export class Place {
  #scroller;
  #chunks;
  #pending;
  #firstUnread;
  #onScrolled;
  /** Whether the end stays in sight. */
  #follows = true;
  /** What does not move while not following. @type {Anchor | null} */
  #anchor = null;
  /** The last known position, and the dimensions of the log at that time. */
  #known = { top: 0, content: 0, height: 0, width: 0 };
  #frame = 0;

  /**
   * @param {{scroller: HTMLElement, inner: HTMLElement, chunks: HTMLElement, pending: HTMLElement}} log the
   *   scrolling element, its content, and in that the chunks of stored messages and the pending ones. Looks only at
   *   children: with thousands of messages, a search of the whole log takes a millisecond
   * @param {{firstUnread(): Element | undefined, onScrolled(): void}} reading following scrolls no
   *   further than the first unread message, or its line
   * @param {AbortSignal} signal
   */
  constructor({ scroller, inner, chunks, pending }, { firstUnread, onScrolled }, signal) {
    this.#scroller = scroller;
    this.#chunks = chunks.children;
    this.#pending = pending;
    this.#firstUnread = firstUnread;
    this.#onScrolled = onScrolled;
    scroller.addEventListener('scroll', () => this.#onScroll(), { passive: true });
    const observer = new ResizeObserver(() => this.hold());
    observer.observe(inner);
    observer.observe(scroller);
    signal.addEventListener('abort', () => observer.disconnect());
  }

  get follows() {
    return this.#follows;
  }

  get isAtEnd() {
    const { scrollTop, scrollHeight, clientHeight } = this.#scroller;
    return scrollHeight - clientHeight - scrollTop < NEAR;
  }

  /** Goes to the end, and follows it. */
  toEnd() {
    this.#follows = true;
    this.#scroller.scrollTop = this.#scroller.scrollHeight;
    this.#note();
  }

  /** Shows this message. @param {Element} element */
  show(element) {
    this.#follows = false;
    element.scrollIntoView({ block: 'center' });
    this.#anchor = this.#anchorOf(element);
    this.#note();
  }

  /** Goes to where reading stopped, or to the end if everything is read. */
  begin() {
    if (this.#follows) this.#scroller.scrollTop = this.#goal();
    this.#note();
    this.hold();
  }

  /** Stops following: the reader continues from here. */
  stay() {
    this.#follows = false;
    this.#anchor = this.#atTop();
  }

  /** Something has changed: nothing moves but what the reader has scrolled meanwhile. */
  hold() {
    const by = this.#scrolled();
    if (by !== 0) this.#onMoved(by);
    else this.#restore();
    this.#note();
  }

  /** @param {Element} element */
  isInSight(element) {
    const { top, bottom } = this.#scroller.getBoundingClientRect();
    const box = element.getBoundingClientRect();
    return box.bottom > top && box.top < bottom;
  }

  /** The last stored message that ends in sight or above it. @returns {HTMLElement | null} */
  lastSeen() {
    const edge = this.#scroller.getBoundingClientRect().bottom + 1;
    const cut = firstBelow(this.#chunks, edge);
    /** @type {Element | null | undefined} */
    let element = cut ? firstBelow(cut.children, edge)?.previousElementSibling : this.#chunks[this.#chunks.length - 1]?.lastElementChild;
    if (cut && !element) element = cut.previousElementSibling?.lastElementChild;
    while (element && !element.matches('.message')) element = element.previousElementSibling;
    return /** @type {HTMLElement | null | undefined} */ (element) ?? null;
  }

  /** How far following scrolls, in px: to the end, but not past the first unread message. */
  #goal() {
    const { scrollTop, scrollHeight, clientHeight } = this.#scroller;
    const end = scrollHeight - clientHeight;
    const element = this.#firstUnread();
    const start = element ? this.#topOf(element) + scrollTop : end;
    return start < end ? start - MARGIN : end;
  }

  #onScroll() {
    if (this.#isLaidOutAnew() || this.#scrolled() !== 0) this.hold();
    this.#onScrolled();
  }

  /** How far the reader has scrolled, in px. Layout by itself moves a log only to its end, where that comes nearer. */
  #scrolled() {
    const { scrollTop, scrollHeight, clientHeight } = this.#scroller;
    const by = scrollTop - Math.min(this.#known.top, scrollHeight - clientHeight);
    return Math.abs(by) > SLACK ? by : 0;
  }

  /** The reader has scrolled: from where the log stands now, should it have been laid out anew in the same moment. @param {number} by */
  #onMoved(by) {
    const { top, content, height } = this.#known;
    if (this.#isLaidOutAnew()) {
      this.#scroller.scrollTop -= by;
      this.#restore();
      this.#scroller.scrollTop += by;
    }
    const isAtKnownEnd = by > 0 && content - height - top - by < NEAR;
    this.#follows = this.isAtEnd || isAtKnownEnd;
    if (this.#follows && !this.isAtEnd) this.#restore();
    // What comes in sight at the top is drawn for the first time, and turns out to be taller or smaller than
    // was thought. Until then the message at the bottom is held.
    this.#anchor = by < 0 ? this.#atBottom() : this.#atTop();
    cancelAnimationFrame(this.#frame);
    this.#frame = requestAnimationFrame(() => {
      this.#frame = requestAnimationFrame(() => (this.#anchor = this.#atTop()));
    });
  }

  /** What is held stands where it stood. */
  #restore() {
    if (!this.#follows) return this.#holdAnchor();
    const { scrollTop, scrollHeight, clientHeight } = this.#scroller;
    this.#scroller.scrollTop = Math.min(scrollHeight - clientHeight, Math.max(this.#goal(), scrollTop));
  }

  #isLaidOutAnew() {
    const { scrollHeight, clientHeight, clientWidth } = this.#scroller;
    const { content, height, width } = this.#known;
    return scrollHeight !== content || clientHeight !== height || clientWidth !== width;
  }

  #note() {
    const { scrollTop, scrollHeight, clientHeight, clientWidth } = this.#scroller;
    this.#known = { top: scrollTop, content: scrollHeight, height: clientHeight, width: clientWidth };
  }

  #holdAnchor() {
    if (!this.#anchor?.element.isConnected) return;
    const moved = this.#topOf(this.#anchor.element) - this.#anchor.top;
    if (Math.abs(moved) >= 1) this.#scroller.scrollTop += moved;
  }

  /**
   * The first message that begins in sight, so that growth at the end of the one above it moves
   * nothing; or the one that fills the log.
   */
  #atTop() {
    const { top, bottom } = this.#scroller.getBoundingClientRect();
    const edge = this.#messageAt(top);
    const whole = edge && edge.getBoundingClientRect().top < top ? this.#messageAt(edge.getBoundingClientRect().bottom) : edge;
    return this.#anchorOf(whole && whole.getBoundingClientRect().top < bottom ? whole : edge);
  }

  #atBottom() {
    return this.#anchorOf(this.#messageAt(this.#scroller.getBoundingClientRect().bottom - 1));
  }

  /** The anchor is the text: the name above it may appear or disappear. @param {Element | null | undefined} message @returns {Anchor | null} */
  #anchorOf(message) {
    const element = message?.querySelector('.bubble') ?? message;
    return element ? { element, top: this.#topOf(element) } : null;
  }

  /** The first message that ends below `y`. Lines are skipped, because they may disappear. @param {number} y */
  #messageAt(y) {
    let element = firstBelow((firstBelow(this.#chunks, y) ?? this.#pending).children, y);
    while (element && !element.matches('.message')) element = /** @type {Element} */ (element.nextElementSibling);
    return element;
  }

  /** @param {Element} element */
  #topOf(element) {
    return element.getBoundingClientRect().top - this.#scroller.getBoundingClientRect().top;
  }
}

/** The first element that ends below `y`; the elements are in order. @param {ArrayLike<Element>} elements @param {number} y */
function firstBelow(elements, y) {
  let low = 0;
  let high = elements.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (elements[middle].getBoundingClientRect().bottom <= y) low = middle + 1;
    else high = middle;
  }
  return elements[low];
}
