//! Tabs, each in a browser context of its own: one for each person in a test, and for one of another test later.
//! Making one costs more than most of what tests do in them.

use std::{
    collections::BTreeSet,
    sync::{Arc, LazyLock},
    time::Duration,
};

use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::mpsc::{self, Receiver, Sender};

use crate::{chromium, devtools::DevTools};

/// How long a page may take to let go.
const LEAVES_WITHIN: Duration = Duration::from_secs(5);

/// More than all tests that run at the same time leave at once.
const QUEUED: usize = 64;

const AGAIN: Duration = Duration::from_millis(20);

/// Those that nobody uses, with nothing in them.
static FREE: Mutex<Vec<Tab>> = Mutex::new(Vec::new());

/// Where they go when they are not used any more.
static USED: LazyLock<Sender<Used>> = LazyLock::new(|| {
    let (sender, used) = mpsc::channel(QUEUED);
    // Not on the runtime of a test, which ends with it.
    std::thread::spawn(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(clean_all(used));
    });
    sender
});

/// A tab, and the context that it is in, by their ids.
pub struct Tab {
    pub context: String,
    pub target: String,
}

struct Used {
    tab: Tab,
    origins: BTreeSet<String>,
}

/// A tab with nothing in it.
pub async fn take(devtools: &DevTools) -> Tab {
    let free = FREE.lock().pop();
    match free {
        Some(tab) => tab,
        None => {
            let made = devtools.call(None, "Target.createBrowserContext", json!({})).await.unwrap();
            let context = made["browserContextId"].as_str().unwrap().to_owned();
            let target = open_in(devtools, &context).await;
            Tab { context, target }
        }
    }
}

/// One more tab in a context: its target.
pub async fn open_in(devtools: &DevTools, context: &str) -> String {
    let made = json!({ "url": "about:blank", "browserContextId": context });
    let made = devtools.call(None, "Target.createTarget", made).await.unwrap();
    made["targetId"].as_str().unwrap().to_owned()
}

/// Takes a tab back that has shown pages of these origins. One too many stays as it is until the browser ends.
pub fn give_back(tab: Tab, origins: BTreeSet<String>) {
    let _ = USED.try_send(Used { tab, origins });
}

async fn clean_all(mut used: Receiver<Used>) {
    let devtools = Arc::new(DevTools::connect(chromium::devtools_url().await).await);
    while let Some(used) = used.recv().await {
        let devtools = Arc::clone(&devtools);
        tokio::spawn(async move {
            let cleaned = tokio::time::timeout(LEAVES_WITHIN, clean(&devtools, &used)).await;
            if matches!(cleaned, Ok(Ok(()))) {
                FREE.lock().push(used.tab);
            } else {
                let gone = json!({ "browserContextId": used.tab.context });
                let _ = devtools.call(None, "Target.disposeBrowserContext", gone).await;
            }
        });
    }
}

/// Leaves nothing of a test: pages, what they stored, what they were allowed.
async fn clean(devtools: &DevTools, Used { tab, origins }: &Used) -> Result<(), String> {
    for page in pages(devtools, tab).await? {
        if page["targetId"] != *tab.target {
            let close = json!({ "targetId": page["targetId"] });
            devtools.call(None, "Target.closeTarget", close).await?;
        }
    }
    // Until the test's own session has ended: what it emulates and runs would be there in the next page as well.
    while pages(devtools, tab).await?.iter().any(|page| page["attached"] == true) {
        tokio::time::sleep(AGAIN).await;
    }
    let attach = json!({ "targetId": tab.target, "flatten": true });
    let attached = devtools.call(None, "Target.attachToTarget", attach).await?;
    let session = attached["sessionId"].as_str();
    devtools.call(session, "Page.navigate", json!({ "url": "about:blank" })).await?;
    // Until the page that was left lets go of the tab.
    while devtools.call(session, "Page.resetNavigationHistory", json!({})).await.is_err() {
        tokio::time::sleep(AGAIN).await;
    }
    for origin in origins {
        let all = json!({ "origin": origin, "storageTypes": "all" });
        devtools.call(session, "Storage.clearDataForOrigin", all).await?;
    }
    let of_context = json!({ "browserContextId": tab.context });
    devtools.call(None, "Browser.resetPermissions", of_context).await?;
    devtools.call(None, "Target.detachFromTarget", json!({ "sessionId": session })).await?;
    Ok(())
}

/// What is open in a tab's context.
async fn pages(devtools: &DevTools, tab: &Tab) -> Result<Vec<Value>, String> {
    let mut targets = devtools.call(None, "Target.getTargets", json!({})).await?;
    let Value::Array(mut open) = targets["targetInfos"].take() else { return Ok(Vec::new()) };
    open.retain(|page| page["type"] == "page" && page["browserContextId"] == *tab.context);
    Ok(open)
}
