//! Promise 1: a message that comes back was in the stream first.

use serde_json::json;

use crate::support::Stage;

#[tokio::test]
async fn what_comes_back_is_in_the_stream() {
    let stage = Stage::new(2, &[("MESSAGES_PER_SECOND", "1000")]).await;
    let room = stage.room("alice").await;
    let mut alice = stage.member(0, &room, &room.token).await;
    let mut bob = stage.member(1, &room, "bob").await;
    alice.wait_for_kind("user_joined").await;
    let key = format!("room:{}:messages", room.id);
    for number in 0..50 {
        alice
            .send(json!({ "t": "msg", "roomId": room.id, "text": format!("text {number}") }))
            .await;
        for client in [&mut alice, &mut bob] {
            let told = client.expect("msg").await;
            let id = told["id"].as_str().unwrap();
            let stored = stage.redis.cmd(["XRANGE", &key, id, id]);
            let entry = format!("{:?}", stored.list()[0]);
            assert!(entry.contains(&format!("text {number}")), "{entry}");
        }
    }
}

#[tokio::test]
async fn what_is_refused_is_neither_stored_nor_told() {
    let stage = Stage::new(1, &[]).await;
    let room = stage.room("alice").await;
    let mut alice = stage.member(0, &room, &room.token).await;
    let mut stranger = stage.client().await;
    stranger.send(json!({ "t": "msg", "roomId": room.id, "text": "psst" })).await;
    stranger.expect_error("NOT_IN_ROOM").await;
    alice.send(json!({ "t": "msg", "roomId": room.id, "text": "" })).await;
    alice.expect_error("VALIDATION_FAILED").await;
    alice.say(&room.id, "hello").await;
    assert_eq!(stage.redis.stream_ids(&room.id).len(), 1);
    assert_eq!(alice.message_ids(&room.id), stage.redis.stream_ids(&room.id));
}

#[tokio::test]
async fn a_message_is_one_call_to_redis_however_many_members() {
    let stage = Stage::new(1, &[("MESSAGES_PER_SECOND", "1000")]).await;
    let room = stage.room("alice").await;
    let mut alice = stage.member(0, &room, &room.token).await;
    let _others = stage.guests(&room, 20).await;
    alice.say(&room.id, "warm").await;
    let before = stage.redis.scripts_run();
    for _ in 0..100 {
        alice.say(&room.id, "text").await;
    }
    let calls = stage.redis.scripts_run() - before;
    assert!((100..=120).contains(&calls), "{calls} calls for 100 messages");
}

#[tokio::test]
async fn everything_told_is_seen_on_the_channel() {
    let stage = Stage::new(1, &[]).await;
    let room = stage.room("alice").await;
    let mut channel = stage.redis.subscribe(&format!("chan:{}", room.id));
    let mut alice = stage.member(0, &room, &room.token).await;
    let mut bob = stage.member(0, &room, "bob").await;
    bob.send(json!({ "t": "msg", "roomId": room.id, "text": "hi", "key": "k" })).await;
    bob.expect("msg").await;
    bob.send(json!({ "t": "ping", "status": "away" })).await;
    bob.wait_for_kind("presence").await;
    bob.send(json!({ "t": "leave", "roomId": room.id })).await;
    alice.wait_for_kind("user_left").await;
    for told in &alice.seen[1..] {
        assert_eq!(&channel.next(), told);
    }
}
