//! Messages that arrive while Redis is busy go to it together, but remain independent.

use futures_util::future::join_all;
use serde_json::json;

use crate::support::{Client, Room, Stage};

const SETTINGS: [(&str, &str); 2] = [("MESSAGES_PER_SECOND", "1000"), ("REDIS_TIMEOUT", "10s")];
/// Maximum number of other scripts that run meanwhile.
const OTHERS: u64 = 4;

/// Waits until the node has read everything that the client sent; needs no Redis.
async fn all_read(client: &mut Client) {
    client.until_pong().await;
}

fn texts(client: &Client) -> Vec<&str> {
    let messages = client.seen.iter().filter(|frame| frame["t"] == "msg");
    messages.map(|frame| frame["text"].as_str().unwrap()).collect()
}

async fn send(client: &Client, room: &Room, text: &str, key: &str) {
    client.send(json!({ "t": "msg", "roomId": room.id, "text": text, "key": key })).await;
}

/// Has a client send these texts with their keys in a row, while Redis hangs.
async fn say_in_a_row<T: AsRef<str>>(
    stage: &Stage,
    room: &Room,
    client: &mut Client,
    said: &[(T, T)],
) {
    stage.redis.freeze();
    for (text, key) in said {
        send(client, room, text.as_ref(), key.as_ref()).await;
    }
    all_read(client).await;
    stage.redis.thaw();
}

fn numbered(turn: usize, how_many: usize) -> Vec<(String, String)> {
    (0..how_many).map(|number| (format!("{turn} {number}"), format!("{turn} {number}"))).collect()
}

async fn hear(client: &mut Client, how_many: usize) {
    while texts(client).len() < how_many {
        client.next().await;
    }
}

#[tokio::test]
async fn what_many_say_at_once_takes_few_scripts() {
    let stage = Stage::new(1, &SETTINGS).await;
    let room = stage.room("owner").await;
    let mut clients = stage.guests(&room, 40).await;
    let before = stage.redis.scripts_run();
    stage.redis.freeze();
    for (number, client) in clients.iter().enumerate() {
        send(client, &room, "hi", &number.to_string()).await;
    }
    join_all(clients.iter_mut().map(all_read)).await;
    stage.redis.thaw();
    join_all(clients.iter_mut().map(|client| hear(client, 40))).await;

    let ids = stage.redis.stream_ids(&room.id);
    assert_eq!(ids.len(), 40);
    assert!(clients.iter().all(|client| client.message_ids(&room.id) == ids));
    let scripts = stage.redis.scripts_run() - before;
    // One for the first message, then eight messages in each.
    assert!(scripts <= 1 + 5 + OTHERS, "{scripts} scripts for 40 messages");
}

#[tokio::test]
async fn what_many_join_at_once_takes_few_scripts() {
    let stage = Stage::new(1, &SETTINGS).await;
    let room = stage.room("owner").await;
    let mut owner = stage.member(0, &room, &room.token).await;
    owner.say(&room.id, "before").await;
    let mut clients = join_all((0..40).map(|_| stage.client())).await;
    let before = stage.redis.scripts_run();
    stage.redis.freeze();
    for (number, client) in clients.iter_mut().enumerate() {
        client.send(json!({ "t": "join", "roomId": room.id, "token": format!("g{number}") })).await;
        all_read(client).await;
    }
    stage.redis.thaw();
    let joined = join_all(clients.iter_mut().map(|client| client.wait_for_kind("joined"))).await;
    owner.say(&room.id, "behind").await;
    join_all(clients.iter_mut().map(|client| hear(client, 1))).await;

    for frame in &joined {
        assert_eq!(frame["messages"][0]["text"], "before", "{frame}");
        assert!(frame["members"].as_array().unwrap().contains(&frame["me"]), "{frame}");
    }
    let scripts = stage.redis.scripts_run() - before;
    assert!(scripts <= 10 + OTHERS, "{scripts} scripts for 40 joins");
    // Whatever was in the snapshot is not told again, and what was not is told.
    for (client, frame) in clients.iter().zip(&joined) {
        let mut here: Vec<_> = frame["members"].as_array().unwrap().iter().collect();
        let came = client.seen.iter().filter(|frame| frame["t"] == "user_joined");
        here.extend(came.map(|frame| &frame["userId"]));
        assert_eq!(here.len(), 41, "{here:?}");
    }
}

#[tokio::test]
async fn what_one_says_in_a_row_takes_few_scripts_and_keeps_its_order() {
    let stage = Stage::new(1, &SETTINGS).await;
    let room = stage.room("owner").await;
    let mut alice = stage.member(0, &room, "alice").await;
    let before = stage.redis.scripts_run();
    let said = numbered(0, 40);
    say_in_a_row(&stage, &room, &mut alice, &said).await;
    hear(&mut alice, 40).await;
    assert!(texts(&alice).into_iter().eq(said.iter().map(|(text, _)| text)));
    let scripts = stage.redis.scripts_run() - before;
    assert!(scripts <= 1 + 5 + OTHERS, "{scripts} scripts for 40 messages");
}

/// A refused message gets its own error with its own key.
#[tokio::test]
async fn what_is_wrong_with_one_message_is_not_wrong_with_its_neighbours() {
    let stage = Stage::new(1, &SETTINGS).await;
    let room = stage.room("owner").await;
    let mut alice = stage.member(0, &room, "alice").await;
    alice.say_once(&room.id, "before", "k0").await;
    let long = "x".repeat(5_000);
    let said = [("alone", "k1"), ("again", "k0"), (&long, "k2"), ("good", "k3"), ("better", "k4")];
    say_in_a_row(&stage, &room, &mut alice, &said).await;
    hear(&mut alice, 5).await;
    let mut heard = texts(&alice);
    // The answer to the retry may come at any time.
    heard.remove(1 + heard[1..].iter().position(|text| *text == "before").unwrap());
    assert_eq!(heard, ["before", "alone", "good", "better"]);
    let errors: Vec<_> = alice.seen.iter().filter(|frame| frame["t"] == "error").collect();
    assert_eq!(errors.len(), 1);
    assert_eq!(
        (&errors[0]["code"], &errors[0]["key"]),
        (&json!("VALIDATION_FAILED"), &json!("k2"))
    );
    assert_eq!(stage.redis.stream_ids(&room.id).len(), 4);
}

/// Redis lost the connection: it is reported again, and its messages are stored once and in order.
#[tokio::test]
async fn what_a_forgotten_connection_says_in_a_row_is_stored_once_and_in_order() {
    let stage = Stage::new(1, &SETTINGS).await;
    let room = stage.room("owner").await;
    let mut alice = stage.member(0, &room, "alice").await;
    let session = format!("user:{}:alice:session", room.id);
    for turn in 0..5 {
        for field in stage.redis.texts(["HKEYS", &session]) {
            if field.starts_with("conn:") {
                stage.redis.cmd(["HDEL", &session, &field]);
            }
        }
        say_in_a_row(&stage, &room, &mut alice, &numbered(turn, 10)).await;
        hear(&mut alice, (turn + 1) * 10).await;
    }
    let said: Vec<_> = (0..50).map(|n| format!("{} {}", n / 10, n % 10)).collect();
    assert_eq!(texts(&alice), said);
    assert_eq!(stage.redis.stream_ids(&room.id).len(), 50);
}
