//! Web Push: users with a subscription who are not looking are notified, even if nodes or Redis
//! die; nobody else is.

mod failing;
mod subscriptions;

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{
    Answer, Browser, Client, DEADLINE, Http, PushService, Pushed, Room, Stage, eventually,
};

/// Settings of nodes that trust this push service.
fn settings<'a>(service: &'a PushService, more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let settings = [
        ("SSL_CERT_FILE", service.trusted()),
        ("WEBHOOK_ALLOW_PRIVATE", "on"),
        ("WEBHOOK_BACKOFF", "50ms"),
        ("VAPID_SUBJECT", "mailto:tests@rooms.example"),
    ];
    settings.into_iter().chain(more.iter().copied()).collect()
}

/// Nodes and a push service.
async fn start(nodes: usize, more: &[(&str, &str)]) -> (PushService, Stage) {
    let service = PushService::start().await;
    let stage = Stage::new(nodes, &settings(&service, more)).await;
    (service, stage)
}

async fn put(http: &Http, room: &str, token: &str, body: &Value) -> Answer {
    let path = format!("/api/rooms/{room}/push");
    http.send(http.request(reqwest::Method::PUT, &path).bearer_auth(token).json(body)).await
}

/// A browser that receives pushes for the user of this token.
async fn subscribe(service: &PushService, stage: &Stage, room: &Room, token: &str) -> Browser {
    let browser = service.browser();
    put(&stage.http(), &room.id, token, &browser.subscription()).await.data(200);
    browser
}

async fn unsubscribe(stage: &Stage, room: &Room, token: &str) {
    stage.http().delete(&format!("/api/rooms/{}/push", room.id), token).await.data(200);
}

async fn say(stage: &Stage, room: &Room, text: &str) -> Value {
    stage.http().say(&room.id, &room.token, json!({ "text": text })).await.data(201)
}

/// A member whose only connection is away.
async fn away(stage: &Stage, room: &Room, token: &str) -> Client {
    let client = stage.member(0, room, token).await;
    client.send(json!({ "t": "ping", "status": "away" })).await;
    let away = format!("room:{}:away", room.id);
    let user = client.seen[0]["me"].as_str().unwrap().to_owned();
    eventually(DEADLINE, "the user is away", async || {
        (stage.redis.cmd(["SISMEMBER", &away, &user]).int() == 1).then_some(())
    })
    .await;
    client
}

/// Number of messages in these pushes.
fn told(pushes: &[Pushed]) -> u64 {
    pushes.iter().map(|push| 1 + push.payload["more"].as_u64().unwrap()).sum()
}

/// Every key of Redis that names the room.
fn keys_of(stage: &Stage, room: &Room) -> Vec<String> {
    let mut keys = stage.redis.texts(["KEYS", &format!("*{}*", room.id)]);
    keys.sort();
    keys
}

#[tokio::test]
async fn whoever_is_not_looking_is_told_once_and_nobody_else() {
    let (service, stage) = start(2, &[("HEARTBEAT_INTERVAL", "200ms")]).await;
    let room = stage.room("alice").await;
    let gone = stage.guest(&room, "gone: 100%").await;
    let (absent, author) = (
        subscribe(&service, &stage, &room, &gone).await,
        subscribe(&service, &stage, &room, &room.token).await,
    );
    let mut looking = stage.member(1, &room, "bob").await;
    let token = looking.seen[0]["token"].as_str().unwrap().to_owned();
    let here = subscribe(&service, &stage, &room, &token).await;
    let token = stage.guest(&room, "carol").await;
    let _carol = away(&stage, &room, &token).await;
    let idle = subscribe(&service, &stage, &room, &token).await;

    let text = format!("hello\n\u{0} \"🎉\" {}", "가".repeat(300));
    say(&stage, &room, &text).await;
    let beginning: String = text.chars().take(200).collect();
    let expected = json!({ "roomId": room.id, "from": "alice", "text": beginning, "more": 0 });
    let key = stage.http().get("/api/push").await.data(200)["publicKey"].clone();
    for browser in [&absent, &idle] {
        let got = service.wait_for(browser, 1).await;
        assert_eq!((&got[0].payload, &json!(got[0].key)), (&expected, &key));
        assert!(!got[0].topic.contains(&room.id));
    }
    looking.wait_for_kind("msg").await;
    assert!(service.got(&here).is_empty() && service.got(&author).is_empty());
    assert_eq!(service.pushes().len(), 2, "each once");

    // A user who is back and active gets no more pushes.
    let mut back = stage.member(0, &room, &gone).await;
    say(&stage, &room, "again").await;
    back.wait_for_kind("msg").await;
    let list = format!("user:{}:gone%3A 100%25:pushes", room.id);
    eventually(DEADLINE, "nothing waits", async || {
        (stage.redis.cmd(["EXISTS", &list]).int() == 0).then_some(())
    })
    .await;
    assert_eq!(service.got(&absent).len(), 1);
}

#[tokio::test]
async fn in_an_interval_there_is_one_push_and_the_rest_is_counted() {
    let (service, stage) = start(1, &[("PUSH_INTERVAL", "1s")]).await;
    let room = stage.room("alice").await;
    let token = stage.guest(&room, "bob").await;
    let browser = subscribe(&service, &stage, &room, &token).await;
    say(&stage, &room, "0").await;
    service.wait_for(&browser, 1).await;
    for number in 1..8 {
        say(&stage, &room, &number.to_string()).await;
    }
    let got = eventually(DEADLINE, "all are told of", async || {
        let got = service.got(&browser);
        (told(&got) == 8).then_some(got)
    })
    .await;
    assert_eq!(got.len(), 2, "{got:?}");
    assert_eq!(
        got[1].payload,
        json!({ "roomId": room.id, "from": "alice", "text": "7", "more": 6 })
    );
    assert!(got[1].at - got[0].at >= Duration::from_millis(900), "too soon");
    // The interval ends, and no waiting push is left.
    let delayed = || stage.redis.cmd(["ZCARD", "room::hooks:delayed"]).int();
    eventually(DEADLINE, "no push rests", async || (delayed() == 0).then_some(())).await;
    say(&stage, &room, "8").await;
    let last = &service.wait_for(&browser, 3).await[2];
    assert_eq!((&last.payload["text"], &last.payload["more"]), (&json!("8"), &json!(0)));
}

#[tokio::test]
async fn of_an_encrypted_room_no_text_leaves_the_server() {
    let (service, stage) = start(1, &[]).await;
    let wish = json!({ "creatorName": "alice", "e2e": true });
    let made = stage.http().post("/api/rooms", wish).await.data(201);
    let text = |field: &str| made[field].as_str().unwrap().to_owned();
    let room = Room { id: text("roomId"), token: text("token") };
    let token = stage.guest(&room, "bob").await;
    let browser = subscribe(&service, &stage, &room, &token).await;
    say(&stage, &room, "c2VhbGVk").await;
    let got = service.wait_for(&browser, 1).await;
    assert_eq!(got[0].payload, json!({ "roomId": room.id, "from": "alice", "more": 0 }));
}

/// Messages that were read or deleted before their push is sent are not pushed.
#[tokio::test]
async fn what_was_read_or_deleted_meanwhile_is_not_told() {
    let (service, stage) =
        start(1, &[("PUSH_INTERVAL", "2s"), ("HEARTBEAT_INTERVAL", "100ms")]).await;
    let room = stage.room("alice").await;
    let (bob, carol) = (stage.guest(&room, "bob").await, stage.guest(&room, "carol").await);
    let reads = subscribe(&service, &stage, &room, &bob).await;
    let waits = subscribe(&service, &stage, &room, &carol).await;
    say(&stage, &room, "first").await;
    service.wait_for(&reads, 1).await;
    service.wait_for(&waits, 1).await;
    let secret = say(&stage, &room, "secret").await["id"].clone();
    let back = stage.member(0, &room, &bob).await;
    back.send(json!({ "t": "ping", "read": secret })).await;
    let session = format!("user:{}:bob:session", room.id);
    eventually(DEADLINE, "it is read", async || {
        (stage.redis.cmd(["HEXISTS", &session, "read"]).int() == 1).then_some(())
    })
    .await;
    let path = format!("/api/rooms/{}/messages/{}", room.id, secret.as_str().unwrap());
    stage.http().delete(&path, &room.token).await.data(200);
    for user in ["bob", "carol"] {
        let list = format!("user:{}:{user}:pushes", room.id);
        eventually(DEADLINE, "nothing waits", async || {
            (stage.redis.cmd(["EXISTS", &list]).int() == 0).then_some(())
        })
        .await;
    }
    assert_eq!((service.got(&reads).len(), service.got(&waits).len()), (1, 1));
}

/// While no user of the room has a subscription, a message runs no command for pushes.
#[tokio::test]
async fn without_a_subscription_no_command_is_run_for_it() {
    let (service, stage) = start(1, &[]).await;
    let (room, other) = (stage.room("alice").await, stage.room("alice").await);
    let token = stage.guest(&other, "bob").await;
    stage.guest(&room, "bob").await;
    subscribe(&service, &stage, &other, &token).await;
    let commands = ["hkeys", "zmscore", "smismember", "llen", "rpush"];
    let calls = || commands.map(|command| stage.redis.calls(command));
    let before = calls();
    for number in 0..5 {
        say(&stage, &room, &number.to_string()).await;
    }
    assert_eq!(calls(), before);
    say(&stage, &other, "hello").await;
    assert!(calls().iter().zip(before).all(|(now, before)| *now > before), "{:?}", calls());
}
