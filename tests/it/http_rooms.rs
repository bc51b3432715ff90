//! Rooms over HTTP: create one, read it, join it without a socket.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{DEADLINE, Stage, eventually, fields_of, is_instant};

#[tokio::test]
async fn making_a_room_answers_with_its_id_a_token_and_the_link() {
    let stage = Stage::new(1, &[]).await;
    let answer = stage.http().post("/api/rooms", json!({ "creatorName": "홍길동" })).await;
    let data = answer.data(201);

    let id = data["roomId"].as_str().unwrap();
    assert!(id.len() == 12 && id.bytes().all(|byte| byte.is_ascii_alphanumeric()), "{id}");
    assert!(data["token"].as_str().unwrap().starts_with("lr_"), "{data}");
    assert_eq!(data["link"], format!("{}/r/{id}", stage.http().base()));
    assert_eq!(data.as_object().unwrap().len(), 3, "{data}");
}

#[tokio::test]
async fn links_begin_with_the_public_url() {
    let stage = Stage::new(1, &[("PUBLIC_URL", "https://rooms.example/")]).await;
    let data = stage.http().post("/api/rooms", json!({ "creatorName": "a" })).await.data(201);
    assert_eq!(
        data["link"],
        format!("https://rooms.example/r/{}", data["roomId"].as_str().unwrap())
    );
}

#[tokio::test]
async fn the_creator_is_a_member_and_online_before_it_connects() {
    let stage = Stage::new(1, &[]).await;
    let room = stage.room("테스터").await;
    let path = format!("/api/rooms/{}", room.id);

    let data = stage.http().get(&path).await.data(200);
    assert_eq!(data["roomId"], room.id);
    assert_eq!(data["status"], "active");
    assert_eq!(data["memberCount"], 1);
    assert_eq!(data["members"], json!(["테스터"]));
    assert!(is_instant(&data["createdAt"]), "{data}");

    let rows = stage.http().get(&format!("{path}/members")).await.data(200);
    assert_eq!(rows.as_array().unwrap().len(), 1, "{rows}");
    assert_eq!((&rows[0]["userId"], &rows[0]["status"]), (&json!("테스터"), &json!("online")));
    assert!(is_instant(&rows[0]["joinedAt"]), "{rows}");
    assert_eq!(stage.members_in_redis(&room), ["테스터"]);
}

#[tokio::test]
async fn a_room_is_called_what_its_creator_said() {
    let stage = Stage::new(1, &[]).await;
    let make = async |topic: Value, e2e: bool| {
        let wish = json!({ "creatorName": "alice", "topic": topic, "e2e": e2e });
        stage.http().post("/api/rooms", wish).await
    };
    let (longest, sealed) = ("가".repeat(120), "x".repeat(1000));
    for (topic, e2e, kept) in [
        (json!(" Friday release "), false, json!("Friday release")),
        (json!(longest), false, json!(longest)),
        (json!(sealed), true, json!(sealed)),
        (Value::Null, false, Value::Null),
    ] {
        let made = make(topic, e2e).await.data(201);
        let id = made["roomId"].as_str().unwrap();
        let seen = stage.http().get(&format!("/api/rooms/{id}")).await.data(200);
        assert_eq!((&seen["topic"], &seen["creator"]), (&kept, &json!("alice")));
        assert!(seen["ttl"] == 86400 && seen["maxMembers"].is_u64(), "{seen}");
        assert_eq!(seen["locked"], false);
        let joined = stage.client().await.join(id, made["token"].as_str().unwrap()).await;
        assert_eq!((&joined["topic"], &joined["creator"]), (&kept, &json!("alice")));
        assert_eq!((&joined["memberCount"], &joined["locked"]), (&json!(1), &json!(false)));
    }
    for (topic, e2e) in [
        (json!(""), false),
        (json!("a\nb"), false),
        (json!("x".repeat(121)), false),
        (json!(7), false),
        (json!(""), true),
        (json!("x".repeat(1001)), true),
    ] {
        make(topic, e2e).await.invalid("topic");
    }
    let wish = json!({ "creatorName": "", "topic": "" });
    let both = stage.http().post("/api/rooms", wish).await;
    both.invalid("topic");
    both.invalid("creatorName");
}

#[tokio::test]
async fn a_link_is_shown_with_its_topic_and_nothing_else_of_the_room() {
    let stage =
        Stage::new(1, &[("PUBLIC_URL", "https://rooms.example"), ("MISSES_PER_MINUTE", "3")]).await;
    let make = async |wish: Value| {
        let made = stage.http().post("/api/rooms", wish).await.data(201);
        made["roomId"].as_str().unwrap().to_owned()
    };
    let page = async |path: &str| {
        let response = stage.http().file(path).await;
        let tag = response.headers()["etag"].to_str().unwrap().to_owned();
        (response.text().await.unwrap(), tag)
    };
    let named = make(json!({ "creatorName": "alice", "topic": "<Lunch> \"&\"" })).await;
    let plain = make(json!({ "creatorName": "alice" })).await;
    let sealed = make(json!({ "creatorName": "alice", "e2e": true, "topic": "secret" })).await;
    let title = |text: &str| format!(r#"<meta property="og:title" content="{text}">"#);

    let (html, tag) = page(&format!("/r/{named}")).await;
    assert!(html.contains(&title("&lt;Lunch&gt; &quot;&amp;&quot;")), "{html}");
    assert!(html.contains(&format!(r#""og:url" content="https://rooms.example/r/{named}""#)));
    assert!(html.contains(r#""og:image" content="https://rooms.example/static/preview.png""#));
    for id in [&plain, &sealed] {
        let (html, _) = page(&format!("/r/{id}")).await;
        assert!(html.contains(&title("You are invited to a room")), "{html}");
        assert!(!html.contains("secret") && !html.contains("alice"), "{html}");
    }
    let known = stage.http().request(Method::GET, &format!("/r/{named}"));
    let known = known.header("if-none-match", &tag).send().await.unwrap();
    assert_eq!(known.status(), 304);
    let picture = stage.http().file("/static/preview.png").await;
    assert_eq!(picture.headers()["content-type"], "image/png");

    // An address that guesses ids learns nothing, and is soon refused even for existing rooms.
    let (service, service_tag) = page("/").await;
    for _ in 0..5 {
        assert_eq!(page("/r/zzzzzzzzzzzz").await, (service.clone(), service_tag.clone()));
    }
    assert_eq!(page(&format!("/r/{named}")).await.0, service);
    stage.http().get(&format!("/api/rooms/{named}")).await.error(429, "RATE_LIMITED");
}

#[tokio::test]
async fn a_creator_who_never_connects_lapses_and_the_room_is_idle() {
    let stage = Stage::new(1, &[("PRESENCE_TTL", "900ms")]).await;
    let room = stage.room("a").await;
    let path = format!("/api/rooms/{}", room.id);
    let idle = eventually(DEADLINE, "an idle room", async || {
        let data = stage.http().get(&path).await.data(200);
        (data["status"] == "idle").then_some(data)
    });
    let data = idle.await;
    assert_eq!((&data["memberCount"], &data["members"]), (&json!(0), &json!([])));
    assert_eq!(stage.http().get(&format!("{path}/members")).await.data(200), json!([]));
}

#[tokio::test]
async fn a_guest_session_is_no_member_until_it_joins() {
    let stage = Stage::new(1, &[]).await;
    let room = stage.room("owner").await;
    let path = format!("/api/rooms/{}", room.id);

    let body = json!({ "name": "deploy-bot" });
    let guest = stage.http().post(&format!("{path}/sessions"), body.clone()).await.data(201);
    assert_eq!(guest["userId"], "deploy-bot");
    assert_eq!(stage.http().get(&path).await.data(200)["members"], json!(["owner"]));
    stage.http().post(&format!("{path}/sessions"), body).await.error(409, "NAME_TAKEN");

    let token = guest["token"].as_str().unwrap();
    let mut client = stage.client().await;
    let joined = client.join(&room.id, token).await;
    assert_eq!((&joined["me"], &joined["token"]), (&json!("deploy-bot"), &guest["token"]));
    assert_eq!(stage.http().get(&path).await.data(200)["memberCount"], 2);
}

#[tokio::test]
async fn member_rows_tell_status_and_what_was_read() {
    let stage = Stage::new(1, &[]).await;
    let room = stage.room("alice").await;
    let mut alice = stage.member(0, &room, &room.token).await;
    let id = alice.say(&room.id, "hello").await["id"].clone();
    alice.send(json!({ "t": "ping", "status": "away", "read": id })).await;

    let path = format!("/api/rooms/{}/members", room.id);
    let row = eventually(DEADLINE, "the new status", async || {
        let rows = stage.http().get(&path).await.data(200);
        (rows[0]["status"] == "away").then(|| rows[0].clone())
    })
    .await;
    assert_eq!(row["read"], id);
    assert_eq!(fields_of(&row), ["joinedAt", "read", "status", "userId"]);
}

#[tokio::test]
async fn what_is_not_a_room_is_not_found() {
    let stage = Stage::new(1, &[]).await;
    let http = stage.http();
    let long = "a".repeat(500);
    for id in ["zzzzzzzzzzzz", "a", "a%20b", "a:b", "%7Ba%7D", "%EA%B0%80", &long] {
        let path = format!("/api/rooms/{id}");
        http.get(&path).await.error(404, "ROOM_NOT_FOUND");
        http.get(&format!("{path}/members")).await.error(404, "ROOM_NOT_FOUND");
        http.get(&format!("{path}/messages")).await.error(404, "ROOM_NOT_FOUND");
        let guest = http.post(&format!("{path}/sessions"), json!({ "name": "bot" })).await;
        guest.error(404, "ROOM_NOT_FOUND");
        http.say(id, "lr_x", json!({ "text": "hi" })).await.error(404, "ROOM_NOT_FOUND");
    }
}

#[tokio::test]
async fn a_room_is_gone_when_nothing_happened_in_it_for_its_ttl() {
    let stage = Stage::new(1, &[("ROOM_TTL", "1s"), ("PRESENCE_TTL", "500ms")]).await;
    let room = stage.room("a").await;
    let path = format!("/api/rooms/{}", room.id);
    eventually(DEADLINE, "the end of the room", async || {
        (stage.http().get(&path).await.status == 404).then_some(())
    })
    .await;
    stage.http().get(&path).await.error(404, "ROOM_NOT_FOUND");
}

/// The names of the contract, with their stored form; `None` if they are refused.
pub fn names() -> Vec<(String, Option<String>)> {
    let family = "👨\u{200D}👩\u{200D}👧";
    let persian = "می\u{200C}خواهم";
    let good = [
        ("alice", "alice"),
        ("  spaced out  ", "spaced out"),
        ("홍길동", "홍길동"),
        ("\u{1112}\u{1169}\u{11BC}", "홍"),
        ("Zoe\u{308}", "Zo\u{EB}"),
        (family, family),
        (persian, persian),
        ("LR_x", "LR_x"),
        ("a:b/c", "a:b/c"),
        ("{x}*?[", "{x}*?["),
        ("\"'<b>&", "\"'<b>&"),
    ];
    let mut names: Vec<_> =
        good.iter().map(|(raw, name)| (raw.to_string(), Some(name.to_string()))).collect();
    names.push(("가".repeat(32), Some("가".repeat(32))));
    names.push(("e\u{301}".repeat(32), Some("\u{E9}".repeat(32))));
    names.push((format!("  {}  ", "b".repeat(32)), Some("b".repeat(32))));

    let hidden = "\u{0}\u{7}\u{1F}\u{7F}\u{85}\u{200B}\u{200E}\u{200F}\u{202A}\u{202B}\u{202C}\
                  \u{202D}\u{202E}\u{2066}\u{2067}\u{2068}\u{2069}\u{FEFF}";
    names.extend(hidden.chars().map(|c| (format!("a{c}b"), None)));
    let bad = ["", " ", "\t\n", "\u{200D}a", "a\u{200D}", "\u{200C}a", "a\u{200C}", "\u{200D}"];
    names.extend(bad.iter().map(|raw| (raw.to_string(), None)));
    names.push(("c".repeat(33), None));
    names
}

#[tokio::test]
async fn names_follow_the_rules() {
    let stage = Stage::new(1, &[]).await;
    let http = stage.http();
    let room = stage.room("owner").await;
    let sessions = format!("/api/rooms/{}/sessions", room.id);
    for (raw, name) in names() {
        let made = http.post("/api/rooms", json!({ "creatorName": raw })).await;
        let guest = http.post(&sessions, json!({ "name": raw })).await;
        match name {
            Some(name) => {
                let id = made.data(201)["roomId"].clone();
                let path = format!("/api/rooms/{}", id.as_str().unwrap());
                assert_eq!(http.get(&path).await.data(200)["members"], json!([name]));
                assert_eq!(guest.data(201)["userId"], name);
            }
            None => {
                made.invalid("creatorName");
                guest.invalid("name");
            }
        }
    }
    http.post(&sessions, json!({ "name": "lr_bot" })).await.invalid("name");
}

#[tokio::test]
async fn a_name_is_the_same_name_in_any_form() {
    let stage = Stage::new(1, &[]).await;
    let room = stage.room("Zoe\u{308}").await;
    let path = format!("/api/rooms/{}/sessions", room.id);
    for same in ["Zo\u{EB}", "  Zoe\u{308} "] {
        stage.http().post(&path, json!({ "name": same })).await.error(409, "NAME_TAKEN");
    }
}

#[tokio::test]
async fn a_full_room_lets_nobody_new_in_but_everybody_back() {
    let stage = Stage::new(1, &[("ROOM_MAX_MEMBERS", "2")]).await;
    let room = stage.room("one").await;
    let _one = stage.member(0, &room, &room.token).await;
    let mut two = stage.client().await;
    let token = two.join(&room.id, "two").await["token"].clone();

    let mut three = stage.client().await;
    let refused = json!({ "t": "join", "roomId": room.id, "token": "three" });
    assert_eq!(three.try_join(refused.clone()).await["code"], "ROOM_FULL");
    assert_eq!(stage.members_in_redis(&room), ["one", "two"]);
    stage.member(0, &room, token.as_str().unwrap()).await;

    two.send(json!({ "t": "leave", "roomId": room.id })).await;
    stage.client().await;
    let entered = eventually(DEADLINE, "a free place", async || {
        let answer = three.try_join(refused.clone()).await;
        (answer["t"] == "joined").then_some(answer)
    });
    assert_eq!(entered.await["me"], "three");
}

#[tokio::test]
async fn requests_say_which_field_is_wrong() {
    let stage = Stage::new(1, &[]).await;
    let http = stage.http();
    let room = stage.room("owner").await;
    let sessions = format!("/api/rooms/{}/sessions", room.id);
    for wrong in [Value::Null, json!(7), json!(["a"]), json!({ "a": 1 })] {
        http.post("/api/rooms", json!({ "creatorName": wrong })).await.invalid("creatorName");
        http.post(&sessions, json!({ "name": wrong })).await.invalid("name");
    }
    http.post("/api/rooms", json!({})).await.invalid("creatorName");
    http.post(&sessions, json!({})).await.invalid("name");
}
