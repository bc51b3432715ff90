// @ts-check
// Frames and messages as the room's key opens them; where there is no key, as they are.

/**
 * @typedef {import('./protocol.js').ServerFrame} ServerFrame
 * @typedef {import('./crypto.js').Cipher} Cipher
 */

/** @param {Cipher} cipher @param {ServerFrame} frame @returns {Promise<ServerFrame>} */
export async function openFrame(cipher, frame) {
  if (frame.t === 'msg') return { ...frame, ...(await cipher.open(frame.text, frame.from)) };
  if (frame.t === 'room') return { ...frame, topic: await openTopic(cipher, frame.topic) };
  if (frame.t === 'joined') {
    const [messages, topic] = await Promise.all([openAll(cipher, frame.messages), openTopic(cipher, frame.topic)]);
    return { ...frame, messages, topic };
  }
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

/** @param {Cipher} cipher @param {string | null | undefined} topic */
const openTopic = async (cipher, topic) => (topic ? cipher.openTopic(topic) : null);
