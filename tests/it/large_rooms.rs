//! Rooms with more than `ROSTER_MAX` members: clients get the number of members, and no joins and
//! leaves.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{Client, DEADLINE, Room, Stage, eventually};

/// With more members a room becomes large, with fewer than three quarters it becomes small again.
const ROSTER_MAX: usize = 8;
const SETTINGS: [(&str, &str); 2] = [("ROSTER_MAX", "8"), ("LEAVE_GRACE", "100ms")];
/// Minimum time between two numbers, less a tolerance for clocks and a busy machine.
const SECOND: Duration = Duration::from_millis(900);

fn names(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect()
}

/// The numbers of members that a client got without a list.
fn counts(frames: &[Value]) -> Vec<u64> {
    let numbers =
        frames.iter().filter(|frame| frame["t"] == "members" && frame["members"].is_null());
    numbers.map(|frame| frame["memberCount"].as_u64().unwrap()).collect()
}

/// Events that only small rooms get.
fn about_one(frames: &[Value]) -> Vec<&Value> {
    let kinds = ["user_joined", "user_left", "presence", "read"];
    frames.iter().filter(|frame| kinds.iter().any(|kind| frame["t"] == *kind)).collect()
}

async fn until_list(client: &mut Client, count: usize) -> Value {
    let is_it = |frame: &Value| frame["members"].is_array() && frame["memberCount"] == count;
    client.wait_for("the list", |frame| frame["t"] == "members" && is_it(frame)).await
}

async fn until_count(client: &mut Client, count: usize) -> Value {
    let is_it = |frame: &Value| frame["members"].is_null() && frame["memberCount"] == count;
    client.wait_for("the number", |frame| frame["t"] == "members" && is_it(frame)).await
}

/// A room with a watcher on each node, and guests until it has this many members.
async fn filled(stage: &Stage, size: usize) -> (Room, [Client; 2], Vec<Client>) {
    let room = stage.room("ada").await;
    let ada = stage.member(0, &room, &room.token).await;
    let zoe = stage.member(1, &room, "zoe").await;
    let guests = stage.guests(&room, size - 2).await;
    (room, [ada, zoe], guests)
}

#[tokio::test]
async fn becoming_large_and_small_again_is_told_once_on_every_node() {
    let stage = Stage::new(2, &SETTINGS).await;
    let (room, watchers, mut guests) = filled(&stage, ROSTER_MAX).await;
    let last = stage.member(1, &room, "guest 9").await;
    let mut watchers = watchers;
    for (watcher, me) in watchers.iter_mut().zip(["ada", "zoe"]) {
        let large = until_list(watcher, ROSTER_MAX + 1).await;
        let listed = names(&large["members"]);
        assert_eq!(listed.len(), ROSTER_MAX);
        assert!(listed.is_sorted() && listed.contains(&me), "{me} is not in {listed:?}");
    }

    // From here on no event names one of them.
    let before = watchers[0].seen.len();
    let joined = stage.nodes[0].client().await.join(&room.id, "yves").await;
    assert_eq!(joined["memberCount"], ROSTER_MAX + 2);
    assert_eq!(names(&joined["members"]).len(), ROSTER_MAX);
    assert_eq!(names(&joined["members"]).last(), Some(&"yves"));
    last.send(json!({ "t": "ping", "status": "away" })).await;
    until_count(&mut watchers[0], ROSTER_MAX + 2).await;
    until_count(&mut watchers[0], ROSTER_MAX + 1).await;
    assert_eq!(about_one(&watchers[0].seen[before..]), [] as [&Value; 0]);

    // In between it stays large.
    let three_quarters = ROSTER_MAX * 3 / 4;
    for guest in guests.drain(..ROSTER_MAX + 1 - three_quarters) {
        guest.send(json!({ "t": "leave" })).await;
    }
    for watcher in &mut watchers {
        until_count(watcher, three_quarters).await;
    }
    guests.remove(0).send(json!({ "t": "leave" })).await;
    for watcher in &mut watchers {
        let small = until_list(watcher, three_quarters - 1).await;
        assert_eq!(names(&small["members"]).len(), three_quarters - 1);
        assert_eq!(names(&small["away"]), ["guest 9"]);
        let lists = watcher.seen.iter().filter(|f| f["t"] == "members" && f["members"].is_array());
        assert_eq!(lists.count(), 2, "each change is told once");
    }
    drop(last);
    for watcher in &mut watchers {
        watcher.wait_for_kind("user_left").await;
        let seen: Vec<String> = watcher.view(&room.id).into_iter().collect();
        assert_eq!(seen, stage.members_in_redis(&room));
    }
}

#[tokio::test]
async fn a_large_room_is_told_its_number_at_most_once_a_second_and_the_last_one_is_right() {
    let stage = Stage::new(2, &SETTINGS).await;
    let (room, [mut ada, _zoe], mut guests) = filled(&stage, ROSTER_MAX + 2).await;
    let (mut told, began) = (Vec::new(), Instant::now());
    // Some join and one leaves, repeatedly, until the number was told several times.
    for number in 0.. {
        guests.push(stage.member(number % 2, &room, &format!("late {number}")).await);
        guests.swap_remove(0).send(json!({ "t": "leave" })).await;
        guests.push(stage.member(number % 2, &room, &format!("later {number}")).await);
        for frame in ada.until_pong().await {
            if counts(std::slice::from_ref(&frame)) != [] as [u64; 0] {
                told.push(began.elapsed());
            }
        }
        if told.len() == 3 {
            break;
        }
    }
    assert!(told.windows(2).all(|pair| pair[1] - pair[0] >= SECOND), "{told:?}");
    let members = stage.members_in_redis(&room).len();
    if counts(&ada.seen).last() != Some(&(members as u64)) {
        until_count(&mut ada, members).await;
    }
}

#[tokio::test]
async fn members_are_read_page_by_page_in_code_point_order() {
    let stage = Stage::new(1, &SETTINGS).await;
    let room = stage.room("m").await;
    let mut here = vec!["m".to_owned()];
    let mut clients = vec![stage.member(0, &room, &room.token).await];
    for name in ["é", "z", "홍길동", "a b", "Z", "🎉x", "가", "c:d%", "ﬀ", "mm", "0"] {
        clients.push(stage.member(0, &room, name).await);
        here.push(name.to_owned());
    }
    here.sort();
    let http = stage.http();
    let path = |query: &str| format!("/api/rooms/{}/members{query}", room.id);
    let page = async |query: &str| {
        let page = http.get(&path(query)).await.data(200);
        let users =
            page.as_array().unwrap().iter().map(|member| member["userId"].as_str().unwrap());
        users.map(str::to_owned).collect::<Vec<_>>()
    };
    for limit in [1, 3, 4, 12, 1000] {
        let (mut all, mut after) = (Vec::new(), String::new());
        loop {
            let found = page(&format!("?limit={limit}&after={}", encoded(&after))).await;
            let is_last = found.len() < limit;
            all.extend(found);
            if is_last {
                break;
            }
            after = all.last().unwrap().clone();
        }
        assert_eq!(all, here, "{limit}");
    }
    assert_eq!(page("").await, here[..ROSTER_MAX], "as many as a list names");
    assert_eq!(page("?after=mlm&limit=1").await, ["mm"], "behind a name that nobody has");
    for limit in ["0", "1001", "-1", "x", "1e3"] {
        http.get(&path(&format!("?limit={limit}"))).await.invalid("limit");
    }
    let room = http.get(&format!("/api/rooms/{}", room.id)).await.data(200);
    assert_eq!((&room["memberCount"], &room["status"]), (&json!(here.len()), &json!("active")));
    assert_eq!(names(&room["members"]), here[..ROSTER_MAX]);
}

fn encoded(name: &str) -> String {
    name.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

/// Members are cleared in steps, so that no call blocks Redis for long; another test checks the
/// steps.
#[tokio::test]
async fn the_number_is_right_after_a_node_died() {
    let settings = [SETTINGS[0], ("PRESENCE_TTL", "2s"), ("HEARTBEAT_INTERVAL", "500ms")];
    let mut stage = Stage::new(2, &settings).await;
    let (room, [mut ada, _zoe], mut guests) = filled(&stage, 2 * ROSTER_MAX).await;
    ada.keep_alive(Duration::from_millis(200));
    for guest in &mut guests {
        guest.keep_alive(Duration::from_millis(200));
    }
    // The other node has every second guest and one watcher.
    let left = ROSTER_MAX;
    until_list(&mut ada, ROSTER_MAX + 1).await;
    let before = ada.seen.len();
    let killed = Instant::now();
    stage.nodes[1].kill().await;
    until_count(&mut ada, left).await;
    assert!(killed.elapsed() < Duration::from_millis(4_000), "{:?}", killed.elapsed());
    assert_eq!(about_one(&ada.seen[before..]), [] as [&Value; 0]);
    eventually(DEADLINE, "the others", async || {
        (stage.members_in_redis(&room).len() == left).then_some(())
    })
    .await;
}

/// Every client of a large room gets a message, even if the publication was lost.
#[tokio::test]
async fn messages_and_resumes_are_as_in_any_room() {
    let stage = Stage::new(2, &SETTINGS).await;
    let (room, [mut ada, mut zoe], mut guests) = filled(&stage, ROSTER_MAX + 3).await;
    let first = ada.say(&room.id, "first").await["id"].as_str().unwrap().to_owned();
    for client in guests.iter_mut().chain([&mut zoe]) {
        client.wait_for("the message", |frame| frame["id"] == first.as_str()).await;
    }
    let token = zoe.seen[0]["token"].as_str().unwrap().to_owned();
    drop(zoe);
    let second = ada.say(&room.id, "second").await["id"].clone();
    let mut back = stage.nodes[0].client().await;
    let joined = back.resume(&room.id, &token, &first).await;
    assert_eq!(joined["messages"][0]["id"], second);
    assert_eq!(joined["memberCount"], ROSTER_MAX + 3);
    assert!(names(&joined["members"]).contains(&"zoe"));
}
