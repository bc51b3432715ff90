//! The creator deletes messages, and authors their own. What everybody else sees of it, and of being removed.

use serde_json::json;

use crate::{
    everyone::{NARROW, WIDE, check_with_axe, is_focused},
    page::{DESKTOP, Look, Page},
    pretend::{hide, prepare, skip},
    reading::{SHOWN, want_notifications},
    scene::{choose, companion, enter, inside, link_to, reader},
    support::{Room, Stage},
};

const UNDO_MS: u64 = 5_000;

/// An expression: the message that says this.
fn message(text: &str) -> String {
    let text = json!(text);
    format!("all('message').find((li) => all('message-text', li)[0].innerText === {text})")
}

/// Opens the menu of a message by keyboard.
async fn open_menu_of(page: &Page, text: &str) {
    page.until(&format!("{}?.dataset.state === 'sent'", message(text))).await;
    page.eval(&format!(
        "(({{ el }}) => {{ el.tabIndex = -1; el.focus(); }})({{ el: {} }})",
        message(text)
    ))
    .await;
    page.press("Enter").await;
    page.see("menu").await;
}

/// Deletes a message, as far as it can be undone.
async fn delete(page: &Page, text: &str) {
    open_menu_of(page, text).await;
    page.click("delete-message").await;
    page.click("confirm-yes").await;
    page.until(&is_focused("undo-delete")).await;
}

/// Waits until this is said in the place of what was deleted, and nowhere what it said.
async fn see_deleted(page: &Page, text: &str) {
    page.until("all('message').some((li) => li.dataset.problem === 'deleted')").await;
    page.until(&format!("!document.body.innerText.includes('{text}')")).await;
}

#[tokio::test]
async fn authors_delete_their_own_messages_and_no_others() {
    let stage = Stage::new(1, &[]).await;
    let room = stage.room("Ann").await;
    let mut ann = companion(&stage, &room, &room.token).await;
    let page = reader(&stage, &room, "Eve").await;
    ann.say(&room.id, "of Ann").await;
    page.say("of Eve").await;
    open_menu_of(&page, "of Ann").await;
    assert_eq!(page.eval("one('delete-message')").await, json!(null));
    page.press("Escape").await;
    delete(&page, "of Eve").await;
    skip(&page, UNDO_MS).await;
    see_deleted(&page, "of Eve").await;
    ann.wait_for_kind("deleted").await;
    // Nothing more is to be done with it.
    page.eval("(({ el }) => { el.tabIndex = -1; el.focus(); })({ el: all('message')[1] })").await;
    page.press("Enter").await;
    page.see("copy-message-link").await;
    for id in ["reply", "copy-text", "delete-message"] {
        assert_eq!(page.eval(&format!("one('{id}')")).await, json!(null), "{id}");
    }
}

#[tokio::test]
async fn a_page_that_is_closed_while_a_deletion_can_be_undone_deletes() {
    let stage = Stage::new(1, &[]).await;
    let room = stage.room("Ann").await;
    let mut ann = companion(&stage, &room, &room.token).await;
    let page = inside(&stage, &room, "Eve").await;
    page.say("too early").await;
    delete(&page, "too early").await;
    page.goto("about:blank").await;
    ann.wait_for_kind("deleted").await;
}

#[tokio::test]
async fn a_message_that_could_not_be_deleted_is_back_and_it_is_said_why() {
    let stage = Stage::new(1, &[]).await;
    let room = stage.room("Ann").await;
    let page = reader(&stage, &room, "Eve").await;
    page.say("still here").await;
    delete(&page, "still here").await;
    page.set_network(true, 0, 0).await;
    skip(&page, UNDO_MS).await;
    page.until("one('notice').innerText.includes('not deleted. No connection')").await;
    page.until("all('message-text')[0].innerText === 'still here'").await;
}

#[tokio::test]
async fn a_deleted_message_takes_its_notification_with_it() {
    let stage = Stage::new(1, &[]).await;
    let room = stage.room("Ann").await;
    let mut ann = companion(&stage, &room, &room.token).await;
    let page = reader(&stage, &room, "Eve").await;
    want_notifications(&page, stage.http().base()).await;
    hide(&page).await;
    let said = ann.say(&room.id, "never mind").await;
    page.until("notified.length === 1").await;
    page.until_is(SHOWN, &json!(["never mind"])).await;
    let path = format!("/api/rooms/{}/messages/{}", room.id, said["id"].as_str().unwrap());
    let request = stage.http().request(reqwest::Method::DELETE, &path).bearer_auth(&room.token);
    stage.http().send(request).await.data(200);
    page.until_is(SHOWN, &json!([])).await;
}

/// Whoever is out does not come back by itself, and stays in other rooms.
#[tokio::test]
async fn each_reason_for_being_out_is_said_and_other_rooms_stay() {
    let stage = Stage::new(1, &[]).await;
    let other = stage.room("Ann").await;
    let elsewhere = Page::open(&stage.env, Look { language: "ko-KR", ..DESKTOP }).await;
    enter(&elsewhere, &link_to(&stage, &other), "Eve").await;
    for (reason, korean) in
        [("removed", "내보냈"), ("left", "나갔"), ("closed", "끝냈"), ("expired", "시간")]
    {
        let room = stage.room("Ann").await;
        let page = elsewhere.new_tab().await;
        enter(&page, &link_to(&stage, &room), "Eve").await;
        let sockets = page.events("Network.webSocketCreated").len();
        let frame = json!({ "t": "removed", "roomId": room.id, "reason": reason });
        stage.redis.cmd(["PUBLISH", &format!("chan:{}", room.id), &frame.to_string()]);
        page.see_attribute("refused", "data-reason", reason).await;
        page.see("new-room").await;
        let text = page.text("refused").await;
        assert!(text.contains(korean), "{reason}: {text}");
        elsewhere.say(reason).await;
        elsewhere.until("all('message').at(-1).dataset.state === 'sent'").await;
        assert_eq!(page.events("Network.webSocketCreated").len(), sockets, "{reason}");
        page.close().await;
    }
}

/// A room of two, its creator looking.
async fn looked_at(stage: &Stage, room: &Room, look: Look) -> Page {
    let page = Page::open(&stage.env, look).await;
    prepare(&page).await;
    page.goto(&format!("{}#t={}", link_to(stage, room), room.token)).await;
    page.until("one('room')?.dataset.complete").await;
    page
}

#[tokio::test]
async fn axe_finds_nothing_where_order_is_kept() {
    for look in [WIDE, NARROW] {
        let stage = Stage::new(1, &[]).await;
        let room = stage.room("Ann").await;
        let mut bob = companion(&stage, &room, "Bob").await;
        bob.say(&room.id, "my secret").await;
        let page = looked_at(&stage, &room, look).await;
        choose(&page, "menu-lock").await;
        page.see("locked").await;
        check_with_axe(&page, "locked").await;
        page.click("room-menu").await;
        page.see("menu-creator-link").await;
        check_with_axe(&page, "the creator's menu").await;
        page.click("menu-settings").await;
        page.see("settings-save").await;
        check_with_axe(&page, "settings").await;
        page.press("Escape").await;
        choose(&page, "menu-creator-link").await;
        page.see("creator-link").await;
        check_with_axe(&page, "creator link").await;
        page.press("Escape").await;
        delete(&page, "my secret").await;
        check_with_axe(&page, "a deletion that can be undone").await;
        skip(&page, UNDO_MS).await;
        see_deleted(&page, "my secret").await;
        check_with_axe(&page, "a deleted message").await;
        let door = Page::open(&stage.env, look).await;
        door.goto(&link_to(&stage, &room)).await;
        door.see("locked").await;
        check_with_axe(&door, "a locked door").await;
    }
}
