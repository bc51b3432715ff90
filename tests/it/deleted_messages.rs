//! The text of a deleted message is gone, and the message keeps its place: for clients that were
//! there, that come back, that page through history, that retry it, and on a node that gets no
//! events.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{
    Answer, Client, DEADLINE, Listener, Node, Proxy, Room, Stage, eventually, ids_of,
};

async fn delete(stage: &Stage, node: usize, room: &Room, token: &str, id: &Value) -> Answer {
    let path = format!("/api/rooms/{}/messages/{}", room.id, id.as_str().unwrap());
    stage.nodes[node].http().delete(&path, token).await
}

/// What is left of a message after its deletion.
fn rest_of(said: &Value) -> Value {
    json!({
        "roomId": said["roomId"], "id": said["id"], "from": said["from"],
        "timestamp": said["timestamp"], "deleted": true,
    })
}

async fn history(stage: &Stage, node: usize, room: &Room, query: &str) -> Value {
    let path = format!("/api/rooms/{}/messages{query}", room.id);
    stage.nodes[node].http().get(&path).await.data(200)
}

async fn told_deleted(client: &mut Client, id: &Value) {
    client
        .wait_for("that it is deleted", |frame| frame["t"] == "deleted" && frame["id"] == *id)
        .await;
}

#[tokio::test]
async fn a_deleted_message_is_nowhere_and_has_its_place() {
    let stage = Stage::new(2, &[]).await;
    let room = stage.room("alice").await;
    let mut alice = stage.member(0, &room, &room.token).await;
    let mut bob = stage.member(1, &room, "bob").await;
    let mut listener = Listener::open(&stage.nodes[1].http(), &room.id, Some("0-0")).await;
    let mut said = Vec::new();
    for number in 0..5 {
        said.push(bob.say_once(&room.id, &format!("secret {number}"), &number.to_string()).await);
    }
    alice.wait_for("all of it", |frame| frame["text"] == "secret 4").await;
    let ids = ids_of(&said);
    // The first, one in the middle, and the last.
    for at in [0, 2, 4] {
        delete(&stage, 0, &room, &room.token, &said[at]["id"]).await.data(200);
        told_deleted(&mut alice, &said[at]["id"]).await;
        told_deleted(&mut bob, &said[at]["id"]).await;
        let told = listener.wait_for("deleted").await;
        assert_eq!((&told.data["id"], told.id), (&said[at]["id"], None));
    }
    let events =
        stage.redis.cmd(["HGET", &format!("room:{}", room.id), "events"]).text().to_owned();
    delete(&stage, 1, &room, &room.token, &said[2]["id"]).await.data(200);
    let after = stage.redis.cmd(["HGET", &format!("room:{}", room.id), "events"]);
    assert_eq!(after.text(), events, "nobody is told twice");

    let dump = stage.redis.everything();
    for (at, message) in said.iter().enumerate() {
        let text = message["text"].as_str().unwrap();
        assert_eq!(dump.contains(text), at % 2 == 1, "{text} in {dump}");
    }

    let expected: Vec<Value> = said
        .iter()
        .enumerate()
        .map(|(at, message)| match at % 2 {
            0 => rest_of(message),
            _ => {
                let mut message = message.clone();
                message.as_object_mut().unwrap().remove("t");
                message
            }
        })
        .collect();
    let all = history(&stage, 1, &room, "").await;
    assert_eq!((&all["messages"], &all["hasMore"]), (&json!(expected), &json!(false)));
    for (query, from, to, more) in [
        (format!("?limit=2&before={}", ids[4]), 2, 4, true),
        (format!("?limit=2&before={}", ids[2]), 0, 2, false),
        ("?limit=1".to_owned(), 4, 5, true),
        (format!("?limit=2&after={}", ids[0]), 1, 3, true),
        (format!("?limit=3&after={}", ids[1]), 2, 5, false),
        (format!("?after={}", ids[4]), 5, 5, false),
        ("?after=0-0&limit=1".to_owned(), 0, 1, true),
    ] {
        let page = history(&stage, 0, &room, &query).await;
        let wanted = json!(expected[from..to]);
        assert_eq!((&page["messages"], &page["hasMore"]), (&wanted, &json!(more)), "{query}");
    }
    let joined = stage.client().await.join(&room.id, "carol").await;
    assert_eq!((&joined["messages"], &joined["more"]), (&json!(expected), &json!(false)));
    for (at, since) in ids.iter().enumerate() {
        let name = format!("resumes {at}");
        let mut client = stage.nodes[1].client().await;
        let joined = client.resume(&room.id, &name, since).await;
        assert_eq!(
            (&joined["messages"], &joined["more"]),
            (&json!(expected[at + 1..]), &json!(false))
        );
        // It is told of deletions of messages that it may still show.
        let told = client.until_pong().await;
        let deleted: Vec<_> = told.iter().filter(|frame| frame["t"] == "deleted").collect();
        assert_eq!(
            ids_of(deleted),
            ids.iter().take(at + 1).step_by(2).cloned().collect::<Vec<_>>()
        );
    }
    let mut late = Listener::open(&stage.nodes[0].http(), &room.id, Some(&ids[0])).await;
    assert_eq!(late.messages(4).await, ids[1..]);
    assert_eq!(late.wait_for("deleted").await.data["id"], said[0]["id"]);

    // The next message follows the last one.
    let next = alice.say(&room.id, "and on").await;
    bob.wait_for("the next", |frame| frame["id"] == next["id"]).await;
    assert_eq!(bob.seen.iter().filter(|frame| frame["t"] == "msg").count(), 6);
}

#[tokio::test]
async fn what_was_deleted_is_not_said_again() {
    let stage = Stage::new(2, &[]).await;
    let room = stage.room("alice").await;
    let mut bob = stage.member(1, &room, "bob").await;
    let said = bob.say_once(&room.id, "oops", "k").await;
    let posted = json!({ "text": "posted", "key": "p" });
    let bot = stage.guest(&room, "bot").await;
    let post = stage.http().say(&room.id, &bot, posted.clone()).await.data(201);
    for id in [&said["id"], &post["id"]] {
        delete(&stage, 0, &room, &room.token, id).await.data(200);
        told_deleted(&mut bob, id).await;
    }
    let again = bob.say_once(&room.id, "oops", "k").await;
    let mut expected = rest_of(&said);
    (expected["t"], expected["key"]) = (json!("msg"), json!("k"));
    assert_eq!(again, expected);
    let again = stage.http().say(&room.id, &bot, posted).await.data(201);
    let mut expected = rest_of(&post);
    expected["key"] = json!("p");
    assert_eq!(again, expected);
    assert_eq!(stage.redis.cmd(["XLEN", &format!("room:{}:messages", room.id)]).int(), 0);
    assert!(!stage.redis.everything().contains("oops"));
}

#[tokio::test]
async fn the_author_is_the_session_that_said_it() {
    let stage = Stage::new(1, &[]).await;
    let (room, other) = (stage.room("alice").await, stage.room("alice").await);
    let (bob, carol) = (stage.guest(&room, "bob").await, stage.guest(&room, "carol").await);
    let say = async |token: &str| {
        let said = stage.http().say(&room.id, token, json!({ "text": "hi" })).await.data(201);
        said["id"].clone()
    };
    let (mine, yours) = (say(&bob).await, say(&carol).await);
    for token in [other.token.as_str(), "bob", "lr_", ""] {
        delete(&stage, 0, &room, token, &mine).await.error(401, "INVALID_TOKEN");
    }
    delete(&stage, 0, &room, &bob, &yours).await.error(403, "FORBIDDEN");
    delete(&stage, 0, &room, &bob, &mine).await.data(200);
    delete(&stage, 0, &room, &bob, &mine).await.data(200);
    delete(&stage, 0, &room, &carol, &mine).await.error(403, "FORBIDDEN");
    for id in ["1-1", "0-0", "18446744073709551615-18446744073709551615", "x", "%00"] {
        delete(&stage, 0, &room, &room.token, &json!(id)).await.error(404, "NOT_FOUND");
    }
    let nowhere = Room { id: "nosuchroom00".to_owned(), token: room.token.clone() };
    delete(&stage, 0, &nowhere, &room.token, &mine).await.error(404, "ROOM_NOT_FOUND");
    let path = format!("/api/rooms/{}/messages/{}", room.id, mine.as_str().unwrap());
    let request = stage.http().request(reqwest::Method::DELETE, &path);
    stage.http().send(request).await.error(401, "INVALID_TOKEN");

    // A later user of the name is somebody else.
    stage.redis.cmd(["DEL", &format!("user:{}:carol:session", room.id)]);
    delete(&stage, 0, &room, &carol, &yours).await.error(401, "INVALID_TOKEN");
    let another = stage.guest(&room, "carol").await;
    delete(&stage, 0, &room, &another, &yours).await.error(403, "FORBIDDEN");
    delete(&stage, 0, &room, &room.token, &yours).await.data(200);
}

/// Loses publications to a node with a connected client, deletes messages there and elsewhere, and
/// waits until the client is told.
async fn deletions_that_are_not_heard(lose: impl Fn(&Proxy)) {
    let settings = [("PRESENCE_TTL", "6s"), ("HEARTBEAT_INTERVAL", "500ms")];
    let mut stage = Stage::new(1, &settings).await;
    let proxy = Proxy::to(stage.redis.addr()).await;
    stage.nodes.push(Node::start(&stage.env, &proxy.redis_url(), &settings).await);
    let room = stage.room("alice").await;
    let mut behind = stage.member(1, &room, "behind").await;
    behind.keep_alive(Duration::from_millis(500));
    let said = [behind.say(&room.id, "one").await, behind.say(&room.id, "two").await];
    lose(&proxy);
    for (node, message) in [(0, &said[0]), (1, &said[1])] {
        delete(&stage, node, &room, &room.token, &message["id"]).await.data(200);
        told_deleted(&mut behind, &message["id"]).await;
    }
    proxy.resume();
    let next = behind.say(&room.id, "three").await;
    delete(&stage, 0, &room, &room.token, &next["id"]).await.data(200);
    told_deleted(&mut behind, &next["id"]).await;
}

#[tokio::test]
async fn a_deletion_that_the_subscription_lost_is_told_with_the_next_heartbeat() {
    deletions_that_are_not_heard(Proxy::lose_what_is_published).await;
}

#[tokio::test]
async fn a_deletion_is_told_where_nothing_published_arrives() {
    deletions_that_are_not_heard(Proxy::lose_all_that_is_published).await;
}

#[tokio::test]
async fn what_is_left_goes_with_what_was_before_it() {
    let stage = Stage::new(1, &[("HISTORY_MAX", "3"), ("MESSAGES_PER_SECOND", "1000")]).await;
    let room = stage.room("alice").await;
    let mut alice = stage.member(0, &room, &room.token).await;
    let (stream, deleted) =
        (format!("room:{}:messages", room.id), format!("room:{}:deleted", room.id));
    let first = alice.say(&room.id, "first").await;
    delete(&stage, 0, &room, &room.token, &first["id"]).await.data(200);
    alice.say(&room.id, "second").await;
    assert_eq!(stage.redis.cmd(["ZCARD", &deleted]).int(), 1, "nothing was trimmed");
    for _ in 0..200 {
        alice.say(&room.id, "more").await;
    }
    assert!(stage.redis.cmd(["XLEN", &stream]).int() < 150);
    assert_eq!(stage.redis.cmd(["ZCARD", &deleted]).int(), 0);
    // No more of them are kept than messages, however many are deleted.
    for number in 0..6 {
        let said = alice.say(&room.id, &number.to_string()).await;
        delete(&stage, 0, &room, &room.token, &said["id"]).await.data(200);
    }
    assert_eq!(stage.redis.cmd(["ZCARD", &deleted]).int(), 3);
    let page = history(&stage, 0, &room, "").await;
    assert_eq!(page["messages"].as_array().unwrap().len(), 3, "those before it went too");
    alice.say(&room.id, "a sign of life").await;
    let lasts = |key: &str| stage.redis.cmd(["PTTL", key]).int();
    assert!((lasts(&deleted) - lasts(&stream)).abs() < 5_000, "it lasts as long as the rest");
}

#[tokio::test]
async fn whoever_comes_back_while_a_message_is_deleted_knows_that_it_is() {
    let stage = Stage::new(2, &[("MESSAGES_PER_SECOND", "1000")]).await;
    let room = stage.room("alice").await;
    let mut alice = stage.member(0, &room, &room.token).await;
    let bob = stage.guest(&room, "bob").await;
    let first = alice.say(&room.id, "first").await;
    for round in 0..20 {
        let said = alice.say(&room.id, "secret").await;
        // A message that it has seen, or one that it has not.
        let since = if round % 2 == 0 { &said } else { &first };
        let mut client = stage.nodes[round % 2].client().await;
        let since = since["id"].as_str().unwrap();
        let resumes = client.resume(&room.id, &bob, since);
        let deletes = delete(&stage, (round / 2) % 2, &room, &room.token, &said["id"]);
        let (joined, deleted) = tokio::join!(resumes, deletes);
        deleted.data(200);
        let listed = joined["messages"].as_array().unwrap().iter().find(|m| m["id"] == said["id"]);
        if listed.is_none_or(|message| message["deleted"] != true) {
            told_deleted(&mut client, &said["id"]).await;
        }
        client.send(json!({ "t": "leave", "roomId": room.id })).await;
    }
}

#[tokio::test]
async fn what_was_deleted_and_who_was_removed_stays_so_when_redis_starts_again() {
    let mut stage =
        Stage::durable(2, &[("PRESENCE_TTL", "5s"), ("HEARTBEAT_INTERVAL", "500ms")]).await;
    let room = stage.room("alice").await;
    let mut alice = stage.member(0, &room, &room.token).await;
    let mut bob = stage.member(1, &room, "bob").await;
    alice.keep_alive(Duration::from_millis(300));
    let said = bob.say_once(&room.id, "oops", "k").await;
    delete(&stage, 0, &room, &room.token, &said["id"]).await.data(200);
    let path = format!("/api/rooms/{}/members/bob?ban=true", room.id);
    stage.http().delete(&path, &room.token).await.data(200);
    stage.redis.kill();
    stage.redis.restart();
    bob.wait_for_kind("removed").await;
    let page = eventually(DEADLINE, "redis is back", async || {
        let path = format!("/api/rooms/{}/messages", room.id);
        let request = stage.http().request(reqwest::Method::GET, &path).bearer_auth(&room.token);
        let answer = stage.http().send(request).await;
        (answer.status == 200).then(|| answer.data(200))
    })
    .await;
    assert_eq!(page["messages"], json!([rest_of(&said)]));
    let join = json!({ "t": "join", "roomId": room.id, "token": "bob" });
    eventually(DEADLINE, "bob's node is back as well", async || {
        let refusal = bob.try_join(join.clone()).await["code"].clone();
        (refusal != "SERVICE_UNAVAILABLE").then(|| assert_eq!(refusal, "BANNED"))
    })
    .await;
    assert_eq!(stage.members_in_redis(&room), ["alice"]);
}
