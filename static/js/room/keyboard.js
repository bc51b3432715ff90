// @ts-check
// An on-screen keyboard that covers the page, as on iOS: the room gets the space above it. Elsewhere the browser makes
// the page smaller.

const LOWEST = 100; // px, less than any keyboard is high

/** @param {HTMLElement} view @param {AbortSignal} signal */
export function fitKeyboard(view, signal) {
  const seen = window.visualViewport;
  if (!seen) return;
  const fit = () => {
    const height = seen.height * seen.scale; // but for zooming
    const isCovered = innerHeight - height > LOWEST;
    view.style.blockSize = isCovered ? `${height}px` : '';
    if (isCovered) scrollTo(0, 0);
  };
  seen.addEventListener('resize', fit, { signal });
  fit();
}
