// @ts-check
// Moderation of a room by its creator, and of their own messages by authors, loaded when it is
// first used.

import { loadLater } from '../loader.js';
import { t } from './words.js';

/** @param {(text: string) => void} say that it did not come */
export async function loadModeration(say) {
  const module = await loadLater('moderation', () => import('./moderation/all.js')).catch(() => null);
  if (!module) say(t('UNREACHABLE'));
  return module;
}
