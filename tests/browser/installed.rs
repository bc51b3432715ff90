//! Installation: the client is an app, opens without a network, and opens quickly for the first
//! time.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::{
    deployment::{Deployment, Now},
    page::{DESKTOP, PHONE, Page},
    scene::{link_to, make_room, room_of},
    support::{Proxy, Stage},
};

/// Minimum time from a request to its answer: far longer than a busy machine needs to send a page's
/// parallel requests.
const ROUND_TRIP: Duration = Duration::from_secs(3);
/// Number of consecutive round trips until the page was usable: the longest chain of requests, each
/// of which began after the previous answer.
const ROUND_TRIPS: &str = "(() => {
  const isNeeded = ({ responseEnd }) => responseEnd > 0 && responseEnd <= usable;
  const requests = performance.getEntries().filter(isNeeded);
  const trips = new Map();
  for (const request of requests.sort((a, b) => a.requestStart - b.requestStart)) {
    const before = requests.filter((other) => other.responseEnd <= request.requestStart);
    trips.set(request, 1 + Math.max(0, ...before.map((other) => trips.get(other))));
  }
  return Math.max(...trips.values());
})()";
/// The versions of the page and its style sheet.
const VERSIONS: &str = "[document.querySelector('meta[name=version]')?.content, \
                        getComputedStyle(document.documentElement).getPropertyValue('--version')]";
/// The versions of the stored copies.
const KEPT_VERSIONS: &str = "Promise.all(['/', '/static/app.css'].map(async (file) => \
                             (await (await caches.match(file)).text())\
                             .match(/(?:content=\"|--version: )(\\d+)(?=\"><\\/head>|;)/)[1]))";

/// A page that has stored version 1 of the client, and its proxies.
struct Installed {
    page: Page,
    network: Proxy,
    deployment: Deployment,
    _stage: Stage,
}

impl Installed {
    async fn new() -> Self {
        let stage = Stage::new(1, &[]).await;
        let deployment = Deployment::of(stage.http()).await;
        let network = Proxy::to(deployment.addr()).await;
        let page = Page::open(&stage.env, DESKTOP).await;
        page.installs().await;
        page.goto(&format!("http://{}", network.addr())).await;
        page.until_is(KEPT_VERSIONS, &json!(["1", "1"])).await;
        page.until("navigator.serviceWorker.controller").await;
        Self { page, network, deployment, _stage: stage }
    }
}

#[tokio::test]
async fn the_client_can_be_installed() {
    let stage = Stage::new(1, &[]).await;
    let page = Page::open(&stage.env, PHONE).await;
    page.installs().await;
    page.goto(stage.http().base()).await;
    page.see("landing").await;
    let manifest = page.cdp("Page.getAppManifest", json!({})).await;
    assert_eq!(manifest["errors"], json!([]));
    let hindrances = page.cdp("Page.getInstallabilityErrors", json!({})).await;
    // Tests never share a profile, and a client cannot be installed without one.
    let ids = hindrances["installabilityErrors"].as_array().unwrap().iter();
    let ids: Vec<_> = ids.map(|error| error["errorId"].as_str().unwrap()).collect();
    assert!(ids.iter().all(|id| *id == "in-incognito"), "{ids:?}");

    let icons = page
        .eval(
            "fetch('/manifest.webmanifest').then((answer) => answer.json()).then(({ icons }) => \
             Promise.all(icons.filter(({ type }) => type === 'image/png').map(async (icon) => {
               const file = await (await fetch(icon.src)).blob();
               const { width, height } = await createImageBitmap(file);
               return [icon.sizes, `${width}x${height}`, file.type];
             })))",
        )
        .await;
    let icons = icons.as_array().unwrap();
    assert!(icons.len() >= 3 && icons.iter().all(|icon| icon[0] == icon[1]), "{icons:?}");
}

#[tokio::test]
async fn the_client_opens_without_a_network_and_is_never_older_than_the_last_deploy() {
    let Installed { page, network, deployment, .. } = &Installed::new().await;
    network.cut();
    page.reload().await;
    page.see("landing").await;
    page.until_is(VERSIONS, &json!(["1", "1"])).await;

    network.resume();
    deployment.deploy(2);
    page.reload().await;
    page.see("landing").await;
    assert_eq!(page.eval(VERSIONS).await, json!(["2", "2"]), "the first visit after a deploy");
    page.until_is(KEPT_VERSIONS, &json!(["2", "2"])).await;
    network.cut();
    page.reload().await;
    page.see("landing").await;
    page.until_is(VERSIONS, &json!(["2", "2"])).await;
}

/// A deployment in progress: some nodes have the old version, a file is slow.
#[tokio::test]
async fn a_page_is_of_one_version_whatever_a_deploy_is_at() {
    let Installed { page, deployment, .. } = &Installed::new().await;
    let half = Now { version: 2, ..Now::default() };
    let states = [
        Now { behind: Some("/static/app.css"), ..half },
        Now { slow: Some("/static/js/i18n.js"), ..half },
    ];
    for now in states {
        deployment.become_now(now);
        page.reload().await;
        page.see("landing").await;
        let versions = page.eval(VERSIONS).await;
        assert_eq!(versions, json!(["1", "1"]), "{:?} {:?}", now.behind, now.slow);
    }
    deployment.deploy(3);
    page.reload().await;
    page.see("landing").await;
    page.until_is(VERSIONS, &json!(["3", "3"])).await;
}

#[tokio::test]
async fn a_page_of_somebody_else_is_shown_and_never_kept() {
    let Installed { page, network, deployment, .. } = &Installed::new().await;
    deployment.become_now(Now { version: 1, maintenance: true, ..Now::default() });
    for _ in 0..2 {
        page.reload().await;
        page.until("document.querySelector('h1')?.innerText === 'Back soon'").await;
    }
    network.cut();
    page.reload().await;
    page.see("landing").await;
    network.resume();
    deployment.deploy(2);
    page.reload().await;
    page.until_is(VERSIONS, &json!(["2", "2"])).await;
}

#[tokio::test]
async fn a_worker_whose_storage_fails_or_lies_does_not_stand_in_the_way() {
    let stage = Stage::new(1, &[]).await;
    let page = Page::open(&stage.env, DESKTOP).await;
    page.installs().await;
    page.goto(stage.http().base()).await;
    page.until("navigator.serviceWorker.controller && caches.match('/').then(Boolean)").await;
    // A part of the copy is lost, and comes back.
    page.eval("caches.keys().then((names) => Promise.all(names.map(async (name) => (await caches.open(name)).delete('/static/js/i18n.js'))))").await;
    page.reload().await;
    page.see("landing").await;
    page.until("caches.match('/static/js/i18n.js').then(Boolean)").await;
    let faults = [
        "Cache.prototype.put = () => Promise.reject(new DOMException('', 'QuotaExceededError'))",
        "CacheStorage.prototype.match = CacheStorage.prototype.keys = () => { throw new Error() }",
        "CacheStorage.prototype.open = () => Promise.reject(new DOMException('', 'UnknownError'))",
    ];
    for fault in faults {
        page.eval_in_worker(&format!("{fault}; 0")).await;
        page.reload().await;
        page.see("landing").await;
    }
    page.fill("name", "Eve").await;
    page.click("create").await;
    page.see_inside("Eve").await;
}

#[tokio::test]
async fn the_client_opens_where_the_network_takes_everything_and_brings_nothing() {
    let stage = Stage::new(1, &[]).await;
    let network = Proxy::to(stage.nodes[0].addr()).await;
    let page = Page::open(&stage.env, DESKTOP).await;
    page.installs().await;
    page.goto(&format!("http://{}", network.addr())).await;
    page.until("navigator.serviceWorker.controller && caches.match('/').then(Boolean)").await;
    network.freeze();
    let start = Instant::now();
    page.reload().await;
    page.see("landing").await;
    // One wait for the page, and none for its files.
    assert!(start.elapsed() < Duration::from_secs(9), "{:?}", start.elapsed());
    network.resume();
}

#[tokio::test]
async fn a_deploy_under_an_open_page_does_not_keep_it_out_of_its_room() {
    let stage = Stage::new(1, &[]).await;
    let deployment = Deployment::of(stage.http()).await;
    let page = Page::open(&stage.env, DESKTOP).await;
    page.installs().await;
    page.goto(&format!("http://{}", deployment.addr())).await;
    page.see("landing").await;
    deployment.deploy(2);
    page.fill("name", "Alice").await;
    page.click("create").await;
    page.see("room").await;
    page.until_is(VERSIONS, &json!(["2", "2"])).await;
}

#[tokio::test]
async fn a_file_that_did_not_come_once_is_got_over() {
    let stage = Stage::new(1, &[]).await;
    let room = stage.room("Ann").await;
    let page = Page::open(&stage.env, DESKTOP).await;
    page.installs().await;
    page.goto(&link_to(&stage, &room)).await;
    page.see("nickname").await;
    page.block(&["*/log.js"]).await;
    page.run_first("window.isFresh = true").await;
    page.fill("nickname", "Eve").await;
    page.click("enter").await;
    // The page reloads, and the file fails again: that is reported, and nothing else happens.
    page.until("window.isFresh").await;
    page.until_is("one('nickname')?.value", &json!("Eve")).await;
    page.eval("window.isFresh = false").await;
    page.click("enter").await;
    page.see("broken").await;
    assert_eq!(page.eval("window.isFresh").await, false, "not again");

    page.block(&[]).await;
    page.click("again").await;
    page.click("enter").await;
    page.see_inside("Eve").await;
}

#[tokio::test]
async fn a_room_opens_without_a_network_and_what_is_written_there_is_sent_once() {
    let stage = Stage::new(1, &[]).await;
    let network = Proxy::to(stage.nodes[0].addr()).await;
    let page = Page::open(&stage.env, DESKTOP).await;
    page.installs().await;
    let link = make_room(&page, &format!("http://{}", network.addr()), "Alice").await;
    page.say("before").await;
    page.see_messages(&[("Alice", "before")]).await;
    page.until("caches.match('/static/js/room/view.js').then(Boolean)").await;

    network.cut();
    page.set_network(true, 0, 0).await;
    page.see_attribute("connection", "data-state", "offline").await;
    page.say("meanwhile").await;
    page.reload().await;
    page.see("room").await;
    page.until_is("all('message').map((li) => li.innerText.includes('meanwhile'))", &json!([true]))
        .await;
    page.say("after a reload").await;
    page.until("all('message').every((li) => li.dataset.state === 'sending')").await;

    network.resume();
    page.set_network(false, 0, -1).await;
    let said = [("Alice", "before"), ("Alice", "meanwhile"), ("Alice", "after a reload")];
    page.see_messages(&said).await;
    assert_eq!(stage.redis.stream_ids(room_of(&link)).len(), 3);
}

/// Round trips dominate on a slow network, so they are counted. Their time would depend on how busy
/// the machine is; `make measure` measures it.
#[tokio::test]
async fn a_first_visit_is_usable_after_three_round_trips_and_is_small() {
    let stage = Stage::new(1, &[]).await;
    let room = stage.room("Ann").await;
    let (room, http) = (link_to(&stage, &room), stage.http());
    tokio::join!(first_visit(&stage, &room, "nickname"), first_visit(&stage, http.base(), "name"));
}

/// Opens the link for the first time, until the element is drawn, and checks what that took.
async fn first_visit(stage: &Stage, link: &str, id: &str) {
    let page = Page::open(&stage.env, DESKTOP).await;
    page.installs().await;
    page.run_first(&format!(
        "new MutationObserver(() => {{
           if (one('{id}')) requestAnimationFrame(() => setTimeout(() => window.usable ??= performance.now()));
         }}).observe(document, {{ childList: true, subtree: true }})"
    ))
    .await;
    page.set_network(false, ROUND_TRIP.as_millis() as u32, 1_600_000 / 8).await;
    page.goto(link).await;
    page.until("window.usable").await;
    assert_eq!(page.eval(ROUND_TRIPS).await, 3, "{link}");
    let loaded = page.events("Network.loadingFinished");
    let size = |event: &Value| event["encodedDataLength"].as_f64().unwrap();
    let bytes: f64 = loaded.iter().map(size).sum();
    assert!(bytes < 60_000.0, "{link}: {bytes} bytes");
}
