//! Promise 3: same user, same key, one message; the retry is answered with it.

use serde_json::{Value, json};

use crate::support::{DEADLINE, Stage, eventually};

#[tokio::test]
async fn a_retry_is_answered_with_the_first_message() {
    let stage = Stage::new(2, &[]).await;
    let room = stage.room("alice").await;
    let mut alice = stage.member(0, &room, &room.token).await;
    let mut elsewhere = stage.member(1, &room, &room.token).await;
    let mut bob = stage.member(1, &room, "bob").await;

    let first = alice.say_once(&room.id, "hello", "k").await;
    bob.wait_for_kind("msg").await;
    let again = alice.say_once(&room.id, "hello", "k").await;
    assert_eq!(first, again);
    elsewhere.wait_for_kind("msg").await;
    assert_eq!(elsewhere.say_once(&room.id, "another text", "k").await, first);
    let over_http =
        stage.http().say(&room.id, &room.token, json!({ "text": "hello", "key": "k" })).await;
    assert_eq!(over_http.body["data"]["id"], first["id"]);

    let after = alice.say_once(&room.id, "next", "k2").await;
    assert_eq!(bob.expect("msg").await, after, "bob heard of no retry");
    assert_eq!(stage.redis.stream_ids(&room.id).len(), 2);
}

#[tokio::test]
async fn a_key_belongs_to_its_user_and_room() {
    let stage = Stage::new(1, &[]).await;
    let (room, other) = (stage.room("alice").await, stage.room("alice").await);
    let mut alice = stage.member(0, &room, &room.token).await;
    let mut bob = stage.member(0, &room, "bob").await;
    let one = alice.say_once(&room.id, "one", "k").await;
    let two = bob.wait_for_kind("msg").await;
    assert_eq!(one["id"], two["id"]);
    bob.send(json!({ "t": "msg", "roomId": room.id, "text": "two", "key": "k" })).await;
    assert_eq!(bob.expect("msg").await["from"], "bob");
    alice.join(&other.id, &other.token).await;
    alice.send(json!({ "t": "msg", "roomId": other.id, "text": "three", "key": "k" })).await;
    let third = alice.wait_for("the other room", |frame| frame["roomId"] == other.id).await;
    assert_eq!(third["text"], "three");
    assert_eq!(stage.redis.stream_ids(&room.id).len(), 2);
}

#[tokio::test]
async fn keys_that_look_alike_are_different() {
    let stage = Stage::new(1, &[("MESSAGES_PER_SECOND", "1000")]).await;
    let room = stage.room("a").await;
    let mut names = vec![(room.token.clone(), "a".to_owned())];
    for name in ["a:b", "a:b:c", "A"] {
        names.push((stage.guest(&room, name).await, name.to_owned()));
    }
    let mut sent = 0;
    for (token, name) in &names {
        for key in ["k", "b:k", "b:c:k", "K", " k", "c:k", "키"] {
            let said = stage.http().say(&room.id, token, json!({ "text": "x", "key": key })).await;
            assert_eq!(said.data(201)["from"], *name);
            sent += 1;
        }
    }
    assert_eq!(stage.redis.stream_ids(&room.id).len(), sent);
}

#[tokio::test]
async fn many_retries_at_once_are_one_message() {
    let stage = Stage::new(2, &[("MESSAGES_PER_SECOND", "1000")]).await;
    let room = stage.room("alice").await;
    let calls = (0..40).map(|number| {
        let http = stage.nodes[number % 2].http();
        let (room, token) = (&room.id, &room.token);
        async move { http.say(room, token, json!({ "text": "x", "key": "k" })).await.data(201) }
    });
    let answers: Vec<Value> = futures_util::future::join_all(calls).await;
    assert!(answers.iter().all(|answer| answer == &answers[0]), "{answers:?}");
    assert_eq!(stage.redis.stream_ids(&room.id).len(), 1);
}

#[tokio::test]
async fn a_retry_is_answered_over_the_flood_limit_too() {
    let stage = Stage::new(1, &[("MESSAGES_PER_SECOND", "2")]).await;
    let room = stage.room("alice").await;
    let http = stage.http();
    let first = http.say(&room.id, &room.token, json!({ "text": "x", "key": "k" })).await.data(201);
    eventually(DEADLINE, "the flood limit", async || {
        (http.say(&room.id, &room.token, json!({ "text": "y" })).await.status == 429).then_some(())
    })
    .await;
    let again = http.say(&room.id, &room.token, json!({ "text": "x", "key": "k" })).await;
    assert_eq!(again.data(201), first);
}

#[tokio::test]
async fn a_key_is_forgotten_after_its_time() {
    let stage = Stage::new(1, &[("IDEMPOTENCY_TTL", "300ms")]).await;
    let room = stage.room("alice").await;
    let http = stage.http();
    let say = async || {
        let answer = http.say(&room.id, &room.token, json!({ "text": "x", "key": "k" })).await;
        answer.body["data"]["id"].as_str().map(str::to_owned)
    };
    let first = say().await.unwrap();
    eventually(DEADLINE, "a second message", async || say().await.filter(|id| *id != first)).await;
}

#[tokio::test]
async fn a_message_survives_its_key_when_history_is_trimmed() {
    let stage = Stage::new(1, &[]).await;
    let room = stage.room("alice").await;
    let mut alice = stage.member(0, &room, &room.token).await;
    let first = alice.say_once(&room.id, "hello", "k").await;
    stage.redis.cmd(["XTRIM", &format!("room:{}:messages", room.id), "MAXLEN", "0"]);
    let again = alice.say_once(&room.id, "hello", "k").await;
    assert_eq!(again["id"], first["id"]);
    assert!(stage.redis.stream_ids(&room.id).is_empty());
}
