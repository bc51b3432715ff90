//! One tab, as a person uses it: looks, clicks, types. Every wait is for a condition. Whatever a test
//! is about, it fails if a script throws or the page does what its content security policy forbids.

use std::{
    collections::BTreeSet,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use base64::{Engine, prelude::BASE64_STANDARD};
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::{
    chromium,
    devtools::DevTools,
    keyboard::{self, SHIFT},
    support::{Stage, TestEnv, eventually},
    tabs::{self, Tab},
};

/// How long anything on a page may take on a busy machine; a test that passes never waits for it.
const DEADLINE: Duration = Duration::from_secs(30);

/// In every page, before its own scripts: elements by test id. What a test does to the clock or the
/// network is done elsewhere. The service worker, which fetches and stores all files once more, waits until it
/// is wanted.
const PRELUDE: &str = r#"
  window.all = (id, within = document) => [...within.querySelectorAll(`[data-testid="${id}"]`)];
  window.one = (id) => document.querySelector(`[data-testid="${id}"]`);
  window.isSeen = (element) => Boolean(element?.checkVisibility({ visibilityProperty: true, opacityProperty: false }));
  {
    const wanted = new Promise((resolve) => (window.installWorker = resolve));
    const { register } = window.ServiceWorkerContainer?.prototype ?? {};
    if (register) ServiceWorkerContainer.prototype.register = async function (...how) {
      await wanted;
      return register.apply(this, how);
    };
  }
"#;

/// What a person looks at the page with.
#[derive(Clone, Copy)]
pub struct Look {
    /// As the browser asks for it: `en-US`, `ko-KR`.
    pub language: &'static str,
    /// CSS pixels.
    pub width: u32,
    pub height: u32,
    pub touch: bool,
    pub dark: bool,
    pub reduced_motion: bool,
}

pub const DESKTOP: Look = Look {
    language: "en-US",
    width: 1200,
    height: 800,
    touch: false,
    dark: false,
    reduced_motion: false,
};

pub const PHONE: Look = Look { width: 390, height: 780, touch: true, ..DESKTOP };

/// Somebody with a browser context, whatever tabs are open in it.
struct Person {
    tab: Option<Tab>,
    /// Whose pages were shown.
    origins: Mutex<BTreeSet<String>>,
}

impl Person {
    fn context(&self) -> &str {
        &self.tab.as_ref().unwrap().context
    }
}

impl Drop for Person {
    fn drop(&mut self) {
        // What a failed test left open is nobody's.
        if let Some(tab) = self.tab.take().filter(|_| !std::thread::panicking()) {
            tabs::give_back(tab, std::mem::take(&mut self.origins.lock()));
        }
    }
}

pub struct Page {
    devtools: Arc<DevTools>,
    person: Arc<Person>,
    target: String,
    session: String,
    look: Look,
    pictures: PathBuf,
    may_fail: AtomicBool,
    watches_network: AtomicBool,
}

impl Page {
    /// A new person: a browser context with nothing in it yet.
    pub async fn open(env: &TestEnv, look: Look) -> Self {
        let devtools = Arc::new(DevTools::connect(chromium::devtools_url().await).await);
        let tab = tabs::take(&devtools).await;
        let target = tab.target.clone();
        let person = Arc::new(Person { tab: Some(tab), origins: Mutex::default() });
        Self::on(devtools, person, target, look, env.fresh_path("screen")).await
    }

    /// The same person's next tab, which is then the one in front.
    pub async fn new_tab(&self) -> Self {
        let pictures = self.pictures.with_extension("tab");
        let (devtools, person) = (Arc::clone(&self.devtools), Arc::clone(&self.person));
        let target = tabs::open_in(&devtools, person.context()).await;
        Self::on(devtools, person, target, self.look, pictures).await
    }

    async fn on(
        devtools: Arc<DevTools>,
        person: Arc<Person>,
        target: String,
        look: Look,
        pictures: PathBuf,
    ) -> Self {
        let attach = json!({ "targetId": target, "flatten": true });
        let attached = devtools.call(None, "Target.attachToTarget", attach).await.unwrap();
        let session = attached["sessionId"].as_str().unwrap().to_owned();
        let (may_fail, watches_network) = (AtomicBool::new(false), AtomicBool::new(false));
        let page =
            Self { devtools, person, target, session, look, pictures, may_fail, watches_network };
        page.set_up().await;
        page
    }

    async fn set_up(&self) {
        for domain in ["Page.enable", "Runtime.enable", "Log.enable"] {
            self.cdp(domain, json!({})).await;
        }
        // Each tab stands for a person who looks at it; a test says so where nobody does.
        self.cdp("Emulation.setFocusEmulationEnabled", json!({ "enabled": true })).await;
        self.run_first(PRELUDE).await;
        let Look { language, width, height, touch, .. } = self.look;
        let metrics =
            json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": touch });
        self.cdp("Emulation.setDeviceMetricsOverride", metrics).await;
        self.cdp("Emulation.setTouchEmulationEnabled", json!({ "enabled": touch })).await;
        self.cdp("Emulation.setLocaleOverride", json!({ "locale": language })).await;
        let version = self.devtools.call(None, "Browser.getVersion", json!({})).await.unwrap();
        let agent = json!({ "userAgent": version["userAgent"], "acceptLanguage": language });
        self.cdp("Emulation.setUserAgentOverride", agent).await;
        self.set_colours(self.look.dark).await;
    }

    /// Sets light or dark mode, like the system's setting.
    pub async fn set_colours(&self, dark: bool) {
        let motion = if self.look.reduced_motion { "reduce" } else { "no-preference" };
        let features = json!({ "features": [
            { "name": "prefers-color-scheme", "value": if dark { "dark" } else { "light" } },
            { "name": "prefers-reduced-motion", "value": motion },
        ] });
        self.cdp("Emulation.setEmulatedMedia", features).await;
    }

    /// Runs a script in every document from now on, before the document's own.
    pub async fn run_first(&self, script: &str) {
        self.cdp("Page.addScriptToEvaluateOnNewDocument", json!({ "source": script })).await;
    }

    /// A method of the DevTools protocol on this tab.
    pub async fn cdp(&self, method: &str, params: Value) -> Value {
        let answer = self.devtools.call(Some(&self.session), method, params).await;
        answer.unwrap_or_else(|error| panic!("{error}"))
    }

    /// The parameters of this tab's DevTools events of one kind so far, oldest first.
    pub fn events(&self, method: &str) -> Vec<Value> {
        let is_told =
            !method.starts_with("Network.") || self.watches_network.load(Ordering::Relaxed);
        assert!(is_told, "nobody watches the network");
        self.devtools.events(&self.session, method)
    }

    /// From here on the page has its service worker.
    pub async fn installs(&self) {
        self.run_first("installWorker()").await;
        self.eval("window.installWorker?.()").await;
    }

    /// From here on there are events of the network: hundreds for each page, which most tests do not need.
    pub async fn watch_network(&self) {
        self.watches_network.store(true, Ordering::Relaxed);
        self.cdp("Network.enable", json!({})).await;
    }

    /// Allows what the person would be asked about: `notifications`, `clipboardReadWrite`…
    pub async fn grant(&self, what: &str, origin: &str) {
        let grant = json!({
            "permissions": [what], "origin": origin, "browserContextId": self.person.context(),
        });
        self.devtools.call(None, "Browser.grantPermissions", grant).await.unwrap();
    }

    /// Faults that no page may have: an uncaught exception, a violation of the content security
    /// policy.
    fn faults(&self) -> Vec<Value> {
        let revoked = self.events("Runtime.exceptionRevoked");
        let was_caught = |thrown: &Value| {
            let id = &thrown["exceptionDetails"]["exceptionId"];
            revoked.iter().any(|late| late["exceptionId"] == *id)
        };
        let mut faults = self.events("Runtime.exceptionThrown");
        faults.retain(|thrown| !was_caught(thrown));
        let logged =
            self.events("Log.entryAdded").into_iter().map(|mut event| event["entry"].take());
        faults.extend(logged.filter(|entry| entry["source"] == "security"));
        faults
    }

    /// From here on the test expects exceptions.
    pub fn expect_faults(&self) {
        self.may_fail.store(true, Ordering::Relaxed);
    }

    /// A frame of another site in this tab, whose address begins like this.
    pub async fn frame(&self, address: &str) -> Self {
        let is_it = |target: &Value| {
            let url = target["url"].as_str().unwrap_or_default();
            target["type"] == "iframe"
                && target["browserContextId"] == *self.person.context()
                && url.starts_with(address)
        };
        let target = self.wait("the frame", async || {
            let targets = self.devtools.call(None, "Target.getTargets", json!({})).await.unwrap();
            let mut targets = targets["targetInfos"].as_array().unwrap().iter();
            targets.find(|target| is_it(target)).map(|target| target["targetId"].clone())
        });
        let target = target.await.as_str().unwrap().to_owned();
        let attach = json!({ "targetId": target, "flatten": true });
        let attached = self.devtools.call(None, "Target.attachToTarget", attach).await.unwrap();
        let session = attached["sessionId"].as_str().unwrap().to_owned();
        let (devtools, person) = (Arc::clone(&self.devtools), Arc::clone(&self.person));
        let pictures = self.pictures.with_extension("frame");
        let frame = Self {
            devtools,
            person,
            target,
            session,
            look: self.look,
            pictures,
            may_fail: AtomicBool::new(false),
            watches_network: AtomicBool::new(false),
        };
        for domain in ["Runtime.enable", "Log.enable"] {
            frame.cdp(domain, json!({})).await;
        }
        frame.eval(PRELUDE).await;
        frame
    }

    // Navigation

    pub async fn goto(&self, url: &str) {
        let loads = self.loads();
        let answer = self.cdp("Page.navigate", json!({ "url": url })).await;
        // Without a loader only the fragment changed.
        if answer.get("loaderId").is_some() {
            self.wait_for_load(loads).await;
        }
    }

    pub async fn reload(&self) {
        let loads = self.loads();
        self.cdp("Page.reload", json!({})).await;
        self.wait_for_load(loads).await;
    }

    /// Number of documents that began in this tab.
    fn loads(&self) -> usize {
        self.events("Page.frameNavigated").len()
    }

    async fn wait_for_load(&self, before: usize) {
        self.wait("the page begins", async || (self.loads() > before).then_some(())).await;
    }

    pub async fn url(&self) -> String {
        self.eval("location.href").await.as_str().unwrap().to_owned()
    }

    pub async fn close(self) {
        let close = json!({ "targetId": self.target });
        self.devtools.call(None, "Target.closeTarget", close).await.unwrap();
    }

    // Reading the page

    /// The value of an expression; a promise is waited for.
    pub async fn eval(&self, expression: &str) -> Value {
        self.try_eval(expression).await.unwrap_or_else(|error| panic!("{expression}: {error}"))
    }

    async fn try_eval(&self, expression: &str) -> Result<Value, String> {
        evaluate(&self.devtools, &self.session, expression).await
    }

    /// The same in this person's service worker.
    pub async fn eval_in_worker(&self, expression: &str) -> Value {
        let targets = self.devtools.call(None, "Target.getTargets", json!({})).await.unwrap();
        let mut targets = targets["targetInfos"].as_array().unwrap().iter();
        let worker = targets.find(|target| {
            target["type"] == "service_worker"
                && target["browserContextId"] == *self.person.context()
        });
        let attach = json!({ "targetId": worker.unwrap()["targetId"], "flatten": true });
        let attached = self.devtools.call(None, "Target.attachToTarget", attach).await.unwrap();
        evaluate(&self.devtools, attached["sessionId"].as_str().unwrap(), expression)
            .await
            .unwrap_or_else(|error| panic!("{expression}: {error}"))
    }

    /// Waits until an expression is true (in JavaScript's sense), and returns its value.
    pub async fn until(&self, expression: &str) -> Value {
        let is_true = |value: &Value| {
            !matches!(value, Value::Null | Value::Bool(false)) && *value != 0 && *value != ""
        };
        self.until_value(expression, expression, is_true).await
    }

    /// Waits until an expression has this value.
    pub async fn until_is(&self, expression: &str, wanted: &Value) {
        let what = format!("{expression} is {wanted}");
        self.until_value(expression, &what, |value| value == wanted).await;
    }

    async fn until_value(
        &self,
        expression: &str,
        what: &str,
        is_wanted: impl Fn(&Value) -> bool,
    ) -> Value {
        let check = async || self.try_eval(expression).await.ok().filter(&is_wanted);
        match self.in_time(what, check).await {
            Some(value) => value,
            None => {
                let now = self.try_eval(expression).await;
                self.complain(&format!("{what}; now {now:?}")).await
            }
        }
    }

    /// Waits until the element with this test id can be seen.
    pub async fn see(&self, id: &str) {
        self.until(&format!("isSeen(one('{id}'))")).await;
    }

    /// Waits until no element with this test id can be seen.
    pub async fn see_none(&self, id: &str) {
        self.until(&format!("!isSeen(one('{id}'))")).await;
    }

    /// The text of an element, once it can be seen.
    pub async fn text(&self, id: &str) -> String {
        self.see(id).await;
        self.eval(&format!("one('{id}').innerText")).await.as_str().unwrap().to_owned()
    }

    /// Waits until an attribute has this value.
    pub async fn see_attribute(&self, id: &str, name: &str, value: &str) {
        self.until_is(&format!("one('{id}')?.getAttribute('{name}')"), &json!(value)).await;
    }

    /// Waits until the room is usable with this name, including the parts that load later.
    pub async fn see_inside(&self, name: &str) {
        self.see_attribute("room", "data-me", name).await;
        self.see_attribute("room", "data-complete", "true").await;
    }

    /// Waits until the log shows exactly these messages, all sent: author and text.
    pub async fn see_messages(&self, wanted: &[(&str, &str)]) {
        let expression = "all('message').map((li) => [li.dataset.state, li.dataset.from, \
                          all('message-text', li)[0].textContent])";
        let wanted = wanted.iter().map(|(from, text)| json!(["sent", from, text]));
        self.until_is(expression, &wanted.collect()).await;
    }

    /// Waits until exactly these members, in any order, are shown as present.
    pub async fn see_members(&self, wanted: &[&str]) {
        let expression = "all('member').filter((li) => li.dataset.status !== 'left')\
                          .map((li) => li.dataset.user).sort()";
        let mut wanted = wanted.to_vec();
        wanted.sort_unstable();
        self.until_is(expression, &json!(wanted)).await;
    }

    /// Waits until a member is shown with this status.
    pub async fn see_status(&self, user: &str, status: &str) {
        let of_user = format!("all('member').find((li) => li.dataset.user === '{user}')");
        self.until_is(&format!("{of_user}?.dataset.status"), &json!(status)).await;
    }

    /// A picture of the page, or of one element, as PNG in base64.
    pub async fn picture(&self, of: Option<&str>) -> String {
        let mut params = json!({ "format": "png" });
        if let Some(id) = of {
            let rect = format!(
                "(({{ x, y, width, height }}) => ({{ x, y, width, height, scale: 2 }}))\
                 (one('{id}').getBoundingClientRect())"
            );
            params["clip"] = self.eval(&rect).await;
        }
        let answer = self.cdp("Page.captureScreenshot", params).await;
        answer["data"].as_str().unwrap().to_owned()
    }

    // Input

    /// Clicks in the middle of an element, once a pointer would hit it there.
    pub async fn click(&self, id: &str) {
        self.click_at(&format!("one('{id}')")).await;
    }

    /// The same for the element of an expression.
    pub async fn click_at(&self, element: &str) {
        let what = format!("{element} can be clicked");
        let point = self.until_value(&hit_point(element), &what, Value::is_array).await;
        for kind in ["mouseMoved", "mousePressed", "mouseReleased"] {
            let event = json!({
                "type": kind, "x": point[0], "y": point[1], "button": "left", "clickCount": 1,
            });
            self.cdp("Input.dispatchMouseEvent", event).await;
        }
    }

    /// Types into the focused element.
    pub async fn type_text(&self, text: &str) {
        self.cdp("Input.insertText", json!({ "text": text })).await;
    }

    /// Presses a key: `Enter`, `Tab`, `Escape`, `Space`, `ArrowUp`…
    pub async fn press(&self, key: &str) {
        self.press_with(key, 0).await;
    }

    /// Presses a key with Shift held down.
    pub async fn press_shift(&self, key: &str) {
        self.press_with(key, SHIFT).await;
    }

    /// Presses a key with modifiers, given as bits.
    pub async fn press_with(&self, key: &str, modifiers: u32) {
        for event in keyboard::events(key, modifiers) {
            self.cdp("Input.dispatchKeyEvent", event).await;
        }
    }

    /// Replaces the contents of an input.
    pub async fn fill(&self, id: &str, text: &str) {
        self.click(id).await;
        self.eval(&format!("one('{id}').select()")).await;
        self.type_text(text).await;
        self.until_is(&format!("one('{id}').value"), &json!(text)).await;
    }

    /// Writes a message and sends it with Enter.
    pub async fn say(&self, text: &str) {
        self.fill("composer", text).await;
        self.press("Enter").await;
        self.until_is("one('composer').value", &json!("")).await;
    }

    // Faults

    /// Sets the network: offline, or this slow (ms of delay, bytes per second).
    pub async fn set_network(&self, offline: bool, latency: u32, throughput: i32) {
        let conditions = json!({
            "offline": offline, "latency": latency,
            "downloadThroughput": throughput, "uploadThroughput": throughput,
        });
        self.watch_network().await;
        self.cdp("Network.emulateNetworkConditions", conditions).await;
    }

    /// Nothing comes from these addresses, in which `*` is anything.
    pub async fn block(&self, urls: &[&str]) {
        self.watch_network().await;
        self.cdp("Network.setBlockedURLs", json!({ "urls": urls })).await;
    }

    /// Waits as `eventually` does, and keeps a picture of the page where that was in vain.
    pub async fn wait<T>(&self, what: &str, check: impl AsyncFnMut() -> Option<T>) -> T {
        match self.in_time(what, check).await {
            Some(found) => found,
            None => self.complain(what).await,
        }
    }

    async fn in_time<T>(&self, what: &str, mut check: impl AsyncFnMut() -> Option<T>) -> Option<T> {
        let mut found = None;
        let wait = eventually(DEADLINE * 10, what, async || {
            found = check().await;
            found.is_some().then_some(())
        });
        let _ = tokio::time::timeout(DEADLINE, wait).await;
        found
    }

    async fn complain(&self, what: &str) -> ! {
        let picture = self.pictures.with_extension("png");
        let pixels = tokio::time::timeout(Duration::from_secs(5), self.picture(None)).await;
        let bytes = pixels.ok().and_then(|base64| BASE64_STANDARD.decode(base64).ok());
        let _ = std::fs::write(&picture, bytes.unwrap_or_default());
        let words = self.try_eval("[location.href, document.body?.innerText].join('\\n')").await;
        let words = words.ok().and_then(|words| words.as_str().map(str::to_owned));
        panic!("not within {DEADLINE:?}: {what}\n{}", words.unwrap_or_default());
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        let shown = self.events("Page.frameNavigated").into_iter();
        let origins =
            shown.filter_map(|event| event["frame"]["securityOrigin"].as_str().map(str::to_owned));
        self.person.origins.lock().extend(origins.filter(|origin| origin.starts_with("http")));
        let faults = self.faults();
        let may_fail = self.may_fail.load(Ordering::Relaxed);
        assert!(
            faults.is_empty() || may_fail || std::thread::panicking(),
            "on the page: {faults:#?}"
        );
    }
}

async fn evaluate(devtools: &DevTools, session: &str, expression: &str) -> Result<Value, String> {
    let params = json!({
        "expression": expression, "awaitPromise": true, "returnByValue": true, "userGesture": true,
    });
    let mut answer = devtools.call(Some(session), "Runtime.evaluate", params).await?;
    match answer.get("exceptionDetails") {
        Some(details) => Err(details["exception"]["description"].to_string()),
        None => Ok(answer["result"]["value"].take()),
    }
}

/// An expression: where to click an element, once it is in sight, does not move, and is not
/// covered. Until then, the reason.
fn hit_point(element: &str) -> String {
    format!(
        "(async () => {{
          const element = {element};
          if (!isSeen(element)) return 'not in sight';
          if (element.disabled) return 'disabled';
          element.scrollIntoView({{ block: 'nearest' }});
          const {{ x, y, width, height }} = element.getBoundingClientRect();
          await new Promise((resolve) => setTimeout(resolve, 20));
          const now = element.getBoundingClientRect();
          if (now.x !== x || now.y !== y) return 'moving';
          const point = [x + width / 2, y + height / 2];
          const hit = document.elementFromPoint(...point);
          const isHit = element.contains(hit) || hit?.closest('label')?.control === element;
          return isHit ? point : `covered by ${{hit?.outerHTML}}`;
        }})()"
    )
}

#[tokio::test]
async fn a_page_that_breaks_its_policy_or_throws_fails_its_test() {
    let stage = Stage::new(1, &[]).await;
    let style = "const p = document.createElement('p'); p.setAttribute('style', 'color: red')";
    for wrong in [style, "setTimeout(() => { throw 1; })", "void Promise.reject(1)"] {
        let page = Page::open(&stage.env, DESKTOP).await;
        page.goto(stage.http().base()).await;
        page.eval(&format!("{wrong}; 0")).await;
        page.wait("the fault comes", async || (!page.faults().is_empty()).then_some(())).await;
        let test = std::panic::AssertUnwindSafe(|| drop(page));
        assert!(std::panic::catch_unwind(test).is_err(), "{wrong}");
    }
}
