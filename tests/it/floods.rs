//! Promise 9: floods are limited early.

use serde_json::{Value, json};

use crate::support::{Client, DEADLINE, Reading, Stage, eventually, within};

/// Sends messages as fast as the socket accepts them.
async fn flood(client: &Client, room: &str, count: usize) {
    for number in 0..count {
        let key = format!("{number}");
        client.send(json!({ "t": "msg", "roomId": room, "text": "x", "key": key })).await;
    }
}

/// The answers to that many messages: the numbers of accepted and refused ones.
async fn answers(client: &mut Client, count: usize) -> (usize, usize) {
    let start = client.seen.len();
    let is_answer = |frame: &&Value| frame.get("key").is_some();
    while client.seen[start..].iter().filter(is_answer).count() < count {
        client.next().await;
    }
    let answers: Vec<_> = client.seen[start..].iter().filter(is_answer).collect();
    let refused = answers.iter().filter(|frame| frame["t"] == "error").collect::<Vec<_>>();
    assert!(refused.iter().all(|frame| frame["code"] == "RATE_LIMITED"), "{refused:?}");
    (count - refused.len(), refused.len())
}

#[tokio::test]
async fn the_eleventh_message_in_a_second_is_refused() {
    let stage = Stage::new(1, &[("FRAMES_PER_SECOND", "10000")]).await;
    let room = stage.room("alice").await;
    let mut alice = stage.member(0, &room, &room.token).await;
    let mut bob = stage.member(0, &room, "bob").await;
    let start = std::time::Instant::now();
    flood(&alice, &room.id, 11).await;
    let (taken, refused) = answers(&mut alice, 11).await;
    if start.elapsed().as_millis() < 900 {
        assert_eq!((taken, refused), (10, 1));
    }
    flood(&alice, &room.id, 200).await;
    let (_, refused) = answers(&mut alice, 200).await;
    assert!(refused > 0);
    let error = alice.seen.iter().rev().find(|frame| frame["t"] == "error").unwrap();
    assert_eq!(error["roomId"], room.id);

    bob.say(&room.id, "I am not flooding").await;
    eventually(DEADLINE, "alice may speak again", async || {
        alice.send(json!({ "t": "msg", "roomId": room.id, "text": "y", "key": "later" })).await;
        let answer = alice.wait_for("answer", |frame| frame["key"] == "later").await;
        (answer["t"] == "msg").then_some(())
    })
    .await;
    assert!(alice.is_open());
}

#[tokio::test]
async fn the_limit_counts_over_all_nodes_tabs_and_http() {
    let stage = Stage::new(2, &[("FRAMES_PER_SECOND", "10000")]).await;
    let room = stage.room("alice").await;
    let mut tabs = Vec::new();
    for number in 0..4 {
        tabs.push(stage.member(number % 2, &room, &room.token).await);
    }
    for tab in &tabs {
        flood_with(tab, &room.id, 10).await;
    }
    eventually(DEADLINE, "a refusal over HTTP", async || {
        let said = stage.http().say(&room.id, &room.token, json!({ "text": "x" })).await;
        (said.status == 429)
            .then(|| assert!(said.header("retry-after").parse::<u32>().unwrap() >= 1))
    })
    .await;
    expect_no_second_with_more_than(10, &stage.redis.stream_ids(&room.id));
}

/// Checks the times in the ids: from a quiet start at most this many in the first second, and never
/// twice as many in any other. (The limiter decides where a second begins.)
fn expect_no_second_with_more_than(most: usize, ids: &[String]) {
    let time = |id: &String| id.split_once('-').unwrap().0.parse::<u64>().unwrap();
    let times: Vec<_> = ids.iter().map(time).collect();
    for (index, first) in times.iter().enumerate() {
        let in_a_second = times[index..].iter().filter(|time| **time < first + 1000).count();
        let allowed = if index == 0 { most } else { 2 * most - 1 };
        assert!(in_a_second <= allowed, "{in_a_second} in one second, of {times:?}");
    }
}

#[tokio::test]
async fn no_second_takes_more_however_the_messages_are_spread() {
    let stage = Stage::new(1, &[]).await;
    let room = stage.room("alice").await;
    let http = stage.http();
    eventually(DEADLINE, "25 messages", async || {
        http.say(&room.id, &room.token, json!({ "text": "x" })).await;
        (stage.redis.stream_ids(&room.id).len() >= 25).then_some(())
    })
    .await;
    expect_no_second_with_more_than(10, &stage.redis.stream_ids(&room.id));
}

/// The same as `flood`, without keys, because tabs of one user share them.
async fn flood_with(client: &Client, room: &str, count: usize) {
    for _ in 0..count {
        client.send(json!({ "t": "msg", "roomId": room, "text": "x" })).await;
    }
}

#[tokio::test]
async fn a_connection_may_not_send_frames_without_end() {
    let stage = Stage::new(1, &[("FRAMES_PER_SECOND", "20")]).await;
    let room = stage.room("alice").await;
    let mut alice = stage.member(0, &room, &room.token).await;
    for _ in 0..300 {
        alice.send(json!({ "t": "ping" })).await;
    }
    alice.wait_for("refusal", |frame| frame["code"] == "RATE_LIMITED").await;
    eventually(DEADLINE, "a heartbeat passes again", async || {
        alice.send(json!({ "t": "ping" })).await;
        let answer = alice.next().await;
        (answer["t"] == "pong").then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_address_may_not_hold_connections_without_end() {
    let stage = Stage::new(1, &[("CONNECTIONS_PER_IP", "3")]).await;
    let addr = stage.nodes[0].addr();
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(Client::connect(addr).await);
    }
    let refused = Client::connect_with(addr, &[]).await;
    assert!(refused.is_err_and(|error| error.to_string().contains("429")));
    held.pop().unwrap().close().await;
    eventually(DEADLINE, "a free place", async || Client::connect_with(addr, &[]).await.ok()).await;
}

#[tokio::test]
async fn a_flooded_room_does_not_delay_another() {
    let settings = [("MESSAGES_PER_SECOND", "100000"), ("FRAMES_PER_SECOND", "100000")];
    let stage = Stage::new(1, &settings).await;
    let (loud, quiet) = (stage.room("loud").await, stage.room("quiet").await);
    let mut shouting = stage.member(0, &loud, &loud.token).await;
    let mut talking = stage.member(0, &quiet, &quiet.token).await;
    let shout = async {
        flood(&shouting, &loud.id, 3000).await;
    };
    let talk = async {
        for _ in 0..30 {
            let said = talking.say(&quiet.id, "hello");
            within(std::time::Duration::from_secs(2), "an answer in a quiet room", said).await;
        }
    };
    tokio::join!(shout, talk);
    let (taken, refused) = answers(&mut shouting, 3000).await;
    assert_eq!((taken, refused), (3000, 0));
}

/// A client that requests all of a long history repeatedly has to wait; other clients do not.
#[tokio::test]
async fn joins_that_bring_much_are_made_less_often() {
    let stage = Stage::new(1, &[("FRAMES_PER_SECOND", "20")]).await;
    let (loud, quiet) = (stage.room("loud").await, stage.room("quiet").await);
    let stream = format!("room:{}:messages", loud.id);
    for number in 1..=1000 {
        let id = format!("{number}-0");
        stage.redis.cmd(["XADD", &stream, &id, "from", "loud", "text", "hello"]);
    }
    // Twenty frames are no flood, but the history that they request may be one.
    for (since, is_flood) in [("1000-0", false), ("0-1", true)] {
        let mut client = stage.nodes[0].client().await;
        let join = json!({ "t": "join", "roomId": loud.id, "token": loud.token, "since": since });
        assert_eq!(client.try_join(join.clone()).await["t"], "joined");
        for _ in 0..19 {
            client.send(join.clone()).await;
        }
        let mut refused = false;
        for _ in 0..19 {
            let answer =
                client.wait_for("answer to join", |f| f["t"] == "joined" || f["t"] == "error");
            refused = refused || answer.await["code"] == "RATE_LIMITED";
        }
        assert_eq!(refused, is_flood, "joins after {since}");
    }
    let mut talking = stage.member(0, &quiet, &quiet.token).await;
    talking.say(&quiet.id, "hello").await;
}

#[tokio::test]
async fn a_crowd_that_joins_one_room_does_not_delay_another() {
    const CROWD: usize = 300;
    let settings = [("MESSAGES_PER_SECOND", "1000"), ("REQUESTS_PER_SECOND", "10000")];
    let stage = Stage::new(1, &settings).await;
    let (loud, quiet) = (stage.room("loud").await, stage.room("quiet").await);
    let mut talking = stage.member(0, &quiet, &quiet.token).await;
    let joining = (0..CROWD).map(|number| {
        let name = format!("guest {number}");
        let (stage, loud) = (&stage, &loud);
        async move { stage.member(0, loud, &name).await }
    });
    let talk = async {
        for _ in 0..30 {
            let said = talking.say(&quiet.id, "hello");
            within(std::time::Duration::from_secs(2), "an answer in a quiet room", said).await;
        }
    };
    let (crowd, ()) = tokio::join!(futures_util::future::join_all(joining), talk);
    assert_eq!(crowd.len(), CROWD);
    assert_eq!(stage.members_in_redis(&loud).len(), CROWD + 1, "the creator is shown as well");
}

#[tokio::test]
async fn a_user_may_not_have_connections_without_end() {
    let stage = Stage::new(2, &[("CONNECTIONS_PER_USER", "3")]).await;
    let room = stage.room("alice").await;
    let mut tabs = Vec::new();
    for number in 0..3 {
        tabs.push(stage.member(number % 2, &room, &room.token).await);
    }
    let join = json!({ "t": "join", "roomId": room.id, "token": room.token });
    let mut fourth = stage.client().await;
    let refused = fourth.try_join(join.clone()).await;
    assert_eq!((&refused["code"], &refused["roomId"]), (&json!("RATE_LIMITED"), &json!(room.id)));
    assert!(refused["message"].as_str().unwrap().contains("3 connections"), "{refused}");

    assert_eq!(tabs[0].try_join(join.clone()).await["t"], "joined", "it is one of the three");
    stage.member(0, &room, "bob").await.say(&room.id, "I am another").await;
    tabs.pop().unwrap().close().await;
    eventually(DEADLINE, "room for another connection", async || {
        (fourth.try_join(join.clone()).await["t"] == "joined").then_some(())
    })
    .await;
}

/// Each change is a heartbeat of the room that reads all of the user's connections, unless changes
/// are combined.
#[tokio::test]
async fn what_many_connections_report_goes_to_redis_together() {
    const TABS: usize = 30;
    const CHANGES: usize = 20;
    let settings = [("FRAMES_PER_SECOND", "10000"), ("HEARTBEAT_INTERVAL", "10s")];
    let stage = Stage::new(1, &settings).await;
    let room = stage.room("alice").await;
    let mut bob = stage.member(0, &room, "bob").await;
    let mut tabs = Vec::new();
    for _ in 0..TABS {
        tabs.push(stage.member(0, &room, &room.token).await);
    }
    let toggled = tabs.iter_mut().enumerate().map(|(own, tab)| async move {
        for number in 0..CHANGES {
            let status = if number % 2 == 0 { "away" } else { "online" };
            tab.send(json!({ "t": "ping", "status": status })).await;
        }
        tab.send(json!({ "t": "ping", "status": "away" })).await;
        // It comes after all of the tab's reports.
        let key = own.to_string();
        tab.send(json!({ "t": "msg", "text": "!", "key": key })).await;
        tab.wait_for("an answer", |frame| frame["key"] == *key).await;
    });
    futures_util::future::join_all(toggled).await;
    let script = "linkroom_redis_command_seconds_count{script=\"heartbeat\"}";
    let calls = Reading::of(&stage.nodes[0]).await.value(script);
    assert!(calls < (TABS * CHANGES) as f64 / 4.0, "{calls} calls");
    let away = |frame: &Value| frame["t"] == "presence" && frame["status"] == "away";
    bob.wait_for("alice is away", away).await;
}
