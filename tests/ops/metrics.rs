//! The metrics of a node are documented and correct.

use std::{collections::BTreeSet, time::Duration};

use futures_util::SinkExt;
use serde_json::json;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;

use crate::support::{DEADLINE, Node, Proxy, Reading, Stage, eventually};

/// Every name that a query can use.
pub fn names(reading: &Reading) -> BTreeSet<String> {
    let samples = reading.0.lines().filter(|line| !line.starts_with('#'));
    let name = |line: &str| line.split(['{', ' ']).next().unwrap().to_owned();
    samples.map(name).collect()
}

/// Waits until a series of the node has this value.
pub async fn expect_value(node: &Node, series: &str, expected: f64) {
    let mut last = f64::NAN;
    let reached = async || {
        last = Reading::of(node).await.value(series);
        (last == expected).then_some(())
    };
    eventually(DEADLINE, &format!("{series} is {expected}"), reached).await;
}

/// Waits until a series of the node is above zero.
async fn expect_some(node: &Node, series: &str) {
    let counted = async || (Reading::of(node).await.value(series) > 0.0).then_some(());
    eventually(DEADLINE, &format!("{series} counts"), counted).await;
}

/// A node that has used every label of its metrics at least once.
pub async fn seen_everything() -> (Stage, Reading) {
    let stage = Stage::new(1, &[]).await;
    let room = stage.room("alice").await;
    let mut alice = stage.member(0, &room, &room.token).await;
    alice.say(&room.id, "hello").await;
    let reading = Reading::of(&stage.nodes[0]).await;
    (stage, reading)
}

/// The names of metrics in a text.
pub fn metrics_in(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':'));
    let is_name = |word: &&str| word.starts_with("linkroom_") || word.starts_with("process_");
    words.filter(is_name).filter(|word| !word.ends_with('_')).map(str::to_owned).collect()
}

#[tokio::test]
async fn every_metric_is_documented_and_real() {
    let (_stage, reading) = seen_everything().await;
    let page = include_str!("../../docs/operations.md");
    let (_, table) = page.split_once("\n## Metrics").unwrap();
    let (table, _) = table.split_once("\n## ").unwrap();
    let rows = table.lines().filter_map(|line| line.strip_prefix("| `"));
    let documented: BTreeSet<_> =
        rows.map(|row| row.split(['`', '{']).next().unwrap().to_owned()).collect();
    let base = |name: String| {
        let suffix = ["_bucket", "_sum", "_count"].into_iter().find(|s| name.ends_with(s));
        suffix.and_then(|s| name.strip_suffix(s)).unwrap_or(&name).to_owned()
    };
    let real: BTreeSet<_> = names(&reading).into_iter().map(base).collect();
    assert_eq!(documented, real);
    let named: BTreeSet<_> = metrics_in(page).into_iter().map(base).collect();
    assert!(named.is_subset(&real), "{:?}", named.difference(&real));
}

#[tokio::test]
async fn a_message_is_timed_on_every_node_that_delivers_it() {
    let stage = Stage::new(2, &[]).await;
    let room = stage.room("alice").await;
    let mut alice = stage.member(0, &room, &room.token).await;
    let mut bob = stage.member(1, &room, "bob").await;
    // By then Redis's clock is known, and every measurement is below the deadline.
    for node in &stage.nodes {
        eventually(DEADLINE, "a reading of the clock", async || {
            let count = "linkroom_redis_command_seconds_count{script=\"time\"}";
            (names(&Reading::of(node).await).contains("linkroom_redis_command_seconds_count")
                && Reading::of(node).await.value(count) > 0.0)
                .then_some(())
        })
        .await;
    }
    for text in ["one", "two", "three"] {
        alice.say(&room.id, text).await;
        bob.wait_for_kind("msg").await;
    }
    for node in &stage.nodes {
        expect_value(node, "linkroom_end_to_end_seconds_count", 3.0).await;
        let reading = Reading::of(node).await;
        assert_eq!(reading.value("linkroom_fanout_seconds_count"), 3.0);
        assert_eq!(reading.value("linkroom_deliveries_total"), 3.0);
        let sum = reading.value("linkroom_end_to_end_seconds_sum");
        assert!(sum >= reading.value("linkroom_fanout_seconds_sum") && sum < 3.0 * 5.0, "{sum}");
    }
    assert_eq!(Reading::of(&stage.nodes[0]).await.value("linkroom_messages_total"), 3.0);
    assert_eq!(Reading::of(&stage.nodes[1]).await.value("linkroom_messages_total"), 0.0);
}

#[tokio::test]
async fn as_many_threads_work_as_are_wanted() {
    let threads = "linkroom_worker_threads";
    let stage = Stage::new(1, &[("WORKER_THREADS", "3")]).await;
    assert_eq!(Reading::of(&stage.nodes[0]).await.value(threads), 3.0);
    let stage = Stage::new(1, &[]).await;
    let cores = std::thread::available_parallelism().unwrap().get();
    let one_is_left = (cores - 1).max(1) as f64;
    assert_eq!(Reading::of(&stage.nodes[0]).await.value(threads), one_is_left);
}

#[tokio::test]
async fn what_happens_is_counted() {
    let stage = Stage::new(1, &[]).await;
    let node = &stage.nodes[0];
    let room = stage.room("alice").await;
    let mut alice = stage.member(0, &room, &room.token).await;
    let said = alice.say(&room.id, "hello").await;
    stage.http().say(&room.id, &room.token, json!({ "text": "from a script" })).await.data(201);
    alice.wait_for("message", |frame| frame["text"] == "from a script").await;
    let reading = Reading::of(node).await;
    assert_eq!(reading.value("linkroom_connections"), 1.0);
    assert_eq!(reading.value("linkroom_rooms"), 1.0);
    assert_eq!(reading.value("linkroom_joins_total"), 1.0);
    assert_eq!(reading.value("linkroom_messages_total"), 2.0);
    assert_eq!(reading.value("linkroom_redis_up"), 1.0);
    assert_eq!(reading.value("linkroom_draining"), 0.0);
    alice.close().await;
    expect_value(node, "linkroom_connections", 0.0).await;

    let mut again = node.client().await;
    again.resume(&room.id, &room.token, said["id"].as_str().unwrap()).await;
    expect_value(node, "linkroom_resumes_total", 1.0).await;
    expect_value(node, "linkroom_connections_opened_total", 2.0).await;
    stage.redis.cmd(["PUBLISH", &format!("chan:{}", room.id), "rubbish"]);
    expect_value(node, "linkroom_foreign_frames_total{outcome=\"dropped\"}", 1.0).await;
}

#[tokio::test]
async fn what_goes_wrong_is_counted() {
    let settings = [("HEARTBEAT_INTERVAL", "500ms")];
    let mut stage = Stage::new(1, &settings).await;
    let proxy = Proxy::to(stage.redis.addr()).await;
    stage.nodes.push(Node::start(&stage.env, &proxy.redis_url(), &settings).await);
    let node = &stage.nodes[1];
    node.http().get("/api/rooms/nosuchroom00").await.error(404, "ROOM_NOT_FOUND");
    expect_value(node, "linkroom_errors_total{code=\"ROOM_NOT_FOUND\"}", 1.0).await;
    let route = "method=\"GET\",route=\"/api/rooms/{id}\",status=\"404\"";
    expect_value(node, &format!("linkroom_http_requests_total{{{route}}}"), 1.0).await;

    let room = stage.room("alice").await;
    let mut alice = stage.member(1, &room, &room.token).await;
    stage.redis.cmd(["CLIENT", "KILL", "TYPE", "pubsub"]);
    expect_some(node, "linkroom_subscriber_reconnects_total").await;
    proxy.lose_what_is_published();
    stage.http().say(&room.id, &room.token, json!({ "text": "lost" })).await.data(201);
    alice.wait_for("the message", |frame| frame["text"] == "lost").await;
    expect_some(node, "linkroom_recovered_messages_total").await;
    expect_some(node, "linkroom_catchups_total").await;

    proxy.freeze();
    alice.send(json!({ "t": "msg", "text": "not now" })).await;
    alice.wait_for("a refusal", |frame| frame["code"] == "SERVICE_UNAVAILABLE").await;
    expect_value(node, "linkroom_redis_up", 0.0).await;
    expect_some(node, "linkroom_redis_failures_total").await;
    expect_some(node, "linkroom_errors_total{code=\"SERVICE_UNAVAILABLE\"}").await;
    let all = Reading::of(node).await.0;
    for secret in [&*room.id, "alice", "nosuchroom00", &room.token] {
        assert!(!all.contains(secret), "{secret} in {all}");
    }
}

#[tokio::test]
async fn a_slow_reader_is_counted_and_its_queue_given_back() {
    let settings = [("MESSAGES_PER_SECOND", "10000"), ("OUTBOX_BYTES", "65536")];
    let stage = Stage::new(1, &settings).await;
    let node = &stage.nodes[0];
    let room = stage.room("alice").await;
    let mut alice = stage.member(0, &room, &room.token).await;
    let stream = TcpStream::connect(node.addr()).await.unwrap();
    let url = format!("ws://{}/ws", node.addr());
    let (mut sleeper, _) = tokio_tungstenite::client_async(url, stream).await.unwrap();
    let join = json!({ "t": "join", "roomId": room.id, "token": "sleeper" });
    sleeper.send(Message::text(join.to_string())).await.unwrap();
    alice.wait_for_kind("user_joined").await;
    let text = "🎉".repeat(4000);
    let cut_off = "linkroom_slow_consumers_total";
    while Reading::of(node).await.value(cut_off) == 0.0 {
        for _ in 0..50 {
            alice.say(&room.id, &text).await;
        }
    }
    expect_value(node, cut_off, 1.0).await;
    expect_value(node, "linkroom_closes_total{code=\"1013\"}", 1.0).await;
    expect_value(node, "linkroom_outbox_bytes", 0.0).await;
}

#[tokio::test]
async fn a_redis_that_is_busy_now_and_then_is_seen() {
    let stage = Stage::new(1, &[]).await;
    let slow = "linkroom_redis_command_seconds_bucket{le=\"0.025\",script=\"time\"}";
    let all = "linkroom_redis_command_seconds_bucket{le=\"+Inf\",script=\"time\"}";
    eventually(DEADLINE, "a question that had to wait", async || {
        stage.redis.cmd(["EVAL", "for i = 1, 20000000 do local _ = i + i end", "0"]);
        tokio::time::sleep(Duration::from_millis(300)).await;
        let reading = Reading::of(&stage.nodes[0]).await;
        (reading.value(all) > reading.value(slow)).then_some(())
    })
    .await;
}
