//! Reading: what is unread, who has read it, and how people who look at another page are notified.

use serde_json::json;

use crate::{
    page::{DESKTOP, Page},
    pretend::{hide, look_back, look_elsewhere, prepare, show},
    scene::{
        ann_and_reader, choose, close, companion, enter, link_through, link_to, make_room, reader,
        room_of, see_unread_from,
    },
    support::{Proxy, Stage},
};

#[tokio::test]
async fn a_hidden_tab_counts_in_its_title_what_came_until_it_is_seen() {
    let (_stage, room, mut ann, page) = ann_and_reader().await;
    page.until_is("document.title", &json!("Ann · linkroom")).await;
    hide(&page).await;
    ann.say(&room.id, "the first words in an empty room").await;
    page.until_is("document.title", &json!("(1) Ann · linkroom")).await;
    ann.say(&room.id, "and more").await;
    page.until_is("document.title", &json!("(2) Ann · linkroom")).await;
    show(&page).await;
    page.until_is("document.title", &json!("Ann · linkroom")).await;
    ann.say(&room.id, "seen at once").await;
    page.until("all('message').length === 3").await;
    page.until_is("document.title", &json!("Ann · linkroom")).await;
}

/// Records which notifications the browser has shown. A test cannot wait by asking the browser
/// which ones it shows: if Chromium is asked for a notification that it is about to show, it drops
/// it.
const NOTE_NOTIFICATIONS: &str = r#"
  window.notified = [];
  const { showNotification } = ServiceWorkerRegistration.prototype;
  ServiceWorkerRegistration.prototype.showNotification = async function (title, options) {
    const outcome = await showNotification.call(this, title, options).then(() => options.body, String);
    notified.push([title, outcome, options.renotify]);
  };
"#;

/// Switches notifications on, and records them from now on.
pub async fn want_notifications(page: &Page, origin: &str) {
    page.installs().await;
    page.grant("notifications", origin).await;
    page.click("notify").await;
    page.see_attribute("notify", "aria-pressed", "true").await;
    page.until("navigator.serviceWorker.controller").await;
    page.eval(NOTE_NOTIFICATIONS).await;
}

/// The texts of the notifications that the browser shows now, oldest first.
pub const SHOWN: &str = "navigator.serviceWorker.ready.then((worker) => worker.getNotifications())\
                     .then((all) => all.map(({ body }) => body))";

#[tokio::test]
async fn a_window_in_sight_reads_nothing_while_another_has_the_focus() {
    let (stage, room, mut ann, page) = ann_and_reader().await;
    want_notifications(&page, stage.http().base()).await;
    look_elsewhere(&page).await;
    let family = "👩\u{200d}👩\u{200d}👧";
    ann.say(&room.id, &family.repeat(40)).await;
    page.until_is("document.title", &json!("(1) Ann · linkroom")).await;
    page.until("notified.length === 1").await;
    let body = page.eval("notified[0][1]").await;
    let whole = body.as_str().unwrap().trim_end_matches('…').replace(family, "");
    assert_eq!(whole, "", "{body}");
    page.see_status("Eve", "online").await;
    ann.say(&room.id, "again").await;
    page.until("notified.length === 2").await;
    page.until_is(SHOWN, &json!(["again"])).await;
    assert_eq!(page.eval("notified[1][2]").await, true, "the second is noticed as well");
    look_back(&page).await;
    page.until_is("document.title", &json!("Ann · linkroom")).await;
    page.until_is(SHOWN, &json!([])).await;
}

#[tokio::test]
async fn who_wants_to_hear_of_mentions_only_is_told_of_nothing_else() {
    let (stage, room, mut ann, page) = ann_and_reader().await;
    page.say("shall we?").await;
    want_notifications(&page, stage.http().base()).await;
    choose(&page, "notify-mentions").await;
    choose(&page, "menu-sound").await;
    let count = "window.notes = 0; const { start } = OscillatorNode.prototype; \
                 OscillatorNode.prototype.start = function (at) { notes++; start.call(this, at); }; 0";
    page.eval(count).await;
    look_elsewhere(&page).await;
    for text in ["for Everybody", "@Eve, please", "> Eve: shall we?\nyes"] {
        ann.say(&room.id, text).await;
    }
    page.until_is("document.title", &json!("(3) Ann · linkroom")).await;
    let icon = "document.querySelector('link[rel=icon]').getAttribute('href')";
    page.until_is(icon, &json!("/static/badges/3.svg")).await;
    page.until("notified.length === 2 && notes >= 2").await;
    let told = page.eval("notified.map(([, body]) => body)").await;
    assert_eq!(told, json!(["@Eve, please", "yes"]));
    page.eval("dispatchEvent(new Event('offline')); 0").await;
    ann.say(&room.id, "@Eve, while there was no connection").await;
    ann.say(&room.id, "for nobody").await;
    page.eval("dispatchEvent(new Event('online')); 0").await;
    page.until_is("notified.at(-1)?.[1]", &json!("@Eve, while there was no connection")).await;
    look_back(&page).await;
    page.until_is(icon, &json!("/static/icon.svg")).await;
}

/// Simulates a browser without locks, which tabs use to coordinate.
const NO_LOCKS: &str =
    "Object.defineProperty(Navigator.prototype, 'locks', { value: undefined }); 0";

/// Delays `extras.js`, like a slow network, until `comes` is true.
const LATE: &str = r#"
  const { getElementById } = Document.prototype;
  Document.prototype.getElementById = function (id) {
    if (id === 'extras-modules' && !window.comes) throw new Error(id);
    return getElementById.call(this, id);
  };
"#;

#[tokio::test]
async fn all_tabs_of_a_room_decide_as_one() {
    tabs_decide_as_one("0").await;
}

#[tokio::test]
async fn all_tabs_of_a_room_decide_as_one_where_the_browser_has_no_locks() {
    tabs_decide_as_one(NO_LOCKS).await;
}

/// One tab in front, then none: which notifications tabs of such a browser show, and when.
async fn tabs_decide_as_one(browser: &str) {
    let stage = Stage::new(1, &[]).await;
    let room = stage.room("Ann").await;
    let mut ann = companion(&stage, &room, &room.token).await;
    let page = Page::open(&stage.env, DESKTOP).await;
    prepare(&page).await;
    page.run_first(browser).await;
    enter(&page, &link_to(&stage, &room), "Eve").await;
    want_notifications(&page, stage.http().base()).await;
    let tab = page.new_tab().await;
    prepare(&tab).await;
    tab.run_first(browser).await;
    tab.run_first(LATE).await;
    tab.goto(&link_to(&stage, &room)).await;
    // The person looks at the second tab before it is fully loaded.
    tab.see_attribute("room", "data-me", "Eve").await;
    hide(&page).await;
    ann.say(&room.id, "seen in a tab that is not complete").await;
    for one in [&page, &tab] {
        one.until("all('message').length === 1").await;
    }
    tab.eval("window.comes = true; dispatchEvent(new Event('online'))").await;
    tab.see_inside("Eve").await;
    tab.eval(NOTE_NOTIFICATIONS).await;
    ann.say(&room.id, "seen in the other tab").await;
    for one in [&page, &tab] {
        one.until("all('message').length === 2").await;
    }
    hide(&tab).await;
    ann.say(&room.id, "seen in none").await;
    let told = async || {
        let mut told = page.eval("notified").await.as_array().unwrap().clone();
        told.append(&mut tab.eval("notified").await.as_array().unwrap().clone());
        told
    };
    page.wait("a notification", async || (!told().await.is_empty()).then_some(())).await;
    for one in [&page, &tab] {
        one.until("all('message').length === 3").await;
    }
    show(&tab).await;
    page.until_is("document.title", &json!("Ann · linkroom")).await;
    page.until_is(SHOWN, &json!([])).await;
    let told = told().await;
    assert_eq!(told, [json!(["Ann", "seen in none", true])]);
}

/// Messages from before the notifier was loaded are notified then.
#[tokio::test]
async fn a_hidden_tab_notifies_of_what_came_before_it_was_complete() {
    let (stage, room, mut ann, page) = ann_and_reader().await;
    want_notifications(&page, stage.http().base()).await;
    page.run_first(LATE).await;
    page.reload().await;
    page.see_attribute("connection", "data-state", "online").await;
    page.eval(NOTE_NOTIFICATIONS).await;
    hide(&page).await;
    ann.say(&room.id, "early").await;
    page.until_is("document.title", &json!("(1) Ann · linkroom")).await;
    page.eval("window.comes = true; dispatchEvent(new Event('online'))").await;
    page.until_is("notified", &json!([["Ann", "early", true]])).await;
}

#[tokio::test]
async fn a_click_on_a_notification_finds_the_tab_that_made_the_room() {
    let stage = Stage::new(1, &[]).await;
    let page = Page::open(&stage.env, DESKTOP).await;
    prepare(&page).await;
    let link = make_room(&page, stage.http().base(), "Eve").await;
    want_notifications(&page, stage.http().base()).await;
    hide(&page).await;
    let mut ann = stage.nodes[0].client().await;
    ann.join(room_of(&link), "Ann").await;
    ann.say(room_of(&link), "come").await;
    page.until("notified.length === 1").await;
    let clicked = page.eval_in_worker(CLICK_NOTIFICATION).await;
    assert_eq!((&clicked[0], &clicked[2]), (&json!("focus"), &json!(0)), "{clicked}");
}

#[tokio::test]
async fn a_hidden_tab_shows_a_notification_where_that_is_wanted() {
    let (stage, room, mut ann, page) = ann_and_reader().await;
    page.see_attribute("notify", "aria-pressed", "false").await;
    want_notifications(&page, stage.http().base()).await;
    ann.say(&room.id, "you are looking").await;
    page.until("all('message').length === 1").await;
    // A sound that fails keeps nothing back.
    page.eval("window.AudioContext = class { constructor() { throw new Error(); } }; localStorage.setItem('linkroom:sound', true)").await;
    hide(&page).await;
    ann.say(&room.id, "psst").await;
    page.until_is("notified", &json!([["Ann", "psst", true]])).await;

    page.click("notify").await;
    page.see_attribute("notify", "aria-pressed", "false").await;
    ann.say(&room.id, "not wanted any more").await;
    page.until("all('message').length === 3").await;
    assert_eq!(page.eval("notified").await, json!([["Ann", "psst", true]]));
}

/// Simulates a click on the first notification, which no test can do for real. A worker may bring a
/// page to the front only after a real click, so its action is recorded instead.
const CLICK_NOTIFICATION: &str = r#"
  (async () => {
    const done = new Promise((resolve) => {
      WindowClient.prototype.focus = async function () { resolve(['focus', this.url]); };
      Clients.prototype.openWindow = async (url) => resolve(['open', url]);
    });
    self.notification ??= (await registration.getNotifications())[0];
    dispatchEvent(new NotificationEvent('notificationclick', { notification }));
    const left = (await done, await registration.getNotifications());
    return [...(await done), left.length];
  })()
"#;

/// Whether the worker knows of a page in a room; it learns late that one was left.
const IS_ROOM_OPEN: &str =
    "clients.matchAll().then((all) => all.some(({ url }) => url.includes('/r/')))";

#[tokio::test]
async fn a_click_on_a_notification_brings_its_room_to_the_front_or_opens_it() {
    let (stage, room, mut ann, page) = ann_and_reader().await;
    want_notifications(&page, stage.http().base()).await;
    hide(&page).await;
    let link = link_to(&stage, &room);
    ann.say(&room.id, "come").await;
    page.until_is("notified", &json!([["Ann", "come", true]])).await;
    let clicked = page.eval_in_worker(CLICK_NOTIFICATION).await;
    assert_eq!(clicked, json!(["focus", link, 0]));
    page.goto(&format!("{}/?elsewhere", stage.http().base())).await;
    page.wait("the worker knows that the room was left", async || {
        (page.eval_in_worker(IS_ROOM_OPEN).await == false).then_some(())
    })
    .await;
    let clicked = page.eval_in_worker(CLICK_NOTIFICATION).await;
    assert_eq!(clicked, json!(["open", link, 0]));
}

/// Messages from while the page was disconnected are notified too.
#[tokio::test]
async fn a_hidden_tab_that_was_cut_off_notifies_of_what_it_missed() {
    let stage = Stage::new(1, &[]).await;
    let room = stage.room("Ann").await;
    let mut ann = companion(&stage, &room, &room.token).await;
    let proxy = Proxy::to(stage.nodes[0].addr()).await;
    let page = Page::open(&stage.env, DESKTOP).await;
    prepare(&page).await;
    enter(&page, &link_through(&proxy, &room), "Eve").await;
    want_notifications(&page, &format!("http://{}", proxy.addr())).await;
    hide(&page).await;
    proxy.cut();
    page.see_attribute("connection", "data-state", "offline").await;
    ann.say(&room.id, "missed").await;
    proxy.resume();
    page.until_is("notified", &json!([["Ann", "missed", true]])).await;
}

#[tokio::test]
async fn a_line_stands_before_what_came_while_nobody_looked() {
    let (_stage, room, mut ann, page) = ann_and_reader().await;
    ann.say(&room.id, "seen").await;
    ann.wait_for_kind("read").await;
    assert_eq!(page.eval("all('unread-line').length").await, 0);
    hide(&page).await;
    ann.say(&room.id, "missed").await;
    ann.say(&room.id, "missed too").await;
    page.until("all('message').length === 3").await;
    show(&page).await;
    let behind = "one('unread-line')?.nextElementSibling.querySelector('[data-testid=message-text]')\
                  .textContent";
    page.until_is(behind, &json!("missed")).await;
    page.say("an answer").await;
    page.until("all('unread-line').length === 0").await;
}

#[tokio::test]
async fn a_line_stands_before_what_came_since_the_last_visit() {
    let (stage, room, mut ann, page) = ann_and_reader().await;
    ann.say(&room.id, "seen").await;
    ann.wait_for_kind("read").await;
    close(&stage, &page).await;
    ann.say(&room.id, "missed").await;
    page.goto(&link_to(&stage, &room)).await;
    see_unread_from(&page, "missed").await;
}

#[tokio::test]
async fn a_message_shows_who_has_read_up_to_it() {
    let stage = Stage::new(1, &[]).await;
    let room = stage.room("Ann").await;
    let mut ann = companion(&stage, &room, &room.token).await;
    let alice = reader(&stage, &room, "Alice").await;
    let bob = reader(&stage, &room, "Bob").await;
    alice.say("first").await;
    let readers = "all('message').map((li) => all('read-by', li)[0]?.dataset.names ?? '')";
    alice.until_is(readers, &json!(["Bob"])).await;
    hide(&bob).await;
    alice.say("second").await;
    ann.wait_for("the message", |frame| frame["text"] == "second").await;
    bob.until("all('message').length === 2").await;
    alice.until_is(readers, &json!(["Bob", ""])).await;
    show(&bob).await;
    alice.until_is(readers, &json!(["", "Bob"])).await;
    let label = alice.eval("one('read-by').getAttribute('aria-label')").await;
    assert_eq!(label, "Read by Bob");
}
