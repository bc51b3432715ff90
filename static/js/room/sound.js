// @ts-check
// A short sound for a message, synthesized.

const NOTES = [880, 1174.66]; // Hz
const LENGTH = 0.16; // s
const LOUDNESS = 0.08;

/** @type {AudioContext | undefined} */
let context;

/** Two soft notes. A browser that requires a click first, or has no sound, stays silent. */
export function play() {
  try {
    playNotes();
  } catch {
    // A message is told without it, too.
  }
}

function playNotes() {
  context ??= new AudioContext();
  const start = context.currentTime;
  const { destination } = context;
  for (const [i, frequency] of NOTES.entries()) {
    const note = new OscillatorNode(context, { frequency });
    const loudness = new GainNode(context, { gain: 0 });
    const at = start + (i * LENGTH) / 2;
    loudness.gain.setValueAtTime(0, at);
    loudness.gain.linearRampToValueAtTime(LOUDNESS, at + 0.01);
    loudness.gain.exponentialRampToValueAtTime(0.0001, at + LENGTH);
    note.connect(loudness).connect(destination);
    note.start(at);
    note.stop(at + LENGTH);
  }
}
