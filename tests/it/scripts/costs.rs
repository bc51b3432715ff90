//! The storage that an address is charged for is at least the memory that Redis needs.

use linkroom::{
    limits::storage,
    names::{RoomId, Token, UserId},
    redis::scripts::{Draft, RoomOptions, Sender},
};

use super::{Bench, HERE, NO_FLOOD_LIMIT};

/// Number of items of each kind that are measured together.
const COUNT: usize = 500;

/// A unique name of this many characters of four bytes each.
fn name(number: usize, characters: usize) -> UserId {
    let tail = number.to_string();
    UserId::stored(&format!("{}{tail}", "\u{1F600}".repeat(characters - tail.len())))
}

fn used(bench: &Bench) -> usize {
    let info = bench.redis.cmd(["INFO", "memory"]).text().to_owned();
    let line = info.lines().find_map(|line| line.strip_prefix("used_memory:"));
    line.unwrap().trim().parse().unwrap()
}

/// The average memory of each of many items.
async fn measured(bench: &Bench, make: impl AsyncFn(usize)) -> usize {
    let before = used(bench);
    for number in 0..COUNT {
        make(number).await;
    }
    (used(bench).saturating_sub(before)) / COUNT
}

async fn a_room(bench: &Bench, creator: &UserId, topic: Option<String>) -> RoomId {
    let (room, token) = (RoomId::random(), Token::random(creator));
    let options = RoomOptions { topic, ..RoomOptions::default() };
    assert!(bench.scripts.create_room(&room, creator, &token, &options, HERE).await.unwrap());
    room
}

#[tokio::test]
async fn nothing_takes_more_of_redis_than_it_costs() {
    let bench = Bench::new(&[NO_FLOOD_LIMIT]).await;
    // Scripts and hash tables must exist before the measurement.
    measured(&bench, async |number| drop(a_room(&bench, &name(number, 4), None).await)).await;

    for topic in [None, Some("\u{1F600}".repeat(120)), Some("\u{1F600}".repeat(1000))] {
        let took = measured(&bench, async |number| {
            a_room(&bench, &name(number, 32), topic.clone()).await;
        })
        .await;
        let cost = storage::ROOM + storage::topic(topic.as_deref());
        assert!(took <= cost, "a room: {took} of {cost}");
    }

    let room = a_room(&bench, &UserId::stored("owner"), None).await;
    let took = measured(&bench, async |number| {
        let user = name(number, 32);
        bench.scripts.add_session(&room, &user, &Token::random(&user), HERE).await.unwrap();
    })
    .await;
    assert!(took <= storage::SESSION, "a session: {took} of {}", storage::SESSION);

    let took = measured(&bench, async |number| {
        let user = name(number + COUNT, 32);
        let connection = format!("0123456789ab-{number}");
        bench.join(&room, user.as_str(), &Token::random(&user), true, &connection).await.unwrap();
    })
    .await;
    let cost = storage::SESSION + storage::CONNECTION;
    assert!(took <= cost, "a guest who joins: {took} of {cost}");

    let (user, token) = (UserId::stored("tabs"), Token::random(&UserId::stored("tabs")));
    bench.scripts.add_session(&room, &user, &token, HERE).await.unwrap();
    let took = measured(&bench, async |number| {
        // The maximum of one user's connections, then the same again.
        let connection = format!("0123456789ab-{}", number % 40);
        bench.join(&room, "tabs", &token, false, &connection).await.unwrap();
    })
    .await;
    assert!(took <= storage::CONNECTION, "a connection: {took} of {}", storage::CONNECTION);
}

#[tokio::test]
async fn no_message_takes_more_of_redis_than_it_costs() {
    let bench = Bench::new(&[NO_FLOOD_LIMIT]).await;
    let longest = "\u{1F600}".repeat(64);
    for text in ["a".to_owned(), "x".repeat(1000), "\u{1F600}".repeat(4000)] {
        for key in [None, Some(0), Some(longest.len())] {
            // Every user sends one message, so that no two keys share a hash; in several rooms, so
            // that nothing is trimmed.
            let mut senders = Vec::new();
            for number in 0..COUNT {
                if number % 250 == 0 {
                    senders.push((a_room(&bench, &name(0, 4), None).await, Vec::new()));
                }
                let (room, tokens) = senders.last_mut().unwrap();
                let user = name(number, 32);
                let token = Token::random(&user);
                bench.scripts.add_session(room, &user, &token, HERE).await.unwrap();
                tokens.push((user, token));
            }
            let senders: Vec<_> = senders
                .into_iter()
                .flat_map(|(room, users)| users.into_iter().map(move |(u, t)| (room.clone(), u, t)))
                .collect();
            let key = key.map(|length| if length == 0 { "k".to_owned() } else { longest.clone() });
            let took = measured(&bench, async |number| {
                let (room, user, token) = senders[number].clone();
                let (sender, text, key) = (Sender::Session(token), text.clone(), key.clone());
                bench.publish(&room, &Draft { user, sender, text, key }).await.unwrap();
            })
            .await;
            let cost = storage::message(&text, key.as_deref());
            let lengths = (text.len(), key.map(|key| key.len()));
            assert!(took <= cost, "a message of {lengths:?}: {took} of {cost}");
        }
    }
}
