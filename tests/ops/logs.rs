//! The complete logs of a run, at the most verbose level, contain no token and no text.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{DEADLINE, Node, Stage, eventually};

const SECRET_TEXT: &str = "nobody-else-may-read-this";

/// Does everything that processes a token or a text, with valid and invalid ones.
async fn live(stage: &mut Stage, settings: &[(&str, &str)]) -> Vec<String> {
    let room = stage.room("alice").await;
    let bot = stage.guest(&room, "bot").await;
    let mut alice = stage.member(0, &room, &room.token).await;
    alice.say(&room.id, SECRET_TEXT).await;
    stage.http().say(&room.id, &bot, json!({ "text": SECRET_TEXT, "key": "k" })).await.data(201);
    stage.http().say(&room.id, "lr_wrong", json!({ "text": SECRET_TEXT })).await;
    stage.http().say(&room.id, &bot, json!({ "text": [SECRET_TEXT] })).await;
    let mut bob = stage.client().await;
    let guest = bob.join(&room.id, "bob").await["token"].as_str().unwrap().to_owned();
    bob.try_join(json!({ "t": "join", "roomId": room.id, "token": "lr_no.body" })).await;
    bob.send(json!({ "t": "msg", "text": SECRET_TEXT, "roomId": "elsewhere" })).await;
    bob.expect_error("NOT_IN_ROOM").await;
    bob.send(json!({ "t": "shout", "text": SECRET_TEXT })).await;
    bob.expect_error("VALIDATION_FAILED").await;
    // Redis is down, then empty: scripts fail, and tokens are restored.
    stage.redis.kill();
    alice.send(json!({ "t": "msg", "text": SECRET_TEXT, "key": "k2" })).await;
    alice.wait_for("refusal", |frame| frame["code"] == "SERVICE_UNAVAILABLE").await;
    stage.redis.restart();
    stage.add_node(settings).await;
    alice.keep_alive(Duration::from_millis(100));
    stage.nodes[0].wait_until_ready().await;
    eventually(DEADLINE, "alice is heard again", async || {
        alice.send(json!({ "t": "msg", "text": SECRET_TEXT, "key": "k2" })).await;
        let answer = alice.wait_for("answer", |frame| frame["key"] == "k2").await;
        (answer["t"] == "msg").then_some(())
    })
    .await;
    vec![room.token, bot, guest, "lr_wrong".into(), "lr_no.body".into(), SECRET_TEXT.into()]
}

async fn log_of(mut stage: Stage) -> Vec<String> {
    let mut lines = Vec::new();
    for node in &mut stage.nodes {
        node.signal(nix::sys::signal::Signal::SIGINT);
        Node::exit_status(node).await;
        lines.extend(node.log().lines().map(str::to_owned));
    }
    lines
}

async fn run(format: &str) -> Vec<String> {
    let settings = [
        ("LOG_FORMAT", format),
        ("LOG_LEVEL", "trace"),
        ("PRESENCE_TTL", "2s"),
        ("HEARTBEAT_INTERVAL", "200ms"),
    ];
    let mut stage = Stage::new(1, &settings).await;
    let secrets = live(&mut stage, &settings).await;
    let lines = log_of(stage).await;
    assert!(lines.len() > 20, "it talks: {lines:?}");
    for line in &lines {
        for secret in &secrets {
            assert!(!line.contains(secret), "{secret} in {line}");
        }
    }
    lines
}

#[tokio::test]
async fn lines_for_people_hold_no_secret() {
    let lines = run("text").await;
    assert!(lines.iter().any(|line| line.contains("redis is out of reach")), "{lines:?}");
}

#[tokio::test]
async fn lines_for_machines_hold_no_secret() {
    for line in run("json").await {
        let line: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("{line}"));
        for field in ["timestamp", "level", "target", "message"] {
            assert!(line[field].is_string(), "no {field}: {line}");
        }
        assert_ne!(line["level"], "ERROR", "nothing of this is a fault of the node: {line}");
        let is_of = |part: &str| line["target"].as_str().unwrap().starts_with(part);
        if is_of("linkroom::ws") {
            assert!(line["span"]["connection"].is_string(), "of which connection? {line}");
        }
        if is_of("linkroom::http") {
            assert!(line["span"]["request_id"].is_string(), "of which request? {line}");
        }
    }
}
