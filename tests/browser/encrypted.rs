//! End-to-end encrypted rooms: what the key does not fit is marked, and never shown.

use serde_json::json;

use crate::{
    page::{DESKTOP, Page},
    scene::{enter, room_of},
    support::Stage,
};

#[tokio::test]
async fn the_server_of_an_encrypted_room_sees_ciphertext_only() {
    let stage = Stage::new(1, &[]).await;
    let alice = Page::open(&stage.env, DESKTOP).await;
    let link = make_encrypted(&alice, &stage).await;
    let (plain, key) = link.split_once('#').unwrap();
    assert!(!key.is_empty());
    let bob = Page::open(&stage.env, DESKTOP).await;
    enter(&bob, &link, "Bob").await;
    alice.say("between us").await;
    bob.see_messages(&[("Alice", "between us")]).await;

    let stored = stored(&stage, room_of(&link));
    assert!(stored.contains("Alice") && !stored.contains("between us"), "{stored}");
    assert!(!stage.nodes[0].log().contains(key), "the key never reaches the server");

    let eve = Page::open(&stage.env, DESKTOP).await;
    eve.goto(plain).await;
    eve.see("key-missing").await;
    // The link as it should have been, in the same tab: only the fragment changes.
    eve.goto(&link).await;
    eve.see("nickname").await;
}

#[tokio::test]
async fn ciphertext_that_was_changed_or_moved_is_marked_and_not_shown() {
    let stage = Stage::new(1, &[]).await;
    let alice = Page::open(&stage.env, DESKTOP).await;
    let link = make_encrypted(&alice, &stage).await;
    let room = room_of(&link);
    alice.say("the truth").await;
    alice.see_messages(&[("Alice", "the truth")]).await;
    let sealed = stored(&stage, room);
    let sealed = &sealed[sealed.find("e2e1.").unwrap()..];
    let sealed = &sealed[..sealed.find('"').unwrap()];

    let mut mallory = stage.client().await;
    mallory.accept_any_frame();
    mallory.join(room, "Mallory").await;
    mallory.say(room, "in the clear").await;
    mallory.say(room, sealed).await;
    let stream = format!("room:{room}:messages");
    for (number, text) in [changed(sealed), "e2e1.AAAA".to_owned()].iter().enumerate() {
        let id = format!("{}-1", 9_000_000_000_000_u64 + number as u64);
        stage.redis.cmd(["XADD", &stream, &id, "from", "Alice", "text", text]);
    }
    alice.reload().await;
    let problems = "all('message').map((li) => li.dataset.problem ?? '')";
    let wanted = ["", "unencrypted", "undecryptable", "undecryptable", "undecryptable"];
    alice.until_is(problems, &json!(wanted)).await;
    let shown = alice.text("log").await;
    assert!(shown.contains("the truth") && shown.contains("does not fit the key"), "{shown}");
    assert!(!shown.contains("in the clear") && !shown.contains("e2e1."), "{shown}");
}

/// Makes an encrypted room and returns its link, key and all.
async fn make_encrypted(page: &Page, stage: &Stage) -> String {
    page.goto(stage.http().base()).await;
    page.fill("name", "Alice").await;
    page.click("e2e").await;
    page.click("create").await;
    page.see_attribute("room", "data-me", "Alice").await;
    page.url().await
}

/// The room's messages, as Redis has them.
fn stored(stage: &Stage, room: &str) -> String {
    format!("{:?}", stage.redis.cmd(["XRANGE", &format!("room:{room}:messages"), "-", "+"]))
}

/// The envelope with another letter near its end.
fn changed(sealed: &str) -> String {
    let at = sealed.len() - 4;
    let other = if &sealed[at..=at] == "A" { "B" } else { "A" };
    format!("{}{other}{}", &sealed[..at], &sealed[at + 1..])
}
