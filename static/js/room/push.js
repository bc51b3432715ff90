// @ts-check
// Being notified while no tab of the room is open. What that takes is loaded where somebody wants it, or has it.

import { call } from '../api.js';
import { loadIdentity, storage } from '../identity.js';
import { loadLater, serviceWorkers } from '../loader.js';
import { permission } from './settings.js';
import { t } from './words.js';

const PUSHED = 'linkroom:push:'; // and a room: this browser is notified of it
const ANSWER = 500; // ms that a menu waits for the server's key

/** The key that the server signs with, once it is known. @type {Promise<string | null> | null} */
let asked = null;

/** Whether this browser is notified of the room. @param {string} roomId */
const isPushed = (roomId) => storage.read(PUSHED + roomId) !== null && permission() === 'granted';

/** The server's key; null where there is none, or this browser has no use for it. */
function serverKey() {
  if (!serviceWorkers() || !('PushManager' in globalThis) || permission() === null) return Promise.resolve(null);
  asked ??= call('/api/push').then(({ publicKey }) => publicKey, () => (asked = null));
  return asked;
}

const part = () => loadLater('push', () => import('./push/toggle.js'));

/**
 * What stands in the menu of the room; null where the server or the browser cannot do it.
 * @param {import('../session.js').Session} session
 * @param {(text: string) => void} say
 * @returns {Promise<import('./menu.js').Item | null>}
 */
export async function pushItem({ state: { roomId }, cipher }, say) {
  const key = await Promise.race([serverKey(), new Promise((resolve) => setTimeout(() => resolve(null), ANSWER))]);
  if (!key) return null;
  const checked = isPushed(roomId);

  async function toggle() {
    const module = await part().catch(() => null);
    if (!module) return say(t('UNREACHABLE'));
    if (checked) {
      storage.remove(PUSHED + roomId);
      await module.turnOff(roomId, storage.keys(PUSHED).length === 0, say);
    } else if (await module.turnOn(roomId, key, cipher !== null, say)) {
      storage.write(PUSHED + roomId, '1');
    }
  }

  return { testid: 'menu-push', icon: 'bell', text: t('push'), checked, act: toggle };
}

/**
 * The server forgets whom it notifies with the room, and with whoever has another token now: it is told again.
 * @param {import('../session.js').Session} session
 */
export function keepPushed(session) {
  const { roomId } = session.state;
  let told = '';
  session.subscribe(async ({ connection }) => {
    const token = loadIdentity(roomId)?.token ?? '';
    if (connection.phase !== 'online' || token === told || !isPushed(roomId)) return;
    told = token;
    const key = await serverKey();
    if (key) await part().then(({ subscribe }) => subscribe(roomId, key)).catch(() => (told = ''));
  });
}
