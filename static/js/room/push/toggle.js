// @ts-check
// Turns it on, where the person has read what that means, and off again.

import { call, pathOf } from '../../api.js';
import { h } from '../../dom.js';
import { loadIdentity } from '../../identity.js';
import { serviceWorkers } from '../../loader.js';
import { openDialog } from '../dialog.js';
import { t } from './words.js';

const ROOMS = 'rooms'; // the cache in which the worker finds the links of rooms that it notifies of

/**
 * @param {string} roomId
 * @param {string} key of the server
 * @param {boolean} isEncrypted
 * @param {(text: string) => void} say
 * @returns {Promise<boolean>} whether it is on
 */
export async function turnOn(roomId, key, isEncrypted, say) {
  if (!(await isWanted(isEncrypted))) return false;
  if ((await Notification.requestPermission()) !== 'granted') {
    say(t('notifyDenied'));
    return false;
  }
  try {
    await subscribe(roomId, key);
    say(t('pushOn'));
    return true;
  } catch {
    say(t('pushFailed'));
    return false;
  }
}

/** @param {string} roomId @param {boolean} isLast no other room is left @param {(text: string) => void} say */
export async function turnOff(roomId, isLast, say) {
  const token = loadIdentity(roomId)?.token ?? undefined;
  const gone = call(`${pathOf(roomId)}/push`, { method: 'DELETE', token }).catch(() => {});
  const registration = await serviceWorkers()?.getRegistration();
  if (isLast) await (await registration?.pushManager.getSubscription())?.unsubscribe().catch(() => false);
  await caches.open(ROOMS).then((rooms) => rooms.delete(`/${roomId}`)).catch(() => false);
  await gone;
  say(t('pushOff'));
}

/**
 * Says to the server where this browser is to be told. A subscription that was made with another key is no use.
 * @param {string} roomId
 * @param {string} key of the server
 */
export async function subscribe(roomId, key) {
  const registration = await serviceWorkers()?.ready;
  if (!registration) throw new Error('no worker');
  const { pushManager } = registration;
  const wanted = Uint8Array.from(atob(key.replace(/-/g, '+').replace(/_/g, '/')), (char) => char.charCodeAt(0));
  const known = await pushManager.getSubscription();
  const isOurs = known && String(new Uint8Array(known.options.applicationServerKey ?? new ArrayBuffer(0))) === String(wanted);
  if (known && !isOurs) await known.unsubscribe();
  const subscription = isOurs ? known : await pushManager.subscribe({ userVisibleOnly: true, applicationServerKey: wanted });
  // A click has to find the room, in an encrypted one with its key.
  const address = new Response(location.href.replace(/&?m=[^&]*/, ''));
  await caches.open(ROOMS).then((rooms) => rooms.put(`/${roomId}`, address)).catch(() => {});
  const token = loadIdentity(roomId)?.token ?? undefined;
  await call(`${pathOf(roomId)}/push`, { method: 'PUT', token, body: subscription.toJSON() });
}

/** @param {boolean} isEncrypted */
async function isWanted(isEncrypted) {
  const answer = await openDialog({
    testid: 'push-dialog',
    title: t('pushTitle'),
    content: (close) => [
      h('p', {}, t('pushText')),
      h('p', { testid: 'push-where' }, t(isEncrypted ? 'pushWhereE2e' : 'pushWhere')),
      h('div', { class: 'dialog-actions' },
        h('button', { type: 'button', class: 'button', testid: 'push-no', onclick: () => close() }, t('cancel')),
        h('button', { type: 'button', class: 'button primary', testid: 'push-yes', onclick: () => close('yes') }, t('pushDo'))),
    ],
  });
  return answer === 'yes';
}
