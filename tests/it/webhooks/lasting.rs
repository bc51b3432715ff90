//! Nodes and Redis die while events wait.

use std::time::{Duration, Instant};

use serde_json::json;

use super::{say, settings, stage, told};
use crate::support::{DEADLINE, PostReply, Receiver, Room, Stage, eventually};

/// Sends these messages in a room, and checks that the receiver accepted them in order.
async fn expect_in_order(receiver: &Receiver, room: &Room, said: &[String]) {
    let posts = receiver.wait_for(&room.id, said.len() + 2).await;
    let texts: Vec<_> = posts[2..].iter().map(|post| post.data()["text"].clone()).collect();
    assert_eq!(texts, said);
}

#[tokio::test]
async fn what_a_dead_node_had_taken_is_delivered_by_another() {
    let receiver = Receiver::start().await;
    let mut stage = stage(2, &receiver, &[("WEBHOOK_TIMEOUT", "1m")]).await;
    let rooms = [stage.room("alice").await, stage.room("bob").await, stage.room("carol").await];
    for room in &rooms {
        receiver.wait_for(&room.id, 2).await;
    }
    receiver.answers(|_, _| PostReply::Hang);
    let texts: Vec<String> = (0..5).map(|number| number.to_string()).collect();
    for text in &texts {
        for room in &rooms {
            say(&stage, room, text).await;
        }
    }
    eventually(DEADLINE, "one of each room is under way", async || {
        (receiver.posts().len() == 9).then_some(())
    })
    .await;
    receiver.answers(|_, _| PostReply::Status(200));
    // Whichever nodes have the events, one node is left.
    stage.nodes[0].kill().await;
    stage.nodes[1].kill().await;
    let killed = Instant::now();
    let url = receiver.url();
    stage.add_node(&settings(&url, &[])).await;
    for room in &rooms {
        expect_in_order(&receiver, room, &texts).await;
    }
    assert!(killed.elapsed() < Duration::from_secs(30));
}

/// A node that shuts down gracefully releases its events.
#[tokio::test]
async fn what_a_leaving_node_had_taken_is_delivered_at_once() {
    let receiver = Receiver::start().await;
    let mut stage =
        stage(1, &receiver, &[("DRAIN_TIMEOUT", "5s"), ("WEBHOOK_TIMEOUT", "1m")]).await;
    let room = stage.room("alice").await;
    receiver.wait_for(&room.id, 2).await;
    receiver.answers(|_, _| PostReply::Hang);
    say(&stage, &room, "1").await;
    eventually(DEADLINE, "it is under way", async || (receiver.posts().len() == 3).then_some(()))
        .await;
    receiver.answers(|_, _| PostReply::Status(200));
    stage.nodes[0].signal(nix::sys::signal::Signal::SIGINT);
    assert!(stage.nodes[0].exit_status().await.success());
    let ready = stage.redis.cmd(["XPENDING", "room::hooks:ready", "nodes"]);
    assert_eq!(ready.list()[0].int(), 0, "nothing is in the hands of who is gone");
    let url = receiver.url();
    stage.add_node(&settings(&url, &[])).await;
    expect_in_order(&receiver, &room, &["1".to_owned()]).await;
}

#[tokio::test]
async fn what_waits_outlives_redis_and_goes_on_when_it_is_back() {
    let receiver = Receiver::start().await;
    let url = receiver.url();
    let mut stage = Stage::durable(2, &settings(&url, &[])).await;
    let room = stage.room("alice").await;
    receiver.wait_for(&room.id, 2).await;
    receiver.answers(|_, before| match before < 2 {
        true => PostReply::Late(500, Duration::from_millis(50)),
        false => PostReply::Status(200),
    });
    let texts: Vec<String> = (0..6).map(|number| number.to_string()).collect();
    for text in &texts[..3] {
        say(&stage, &room, text).await;
    }
    stage.redis.kill();
    stage.redis.restart();
    for node in &stage.nodes {
        node.wait_until_ready().await;
    }
    for text in &texts[3..] {
        say(&stage, &room, text).await;
    }
    expect_in_order(&receiver, &room, &texts).await;
}

/// Without connections nothing touches the room; the nodes clear its members anyway.
#[tokio::test]
async fn members_of_a_node_that_died_are_told_to_have_left_though_nobody_is_left_with_them() {
    let receiver = Receiver::start().await;
    let mut stage = stage(2, &receiver, &[("PRESENCE_TTL", "1s")]).await;
    let room = stage.room("alice").await;
    let _alice = stage.member(1, &room, &room.token).await;
    let _bob = stage.member(1, &room, "bob").await;
    stage.nodes[1].kill().await;
    let posts = receiver.wait_for(&room.id, 5).await;
    let mut told = told(&posts);
    told[3..].sort_unstable();
    assert_eq!(
        told[2..],
        [("member.joined", "bob"), ("member.left", "alice"), ("member.left", "bob")]
    );
    say(&stage, &room, "where are you?").await;
    let posts = receiver.wait_for(&room.id, 7).await;
    assert_eq!(super::told(&posts[5..]), [("message.created", ""), ("message.missed", "bob")]);
}

/// Nodes and Redis die while the receiver refuses, hangs and is slow: the reported events are those
/// of the room's stream, in order, and each event is the same on every try.
#[tokio::test]
async fn whatever_dies_each_stored_message_is_told_in_order_and_no_other() {
    let receiver = Receiver::start().await;
    let url = receiver.url();
    let more = [
        ("WEBHOOK_TIMEOUT", "300ms"),
        ("WEBHOOK_EVENTS", "message.created"),
        ("WEBHOOK_BACKOFF", "20ms"),
        ("MESSAGES_PER_SECOND", "1000"),
    ];
    let settings = settings(&url, &more);
    let mut stage = Stage::durable(2, &settings).await;
    let rooms = [stage.room("alice").await, stage.room("bob").await, stage.room("carol").await];
    receiver.answers(|_, before| match (rand::random_range(0..10), before) {
        // Bounded, so that the test does not wait too long.
        (_, 4..) => PostReply::Status(200),
        (0 | 1, _) => PostReply::Status(500),
        (2, _) => PostReply::Hang,
        (3, _) => PostReply::Late(200, Duration::from_millis(100)),
        _ => PostReply::Status(204),
    });
    for round in 0..40 {
        match round {
            10 | 30 => {
                stage.nodes.remove(0).kill().await;
                stage.add_node(&settings).await;
            }
            20 => {
                stage.redis.kill();
                stage.redis.restart();
            }
            _ => {}
        }
        for room in &rooms {
            let said = json!({ "text": format!("{round}") });
            let answer = stage.nodes[round % 2].http().say(&room.id, &room.token, said).await;
            assert!([201, 503].contains(&answer.status), "{answer:?}");
        }
    }
    for room in &rooms {
        let stored = stage.redis.stream_ids(&room.id);
        assert!(stored.len() >= 30, "{stored:?}");
        let posts = receiver.wait_for(&room.id, stored.len()).await;
        let told: Vec<_> = posts.iter().map(|post| post.data()["id"].clone()).collect();
        assert_eq!(told, stored);
    }
    let posts = receiver.posts();
    for post in posts.iter() {
        let first = posts.iter().find(|first| first.id == post.id).unwrap();
        assert_eq!(first.body, post.body);
    }
}

/// Members that the nodes restore have never left.
#[tokio::test]
async fn who_is_put_back_into_a_redis_that_lost_everything_has_not_joined() {
    let receiver = Receiver::start().await;
    let mut stage = stage(1, &receiver, &[("HEARTBEAT_INTERVAL", "500ms")]).await;
    let room = stage.room("alice").await;
    let mut alice = stage.member(0, &room, &room.token).await;
    alice.keep_alive(Duration::from_millis(200));
    receiver.wait_for(&room.id, 2).await;
    stage.redis.kill();
    stage.redis.restart();
    eventually(DEADLINE, "the room is back", async || {
        (stage.members_in_redis(&room) == ["alice"]).then_some(())
    })
    .await;
    stage.member(0, &room, "bob").await;
    let posts = receiver.wait_for(&room.id, 3).await;
    assert_eq!(told(&posts[2..]), [("member.joined", "bob")]);
}
