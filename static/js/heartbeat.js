// @ts-check
// A worker that is only a timer: browsers slow the timers of hidden pages to one per minute, which
// is longer than the presence TTL, but not those of workers.

/** @type {ReturnType<typeof setInterval> | undefined} */
let timer;

onmessage = (event) => {
  clearInterval(timer);
  if (event.data > 0) timer = setInterval(() => postMessage(null), event.data);
};
