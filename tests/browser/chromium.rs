//! The one Chromium that all browser tests share. Each person in a test gets their own browser
//! context, isolated from the others, which costs far less than a process each.

use std::{
    fs,
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use tokio::sync::OnceCell;

use crate::support::require;

/// Nothing that talks to the world outside, and nothing that needs a display or a sandbox.
const FLAGS: [&str; 13] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--remote-debugging-port=0",
    "--disable-features=SpareRendererForSitePerProcess",
];

/// Runs the browser in its own session until its input ends, which happens when the test run ends
/// in any way; then kills everything in the session.
const GUARD: &str = r#"
profile=$1; shift
setsid "$@" --user-data-dir="$profile" >"$profile/log" 2>&1 & browser=$!
read -r line
kill -KILL -$browser
wait
rm -rf "$profile"
"#;

const STARTS_WITHIN: Duration = Duration::from_secs(30);

static CHROMIUM: OnceCell<Chromium> = OnceCell::const_new();

struct Chromium {
    url: String,
    /// Its input stays open as long as the tests run.
    _guard: Child,
}

/// The address of the running browser's DevTools protocol.
pub async fn devtools_url() -> &'static str {
    &CHROMIUM.get_or_init(start).await.url
}

async fn start() -> Chromium {
    for program in ["chromium", "setsid"] {
        require(program);
    }
    let profile = tempfile::Builder::new().prefix("linkroom-chromium-").tempdir().unwrap().keep();
    let guard = Command::new("sh")
        .args(["-c", GUARD, "guard"])
        .arg(&profile)
        .arg("chromium")
        .args(FLAGS)
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("a shell starts");
    Chromium { url: read_url(&profile).await, _guard: guard }
}

/// Chromium writes its port and the path to a file.
async fn read_url(profile: &Path) -> String {
    let start = Instant::now();
    loop {
        let file = fs::read_to_string(profile.join("DevToolsActivePort")).unwrap_or_default();
        if let Some((port, path)) = file.trim_end().split_once('\n') {
            return format!("ws://127.0.0.1:{port}{path}");
        }
        let log = || fs::read_to_string(profile.join("log")).unwrap_or_default();
        assert!(start.elapsed() < STARTS_WITHIN, "Chromium does not start: {}", log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
