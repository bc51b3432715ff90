//! Everyone: keyboards, screen readers, small screens, long histories, other scripts.

use serde_json::json;

use crate::{
    page::{DESKTOP, Look, PHONE, Page},
    scene::{enter, link_to, write_history},
    support::Stage,
};

const AXE: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/tests/web/node_modules/axe-core/axe.min.js");

/// What axe-core has to say against the page.
async fn violations(page: &Page, axe: &str) -> serde_json::Value {
    page.eval(&format!("{axe};0")).await;
    page.eval(
        "axe.run().then((found) => found.violations.map((v) => \
         v.id + ': ' + v.nodes.map((node) => node.target.join(' ')).join(', ')))",
    )
    .await
}

/// Presses Tab until the element has the focus.
async fn tab_to(page: &Page, id: &str) {
    let is_there = format!("document.activeElement === one('{id}')");
    for _ in 0..30 {
        if page.eval(&is_there).await == true {
            return;
        }
        page.press("Tab").await;
    }
    panic!("Tab does not lead to {id}");
}

#[tokio::test]
async fn axe_finds_nothing_in_light_or_dark() {
    let axe = std::fs::read_to_string(AXE).expect("axe-core is missing; install it with: make web");
    let stage = Stage::new(1, &[]).await;
    let room = stage.room("Ann").await;
    let mut ann = stage.member(0, &room, &room.token).await;
    ann.say(&room.id, "hello").await;
    let page = Page::open(&stage.env, Look { reduced_motion: true, ..DESKTOP }).await;
    for dark in [false, true] {
        page.set_colours(dark).await;
        page.goto(stage.http().base()).await;
        page.see("create").await;
        assert_eq!(violations(&page, &axe).await, json!([]), "landing, dark: {dark}");
    }
    enter(&page, &link_to(&stage, &room), "Eve").await;
    page.until("all('message').length === 1").await;
    for dark in [false, true] {
        page.set_colours(dark).await;
        assert_eq!(violations(&page, &axe).await, json!([]), "room, dark: {dark}");
    }
}

#[tokio::test]
async fn new_messages_are_announced_and_keys_are_enough() {
    let stage = Stage::new(1, &[]).await;
    let room = stage.room("Ann").await;
    let page = Page::open(&stage.env, DESKTOP).await;
    page.goto(&link_to(&stage, &room)).await;
    page.see("nickname").await;
    tab_to(&page, "nickname").await;
    page.type_text("Eve").await;
    page.press("Enter").await;
    page.see_attribute("room", "data-me", "Eve").await;
    tab_to(&page, "composer").await;
    page.type_text("no mouse").await;
    page.press("Enter").await;
    page.see_messages(&[("Eve", "no mouse")]).await;
    assert_eq!(page.eval("one('log').getAttribute('role')").await, "log");
    assert_ne!(page.eval("one('log').getAttribute('aria-live')").await, "assertive");
}

#[tokio::test]
async fn nothing_scrolls_sideways_on_a_small_phone() {
    let stage = Stage::new(1, &[]).await;
    let room = stage.room("Ann").await;
    let mut ann = stage.member(0, &room, &room.token).await;
    ann.say(&room.id, &"unbroken".repeat(40)).await;
    ann.say(&room.id, "مرحبا بالعالم, hello, שלום").await;
    let page = Page::open(&stage.env, Look { width: 320, ..PHONE }).await;
    let is_wide = "document.documentElement.scrollWidth > innerWidth";
    page.goto(stage.http().base()).await;
    page.see("create").await;
    assert_eq!(page.eval(is_wide).await, false);
    enter(&page, &link_to(&stage, &room), "Eve").await;
    page.until("all('message').length === 2").await;
    assert_eq!(page.eval(is_wide).await, false);
}

#[tokio::test]
async fn reading_upwards_loads_older_messages_and_is_not_disturbed() {
    let stage = Stage::new(1, &[]).await;
    let room = stage.room("Ann").await;
    write_history(&stage, &room, "Ann", 150, 60_000);
    let page = Page::open(&stage.env, DESKTOP).await;
    enter(&page, &link_to(&stage, &room), "Eve").await;
    page.until("all('message').length >= 50").await;
    page.eval("one('log').scrollTop = 0").await;
    page.until("all('message').length === 150").await;
    page.eval("one('log').scrollTop = 0").await;
    let mut ann = stage.member(0, &room, &room.token).await;
    ann.say(&room.id, "news").await;
    page.see("new-messages").await;
    page.see_attribute("new-messages", "data-count", "1").await;
    assert!(page.eval("one('log').scrollTop < 400").await.as_bool().unwrap(), "the page stays");
    page.click("new-messages").await;
    page.see_none("new-messages").await;
}

#[tokio::test]
async fn nothing_comes_from_another_host() {
    let stage = Stage::new(1, &[]).await;
    let room = stage.room("Ann").await;
    let page = Page::open(&stage.env, DESKTOP).await;
    enter(&page, &link_to(&stage, &room), "Eve").await;
    let urls = "performance.getEntriesByType('resource').map((entry) => entry.name)";
    let foreign = format!("{urls}.filter((name) => !name.startsWith(location.origin))");
    assert_eq!(page.eval(&foreign).await, json!([]));
    let token = page.eval("Object.values(localStorage).join()").await;
    assert!(token.as_str().unwrap().contains("lr_"), "the token is kept in the page");
    assert_eq!(page.eval(&format!("{urls}.some((name) => name.includes('lr_'))")).await, false);
}
