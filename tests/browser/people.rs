//! People: who is in the room, who is active, who left.

use serde_json::json;

use crate::{
    pretend::{hide, show, skip, stop_clock},
    scene::{choose, companion, inside, reader},
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

/// `saidAway`: whether the page has reported `away` to the node.
const NOTE_AWAY: &str = r#"
  const { send } = WebSocket.prototype;
  window.saidAway = false;
  WebSocket.prototype.send = function (text) {
    saidAway ||= text.includes('"status":"away"');
    send.call(this, text);
  };
"#;

#[tokio::test]
async fn who_does_nothing_for_two_minutes_is_away_until_a_sign_of_life() {
    let stage = Stage::new(1, &[]).await;
    let room = stage.room("Ann").await;
    let watcher = inside(&stage, &room, "Watcher").await;
    let page = reader(&stage, &room, "Eve").await;
    watcher.see_status("Eve", "online").await;
    // The duration of other steps must not count.
    stop_clock(&page).await;
    page.eval(NOTE_AWAY).await;
    page.press("ArrowUp").await;
    skip(&page, 119_000).await;
    assert_eq!(page.eval("saidAway").await, false);
    page.see_status("Eve", "online").await;
    skip(&page, 1_000).await;
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
    // For a moment nothing is sent, and it can be undone.
    page.click("rejoin").await;
    page.see_inside("Eve").await;
    watcher.see_status("Eve", "online").await;
    page.click("leave").await;
    page.see("left").await;
    ann.wait_for_kind("user_left").await;
    watcher.see_status("Eve", "left").await;
    watcher.until("/Eve.? left/.test(one('notice').innerText)").await;
    watcher.until("all('comings').at(-1).innerText.includes('left')").await;
    page.click("rejoin").await;
    page.see_inside("Eve").await;
    assert_eq!(ann.wait_for_kind("user_joined").await["userId"], json!("Eve"));
    // A person who returned was not away; past lines stay in their place; and the lines can be
    // turned off.
    watcher.until("!isSeen(all('comings').at(-1)) || !one('log').innerText.includes('left')").await;
    let _bob = companion(&stage, &room, "Bob").await;
    watcher.until("all('comings').at(-1).innerText.includes('Bob')").await;
    ann.say(&room.id, "hello Bob").await;
    let before = "one('message').previousElementSibling.previousElementSibling";
    watcher.until(&format!("{before}?.innerText.includes('Bob')")).await;
    choose(&watcher, "menu-comings").await;
    watcher.see_none("comings").await;
}

#[tokio::test]
async fn people_are_counted_found_and_called_by_name() {
    let stage = Stage::new(1, &[]).await;
    let room = stage.room("Ann").await;
    let _others =
        [companion(&stage, &room, &room.token).await, companion(&stage, &room, "민아").await];
    let page = inside(&stage, &room, "Eve").await;
    page.until("one('people-count').innerText === '3'").await;
    page.fill("people-search", "an").await;
    page.until("all('member').length === 1 && one('member').dataset.user === 'Ann'").await;
    page.fill("people-search", "\u{1106}\u{1175}").await;
    page.until("all('member').length === 1 && one('member').dataset.user === '민아'").await;
    page.fill("people-search", "").await;

    page.fill("composer", "look @").await;
    page.until("all('mention-option').length === 2").await;
    page.press("ArrowDown").await;
    page.until("one('composer').getAttribute('aria-activedescendant') === 'mention-1'").await;
    page.press("Enter").await;
    page.until_is("one('composer').value", &json!("look @민아 ")).await;
    page.see_none("mention-list").await;
    page.press("Enter").await;
    page.until("one('mention')?.textContent === '@민아'").await;

    page.set_network(true, 0, 0).await;
    page.see("people-stale").await;
}
