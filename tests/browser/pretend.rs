//! What a test simulates for a page: that nobody looks at it, that time has passed. Headless tabs
//! are never hidden by themselves, and a test cannot wait for ten minutes.

use crate::page::Page;

/// `hide(true)` and `hide(false)` hide and show the page. `lookAt(true)` and `lookAt(false)` give
/// the focus to another window, which does not cover this one, and back.
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

/// `skip(ms)` sets the clock forward by that much and runs the timers that are due by then. After
/// `stopClock()`, only `skip` moves the clock.
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

/// Installs both before the first page of a tab.
pub async fn prepare(page: &Page) {
    page.run_first(HIDING).await;
    page.run_first(CLOCK).await;
}

/// Hides the page.
pub async fn hide(page: &Page) {
    page.eval("hide(true)").await;
}

/// Shows the page again.
pub async fn show(page: &Page) {
    page.eval("hide(false)").await;
}

/// Another window has the focus; this one is still visible.
pub async fn look_elsewhere(page: &Page) {
    page.eval("lookAt(true)").await;
}

/// This window has the focus again.
pub async fn look_back(page: &Page) {
    page.eval("lookAt(false)").await;
}

/// From now on only `skip` moves the page's clock; its timers run as usual.
pub async fn stop_clock(page: &Page) {
    page.eval("stopClock()").await;
}

/// Sets the page's clock forward.
pub async fn skip(page: &Page, ms: u64) {
    page.eval(&format!("skip({ms})")).await;
}
