//! What a test makes a page believe: that nobody looks at it, that time has passed. Headless tabs are
//! never hidden by themselves, and nobody wants to wait for ten minutes.

use crate::page::Page;

/// `hide(true)` and `hide(false)`: the page is out of sight, and back. `lookAt(true)` and `lookAt(false)`:
/// another window has the focus, beside this one, and this one has it again.
const HIDING: &str = r#"
  window.hide = (hidden) => {
    const state = hidden ? 'hidden' : 'visible';
    Object.defineProperty(document, 'visibilityState', { value: state, configurable: true });
    Object.defineProperty(document, 'hidden', { value: hidden, configurable: true });
    document.dispatchEvent(new Event('visibilitychange'));
  };
  window.lookAt = (other) => {
    document.hasFocus = () => !other;
    dispatchEvent(new Event(other ? 'blur' : 'focus'));
  };
"#;

/// `skip(ms)`: the clock is that much later, and timers that are due by then have run. `stopClock()`:
/// from here on it is later only by what is skipped.
const CLOCK: &str = r#"
  (() => {
    const { setTimeout, clearTimeout, Date: Real } = window;
    const waiting = new Map();
    let skipped = 0;
    const sinceStart = performance.now.bind(performance);
    performance.now = () => sinceStart() + skipped;
    let real = () => Real.now();
    window.Date = class extends Real {
      static now() { return real() + skipped; }
      constructor(...given) { super(...(given.length > 0 ? given : [Date.now()])); }
    };
    window.setTimeout = (task, ms = 0, ...rest) => {
      const run = () => { waiting.delete(id); task(...rest); };
      const id = setTimeout(run, ms);
      waiting.set(id, { due: Date.now() + ms, run });
      return id;
    };
    window.clearTimeout = (id) => { waiting.delete(id); clearTimeout(id); };
    window.stopClock = () => {
      const stopped = real();
      real = () => stopped;
    };
    window.skip = (ms) => {
      skipped += ms;
      const timers = [...waiting].sort(([, a], [, b]) => a.due - b.due);
      for (const [id, { due, run }] of timers) {
        if (due > Date.now() || !waiting.has(id)) continue;
        clearTimeout(id);
        run();
      }
    };
  })();
"#;

/// Before its first page: this tab can be hidden, and its time skipped.
pub async fn prepare(page: &Page) {
    page.run_first(HIDING).await;
    page.run_first(CLOCK).await;
}

/// The person looks elsewhere.
pub async fn hide(page: &Page) {
    page.eval("hide(true)").await;
}

/// The person looks at the page again.
pub async fn show(page: &Page) {
    page.eval("hide(false)").await;
}

/// Another window has the focus; this one can still be seen.
pub async fn look_elsewhere(page: &Page) {
    page.eval("lookAt(true)").await;
}

/// This window has the focus again.
pub async fn look_back(page: &Page) {
    page.eval("lookAt(false)").await;
}

/// From here on the page's clock goes on only where time is skipped; its timers run as ever.
pub async fn stop_clock(page: &Page) {
    page.eval("stopClock()").await;
}

/// Time passes on the page.
pub async fn skip(page: &Page, ms: u64) {
    page.eval(&format!("skip({ms})")).await;
}
