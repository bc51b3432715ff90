// @ts-check
// A timer that also works while the page is hidden: in a worker, or in the page itself if there is
// no worker.

export class Ticker {
  #onTick;
  #every = 0; // ms; 0: stopped
  /** @type {Worker | null} */
  #worker;
  /** @type {ReturnType<typeof setInterval> | undefined} */
  #timer;

  /** @param {() => void} onTick */
  constructor(onTick) {
    this.#onTick = onTick;
    this.#worker = this.#start();
  }

  /** @returns {Worker | null} */
  #start() {
    try {
      const worker = new Worker(new URL('./heartbeat.js', import.meta.url));
      worker.onmessage = this.#onTick;
      worker.onerror = () => {
        this.#worker = null;
        this.tick(this.#every);
      };
      return worker;
    } catch {
      return null;
    }
  }

  /** @param {number} every ms */
  tick(every) {
    this.#every = every;
    clearInterval(this.#timer);
    if (this.#worker) this.#worker.postMessage(every);
    else if (every > 0) this.#timer = setInterval(this.#onTick, every);
  }

  stop() {
    this.#worker?.terminate();
    this.#worker = null;
    clearInterval(this.#timer);
  }
}
