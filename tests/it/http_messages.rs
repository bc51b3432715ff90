//! Messages over HTTP: bots post, and everybody reads pages in both directions.

use serde_json::{Value, json};

use crate::support::{Http, Room, Stage, ids_of};

/// High enough for tests that are not about floods.
const NO_FLOOD_LIMIT: (&str, &str) = ("MESSAGES_PER_SECOND", "10000");

/// A room with `count` messages, and their ids, oldest first.
async fn room_with(stage: &Stage, count: usize) -> (Room, Vec<String>) {
    let room = stage.room("writer").await;
    let mut writer = stage.member(0, &room, &room.token).await;
    for number in 0..count {
        writer
            .send(json!({ "t": "msg", "roomId": room.id, "text": format!("text {number}") }))
            .await;
    }
    for _ in 0..count {
        writer.expect("msg").await;
    }
    let ids = stage.redis.stream_ids(&room.id);
    (room, ids)
}

async fn page(http: &Http, room: &Room, query: &str) -> Value {
    http.get(&format!("/api/rooms/{}/messages{query}", room.id)).await.data(200)
}

#[tokio::test]
async fn a_bot_speaks_and_everybody_hears_it() {
    let stage = Stage::new(1, &[]).await;
    let room = stage.room("alice").await;
    let mut alice = stage.member(0, &room, &room.token).await;
    let bot = stage.guest(&room, "deploy-bot").await;

    let body = json!({ "text": "배포 완료 🎉", "key": "deploy-1" });
    let mut said = stage.http().say(&room.id, &bot, body).await.data(201);
    assert_eq!((&said["from"], &said["text"]), (&json!("deploy-bot"), &json!("배포 완료 🎉")));
    assert_eq!((&said["roomId"], &said["key"]), (&json!(room.id), &json!("deploy-1")));

    let listed = page(&stage.http(), &room, "").await["messages"][0].clone();
    assert_eq!(listed, said);
    said["t"] = json!("msg");
    assert_eq!(alice.expect("msg").await, said);
    assert_eq!(stage.members_in_redis(&room), ["alice"], "speaking makes no member");
}

#[tokio::test]
async fn only_a_live_session_of_the_room_may_speak() {
    let stage = Stage::new(1, &[]).await;
    let (room, other) = (stage.room("alice").await, stage.room("alice").await);
    let http = stage.http();
    let body = json!({ "text": "hi" });
    let path = format!("/api/rooms/{}/messages", room.id);

    http.post(&path, body.clone()).await.error(401, "INVALID_TOKEN");
    let basic = http.request(reqwest::Method::POST, &path).basic_auth("alice", Some(&room.token));
    http.send(basic.json(&body)).await.error(401, "INVALID_TOKEN");
    for token in ["alice", "lr_", "lr_made-up", &other.token, &format!("{}x", room.token)] {
        http.say(&room.id, token, body.clone()).await.error(401, "INVALID_TOKEN");
    }
    assert!(stage.redis.stream_ids(&room.id).is_empty());
}

#[tokio::test]
async fn texts_and_keys_have_limits_in_code_points() {
    let stage = Stage::new(1, &[NO_FLOOD_LIMIT]).await;
    let room = stage.room("alice").await;
    let http = stage.http();
    let say = async |body: Value| http.say(&room.id, &room.token, body).await;

    let longest = "🎉".repeat(4000);
    assert_eq!(say(json!({ "text": longest })).await.data(201)["text"], longest);
    let spaces = say(json!({ "text": "  as it is\n" })).await.data(201);
    assert_eq!(spaces["text"], "  as it is\n");
    let key = "열".repeat(64);
    assert_eq!(say(json!({ "text": "a", "key": key })).await.data(201)["key"], key);
    assert!(say(json!({ "text": "a" })).await.data(201).get("key").is_none());

    say(json!({ "text": "a".repeat(4001) })).await.invalid("text");
    say(json!({ "text": "" })).await.invalid("text");
    say(json!({ "text": 7 })).await.invalid("text");
    say(json!({})).await.invalid("text");
    say(json!({ "text": "a", "key": "k".repeat(65) })).await.invalid("key");
    say(json!({ "text": "a", "key": 7 })).await.invalid("key");
}

#[tokio::test]
async fn the_newest_page_comes_first_and_reads_downwards() {
    let stage = Stage::new(1, &[NO_FLOOD_LIMIT]).await;
    let (room, ids) = room_with(&stage, 120).await;
    let data = page(&stage.http(), &room, "").await;
    assert_eq!(ids_of(data["messages"].as_array().unwrap()), ids[70..]);
    assert_eq!(data["hasMore"], true);

    let older = page(&stage.http(), &room, &format!("?before={}&limit=30", ids[70])).await;
    assert_eq!(ids_of(older["messages"].as_array().unwrap()), ids[40..70]);
    let newer = page(&stage.http(), &room, &format!("?after={}&limit=30", ids[70])).await;
    assert_eq!(ids_of(newer["messages"].as_array().unwrap()), ids[71..101]);
}

/// Follows `nextCursor` to the end and returns the pages in order.
async fn walk(
    http: &Http,
    room: &Room,
    first: &str,
    cursor: &str,
    limit: usize,
) -> Vec<Vec<String>> {
    let mut query = format!("?limit={limit}{first}");
    let mut pages = Vec::new();
    loop {
        let data = page(http, room, &query).await;
        let ids = ids_of(data["messages"].as_array().unwrap());
        assert!(ids.len() <= limit && (!ids.is_empty() || pages.is_empty()), "{data}");
        pages.push(ids);
        if data["hasMore"] == false {
            return pages;
        }
        let next = data["nextCursor"].as_str().expect("a cursor while there is more");
        query = format!("?limit={limit}&{cursor}={next}");
    }
}

#[tokio::test]
async fn pages_of_any_size_hold_every_message_once() {
    let stage = Stage::new(1, &[NO_FLOOD_LIMIT]).await;
    let (room, ids) = room_with(&stage, 60).await;
    let http = stage.http();
    for limit in [1, 7, 30, 59, 60, 61, 1000] {
        let mut backwards = walk(&http, &room, "", "before", limit).await;
        backwards.reverse();
        assert_eq!(backwards.concat(), ids, "backwards by {limit}");
        let forwards = walk(&http, &room, "&after=0-0", "after", limit).await;
        assert_eq!(forwards.concat(), ids, "forwards by {limit}");
    }
}

#[tokio::test]
async fn cursors_may_lie_between_and_beyond_messages() {
    let stage = Stage::new(1, &[]).await;
    let (room, ids) = room_with(&stage, 3).await;
    let http = stage.http();
    let all = |data: Value| ids_of(data["messages"].as_array().unwrap());

    let far = "9999999999999-0";
    assert_eq!(all(page(&http, &room, &format!("?before={far}")).await), ids);
    let end = page(&http, &room, &format!("?after={far}")).await;
    assert_eq!((all(end.clone()), &end["hasMore"]), (vec![], &json!(false)));
    let start = page(&http, &room, "?before=0-1").await;
    assert_eq!((all(start.clone()), &start["hasMore"]), (vec![], &json!(false)));
    assert_eq!(all(page(&http, &room, "?after=1-9007199254740991").await), ids);

    // Before and after all possible messages.
    let (zero, most) = ("0-0", format!("{0}-{0}", u64::MAX));
    assert_eq!(all(page(&http, &room, &format!("?before={zero}")).await), [""; 0]);
    assert_eq!(all(page(&http, &room, &format!("?after={zero}")).await), ids);
    assert_eq!(all(page(&http, &room, &format!("?before={most}")).await), ids);
    assert_eq!(all(page(&http, &room, &format!("?after={most}")).await), [""; 0]);
}

#[tokio::test]
async fn entries_that_somebody_added_by_hand_hide_no_others() {
    let stage = Stage::new(1, &[]).await;
    let (room, ids) = room_with(&stage, 1).await;
    let stream = format!("room:{}:messages", room.id);
    stage.redis.cmd(["XADD", &stream, "*", "not", "ours"]);
    let bytes = "redis.call('XADD', KEYS[1], '*', '\\255', '\\255', 'text', '\\255')";
    stage.redis.cmd(["EVAL", bytes, "1", &stream]);
    let data = page(&stage.http(), &room, "").await;
    let found = ids_of(data["messages"].as_array().unwrap());
    assert_eq!((found.len(), &found[0]), (3, &ids[0]));
    assert_eq!(data["messages"][2]["text"], "\u{FFFD}");
    let mut alice = stage.client().await;
    alice.accept_any_frame();
    assert_eq!(alice.join(&room.id, &room.token).await["messages"], data["messages"]);
}

#[tokio::test]
async fn pages_refuse_what_is_no_cursor_and_no_limit() {
    let stage = Stage::new(1, &[]).await;
    let room = stage.room("a").await;
    let get = async |query: &str| {
        stage.http().get(&format!("/api/rooms/{}/messages?{query}", room.id)).await
    };
    for limit in ["0", "-1", "1001", "ten", "1.5", "99999999999999999999", ""] {
        get(&format!("limit={limit}")).await.invalid("limit");
    }
    for id in ["x", "1-x", "-", "1-2-3", "%24", "1%20-%202"] {
        get(&format!("before={id}")).await.invalid("before");
        get(&format!("after={id}")).await.invalid("after");
    }
    assert_eq!(get("limit=1000").await.status, 200);
}

#[tokio::test]
async fn an_empty_room_has_an_empty_page() {
    let stage = Stage::new(1, &[]).await;
    let room = stage.room("a").await;
    let data = page(&stage.http(), &room, "").await;
    assert_eq!((&data["messages"], &data["hasMore"]), (&json!([]), &json!(false)));
    assert_eq!(data.as_object().unwrap().len(), 3, "{data}");
}

#[tokio::test]
async fn history_is_bounded_and_the_last_page_is_the_oldest_kept() {
    let stage = Stage::new(1, &[NO_FLOOD_LIMIT, ("HISTORY_MAX", "100")]).await;
    let (room, ids) = room_with(&stage, 600).await;
    assert!((100..400).contains(&ids.len()), "about 100 are kept: {}", ids.len());
    let mut pages = walk(&stage.http(), &room, "", "before", 64).await;
    pages.reverse();
    assert_eq!(pages.concat(), ids);
}

#[tokio::test]
async fn the_page_settings_hold() {
    let stage = Stage::new(1, &[NO_FLOOD_LIMIT, ("PAGE_MAX", "20"), ("PAGE_SIZE", "5")]).await;
    let (room, ids) = room_with(&stage, 30).await;
    let data = page(&stage.http(), &room, "").await;
    assert_eq!(ids_of(data["messages"].as_array().unwrap()), ids[25..]);
    let path = format!("/api/rooms/{}/messages?limit=21", room.id);
    stage.http().get(&path).await.invalid("limit");
}
