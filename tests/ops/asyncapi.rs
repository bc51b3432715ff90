//! docs/asyncapi.yaml: a conversation in which every frame and every error matches the description.

use std::{fs, path::Path, process::Command, time::Duration};

use linkroom::{error::Error, i18n::Language, protocol::ServerFrame};
use serde_json::{Value, json};

use crate::support::{Client, Room, Stage};

const SETTINGS: [(&str, &str); 4] = [
    ("ROOM_MAX_MEMBERS", "2"),
    ("MESSAGES_PER_SECOND", "5"),
    ("PRESENCE_TTL", "3s"),
    ("HEARTBEAT_INTERVAL", "500ms"),
];

/// Valid frames that clients sent.
#[derive(Default)]
struct Sent(Vec<Value>);

impl Sent {
    async fn send(&mut self, client: &Client, frame: Value) {
        self.0.push(frame.clone());
        client.send(frame).await;
    }

    async fn join(&mut self, client: &mut Client, join: Value) -> Value {
        self.0.push(join.clone());
        client.try_join(join).await
    }
}

/// Everything that happens in a room: all kinds of frames except `members` and `room`.
async fn live(stage: &Stage, room: &Room, alice: &mut Client, sent: &mut Sent) {
    let join = |token: &str| json!({ "t": "join", "roomId": room.id, "token": token });
    let mut bob = stage.client().await;
    sent.join(alice, join(&room.token)).await;
    let mut newcomer = join("bob");
    newcomer["secret"] = json!("a-secret_of-bob-0123456789");
    sent.join(&mut bob, newcomer).await;
    alice.wait_for_kind("user_joined").await;
    let msg = json!({ "t": "msg", "roomId": room.id, "text": "hi", "key": "k1" });
    sent.send(alice, msg).await;
    let id = bob.wait_for_kind("msg").await["id"].clone();
    let hello = json!({ "t": "msg", "text": "안녕", "key": "k2" });
    sent.send(&bob, hello.clone()).await;
    let second = alice.wait_for("the second", |frame| frame["text"] == "안녕").await["id"].clone();
    let path = format!("/api/rooms/{}/messages/{}", room.id, second.as_str().unwrap());
    stage.http().delete(&path, &room.token).await.data(200);
    bob.wait_for_kind("deleted").await;
    sent.send(&bob, hello).await;
    bob.wait_for("what is left of it", |frame| frame["deleted"] == true).await;
    let ping = json!({ "t": "ping", "roomId": room.id, "status": "away", "read": id });
    sent.send(&bob, ping).await;
    bob.wait_for_kind("pong").await;
    for kind in ["presence", "read"] {
        alice.wait_for_kind(kind).await;
    }
    let mut again = stage.client().await;
    let mut resume = join(&room.token);
    resume["since"] = id;
    assert_eq!(sent.join(&mut again, resume).await["messages"].as_array().unwrap().len(), 1);
    sent.send(&bob, json!({ "t": "leave", "roomId": room.id })).await;
    alice.wait_for_kind("user_left").await;
    alice.seen.extend(bob.seen.drain(..).chain(again.seen.drain(..)));
}

/// Another user takes the creator's name.
async fn take_the_creators_name(stage: &Stage, alice: &mut Client) {
    let room = stage.room("alice").await;
    let (mut bob, mut other) = (stage.client().await, stage.client().await);
    bob.join(&room.id, "bob").await;
    let path = format!("/api/rooms/{}/members/alice", room.id);
    stage.http().delete(&path, &room.token).await.data(200);
    other.join(&room.id, "alice").await;
    bob.wait_for_kind("room").await;
    alice.seen.extend(bob.seen.drain(..).chain(other.seen.drain(..)));
}

/// Every error that needs no fault of the service.
async fn err(stage: &Stage, room: &Room, alice: &mut Client) {
    let join = |room: &str, token: &str| json!({ "t": "join", "roomId": room, "token": token });
    let mut carol = stage.client().await;
    for (join, code) in [
        (join("nosuchroom00", "carol"), "ROOM_NOT_FOUND"),
        (join(&room.id, "alice"), "NAME_TAKEN"),
        (join(&room.id, "lr_Y2Fyb2w.guess"), "INVALID_TOKEN"),
    ] {
        assert_eq!(carol.try_join(join).await["code"], code);
    }
    for (locked, code) in [(true, json!("ROOM_LOCKED")), (false, Value::Null)] {
        let path = format!("/api/rooms/{}", room.id);
        let wish = json!({ "locked": locked });
        stage.http().patch(&path, &room.token, wish).await.data(200);
        if locked {
            assert_eq!(carol.try_join(join(&room.id, "carol")).await["code"], code);
        }
    }
    alice.wait_for_kind("room").await;
    carol.send(json!({ "t": "shout" })).await;
    carol.expect_error("VALIDATION_FAILED").await;
    carol.send(json!({ "t": "msg", "roomId": "elsewhere", "text": "a", "key": "k" })).await;
    carol.expect_error("NOT_IN_ROOM").await;
    carol.join(&room.id, "carol").await;
    let mut dave = stage.client().await;
    assert_eq!(dave.try_join(join(&room.id, "dave")).await["code"], "ROOM_FULL");
    let path = format!("/api/rooms/{}/members/carol?ban=true", room.id);
    stage.http().delete(&path, &room.token).await.data(200);
    carol.wait_for_kind("removed").await;
    assert_eq!(dave.try_join(join(&room.id, "dave")).await["code"], "BANNED");
    for number in 0..20 {
        alice.send(json!({ "t": "msg", "text": number.to_string() })).await;
    }
    alice.wait_for("refusal", |frame| frame["code"] == "RATE_LIMITED").await;
    alice.seen.extend(carol.seen.drain(..).chain(dave.seen.drain(..)));
}

/// A room that another program writes, and a Redis that disappears and comes back empty.
async fn suffer(stage: &mut Stage, room: &Room, alice: &mut Client) {
    let sealed = json!({ "creatorName": "alice", "e2e": true });
    let sealed = stage.http().post("/api/rooms", sealed).await.data(201);
    let (id, token) = (sealed["roomId"].as_str().unwrap(), sealed["token"].as_str().unwrap());
    let join = json!({ "t": "join", "roomId": id, "token": token });
    let mut other = stage.client().await;
    other.accept_any_frame();
    assert_eq!(other.try_join(join.clone()).await["e2e"], true);
    stage.redis.cmd(["SET", &format!("room:{id}:members"), "not ours"]);
    assert_eq!(other.try_join(join).await["code"], "INTERNAL");

    stage.redis.kill();
    alice.send(json!({ "t": "msg", "roomId": room.id, "text": "lost?", "key": "k3" })).await;
    alice.wait_for("refusal", |frame| frame["code"] == "SERVICE_UNAVAILABLE").await;
    stage.redis.restart();
    alice.keep_alive(Duration::from_millis(200));
    alice.wait_for_kind("members").await;
    alice.seen.append(&mut other.seen);
}

/// Whoever would wait too long behind thousands of others; so many come in no test.
fn told_to_a_herd(room: &Room) -> Value {
    let error = Error::come_again(Duration::from_millis(1_500), "too many joins wait");
    let frame = ServerFrame::error(&error, Language::En, Some(&room.id), None);
    serde_json::from_str(&frame.json()).unwrap()
}

#[tokio::test]
async fn every_frame_is_as_described() {
    let mut stage = Stage::new(1, &SETTINGS).await;
    let room = stage.room("alice").await;
    let (mut alice, mut sent) = (stage.client().await, Sent::default());
    live(&stage, &room, &mut alice, &mut sent).await;
    take_the_creators_name(&stage, &mut alice).await;
    err(&stage, &room, &mut alice).await;
    suffer(&mut stage, &room, &mut alice).await;
    alice.seen.push(told_to_a_herd(&room));

    let conversation = stage.env.fresh_path("conversation").with_extension("json");
    let text = json!({ "receive": sent.0, "send": alice.seen }).to_string();
    fs::write(&conversation, text).unwrap();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/asyncapi");
    assert!(folder.join("node_modules").exists(), "missing; install it with: make asyncapi");
    let output = Command::new("node").arg(folder.join("frames.js")).arg(&conversation).output();
    let output = output.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn the_description_is_of_this_version() {
    let version = concat!("\n  version: ", env!("CARGO_PKG_VERSION"), "\n");
    assert!(include_str!("../../docs/asyncapi.yaml").contains(version));
}
