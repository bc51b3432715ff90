//! Real headless Chromium, driven over WebDriver.

use std::{
    io::{BufRead, BufReader},
    os::unix::process::CommandExt,
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use serde_json::{Value, json};
use thirtyfour::{By, Key, WebDriver, WebElement, WindowHandle, error::WebDriverResult};

use super::{
    TestEnv,
    process::require,
    time::{DEADLINE, eventually},
};

/// Nothing that talks to the world outside, and nothing that needs a display or a sandbox.
const CHROMIUM_FLAGS: [&str; 11] = [
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
    "--window-size=1200,900",
];

/// A chromedriver on a port of its own. It shares a process group with its browsers, which is
/// killed when the test ends: by the shell in it, whose input then ends, even where the test run
/// itself was killed.
pub struct ChromeDriver {
    group: Child,
    url: String,
}

impl ChromeDriver {
    pub fn start() -> Self {
        require("chromedriver");
        require("chromium");
        let mut group = Command::new("sh")
            .args(["-c", "chromedriver --port=0 & read line; kill -KILL 0"])
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("a shell starts");
        let mut lines = BufReader::new(group.stdout.take().unwrap()).lines().map_while(Result::ok);
        let port = lines.find_map(|line| {
            let (_, port) = line.split_once("started successfully on port ")?;
            Some(port.trim_end_matches('.').to_owned())
        });
        let port = port.expect("chromedriver says which port it took");
        Self { group, url: format!("http://127.0.0.1:{port}") }
    }
}

impl Drop for ChromeDriver {
    fn drop(&mut self) {
        let group = Pid::from_raw(self.group.id().try_into().unwrap());
        let _ = killpg(group, Signal::SIGKILL);
        let _ = self.group.wait();
    }
}

/// One browser with a fresh profile.
pub struct Browser {
    driver: WebDriver,
    screenshots: PathBuf,
}

impl Browser {
    /// Starts a browser whose reader wants this language (`en-US`, `ko-KR`).
    pub async fn open(driver: &ChromeDriver, env: &TestEnv, language: &str) -> Self {
        let profile = env.fresh_path("profile");
        let mut arguments = CHROMIUM_FLAGS.map(str::to_owned).to_vec();
        arguments.push(format!("--user-data-dir={}", profile.display()));
        arguments.push(format!("--lang={language}"));
        let capabilities = json!({
            "browserName": "chrome",
            "goog:chromeOptions": {
                "args": arguments,
                "prefs": { "intl.accept_languages": language },
            },
        });
        let Value::Object(capabilities) = capabilities else { unreachable!() };
        let driver = WebDriver::new(&driver.url, thirtyfour::Capabilities::from(capabilities))
            .await
            .expect("Chromium starts");
        Self { driver, screenshots: env.fresh_path("screen") }
    }

    pub async fn goto(&self, url: &str) {
        self.driver.goto(url).await.unwrap();
    }

    pub async fn url(&self) -> String {
        self.driver.current_url().await.unwrap().to_string()
    }

    pub async fn reload(&self) {
        self.driver.refresh().await.unwrap();
    }

    /// Opens a second tab and turns to it; returns the first.
    pub async fn new_tab(&self) -> WindowHandle {
        let first = self.driver.window().await.unwrap();
        let tab = self.driver.new_tab().await.unwrap();
        self.driver.switch_to_window(tab).await.unwrap();
        first
    }

    /// Closes this tab and turns to another.
    pub async fn close_tab(&self, other: WindowHandle) {
        self.driver.close_window().await.unwrap();
        self.driver.switch_to_window(other).await.unwrap();
    }

    /// What a script returns.
    pub async fn eval(&self, script: &str) -> Value {
        self.driver.execute(script, Vec::new()).await.unwrap().json().clone()
    }

    /// Waits until the element with this test id can be seen, and returns it.
    pub async fn see(&self, test_id: &str) -> WebElement {
        self.wait(&format!("element {test_id}"), async || {
            let element = self.driver.find(By::Testid(test_id)).await.ok()?;
            element.is_displayed().await.ok()?.then_some(element)
        })
        .await
    }

    pub async fn click(&self, test_id: &str) {
        self.wait(&format!("click on {test_id}"), async || {
            self.see(test_id).await.click().await.ok()
        })
        .await;
    }

    pub async fn text(&self, test_id: &str) -> String {
        self.see(test_id).await.text().await.unwrap()
    }

    /// Replaces what an input holds.
    pub async fn fill(&self, test_id: &str, text: &str) {
        let fill = async || -> WebDriverResult<()> {
            let input = self.see(test_id).await;
            input.clear().await?;
            input.send_keys(text).await
        };
        self.wait(&format!("fill {test_id}"), async || fill().await.ok()).await;
    }

    /// Writes a message and sends it with Enter.
    pub async fn say(&self, text: &str) {
        self.fill("composer", text).await;
        self.see("composer").await.send_keys(Key::Enter).await.unwrap();
    }

    /// Waits until an attribute has this value.
    pub async fn see_attribute(&self, test_id: &str, name: &str, value: &str) {
        let script = format!(
            "return document.querySelector('[data-testid=\"{test_id}\"]')?.getAttribute('{name}')"
        );
        self.wait(&format!("{test_id} with {name}={value}"), async || {
            (self.eval(&script).await == value).then_some(())
        })
        .await;
    }

    /// Waits until the log shows exactly these messages, all sent: who and what.
    pub async fn see_messages(&self, wanted: &[(&str, &str)]) {
        let script = "return [...document.querySelectorAll('[data-testid=message]')].map(li => \
                      [li.dataset.state, li.dataset.from, \
                       li.querySelector('[data-testid=message-text]').textContent])";
        let wanted: Vec<_> =
            wanted.iter().map(|(from, text)| json!(["sent", from, text])).collect();
        let wanted = Value::Array(wanted);
        self.wait(&format!("the messages {wanted}"), async || {
            (self.eval(script).await == wanted).then_some(())
        })
        .await;
    }

    /// Waits until these, in any order, are the members shown as here.
    pub async fn see_members(&self, wanted: &[&str]) {
        let script = "return [...document.querySelectorAll('[data-testid=member]')] \
                      .filter(li => li.dataset.status !== 'left').map(li => li.dataset.user).sort()";
        let mut wanted = wanted.to_vec();
        wanted.sort_unstable();
        let wanted = json!(wanted);
        self.wait(&format!("the members {wanted}"), async || {
            (self.eval(script).await == wanted).then_some(())
        })
        .await;
    }

    /// Waits as `eventually` does, and keeps a picture of the page where that was in vain.
    async fn wait<T>(&self, what: &str, mut check: impl AsyncFnMut() -> Option<T>) -> T {
        let picture = self.screenshots.with_extension("png");
        let mut found = None;
        let wait = eventually(DEADLINE * 10, what, async || {
            found = check().await;
            found.is_some().then_some(())
        });
        if tokio::time::timeout(DEADLINE, wait).await.is_err() {
            let _ = self.driver.screenshot(&picture).await;
            panic!("not within {DEADLINE:?}: {what}; at {}", self.url().await);
        }
        found.unwrap()
    }
}

impl Drop for Browser {
    /// Its process ends with its ChromeDriver's group; a polite goodbye would only take time.
    fn drop(&mut self) {
        let _ = self.driver.clone().leak();
    }
}
