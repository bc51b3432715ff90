// @ts-check
// The style sheet of menus and dialogs. A module that imports this one runs after it is loaded.

import { h } from '../dom.js';

const sheet = h('link', { rel: 'stylesheet', href: '/static/menus.css' });
document.head.append(sheet);
await new Promise((resolve) => {
  sheet.onload = resolve;
  sheet.onerror = resolve; // Unstyled is better than nothing.
});
