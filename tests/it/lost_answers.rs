//! A lost answer locks nobody out: a guest's session is provisional until the node hears from its
//! owner, and a client that chose the secret of its token can request the same token again.

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::support::{Answer, Client, DEADLINE, Room, Stage, eventually};

const SETTINGS: [(&str, &str); 3] =
    [("LEAVE_GRACE", "300ms"), ("PRESENCE_TTL", "2s"), ("SESSION_TTL", "10m")];
const SECRET: &str = "of_my-own-0123456789012345678901";
const ANOTHER: &str = "of-another-012345678901234567890";

fn join(room: &Room, name: &str, secret: &str) -> Value {
    json!({ "t": "join", "roomId": room.id, "token": name, "secret": secret })
}

/// Whether another client gets the name soon.
async fn becomes_free(stage: &Stage, room: &Room, name: &str) {
    let mut stranger = stage.client().await;
    eventually(DEADLINE, "a free name", async || {
        let answer = stranger.try_join(join(room, name, ANOTHER)).await;
        (answer["t"] == "joined").then_some(())
    })
    .await;
}

async fn is_taken(stage: &Stage, room: &Room, name: &str) {
    let mut stranger = stage.client().await;
    let answer = stranger.try_join(join(room, name, ANOTHER)).await;
    assert_eq!(answer["code"], "NAME_TAKEN", "{name}: {answer}");
}

/// Waits until the grace of this user has ended.
async fn gone(watcher: &mut Client, name: &str) {
    let left = ("user_left".to_owned(), name.to_owned());
    // The event may have arrived while the test waited for another one.
    if !watcher.comings_and_goings().contains(&left) {
        let is_left = |frame: &Value| frame["t"] == "user_left" && frame["userId"] == name;
        watcher.wait_for("user_left", is_left).await;
    }
}

#[tokio::test]
async fn a_session_of_which_nobody_is_known_to_have_heard_ends_with_the_grace() {
    let stage = Stage::new(1, &SETTINGS).await;
    let room = stage.room("owner").await;
    let mut watcher = stage.member(0, &room, &room.token).await;
    watcher.keep_alive(std::time::Duration::from_millis(200));

    // Connections that end without a text frame, and one whose frame was sent before the answer
    // arrived.
    drop(stage.member(0, &room, "silent").await);
    let hasty = stage.client().await;
    let early = json!({ "t": "ping", "status": "away" });
    let frames = [json!({ "t": "join", "roomId": room.id, "token": "hasty" }), early];
    hasty.send_all(&frames.map(|frame| Message::text(frame.to_string()))).await.unwrap();
    watcher.wait_for("hasty", |frame| frame["userId"] == "hasty").await;
    drop(hasty);
    for name in ["silent", "hasty"] {
        gone(&mut watcher, name).await;
        becomes_free(&stage, &room, name).await;
        let is_it = |(_, user): &&(String, String)| user == name;
        let moves = watcher.comings_and_goings().iter().filter(is_it).count();
        assert!(moves >= 2, "one came and left, another may have come");
    }
}

#[tokio::test]
async fn whoever_was_heard_after_its_answer_keeps_the_name() {
    let stage = Stage::new(1, &SETTINGS).await;
    let room = stage.room("owner").await;
    let mut watcher = stage.member(0, &room, &room.token).await;
    watcher.keep_alive(std::time::Duration::from_millis(200));

    // Confirmed by any text frame, by its token over HTTP, or by a join with its token on another
    // connection.
    let mut pings = stage.client().await;
    let token = pings.join(&room.id, "pings").await["token"].clone();
    pings.until_pong().await;
    let rubbish = stage.member(0, &room, "rubbish").await;
    rubbish.send_raw(Message::text("{")).await.unwrap();
    let mut posts = stage.client().await;
    let posting = posts.join(&room.id, "posts").await["token"].as_str().unwrap().to_owned();
    stage.http().say(&room.id, &posting, json!({ "text": "hi" })).await.data(201);
    let mut moves = stage.client().await;
    let moving = moves.join(&room.id, "moves").await["token"].as_str().unwrap().to_owned();
    drop(stage.member(0, &room, &moving).await);
    for client in [pings, rubbish, posts, moves] {
        client.close().await;
    }
    for _ in 0..4 {
        watcher.wait_for_kind("user_left").await;
    }
    for name in ["pings", "rubbish", "posts", "moves"] {
        is_taken(&stage, &room, name).await;
    }
    stage.member(0, &room, token.as_str().unwrap()).await;
}

/// Long before the next heartbeat reports it, because the node may die in between.
#[tokio::test]
async fn redis_soon_knows_whose_owner_was_heard() {
    let stage = Stage::new(1, &[("PRESENCE_TTL", "10m"), ("SESSION_TTL", "30m")]).await;
    let rooms = [stage.room("owner").await, stage.room("owner").await];
    let frames = [
        json!({ "t": "ping" }).to_string(),
        json!({ "t": "ping", "status": "away" }).to_string(),
        json!({ "t": "msg", "roomId": rooms[0].id, "text": "hi" }).to_string(),
        "no frame".to_owned(),
    ];
    for (turn, frame) in frames.into_iter().enumerate() {
        let mut guest = stage.client().await;
        for room in &rooms {
            guest.join(&room.id, &format!("guest {turn}")).await;
        }
        guest.send_raw(Message::text(frame)).await.unwrap();
        for room in &rooms {
            let session = format!("user:{}:guest {turn}:session", room.id);
            eventually(DEADLINE, "a proof", async || {
                let provisional = stage.redis.cmd(["HEXISTS", &session, "provisional"]).int();
                (provisional == 0).then_some(())
            })
            .await;
            assert!(stage.redis.cmd(["PTTL", &session]).int() > 29 * 60_000);
        }
        guest.close().await;
    }
}

#[tokio::test]
async fn a_join_is_repeated_with_its_secret_from_any_connection() {
    let stage = Stage::new(2, &SETTINGS).await;
    let room = stage.room("owner").await;
    let mut tokens = Vec::new();
    let mut clients = Vec::new();
    for turn in 0..6 {
        let mut client = stage.nodes[turn % 2].client().await;
        if turn % 3 == 0 {
            // The answer is lost: the connection is reset at once, or nobody notices that it is
            // dead.
            client.send(join(&room, "me", SECRET)).await;
            if turn == 0 {
                continue;
            }
        } else {
            let joined = client.try_join(join(&room, "me", SECRET)).await;
            tokens.push(joined["token"].as_str().unwrap_or_else(|| panic!("{joined}")).to_owned());
        }
        clients.push(client);
    }
    assert!(tokens.iter().all(|token| token.ends_with(SECRET) && *token == tokens[0]));
    is_taken(&stage, &room, "me").await;
    // On the same connection too.
    let mut last = clients.pop().unwrap();
    assert_eq!(last.try_join(join(&room, "me", SECRET)).await["token"], json!(tokens[0]));
    last.say(&room.id, "it is me").await;
    drop((clients, last));
    eventually(DEADLINE, "the end of the grace", async || {
        (stage.members_in_redis(&room) == ["owner"]).then_some(())
    })
    .await;
    is_taken(&stage, &room, "me").await;
    stage.member(1, &room, &tokens[0]).await;
}

#[tokio::test]
async fn a_secret_that_could_be_guessed_is_refused() {
    let stage = Stage::new(1, &[]).await;
    let room = stage.room("owner").await;
    let mut client = stage.client().await;
    let long = "x".repeat(65);
    let bad = [
        "",
        "short",
        "twenty-one-characters",
        "with a blank in between them",
        "점.점.점.점.점.점.점.점",
        &long,
    ];
    for secret in bad {
        let answer = client.try_join(join(&room, "me", secret)).await;
        assert_eq!(answer["code"], "VALIDATION_FAILED", "{secret}");
        assert!(answer["message"].as_str().unwrap().starts_with("secret: "), "{answer}");
    }
    let number = json!({ "t": "join", "roomId": room.id, "token": "me", "secret": 7 });
    assert_eq!(client.try_join(number).await["code"], "VALIDATION_FAILED");
    for secret in ["x".repeat(22), "-_".repeat(32)] {
        let mut client = stage.client().await;
        let name = &secret[..2];
        let token = client.try_join(join(&room, name, &secret)).await["token"].clone();
        assert!(token.as_str().unwrap().ends_with(&secret));
    }
    // Beside a token it has no effect.
    let mut owner = stage.client().await;
    let joined = owner.try_join(join(&room, &room.token, SECRET)).await;
    assert_eq!(joined["token"], json!(room.token));
}

#[tokio::test]
async fn a_node_that_died_takes_no_names_with_it() {
    let mut stage = Stage::new(2, &SETTINGS).await;
    let room = stage.room("owner").await;
    let mut watcher = stage.member(0, &room, &room.token).await;
    watcher.keep_alive(std::time::Duration::from_millis(200));
    let silent = stage.member(1, &room, "silent").await;
    stage.nodes[1].kill().await;
    gone(&mut watcher, "silent").await;
    becomes_free(&stage, &room, "silent").await;
    drop(silent);
}

const KEY: &str = "7d5f9a1c-key-of-a-request";

/// Posts with an idempotency key.
async fn post_once(stage: &Stage, node: usize, path: &str, body: &Value, key: &str) -> Answer {
    let http = stage.nodes[node].http();
    let request = http.request(Method::POST, path).header("Idempotency-Key", key).json(body);
    http.send(request).await
}

#[tokio::test]
async fn a_session_that_is_asked_for_again_with_its_key_is_the_same() {
    let stage = Stage::new(2, &[]).await;
    let room = stage.room("owner").await;
    let path = format!("/api/rooms/{}/sessions", room.id);
    let body = json!({ "name": "deploy:bot" });
    let tries = (0..12).map(|turn| post_once(&stage, turn % 2, &path, &body, KEY));
    let answers: Vec<_> = join_all(tries).await.iter().map(|answer| answer.data(201)).collect();
    assert!(answers.iter().all(|data| *data == answers[0]), "{answers:?}");
    let token = answers[0]["token"].as_str().unwrap();
    stage.http().say(&room.id, token, json!({ "text": "hi" })).await.data(201);

    let other = json!({ "name": "another" });
    post_once(&stage, 0, &path, &other, KEY).await.invalid("Idempotency-Key");
    let stranger = post_once(&stage, 0, &path, &body, "0123456789abcdef").await;
    stranger.error(409, "NAME_TAKEN");
    for bad in ["short", &"x".repeat(65), "열여섯 글자가 넘는 한글로 된 열쇠"] {
        post_once(&stage, 0, &path, &other, bad).await.invalid("Idempotency-Key");
    }
    // In another room the same key is a different one.
    let elsewhere = stage.room("owner").await;
    let path = format!("/api/rooms/{}/sessions", elsewhere.id);
    assert_ne!(post_once(&stage, 0, &path, &body, KEY).await.data(201)["token"], json!(token));
}

#[tokio::test]
async fn a_room_that_is_asked_for_again_with_its_key_is_the_same_and_does_not_come_back() {
    let settings = [("TRUSTED_PROXIES", "127.0.0.1")];
    let stage = Stage::new(2, &settings).await;
    let body = json!({ "creatorName": "owner", "topic": "once" });
    let tries = (0..6).map(|turn| post_once(&stage, turn % 2, "/api/rooms", &body, KEY));
    let answers = join_all(tries).await;
    let data = |answer: &Answer| ["roomId", "token"].map(|field| answer.data(201)[field].clone());
    let [id, token] = data(&answers[0]);
    assert!(answers.iter().all(|answer| data(answer) == [id.clone(), token.clone()]));
    // The same key with another host name of the node.
    let other = stage.nodes[1].http();
    let named = other.request(Method::POST, "/api/rooms").header("Idempotency-Key", KEY);
    let named = other.send(named.header("Host", "rooms.example").json(&body)).await;
    assert_eq!(data(&named), [id.clone(), token.clone()]);
    let link = named.data(201)["link"].as_str().unwrap().to_owned();
    assert!(link.starts_with("http://rooms.example/r/"), "{link}");
    let rooms = stage.redis.texts(["KEYS", "room:*:members"]);
    assert_eq!(rooms.len(), 1, "{rooms:?}");
    let kept = stage.redis.texts(["KEYS", "room::once:*"]);
    let left = stage.redis.cmd(["PTTL", &kept[0]]).int();
    assert!(kept.len() == 1 && (1..=600_000).contains(&left), "{kept:?} {left}");
    let stored = format!("{:?}", stage.redis.cmd(["HGETALL", &kept[0]]));
    for secret in [KEY, id.as_str().unwrap(), token.as_str().unwrap()] {
        assert!(!stored.contains(secret) && !kept[0].contains(secret), "{stored}");
    }

    // Another address is another client.
    let http = stage.http();
    let request = http.request(Method::POST, "/api/rooms").header("Idempotency-Key", KEY);
    let request = request.header("X-Forwarded-For", "192.0.2.7").json(&body);
    assert_ne!(data(&http.send(request).await)[0], id);

    let id = id.as_str().unwrap();
    for key in stage.redis.texts(["KEYS", &format!("*{id}*")]) {
        stage.redis.cmd(["DEL", &key]);
    }
    assert_eq!(data(&post_once(&stage, 0, "/api/rooms", &body, KEY).await)[0], id);
    http.get(&format!("/api/rooms/{id}")).await.error(404, "ROOM_NOT_FOUND");
}

/// The first attempt was interrupted between its two changes, or before both.
#[tokio::test]
async fn a_promise_that_was_not_kept_is_kept_by_the_retry() {
    let stage = Stage::new(1, &[]).await;
    let body = json!({ "creatorName": "owner" });
    let first = post_once(&stage, 0, "/api/rooms", &body, KEY).await.data(201);
    let id = first["roomId"].as_str().unwrap();
    let promise = stage.redis.texts(["KEYS", "room::once:*"]).remove(0);
    stage.redis.cmd(["HDEL", &promise, "kept"]);
    let again = post_once(&stage, 0, "/api/rooms", &body, KEY).await.data(201);
    assert_eq!(again, first, "the room was there");
    stage.redis.cmd(["HDEL", &promise, "kept"]);
    for key in stage.redis.texts(["KEYS", &format!("*{id}*")]) {
        stage.redis.cmd(["DEL", &key]);
    }
    assert_eq!(post_once(&stage, 0, "/api/rooms", &body, KEY).await.data(201), first);
    stage
        .member(
            0,
            &Room { id: id.to_owned(), token: String::new() },
            first["token"].as_str().unwrap(),
        )
        .await;
    // A promise that linkroom did not write is an error of this request only.
    stage.redis.cmd(["HSET", &promise, "sealed", "rubbish"]);
    post_once(&stage, 0, "/api/rooms", &body, KEY).await.error(500, "INTERNAL");
    stage.room("another").await;
}
