// @ts-check
// Where the reader is in the log, by geometry. Only the reader moves it: whatever grows or shrinks, in the
// log or around it, the end stays in sight for who follows the talk, and for who reads further up what is
// in sight stays where it is. Browsers' own anchoring is off: not all have it, and none at the very top.

const NEAR = 8; // px from the end that still count as being there
const MARGIN = 16; // px above what is to be read first

/** @typedef {{element: Element, top: number}} Anchor the text of a message, and where it stands, in px below the top of the log */

export class Place {
  #scroller;
  #chunks;
  #pending;
  #firstUnread;
  #onScrolled;
  /** Whether the end is to stay in sight. */
  #follows = true;
  /** What is held where it stands while not following. @type {Anchor | null} */
  #anchor = null;
  /** The last place that is known, and the measures of the log there. */
  #known = { top: 0, content: 0, height: 0, width: 0 };
  #frame = 0;

  /**
   * @param {{scroller: HTMLElement, inner: HTMLElement, chunks: HTMLElement, pending: HTMLElement}} log what
   *   scrolls, all that is scrolled, and in it the chunks with stored messages and the messages that wait. Children
   *   are asked for, as a search through all that is in the log takes a millisecond beside thousands of messages
   * @param {{firstUnread(): Element | undefined, onScrolled(): void}} reading following goes no
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

  /** The reader wants the end, and what comes. */
  toEnd() {
    this.#follows = true;
    this.#scroller.scrollTop = this.#scroller.scrollHeight;
    this.#note();
  }

  /** The reader wants to see this message. @param {Element} element */
  show(element) {
    this.#follows = false;
    element.scrollIntoView({ block: 'center' });
    this.#anchor = this.#anchorOf(element);
    this.#note();
  }

  /** The reader comes back: where reading stopped, or at the end where all is read. */
  begin() {
    if (this.#follows) this.#scroller.scrollTop = this.#goal();
    this.hold();
  }

  /** The reader goes on from here by themselves. */
  stay() {
    this.#follows = false;
    this.#anchor = this.#atTop();
  }

  /** Something has changed: nothing moves. */
  hold() {
    if (this.#follows) {
      const { scrollTop, scrollHeight, clientHeight } = this.#scroller;
      this.#scroller.scrollTop = Math.min(scrollHeight - clientHeight, Math.max(this.#goal(), scrollTop));
    } else {
      this.#holdAnchor();
    }
    this.#note();
  }

  /** @param {Element} element */
  isInSight(element) {
    const { top, bottom } = this.#scroller.getBoundingClientRect();
    const box = element.getBoundingClientRect();
    return box.bottom > top && box.top < bottom;
  }

  /** The last stored message that ends in sight or above. @returns {HTMLElement | null} */
  lastSeen() {
    const edge = this.#scroller.getBoundingClientRect().bottom + 1;
    const cut = firstBelow(this.#chunks, edge);
    /** @type {Element | null | undefined} */
    let element = cut ? firstBelow(cut.children, edge)?.previousElementSibling : this.#chunks[this.#chunks.length - 1]?.lastElementChild;
    if (cut && !element) element = cut.previousElementSibling?.lastElementChild;
    while (element && !element.matches('.message')) element = element.previousElementSibling;
    return /** @type {HTMLElement | null | undefined} */ (element) ?? null;
  }

  /** How far following goes, in px: to the end, but not past the beginning of what is not read. */
  #goal() {
    const { scrollTop, scrollHeight, clientHeight } = this.#scroller;
    const end = scrollHeight - clientHeight;
    const element = this.#firstUnread();
    const start = element ? this.#topOf(element) + scrollTop : end;
    return start < end ? start - MARGIN : end;
  }

  #onScroll() {
    if (this.#isLaidOutAnew()) this.hold();
    else if (Math.abs(this.#scroller.scrollTop - this.#known.top) >= 1) this.#onMoved();
    this.#onScrolled();
  }

  /** The reader has scrolled. Layout alone moves a log only together with its measures. */
  #onMoved() {
    this.#follows = this.isAtEnd;
    // What comes in sight at the top is drawn for the first time, and turns out to be taller or smaller than
    // was thought. Until then the message at the bottom is held.
    this.#anchor = this.#scroller.scrollTop < this.#known.top ? this.#atBottom() : this.#atTop();
    this.#note();
    cancelAnimationFrame(this.#frame);
    this.#frame = requestAnimationFrame(() => {
      this.#frame = requestAnimationFrame(() => (this.#anchor = this.#atTop()));
    });
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
   * The first message that begins in sight, so that what grows at the end of the one above it moves
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

  /** The text is what stands still: the name above it comes and goes. @param {Element | null | undefined} message @returns {Anchor | null} */
  #anchorOf(message) {
    const element = message?.querySelector('.bubble') ?? message;
    return element ? { element, top: this.#topOf(element) } : null;
  }

  /** The first message that ends below. (Lines come and go.) @param {number} y */
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

/** The first element that reaches below `y`; they stand in order. @param {ArrayLike<Element>} elements @param {number} y */
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
