// @ts-check
// The style sheet of what lies over a room. Whatever imports this begins when it is there.

import { h } from '../dom.js';

const sheet = h('link', { rel: 'stylesheet', href: '/static/menus.css' });
document.head.append(sheet);
await new Promise((resolve) => {
  sheet.onload = resolve;
  sheet.onerror = resolve; // Plain is better than nothing.
});
