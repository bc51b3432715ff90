// @ts-check
// A worker that only counts time: browsers slow the timers of hidden pages down to one a minute,
// longer than presence lives, but not those of workers.

/** @type {ReturnType<typeof setInterval> | undefined} */
let timer;

onmessage = (event) => {
  clearInterval(timer);
  if (event.data > 0) timer = setInterval(() => postMessage(null), event.data);
};
