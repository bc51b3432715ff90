//! What the webhook was told, held against the streams: each message that is stored, in the order of its room, and no
//! other; joins and leaves of a user in turn.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use rand::Rng;

use crate::{
    checker::Violation,
    stream::{Id, Stream},
    support::{Post, PostReply, Receiver},
};

/// Maximum time from the last fault until all events arrived: some are retried repeatedly.
pub const TOLD_WITHIN: Duration = Duration::from_secs(60);
/// Maximum number of failing tries of one event.
const FAILS: usize = 3;

/// A receiver that sometimes fails, hangs or is slow.
pub async fn moody_receiver() -> Receiver {
    let receiver = Receiver::start().await;
    receiver.answers(|_, before| match (rand::rng().random_range(0..100), before) {
        (_, FAILS..) => PostReply::Status(200),
        (0..2, _) => PostReply::Hang,
        (2..6, _) => PostReply::Status(500),
        (6..10, _) => PostReply::Late(200, Duration::from_millis(50)),
        _ => PostReply::Status(204),
    });
    receiver
}

/// The ids of the messages of a room that the webhook got.
pub fn messages(posts: &[Post]) -> Vec<Id> {
    let messages = posts.iter().filter(|post| post.kind() == "message.created");
    messages.filter_map(|post| Id::of(post.data())).collect()
}

/// The violations in the events of a room.
pub fn check(room: &str, posts: &[Post], stream: &Stream) -> Vec<Violation> {
    let mut wrong = Vec::new();
    let mut violation = |what: String| wrong.push(Violation { check: "told", what });
    let (told, stored) = (messages(posts), stream.0.keys().copied().collect::<Vec<_>>());
    if told != stored {
        let missing: Vec<_> = stored.iter().filter(|id| !told.contains(id)).take(5).collect();
        let unknown: Vec<_> = told.iter().filter(|id| !stored.contains(id)).take(5).collect();
        let (count, all) = (told.len(), stored.len());
        violation(format!("{room}: {count} of {all}; missing {missing:?}, not stored {unknown:?}"));
    }
    let of_deletions = posts.iter().filter(|post| post.kind() == "message.deleted");
    let told: Vec<_> = of_deletions.filter_map(|post| Id::of(post.data())).collect();
    let deleted = stream.0.iter().filter(|(_, stored)| stored.is_deleted).map(|(id, _)| *id);
    let (once, deleted) = (BTreeSet::from_iter(told.iter().copied()), deleted.collect());
    if once != deleted || once.len() < told.len() {
        violation(format!("{room}: told that {told:?} were deleted, which are {deleted:?}"));
    }
    let mut here: BTreeMap<&str, bool> = BTreeMap::new();
    for post in posts.iter().filter(|post| post.kind().starts_with("member.")) {
        let user = post.data()["userId"].as_str().unwrap();
        let joins = post.kind() == "member.joined";
        if here.insert(user, joins).unwrap_or(false) == joins {
            violation(format!("{room}: {} of {user} twice in a row", post.kind()));
        }
    }
    wrong
}
