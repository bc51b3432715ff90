//! What the browsers of users who are never there were pushed, held against the streams: every message that is stored
//! is in one of the pushes, as their number says, and nothing is pushed that is not stored.

use std::time::Duration;

use rand::Rng;
use reqwest::Method;

use crate::{
    checker::Violation,
    stream::Stream,
    support::{Browser, Http, PostReply, PushService, Pushed, eventually},
};

/// Maximum time until a subscription is stored: nothing is broken yet.
const SUBSCRIBED_WITHIN: Duration = Duration::from_secs(10);
/// Maximum number of failing tries of one browser in a row.
const FAILS: usize = 3;
/// Characters of a text that a push holds.
const BEGINNING: usize = 200;

/// A push service that sometimes fails, hangs or is slow.
pub async fn moody_service() -> PushService {
    let service = PushService::start().await;
    let mut failed = 0;
    service.answers(move |_, _| {
        let reply = match rand::rng().random_range(0..100) {
            _ if failed >= FAILS => PostReply::Status(201),
            0..3 => PostReply::Hang,
            3..10 => PostReply::Status(500),
            10..15 => PostReply::Late(201, Duration::from_millis(50)),
            _ => PostReply::Status(201),
        };
        let is_failure = matches!(reply, PostReply::Hang | PostReply::Status(500));
        failed = if is_failure { failed + 1 } else { 0 };
        reply
    });
    service
}

/// A browser of the user of this token, who is told of the room.
pub async fn subscribe(service: &PushService, http: &Http, room: &str, token: &str) -> Browser {
    let (browser, path) = (service.browser(), format!("/api/rooms/{room}/push"));
    eventually(SUBSCRIBED_WITHIN, "a subscription", async || {
        let request = http.request(Method::PUT, &path).bearer_auth(token);
        let answer = http.send(request.json(&browser.subscription())).await;
        (answer.status == 200).then_some(())
    })
    .await;
    browser
}

/// The number of messages in these pushes.
pub fn count(pushes: &[Pushed]) -> usize {
    let more = |push: &Pushed| push.payload["more"].as_u64().unwrap();
    pushes.iter().map(|push| 1 + usize::try_from(more(push)).unwrap()).sum()
}

/// The number of messages of a room that had to be pushed: of one that was deleted before, nothing is told.
pub fn due(stream: &Stream) -> usize {
    stream.0.values().filter(|stored| !stored.is_deleted).count()
}

/// The violations in the pushes of a room to somebody who was never there.
pub fn check(room: &str, pushes: &[Pushed], stream: &Stream) -> Vec<Violation> {
    let mut wrong = Vec::new();
    let mut violation = |what: String| wrong.push(Violation { check: "pushed", what });
    if count(pushes) < due(stream) {
        violation(format!("{room}: {} of {} messages", count(pushes), due(stream)));
    }
    for Pushed { payload, .. } in pushes {
        let is_stored = stream.0.values().any(|stored| {
            let beginning: String = stored.text.chars().take(BEGINNING).collect();
            payload["from"] == stored.from && payload["text"] == beginning
        });
        // Without a sender, it tells of earlier ones of a message that was deleted.
        if payload["roomId"] != room || !(is_stored || payload["from"].is_null()) {
            violation(format!("{room}: nobody said {payload}"));
        }
    }
    wrong
}
