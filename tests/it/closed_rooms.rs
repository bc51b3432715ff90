//! A room that its creator deletes is gone at once, with all its data, and nothing brings it back.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Answer, DEADLINE, Listener, Room, Stage, eventually};

async fn close(stage: &Stage, node: usize, room: &Room, token: &str) -> Answer {
    stage.nodes[node].http().delete(&format!("/api/rooms/{}", room.id), token).await
}

fn keys_of(stage: &Stage, room: &Room) -> Vec<String> {
    stage.redis.texts(["KEYS", &format!("*{}*", room.id)])
}

#[tokio::test]
async fn everything_is_gone_and_everybody_is_told() {
    let stage = Stage::new(2, &[("LEAVE_GRACE", "0s")]).await;
    let (room, other) = (stage.room("alice").await, stage.room("bob").await);
    let mut alice = stage.member(0, &room, &room.token).await;
    let mut bob = stage.member(1, &room, "bob").await;
    bob.join(&other.id, &other.token).await;
    let mut listener = Listener::open_as(&stage.nodes[1].http(), &room.id, &room.token).await;
    // Users who have data in the room but are not members.
    let bot = stage.guest(&room, "bot:%").await;
    stage.http().say(&room.id, &bot, json!({ "text": "beep", "key": "k" })).await.data(201);
    let mut gone = stage.member(1, &room, "gone").await;
    let said = gone.say_once(&room.id, "bye", "k").await;
    gone.send(json!({ "t": "leave", "roomId": room.id })).await;
    alice.wait_for_kind("user_left").await;
    stage.guest(&room, "removed").await;
    for what in ["messages/ID", "members/removed?ban=true"] {
        let what = what.replace("ID", said["id"].as_str().unwrap());
        let path = format!("/api/rooms/{}/{what}", room.id);
        stage.http().delete(&path, &room.token).await.data(200);
    }
    assert!(keys_of(&stage, &room).len() > 12, "{:?}", keys_of(&stage, &room));

    close(&stage, 0, &room, &bot).await.error(403, "FORBIDDEN");
    close(&stage, 0, &room, &other.token).await.error(401, "INVALID_TOKEN");
    close(&stage, 0, &room, "").await.error(401, "INVALID_TOKEN");
    close(&stage, 1, &room, &room.token).await.data(200);
    assert_eq!(keys_of(&stage, &room), [""; 0]);
    for client in [&mut alice, &mut bob] {
        let told = client.wait_for_kind("removed").await;
        assert_eq!(told, json!({ "t": "removed", "roomId": room.id, "reason": "closed" }));
        let late = json!({ "t": "msg", "roomId": room.id, "text": "late", "key": "late" });
        client.send(late).await;
        let refused = client.wait_for("refusal", |frame| frame["key"] == "late").await;
        assert_eq!(refused["code"], "NOT_IN_ROOM");
    }
    let mut last = None;
    while let Some(event) = listener.next().await.unwrap() {
        last = Some(event);
    }
    let last = last.unwrap();
    assert_eq!((last.kind.as_str(), &last.data["reason"]), ("removed", &json!("closed")));
    bob.say(&other.id, "the other room stays").await;

    for path in ["", "/members", "/messages", "/events"] {
        let path = format!("/api/rooms/{}{path}", room.id);
        stage.http().get(&path).await.error(404, "ROOM_NOT_FOUND");
    }
    stage.http().say(&room.id, &bot, json!({ "text": "beep" })).await.error(404, "ROOM_NOT_FOUND");
    let join = json!({ "t": "join", "roomId": room.id, "token": room.token });
    assert_eq!(stage.client().await.try_join(join).await["code"], "ROOM_NOT_FOUND");
    close(&stage, 0, &room, &room.token).await.error(404, "ROOM_NOT_FOUND");
    assert_eq!(keys_of(&stage, &room), [""; 0]);
}

#[tokio::test]
async fn what_is_under_way_when_a_room_ends_brings_nothing_back() {
    let settings = [("HEARTBEAT_INTERVAL", "100ms"), ("MESSAGES_PER_SECOND", "100000")];
    let stage = Stage::new(2, &settings).await;
    for round in 0..8 {
        let room = stage.room("alice").await;
        let mut members =
            [stage.member(0, &room, &room.token).await, stage.member(1, &room, "bob").await];
        for member in &mut members {
            member.keep_alive(Duration::from_millis(20));
        }
        let id = &room.id;
        let talks = async {
            for number in 0..40 {
                let say = json!({ "t": "msg", "roomId": id, "text": number.to_string(), "key": number.to_string() });
                members[number % 2].send(say).await;
                members[number % 2].send(json!({ "t": "ping", "status": "away" })).await;
            }
        };
        let joins = async {
            for number in 0..10 {
                let mut guest = stage.nodes[number % 2].client().await;
                let join = json!({ "t": "join", "roomId": id, "token": format!("guest {number}") });
                guest.send(join).await;
                guest
                    .wait_for("the end of it", |frame| {
                        frame["t"] == "joined" || frame["t"] == "error" || frame["t"] == "removed"
                    })
                    .await;
            }
        };
        let sessions = async {
            for number in 0..10 {
                let path = format!("/api/rooms/{id}/sessions");
                stage.http().post(&path, json!({ "name": format!("bot {number}") })).await;
            }
        };
        let closes = async {
            tokio::time::sleep(Duration::from_millis(3 * round)).await;
            close(&stage, (round % 2) as usize, &room, &room.token).await.data(200);
        };
        tokio::join!(talks, joins, sessions, closes);
        for member in &mut members {
            member.wait_for_kind("removed").await;
        }
        assert_eq!(keys_of(&stage, &room), [""; 0]);
    }
}

#[tokio::test]
async fn a_closed_room_does_not_come_back_with_a_redis_that_came_back() {
    for is_durable in [false, true] {
        let settings = [("HEARTBEAT_INTERVAL", "300ms"), ("PRESENCE_TTL", "3s")];
        let mut stage = match is_durable {
            true => Stage::durable(2, &settings).await,
            false => Stage::new(2, &settings).await,
        };
        let (room, other) = (stage.room("alice").await, stage.room("bob").await);
        let mut alice = stage.member(0, &room, &room.token).await;
        let mut bob = stage.member(1, &other, &other.token).await;
        for client in [&mut alice, &mut bob] {
            client.keep_alive(Duration::from_millis(200));
        }
        close(&stage, 1, &room, &room.token).await.data(200);
        if !is_durable {
            // The note that it was closed is lost with Redis: only a node that got the event knows.
            alice.wait_for_kind("removed").await;
        }
        stage.redis.kill();
        stage.redis.restart();
        if is_durable {
            alice.wait_for_kind("removed").await;
        }
        eventually(DEADLINE, "the other room", async || {
            let answer = stage.http().get(&format!("/api/rooms/{}", other.id)).await;
            (answer.status == 200 && answer.data(200)["memberCount"] == 1).then_some(())
        })
        .await;
        alice.send(json!({ "t": "msg", "roomId": room.id, "text": "late", "key": "late" })).await;
        let refused = alice.wait_for("refusal", |frame| frame["key"] == "late").await;
        assert_eq!(refused["code"], "NOT_IN_ROOM");
        assert_eq!(keys_of(&stage, &room), [""; 0]);
    }
}

#[tokio::test]
async fn in_a_locked_room_reading_takes_the_token_of_a_session() {
    let stage = Stage::new(1, &[]).await;
    let room = stage.room("alice").await;
    let bob = stage.guest(&room, "bob").await;
    let path = format!("/api/rooms/{}", room.id);
    let mut stranger = Listener::open(&stage.http(), &room.id, None).await;
    let mut member = Listener::open_as(&stage.http(), &room.id, &bob).await;
    stage.http().patch(&path, &room.token, json!({ "locked": true })).await.data(200);
    while stranger.next().await.unwrap().is_some() {}
    member.wait_for("room").await;

    for what in ["messages", "members", "events"] {
        let path = format!("{path}/{what}");
        stage.http().get(&path).await.error(401, "INVALID_TOKEN");
        for (token, status) in [(bob.as_str(), 200), (&room.token, 200), ("lr_x", 401), ("", 401)] {
            let request = stage.http().request(reqwest::Method::HEAD, &path).bearer_auth(token);
            assert_eq!(request.send().await.unwrap().status(), status, "{what}");
        }
    }
    assert_eq!(
        stage.http().get(&path).await.data(200)["locked"],
        true,
        "that it is locked, everybody may see"
    );
    let removed = stage.http().delete(&format!("{path}/members/bob"), &room.token).await;
    removed.data(200);
    while member.next().await.unwrap().is_some() {}
    stage.http().patch(&path, &room.token, json!({ "locked": false })).await.data(200);
    assert_eq!(
        stage.http().get(&format!("{path}/messages")).await.data(200)["messages"],
        Value::Array(vec![])
    );
}
