//! The creator removes people, deletes messages and deletes the room; authors delete their own
//! messages. What everybody else sees of it.

use serde_json::json;

use crate::{
    everyone::{NARROW, WIDE, check_with_axe, is_focused},
    page::{DESKTOP, Look, Page},
    pretend::{hide, prepare, skip},
    reading::{SHOWN, want_notifications},
    scene::{
        ann_and_reader, choose, come_in, companion, creator, creator_and, enter, inside, link_to,
        make_room, reader,
    },
    support::{Room, Stage},
};

const UNDO_MS: u64 = 5_000;

/// An expression: the message with this text.
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

/// Deletes a message, up to the point where it can be undone.
async fn delete(page: &Page, text: &str) {
    open_menu_of(page, text).await;
    page.click("delete-message").await;
    page.click("confirm-yes").await;
    page.until(&is_focused("undo-delete")).await;
}

/// Chooses from the menu of a person in the list.
async fn choose_for(page: &Page, name: &str, item: &str) {
    let button = format!(
        "all('member-menu').find((button) => button.closest('li').dataset.user === '{name}')"
    );
    page.click_at(&button).await;
    page.click(item).await;
}

/// Waits until the deleted message is shown as deleted, and its text nowhere.
async fn see_deleted(page: &Page, text: &str) {
    page.until("all('message').some((li) => li.dataset.problem === 'deleted')").await;
    page.until(&format!("!document.body.innerText.includes('{text}')")).await;
}

#[tokio::test]
async fn a_creator_locks_removes_deletes_and_ends_and_the_other_sees_it() {
    let stage = Stage::new(2, &[]).await;
    let ann = Page::open(&stage.env, DESKTOP).await;
    prepare(&ann).await;
    let link = make_room(&ann, stage.http().base(), "Ann").await;
    let bob = Page::open(&stage.env, Look { language: "ko-KR", ..DESKTOP }).await;
    let elsewhere = link.replace(stage.http().base(), stage.nodes[1].http().base());
    enter(&bob, &elsewhere, "Bob").await;

    choose(&ann, "menu-lock").await;
    bob.see("locked").await;
    bob.say("my secret").await;
    ann.until("all('message').length === 1").await;
    ann.say("> Bob: my secret\nreally?").await;
    bob.until("all('message').length === 2").await;

    // It asks once, and nothing is sent while it can be undone.
    open_menu_of(&ann, "my secret").await;
    ann.click("delete-message").await;
    ann.see("confirm").await;
    ann.until(&is_focused("confirm-no")).await;
    ann.press("Escape").await;
    ann.see_none("confirm").await;
    ann.until("document.activeElement === all('message')[0]").await;
    delete(&ann, "my secret").await;
    ann.press("Enter").await;
    ann.until("all('message-text')[0].innerText === 'my secret'").await;
    delete(&ann, "my secret").await;
    assert_eq!(bob.eval("all('message-text')[0].innerText").await, "my secret");
    skip(&ann, UNDO_MS).await;
    see_deleted(&bob, "my secret").await;
    see_deleted(&ann, "my secret").await;
    ann.until("document.activeElement === one('log')").await;
    bob.until("one('quote').innerText.includes('삭제된')").await;
    bob.reload().await;
    bob.see_inside("Bob").await;
    see_deleted(&bob, "my secret").await;
    bob.until("one('quote').innerText.includes('삭제된')").await;
    bob.until("all('message').length === 2").await;

    choose_for(&ann, "Bob", "member-remove").await;
    ann.click("confirm-yes").await;
    bob.see_attribute("refused", "data-reason", "removed").await;
    bob.until_is("document.activeElement.tagName", &json!("H1")).await;
    ann.see_status("Bob", "left").await;
    bob.watch_network().await;
    let sockets = bob.events("Network.webSocketCreated").len();
    bob.click("again").await;
    bob.see("locked").await;
    choose(&ann, "menu-lock").await;
    ann.see_none("locked").await;
    assert_eq!(bob.events("Network.webSocketCreated").len(), sockets, "nobody tried to come back");
    bob.click("again").await;
    come_in(&bob, "Bob").await;

    choose(&ann, "menu-end").await;
    ann.click("confirm-no").await;
    ann.see_none("confirm").await;
    choose(&ann, "menu-end").await;
    ann.click("confirm-yes").await;
    for page in [&ann, &bob] {
        page.see_attribute("refused", "data-reason", "closed").await;
    }
    bob.reload().await;
    bob.see("room-gone").await;
    ann.click("new-room").await;
    ann.see("landing").await;
}

#[tokio::test]
async fn authors_delete_their_own_messages_and_no_others() {
    let (_stage, room, mut ann, page) = ann_and_reader().await;
    ann.say(&room.id, "of Ann").await;
    page.say("of Eve").await;
    open_menu_of(&page, "of Ann").await;
    assert_eq!(page.eval("one('delete-message')").await, json!(null));
    page.press("Escape").await;
    delete(&page, "of Eve").await;
    skip(&page, UNDO_MS).await;
    see_deleted(&page, "of Eve").await;
    ann.wait_for_kind("deleted").await;
    // It has no more actions.
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
    let (stage, room, mut ann, page) = ann_and_reader().await;
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

#[tokio::test]
async fn whoever_is_banned_reads_it_at_the_door_until_the_bans_are_lifted() {
    let stage = Stage::new(1, &[]).await;
    let room = stage.room("Ann").await;
    let (ann, bob) = creator_and(&stage, &room, "Bob").await;
    choose_for(&ann, "Bob", "member-ban").await;
    ann.click("confirm-yes").await;
    bob.see_attribute("refused", "data-reason", "removed").await;
    bob.click("again").await;
    bob.fill("nickname", "Bob").await;
    bob.click("enter").await;
    bob.see_attribute("refused", "data-reason", "BANNED").await;
    // The creator may still enter from that address.
    ann.reload().await;
    ann.see_inside("Ann").await;

    choose(&ann, "menu-settings").await;
    ann.until("/1 address/.test(one('bans').innerText)").await;
    ann.click("lift-bans").await;
    ann.until("/again/.test(one('bans').innerText) && !one('lift-bans')").await;
    bob.click("again").await;
    come_in(&bob, "Bob").await;
}

/// Where only people of an application enter, which a locked room stands for here.
#[tokio::test]
async fn who_may_not_come_in_at_all_reads_it_at_the_door() {
    let stage = Stage::new(1, &[]).await;
    let room = stage.room("Ann").await;
    let page = Page::open(&stage.env, WIDE).await;
    page.run_first(
        "const data = Object.getOwnPropertyDescriptor(MessageEvent.prototype, 'data').get;
         Object.defineProperty(MessageEvent.prototype, 'data', { get() {
           const said = data.call(this);
           return typeof said === 'string' ? said.replace('ROOM_LOCKED', 'FORBIDDEN') : said;
         } });",
    )
    .await;
    page.goto(&link_to(&stage, &room)).await;
    page.fill("nickname", "Eve").await;
    let path = format!("/api/rooms/{}", room.id);
    stage.http().patch(&path, &room.token, json!({ "locked": true })).await.data(200);
    page.click("enter").await;
    page.see_attribute("refused", "data-reason", "FORBIDDEN").await;
    page.until("/of the app/.test(one('refused').innerText)").await;
    page.until_is("document.activeElement.tagName", &json!("H1")).await;
    check_with_axe(&page, "a door that is closed").await;
    // It can be tried again, and is let in where that has changed.
    stage.http().patch(&path, &room.token, json!({ "locked": false })).await.data(200);
    page.click("again").await;
    page.fill("nickname", "Eve").await;
    page.click("enter").await;
    page.see_inside("Eve").await;
}

#[tokio::test]
async fn names_that_a_path_cannot_hold_can_be_removed_too() {
    let stage = Stage::new(1, &[]).await;
    let room = stage.room("Ann").await;
    let ann = creator(&stage, &room).await;
    for name in ["..", ".", "a/b?c#d%2e", "50%", "민아 👋"] {
        let mut guest = companion(&stage, &room, name).await;
        ann.see_status(name, "online").await;
        choose_for(&ann, name, "member-remove").await;
        ann.click("confirm-yes").await;
        guest.wait_for_kind("removed").await;
        ann.see_none("confirm").await;
    }
}

#[tokio::test]
async fn who_removed_himself_elsewhere_reads_that_and_the_creator_keeps_its_powers() {
    let stage = Stage::new(1, &[]).await;
    let room = stage.room("Ann").await;
    let page = creator(&stage, &room).await;
    let path = format!("/api/rooms/{}/members/Ann", room.id);
    let request = stage.http().request(reqwest::Method::DELETE, &path).bearer_auth(&room.token);
    stage.http().send(request).await.data(200);
    page.until("one('refused')").await;
    page.click("again").await;
    page.see_inside("Ann").await;
    page.click("room-menu").await;
    page.see("menu-lock").await;
}

/// The client does not come back by itself, and stays in other rooms.
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
        page.watch_network().await;
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

/// A room of two, seen by its creator with this display.
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
        page.see("menu-end").await;
        check_with_axe(&page, "the creator's menu").await;
        page.click("menu-settings").await;
        page.see("settings-save").await;
        check_with_axe(&page, "settings").await;
        page.press("Escape").await;
        choose(&page, "menu-creator-link").await;
        page.see("creator-link").await;
        check_with_axe(&page, "creator link").await;
        page.press("Escape").await;
        if look.touch {
            choose(&page, "menu-people").await;
        }
        page.click("member-menu").await;
        page.see("member-ban").await;
        check_with_axe(&page, "the menu of somebody").await;
        page.click("member-ban").await;
        page.see("confirm").await;
        check_with_axe(&page, "a question").await;
        page.press("Escape").await;
        page.see_none("confirm").await;
        if look.touch {
            page.click("members-close").await;
        }
        delete(&page, "my secret").await;
        check_with_axe(&page, "a deletion that can be undone").await;
        skip(&page, UNDO_MS).await;
        see_deleted(&page, "my secret").await;
        check_with_axe(&page, "a deleted message").await;
        let door = Page::open(&stage.env, look).await;
        door.goto(&link_to(&stage, &room)).await;
        door.see("locked").await;
        check_with_axe(&door, "a locked door").await;
        choose(&page, "menu-end").await;
        page.click("confirm-yes").await;
        page.see("refused").await;
        check_with_axe(&page, "an ended room").await;
    }
}
