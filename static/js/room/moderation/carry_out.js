// @ts-check
// Waits for a moderation request, and shows its error if it fails.

import { ApiError } from '../../api.js';
import { errorText } from './words.js';

/** @param {Promise<unknown>} order @param {(text: string) => void} say @returns {Promise<boolean>} */
export async function carriedOut(order, say) {
  try {
    await order;
    return true;
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    say(Object.values(error.details).join(' ') || errorText(error.code));
    return false;
  }
}
