// @ts-check
// Frames and messages as the room's key opens them; where there is no key, as they are.

/**
 * @typedef {import('./protocol.js').ServerFrame} ServerFrame
 * @typedef {import('./crypto.js').Cipher} Cipher
 */

/** @param {Cipher} cipher @param {ServerFrame} frame @returns {Promise<ServerFrame>} */
export async function openFrame(cipher, frame) {
  if (frame.t === 'msg') return { ...frame, ...(await cipher.open(frame.text, frame.from)) };
  if (frame.t === 'joined') return { ...frame, messages: await openAll(cipher, frame.messages) };
  return frame;
}

/**
 * @param {Cipher | null} cipher
 * @param {readonly import('./protocol.js').WireMessage[]} messages
 * @returns {Promise<import('./store.js').Message[]>}
 */
export async function openAll(cipher, messages) {
  if (!cipher) return [...messages];
  return Promise.all(messages.map(async (message) => ({ ...message, ...(await cipher.open(message.text, message.from)) })));
}
