//! Promise 4: one person, one join, one leave, however many tabs, nodes and crashes.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::support::{Client, DEADLINE, Proxy, Reading, Room, Stage, eventually};

/// A room whose owner watches it on the first node.
async fn watched_room(stage: &Stage) -> (Room, Client) {
    let room = stage.room("watcher").await;
    let watcher = stage.member(0, &room, &room.token).await;
    (room, watcher)
}

/// A client of the given node, and the token it got for its nickname.
async fn newcomer(stage: &Stage, node: usize, room: &Room, name: &str) -> (Client, String) {
    let mut client = stage.nodes[node].client().await;
    let token = client.join(&room.id, name).await["token"].as_str().unwrap().to_owned();
    (client, token)
}

fn joined(name: &str) -> (String, String) {
    ("user_joined".to_owned(), name.to_owned())
}

fn left(name: &str) -> (String, String) {
    ("user_left".to_owned(), name.to_owned())
}

/// Reads until this member has left.
async fn until_left(watcher: &mut Client, name: &str) {
    watcher.wait_for(name, |frame| frame["t"] == "user_left" && frame["userId"] == name).await;
}

#[tokio::test]
async fn three_tabs_over_two_nodes_join_once_and_leave_once() {
    let stage = Stage::new(2, &[("LEAVE_GRACE", "400ms")]).await;
    let (room, mut watcher) = watched_room(&stage).await;
    let (one, token) = newcomer(&stage, 0, &room, "tabs").await;
    let two = stage.member(1, &room, &token).await;
    let three = stage.member(1, &room, &token).await;
    one.close().await;
    three.close().await;

    // Another user who joins and leaves after them marks that their grace is long over.
    let (marker, _) = newcomer(&stage, 1, &room, "marker").await;
    marker.close().await;
    until_left(&mut watcher, "marker").await;
    assert_eq!(watcher.comings_and_goings(), [joined("tabs"), joined("marker"), left("marker")]);

    two.close().await;
    until_left(&mut watcher, "tabs").await;
    let all = [joined("tabs"), joined("marker"), left("marker"), left("tabs")];
    assert_eq!(watcher.comings_and_goings(), all);
    assert_eq!(stage.members_in_redis(&room), ["watcher"]);
}

#[tokio::test]
async fn a_reload_within_the_grace_is_nothing_at_all() {
    let stage = Stage::new(2, &[("LEAVE_GRACE", "2s")]).await;
    let (room, mut watcher) = watched_room(&stage).await;
    let (mut tab, token) = newcomer(&stage, 0, &room, "reloader").await;
    for turn in 0..6 {
        if turn % 2 == 0 {
            tab.close().await;
        } else {
            drop(tab);
        }
        tab = stage.member(turn % 2, &room, &token).await;
    }
    let (marker, _) = newcomer(&stage, 1, &room, "marker").await;
    marker.close().await;
    until_left(&mut watcher, "marker").await;
    let all = [joined("reloader"), joined("marker"), left("marker")];
    assert_eq!(watcher.comings_and_goings(), all);
    assert!(watcher.seen.iter().all(|frame| frame["t"] != "presence"));
}

#[tokio::test]
async fn the_last_tab_leaves_after_the_grace_and_not_before() {
    let stage = Stage::new(1, &[("LEAVE_GRACE", "1s")]).await;
    let (room, mut watcher) = watched_room(&stage).await;
    let (tab, _) = newcomer(&stage, 0, &room, "guest").await;
    let closed = Instant::now();
    tab.close().await;
    until_left(&mut watcher, "guest").await;
    let after = closed.elapsed();
    assert!(after >= Duration::from_millis(990), "the grace is 1 s, this took {after:?}");
    assert!(after < Duration::from_secs(4), "the grace is 1 s, this took {after:?}");
}

#[tokio::test]
async fn leave_is_at_once_and_keeps_the_name_for_its_token() {
    let stage = Stage::new(2, &[("LEAVE_GRACE", "1h")]).await;
    let (room, mut watcher) = watched_room(&stage).await;
    let (guest, token) = newcomer(&stage, 1, &room, "guest").await;
    guest.send(json!({ "t": "leave", "roomId": room.id })).await;
    until_left(&mut watcher, "guest").await;
    assert_eq!(stage.members_in_redis(&room), ["watcher"]);

    let mut other = stage.client().await;
    let join = json!({ "t": "join", "roomId": room.id, "token": "guest" });
    assert_eq!(other.try_join(join).await["code"], "NAME_TAKEN");
    let mut back = stage.nodes[0].client().await;
    assert_eq!(back.join(&room.id, &token).await["me"], "guest");
    watcher.wait_for_kind("user_joined").await;
    assert_eq!(watcher.comings_and_goings(), [joined("guest"), left("guest"), joined("guest")]);
}

#[tokio::test]
async fn connections_that_close_together_leave_in_a_few_calls() {
    const EACH: usize = 10;
    let stage = Stage::new(1, &[("LEAVE_GRACE", "200ms")]).await;
    let (room, mut watcher) = watched_room(&stage).await;
    let mut crowd = Vec::new();
    for number in 0..6 {
        let (first, token) = newcomer(&stage, 0, &room, &format!("user {number}")).await;
        crowd.push(first);
        for _ in 1..EACH {
            crowd.push(stage.member(0, &room, &token).await);
        }
    }
    // The first call blocks, and the other connections close meanwhile.
    stage.redis.cmd(["CLIENT", "PAUSE", "500", "WRITE"]);
    join_all(crowd.into_iter().map(Client::close)).await;
    eventually(DEADLINE, "the crowd has left", async || {
        (stage.members_in_redis(&room) == ["watcher"]).then_some(())
    })
    .await;
    for number in 0..6 {
        let name = format!("user {number}");
        let is_told = |(t, who): &(String, String)| t == "user_left" && *who == name;
        if !watcher.comings_and_goings().iter().any(is_told) {
            until_left(&mut watcher, &name).await;
        }
    }
    assert_eq!(watcher.comings_and_goings().len(), 12, "one join and one leave each");
    let reading = Reading::of(&stage.nodes[0]).await;
    let calls = reading.value("linkroom_redis_command_seconds_count{script=\"leave\"}");
    assert!(calls < 20.0, "{calls}");
}

#[tokio::test]
async fn leave_of_one_tab_is_nothing_while_another_stays() {
    let stage = Stage::new(2, &[("LEAVE_GRACE", "100ms")]).await;
    let (room, mut watcher) = watched_room(&stage).await;
    let (one, token) = newcomer(&stage, 0, &room, "guest").await;
    let two = stage.member(1, &room, &token).await;
    one.send(json!({ "t": "leave", "roomId": room.id })).await;
    let (marker, _) = newcomer(&stage, 0, &room, "marker").await;
    marker.close().await;
    until_left(&mut watcher, "marker").await;
    two.send(json!({ "t": "leave", "roomId": room.id })).await;
    until_left(&mut watcher, "guest").await;
    let all = [joined("guest"), joined("marker"), left("marker"), left("guest")];
    assert_eq!(watcher.comings_and_goings(), all);
}

#[tokio::test]
async fn a_killed_nodes_users_leave_once_each_within_presence_ttl_and_a_heartbeat() {
    let settings = [("PRESENCE_TTL", "3s"), ("HEARTBEAT_INTERVAL", "1s")];
    let mut stage = Stage::new(2, &settings).await;
    let (room, mut watcher) = watched_room(&stage).await;
    watcher.keep_alive(Duration::from_secs(1));
    let mut doomed = Vec::new();
    for number in 0..5 {
        let (mut client, _) = newcomer(&stage, 1, &room, &format!("user {number}")).await;
        client.keep_alive(Duration::from_secs(1));
        doomed.push(client);
    }
    // Two pongs, so that they have more than the presence from their join.
    for client in &mut doomed {
        client.wait_for_kind("pong").await;
        client.wait_for_kind("pong").await;
    }
    let killed = Instant::now();
    stage.nodes[1].kill().await;
    for _ in 0..5 {
        watcher.wait_for_kind("user_left").await;
    }
    let took = killed.elapsed();
    assert!(took < Duration::from_millis(4500), "promised within 4 s, took {took:?}");
    assert_eq!(watcher.comings_and_goings().len(), 10, "each came and went once");
    assert_eq!(stage.members_in_redis(&room), ["watcher"]);
}

#[tokio::test]
async fn a_killed_nodes_user_who_comes_back_elsewhere_never_left() {
    let settings = [("PRESENCE_TTL", "6s"), ("HEARTBEAT_INTERVAL", "1s")];
    let mut stage = Stage::new(2, &settings).await;
    let (room, mut watcher) = watched_room(&stage).await;
    watcher.keep_alive(Duration::from_secs(1));
    let (_mover, token) = newcomer(&stage, 1, &room, "mover").await;
    let (_stayer, _) = newcomer(&stage, 1, &room, "stayer").await;
    stage.nodes[1].kill().await;
    let mut moved = stage.member(0, &room, &token).await;
    moved.keep_alive(Duration::from_secs(1));
    until_left(&mut watcher, "stayer").await;
    let all = [joined("mover"), joined("stayer"), left("stayer")];
    assert_eq!(watcher.comings_and_goings(), all);
    assert_eq!(stage.members_in_redis(&room), ["mover", "watcher"]);
}

#[tokio::test]
async fn heartbeats_keep_members_and_silence_lets_them_lapse() {
    let settings = [("PRESENCE_TTL", "2s"), ("HEARTBEAT_INTERVAL", "400ms")];
    let stage = Stage::new(1, &settings).await;
    let (room, mut watcher) = watched_room(&stage).await;
    watcher.keep_alive(Duration::from_millis(400));
    let (mut silent, _) = newcomer(&stage, 0, &room, "silent").await;
    until_left(&mut watcher, "silent").await;
    assert_eq!(stage.members_in_redis(&room), ["watcher"]);
    assert_eq!(watcher.comings_and_goings(), [joined("silent"), left("silent")]);

    silent.keep_alive(Duration::from_millis(400));
    watcher.wait_for_kind("user_joined").await;
    assert_eq!(stage.members_in_redis(&room), ["silent", "watcher"]);
}

/// Waits until this many seconds have passed on Redis's clock.
async fn redis_seconds(stage: &Stage, seconds: u64) {
    let now = || stage.redis.cmd(["TIME"]).list()[0].text().parse::<u64>().unwrap();
    let start = now();
    eventually(DEADLINE, "time", async || (now() > start + seconds).then_some(())).await;
}

#[tokio::test]
async fn whoever_pings_as_asked_never_lapses() {
    let stage = Stage::new(2, &[("PRESENCE_TTL", "3s")]).await;
    let (room, mut watcher) = watched_room(&stage).await;
    let (mut tab, token) = newcomer(&stage, 1, &room, "steady").await;
    let mut phone = stage.member(0, &room, &token).await;
    let asked = watcher.seen[0]["heartbeat"].as_f64().unwrap();
    for client in [&mut watcher, &mut tab, &mut phone] {
        client.keep_alive(Duration::from_secs_f64(asked));
    }
    redis_seconds(&stage, 9).await;
    assert_eq!(stage.members_in_redis(&room), ["steady", "watcher"]);
    watcher.say(&room.id, "and now?").await;
    assert_eq!(watcher.comings_and_goings(), [joined("steady")]);
}

#[tokio::test]
async fn a_connection_that_died_unnoticed_is_forgotten_in_silence() {
    let settings =
        [("PRESENCE_TTL", "2s"), ("LEAVE_GRACE", "200ms"), ("HEARTBEAT_INTERVAL", "500ms")];
    let stage = Stage::new(2, &settings).await;
    let (room, mut watcher) = watched_room(&stage).await;
    watcher.keep_alive(Duration::from_millis(500));
    let proxy = Proxy::to(stage.nodes[1].addr()).await;
    let mut train = Client::connect(proxy.addr()).await;
    let token = train.join(&room.id, "phone").await["token"].as_str().unwrap().to_owned();
    proxy.freeze();
    let mut again = stage.member(0, &room, &token).await;
    again.keep_alive(Duration::from_millis(500));
    redis_seconds(&stage, 4).await;
    watcher.say(&room.id, "and now?").await;
    assert_eq!(watcher.comings_and_goings(), [joined("phone")]);

    again.close().await;
    until_left(&mut watcher, "phone").await;
    assert_eq!(watcher.comings_and_goings(), [joined("phone"), left("phone")]);
}

#[tokio::test]
async fn a_room_whose_last_member_is_gone_has_no_members() {
    let stage = Stage::new(1, &[("PRESENCE_TTL", "1500ms"), ("LEAVE_GRACE", "200ms")]).await;
    let (room, watcher) = watched_room(&stage).await;
    watcher.close().await;
    eventually(DEADLINE, "an empty members set", async || {
        stage.members_in_redis(&room).is_empty().then_some(())
    })
    .await;
}

#[tokio::test]
async fn many_joins_of_one_user_at_once_are_one() {
    let stage = Stage::new(2, &[]).await;
    let (room, mut watcher) = watched_room(&stage).await;
    let token = stage.guest(&room, "crowd").await;
    let joins = (0..20).map(|number| stage.member(number % 2, &room, &token));
    let clients = futures_util::future::join_all(joins).await;
    let (_marker, _) = newcomer(&stage, 1, &room, "marker").await;
    watcher.wait_for("marker", |frame| frame["userId"] == "marker").await;
    assert_eq!(watcher.comings_and_goings(), [joined("crowd"), joined("marker")]);
    for client in &clients {
        let heard = |frame: &Value| frame["t"] == "user_joined" && frame["userId"] == "crowd";
        assert!(!client.seen.iter().any(heard));
    }
}

#[tokio::test]
async fn every_view_of_the_members_agrees() {
    let stage = Stage::new(2, &[("LEAVE_GRACE", "100ms")]).await;
    let (room, mut watcher) = watched_room(&stage).await;
    let mut clients = Vec::new();
    for number in 0..12 {
        clients.push(newcomer(&stage, number % 2, &room, &format!("user {number}")).await.0);
    }
    for client in clients.drain(..).step_by(2) {
        client.close().await;
    }
    let names = stage.nodes[1].client().await.join(&room.id, &room.token).await["members"].clone();
    assert!(!names.as_array().unwrap().is_empty());
    for _ in 0..12 {
        watcher.wait_for_kind("user_left").await;
    }
    assert_eq!(stage.members_in_redis(&room), ["watcher"]);
    let data = stage.nodes[1].http().get(&format!("/api/rooms/{}", room.id)).await.data(200);
    assert_eq!(data["members"], json!(["watcher"]));
    assert_eq!(watcher.comings_and_goings().len(), 24);
}

#[tokio::test]
async fn what_each_client_was_told_adds_up_to_who_is_there() {
    let stage = Stage::new(2, &[("LEAVE_GRACE", "50ms")]).await;
    let (room, watcher) = watched_room(&stage).await;
    let people = (0..40).map(async |number| {
        let (name, node) = (format!("user {number}"), number % 2);
        let (mut client, token) = newcomer(&stage, node, &room, &name).await;
        for turn in 0..number % 4 {
            match turn {
                0 => client.send(json!({ "t": "leave", "roomId": room.id })).await,
                1 => drop(client),
                _ => client.close().await,
            }
            client = stage.member(1 - node, &room, &token).await;
        }
        if number % 3 == 0 {
            client.close().await;
            return None;
        }
        Some(client)
    });
    let mut clients = futures_util::future::join_all(people).await;
    clients.push(Some(watcher));
    let stayed = 27;
    eventually(DEADLINE, "everybody left who wanted to", async || {
        (stage.members_in_redis(&room).len() == stayed).then_some(())
    })
    .await;
    let members = stage.members_in_redis(&room);
    let said = clients[1].as_mut().unwrap().say(&room.id, "who is here?").await;
    for client in clients.iter_mut().flatten() {
        while client.message_ids(&room.id).last().map(String::as_str) != said["id"].as_str() {
            client.next().await;
        }
        assert_eq!(Vec::from_iter(client.view(&room.id)), members);
    }
}
