//! Push services that do not accept pushes, and nodes that die while they push.

use std::time::Duration;

use serde_json::json;

use super::{put, say, settings, start, subscribe, told};
use crate::support::{
    DEADLINE, PROGRAM, PostReply, Reading, Receiver, SECRET, Stage, eventually, free_addr,
};

async fn outcomes(stage: &Stage, outcome: &str) -> f64 {
    let series = format!("linkroom_push_tries_total{{outcome=\"{outcome}\"}}");
    Reading::of(&stage.nodes[0]).await.value(&series)
}

/// It is retried after increasing pauses, and other users' pushes do not wait for it.
#[tokio::test]
async fn a_push_is_tried_until_it_is_taken_while_nobody_else_waits() {
    let (service, stage) =
        start(2, &[("WEBHOOK_TIMEOUT", "500ms"), ("PUSH_INTERVAL", "100ms")]).await;
    let room = stage.room("alice").await;
    let bob = stage.guest(&room, "bob").await;
    let bob = subscribe(&service, &stage, &room, &bob).await;
    let carol = stage.guest(&room, "carol").await;
    let carol = subscribe(&service, &stage, &room, &carol).await;
    let failing = bob.endpoint.clone();
    service.answers(move |push, before| match before {
        0 if push.endpoint == failing => PostReply::Status(429),
        1 if push.endpoint == failing => PostReply::Hang,
        2 if push.endpoint == failing => PostReply::Status(503),
        _ => PostReply::Status(201),
    });
    say(&stage, &room, "one").await;
    service.wait_for(&carol, 1).await;
    // A message that is sent meanwhile is included in the next try.
    say(&stage, &room, "two").await;
    let got = eventually(DEADLINE * 2, "both are told of", async || {
        let got = service.got(&bob);
        (told(&got) >= 2).then_some(got)
    })
    .await;
    assert_eq!(told(&got), 2);
    let pushes = service.pushes();
    let tries: Vec<_> = pushes.iter().filter(|push| push.endpoint == bob.endpoint).collect();
    let pauses: Vec<_> = tries.windows(2).map(|pair| pair[1].at - pair[0].at).collect();
    for (pause, wanted) in pauses.iter().zip([50, 500, 450]) {
        assert!(*pause >= Duration::from_millis(wanted * 8 / 10), "{pauses:?}");
    }
    let first = pushes.iter().find(|push| push.endpoint == carol.endpoint).unwrap();
    assert!(first.at < tries[2].at, "another's push waited");
}

#[tokio::test]
async fn a_subscription_ends_that_its_push_service_does_not_know() {
    for status in [404, 410] {
        let (service, stage) = start(1, &[]).await;
        let room = stage.room("alice").await;
        let token = stage.guest(&room, "bob").await;
        let ended = subscribe(&service, &stage, &room, &token).await;
        service.answers(move |_, _| PostReply::Status(status));
        say(&stage, &room, "hello").await;
        let subscriptions = format!("room:{}:push", room.id);
        eventually(DEADLINE, "the subscription ends", async || {
            (stage.redis.cmd(["EXISTS", &subscriptions]).int() == 0).then_some(())
        })
        .await;
        service.answers(|_, _| PostReply::Status(201));
        eventually(DEADLINE, "it is counted", async || {
            (outcomes(&stage, "ended").await == 1.0).then_some(())
        })
        .await;
        say(&stage, &room, "to nobody").await;
        let again = subscribe(&service, &stage, &room, &token).await;
        say(&stage, &room, "again").await;
        service.wait_for(&again, 1).await;
        let pushes = service.pushes();
        assert_eq!(pushes.iter().filter(|push| push.endpoint == ended.endpoint).count(), 1);
    }
}

/// With the reason, for the operator; other lists continue, and a webhook that wants no more events
/// stops no push.
#[tokio::test]
async fn what_is_never_taken_becomes_a_dead_letter_that_can_be_replayed() {
    let (receiver, elsewhere) = (Receiver::start().await, Receiver::start().await);
    receiver.answers(|_, _| PostReply::Status(410));
    let url = receiver.url();
    let more = [("WEBHOOK_ATTEMPTS", "2"), ("WEBHOOK_URL", &*url), ("WEBHOOK_SECRET", SECRET)];
    let (service, stage) = start(1, &more).await;
    let room = stage.room("alice").await;
    let names = ["bob", "carol", "dave"];
    let mut browsers = Vec::new();
    for name in names {
        let token = stage.guest(&room, name).await;
        browsers.push(subscribe(&service, &stage, &room, &token).await);
    }
    // A push service that cannot be reached.
    let token = stage.guest(&room, "eve").await;
    let nobody = service.browser_at(&format!("https://{}", free_addr())).subscription();
    put(&stage.http(), &room.id, &token, &nobody).await.data(200);
    let (redirected, refused) = (browsers[0].endpoint.clone(), browsers[1].endpoint.clone());
    let to = elsewhere.url();
    service.answers(move |push, _| match &push.endpoint {
        it if *it == redirected => PostReply::Redirect(to.clone()),
        it if *it == refused => PostReply::Status(403),
        _ => PostReply::Status(201),
    });
    say(&stage, &room, "hello").await;
    service.wait_for(&browsers[2], 1).await;
    eventually(DEADLINE, "dead letters", async || {
        (stage.redis.cmd(["XLEN", "room::hooks:dead"]).int() == 3).then_some(())
    })
    .await;
    let list = operator(&stage, &["list"]).await;
    let mut letters: Vec<Vec<&str>> = list.lines().map(|line| line.split('\t').collect()).collect();
    letters.sort_by_key(|letter| letter[5]);
    let reasons: Vec<_> = letters.iter().map(|letter| letter[5]).collect();
    assert!(reasons[0].starts_with("Connection refused"), "{reasons:?}");
    assert_eq!(reasons[1..], ["status 302", "status 403"]);
    assert!(letters.iter().all(|letter| letter[1] == "push" && letter[2] == room.id));
    assert!(elsewhere.posts().is_empty(), "a redirect was followed");
    assert_eq!(Reading::of(&stage.nodes[0]).await.value("linkroom_webhook_stopped"), 1.0);

    service.answers(|_, _| PostReply::Status(201));
    operator(&stage, &["replay", letters[2][0]]).await;
    let got = service.wait_for(&browsers[1], 1).await;
    assert_eq!(got[0].payload["text"], "hello");
    assert!(service.got(&browsers[0]).is_empty());
}

async fn operator(stage: &Stage, words: &[&str]) -> String {
    let mut command = tokio::process::Command::new(PROGRAM);
    command.arg("webhooks").args(words).env_clear().env("REDIS_URL", stage.redis.url());
    let output = command.output().await.unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test]
async fn whatever_node_dies_everybody_is_told() {
    let (service, mut stage) = start(2, &[("WEBHOOK_TIMEOUT", "1m")]).await;
    let room = stage.room("alice").await;
    let mut browsers = Vec::new();
    for number in 0..5 {
        let token = stage.guest(&room, &format!("guest {number}")).await;
        browsers.push(subscribe(&service, &stage, &room, &token).await);
    }
    service.answers(|_, _| PostReply::Hang);
    say(&stage, &room, "hello").await;
    eventually(DEADLINE, "all are under way", async || (service.pushes().len() == 5).then_some(()))
        .await;
    service.answers(|_, _| PostReply::Status(201));
    stage.nodes[0].kill().await;
    stage.nodes[1].kill().await;
    stage.nodes.clear();
    stage.add_node(&settings(&service, &[])).await;
    for browser in &browsers {
        let got = service.wait_for(browser, 1).await;
        assert_eq!((&got[0].payload["text"], told(&got)), (&json!("hello"), 1));
    }
    say(&stage, &room, "and on").await;
}

/// The webhook reports users with a subscription too, even if their session has ended long ago.
#[tokio::test]
async fn a_message_is_missed_by_those_with_a_subscription_too() {
    let receiver = Receiver::start().await;
    let url = receiver.url();
    let more =
        [("WEBHOOK_EVENTS", "message.missed"), ("WEBHOOK_URL", &*url), ("WEBHOOK_SECRET", SECRET)];
    let (service, stage) = start(1, &more).await;
    let room = stage.room("alice").await;
    for name in ["bob", "carol"] {
        let token = stage.guest(&room, name).await;
        subscribe(&service, &stage, &room, &token).await;
    }
    stage.guest(&room, "dave").await;
    for name in ["carol", "dave"] {
        stage.redis.cmd(["DEL", &format!("user:{}:{name}:session", room.id)]);
    }
    say(&stage, &room, "hello").await;
    let posts = receiver.wait_for(&room.id, 2).await;
    let mut missed: Vec<_> = posts.iter().map(|post| post.data()["userId"].clone()).collect();
    missed.sort_by_key(ToString::to_string);
    assert_eq!(missed, ["bob", "carol"]);
}
