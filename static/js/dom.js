// @ts-check
// Creates elements. Their texts only ever become text nodes.

const SVG = 'http://www.w3.org/2000/svg';

/**
 * @param {string} tag
 * @param {Record<string, any>} [props] attributes; `testid`, `data` and `on…` handlers are special,
 *   false, null and undefined are left out
 * @param {...(Node | string | null | false | undefined)} children
 * @returns {any}
 */
export function h(tag, props = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) setProp(element, name, value);
  element.append(...children.filter((child) => child !== null && child !== false && child !== undefined));
  return element;
}

/** @param {HTMLElement} element @param {string} name @param {any} value */
function setProp(element, name, value) {
  if (value === false || value === null || value === undefined) return;
  if (name === 'testid') element.dataset.testid = value;
  else if (name === 'data') Object.assign(element.dataset, value);
  else if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
  else element.setAttribute(name, value === true ? '' : value);
}

/** Outlines on a 24 by 24 grid. */
const ICONS = {
  link: 'M10 14a4.5 4.5 0 0 0 6.4.4l3-3a4.5 4.5 0 0 0-6.4-6.4l-1.3 1.3M14 10a4.5 4.5 0 0 0-6.4-.4l-3 3a4.5 4.5 0 0 0 6.4 6.4l1.3-1.3',
  check: 'M5 12.5l4.5 4.5L19 7.5',
  share: 'M12 15V4M8 7.5L12 3.5l4 4M6 11.5H5v9h14v-9h-1',
  people: 'M9 11a3.5 3.5 0 1 0 0-7 3.5 3.5 0 0 0 0 7zM2.5 20c0-3.6 2.9-6 6.5-6s6.5 2.4 6.5 6M16 4.3a3.5 3.5 0 0 1 0 6.4M18 14.5c2.2.8 3.5 2.8 3.5 5.5',
  bell: 'M6 16.5V11a6 6 0 0 1 12 0v5.5l1.5 1.5h-15zM10 20.5a2.2 2.2 0 0 0 4 0',
  bellOff: 'M8 6.5A6 6 0 0 1 18 11v4M17 18H4.5L6 16.5V11c0-.6.1-1.2.3-1.8M10 20.5a2.2 2.2 0 0 0 4 0M3.5 3.5l17 17',
  leave: 'M14 4H5.5v16H14M10 12h10.5M17 8l4 4-4 4',
  send: 'M12 19.5V5M6 11l6-6 6 6',
  down: 'M12 5v14M6 13l6 6 6-6',
  lock: 'M6 10.5h12v9.5H6zM8.5 10.5V7.5a3.5 3.5 0 0 1 7 0v3',
  shield: 'M12 3.5l7 2.5v5c0 4.5-3 7.8-7 9.5-4-1.7-7-5-7-9.5V6zM9 12l2.2 2.2L15.5 10',
  clock: 'M12 7v5l3.5 2M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18z',
  sound: 'M4 9.5v5h3.5L12 18.5v-13L7.5 9.5zM15.5 9a4 4 0 0 1 0 6M18 6.5a7.5 7.5 0 0 1 0 11',
  door: 'M5 20.5V4h10v16.5M3 20.5h18M12 12.5h.01M18 9l2.5 2.5L18 14',
  reply: 'M10 6L4.5 11.5 10 17M5 11.5h8.5a6 6 0 0 1 6 6V19',
  copy: 'M9 9h10.5v11H9zM6 15H4.5V4H15v2',
  more: 'M6 12h.01M12 12h.01M18 12h.01',
  menu: 'M4 7h16M4 12h16M4 17h16',
  close: 'M6 6l12 12M18 6L6 18',
  edit: 'M4.5 19.5l1-4.5L16 5l3 3L8.5 18.5z',
  bin: 'M5 7h14M10 7V4.5h4V7M7 7l1 12.5h8L17 7',
};

/** @typedef {keyof typeof ICONS} IconName */

/** @param {IconName} name @returns {SVGElement} decorative: the control around it has the accessible name */
export function icon(name) {
  const svg = document.createElementNS(SVG, 'svg');
  const path = document.createElementNS(SVG, 'path');
  svg.setAttribute('viewBox', '0 0 24 24');
  svg.setAttribute('class', 'icon');
  svg.setAttribute('aria-hidden', 'true');
  path.setAttribute('d', ICONS[name]);
  svg.append(path);
  return svg;
}

/** @param {HTMLElement} element @param {Node[]} children Replaces the element's contents. */
export function show(element, ...children) {
  element.replaceChildren(...children);
}

/**
 * Changes the page. If the focused element is removed or hidden by that, `refuge` gets the focus.
 * @param {HTMLElement} refuge
 * @param {() => void} work
 */
export function keepFocus(refuge, work) {
  const focused = document.activeElement;
  work();
  const isLost = focused !== document.activeElement || focused?.closest('[hidden]');
  if (isLost && focused !== document.body) refuge.focus({ preventScroll: true });
}

/** Focuses the element and scrolls it into view. @param {HTMLElement} element */
export function focusOn(element) {
  element.tabIndex = -1;
  element.focus({ preventScroll: true });
  element.scrollIntoView({ block: 'nearest' });
}
