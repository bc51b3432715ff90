//! A user is removed, by the creator or by itself: its connections are out at once, on every node,
//! and its messages are no longer stored; a banned user cannot join again as a new guest.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Answer, Client, DEADLINE, Node, Proxy, Room, Stage, eventually};

const BEATS: [(&str, &str); 2] = [("PRESENCE_TTL", "6s"), ("HEARTBEAT_INTERVAL", "500ms")];

async fn remove(stage: &Stage, node: usize, room: &Room, token: &str, name: &str) -> Answer {
    let path = format!("/api/rooms/{}/members/{name}", room.id);
    stage.nodes[node].http().delete(&path, token).await
}

/// The token from the answer to a client's join.
fn token_of(client: &Client) -> String {
    client.seen.iter().find_map(|frame| frame["token"].as_str()).unwrap().to_owned()
}

async fn told_removed(client: &mut Client, room: &Room, reason: &str) {
    let told = client.wait_for_kind("removed").await;
    assert_eq!(told, json!({ "t": "removed", "roomId": room.id, "reason": reason }));
}

/// The error code of a join, or null.
async fn refusal(node: &Node, room: &Room, token: &str) -> Value {
    let join = json!({ "t": "join", "roomId": room.id, "token": token });
    node.client().await.try_join(join).await["code"].clone()
}

/// Checks that Redis has nothing of the user except that the session was ended.
fn is_forgotten(stage: &Stage, room: &Room, name: &str) {
    let left = stage.redis.texts(["KEYS", &format!("user:{}:{name}:*", room.id)]);
    assert!(left.is_empty(), "{left:?}");
    assert!(!stage.members_in_redis(room).contains(&name.to_owned()));
}

#[tokio::test]
async fn who_is_removed_is_out_with_all_connections_and_the_name_is_free() {
    let stage = Stage::new(2, &[]).await;
    let (room, other) = (stage.room("alice").await, stage.room("alice").await);
    let mut alice = stage.member(0, &room, &room.token).await;
    let mut bob = stage.member(0, &room, "bob").await;
    let token = token_of(&bob);
    bob.join(&other.id, "bob").await;
    let mut tabs =
        [stage.member(0, &room, &token).await, stage.member(1, &room, &token).await, bob];
    tabs[0].say_once(&room.id, "hello", "k").await;
    alice.wait_for("hello", |frame| frame["text"] == "hello").await;

    remove(&stage, 1, &room, &room.token, "bob").await.data(200);
    is_forgotten(&stage, &room, "bob");
    for tab in &mut tabs {
        told_removed(tab, &room, "removed").await;
        tab.send(json!({ "t": "msg", "roomId": room.id, "text": "still here?", "key": "late" }))
            .await;
        let refused = tab.wait_for("refusal", |frame| frame["key"] == "late").await;
        assert_eq!(refused["code"], "NOT_IN_ROOM");
        assert!(tab.seen.iter().all(|frame| frame["t"] != "user_left"), "not told of itself");
    }
    let [_, _, bob] = &mut tabs;
    bob.say(&other.id, "the other rooms stay").await;
    alice.wait_for_kind("user_left").await;
    alice.until_pong().await;
    let left: Vec<_> =
        alice.comings_and_goings().into_iter().filter(|(t, _)| t == "user_left").collect();
    assert_eq!(left, [("user_left".to_owned(), "bob".to_owned())]);
    assert_eq!(refusal(&stage.nodes[1], &room, &token).await, "INVALID_TOKEN");
    let said = json!({ "text": "by HTTP" });
    stage.http().say(&room.id, &token, said).await.error(401, "INVALID_TOKEN");
    assert_eq!(stage.redis.cmd(["XLEN", &format!("room:{}:messages", room.id)]).int(), 1);

    // A later user of the name is another one, with its own keys.
    let mut another = stage.member(1, &room, "bob").await;
    let said = another.say_once(&room.id, "I am another", "k").await;
    assert_eq!(said["text"], "I am another");
    assert_ne!(token_of(&another), token);
}

#[tokio::test]
async fn who_may_remove_whom() {
    let stage = Stage::new(2, &[]).await;
    let (room, other) = (stage.room("alice").await, stage.room("alice").await);
    let (bob, carol) = (stage.guest(&room, "bob").await, stage.guest(&room, "carol").await);
    for (token, name, status, code) in [
        (other.token.as_str(), "bob", 401, "INVALID_TOKEN"),
        ("", "bob", 401, "INVALID_TOKEN"),
        ("bob", "bob", 401, "INVALID_TOKEN"),
        (&carol, "bob", 403, "FORBIDDEN"),
        (&carol, "nobody", 403, "FORBIDDEN"),
        (&bob, "bob?ban=true", 403, "FORBIDDEN"),
        (&room.token, "nobody", 404, "NOT_FOUND"),
        (&room.token, "%00", 404, "NOT_FOUND"),
        (&room.token, "%20", 404, "NOT_FOUND"),
    ] {
        remove(&stage, 0, &room, token, name).await.error(status, code);
    }
    remove(&stage, 0, &room, &room.token, "bob?ban=maybe").await.invalid("ban");
    let nowhere = Room { id: "nosuchroom00".to_owned(), token: room.token.clone() };
    remove(&stage, 0, &nowhere, &room.token, "bob").await.error(404, "ROOM_NOT_FOUND");

    let mut tab = stage.member(1, &room, &bob).await;
    remove(&stage, 0, &room, &bob, "bob").await.data(200);
    told_removed(&mut tab, &room, "left").await;
    remove(&stage, 0, &room, &bob, "bob").await.error(401, "INVALID_TOKEN");

    // The creator too, who keeps the powers.
    let mut alice = stage.member(1, &room, &room.token).await;
    remove(&stage, 0, &room, &room.token, "alice").await.data(200);
    told_removed(&mut alice, &room, "left").await;
    is_forgotten(&stage, &room, "alice");
    remove(&stage, 0, &room, &room.token, "carol?ban=false").await.data(200);
    assert_eq!(refusal(&stage.nodes[1], &room, &room.token).await, Value::Null);
    for name in ["%ED%99%8D%EA%B8%B8%EB%8F%99", "a:b%25"] {
        let plain = percent_encoding(name);
        stage.guest(&room, &plain).await;
        remove(&stage, 0, &room, &room.token, name).await.data(200);
        assert_eq!(refusal(&stage.nodes[0], &room, &plain).await, Value::Null);
    }
}

/// Encodes a path segment.
fn percent_encoding(path: &str) -> String {
    match path {
        "a:b%25" => "a:b%".to_owned(),
        _ => "홍길동".to_owned(),
    }
}

/// A client with this address, according to a trusted proxy.
async fn from(node: &Node, address: &str) -> Client {
    Client::connect_with(node.addr(), &[("x-forwarded-for", address)]).await.unwrap()
}

#[tokio::test]
async fn who_is_banned_does_not_come_in_as_somebody_new() {
    let stage = Stage::new(2, &[("TRUSTED_PROXIES", "127.0.0.1"), ("BANS_MAX", "3")]).await;
    let room = stage.room("alice").await;
    let join = |token: &str| json!({ "t": "join", "roomId": room.id, "token": token });
    let mut troll = from(&stage.nodes[0], "192.0.2.1").await;
    troll.join(&room.id, "troll").await;
    let token = token_of(&troll);
    let mut phone = from(&stage.nodes[1], "2001:db8::1").await;
    phone.join(&room.id, &token).await;
    let mut carol = from(&stage.nodes[1], "192.0.2.1").await;
    carol.join(&room.id, "carol").await;
    let carols = token_of(&carol);

    remove(&stage, 1, &room, &room.token, "troll?ban=true").await.data(200);
    for client in [&mut troll, &mut phone] {
        told_removed(client, &room, "removed").await;
    }
    let bans = async |token: &str| {
        let path = format!("/api/rooms/{}", room.id);
        let request = stage.http().request(Method::GET, &path).bearer_auth(token);
        stage.http().send(request).await.data(200)["bans"].clone()
    };
    assert_eq!((bans(&room.token).await, bans(&carols).await), (json!(2), Value::Null));
    let dump = stage.redis.everything();
    assert!(!dump.contains("192.0.2.1") && !dump.contains("2001:db8"), "{dump}");

    // All addresses of an IPv6 network count as one.
    for address in ["192.0.2.1", "2001:db8::2", "::ffff:192.0.2.1"] {
        for node in &stage.nodes {
            let refused = from(node, address).await.try_join(join("eve")).await;
            assert_eq!(refused["code"], "BANNED", "{address}");
            let path = format!("/api/rooms/{}/sessions", room.id);
            let request = node.http().request(Method::POST, &path).json(&json!({ "name": "bot" }));
            let request = request.header("x-forwarded-for", address);
            node.http().send(request).await.error(403, "BANNED");
        }
        for token in [carols.as_str(), &room.token] {
            let answer = from(&stage.nodes[0], address).await.try_join(join(token)).await;
            assert_eq!(answer["t"], "joined", "who has a session comes and goes: {answer}");
        }
    }
    for address in ["192.0.2.2", "2001:db8:0:1::1"] {
        let answer = from(&stage.nodes[1], address).await.try_join(join(address)).await;
        assert_eq!(answer["t"], "joined", "{address}: {answer}");
    }
    // From there, reading messages and members needs the token of a session.
    for what in ["messages", "members", "events"] {
        let path = format!("/api/rooms/{}/{what}", room.id);
        let ask = |address: &str| {
            let request = stage.http().request(Method::HEAD, &path);
            request.header("x-forwarded-for", address)
        };
        for (request, status) in [
            (ask("192.0.2.1"), 401),
            (ask("192.0.2.1").bearer_auth("lr_x"), 401),
            (ask("192.0.2.1").bearer_auth(&carols), 200),
            (ask("192.0.2.1").bearer_auth(&room.token), 200),
            (ask("192.0.2.9"), 200),
        ] {
            assert_eq!(request.send().await.unwrap().status(), status, "{what}");
        }
    }

    let path = format!("/api/rooms/{}/bans", room.id);
    stage.http().delete(&path, &carols).await.error(403, "FORBIDDEN");
    stage.http().delete(&path, "").await.error(401, "INVALID_TOKEN");
    stage.nodes[1].http().delete(&path, &room.token).await.data(200);
    stage.nodes[1].http().delete(&path, &room.token).await.data(200);
    assert_eq!(bans(&room.token).await, json!(0));
    let mut again = from(&stage.nodes[0], "192.0.2.1").await;
    assert_eq!(again.try_join(join("troll")).await["t"], "joined");

    // The latest ones, up to the maximum.
    for number in 0..5 {
        let mut troll = from(&stage.nodes[0], &format!("198.51.100.{number}")).await;
        troll.join(&room.id, "another").await;
        remove(&stage, 0, &room, &room.token, "another?ban=true").await.data(200);
    }
    assert_eq!(bans(&room.token).await, json!(3));
    for (number, answer) in [(0, "joined"), (4, "error")] {
        let mut troll = from(&stage.nodes[0], &format!("198.51.100.{number}")).await;
        assert_eq!(troll.try_join(join("another")).await["t"], answer);
    }
}

#[tokio::test]
async fn what_is_under_way_when_somebody_is_removed_is_not_stored() {
    let stage = Stage::new(2, &[("MESSAGES_PER_SECOND", "100000")]).await;
    let room = stage.room("alice").await;
    for round in 0..10 {
        let name = format!("bob {round}");
        let mut bob = stage.member(round % 2, &room, &name).await;
        let talks = async {
            for number in 0..50 {
                bob.send(json!({ "t": "msg", "roomId": room.id, "text": number.to_string() }))
                    .await;
            }
        };
        let path = name.replace(' ', "%20");
        let removes = async {
            remove(&stage, 0, &room, &room.token, &path).await.data(200);
            stage.redis.stream_ids(&room.id).len()
        };
        let ((), stored) = tokio::join!(talks, removes);
        told_removed(&mut bob, &room, "removed").await;
        bob.until_pong().await;
        assert_eq!(stage.redis.stream_ids(&room.id).len(), stored, "after the answer");
        is_forgotten(&stage, &room, &name);
    }
}

#[tokio::test]
async fn a_removal_and_a_join_at_once_leave_the_user_in_or_out() {
    let stage = Stage::new(2, &[]).await;
    let room = stage.room("alice").await;
    let mut alice = stage.member(0, &room, &room.token).await;
    for round in 0..20 {
        let token = stage.guest(&room, "bob").await;
        let mut bob = stage.nodes[round % 2].client().await;
        let join = json!({ "t": "join", "roomId": room.id, "token": token });
        let joins = async {
            bob.send(join).await;
            bob.wait_for("the end of it", |frame| {
                frame["t"] == "removed" || frame["code"] == "INVALID_TOKEN"
            })
            .await;
        };
        let removes = remove(&stage, (round / 2) % 2, &room, &room.token, "bob");
        let ((), removed) = tokio::join!(joins, removes);
        removed.data(200);
        is_forgotten(&stage, &room, "bob");
    }
    alice.until_pong().await;
    assert_eq!(alice.view(&room.id), ["alice".to_owned()].into());
}

/// A removal and the end of a room on a node that misses the event.
async fn not_heard(lose: impl Fn(&Proxy)) {
    let mut stage = Stage::new(1, &BEATS).await;
    let proxy = Proxy::to(stage.redis.addr()).await;
    stage.nodes.push(Node::start(&stage.env, &proxy.redis_url(), &BEATS).await);
    let room = stage.room("alice").await;
    let mut behind = stage.member(1, &room, "behind").await;
    let mut bob = stage.member(1, &room, "bob").await;
    for client in [&mut behind, &mut bob] {
        client.keep_alive(Duration::from_millis(300));
    }
    lose(&proxy);
    remove(&stage, 0, &room, &room.token, "bob").await.data(200);
    told_removed(&mut bob, &room, "removed").await;
    is_forgotten(&stage, &room, "bob");
    // A later user with this name is not affected.
    let mut another = stage.member(1, &room, "bob").await;
    another.keep_alive(Duration::from_millis(300));
    behind.say(&room.id, "without the first").await;
    another.wait_for("it", |frame| frame["text"] == "without the first").await;
    assert!(another.seen.iter().all(|frame| frame["t"] != "removed"));
    assert!(bob.seen.iter().all(|frame| frame["text"] != "without the first"));

    stage.http().delete(&format!("/api/rooms/{}", room.id), &room.token).await.data(200);
    for client in [&mut behind, &mut another] {
        told_removed(client, &room, "closed").await;
    }
    let left = stage.redis.texts(["KEYS", &format!("*{}*", room.id)]);
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test]
async fn a_node_that_lost_what_was_published_finds_out_with_its_heartbeat() {
    not_heard(Proxy::lose_what_is_published).await;
}

#[tokio::test]
async fn a_node_that_nothing_published_reaches_finds_out_with_its_heartbeat() {
    not_heard(Proxy::lose_all_that_is_published).await;
}

/// Nobody sends anything there, and the next heartbeat is far: what the creator did is found out all the same, at
/// once, and what is said meanwhile does not reach who was removed.
#[tokio::test]
async fn a_node_that_nothing_published_reaches_asks_for_what_it_does_not_hear() {
    let settings = [("PRESENCE_TTL", "180s"), ("HEARTBEAT_INTERVAL", "60s")];
    let mut stage = Stage::new(1, &settings).await;
    let proxy = Proxy::to(stage.redis.addr()).await;
    stage.nodes.push(Node::start(&stage.env, &proxy.redis_url(), &settings).await);
    let room = stage.room("alice").await;
    let mut bob = stage.member(1, &room, "bob").await;
    let mut carol = stage.member(1, &room, "carol").await;
    proxy.lose_all_that_is_published();
    let deaf = stage.nodes[1].http();
    eventually(DEADLINE, "it is deaf", async || {
        (deaf.get("/readyz").await.status == 503).then_some(())
    })
    .await;

    let said = stage.http().say(&room.id, &room.token, json!({ "text": "oops" })).await.data(201);
    for client in [&mut bob, &mut carol] {
        client.wait_for("what was said", |frame| frame["id"] == said["id"]).await;
    }
    let path = format!("/api/rooms/{}/messages/{}", room.id, said["id"].as_str().unwrap());
    stage.http().delete(&path, &room.token).await.data(200);
    for client in [&mut bob, &mut carol] {
        client.wait_for_kind("deleted").await;
    }
    let path = format!("/api/rooms/{}", room.id);
    stage.http().patch(&path, &room.token, json!({ "locked": true })).await.data(200);
    for client in [&mut bob, &mut carol] {
        client.wait_for("the lock", |frame| frame["t"] == "room" && frame["locked"] == true).await;
    }

    for round in 0..5 {
        let name = format!("removed {round}");
        stage.http().patch(&path, &room.token, json!({ "locked": false })).await.data(200);
        let mut removed = stage.member(1, &room, &name).await;
        let text = format!("without {name}");
        remove(&stage, 0, &room, &room.token, &name.replace(' ', "%20")).await.data(200);
        deaf.say(&room.id, &room.token, json!({ "text": text })).await.data(201);
        carol.wait_for("it", |frame| frame["text"] == *text).await;
        told_removed(&mut removed, &room, "removed").await;
        removed.until_pong().await;
        assert!(removed.seen.iter().all(|frame| frame["text"] != *text));
    }
    remove(&stage, 0, &room, &room.token, "bob").await.data(200);
    told_removed(&mut bob, &room, "removed").await;
    stage.http().delete(&path, &room.token).await.data(200);
    told_removed(&mut carol, &room, "closed").await;
}

#[tokio::test]
async fn a_removal_that_somebody_made_up_removes_nobody() {
    let stage = Stage::new(1, &[]).await;
    let room = stage.room("alice").await;
    let mut bob = stage.member(0, &room, "bob").await;
    bob.accept_any_frame();
    let joined = stage.redis.cmd(["HGET", &format!("user:{}:bob:session", room.id), "joinedAt"]);
    let proof = "0".repeat(32);
    for forged in [
        format!(r#"{{"t":"removed","roomId":"{}","reason":"closed","proof":"{proof}"}}"#, room.id),
        format!(
            r#"{{"t":"removed","roomId":"{}","userId":"bob","joinedAt":"{}","reason":"removed","proof":"{proof}"}}"#,
            room.id,
            joined.text()
        ),
        format!(r#"{{"t":"removed","roomId":"{}","reason":"closed"}}"#, room.id),
    ] {
        stage.redis.cmd(["PUBLISH", &format!("chan:{}", room.id), &forged]);
        let passed = bob.wait_for_kind("removed").await;
        assert_eq!(passed, serde_json::from_str::<Value>(&forged).unwrap(), "as it is");
        bob.say(&room.id, "still here").await;
    }
}
