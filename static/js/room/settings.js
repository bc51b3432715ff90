// @ts-check
// The person's settings for all rooms, stored in this browser.

import { t } from '../i18n.js';
import { storage } from '../identity.js';

const NOTIFICATIONS = 'linkroom:notify';
const SOUND = 'linkroom:sound';
const JOIN_LINES = 'linkroom:comings';

/** @param {string} key @param {boolean} byDefault */
function choice(key, byDefault) {
  return {
    get: () => (storage.read(key) ?? String(byDefault)) === 'true',
    toggle() {
      storage.write(key, String(!this.get()));
    },
  };
}

/** Whether messages make a sound. */
export const sound = choice(SOUND, false);

/** Whether the log shows who joined and left. */
export const joinLines = choice(JOIN_LINES, true);

/** Which messages notify. */
export const NOTIFY = /** @type {const} */ (['all', 'mentions', 'off']);

/** Whether this page may notify; null where there are no notifications, or the browser forbids even to ask. */
export function permission() {
  try {
    return Notification.permission;
  } catch {
    return null;
  }
}

/** @returns {typeof NOTIFY[number] | null} null where there are no notifications */
export function notifyMode() {
  const allowed = permission();
  if (allowed === null) return null;
  const kept = allowed === 'granted' ? storage.read(NOTIFICATIONS) : null;
  if (kept === null) return 'off';
  return kept === 'mentions' ? 'mentions' : 'all';
}

/** Whether any notifications are on. */
export const notifies = () => (notifyMode() ?? 'off') !== 'off';

/** @param {typeof NOTIFY[number]} mode @param {(text: string) => void} say */
export async function setNotifyMode(mode, say) {
  if (mode === 'off') storage.remove(NOTIFICATIONS);
  else if ((await Notification.requestPermission()) === 'granted') storage.write(NOTIFICATIONS, mode === 'all' ? '1' : mode);
  else say(t('notifyDenied'));
  dispatchEvent(new Event(NOTIFICATIONS));
}

/** @param {() => void} callback when notifications were set */
export const onNotifyMode = (callback) => addEventListener(NOTIFICATIONS, callback);
