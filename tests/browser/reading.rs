//! Reading: what is unread, who has read it, and what reaches somebody who looks elsewhere.

use serde_json::json;

use crate::{
    page::{DESKTOP, Page},
    pretend::{hide, prepare, show},
    scene::{close, companion, enter, link_to, reader, see_unread_from},
    support::{Proxy, Stage},
};

#[tokio::test]
async fn a_hidden_tab_counts_in_its_title_what_came_until_it_is_seen() {
    let stage = Stage::new(1, &[]).await;
    let room = stage.room("Ann").await;
    let mut ann = companion(&stage, &room, &room.token).await;
    let page = reader(&stage, &room, "Eve").await;
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

/// Notes which notifications the browser has shown. Asking it which it shows is no way to wait for
/// one: Chromium forgets a notification that it is asked for while it is about to show it.
const NOTE_NOTIFICATIONS: &str = r#"
  window.notified = [];
  const { showNotification } = ServiceWorkerRegistration.prototype;
  ServiceWorkerRegistration.prototype.showNotification = async function (title, options) {
    const outcome = await showNotification.call(this, title, options).then(() => options.body, String);
    notified.push([title, outcome]);
  };
"#;

#[tokio::test]
async fn a_hidden_tab_shows_a_notification_where_that_is_wanted() {
    let stage = Stage::new(1, &[]).await;
    let room = stage.room("Ann").await;
    let mut ann = companion(&stage, &room, &room.token).await;
    let page = reader(&stage, &room, "Eve").await;
    page.grant("notifications", stage.http().base()).await;
    page.see_attribute("notify", "aria-pressed", "false").await;
    page.click("notify").await;
    page.see_attribute("notify", "aria-pressed", "true").await;
    page.eval("navigator.serviceWorker.ready.then(() => 0)").await;

    page.eval(NOTE_NOTIFICATIONS).await;
    ann.say(&room.id, "you are looking").await;
    page.until("all('message').length === 1").await;
    hide(&page).await;
    ann.say(&room.id, "psst").await;
    page.until_is("notified", &json!([["Ann", "psst"]])).await;

    page.click("notify").await;
    page.see_attribute("notify", "aria-pressed", "false").await;
    ann.say(&room.id, "not wanted any more").await;
    page.until("all('message').length === 3").await;
    assert_eq!(page.eval("notified").await, json!([["Ann", "psst"]]));
}

/// As if the first notification had been clicked, which no test can; a worker may only bring a page to
/// the front after a real click, so what it does is noted instead.
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

/// Whether the worker knows of a page that is in a room; it hears late that one was left.
const IS_ROOM_OPEN: &str =
    "clients.matchAll().then((all) => all.some(({ url }) => url.includes('/r/')))";

#[tokio::test]
async fn a_click_on_a_notification_brings_its_room_to_the_front_or_opens_it() {
    let stage = Stage::new(1, &[]).await;
    let room = stage.room("Ann").await;
    let mut ann = companion(&stage, &room, &room.token).await;
    let page = reader(&stage, &room, "Eve").await;
    page.grant("notifications", stage.http().base()).await;
    page.click("notify").await;
    page.see_attribute("notify", "aria-pressed", "true").await;
    page.until("navigator.serviceWorker.controller").await;
    page.eval(NOTE_NOTIFICATIONS).await;
    hide(&page).await;
    let link = link_to(&stage, &room);
    ann.say(&room.id, "come").await;
    page.until_is("notified", &json!([["Ann", "come"]])).await;
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

/// What came while the page was not connected is news too.
#[tokio::test]
async fn a_hidden_tab_that_was_cut_off_notifies_of_what_it_missed() {
    let stage = Stage::new(1, &[]).await;
    let room = stage.room("Ann").await;
    let mut ann = companion(&stage, &room, &room.token).await;
    let proxy = Proxy::to(stage.nodes[0].addr()).await;
    let page = Page::open(&stage.env, DESKTOP).await;
    prepare(&page).await;
    page.grant("notifications", &format!("http://{}", proxy.addr())).await;
    enter(&page, &format!("http://{}/r/{}", proxy.addr(), room.id), "Eve").await;
    page.click("notify").await;
    page.see_attribute("notify", "aria-pressed", "true").await;
    page.eval("navigator.serviceWorker.ready.then(() => 0)").await;
    page.eval(NOTE_NOTIFICATIONS).await;
    hide(&page).await;
    proxy.cut();
    page.see_attribute("connection", "data-state", "offline").await;
    ann.say(&room.id, "missed").await;
    proxy.resume();
    page.until_is("notified", &json!([["Ann", "missed"]])).await;
}

#[tokio::test]
async fn a_line_stands_before_what_came_while_nobody_looked() {
    let stage = Stage::new(1, &[]).await;
    let room = stage.room("Ann").await;
    let mut ann = companion(&stage, &room, &room.token).await;
    let page = reader(&stage, &room, "Eve").await;
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
    let stage = Stage::new(1, &[]).await;
    let room = stage.room("Ann").await;
    let mut ann = companion(&stage, &room, &room.token).await;
    let page = reader(&stage, &room, "Eve").await;
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
