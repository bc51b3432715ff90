//! Webhooks: each event is delivered at least once, in the order of its room, even if nodes or
//! Redis die; changes that did not happen are not reported.

mod failing;
mod lasting;

use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::support::{
    DEADLINE, Post, PostReply, Receiver, Room, SECRET, Stage, eventually, guarded,
};

/// Settings of nodes that post to this receiver.
fn settings<'a>(url: &'a str, more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let settings = [
        ("WEBHOOK_URL", url),
        ("WEBHOOK_SECRET", SECRET),
        ("WEBHOOK_ALLOW_PRIVATE", "on"),
        ("WEBHOOK_BACKOFF", "50ms"),
    ];
    settings.into_iter().chain(more.iter().copied()).collect()
}

async fn stage(nodes: usize, receiver: &Receiver, more: &[(&str, &str)]) -> Stage {
    Stage::new(nodes, &settings(&receiver.url(), more)).await
}

async fn say(stage: &Stage, room: &Room, text: &str) -> Value {
    stage.http().say(&room.id, &room.token, json!({ "text": text })).await.data(201)
}

/// The types of these posts, and their users if they are about one.
fn told(posts: &[Post]) -> Vec<(&str, &str)> {
    posts
        .iter()
        .map(|post| (post.kind(), post.data()["userId"].as_str().unwrap_or_default()))
        .collect()
}

#[tokio::test]
async fn each_change_is_one_event_in_the_order_of_its_room() {
    let receiver = Receiver::start().await;
    let stage = stage(2, &receiver, &[("LEAVE_GRACE", "100ms")]).await;
    let room = stage.room("al/ice \"🎉\"").await;
    let made = stage.http().get(&format!("/api/rooms/{}", room.id)).await.data(200);
    let mut alice = stage.member(0, &room, &room.token).await;
    let second = stage.member(1, &room, &room.token).await;
    let bob = stage.member(1, &room, "bob").await;
    let said = alice.say_once(&room.id, "hello\n\u{0}", "k").await;
    alice.say_once(&room.id, "hello\n\u{0}", "k").await;
    bob.send(json!({ "t": "leave", "roomId": room.id })).await;
    alice.wait_for_kind("user_left").await;
    stage.guest(&room, "bot").await;
    let missed = alice.say(&room.id, "gone?").await;
    let change = json!({ "topic": "b", "locked": true });
    let path = format!("/api/rooms/{}", room.id);
    let changed = stage.http().patch(&path, &room.token, change.clone()).await.data(200);

    // None of these requests changes anything.
    stage.http().patch(&path, &room.token, change).await.data(200);
    stage.http().patch(&path, "lr_x.y", json!({ "topic": "c" })).await.error(401, "INVALID_TOKEN");
    stage.client().await.try_join(json!({ "t": "join", "roomId": room.id, "token": "bob" })).await;
    stage.http().say(&room.id, "lr_x.y", json!({ "text": "no" })).await.error(401, "INVALID_TOKEN");

    // A user leaves only with its last connection.
    second.close().await;
    alice.close().await;
    let posts = receiver.wait_for(&room.id, 10).await;
    let alice = "al/ice \"🎉\"";
    let expected = [
        ("room.created", ""),
        ("member.joined", alice),
        ("member.joined", "bob"),
        ("message.created", ""),
        ("member.left", "bob"),
        ("message.created", ""),
        ("message.missed", "bob"),
        ("message.missed", "bot"),
        ("room.updated", ""),
        ("member.left", alice),
    ];
    let mut found = told(&posts);
    found[6..8].sort_unstable();
    assert_eq!(found, expected);
    assert_eq!(posts[0].data(), &made);
    let now = json!({ "memberCount": 1, "members": [alice] });
    // Only the creator may know the number of bans.
    for (field, value) in changed.as_object().unwrap().iter().filter(|(field, _)| *field != "bans")
    {
        assert_eq!(posts[8].data()[field], *now.get(field).unwrap_or(value), "{field}");
    }
    let message = |frame: &Value| {
        let mut message = frame.clone();
        message.as_object_mut().unwrap().remove("t");
        message
    };
    assert_eq!(posts[3].data(), &message(&said));
    assert_eq!(posts[5].data(), &message(&missed));
    assert_eq!(posts[6].data()["id"], missed["id"]);
    assert!(posts.iter().all(|post| post.body["timestamp"].as_str().unwrap().ends_with('Z')));
    let posts = receiver.posts();
    assert_eq!(posts.len(), 10, "each is posted once: {posts:?}");
}

/// Events contain a room as GET returns it: its first members by name, and their number.
#[tokio::test]
async fn of_a_large_room_no_more_members_are_named_than_get_names() {
    let receiver = Receiver::start().await;
    let more = [("ROSTER_MAX", "2"), ("WEBHOOK_EVENTS", "room.updated")];
    let stage = stage(1, &receiver, &more).await;
    let room = stage.room("carol").await;
    let _others = [stage.member(0, &room, "bob").await, stage.member(0, &room, "alice").await];
    let path = format!("/api/rooms/{}", room.id);
    let wish = json!({ "topic": "b" });
    let mut changed = stage.http().patch(&path, &room.token, wish).await.data(200);
    // Only the creator gets the number of bans.
    changed.as_object_mut().unwrap().remove("bans");
    assert_eq!(
        (&changed["members"], &changed["memberCount"]),
        (&json!(["alice", "bob"]), &json!(3))
    );
    assert_eq!(receiver.wait_for(&room.id, 1).await[0].data(), &changed);
}

/// A deleted text is nowhere in Redis, not even in events that wait or could not be delivered.
#[tokio::test]
async fn a_deleted_text_is_told_to_nobody_any_more() {
    let receiver = Receiver::start().await;
    let more = [
        ("WEBHOOK_ATTEMPTS", "2"),
        ("WEBHOOK_TIMEOUT", "3s"),
        ("WEBHOOK_EVENTS", "message.created, message.deleted"),
    ];
    let stage = stage(1, &receiver, &more).await;
    let room = stage.room("alice").await;
    receiver.answers(|post, before| match (post.data()["text"].as_str(), before) {
        (Some("secret letter"), _) => PostReply::Status(500),
        (Some("first"), 0) => PostReply::Hang,
        _ => PostReply::Status(200),
    });
    let letter = say(&stage, &room, "secret letter").await;
    eventually(DEADLINE, "a dead letter", async || {
        (stage.redis.cmd(["XLEN", "room::hooks:dead"]).int() == 1).then_some(())
    })
    .await;
    say(&stage, &room, "first").await;
    let waiting = say(&stage, &room, "secret that waits").await;
    for message in [&letter, &waiting] {
        let path = format!("/api/rooms/{}/messages/{}", room.id, message["id"].as_str().unwrap());
        let request = stage.http().request(reqwest::Method::DELETE, &path);
        stage.http().send(request.bearer_auth(&room.token)).await.data(200);
    }
    let list = format!("room:{}:hooks", room.id);
    let waits = stage.redis.cmd(["LRANGE", &list, "0", "-1"]);
    let letters = stage.redis.cmd(["XRANGE", "room::hooks:dead", "-", "+"]);
    let all = format!("{waits:?} {letters:?}");
    assert!(!all.contains("secret"), "{all}");
    let posts = receiver.wait_for(&room.id, 4).await;
    let kinds: Vec<_> = posts.iter().map(|post| (post.kind(), &post.data()["deleted"])).collect();
    let deleted = json!(true);
    let expected = [
        ("message.created", &Value::Null),
        ("message.created", &deleted),
        ("message.deleted", &Value::Null),
        ("message.deleted", &Value::Null),
    ];
    assert_eq!(kinds, expected);
    let redacted = json!({
        "roomId": room.id, "id": waiting["id"], "from": "alice",
        "timestamp": waiting["timestamp"], "deleted": true,
    });
    assert_eq!(posts[1].data(), &redacted);
    assert_eq!(posts[2].data(), &json!({ "roomId": room.id, "id": letter["id"] }));
}

#[tokio::test]
async fn the_end_of_a_room_is_its_last_event() {
    let receiver = Receiver::start().await;
    let stage = stage(1, &receiver, &[]).await;
    let room = stage.room("alice").await;
    let mut bob = stage.member(0, &room, "bob").await;
    stage.guest(&room, "bot").await;
    let http = stage.http();
    let path = format!("/api/rooms/{}", room.id);
    for path in [format!("{path}/members/bob"), path] {
        let request = http.request(reqwest::Method::DELETE, &path).bearer_auth(&room.token);
        http.send(request).await.data(200);
    }
    bob.wait_for_kind("removed").await;
    let posts = receiver.wait_for(&room.id, 5).await;
    let expected = [("member.joined", "bob"), ("member.left", "bob"), ("room.deleted", "")];
    assert_eq!(told(&posts[2..]), expected);
    assert_eq!(posts[4].data(), &json!({ "roomId": room.id }));
    let absent = format!("room:{}:absent", room.id);
    assert_eq!(stage.redis.cmd(["EXISTS", &absent]).int(), 0);
}

#[tokio::test]
async fn only_what_is_wanted_is_told() {
    let receiver = Receiver::start().await;
    let wanted = [("WEBHOOK_EVENTS", "member.joined, message.missed")];
    let stage = stage(1, &receiver, &wanted).await;
    let room = stage.room("alice").await;
    stage.guest(&room, "bot").await;
    say(&stage, &room, "hello").await;
    let posts = receiver.wait_for(&room.id, 2).await;
    assert_eq!(told(&posts), [("member.joined", "alice"), ("message.missed", "bot")]);
}

/// Not reported are users whose session has ended, who came back, or who wrote the message.
#[tokio::test]
async fn a_message_is_missed_by_those_with_a_session_who_are_not_here() {
    let receiver = Receiver::start().await;
    let more = [
        ("WEBHOOK_EVENTS", "message.missed"),
        ("SESSION_TTL", "1s"),
        ("PRESENCE_TTL", "1s"),
        ("LEAVE_GRACE", "100ms"),
    ];
    let stage = stage(1, &receiver, &more).await;
    let room = stage.room("alice").await;
    let mut alice = stage.member(0, &room, &room.token).await;
    alice.keep_alive(std::time::Duration::from_millis(200));
    let bot = stage.guest(&room, "bot").await;
    stage.guest(&room, "short").await;
    let first = stage.http().say(&room.id, &bot, json!({ "text": "a" })).await.data(201);
    let session = format!("user:{}:short:session", room.id);
    eventually(DEADLINE, "the end of a session", async || {
        (stage.redis.cmd(["EXISTS", &session]).int() == 0).then_some(())
    })
    .await;
    let other = stage.guest(&room, "other").await;
    let mut back = stage.member(0, &room, &other).await;
    back.keep_alive(std::time::Duration::from_millis(200));
    stage.guest(&room, "last").await;
    let second = say(&stage, &room, "b").await;
    let posts = receiver.wait_for(&room.id, 2).await;
    let missed = |post: &Post| (post.data()["id"].clone(), post.data()["userId"].clone());
    let found: Vec<_> = posts.iter().map(missed).collect();
    assert_eq!(
        found,
        [(first["id"].clone(), json!("short")), (second["id"].clone(), json!("last"))]
    );
    assert_eq!(stage.redis.texts(["SMEMBERS", &format!("room:{}:absent", room.id)]), ["last"]);
}

#[tokio::test]
async fn without_a_webhook_nothing_is_written_for_it() {
    let stage = Stage::new(1, &[("LEAVE_GRACE", "50ms")]).await;
    let room = stage.room("alice").await;
    stage.guest(&room, "bot").await;
    let alice = stage.member(0, &room, &room.token).await;
    say(&stage, &room, "hello").await;
    alice.close().await;
    eventually(DEADLINE, "an empty room", async || {
        stage.members_in_redis(&room).is_empty().then_some(())
    })
    .await;
    assert!(stage.redis.texts(["KEYS", "*hooks*"]).is_empty());
    assert!(stage.redis.texts(["KEYS", "*absent*"]).is_empty());
    for command in ["rpush", "xgroup", "xreadgroup", "zrange"] {
        assert_eq!(stage.redis.calls(command), 0, "{command}");
    }
}

/// Every key has a TTL, and few keys are left of a room with events.
#[tokio::test]
async fn what_webhooks_keep_is_not_kept_for_ever() {
    let receiver = Receiver::start().await;
    receiver.answers(|_, _| PostReply::Status(500));
    let stage = stage(1, &receiver, &[("WEBHOOK_ATTEMPTS", "1")]).await;
    let room = stage.room("alice").await;
    stage.guest(&room, "bot").await;
    say(&stage, &room, "hello").await;
    eventually(DEADLINE, "dead letters", async || {
        (stage.redis.cmd(["XLEN", "room::hooks:dead"]).int() == 4).then_some(())
    })
    .await;
    for key in stage.redis.texts(["KEYS", "*"]) {
        assert!(stage.redis.cmd(["PTTL", &key]).int() > 0, "{key} stays for ever");
    }
}

#[tokio::test]
async fn the_example_receives_and_verifies() {
    let port = crate::support::free_addr().port().to_string();
    let program = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/webhook_receiver.py");
    let mut command: Command = guarded("python3");
    command.arg(program).arg(&port).env("WEBHOOK_SECRET", SECRET).stdout(Stdio::piped());
    let mut command = tokio::process::Command::from(command);
    let mut example = command.kill_on_drop(true).spawn().unwrap();
    let url = format!("http://127.0.0.1:{port}/");
    let stage = Stage::new(1, &settings(&url, &[])).await;
    let forged = reqwest::Client::new().post(&url).header("webhook-id", "evt_1").body("{}");
    let forged = eventually(DEADLINE, "the example listens", async || {
        forged.try_clone().unwrap().send().await.ok()
    });
    assert_eq!(forged.await.status(), 401);
    let room = stage.room("alice").await;
    let mut lines = tokio::io::AsyncBufReadExt::lines(tokio::io::BufReader::new(
        example.stdout.take().unwrap(),
    ));
    for kind in ["room.created", "member.joined"] {
        let line = crate::support::within(DEADLINE, kind, lines.next_line()).await.unwrap();
        let event: Value = serde_json::from_str(&line.unwrap()).unwrap();
        assert_eq!((&event["type"], &event["data"]["roomId"]), (&json!(kind), &json!(room.id)));
    }
}
