//! End-to-end encrypted rooms: messages that the key does not decrypt are marked, and never shown.

use serde_json::json;

use crate::{
    page::{DESKTOP, Page},
    scene::{enter, make_encrypted, room_of},
    support::{Proxy, Stage},
};

#[tokio::test]
async fn the_server_of_an_encrypted_room_sees_ciphertext_only() {
    let stage = Stage::new(1, &[]).await;
    let alice = Page::open(&stage.env, DESKTOP).await;
    let link = make_encrypted(&alice, stage.http().base()).await;
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
    // The correct link, in the same tab: only the fragment changes.
    eve.goto(&link).await;
    eve.see("nickname").await;
}

#[tokio::test]
async fn ciphertext_that_was_changed_or_moved_is_marked_and_not_shown() {
    let stage = Stage::new(1, &[]).await;
    let alice = Page::open(&stage.env, DESKTOP).await;
    let link = make_encrypted(&alice, stage.http().base()).await;
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

#[tokio::test]
async fn what_is_decrypted_after_its_connection_was_lost_does_not_count() {
    let stage = Stage::new(1, &[]).await;
    let proxy = Proxy::to(stage.nodes[0].addr()).await;
    let alice = Page::open(&stage.env, DESKTOP).await;
    let link = make_encrypted(&alice, &format!("http://{}", proxy.addr())).await;
    alice.say("sealed").await;
    alice.see_messages(&[("Alice", "sealed")]).await;
    // Whatever is decrypted takes until `open` is called, on a page that begins anew by itself too.
    alice
        .run_first(
            "window.opened = 0; const gate = new Promise((resolve) => { \
               window.open = () => { sessionStorage.setItem('open', ''); resolve(); }; \
               if (sessionStorage.getItem('open') !== null) resolve(); }); \
             const { decrypt } = SubtleCrypto.prototype; window.waiting = 0; \
             SubtleCrypto.prototype.decrypt = async function (...args) { \
               waiting++; await gate; const text = await decrypt.apply(this, args); opened++; return text; }",
        )
        .await;
    alice.reload().await;
    alice.until("waiting > 0").await;
    proxy.cut();
    let state = "one('connection').dataset.state";
    alice.until_is(state, &json!("offline")).await;
    alice.eval("open()").await;
    alice.until("opened === waiting").await;
    // The frame is handled in the same turn; drawing follows.
    alice
        .eval(
            "new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)))",
        )
        .await;
    assert_ne!(alice.eval(state).await, "online");
    proxy.resume();
    alice.until_is(state, &json!("online")).await;
    alice.see_messages(&[("Alice", "sealed")]).await;
    assert_eq!(alice.url().await, link);
}

/// The room's messages, as stored in Redis.
fn stored(stage: &Stage, room: &str) -> String {
    format!("{:?}", stage.redis.cmd(["XRANGE", &format!("room:{room}:messages"), "-", "+"]))
}

/// The envelope with one character changed near its end.
fn changed(sealed: &str) -> String {
    let at = sealed.len() - 4;
    let other = if &sealed[at..=at] == "A" { "B" } else { "A" };
    format!("{}{other}{}", &sealed[..at], &sealed[at + 1..])
}
