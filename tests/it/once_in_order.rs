//! Promise 2: every connection gets every message of the stream once and in stream order, from its
//! join or its `since` on.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::support::{Client, DEADLINE, Node, Proxy, Room, Stage, eventually, ids_of};

const NO_FLOOD_LIMIT: (&str, &str) = ("MESSAGES_PER_SECOND", "10000");

/// Reads until `client` has the newest message of the stream, then compares all of them.
async fn expect_whole_stream(stage: &Stage, room: &Room, client: &mut Client, from: usize) {
    let ids = stage.redis.stream_ids(&room.id);
    let ids = &ids[from..];
    while client.message_ids(&room.id).last() != ids.last() {
        client.next().await;
    }
    assert_eq!(client.message_ids(&room.id), ids);
}

/// Has this many clients, on two nodes, send this many messages each, and checks that every client
/// got all of them.
async fn expect_everybody_gets_everything(how_many: usize, each: usize) {
    let stage = Stage::new(2, &[NO_FLOOD_LIMIT]).await;
    let room = stage.room("owner").await;
    let mut clients = stage.guests(&room, how_many).await;
    let talk = clients.iter().map(async |client| {
        for number in 0..each {
            client
                .send(json!({ "t": "msg", "roomId": room.id, "text": format!("{number}") }))
                .await;
        }
    });
    join_all(talk).await;
    eventually(DEADLINE, "all messages stored", async || {
        (stage.redis.stream_ids(&room.id).len() == how_many * each).then_some(())
    })
    .await;
    for client in &mut clients {
        expect_whole_stream(&stage, &room, client, 0).await;
    }
}

#[tokio::test]
async fn everybody_gets_everything_in_stream_order() {
    expect_everybody_gets_everything(8, 40).await;
}

/// More than a node writes to directly: it orders the room's messages in a separate task.
#[tokio::test]
async fn a_crowd_gets_everything_in_stream_order() {
    expect_everybody_gets_everything(140, 3).await;
}

#[tokio::test]
async fn a_join_amid_traffic_has_no_hole_and_no_repeat() {
    let stage = Stage::new(2, &[NO_FLOOD_LIMIT]).await;
    let room = stage.room("writer").await;
    let mut writer = stage.member(0, &room, &room.token).await;
    let traffic = async {
        for number in 0..400 {
            writer.say(&room.id, &format!("{number}")).await;
        }
    };
    let ((), guests) = tokio::join!(traffic, stage.guests(&room, 20));
    let ids = stage.redis.stream_ids(&room.id);
    for mut guest in guests {
        let snapshot = guest.seen.iter().find(|frame| frame["t"] == "joined").unwrap().clone();
        let mut got = ids_of(snapshot["messages"].as_array().unwrap());
        while got.last().max(guest.message_ids(&room.id).last()) < ids.last() {
            guest.next().await;
        }
        got.extend(guest.message_ids(&room.id));
        assert_eq!(got, ids[ids.len() - got.len()..], "from the snapshot on, without hole");
    }
}

#[tokio::test]
async fn a_client_whose_connection_is_cut_resumes_without_hole_and_repeat() {
    let stage = Stage::new(2, &[NO_FLOOD_LIMIT]).await;
    let room = stage.room("writer").await;
    let proxies = [Proxy::to(stage.nodes[0].addr()).await, Proxy::to(stage.nodes[1].addr()).await];
    let mut writer = stage.member(0, &room, &room.token).await;
    let traffic = async {
        for number in 0..300 {
            writer.say(&room.id, &format!("{number}")).await;
        }
    };
    let reader = async {
        let mut client = Client::connect(proxies[0].addr()).await;
        let joined = client.join(&room.id, "reader").await;
        let token = joined["token"].as_str().unwrap().to_owned();
        let mut got = ids_of(joined["messages"].as_array().unwrap());
        for turn in 0..8 {
            for _ in 0..10 {
                got.push(client.wait_for_kind("msg").await["id"].as_str().unwrap().to_owned());
            }
            proxies[turn % 2].cut_once();
            client = Client::connect(proxies[(turn + 1) % 2].addr()).await;
            let since = got.last().unwrap().clone();
            let joined = client.resume(&room.id, &token, &since).await;
            assert_eq!(joined["more"], false);
            got.extend(ids_of(joined["messages"].as_array().unwrap()));
        }
        (client, got)
    };
    let ((), (mut client, mut got)) = tokio::join!(traffic, reader);
    let ids = stage.redis.stream_ids(&room.id);
    while got.last() != ids.last() {
        got.push(client.wait_for_kind("msg").await["id"].as_str().unwrap().to_owned());
    }
    assert_eq!(got, ids[ids.len() - got.len()..]);
}

/// Everything that somebody with redis-cli may publish, and whether clients get it: `None` if the
/// contract does not say.
fn foreign_frames(room: &str, last: &str) -> Vec<(String, Option<bool>)> {
    let (ms, seq) = last.split_once('-').unwrap();
    let after = format!("{ms}-{}", seq.parse::<u64>().unwrap() + 1);
    let msg = |id: Value| {
        json!({ "t": "msg", "roomId": room, "id": id, "from": "op", "text": "foreign",
                "timestamp": "2024-01-01T00:00:00.000Z" })
    };
    let mut without_id = msg(Value::Null);
    without_id.as_object_mut().unwrap().remove("id");
    let no_t = json!({ "roomId": room, "text": "foreign" }).to_string();
    let long = |bytes: usize| {
        let empty = json!({ "t": "notice", "x": "" }).to_string().len();
        json!({ "t": "notice", "x": "y".repeat(bytes - empty) }).to_string()
    };
    let text = |value: Value| value.to_string();
    vec![
        (text(json!({ "t": "notice", "text": "점검합니다" })), Some(true)),
        (text(json!({ "t": "notice", "nested": { "a": [1, 2.5, null] } })), Some(true)),
        (text(without_id), Some(true)),
        ("  { \"t\" : \"notice\" }  ".to_owned(), Some(true)),
        (text(json!({ "t": "user_left", "roomId": room, "userId": "nobody" })), Some(true)),
        (long(65_536), Some(true)),
        (text(msg(json!("0-1"))), Some(false)),
        (text(msg(json!(last))), Some(false)),
        (text(msg(json!(after))), None),
        (text(msg(json!("9999999999999-0"))), None),
        (text(msg(json!("18446744073709551615-18446744073709551615"))), None),
        (text(msg(json!("99999999999999999999999-1"))), None),
        (text(msg(json!("tomorrow"))), None),
        (text(msg(json!(7))), None),
        (text(msg(Value::Null)), None),
        (
            text(json!({ "t": "read", "roomId": room, "userId": "x", "id": "9999999999999-0" })),
            None,
        ),
        ("nonsense".to_owned(), Some(false)),
        ("".to_owned(), Some(false)),
        ("{".to_owned(), Some(false)),
        ("7".to_owned(), Some(false)),
        ("[{\"t\":\"notice\"}]".to_owned(), Some(false)),
        ("{}".to_owned(), Some(false)),
        ("{\"t\":7}".to_owned(), Some(false)),
        (no_t, Some(false)),
        (long(65_537), Some(false)),
    ]
}

#[tokio::test]
async fn no_foreign_frame_makes_a_message_go_missing() {
    let stage = Stage::new(2, &[NO_FLOOD_LIMIT]).await;
    let room = stage.room("alice").await;
    let channel = format!("chan:{}", room.id);
    let mut alice = stage.member(0, &room, &room.token).await;
    let mut bob = stage.member(1, &room, "bob").await;
    alice.accept_any_frame();
    bob.accept_any_frame();
    let mut last = alice.say(&room.id, "first").await["id"].as_str().unwrap().to_owned();

    for index in 0..foreign_frames(&room.id, &last).len() {
        let (frame, passes) = foreign_frames(&room.id, &last).swap_remove(index);
        let seen = bob.seen.len();
        stage.redis.cmd(["PUBLISH", &channel, &frame]);
        let said = alice.say(&room.id, &format!("after {index}")).await;
        bob.wait_for("the message after it", |frame| frame["id"] == said["id"]).await;
        let parsed: Value = serde_json::from_str(&frame).unwrap_or_default();
        let came = bob.seen[seen..].contains(&parsed);
        assert!(passes.is_none_or(|passes| passes == came), "came: {came}: {frame:.200}");
        last = said["id"].as_str().unwrap().to_owned();
    }
    let stored = stage.redis.stream_ids(&room.id);
    for client in [&mut alice, &mut bob] {
        let stored_one = |frame: &&Value| stored.iter().any(|id| frame["id"] == *id);
        let got = ids_of(client.seen.iter().filter(stored_one));
        assert_eq!(got, stored);
    }
}

/// The id that a message of that time would have if it followed `last`. The algorithm is public, so
/// somebody may copy it.
fn forged_id(last: &str, ms: u64) -> String {
    use sha1::{Digest, Sha1};
    let hash = Sha1::digest(format!("{last} {ms}"));
    format!("{ms}-{}", u32::from_be_bytes([hash[0], hash[1], hash[2], hash[3]]))
}

#[tokio::test]
async fn not_even_a_forged_id_makes_a_message_go_missing() {
    let stage = Stage::new(1, &[("HEARTBEAT_INTERVAL", "1s")]).await;
    let room = stage.room("alice").await;
    let mut bob = stage.member(0, &room, "bob").await;
    let http = stage.http();
    let first = http.say(&room.id, &room.token, json!({ "text": "first" })).await.data(201);
    let forged = forged_id(first["id"].as_str().unwrap(), 9_999_999_999_999);
    let frame = json!({ "t": "msg", "roomId": room.id, "id": forged, "from": "op", "text": "forged",
                        "timestamp": "2286-11-20T17:46:39.999Z" });
    stage.redis.cmd(["PUBLISH", &format!("chan:{}", room.id), &frame.to_string()]);
    for text in ["second", "third"] {
        let said = http.say(&room.id, &room.token, json!({ "text": text })).await.data(201);
        bob.wait_for(text, |frame| frame["id"] == said["id"]).await;
    }
    let mut late = stage.client().await;
    late.join(&room.id, "late").await;
    let said = http.say(&room.id, &room.token, json!({ "text": "last" })).await.data(201);
    late.wait_for("the last", |frame| frame["id"] == said["id"]).await;
}

#[tokio::test]
async fn dropped_foreign_frames_are_counted() {
    let stage = Stage::new(1, &[]).await;
    let room = stage.room("alice").await;
    let mut alice = stage.member(0, &room, &room.token).await;
    let counted = async || {
        let text = stage.http().file("/metrics").await.text().await.unwrap();
        let values = text.lines().filter(|line| line.contains("foreign") && !line.starts_with('#'));
        values.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum::<f64>()
    };
    let before = counted().await;
    for _ in 0..3 {
        stage.redis.cmd(["PUBLISH", &format!("chan:{}", room.id), "nonsense"]);
    }
    alice.say(&room.id, "after").await;
    assert_eq!(counted().await - before, 3.0);
}

#[tokio::test]
async fn messages_lost_with_the_subscription_are_found_in_the_stream() {
    let stage = Stage::new(2, &[NO_FLOOD_LIMIT]).await;
    let room = stage.room("writer").await;
    let mut writer = stage.member(0, &room, &room.token).await;
    let mut readers =
        [stage.member(0, &room, "same node").await, stage.member(1, &room, "other node").await];
    for number in 0..300 {
        let text = json!({ "t": "msg", "roomId": room.id, "text": format!("{number}") });
        writer.send(text).await;
        if number % 50 == 25 {
            stage.redis.cmd(["CLIENT", "KILL", "TYPE", "pubsub"]);
        }
    }
    eventually(DEADLINE, "all messages stored", async || {
        (stage.redis.stream_ids(&room.id).len() == 300).then_some(())
    })
    .await;
    expect_whole_stream(&stage, &room, &mut writer, 0).await;
    for reader in &mut readers {
        expect_whole_stream(&stage, &room, reader, 0).await;
    }
}

#[tokio::test]
async fn what_was_lost_is_found_as_soon_as_the_subscription_is_back() {
    // No heartbeat helps.
    let settings = [("PRESENCE_TTL", "10m"), ("HEARTBEAT_INTERVAL", "5m")];
    let stage = Stage::new(2, &settings).await;
    let room = stage.room("alice").await;
    let mut alice = stage.member(0, &room, &room.token).await;
    let mut bob = stage.member(1, &room, "bob").await;
    for number in 0..5 {
        stage.redis.cmd(["CLIENT", "KILL", "TYPE", "pubsub"]);
        let text = json!({ "text": format!("{number}") });
        let said = stage.http().say(&room.id, &room.token, text).await.data(201);
        let lost = Instant::now();
        for client in [&mut alice, &mut bob] {
            client.wait_for("the message", |frame| frame["id"] == said["id"]).await;
        }
        assert!(lost.elapsed() < Duration::from_secs(3), "took {:?}", lost.elapsed());
    }
}

/// One node behind a proxy and one without, a member on each; heartbeats every second.
async fn one_node_behind_a_proxy() -> (Stage, Proxy, Room, Client, Client) {
    let settings = [NO_FLOOD_LIMIT, ("HEARTBEAT_INTERVAL", "1s")];
    let mut stage = Stage::new(1, &settings).await;
    let proxy = Proxy::to(stage.redis.addr()).await;
    stage.nodes.push(Node::start(&stage.env, &proxy.redis_url(), &settings).await);
    let room = stage.room("beside").await;
    let mut beside = stage.member(0, &room, &room.token).await;
    let mut behind = stage.nodes[1].client().await;
    behind.join(&room.id, "behind").await;
    beside.wait_for_kind("user_joined").await;
    beside.keep_alive(Duration::from_secs(1));
    behind.keep_alive(Duration::from_secs(1));
    (stage, proxy, room, beside, behind)
}

#[tokio::test]
async fn a_subscription_that_died_in_silence_is_noticed_within_a_heartbeat() {
    let (stage, proxy, room, mut beside, mut behind) = one_node_behind_a_proxy().await;
    beside.say(&room.id, "heard").await;
    behind.wait_for_kind("msg").await;
    proxy.lose_what_is_published();

    for number in 0..3 {
        beside.say(&room.id, &format!("lost {number}")).await;
        let lost = Instant::now();
        behind.wait_for_kind("msg").await;
        let late = lost.elapsed();
        assert!(late < Duration::from_millis(2500), "a heartbeat is 1 s, this took {late:?}");
    }
    behind.say(&room.id, "own").await;
    expect_whole_stream(&stage, &room, &mut behind, 0).await;
    proxy.resume();
    beside.say(&room.id, "heard again").await;
    expect_whole_stream(&stage, &room, &mut behind, 0).await;
    expect_whole_stream(&stage, &room, &mut beside, 0).await;
}

#[tokio::test]
async fn a_node_that_nothing_published_reaches_delivers_everything_all_the_same() {
    let (stage, proxy, room, mut beside, mut behind) = one_node_behind_a_proxy().await;
    let http = stage.nodes[1].http();
    proxy.lose_all_that_is_published();
    let ready = async |status| (http.get("/readyz").await.status == status).then_some(());
    eventually(DEADLINE, "not ready", async || ready(503).await).await;
    for number in 0..3 {
        let said = beside.say(&room.id, &format!("lost {number}")).await;
        let lost = Instant::now();
        behind.wait_for("the message", |frame| frame["id"] == said["id"]).await;
        let late = lost.elapsed();
        assert!(late < Duration::from_millis(1800), "a heartbeat is 1 s, this took {late:?}");
    }
    let said = behind.say(&room.id, "own").await;
    beside.wait_for("the message", |frame| frame["id"] == said["id"]).await;

    // A user who joins there is a normal member, and joins and leaves elsewhere reach it.
    let mut late = stage.nodes[1].client().await;
    let joined = late.join(&room.id, "late").await;
    late.keep_alive(Duration::from_secs(1));
    assert_eq!(joined["memberCount"], 3);
    let said = late.say(&room.id, "hello").await;
    for client in [&mut beside, &mut behind] {
        client.wait_for("the message", |frame| frame["id"] == said["id"]).await;
    }
    let eve = stage.member(0, &room, "eve").await;
    let lists = |frame: &Value, count: usize| {
        frame["t"] == "members" && frame["members"].as_array().unwrap().len() == count
    };
    for client in [&mut behind, &mut late] {
        client.wait_for("all four", |frame| lists(frame, 4)).await;
    }
    eve.send(json!({ "t": "leave", "roomId": room.id })).await;
    for client in [&mut behind, &mut late] {
        client.wait_for("the three", |frame| lists(frame, 3)).await;
    }

    proxy.resume();
    eventually(DEADLINE, "ready again", async || ready(200).await).await;
    let said = beside.say(&room.id, "heard again").await;
    behind.wait_for("the message", |frame| frame["id"] == said["id"]).await;
    expect_whole_stream(&stage, &room, &mut behind, 0).await;
    expect_whole_stream(&stage, &room, &mut beside, 0).await;
    let _frank = stage.member(0, &room, "frank").await;
    behind.wait_for("frank", |frame| lists(frame, 4) || frame["userId"] == "frank").await;
}

#[tokio::test]
async fn who_came_while_events_were_lost_is_told_afterwards() {
    let (stage, proxy, room, mut beside, mut behind) = one_node_behind_a_proxy().await;
    proxy.lose_what_is_published();
    let _late = stage.member(0, &room, "late").await;
    beside.wait_for_kind("user_joined").await;
    proxy.resume();
    proxy.cut_once();
    let is_told = |frame: &Value| {
        frame["t"] == "user_joined" && frame["userId"] == "late"
            || frame["t"] == "members"
                && frame["members"].as_array().unwrap().contains(&json!("late"))
    };
    behind.wait_for("news of the late one", is_told).await;
}

#[tokio::test]
async fn a_frozen_network_loses_nothing() {
    let (stage, proxy, room, mut beside, mut behind) = one_node_behind_a_proxy().await;
    proxy.freeze();
    for number in 0..20 {
        beside.say(&room.id, &format!("{number}")).await;
    }
    proxy.resume();
    for number in 0..20 {
        beside.say(&room.id, &format!("more {number}")).await;
    }
    expect_whole_stream(&stage, &room, &mut behind, 0).await;
    expect_whole_stream(&stage, &room, &mut beside, 0).await;
}

#[tokio::test]
async fn a_resume_after_redis_forgot_a_part_says_that_there_was_more() {
    let (stage, proxy, room, mut beside, mut behind) = one_node_behind_a_proxy().await;
    beside.say(&room.id, "heard").await;
    behind.wait_for_kind("msg").await;
    proxy.cut();
    for number in 0..20 {
        beside.say(&room.id, &format!("{number}")).await;
    }
    stage.redis.cmd(["XTRIM", &format!("room:{}:messages", room.id), "MAXLEN", "5"]);
    proxy.resume();
    let joined = behind.wait_for_kind("joined").await;
    assert_eq!(joined["more"], true, "never silently skipped");
    let kept = stage.redis.stream_ids(&room.id);
    assert_eq!(ids_of(joined["messages"].as_array().unwrap()), kept);
    let next = beside.say(&room.id, "and on").await;
    assert_eq!(behind.wait_for_kind("msg").await["id"], next["id"]);
}

#[tokio::test]
async fn scripts_that_redis_forgot_are_sent_again() {
    let stage = Stage::new(2, &[NO_FLOOD_LIMIT]).await;
    let room = stage.room("alice").await;
    let mut alice = stage.member(0, &room, &room.token).await;
    let mut bob = stage.member(1, &room, "bob").await;
    for number in 0..10 {
        stage.redis.cmd(["SCRIPT", "FLUSH"]);
        alice.say(&room.id, &format!("{number}")).await;
        bob.say(&room.id, &format!("{number}")).await;
        stage.redis.cmd(["SCRIPT", "FLUSH"]);
        stage.http().get(&format!("/api/rooms/{}", room.id)).await.data(200);
    }
    expect_whole_stream(&stage, &room, &mut alice, 0).await;
    expect_whole_stream(&stage, &room, &mut bob, 0).await;
}

#[tokio::test]
async fn a_subscription_over_redis_s_output_buffer_loses_nothing() {
    let stage = Stage::new(2, &[NO_FLOOD_LIMIT]).await;
    let room = stage.room("writer").await;
    let mut writer = stage.member(0, &room, &room.token).await;
    let mut reader = stage.member(1, &room, "reader").await;
    stage.redis.cmd(["CONFIG", "SET", "client-output-buffer-limit", "pubsub 16kb 16kb 1"]);
    let text = "a".repeat(4000);
    for _ in 0..300 {
        writer.send(json!({ "t": "msg", "roomId": room.id, "text": text })).await;
    }
    eventually(DEADLINE, "all messages stored", async || {
        (stage.redis.stream_ids(&room.id).len() == 300).then_some(())
    })
    .await;
    expect_whole_stream(&stage, &room, &mut reader, 0).await;
    expect_whole_stream(&stage, &room, &mut writer, 0).await;
}

#[tokio::test]
async fn readers_of_a_killed_node_go_on_at_another() {
    let mut stage = Stage::new(2, &[NO_FLOOD_LIMIT]).await;
    let room = stage.room("writer").await;
    let mut writer = stage.member(0, &room, &room.token).await;
    let mut reader = stage.nodes[1].client().await;
    let token = reader.join(&room.id, "reader").await["token"].as_str().unwrap().to_owned();
    for number in 0..40 {
        writer.send(json!({ "t": "msg", "roomId": room.id, "text": format!("{number}") })).await;
    }
    for _ in 0..10 {
        reader.wait_for_kind("msg").await;
    }
    stage.nodes[1].kill().await;
    reader.closed().await;
    let mut got = reader.message_ids(&room.id);
    let mut reader = stage.client().await;
    let joined = reader.resume(&room.id, &token, got.last().unwrap()).await;
    got.extend(ids_of(joined["messages"].as_array().unwrap()));
    let last = writer.say(&room.id, "last").await["id"].as_str().unwrap().to_owned();
    reader.wait_for("the last message", |frame| frame["id"] == last).await;
    got.extend(reader.message_ids(&room.id));
    assert_eq!(got, stage.redis.stream_ids(&room.id));
}

#[tokio::test]
async fn a_since_from_the_future_hides_nothing() {
    let stage = Stage::new(1, &[]).await;
    let last_there_can_be = format!("{0}-{0}", u64::MAX);
    for (future, said_before) in
        [("9999999999999-0", true), (&last_there_can_be, true), (&last_there_can_be, false)]
    {
        let room = stage.room("writer").await;
        let mut writer = stage.member(0, &room, &room.token).await;
        if said_before {
            writer.say(&room.id, "before").await;
        }
        let mut reader = stage.client().await;
        reader.resume(&room.id, "reader", future).await;
        for text in ["one", "two"] {
            let said = writer.say(&room.id, text).await;
            assert_eq!(reader.expect("msg").await["id"], said["id"]);
        }
    }
}

/// Somebody published a message with an id that the stream reached only later: a client that
/// resumes from it may lack earlier messages.
#[tokio::test]
async fn a_since_that_was_made_up_is_told_that_there_is_more() {
    let stage = Stage::new(1, &[]).await;
    let room = stage.room("writer").await;
    let mut writer = stage.member(0, &room, &room.token).await;
    writer.accept_any_frame();
    writer.say(&room.id, "before").await;
    let ahead = redis_now(&stage) + 2_000;
    let foreign = json!({ "t": "msg", "roomId": room.id, "id": format!("{ahead}-0"), "text": "?" });
    stage.redis.cmd(["PUBLISH", &format!("chan:{}", room.id), &foreign.to_string()]);
    writer.wait_for("the foreign message", |frame| frame["text"] == "?").await;
    writer.say(&room.id, "meanwhile").await;
    eventually(DEADLINE, "that time has come", async || (redis_now(&stage) > ahead).then_some(()))
        .await;
    writer.say(&room.id, "after").await;

    let mut reader = stage.client().await;
    let joined = reader.resume(&room.id, "reader", &format!("{ahead}-0")).await;
    assert_eq!(joined["more"], true);
    assert_eq!(ids_of(joined["messages"].as_array().unwrap()), stage.redis.stream_ids(&room.id));
}

/// Redis's clock, in ms.
fn redis_now(stage: &Stage) -> u64 {
    let time = stage.redis.cmd(["TIME"]);
    time.list()[0].text().parse::<u64>().unwrap() * 1000
}
