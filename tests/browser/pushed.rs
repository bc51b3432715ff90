//! Notifications with no tab open: the switch in the room's menu, and what the worker shows of a push. The push service
//! of a browser's maker cannot be had here: subscriptions are pretended, and pushes delivered by the developer tools.

use serde_json::{Value, json};

use crate::{
    page::Page,
    pretend::{hide, prepare},
    reading::{SHOWN, want_notifications},
    scene::{choose, companion, enter, link_to, reader},
    support::{Room, Stage},
};

/// A browser whose push service takes every subscription.
const PRETENDED: &str = r#"
  let made = null;
  PushManager.prototype.getSubscription = async () => made;
  PushManager.prototype.subscribe = async ({ userVisibleOnly, applicationServerKey }) => made = {
    options: { applicationServerKey: applicationServerKey.buffer, userVisibleOnly },
    toJSON: () => ({ endpoint: 'https://push.example/x', expirationTime: null, keys: {
      p256dh: 'BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4',
      auth: 'BTBZMqHH6r4Tts7J_aSIgg',
    } }),
    unsubscribe: async () => { made = null; return true; },
  };
  window.isSubscribed = () => made?.options.userVisibleOnly === true;
"#;
/// A server that has no key.
const WITHOUT_KEY: &str = r#"
  const real = window.fetch;
  window.fetch = (path, ...rest) => real(path === '/api/push' ? '/api/nothing' : path, ...rest);
"#;

async fn subscriber(stage: &Stage, room: &Room, script: &str) -> Page {
    let page = Page::open(&stage.env, crate::page::DESKTOP).await;
    prepare(&page).await;
    page.installs().await;
    page.run_first(script).await;
    page.grant("notifications", stage.http().base()).await;
    enter(&page, &link_to(stage, room), "Eve").await;
    page.until("navigator.serviceWorker.controller").await;
    page
}

fn is_subscribed(stage: &Stage, room: &Room) -> bool {
    stage.redis.cmd(["HEXISTS", &format!("room:{}:push", room.id), "Eve"]).int() == 1
}

async fn until_subscribed(page: &Page, stage: &Stage, room: &Room, wanted: bool) {
    page.wait("what the server knows", async || {
        (is_subscribed(stage, room) == wanted).then_some(())
    })
    .await;
}

#[tokio::test]
async fn pushes_are_switched_on_by_whoever_has_read_what_they_are_and_off_again() {
    let stage = Stage::new(1, &[]).await;
    let room = stage.room("Ann").await;
    let page = subscriber(&stage, &room, PRETENDED).await;
    // Nobody is subscribed who only looks.
    choose(&page, "menu-push").await;
    page.see("push-dialog").await;
    let words = page.text("push-where").await;
    assert!(words.contains("Google, Mozilla or Apple"), "{words}");
    page.click("push-no").await;
    page.see_none("push-dialog").await;
    assert!(!is_subscribed(&stage, &room) && page.eval("isSubscribed()").await == false);

    choose(&page, "menu-push").await;
    page.click("push-yes").await;
    until_subscribed(&page, &stage, &room, true).await;
    page.until("isSubscribed()").await;
    // The server is told again by the next page, whatever it has forgotten.
    stage.redis.cmd(["DEL", &format!("room:{}:push", room.id)]);
    page.reload().await;
    page.see_inside("Eve").await;
    until_subscribed(&page, &stage, &room, true).await;
    page.click("room-menu").await;
    page.see_attribute("menu-push", "aria-checked", "true").await;
    page.click("menu-push").await;
    until_subscribed(&page, &stage, &room, false).await;
    page.until("!isSubscribed()").await;
    page.click("room-menu").await;
    page.see_attribute("menu-push", "aria-checked", "false").await;
}

#[tokio::test]
async fn there_is_no_switch_where_the_server_cannot_push() {
    let stage = Stage::new(1, &[]).await;
    let room = stage.room("Ann").await;
    let page = subscriber(&stage, &room, WITHOUT_KEY).await;
    page.expect_faults();
    page.click("room-menu").await;
    page.see("menu-sound").await;
    page.see_none("menu-push").await;
}

/// Has the worker of this page get a push.
async fn deliver(page: &Page, origin: &str, push: Value) {
    page.cdp("ServiceWorker.enable", json!({})).await;
    let id = page
        .wait("the worker's registration", async || {
            let events = page.events("ServiceWorker.workerRegistrationUpdated");
            let known = events.iter().flat_map(|event| event["registrations"].as_array());
            let is_its = |one: &&Value| {
                one["isDeleted"] != true
                    && one["scopeURL"].as_str().is_some_and(|scope| scope.starts_with(origin))
            };
            let found = known.flatten().find(is_its);
            found.and_then(|one| one["registrationId"].as_str().map(str::to_owned))
        })
        .await;
    let message = json!({ "origin": origin, "registrationId": id, "data": push.to_string() });
    page.cdp("ServiceWorker.deliverPushMessage", message).await;
}

/// Counts how often the worker has asked this page whether somebody looks at it, and was answered.
const COUNT_QUESTIONS: &str = r"
  window.questions = 0;
  navigator.serviceWorker.addEventListener('message', (event) => { questions += event.ports.length; });
";

/// Waits for what is shown of all rooms, newest last.
async fn see_shown(page: &Page, wanted: Value) {
    page.until_is(SHOWN, &wanted).await;
}

#[tokio::test]
async fn the_worker_shows_a_push_and_a_click_opens_its_room() {
    let stage = Stage::new(1, &[]).await;
    let (room, base) = (stage.room("Ann").await, stage.http().base().to_owned());
    let page = subscriber(&stage, &room, PRETENDED).await;
    choose(&page, "menu-push").await;
    page.click("push-yes").await;
    until_subscribed(&page, &stage, &room, true).await;
    page.goto(&format!("{base}/?elsewhere")).await;
    page.see("landing").await;
    let push = |text: Option<&str>, more: u64| {
        let mut push = json!({ "roomId": room.id, "from": "Ann", "more": more });
        if let Some(text) = text {
            push["text"] = json!(text);
        }
        push
    };
    deliver(&page, &base, push(Some("come"), 0)).await;
    see_shown(&page, json!(["come"])).await;
    deliver(&page, &base, push(None, 2)).await;
    see_shown(&page, json!(["New message\nand 2 more"])).await;
    let shown = page
        .eval(
            "navigator.serviceWorker.ready.then((worker) => worker.getNotifications())\
             .then((all) => all.map(({ title, data }) => [title, data.url]))",
        )
        .await;
    assert_eq!(shown, json!([["Ann", link_to(&stage, &room)]]));
    // Whoever reads the room takes it away.
    page.goto(&link_to(&stage, &room)).await;
    page.see_inside("Eve").await;
    see_shown(&page, json!([])).await;
}

/// A tab that notifies by itself shows the only one; one that is looked at has shown it all.
#[tokio::test]
async fn nothing_is_shown_twice_where_a_tab_is_open() {
    let stage = Stage::new(1, &[]).await;
    let (room, base) = (stage.room("Ann").await, stage.http().base().to_owned());
    let mut ann = companion(&stage, &room, &room.token).await;
    let page = reader(&stage, &room, "Eve").await;
    want_notifications(&page, &base).await;
    let push = |text: &str| json!({ "roomId": room.id, "from": "Ann", "text": text, "more": 0 });
    page.eval(COUNT_QUESTIONS).await;
    deliver(&page, &base, push("while she looks")).await;
    page.until("questions > 0").await;
    hide(&page).await;
    ann.say(&room.id, "once").await;
    page.until("notified.length === 1").await;
    deliver(&page, &base, push("again")).await;
    see_shown(&page, json!(["once"])).await;
}
