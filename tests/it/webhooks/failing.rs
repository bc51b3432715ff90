//! Receivers that do not accept events.

use std::time::{Duration, Instant};

use serde_json::json;

use super::{say, settings, stage, told};
use crate::support::{
    DEADLINE, PROGRAM, PostReply, Reading, Receiver, Stage, eventually, free_addr,
};

/// The number of times that a node has checked for waiting events.
const LOOKS: &str = "linkroom_redis_command_seconds_count{script=\"tend_hooks\"}";

/// Runs `linkroom webhooks` and returns its output, or its error.
async fn operator(stage: &Stage, words: &[&str]) -> Result<String, String> {
    let output = tokio::process::Command::new(PROGRAM)
        .arg("webhooks")
        .args(words)
        .env_clear()
        .env("REDIS_URL", stage.redis.url())
        .output()
        .await
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
}

/// The columns of the list of dead letters.
async fn letters(stage: &Stage) -> Vec<Vec<String>> {
    let list = operator(stage, &["list"]).await.unwrap();
    list.lines().map(|line| line.split('\t').map(str::to_owned).collect()).collect()
}

async fn wait_for_letters(stage: &Stage, count: usize) -> Vec<Vec<String>> {
    eventually(DEADLINE, "dead letters", async || {
        let length = stage.redis.cmd(["XLEN", "room::hooks:dead"]).int();
        (length == i64::try_from(count).unwrap()).then_some(())
    })
    .await;
    letters(stage).await
}

#[tokio::test]
async fn an_event_is_tried_until_it_is_taken_while_its_room_alone_waits() {
    let receiver = Receiver::start().await;
    let stage = stage(2, &receiver, &[]).await;
    let (bad, good) = (stage.room("alice").await, stage.room("bob").await);
    receiver.wait_for(&bad.id, 2).await;
    let failing = bad.id.clone();
    receiver.answers(move |post, before| match post.room() == failing && before < 3 {
        true => PostReply::Status(500),
        false => PostReply::Status(200),
    });
    for text in ["one", "two", "three"] {
        say(&stage, &bad, text).await;
    }
    // Before the first event is accepted, the other room has been served.
    for text in ["one", "two", "three"] {
        say(&stage, &good, text).await;
    }
    let taken = receiver.wait_for(&bad.id, 5).await;
    receiver.wait_for(&good.id, 5).await;
    let texts: Vec<_> = taken[2..].iter().map(|post| post.data()["text"].clone()).collect();
    assert_eq!(texts, ["one", "two", "three"]);
    let posts = receiver.posts();
    let of_bad: Vec<_> = posts.iter().filter(|post| post.room() == bad.id).skip(2).collect();
    assert_eq!(of_bad.len(), 12, "four tries of each");
    for tries in of_bad.chunks(4) {
        assert!(tries.iter().all(|post| post.id == tries[0].id && post.body == tries[0].body));
        let pauses: Vec<_> = tries.windows(2).map(|pair| pair[1].at - pair[0].at).collect();
        for (pause, wanted) in pauses.iter().zip([50, 150, 450]) {
            assert!(*pause >= Duration::from_millis(wanted * 8 / 10), "{pauses:?}");
        }
    }
    let first_taken = of_bad[3].at;
    let last_good = posts.iter().rfind(|post| post.room() == good.id).unwrap().at;
    assert!(last_good < first_taken + Duration::from_millis(200), "the other room waited");
}

#[tokio::test]
async fn what_is_never_taken_becomes_a_dead_letter_that_can_be_replayed() {
    let receiver = Receiver::start().await;
    let stage = stage(1, &receiver, &[("WEBHOOK_ATTEMPTS", "2")]).await;
    let room = stage.room("alice").await;
    receiver.wait_for(&room.id, 2).await;
    receiver.answers(|post, _| {
        match post.data()["text"] == "bad" || post.data()["text"] == "worse" {
            true => PostReply::Status(503),
            false => PostReply::Status(200),
        }
    });
    for text in ["bad", "good", "worse"] {
        say(&stage, &room, text).await;
    }
    let letters = wait_for_letters(&stage, 2).await;
    let posts = receiver.posts().clone();
    let id_of = |text: &str| {
        let post = posts.iter().find(|post| post.data()["text"] == text).unwrap();
        (post.id.clone(), post.body["timestamp"].as_str().unwrap().to_owned())
    };
    for (letter, text) in letters.iter().zip(["bad", "worse"]) {
        let (id, at) = id_of(text);
        assert_eq!(letter[..], [&id, "message.created", &room.id, &at, "2", "status 503"]);
    }
    let entry = stage.redis.cmd(["XRANGE", "room::hooks:dead", "-", "+", "COUNT", "1"]);
    let fields = entry.list()[0].list()[1].texts();
    assert!(fields.contains(&letters[0][0]) && fields.contains(&"status 503".to_owned()));
    eventually(DEADLINE, "the counts", async || {
        let reading = Reading::of(&stage.nodes[0]).await;
        (reading.value("linkroom_webhook_dead_letters") == 2.0
            && reading.value("linkroom_webhook_events") == 0.0)
            .then_some(())
    })
    .await;

    let unknown = operator(&stage, &["replay", "evt_none"]).await.unwrap_err();
    assert_eq!(unknown, "error: no dead letter has the webhook-id evt_none\n");
    assert!(operator(&stage, &["replay"]).await.is_err(), "of what?");
    receiver.answers(|_, _| PostReply::Status(200));
    operator(&stage, &["replay", &letters[0][0]]).await.unwrap();
    let taken = receiver.wait_for(&room.id, 4).await;
    assert_eq!((&taken[3].id, &taken[3].data()["text"]), (&letters[0][0], &json!("bad")));
    operator(&stage, &["discard", "--all"]).await.unwrap();
    assert_eq!(operator(&stage, &["list"]).await.unwrap(), "");
    assert_eq!(receiver.taken(&room.id).len(), 4);
}

/// Each kind of failure has its own reason, and redirects are not followed.
#[tokio::test]
async fn the_reason_of_each_failure_is_kept() {
    let receiver = Receiver::start().await;
    let other = Receiver::start().await;
    let more = [("WEBHOOK_ATTEMPTS", "1"), ("WEBHOOK_TIMEOUT", "300ms")];
    let stage = stage(1, &receiver, &more).await;
    let room = stage.room("alice").await;
    receiver.wait_for(&room.id, 2).await;
    let elsewhere = other.url();
    receiver.answers(move |post, _| match post.data()["text"].as_str().unwrap() {
        "redirect" => PostReply::Redirect(elsewhere.clone()),
        "hang" => PostReply::Hang,
        "late" => PostReply::Late(200, Duration::from_millis(600)),
        "slow" => PostReply::Late(200, Duration::from_millis(20)),
        status => PostReply::Status(status.parse().unwrap()),
    });
    let cases = [
        ("redirect", "status 302"),
        ("hang", "no answer in 300ms"),
        ("late", "no answer in 300ms"),
        ("400", "status 400"),
        ("500", "status 500"),
    ];
    for (text, _) in cases.iter().chain(&[("slow", ""), ("299", "")]) {
        say(&stage, &room, text).await;
    }
    let letters = wait_for_letters(&stage, cases.len()).await;
    let reasons: Vec<_> = letters.iter().map(|letter| letter[5].as_str()).collect();
    assert_eq!(reasons, cases.map(|(_, reason)| reason));
    assert!(other.posts().is_empty(), "a redirect was followed");

    // Nobody listens; and an address that is not allowed.
    let nobody = format!("http://{}/", free_addr());
    for (url, allowed, reason) in [
        (nobody.as_str(), "on", "Connection refused"),
        (&receiver.url().replace("127.0.0.1", "2130706433"), "off", "not a public one"),
        (&receiver.url().replace("127.0.0.1", "localhost"), "off", "not a public one"),
    ] {
        let before = receiver.posts().len();
        let mut settings = settings(url, &more);
        settings.push(("WEBHOOK_ALLOW_PRIVATE", allowed));
        let stage = Stage::new(1, &settings).await;
        stage.room("alice").await;
        let letters = wait_for_letters(&stage, 2).await;
        assert!(letters[0][5].contains(reason), "{url}: {letters:?}");
        assert_eq!(receiver.posts().len(), before, "{url}");
    }
}

#[tokio::test]
async fn who_answers_410_gets_nothing_until_the_settings_change() {
    let receiver = Receiver::start().await;
    let mut stage = stage(2, &receiver, &[]).await;
    let room = stage.room("alice").await;
    receiver.wait_for(&room.id, 2).await;
    receiver.answers(|_, _| PostReply::Status(410));
    say(&stage, &room, "one").await;
    for node in &stage.nodes {
        eventually(DEADLINE, "deliveries stop", async || {
            (Reading::of(node).await.value("linkroom_webhook_stopped") == 1.0).then_some(())
        })
        .await;
    }
    receiver.answers(|_, _| PostReply::Status(200));
    let before = receiver.posts().len();
    let other = stage.room("bob").await;
    say(&stage, &room, "two").await;
    // A node that starts with the same settings does not begin again.
    let url = receiver.url();
    stage.add_node(&settings(&url, &[])).await;
    eventually(DEADLINE, "deliveries stop", async || {
        (Reading::of(&stage.nodes[2]).await.value("linkroom_webhook_events") == 4.0).then_some(())
    })
    .await;
    assert_eq!(receiver.posts().len(), before);
    // Each node checks for a change once a second, not more often.
    let looks = async || Reading::of(&stage.nodes[0]).await.value(LOOKS);
    let (first, began) = (looks().await, Instant::now());
    eventually(DEADLINE, "three looks", async || (looks().await >= first + 3.0).then_some(()))
        .await;
    assert!(began.elapsed() > Duration::from_millis(1500));

    let moved = format!("{url}/v2");
    stage.add_node(&settings(&moved, &[])).await;
    let taken = receiver.wait_for(&room.id, 4).await;
    assert_eq!(told(&taken[2..]), [("message.created", ""); 2]);
    let texts: Vec<_> = taken[2..].iter().map(|post| post.data()["text"].clone()).collect();
    assert_eq!(texts, ["one", "two"]);
    receiver.wait_for(&other.id, 2).await;
}

#[tokio::test]
async fn what_waits_is_bounded_and_what_is_dropped_is_counted() {
    let receiver = Receiver::start().await;
    receiver.answers(|_, _| PostReply::Status(500));
    let more = [("WEBHOOK_EVENTS_MAX", "5"), ("WEBHOOK_BACKOFF", "1h"), ("WEBHOOK_AGE_MAX", "3s")];
    let stage = stage(1, &receiver, &more).await;
    let value = async |series: &str, expected: f64| {
        eventually(DEADLINE, &format!("{series} is {expected}"), async || {
            (Reading::of(&stage.nodes[0]).await.value(series) == expected).then_some(())
        })
        .await;
    };
    let room = stage.room("alice").await;
    for number in 0..8 {
        say(&stage, &room, &number.to_string()).await;
    }
    let waiting = stage.redis.cmd(["LRANGE", &format!("room:{}:hooks", room.id), "0", "-1"]);
    assert_eq!(waiting.list().len(), 5);
    assert!(waiting.list()[4].text().contains("\"text\":\"7\""), "the oldest are dropped");
    value("linkroom_webhook_dropped", 5.0).await;
    value("linkroom_webhook_dropped", 10.0).await;
    value("linkroom_webhook_events", 0.0).await;
    assert_eq!(stage.redis.cmd(["EXISTS", &format!("room:{}:hooks", room.id)]).int(), 0);
}

/// Somebody deletes the set of rooms with events with redis-cli.
#[tokio::test]
async fn what_waits_is_found_again_where_its_note_was_deleted() {
    let receiver = Receiver::start().await;
    let stage = stage(1, &receiver, &[("WEBHOOK_BACKOFF", "1h")]).await;
    let room = stage.room("alice").await;
    receiver.wait_for(&room.id, 2).await;
    receiver.answers(|_, _| PostReply::Status(500));
    say(&stage, &room, "one").await;
    eventually(DEADLINE, "it failed", async || {
        (stage.redis.cmd(["ZCARD", "room::hooks:delayed"]).int() == 1).then_some(())
    })
    .await;
    receiver.answers(|_, _| PostReply::Status(200));
    stage.redis.cmd(["DEL", "room::hooks:delayed", "room::hooks:ready"]);
    let taken = receiver.wait_for(&room.id, 3).await;
    assert_eq!(taken[2].data()["text"], "one");
}

#[tokio::test]
async fn an_operator_is_told_why_there_is_no_list() {
    let output = tokio::process::Command::new(PROGRAM)
        .args(["webhooks", "list"])
        .env_clear()
        .env("REDIS_URL", format!("redis://{}", free_addr()))
        .output()
        .await
        .unwrap();
    let line = String::from_utf8(output.stderr).unwrap();
    assert_eq!(line, "error: redis is out of reach: Connection refused\n");
}
