//! Users of an embedding application: the same `sub` is the same user, the claims of a JWT apply
//! until it expires, and without guests a JWT is required.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{
    Answer, Client, DEADLINE, JWT_SECRET, Key, KeyServer, Listener, Reading, Room, Stage, claims,
    eventually, jwt, key_pair, now,
};

const WITH_SECRET: (&str, &str) = ("JWT_SECRET", JWT_SECRET);

/// A JWT of a user for one room.
fn ticket(sub: &str, room: &Room, changes: Value) -> String {
    jwt(&claims(sub, &room.id, changes))
}

async fn ask(stage: &Stage, method: Method, path: &str, token: &str, body: Value) -> Answer {
    let http = stage.http();
    http.send(http.request(method, path).bearer_auth(token).json(&body)).await
}

async fn read(stage: &Stage, path: &str, token: &str) -> Answer {
    let http = stage.http();
    http.send(http.request(Method::GET, path).bearer_auth(token)).await
}

/// The answer to a refused join.
async fn refused(mut client: Client, room: &Room, token: &str) -> Value {
    let join = json!({ "t": "join", "roomId": room.id, "token": token });
    client.try_join(join).await
}

/// The joins and leaves of a user that a client was told of.
fn moves(client: &Client, user: &str) -> Vec<String> {
    let moves = client.comings_and_goings().into_iter();
    moves.filter(|(_, who)| who == user).map(|(what, _)| what).collect()
}

#[tokio::test]
async fn the_same_sub_is_the_same_user_under_its_first_name() {
    let stage = Stage::new(2, &[WITH_SECRET, ("LEAVE_GRACE", "0s")]).await;
    let room = stage.room("alice").await;
    let mut alice = stage.member(0, &room, &room.token).await;
    let mut first = stage.nodes[0].client().await;
    let joined = first.join(&room.id, &ticket("u-1", &room, json!({ "name": "Ann" }))).await;
    assert_eq!((&joined["me"], &joined["token"]), (&json!("Ann"), &Value::Null));
    alice.wait_for_kind("user_joined").await;
    let renamed = ticket("u-1", &room, json!({ "name": "Bea" }));
    let mut second = stage.nodes[1].client().await;
    assert_eq!(second.join(&room.id, &renamed).await["me"], "Ann");
    let said = stage.http().say(&room.id, &renamed, json!({ "text": "hi" })).await.data(201);
    assert_eq!(said["from"], "Ann");
    // Another `sub` is another user, even with the same name.
    let other = ticket("u-2", &room, json!({ "name": "Ann" }));
    assert_eq!(refused(stage.client().await, &room, &other).await["code"], "NAME_TAKEN");
    assert_eq!(refused(stage.client().await, &room, "Ann").await["code"], "NAME_TAKEN");
    stage.http().say(&room.id, &other, json!({ "text": "hi" })).await.error(409, "NAME_TAKEN");
    let as_alice = ticket("u-2", &room, json!({ "name": "alice" }));
    assert_eq!(refused(stage.client().await, &room, &as_alice).await["code"], "NAME_TAKEN");
    let sessions = format!("/api/rooms/{}/sessions", room.id);
    stage.http().post(&sessions, json!({ "name": "Ann" })).await.error(409, "NAME_TAKEN");

    // One leave, after the last of its connections.
    first.close().await;
    second.send(json!({ "t": "leave", "roomId": room.id })).await;
    let left = alice.wait_for_kind("user_left").await;
    assert_eq!(left["userId"], "Ann");
    assert_eq!(moves(&alice, "Ann"), ["user_joined", "user_left"]);
    // The session continues with its name; when it has ended, the next one may have another name.
    assert_eq!(second.join(&room.id, &renamed).await["me"], "Ann");
    let member = format!("/api/rooms/{}/members/Ann", room.id);
    stage.http().delete(&member, &renamed).await.data(200);
    second.wait_for_kind("removed").await;
    assert_eq!(second.join(&room.id, &renamed).await["me"], "Bea");
    let subjects = format!("room:{}:subjects", room.id);
    assert_eq!(stage.redis.texts(["HVALS", &subjects]), ["Bea"]);
    assert!(stage.redis.cmd(["PTTL", &subjects]).int() > 0);
}

#[tokio::test]
async fn whom_a_jwt_names_makes_rooms_and_keeps_order_where_it_says_so() {
    let stage = Stage::new(1, &[WITH_SECRET]).await;
    let maker = jwt(&claims("maker", "*", json!({ "name": "Mia" })));
    let made = ask(&stage, Method::POST, "/api/rooms", &maker, json!({})).await.data(201);
    assert_eq!(made["token"], Value::Null);
    let room = Room { id: made["roomId"].as_str().unwrap().to_owned(), token: maker.clone() };
    let path = format!("/api/rooms/{}", room.id);
    let looked = stage.http().get(&path).await.data(200);
    assert_eq!((&looked["creator"], &looked["members"]), (&json!("Mia"), &json!(["Mia"])));
    // A retry makes no second one.
    let http = stage.http();
    let retried = async || {
        let request = http.request(Method::POST, "/api/rooms").bearer_auth(&maker);
        let request = request.header("idempotency-key", "a key of sixteen").json(&json!({}));
        http.send(request).await.data(201)
    };
    let (first, second) = (retried().await, retried().await);
    assert_eq!((&first, &first["token"]), (&second, &Value::Null));
    // A JWT of one room makes no other, and nobody makes one without a name.
    let only_here = ticket("maker", &room, json!({}));
    let elsewhere = ask(&stage, Method::POST, "/api/rooms", &only_here, json!({})).await;
    elsewhere.error(401, "INVALID_TOKEN");
    stage.http().post("/api/rooms", json!({})).await.invalid("creatorName");
    ask(&stage, Method::POST, "/api/rooms", &maker, json!({ "ttl": 1 })).await.invalid("ttl");

    let guest = ticket("guest", &room, json!({}));
    let lock = json!({ "locked": true });
    ask(&stage, Method::PATCH, &path, &guest, lock.clone()).await.error(403, "FORBIDDEN");
    ask(&stage, Method::PATCH, &path, &only_here, lock.clone()).await.data(200);
    let newcomer = ticket("newcomer", &room, json!({}));
    assert_eq!(refused(stage.client().await, &room, &newcomer).await["code"], "ROOM_LOCKED");
    stage.http().say(&room.id, &newcomer, json!({ "text": "x" })).await.error(403, "ROOM_LOCKED");
    read(&stage, &format!("{path}/messages"), &newcomer).await.error(401, "INVALID_TOKEN");
    read(&stage, &format!("{path}/messages"), &guest).await.data(200);
    let moderator = ticket("moderator", &room, json!({ "creator": true }));
    read(&stage, &format!("{path}/messages"), &moderator).await.data(200);
    assert_eq!(read(&stage, &path, &moderator).await.data(200)["bans"], 0);
    assert_eq!(read(&stage, &path, &guest).await.data(200)["bans"], Value::Null);
    let mut client = stage.client().await;
    assert_eq!(client.join(&room.id, &moderator).await["me"], "moderator");
    let ban = format!("{path}/members/guest?ban=true");
    stage.http().delete(&ban, &guest).await.error(403, "FORBIDDEN");
    stage.http().delete(&ban, &moderator).await.data(200);
    stage.http().delete(&format!("{path}/bans"), &moderator).await.data(200);
    let said = stage.http().say(&room.id, &maker, json!({ "text": "x" })).await.data(201);
    let message = format!("{path}/messages/{}", said["id"].as_str().unwrap());
    stage.http().delete(&message, &moderator).await.data(200);
    stage.http().delete(&path, &moderator).await.data(200);
    assert_eq!(stage.redis.texts(["KEYS", &format!("*{}*", room.id)]), [""; 0]);
}

#[tokio::test]
async fn every_kind_of_wrong_jwt_is_refused_everywhere_with_its_reason_and_is_in_no_log() {
    let stage = Stage::new(1, &[WITH_SECRET]).await;
    let room = stage.room("alice").await;
    let good = |changes| claims("u-1", &room.id, changes);
    let hs256 = json!({ "alg": "HS256" });
    let other = Key::Secret("another secret of at least thirty-two".to_owned());
    let ours = Key::Secret(JWT_SECRET.to_owned());
    let unsigned = |alg: &str| {
        let whole = ours.sign(json!({ "alg": alg }), &good(json!({})));
        whole.rsplit_once('.').map(|(said, _)| format!("{said}.")).unwrap()
    };
    let wrong = [
        ("jwt_expired", jwt(&good(json!({ "exp": now() - 65 }))), "expired", "만료"),
        ("jwt_not_yet_valid", jwt(&good(json!({ "nbf": now() + 90 }))), "not valid yet", "아직"),
        ("jwt_signature", other.sign(hs256.clone(), &good(json!({}))), "signature", "서명"),
        ("jwt_algorithm", unsigned("none"), "algorithm", "알고리즘"),
        (
            "jwt_algorithm",
            ours.sign(json!({ "alg": "HS512" }), &good(json!({}))),
            "algorithm",
            "알고리즘",
        ),
        ("jwt_room", jwt(&claims("u-1", "elsewhere", json!({}))), "another room", "다른 방"),
        ("jwt_name", jwt(&good(json!({ "name": "x".repeat(33) }))), "name", "이름"),
        ("jwt_claims", jwt(&good(json!({ "exp": null }))), "needs sub", "있어야"),
        ("jwt_claims", jwt(&good(json!({ "sub": null }))), "needs sub", "있어야"),
        ("jwt_malformed", format!("{}AA", jwt(&good(json!({})))), "cannot be read", "읽을 수"),
    ];
    for (reason, token, english, korean) in &wrong {
        let series = format!("linkroom_jwts_refused_total{{reason=\"{reason}\"}}");
        let before = Reading::of(&stage.nodes[0]).await.value(&series);
        let error = refused(stage.client().await, &room, token).await;
        assert_eq!(error["code"], "INVALID_TOKEN", "{reason}: {error}");
        assert!(error["message"].as_str().unwrap().contains(english), "{reason}: {error}");
        let said = stage.http().say(&room.id, token, json!({ "text": "x" })).await;
        let error = said.error(401, "INVALID_TOKEN");
        assert!(error["details"]["token"].as_str().unwrap().contains(english), "{error}");
        let sessions = format!("/api/rooms/{}/sessions", room.id);
        let korean_please = stage.http().request(Method::POST, &sessions).bearer_auth(token);
        let korean_please = korean_please.header("accept-language", "ko").json(&json!({}));
        let error = stage.http().send(korean_please).await.error(401, "INVALID_TOKEN");
        assert!(error["details"]["token"].as_str().unwrap().contains(korean), "{error}");
        let body = json!({ "creatorName": "x" });
        let made = ask(&stage, Method::POST, "/api/rooms", token, body).await;
        made.error(401, "INVALID_TOKEN");
        for path in ["", "/messages", "/members", "/events"] {
            let path = format!("/api/rooms/{}{path}", room.id);
            read(&stage, &path, token).await.error(401, "INVALID_TOKEN");
        }
        let after = Reading::of(&stage.nodes[0]).await.value(&series);
        assert!(after >= before + 7.0, "{reason}: {before} {after}");
        let log = eventually(DEADLINE, "the reason in the log", async || {
            Some(stage.nodes[0].log()).filter(|log| log.contains(reason))
        })
        .await;
        assert!(token.split('.').all(|part| part.len() < 20 || !log.contains(part)), "{log}");
    }
    // Anything that is not a JWT is a nickname, even an unusual one.
    let error = refused(stage.client().await, &room, "a.b.c").await;
    assert_eq!(error["t"], "joined");
}

#[tokio::test]
async fn a_public_key_takes_what_its_own_pair_signed_by_its_own_algorithm() {
    for (algorithm, another) in [("RS256", "ES256"), ("ES256", "EdDSA"), ("EdDSA", "RS256")] {
        let mut stage = Stage::new(0, &[]).await;
        let (key, public) = key_pair(stage.env.path(), algorithm);
        let pem = std::fs::read_to_string(&public).unwrap();
        stage.add_node(&[("JWT_PUBLIC_KEY", public.to_str().unwrap())]).await;
        let room = stage.room("alice").await;
        let said = claims("u-1", &room.id, json!({}));
        let header = |alg: &str| json!({ "alg": alg, "typ": "JWT", "kid": "any" });
        let mut client = stage.client().await;
        assert_eq!(client.join(&room.id, &key.sign(header(algorithm), &said)).await["me"], "u-1");
        // The public key is not secret, and its algorithm is not that of another key.
        let confused = Key::Secret(pem.clone()).sign(header("HS256"), &said);
        let der = Key::Secret(pem.trim().to_owned()).sign(header("HS256"), &said);
        let renamed = Key::Secret(pem).sign(header(algorithm), &said);
        let (stranger, _) = key_pair(stage.env.path(), another);
        let strange = stranger.sign(header(another), &said);
        let posing = stranger.sign(header(algorithm), &said);
        for wrong in [confused, der, renamed, strange, posing] {
            let error = refused(stage.client().await, &room, &wrong).await;
            assert_eq!(error["code"], "INVALID_TOKEN", "{algorithm}: {error}");
        }
    }
}

#[tokio::test]
async fn without_guests_nobody_comes_without_a_jwt() {
    let stage = Stage::new(1, &[WITH_SECRET, ("GUESTS", "off")]).await;
    let http = stage.http();
    let error = http.post("/api/rooms", json!({ "creatorName": "eve" })).await;
    assert!(error.error(403, "FORBIDDEN")["details"]["token"].as_str().unwrap().contains("Guests"));
    let maker = jwt(&claims("maker", "*", json!({})));
    let made = ask(&stage, Method::POST, "/api/rooms", &maker, json!({})).await.data(201);
    let room = Room { id: made["roomId"].as_str().unwrap().to_owned(), token: String::new() };
    let path = format!("/api/rooms/{}", room.id);
    let session = http.post(&format!("{path}/sessions"), json!({ "name": "eve" })).await;
    session.error(403, "FORBIDDEN");
    for token in ["eve", "lr_ZXZl.aaaaaaaaaaaaaaaaaaaaaa", "lr_x"] {
        assert_eq!(refused(stage.client().await, &room, token).await["code"], "FORBIDDEN");
    }
    for read_path in ["/messages", "/members", "/events"] {
        let read_path = format!("{path}{read_path}");
        http.get(&read_path).await.error(401, "INVALID_TOKEN");
        let token = "lr_ZXZl.aaaaaaaaaaaaaaaaaaaaaa";
        read(&stage, &read_path, token).await.error(401, "INVALID_TOKEN");
    }
    http.get(&path).await.data(200);
    let reader = ticket("reader", &room, json!({}));
    read(&stage, &format!("{path}/messages"), &reader).await.data(200);
    read(&stage, &format!("{path}/members"), &reader).await.data(200);
    let mut listener = Listener::open_as(&http, &room.id, &reader).await;
    let token = ticket("bot", &room, json!({ "name": "bot" }));
    let session = ask(&stage, Method::POST, &format!("{path}/sessions"), &token, json!({})).await;
    assert_eq!(session.data(201), json!({ "userId": "bot", "token": null }));
    http.say(&room.id, &token, json!({ "text": "beep" })).await.data(201);
    assert_eq!(listener.wait_for("msg").await.data["from"], "bot");
    // A reader has no session, and takes no name.
    assert!(stage.redis.texts(["KEYS", "*:reader:session"]).is_empty());
}

#[tokio::test]
async fn a_jwt_that_ends_ends_its_connections_and_no_others() {
    let stage = Stage::new(1, &[WITH_SECRET, ("LEAVE_GRACE", "30s")]).await;
    let room = stage.room("alice").await;
    let mut alice = stage.member(0, &room, &room.token).await;
    let short = ticket("u-1", &room, json!({ "name": "Ann", "exp": now() - 54 }));
    let (mut ends, mut renews) = (stage.client().await, stage.client().await);
    ends.join(&room.id, &short).await;
    renews.join(&room.id, &short).await;
    let mut listener = Listener::open_as(&stage.http(), &room.id, &short).await;
    let fresh = ticket("u-1", &room, json!({ "name": "Ann" }));
    renews.join(&room.id, &fresh).await;
    let told = ends.wait_for_kind("removed").await;
    assert_eq!(told, json!({ "t": "removed", "roomId": room.id, "reason": "expired" }));
    assert_eq!(listener.wait_for("removed").await.data["reason"], "expired");
    assert!(listener.next().await.unwrap().is_none(), "the answer ends");
    ends.send(json!({ "t": "msg", "roomId": room.id, "text": "late" })).await;
    ends.expect_error("NOT_IN_ROOM").await;
    renews.say(&room.id, "still here").await;
    // The old JWT is refused; with a new one it is the same user, who has not left.
    let again = json!({ "t": "join", "roomId": room.id, "token": short });
    assert_eq!(ends.try_join(again).await["code"], "INVALID_TOKEN");
    assert_eq!(ends.join(&room.id, &fresh).await["me"], "Ann");
    assert_eq!(refused(stage.client().await, &room, &short).await["code"], "INVALID_TOKEN");
    alice.say(&room.id, "settled").await;
    assert_eq!(moves(&alice, "Ann"), ["user_joined"]);
}

#[tokio::test]
async fn an_empty_redis_changes_nobody() {
    let stage = Stage::new(1, &[WITH_SECRET, ("HEARTBEAT_INTERVAL", "500ms")]).await;
    let room = stage.room("alice").await;
    let mut ann = stage.client().await;
    ann.join(&room.id, &ticket("u-1", &room, json!({ "name": "Ann" }))).await;
    stage.redis.cmd(["FLUSHALL"]);
    // The room is restored as soon as a user who may join requests it.
    let renamed = ticket("u-1", &room, json!({ "name": "Bea" }));
    assert_eq!(stage.client().await.join(&room.id, &renamed).await["me"], "Ann");
    eventually(DEADLINE, "the one session", async || {
        let found = stage.redis.texts(["KEYS", "*:session"]);
        (found == [format!("user:{}:Ann:session", room.id)]).then_some(())
    })
    .await;
}

const PRIVATE: (&str, &str) = ("WEBHOOK_ALLOW_PRIVATE", "on");

/// A JWT of a user for a room, signed with the key with this name.
fn signed(key: &Key, algorithm: &str, id: Option<&str>, room: &Room) -> String {
    let header = json!({ "alg": algorithm, "kid": id });
    key.sign(header, &claims("u-1", &room.id, json!({})))
}

#[tokio::test]
async fn keys_that_are_published_come_and_go_and_stay_while_nobody_answers() {
    let mut stage = Stage::new(0, &[]).await;
    let [rsa, ec, ed] =
        ["RS256", "ES256", "EdDSA"].map(|algorithm| key_pair(stage.env.path(), algorithm).0);
    let shared = Key::Secret(JWT_SECRET.to_owned());
    let server = KeyServer::start(200, vec![rsa.jwk("r"), ec.jwk("e"), shared.jwk("s")]).await;
    stage.add_node(&[("JWT_JWKS_URL", &server.url()), PRIVATE]).await;
    let read_keys = async |count: f64| {
        eventually(DEADLINE, "the keys", async || {
            let reading = Reading::of(&stage.nodes[0]).await;
            (reading.value("linkroom_jwks_keys") == count).then_some(())
        })
        .await;
    };
    read_keys(2.0).await;
    let room = stage.room("alice").await;
    let answer = async |token: String| {
        let error = refused(stage.client().await, &room, &token).await;
        error["code"].as_str().unwrap_or("joined").to_owned()
    };
    assert_eq!(answer(signed(&rsa, "RS256", Some("r"), &room)).await, "joined");
    assert_eq!(answer(signed(&ec, "ES256", Some("e"), &room)).await, "joined");
    assert_eq!(answer(signed(&ec, "ES256", None, &room)).await, "joined");
    // A key with another key's name, and a secret that everybody can read.
    assert_eq!(answer(signed(&ec, "ES256", Some("r"), &room)).await, "INVALID_TOKEN");
    assert_eq!(answer(signed(&shared, "HS256", Some("r"), &room)).await, "INVALID_TOKEN");
    assert_eq!(server.asked(), 1, "its keys are known");

    // A new key is found at once; an unknown one is not requested repeatedly.
    server.answer(200, vec![ed.jwk("new")]);
    assert_eq!(answer(signed(&ed, "EdDSA", Some("new"), &room)).await, "joined");
    assert_eq!(answer(signed(&rsa, "RS256", Some("r"), &room)).await, "INVALID_TOKEN");
    for _ in 0..20 {
        assert_eq!(answer(signed(&ed, "EdDSA", Some("none"), &room)).await, "INVALID_TOKEN");
    }
    assert_eq!(server.asked(), 2);
    let reading = Reading::of(&stage.nodes[0]).await;
    assert_eq!(reading.value("linkroom_jwks_keys"), 1.0);
    assert_eq!(reading.value("linkroom_jwts_refused_total{reason=\"jwt_key\"}"), 21.0);

    // A failure keeps the keys.
    server.answer(500, Vec::new());
    eventually(DEADLINE * 2, "a failed reading", async || {
        answer(signed(&ed, "EdDSA", Some("none"), &room)).await;
        let reading = Reading::of(&stage.nodes[0]).await;
        (reading.value("linkroom_jwks_reads_total{outcome=\"failed\"}") > 0.0).then_some(())
    })
    .await;
    assert_eq!(answer(signed(&ed, "EdDSA", Some("new"), &room)).await, "joined");
    assert!(stage.nodes[0].log().contains("status 500"));
}

#[tokio::test]
async fn without_keys_a_jwt_is_neither_right_nor_wrong() {
    let mut stage = Stage::new(0, &[]).await;
    let (key, _) = key_pair(stage.env.path(), "EdDSA");
    let server = KeyServer::start(503, vec![key.jwk("e")]).await;
    let url = server.url();
    stage.add_node(&[("JWT_JWKS_URL", &url), PRIVATE]).await;
    stage.add_node(&[("JWT_JWKS_URL", &url)]).await;
    let room = stage.room("alice").await;
    let token = signed(&key, "EdDSA", Some("e"), &room);
    for node in &stage.nodes {
        let refusal = refused(node.client().await, &room, &token).await;
        assert_eq!(refusal["code"], "SERVICE_UNAVAILABLE", "{refusal}");
    }
    server.answer(200, vec![key.jwk("e")]);
    eventually(DEADLINE, "the keys", async || {
        let refusal = refused(stage.client().await, &room, &token).await;
        (refusal["t"] == "joined").then_some(())
    })
    .await;
    // If private addresses are not allowed, no request was sent.
    let log = stage.nodes[1].log();
    assert!(log.contains("not a public one"), "{log}");
}
