//! The beginning, the lifetime and the key of subscriptions.

use serde_json::{Value, json};

use super::{keys_of, put, say, settings, start, subscribe, unsubscribe};
use crate::support::{DEADLINE, PROGRAM, PushService, Room, Stage, eventually};

const PRIVATE: &str = "yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw";
const PUBLIC: &str =
    "BP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A8";

async fn key(stage: &Stage, node: usize) -> String {
    let data = stage.nodes[node].http().get("/api/push").await.data(200);
    data["publicKey"].as_str().unwrap().to_owned()
}

fn subscribers(stage: &Stage, room: &Room) -> Vec<String> {
    let mut users = stage.redis.texts(["HKEYS", &format!("room:{}:push", room.id)]);
    users.sort();
    users
}

#[tokio::test]
async fn all_nodes_sign_with_one_key_that_outlives_redis() {
    let (service, mut stage) = start(2, &[]).await;
    let made = key(&stage, 0).await;
    assert_eq!(key(&stage, 1).await, made);
    stage.redis.cmd(["FLUSHALL"]);
    assert_eq!((key(&stage, 1).await, key(&stage, 0).await), (made.clone(), made));
    assert!(stage.redis.cmd(["PTTL", "room::push:vapid"]).int() > 0);
    // A browser that subscribed with an old key cannot be notified.
    let room = stage.room("alice").await;
    let token = stage.guest(&room, "bob").await;
    let before = subscribe(&service, &stage, &room, &token).await;
    let given = [("VAPID_PRIVATE_KEY", PRIVATE)];
    stage.add_node(&settings(&service, &given)).await;
    assert_eq!(key(&stage, 2).await, PUBLIC);
    for _ in 0..2 {
        stage.nodes.remove(0).kill().await;
    }
    say(&stage, &room, "hello").await;
    let after = subscribe(&service, &stage, &room, &token).await;
    let list = format!("user:{}:bob:pushes", room.id);
    eventually(DEADLINE * 2, "nothing waits", async || {
        (stage.redis.cmd(["EXISTS", &list]).int() == 0).then_some(())
    })
    .await;
    say(&stage, &room, "again").await;
    let got = service.wait_for(&after, 1).await;
    assert_eq!(got[0].key, PUBLIC);
    assert!(service.got(&before).is_empty());
}

#[tokio::test]
async fn an_operator_can_have_a_key_made() {
    let output = tokio::process::Command::new(PROGRAM).arg("vapid").output().await.unwrap();
    let line = String::from_utf8(output.stdout).unwrap();
    let made = line.trim_end().strip_prefix("VAPID_PRIVATE_KEY=").unwrap();
    let stage = Stage::new(1, &[("VAPID_PRIVATE_KEY", made)]).await;
    assert_eq!(key(&stage, 0).await.len(), PUBLIC.len());
}

#[tokio::test]
async fn a_subscription_is_checked_before_it_is_kept() {
    let (service, stage) = start(1, &[("PUSH_SUBSCRIPTIONS_MAX", "1")]).await;
    let (http, room) = (stage.http(), stage.room("alice").await);
    let token = stage.guest(&room, "bob").await;
    let whole = service.browser().subscription();
    let with = |pointer: &str, value: Value| {
        let mut body = whole.clone();
        *body.pointer_mut(pointer).unwrap() = value;
        body
    };
    for (body, field) in [
        (json!({}), "endpoint"),
        (with("/keys", Value::Null), "keys"),
        (with("/keys", json!({})), "keys"),
        (with("/endpoint", json!(7)), "endpoint"),
        (with("/endpoint", json!("http://push.example/")), "endpoint"),
        (with("/endpoint", json!("here")), "endpoint"),
        (with("/keys/p256dh", json!("BBBB")), "keys.p256dh"),
        (with("/keys/auth", json!("BBBB")), "keys.auth"),
    ] {
        put(&http, &room.id, &token, &body).await.invalid(field);
    }
    put(&http, &room.id, "lr_x.y", &whole).await.error(401, "INVALID_TOKEN");
    put(&http, "nowhere1", &token, &whole).await.error(404, "ROOM_NOT_FOUND");
    let path = format!("/api/rooms/{}/push", room.id);
    http.delete(&path, "lr_x.y").await.error(401, "INVALID_TOKEN");
    http.delete("/api/rooms/nowhere1/push", &token).await.error(404, "ROOM_NOT_FOUND");
    assert!(subscribers(&stage, &room).is_empty());

    // Only the last subscription of a user counts.
    let first = subscribe(&service, &stage, &room, &token).await;
    let second = subscribe(&service, &stage, &room, &token).await;
    put(&http, &room.id, &room.token, &whole).await.error(409, "ROOM_FULL");
    say(&stage, &room, "hello").await;
    service.wait_for(&second, 1).await;
    assert!(service.got(&first).is_empty());
}

/// No private address in any form; a subscription written directly to Redis is stopped when the
/// node connects.
#[tokio::test]
async fn no_push_goes_to_a_private_address() {
    let service = PushService::start().await;
    let more = [("WEBHOOK_ALLOW_PRIVATE", "off"), ("WEBHOOK_ATTEMPTS", "1")];
    let stage = Stage::new(1, &settings(&service, &more)).await;
    let room = stage.room("alice").await;
    let token = stage.guest(&room, "bob").await;
    let port = service.port();
    for host in [
        "127.0.0.1",
        "2130706433",
        "0x7f.1",
        "localhost",
        "a.localhost",
        "[::1]",
        "[::ffff:127.0.0.1]",
    ] {
        let body = service.browser_at(&format!("https://{host}:{port}")).subscription();
        put(&stage.http(), &room.id, &token, &body).await.invalid("endpoint");
    }
    let public = service.browser_at("https://push.example").subscription();
    put(&stage.http(), &room.id, &token, &public).await.data(200);
    let subscriptions = format!("room:{}:push", room.id);
    let kept = stage.redis.cmd(["HGET", &subscriptions, "bob"]).text().to_owned();
    for host in ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]"] {
        let planted = kept.replace("push.example", &format!("{host}:{port}"));
        stage.redis.cmd(["HSET", &subscriptions, "bob", &planted]);
        stage.redis.cmd(["DEL", "room::hooks:dead"]);
        say(&stage, &room, host).await;
        let reason = eventually(DEADLINE, "it cannot be delivered", async || {
            let letters = stage.redis.cmd(["XRANGE", "room::hooks:dead", "-", "+"]);
            let fields = letters.list().first()?.list()[1].list();
            let at = fields.iter().position(|field| field.text() == "reason")?;
            Some(fields[at + 1].text().to_owned())
        })
        .await;
        assert_eq!(reason, "the host's address is not a public one", "{host}");
    }
    assert!(service.pushes().is_empty());
}

#[tokio::test]
async fn a_subscription_outlives_the_session_but_not_the_name() {
    let (service, stage) = start(1, &[("SESSION_TTL", "1s"), ("PRESENCE_TTL", "1s")]).await;
    let room = stage.room("alice").await;
    let bob = stage.guest(&room, "bob").await;
    let browsers = [
        subscribe(&service, &stage, &room, &bob).await,
        subscribe(&service, &stage, &room, &room.token).await,
    ];
    for user in ["bob", "alice"] {
        let session = format!("user:{}:{user}:session", room.id);
        eventually(DEADLINE, "the end of a session", async || {
            (stage.redis.cmd(["EXISTS", &session]).int() == 0).then_some(())
        })
        .await;
    }
    let bot = stage.guest(&room, "bot").await;
    stage.http().say(&room.id, &bot, json!({ "text": "hello" })).await.data(201);
    for browser in &browsers {
        service.wait_for(browser, 1).await;
    }
    // The creator is back as the same user; somebody else has the other name.
    let _alice = stage.member(0, &room, &room.token).await;
    let other = stage.member(0, &room, "bob").await;
    assert_eq!(subscribers(&stage, &room), ["alice"]);
    let again = subscribe(&service, &stage, &room, other.seen[0]["token"].as_str().unwrap()).await;
    assert_eq!(subscribers(&stage, &room), ["alice", "bob"]);
    drop(again);
    // The previous user of the name may not end it.
    let path = format!("/api/rooms/{}/push", room.id);
    stage.http().delete(&path, &bob).await.error(401, "INVALID_TOKEN");
}

#[tokio::test]
async fn whoever_unsubscribes_or_is_removed_is_told_no_more() {
    let (service, stage) = start(1, &[("PUSH_INTERVAL", "100ms")]).await;
    let (http, room) = (stage.http(), stage.room("alice").await);
    let mut browsers = Vec::new();
    let mut tokens = Vec::new();
    for name in ["unsubscribed", "removed", "left", "told"] {
        tokens.push(stage.guest(&room, name).await);
        let token = tokens.last().unwrap();
        browsers.push(subscribe(&service, &stage, &room, token).await);
    }
    // Their waiting pushes are gone too.
    service.answers(|_, _| crate::support::PostReply::Status(500));
    say(&stage, &room, "while they are here").await;
    unsubscribe(&stage, &room, &tokens[0]).await;
    unsubscribe(&stage, &room, &tokens[0]).await;
    let path = |name: &str| format!("/api/rooms/{}/members/{name}", room.id);
    http.delete(&path("removed"), &room.token).await.data(200);
    http.delete(&path("left"), &tokens[2]).await.data(200);
    assert_eq!(subscribers(&stage, &room), ["told"]);
    let waiting = stage.redis.texts(["KEYS", &format!("user:{}:*:pushes", room.id)]);
    assert_eq!(waiting, [format!("user:{}:told:pushes", room.id)]);
    service.answers(|_, _| crate::support::PostReply::Status(201));
    say(&stage, &room, "later").await;
    service.wait_for(&browsers[3], 1).await;
    assert!(browsers[..3].iter().all(|browser| service.got(browser).is_empty()));

    // A user whose session has ended can be removed as well.
    stage.redis.cmd(["DEL", &format!("user:{}:told:session", room.id)]);
    http.delete(&path("told"), &room.token).await.data(200);
    http.delete(&path("told"), &room.token).await.error(404, "NOT_FOUND");
    assert!(subscribers(&stage, &room).is_empty());
    assert_eq!(stage.redis.cmd(["HEXISTS", &format!("room:{}", room.id), "push"]).int(), 0);
}

#[tokio::test]
async fn nothing_is_left_of_a_room_that_was_ended() {
    let (service, stage) = start(1, &[]).await;
    let room = stage.room("alice").await;
    service.answers(|_, _| crate::support::PostReply::Status(500));
    for name in ["bob", "carol"] {
        let token = stage.guest(&room, name).await;
        subscribe(&service, &stage, &room, &token).await;
    }
    say(&stage, &room, "hello").await;
    let is_tried = || service.pushes().len() >= 2;
    eventually(DEADLINE, "both are tried", async || is_tried().then_some(())).await;
    // Without a session there is no other way to find it.
    stage.redis.cmd(["DEL", &format!("user:{}:carol:session", room.id)]);
    let path = format!("/api/rooms/{}", room.id);
    stage.http().delete(&path, &room.token).await.data(200);
    assert_eq!(keys_of(&stage, &room), Vec::<String>::new());
    eventually(DEADLINE, "no list names the room", async || {
        let shared = ["delayed", "oldest"].map(|name| format!("room::hooks:{name}"));
        let named = shared.iter().flat_map(|key| stage.redis.texts(["ZRANGE", key, "0", "-1"]));
        (named.count() == 0).then_some(())
    })
    .await;
}
