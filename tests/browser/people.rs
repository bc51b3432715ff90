//! People: who is here, who is looking, who left.

use serde_json::json;

use crate::{
    pretend::{hide, show, skip},
    scene::{companion, inside, reader},
    support::Stage,
};

#[tokio::test]
async fn a_hidden_tab_is_away_and_comes_back() {
    let stage = Stage::new(1, &[]).await;
    let room = stage.room("Ann").await;
    let watcher = inside(&stage, &room, "Watcher").await;
    let page = reader(&stage, &room, "Eve").await;
    watcher.see_status("Eve", "online").await;
    hide(&page).await;
    watcher.see_status("Eve", "away").await;
    show(&page).await;
    watcher.see_status("Eve", "online").await;
}

#[tokio::test]
async fn who_does_nothing_for_two_minutes_is_away_until_a_sign_of_life() {
    let stage = Stage::new(1, &[]).await;
    let room = stage.room("Ann").await;
    let watcher = inside(&stage, &room, "Watcher").await;
    let page = reader(&stage, &room, "Eve").await;
    watcher.see_status("Eve", "online").await;
    // The two minutes began a while ago, on a busy machine some seconds.
    skip(&page, 90_000).await;
    page.see_status("Eve", "online").await;
    skip(&page, 30_000).await;
    watcher.see_status("Eve", "away").await;
    let words = "all('member').find((li) => li.dataset.user === 'Eve').innerText";
    assert!(watcher.eval(words).await.as_str().unwrap().contains("away"), "not by colour alone");
    page.press("ArrowUp").await;
    watcher.see_status("Eve", "online").await;
}

#[tokio::test]
async fn who_leaves_is_gone_and_can_come_back() {
    let stage = Stage::new(1, &[]).await;
    let room = stage.room("Ann").await;
    let mut ann = companion(&stage, &room, &room.token).await;
    let watcher = inside(&stage, &room, "Watcher").await;
    ann.wait_for_kind("user_joined").await;
    let page = inside(&stage, &room, "Eve").await;
    ann.wait_for_kind("user_joined").await;
    page.click("leave").await;
    page.see("left").await;
    ann.wait_for_kind("user_left").await;
    watcher.see_status("Eve", "left").await;
    watcher.until("/Eve.? left/.test(one('notice').innerText)").await;
    page.click("rejoin").await;
    page.see_attribute("room", "data-me", "Eve").await;
    assert_eq!(ann.wait_for_kind("user_joined").await["userId"], json!("Eve"));
}
