//! People: who is here, who is looking, who left.

use serde_json::json;

use crate::{
    page::{DESKTOP, Page},
    scene::{enter, link_to},
    support::Stage,
};

#[tokio::test]
async fn a_hidden_tab_is_away_and_comes_back() {
    let stage = Stage::new(1, &[]).await;
    let room = stage.room("Ann").await;
    let watcher = Page::open(&stage.env, DESKTOP).await;
    enter(&watcher, &link_to(&stage, &room), "Watcher").await;
    let page = Page::open(&stage.env, DESKTOP).await;
    // Headless tabs are never hidden by themselves: the page is told that it is.
    page.run_first(
        "globalThis.hide = (hidden) => {
           Object.defineProperty(document, 'visibilityState',
             { value: hidden ? 'hidden' : 'visible', configurable: true });
           Object.defineProperty(document, 'hidden', { value: hidden, configurable: true });
           document.dispatchEvent(new Event('visibilitychange'));
         }",
    )
    .await;
    enter(&page, &link_to(&stage, &room), "Eve").await;
    watcher.see_status("Eve", "online").await;
    page.eval("hide(true)").await;
    watcher.see_status("Eve", "away").await;
    page.eval("hide(false)").await;
    watcher.see_status("Eve", "online").await;
}

#[tokio::test]
async fn who_leaves_is_gone_and_can_come_back() {
    let stage = Stage::new(1, &[]).await;
    let room = stage.room("Ann").await;
    let mut ann = stage.member(0, &room, &room.token).await;
    let page = Page::open(&stage.env, DESKTOP).await;
    enter(&page, &link_to(&stage, &room), "Eve").await;
    ann.wait_for_kind("user_joined").await;
    page.click("leave").await;
    page.see("left").await;
    ann.wait_for_kind("user_left").await;
    page.click("rejoin").await;
    page.see_attribute("room", "data-me", "Eve").await;
    assert_eq!(ann.wait_for_kind("user_joined").await["userId"], json!("Eve"));
}
