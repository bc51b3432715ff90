//! Connections that join in one call: each is told what it would have been told alone, and what goes wrong with one
//! goes wrong with nobody else.

use linkroom::{
    error::{Code, Error},
    names::{MessageId, RoomId, Token, UserId},
    redis::{
        keys::KeyStyle,
        scripts::{Join, Joined, RoomChange, Snapshot},
    },
};

use super::{Bench, NO_FLOOD_LIMIT, a_join, code, stored};

/// Connections that join in one call of a node.
const TOGETHER: usize = 16;

fn guest(number: usize, since: Option<MessageId>) -> Join {
    let name = format!("guest {number:02}");
    let token = Token::random(&UserId::stored(&name));
    a_join(&name, &token, true, &format!("c{number}"), since)
}

impl Bench {
    /// Has these join together, in as many calls as it takes. Returns what became of each, and the calls.
    async fn join_all(
        &self,
        room: &RoomId,
        joins: &[Join],
    ) -> (Vec<Result<Snapshot, Error>>, usize) {
        let mut became: Vec<_> = joins.iter().map(|_| None).collect();
        let mut calls = 0;
        while became.iter().any(Option::is_none) {
            let waiting: Vec<usize> = (0..joins.len()).filter(|at| became[*at].is_none()).collect();
            let going: Vec<&Join> = waiting.iter().map(|at| &joins[*at]).collect();
            let outcomes = self.scripts.join(room, &going).await.unwrap();
            calls += 1;
            for (at, outcome) in waiting.into_iter().zip(outcomes) {
                became[at] = match outcome {
                    Joined::In(snapshot) => Some(Ok(snapshot)),
                    Joined::Refused(error) => Some(Err(error)),
                    Joined::Later => None,
                };
            }
        }
        (became.into_iter().flatten().collect(), calls)
    }
}

/// What of a snapshot a connection is told of the history.
fn told(snapshot: &Snapshot) -> (Vec<MessageId>, bool, Vec<MessageId>) {
    let ids = snapshot.messages.iter().map(|message| message.id).collect();
    (ids, snapshot.more, snapshot.deleted.clone())
}

#[tokio::test]
async fn whoever_joins_with_others_is_told_what_it_would_be_told_alone() {
    // Some histories fit, some do not, some are cut off by their bytes; and a call reads no more than that.
    for limits in
        [["--resume-max=1000", "--joined-bytes=262144"], ["--resume-max=7", "--joined-bytes=4096"]]
    {
        let bench = Bench::new(&[&[NO_FLOOD_LIMIT][..], &limits].concat()).await;
        let (room, _) = bench.room().await;
        bench.guest(&room, "writer").await.unwrap();
        let mut ids = Vec::new();
        for number in 0..60 {
            let text = "x".repeat(number * 7);
            ids.push(stored(bench.say(&room, "writer", &text, None).await));
        }
        // One that somebody deleted by hand, and ids that nobody was ever given.
        bench.redis.cmd(["XDEL", &format!("room:{room}:messages"), &ids[30].to_string()]);
        let made_up =
            [MessageId { seq: ids[20].seq + 1, ..ids[20] }, MessageId::MAX, MessageId::ZERO];
        let seen = ids.iter().step_by(3).chain(&ids[58..]).chain(&made_up).copied().map(Some);
        let seen: Vec<_> = seen.chain([None]).collect();

        let mut alone = Vec::new();
        for (number, since) in seen.iter().enumerate() {
            let join = guest(number, *since);
            let (mut became, _) = bench.join_all(&room, &[join]).await;
            alone.push(told(&became.remove(0).unwrap()));
        }
        for (turn, seen_at_once) in seen.chunks(TOGETHER).enumerate() {
            let first = turn * TOGETHER;
            for order in [false, true] {
                let mut numbers: Vec<usize> = (first..first + seen_at_once.len()).collect();
                if order {
                    numbers.reverse();
                }
                let base = 100 + 100 * usize::from(order);
                let joins: Vec<_> = numbers.iter().map(|at| guest(base + at, seen[*at])).collect();
                let (together, _) = bench.join_all(&room, &joins).await;
                for (at, snapshot) in numbers.iter().zip(together) {
                    assert_eq!(told(&snapshot.unwrap()), alone[*at], "since {:?}", seen[*at]);
                }
            }
        }
    }
}

#[tokio::test]
async fn one_that_is_refused_keeps_none_of_the_others_out() {
    let bench = Bench::new(&[NO_FLOOD_LIMIT]).await;
    let (room, owner) = bench.room().await;
    bench.guest(&room, "bad").await.unwrap();
    let bad = KeyStyle::Plain.room(&room).session(&UserId::stored("bad"));
    for planted in [["RPUSH", &bad, "no hash"], ["SADD", &bad, "no hash"]] {
        bench.redis.cmd(["DEL", &bad]);
        bench.redis.cmd(planted);
        let number = planted[0].len();
        let token = Token::random(&UserId::stored("bad"));
        let taken = Join { token: token.clone(), ..guest(number, None) };
        let joins = [
            guest(number, None),
            a_join("bad", &token, true, "bad-2", None),
            taken,
            a_join("owner", &token, false, "owner-1", None),
            a_join("owner", &owner, false, &format!("owner-{number}"), None),
        ];
        let mut events = bench.events(&room);
        let (became, calls) = bench.join_all(&room, &joins).await;
        let codes: Vec<_> = became.into_iter().map(code).collect();
        let expected =
            [None, Some(Code::Internal), Some(Code::NameTaken), Some(Code::InvalidToken), None];
        assert_eq!((codes, calls), (expected.to_vec(), 1));
        assert_eq!(events.count("user_joined"), 1, "the owner is here already");
    }
}

#[tokio::test]
async fn a_room_has_as_many_places_for_those_who_come_together() {
    let bench = Bench::new(&[NO_FLOOD_LIMIT]).await;
    let (room, owner) = bench.room().await;
    let change = RoomChange { max_members: Some(5), ..RoomChange::default() };
    let by = UserId::stored("owner");
    bench.scripts.update_room(&room, &by, &owner, &change).await.unwrap();
    let joins: Vec<_> = (0..TOGETHER).map(|number| guest(number, None)).collect();
    let (became, _) = bench.join_all(&room, &joins).await;
    let codes: Vec<_> = became.iter().map(|became| became.as_ref().err().map(|e| e.code)).collect();
    assert!(codes[..4].iter().all(Option::is_none), "{codes:?}");
    assert!(codes[4..].iter().all(|code| *code == Some(Code::RoomFull)), "{codes:?}");
    // They are told of each other: the snapshot is that of the moment in which all of them are in.
    assert!(became.iter().flatten().all(|snapshot| snapshot.member_count == 5));
}
