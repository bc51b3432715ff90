//! The four verbs, and invalid frames.

use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::{
    Message,
    protocol::frame::{
        Frame,
        coding::{Data, OpCode},
    },
};

use crate::{
    http_rooms::names,
    support::{Client, Stage, ids_of},
};

#[tokio::test]
async fn a_nickname_enters_and_everybody_is_told() {
    let stage = Stage::new(1, &[]).await;
    let room = stage.room("테스터").await;
    let mut creator = stage.member(0, &room, &room.token).await;

    let mut guest = stage.client().await;
    guest.send(json!({ "t": "join", "roomId": room.id, "token": "user2" })).await;
    let joined = guest.expect("joined").await;
    assert_eq!((&joined["roomId"], &joined["me"]), (&json!(room.id), &json!("user2")));
    assert_eq!(sorted(&joined["members"]), ["user2", "테스터"]);
    assert_eq!((&joined["away"], &joined["messages"]), (&json!([]), &json!([])));
    assert_eq!((&joined["more"], joined["heartbeat"].as_f64()), (&json!(false), Some(10.0)));
    let told = json!({ "t": "user_joined", "roomId": room.id, "userId": "user2" });
    assert_eq!(creator.next().await, told);
    assert_eq!(guest.until_pong().await, [] as [Value; 0], "one does not hear of one's own join");
}

fn sorted(names: &Value) -> Vec<String> {
    let names = names.as_array().unwrap().iter();
    let mut names: Vec<_> = names.map(|name| name.as_str().unwrap().to_owned()).collect();
    names.sort();
    names
}

#[tokio::test]
async fn a_message_goes_to_all_and_comes_back_with_its_key() {
    let stage = Stage::new(1, &[]).await;
    let room = stage.room("alice").await;
    let mut alice = stage.member(0, &room, &room.token).await;
    let mut bob = stage.member(0, &room, "bob").await;
    alice.expect("user_joined").await;

    bob.send(json!({ "t": "msg", "roomId": room.id, "text": "안녕 👋", "key": "k-1" })).await;
    let own = bob.expect("msg").await;
    assert_eq!((&own["from"], &own["text"]), (&json!("bob"), &json!("안녕 👋")));
    assert_eq!((&own["key"], &own["roomId"]), (&json!("k-1"), &json!(room.id)));
    assert_eq!(alice.expect("msg").await, own);

    bob.send(json!({ "t": "msg", "roomId": room.id, "text": "no key" })).await;
    assert!(bob.expect("msg").await.get("key").is_none());
}

#[tokio::test]
async fn the_room_may_be_left_out_while_there_is_just_one() {
    let stage = Stage::new(1, &[]).await;
    let (one, two) = (stage.room("alice").await, stage.room("alice").await);
    let mut client = stage.client().await;

    client.send(json!({ "t": "msg", "text": "where?" })).await;
    let code = client.expect("error").await["code"].clone();
    assert!(code == "NOT_IN_ROOM" || code == "VALIDATION_FAILED", "{code}");

    client.join(&one.id, &one.token).await;
    client.send(json!({ "t": "msg", "text": "here" })).await;
    let said = client.expect("msg").await;
    assert_eq!(said["roomId"], one.id);

    client.join(&two.id, &two.token).await;
    client.send(json!({ "t": "msg", "text": "which?", "key": "k" })).await;
    assert_eq!(client.expect_error("VALIDATION_FAILED").await["key"], "k");
    client.send(json!({ "t": "leave" })).await;
    client.expect_error("VALIDATION_FAILED").await;
    client.send(json!({ "t": "ping", "read": said["id"] })).await;
    client.wait_for("refusal", |frame| frame["code"] == "VALIDATION_FAILED").await;
    client.until_pong().await;

    client.send(json!({ "t": "leave", "roomId": two.id })).await;
    client.send(json!({ "t": "msg", "text": "here again" })).await;
    assert_eq!(client.wait_for_kind("msg").await["roomId"], one.id);
    client.send(json!({ "t": "leave" })).await;
    client.send(json!({ "t": "msg", "roomId": one.id, "text": "gone" })).await;
    client.wait_for("refusal", |frame| frame["code"] == "NOT_IN_ROOM").await;
}

#[tokio::test]
async fn a_connection_may_be_in_several_rooms() {
    let stage = Stage::new(1, &[("ROOMS_PER_CONNECTION", "3")]).await;
    let mut client = stage.client().await;
    let mut rooms = Vec::new();
    for _ in 0..3 {
        let room = stage.room("alice").await;
        client.join(&room.id, &room.token).await;
        rooms.push(room);
    }
    for room in &rooms {
        let mut guest = stage.member(0, room, "bob").await;
        assert_eq!(client.expect("user_joined").await["roomId"], room.id);
        let said = guest.say(&room.id, "hello").await;
        assert_eq!(client.expect("msg").await["id"], said["id"]);
        client.say(&room.id, "hello back").await;
    }
    let fourth = stage.room("alice").await;
    let answer = client.try_join(json!({ "t": "join", "roomId": fourth.id, "token": "me" })).await;
    assert_eq!((&answer["t"], &answer["roomId"]), (&json!("error"), &json!(fourth.id)));
}

#[tokio::test]
async fn errors_say_which_frame_they_answer() {
    let stage = Stage::new(1, &[]).await;
    let room = stage.room("alice").await;
    let mut client = stage.client().await;

    client.send(json!({ "t": "msg", "roomId": room.id, "text": "hi", "key": "k" })).await;
    let error = client.expect_error("NOT_IN_ROOM").await;
    assert_eq!((&error["roomId"], &error["key"]), (&json!(room.id), &json!("k")));
    client.send(json!({ "t": "leave", "roomId": room.id })).await;
    assert_eq!(client.expect_error("NOT_IN_ROOM").await["roomId"], room.id);

    client.send(json!({ "t": "join", "roomId": "zzzzzzzzzzzz", "token": "bob" })).await;
    assert_eq!(client.expect_error("ROOM_NOT_FOUND").await["roomId"], "zzzzzzzzzzzz");
    client.send(json!({ "t": "join", "roomId": room.id, "token": "alice" })).await;
    assert_eq!(client.expect_error("NAME_TAKEN").await["roomId"], room.id);
    client.send(json!({ "t": "join", "roomId": room.id, "token": "lr_guessed" })).await;
    assert_eq!(client.expect_error("INVALID_TOKEN").await["roomId"], room.id);

    client.join(&room.id, "bob").await;
    let wrong = [
        json!({ "t": "msg", "roomId": room.id, "text": "" }),
        json!({ "t": "msg", "roomId": room.id, "text": "a".repeat(4001) }),
        json!({ "t": "msg", "roomId": room.id, "text": 7 }),
        json!({ "t": "msg", "roomId": room.id }),
        json!({ "t": "msg", "roomId": room.id, "text": "a", "key": "k".repeat(65) }),
        json!({ "t": "msg", "roomId": 7, "text": "a" }),
        json!({ "t": "join", "roomId": room.id }),
        json!({ "t": "join", "token": "carol" }),
        json!({ "t": "join", "roomId": room.id, "token": 7 }),
        json!({ "t": "join", "roomId": room.id, "token": "" }),
        json!({ "t": "join", "roomId": room.id, "token": "carol", "since": "yesterday" }),
        json!({ "t": "ping", "status": "asleep" }),
        json!({ "t": "ping", "read": "x" }),
    ];
    for frame in wrong {
        client.send(frame.clone()).await;
        let error = client.expect("error").await;
        assert_eq!(error["code"], "VALIDATION_FAILED", "{frame} was answered {error}");
    }
    client.say(&room.id, "still here").await;
}

#[tokio::test]
async fn what_a_frame_claims_besides_is_ignored() {
    let stage = Stage::new(1, &[]).await;
    let room = stage.room("alice").await;
    let mut alice = stage.member(0, &room, &room.token).await;
    let forged = json!({ "t": "msg", "roomId": room.id, "text": "hi", "from": "bob", "id": "1-1",
                         "timestamp": "1999-01-01T00:00:00.000Z", "userId": "bob" });
    alice.send(forged).await;
    let said = alice.expect("msg").await;
    assert_eq!(said["from"], "alice");
    assert_ne!(said["id"], "1-1");
}

#[tokio::test]
async fn unreadable_frames_are_answered_and_ten_in_a_row_close() {
    let stage = Stage::new(1, &[]).await;
    let mut client = stage.client().await;
    let unreadable = || {
        let texts =
            ["", "nonsense", "{", "7", "[]", "null", "{}", "{\"t\":\"dance\"}", "{\"t\":7}"];
        let texts = texts.into_iter().map(Message::text);
        texts.chain([Message::binary(br#"{"t":"ping"}"#.to_vec())])
    };
    for message in unreadable().take(9) {
        client.send_raw(message).await.unwrap();
        client.expect_error("VALIDATION_FAILED").await;
    }
    client.send(json!({ "t": "ping" })).await;
    client.expect("pong").await;

    for message in unreadable() {
        client.send_raw(message).await.unwrap();
    }
    client.expect_closed(1008).await;
    assert_eq!(client.seen.len(), 9 + 1 + 10, "every unreadable frame was answered");
}

#[tokio::test]
async fn a_readable_frame_that_fails_does_not_count_as_unreadable() {
    let stage = Stage::new(1, &[]).await;
    let mut client = stage.client().await;
    for _ in 0..15 {
        client.send(json!({ "t": "msg", "roomId": "zzzzzzzzzzzz", "text": "hi" })).await;
        client.expect_error("NOT_IN_ROOM").await;
    }
}

#[tokio::test]
async fn a_frame_over_the_limit_closes_with_1009() {
    let stage = Stage::new(1, &[]).await;
    let padded = |bytes: usize| {
        let empty = json!({ "t": "ping", "x": "" }).to_string().len();
        Message::text(json!({ "t": "ping", "x": "y".repeat(bytes - empty) }).to_string())
    };
    let mut client = stage.client().await;
    client.send_raw(padded(65_536)).await.unwrap();
    client.expect("pong").await;
    let _ = client.send_raw(padded(65_537)).await;
    client.expect_closed(1009).await;

    let mut client = stage.client().await;
    let _ = client.send_raw(padded(1_000_000)).await;
    client.expect_closed(1009).await;
}

#[tokio::test]
async fn a_frame_in_pieces_is_one_frame() {
    let stage = Stage::new(1, &[]).await;
    let mut client = stage.client().await;
    let pieces = async |client: &Client, text: String, size: usize| {
        let chunks: Vec<_> = text.as_bytes().chunks(size).collect();
        for (index, chunk) in chunks.iter().enumerate() {
            let kind =
                if index == 0 { OpCode::Data(Data::Text) } else { OpCode::Data(Data::Continue) };
            let is_last = index + 1 == chunks.len();
            let frame = Frame::message(chunk.to_vec(), kind, is_last);
            if client.send_raw(Message::Frame(frame)).await.is_err() {
                return;
            }
        }
    };
    pieces(&client, json!({ "t": "ping" }).to_string(), 3).await;
    client.expect("pong").await;
    let long = json!({ "t": "ping", "x": "y".repeat(70_000) }).to_string();
    pieces(&client, long, 8_192).await;
    client.expect_closed(1009).await;
}

#[tokio::test]
async fn odd_json_is_answered_and_harms_nobody() {
    let stage = Stage::new(1, &[]).await;
    let room = stage.room("alice").await;
    let mut alice = stage.member(0, &room, &room.token).await;
    let nested = format!("{}{}", "[".repeat(30_000), "]".repeat(30_000));
    let half = r#"{"t":"msg","text":"\ud800","key":"k"}"#.to_owned();
    for (text, says) in [(nested, "frame: Send one JSON object."), (half, "text: A \\u escape")] {
        alice.send_raw(Message::text(text)).await.unwrap();
        let error = alice.expect_error("VALIDATION_FAILED").await;
        assert!(error["message"].as_str().unwrap().starts_with(says), "{error}");
    }
    let whole = r#"{"t":"msg","text":"\ud83c\udf89"}"#;
    alice.send_raw(Message::text(whole)).await.unwrap();
    assert_eq!(alice.wait_for_kind("msg").await["text"], "🎉");
}

#[tokio::test]
async fn names_follow_the_rules_of_http() {
    let stage = Stage::new(1, &[]).await;
    let room = stage.room("owner").await;
    for (raw, name) in names() {
        let mut client = stage.client().await;
        let join = json!({ "t": "join", "roomId": room.id, "token": raw });
        let answer = client.try_join(join).await;
        match name {
            Some(name) => assert_eq!(answer["me"], name, "{raw:?}"),
            None => assert_eq!(answer["code"], "VALIDATION_FAILED", "{raw:?}"),
        }
    }
}

#[tokio::test]
async fn joined_holds_the_latest_and_since_holds_the_missed() {
    let stage = Stage::new(
        1,
        &[("MESSAGES_PER_SECOND", "1000"), ("JOIN_HISTORY", "5"), ("RESUME_MAX", "8")],
    )
    .await;
    let room = stage.room("alice").await;
    let mut alice = stage.member(0, &room, &room.token).await;
    for number in 0..20 {
        alice.say(&room.id, &format!("text {number}")).await;
    }
    let ids = stage.redis.stream_ids(&room.id);
    let ids_in = |joined: &Value| ids_of(joined["messages"].as_array().unwrap());

    let mut bob = stage.client().await;
    let joined = bob.join(&room.id, "bob").await;
    assert_eq!(ids_in(&joined), ids[15..]);
    let token = joined["token"].as_str().unwrap();

    let missed = stage.client().await.resume(&room.id, token, &ids[14]).await;
    assert_eq!((ids_in(&missed), &missed["more"]), (ids[15..].to_vec(), &json!(false)));
    let all_that_fit = stage.client().await.resume(&room.id, token, &ids[11]).await;
    assert_eq!((ids_in(&all_that_fit), &all_that_fit["more"]), (ids[12..].to_vec(), &json!(false)));
    let nothing = stage.client().await.resume(&room.id, token, &ids[19]).await;
    assert_eq!((ids_in(&nothing), &nothing["more"]), (vec![], &json!(false)));

    let too_many = stage.client().await.resume(&room.id, token, &ids[2]).await;
    assert_eq!(too_many["more"], true);
    assert_eq!(ids_in(&too_many), ids[12..], "the latest, so that live messages follow on");
    let from_the_start = stage.client().await.resume(&room.id, token, "0-0").await;
    assert_eq!(from_the_start["more"], true);
}

#[tokio::test]
async fn more_is_true_when_what_was_missed_is_no_longer_kept() {
    let stage = Stage::new(1, &[("MESSAGES_PER_SECOND", "1000")]).await;
    let room = stage.room("alice").await;
    let mut alice = stage.member(0, &room, &room.token).await;
    for _ in 0..6 {
        alice.say(&room.id, "text").await;
    }
    let ids = stage.redis.stream_ids(&room.id);
    let key = format!("room:{}:messages", room.id);
    stage.redis.cmd(["XTRIM", &key, "MAXLEN", "2"]);

    let trimmed = stage.client().await.resume(&room.id, &room.token, &ids[1]).await;
    assert_eq!(ids_of(trimmed["messages"].as_array().unwrap()), ids[4..]);
    assert_eq!(trimmed["more"], true);
    let complete = stage.client().await.resume(&room.id, &room.token, &ids[4]).await;
    assert_eq!(complete["more"], false);
    stage.redis.cmd(["XTRIM", &key, "MAXLEN", "0"]);
    let emptied = stage.client().await.resume(&room.id, &room.token, &ids[4]).await;
    assert_eq!((&emptied["more"], &emptied["messages"]), (&json!(true), &json!([])));
}

#[tokio::test]
async fn frames_are_obeyed_in_the_order_they_are_sent() {
    let stage = Stage::new(1, &[]).await;
    let room = stage.room("alice").await;
    for turn in 0..5 {
        let mut client = stage.client().await;
        let msg = |key: &str| json!({ "t": "msg", "text": "hi", "key": key });
        client
            .send(json!({ "t": "join", "roomId": room.id, "token": format!("bot {turn}") }))
            .await;
        client.send(msg("in")).await;
        client.send(json!({ "t": "leave", "roomId": room.id })).await;
        client.send(msg("out")).await;
        client.expect("joined").await;
        assert_eq!(client.expect("msg").await["key"], "in", "what was said before is acknowledged");
        assert_eq!(client.expect_error("NOT_IN_ROOM").await["key"], "out");
    }
}

#[tokio::test]
async fn a_second_join_on_the_same_connection_is_answered_again() {
    let stage = Stage::new(1, &[]).await;
    let room = stage.room("alice").await;
    let mut alice = stage.member(0, &room, &room.token).await;
    let mut bob = stage.member(0, &room, "bob").await;
    alice.wait_for_kind("user_joined").await;
    let said = bob.say(&room.id, "hello").await;
    alice.wait_for_kind("msg").await;

    let joined = alice.join(&room.id, &room.token).await;
    assert_eq!((&joined["me"], &joined["token"]), (&json!("alice"), &json!(room.token)));
    assert_eq!(ids_of(joined["messages"].as_array().unwrap()), ids_of([&said]));
    let next = bob.say(&room.id, "once?").await;
    assert_eq!(alice.expect("msg").await["id"], next["id"]);
    assert_eq!(alice.until_pong().await, [] as [Value; 0], "the message came once");
    assert_eq!(bob.comings_and_goings(), []);
}

#[tokio::test]
async fn presence_and_read_are_told_when_they_change_and_only_then() {
    let stage = Stage::new(1, &[]).await;
    let room = stage.room("alice").await;
    let mut alice = stage.member(0, &room, &room.token).await;
    let mut bob = stage.member(0, &room, "bob").await;
    alice.expect("user_joined").await;
    let first = bob.say(&room.id, "one").await["id"].clone();
    let second = bob.say(&room.id, "two").await["id"].clone();
    for _ in 0..2 {
        alice.expect("msg").await;
    }

    let ping = async |bob: &Client, extra: Value| {
        let mut frame = json!({ "t": "ping" });
        frame.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        bob.send(frame).await;
    };
    let presence = |status: &str| json!({ "t": "presence", "roomId": room.id, "userId": "bob", "status": status });
    let read = |id: &Value| json!({ "t": "read", "roomId": room.id, "userId": "bob", "id": id });

    ping(&bob, json!({ "status": "away" })).await;
    assert_eq!(alice.next().await, presence("away"));
    for _ in 0..3 {
        ping(&bob, json!({ "status": "away" })).await;
        ping(&bob, json!({})).await;
    }
    ping(&bob, json!({ "read": second })).await;
    assert_eq!(alice.next().await, read(&second));
    ping(&bob, json!({ "read": first })).await;
    ping(&bob, json!({ "read": second })).await;
    ping(&bob, json!({ "status": "online" })).await;
    assert_eq!(alice.next().await, presence("online"), "read never goes back");

    let joined = stage.client().await.join(&room.id, &room.token).await;
    assert_eq!(joined["away"], json!([]));
}

#[tokio::test]
async fn away_only_when_all_connections_are() {
    let stage = Stage::new(2, &[]).await;
    let room = stage.room("alice").await;
    let mut alice = stage.member(0, &room, &room.token).await;
    let mut phone = stage.client().await;
    let token = phone.join(&room.id, "bob").await["token"].as_str().unwrap().to_owned();
    alice.expect("user_joined").await;
    let laptop = stage.member(1, &room, &token).await;

    phone.send(json!({ "t": "ping", "status": "away" })).await;
    phone.wait_for_kind("pong").await;
    // A heartbeat may be written a moment after its pong, so the pong does not prove the order; the
    // session's field does.
    let session = format!("user:{}:bob:session", room.id);
    crate::support::eventually(crate::support::DEADLINE, "phone is away", async || {
        let fields = stage.redis.cmd(["HVALS", &session]);
        fields.list().iter().any(|field| field.text().contains("away")).then_some(())
    })
    .await;
    laptop.send(json!({ "t": "ping", "status": "away" })).await;
    let away = json!({ "t": "presence", "roomId": room.id, "userId": "bob", "status": "away" });
    assert_eq!(alice.next().await, away);
    let joined = stage.member(1, &room, &room.token).await.seen.remove(0);
    assert_eq!(joined["away"], json!(["bob"]));

    laptop.send(json!({ "t": "ping", "status": "online" })).await;
    assert_eq!(alice.next().await["status"], "online");
    phone.send(json!({ "t": "ping", "status": "away" })).await;
    laptop.close().await;
    let gone = alice.wait_for_kind("presence").await;
    assert_eq!(gone["status"], "away", "the connection that was looking is closed");
}

#[tokio::test]
async fn what_was_read_waits_for_the_user_to_come_back() {
    let stage = Stage::new(1, &[]).await;
    let room = stage.room("alice").await;
    let mut alice = stage.member(0, &room, &room.token).await;
    let mut other = stage.member(0, &room, "bob").await;
    let id = alice.say(&room.id, "one").await["id"].clone();
    alice.send(json!({ "t": "ping", "roomId": room.id, "read": id })).await;
    other.wait_for_kind("read").await;
    alice.send(json!({ "t": "leave", "roomId": room.id })).await;
    other.wait_for_kind("user_left").await;

    stage.member(0, &room, &room.token).await;
    let rows = stage.http().get(&format!("/api/rooms/{}/members", room.id)).await.data(200);
    let alice = rows.as_array().unwrap().iter().find(|row| row["userId"] == "alice").unwrap();
    assert_eq!(alice["read"], id);
}

#[tokio::test]
async fn a_pong_comes_at_once_in_no_room_too() {
    let stage = Stage::new(1, &[]).await;
    let mut client = stage.client().await;
    client.send(json!({ "t": "ping", "status": "online" })).await;
    assert_eq!(client.next().await, json!({ "t": "pong" }));
}

#[tokio::test]
async fn errors_on_the_socket_speak_the_readers_language() {
    let stage = Stage::new(1, &[]).await;
    let addr = stage.nodes[0].addr();
    let mut korean = Client::connect_with(addr, &[("accept-language", "ko-KR")]).await.unwrap();
    let mut english = Client::connect_with(addr, &[("accept-language", "en")]).await.unwrap();
    let message = async |client: &mut Client| {
        client.send(json!({ "t": "join", "roomId": "zzzzzzzzzzzz", "token": "a" })).await;
        client.expect_error("ROOM_NOT_FOUND").await["message"].as_str().unwrap().to_owned()
    };
    assert!(message(&mut korean).await.chars().any(|c| ('가'..='힣').contains(&c)));
    assert!(message(&mut english).await.is_ascii());
}

#[tokio::test]
async fn a_silent_connection_is_closed_after_the_idle_timeout() {
    let stage = Stage::new(1, &[("IDLE_TIMEOUT", "500ms"), ("HEARTBEAT_INTERVAL", "250ms")]).await;
    let mut client = stage.client().await;
    client.closed().await;
}
