// @ts-check
// What its creator can do in a room, and authors with their messages, is loaded when it is wanted.

import { loadLater } from '../loader.js';
import { t } from './words.js';

/** @param {(text: string) => void} say that it did not come */
export async function order(say) {
  const module = await loadLater('order', () => import('./order/all.js')).catch(() => null);
  if (!module) say(t('UNREACHABLE'));
  return module;
}
