//! No script call blocks Redis for long, however large the room is: its commands are counted.

use std::collections::BTreeMap;

use linkroom::{
    error::Code,
    names::{RoomId, Token, UserId},
    redis::{
        keys::KeyStyle,
        scripts::{RoomChange, RoomOptions},
    },
};

use super::{Bench, HERE, NO_FLOOD_LIMIT, STRANGER, a_join, code, foreign::WEBHOOK, stored};

/// Members that one call clears, at most.
const STEP: u64 = 64;
const ROSTER_MAX: &str = "--roster-max=10";

/// How often each command ran so far, in scripts too.
fn calls(bench: &Bench) -> BTreeMap<String, u64> {
    let statistics = bench.redis.cmd(["INFO", "commandstats"]).text().to_owned();
    let line = |line: &str| {
        let (name, fields) = line.strip_prefix("cmdstat_")?.split_once(":calls=")?;
        Some((name.to_owned(), fields.split(',').next()?.parse().ok()?))
    };
    statistics.lines().filter_map(line).collect()
}

/// Number of calls of each command during this.
async fn during(bench: &Bench, done: impl Future<Output = ()>) -> BTreeMap<String, u64> {
    let before = calls(bench);
    done.await;
    let mut ran = calls(bench);
    ran.iter_mut().for_each(|(name, count)| *count -= before.get(name).copied().unwrap_or(0));
    // The node's own probes, which always run.
    let own = ["info", "time", "ping", "evalsha", "publish", "acl|dryrun", "script|load"];
    ran.retain(|name, count| *count > 0 && !own.contains(&name.as_str()));
    ran
}

async fn fill(bench: &Bench, room: &RoomId, names: std::ops::Range<usize>) {
    for number in names {
        bench.guest(room, &format!("guest {number:04}")).await.unwrap();
    }
}

#[tokio::test]
async fn those_who_lapsed_are_cleared_step_by_step() {
    let bench = Bench::new(&[ROSTER_MAX, NO_FLOOD_LIMIT]).await;
    let (room, _) = bench.room().await;
    let count = 3 * STEP as usize + 5;
    fill(&bench, &room, 0..count).await;
    for number in 0..count {
        bench.lapse(&room, &format!("guest {number:04}"));
    }
    let mut steps = 0;
    loop {
        let (mut again, before) = (None, bench.redis.calls("srem"));
        let ran = during(&bench, async {
            again = bench.scripts.sweep_room(&room, &[]).await.unwrap();
        })
        .await;
        // From the members and from the away ones.
        assert!(bench.redis.calls("srem") - before <= 2 * STEP, "{ran:?}");
        steps += 1;
        if again.is_none_or(|again| !again.is_zero()) {
            break;
        }
    }
    assert_eq!(steps, 4);
    assert_eq!(bench.members(&room), ["owner"]);
    assert_eq!(bench.scripts.read_members(&room, &STRANGER, "", 9).await.unwrap().len(), 1);
}

/// What those who join together have in common is done once.
#[tokio::test]
async fn joins_together_take_a_fraction_of_the_commands() {
    let bench = Bench::new(&[NO_FLOOD_LIMIT]).await;
    let (room, _) = bench.room().await;
    let users: Vec<_> = (0..16)
        .map(|number| {
            let name = format!("guest {number}");
            let token = Token::random(&UserId::stored(&name));
            (name, token)
        })
        .collect();
    let join = async |count: usize, is_new: bool| {
        let users = users[..count].iter();
        let id = format!("{count} {is_new}");
        let joins: Vec<_> =
            users.map(|(name, token)| a_join(name, token, is_new, &id, None)).collect();
        let joins: Vec<_> = joins.iter().collect();
        let ran =
            during(&bench, async { drop(bench.scripts.join(&room, &joins).await.unwrap()) }).await;
        ran.values().sum::<u64>()
    };
    join(16, true).await;
    // As they come back.
    let (alone, together) = (join(1, false).await, join(16, false).await);
    assert!(together < 16 * alone / 2, "{alone} for one, {together} for sixteen");
}

/// A join, a heartbeat, a read and a leave need as many commands in a room of 300 as in one of 30.
#[tokio::test]
async fn what_one_member_does_costs_the_same_in_a_room_of_any_size() {
    let bench = Bench::new(&[ROSTER_MAX, NO_FLOOD_LIMIT]).await;
    let mut costs = [30, 300].map(|_| BTreeMap::new());
    for (size, cost) in [30, 300].into_iter().zip(&mut costs) {
        let (room, _) = bench.room().await;
        fill(&bench, &room, 0..size).await;
        *cost = during(&bench, async {
            bench.guest(&room, "late").await.unwrap();
            let heard = super::connection("late-1", std::time::Duration::ZERO, Default::default());
            bench.beat(&room, &[bench.heard(&room, "late", vec![heard])]).await.unwrap();
            bench.scripts.read_room(&room).await.unwrap();
            bench.scripts.read_members(&room, &STRANGER, "", 10).await.unwrap();
            let late = UserId::stored("late");
            let leave = super::leaves(&late, "late-1", std::time::Duration::ZERO);
            bench.leave(&room, leave).await.unwrap();
        })
        .await;
    }
    let all = costs.each_ref().map(|cost| cost.values().sum::<u64>());
    // Whether the number is published meanwhile depends on the clock.
    assert!(all[0].abs_diff(all[1]) < 10, "{costs:?}");
}

/// Users of whom one call deletes what there is, at most; each has four keys.
const CLEARED: u64 = 128;

/// The first call ends the room for everybody, and what is left of its users is deleted some at a time. Whoever does
/// that may die: nothing lasts.
#[tokio::test]
async fn a_room_is_ended_at_once_and_cleared_step_by_step() {
    let bench = Bench::new(&[NO_FLOOD_LIMIT]).await;
    let (room, owner) = bench.room().await;
    let creator = UserId::stored("owner");
    fill(&bench, &room, 0..3 * CLEARED as usize).await;
    for number in 0..CLEARED {
        let user = UserId::stored(&format!("session {number}"));
        bench.scripts.add_session(&room, &user, &Token::random(&user), HERE).await.unwrap();
    }
    bench.say(&room, "guest 0000", "hi", Some("key")).await.unwrap();
    let mut is_more = false;
    let ran = during(&bench, async {
        is_more = bench.scripts.close_room(&room, &creator, &owner).await.unwrap();
    })
    .await;
    // For each user its keys, and its subscription to pushes.
    assert!(is_more && ran.values().sum::<u64>() < 3 * CLEARED, "{ran:?}");

    // From now on there is no room, whatever is left of it.
    let refused = Some(Code::RoomNotFound);
    let late = Token::random(&creator);
    assert_eq!(code(bench.guest(&room, "late").await), refused);
    assert_eq!(code(bench.join(&room, "owner", &owner, false, "c").await), refused);
    assert_eq!(code(bench.say(&room, "guest 0300", "late", None).await), refused);
    assert_eq!(code(bench.scripts.add_session(&room, &creator, &late, HERE).await), refused);
    assert_eq!(code(bench.scripts.read_room(&room).await), refused);
    let options = RoomOptions::default();
    assert!(!bench.scripts.create_room(&room, &creator, &late, &options, HERE).await.unwrap());
    let left = || bench.redis.texts(["KEYS", &format!("*{room}*")]);
    assert!(left().len() as u64 > 2 * CLEARED);
    for key in left() {
        let lasts = bench.redis.cmd(["PTTL", &key]).int();
        assert!((1..=20 * 60_000).contains(&lasts), "{key}: {lasts}");
    }

    let calls = bench.redis.calls("spop");
    bench.scripts.clear_room(&room).await.unwrap();
    // Each call asks for names of users, and of members.
    let steps = (bench.redis.calls("spop") - calls) / 2;
    assert_eq!(steps, 4, "the owner comes last");
    assert_eq!(left(), [""; 0]);
    // A room that is there is not cleared.
    let (other, _) = bench.room().await;
    bench.scripts.clear_room(&other).await.unwrap();
    assert_eq!(bench.members(&other), ["owner"]);
}

/// What its creator does costs the same in a room of 300 as in one of 30.
#[tokio::test]
async fn order_costs_the_same_in_a_room_of_any_size() {
    let bench = Bench::new(&[ROSTER_MAX, NO_FLOOD_LIMIT]).await;
    let mut costs = [30, 300].map(|_| BTreeMap::new());
    for (size, cost) in [30, 300].into_iter().zip(&mut costs) {
        let (room, owner) = bench.room().await;
        let creator = UserId::stored("owner");
        fill(&bench, &room, 0..size).await;
        let mut said = Vec::new();
        for number in 0..size.min(100) {
            let name = format!("guest {number:04}");
            said.push(super::stored(bench.say(&room, &name, "hi", Some("key")).await));
        }
        *cost = during(&bench, async {
            let scripts = &bench.scripts;
            scripts.delete_message(&room, &creator, &owner, said[7]).await.unwrap();
            let removed = UserId::stored("guest 0003");
            scripts.remove_user(&room, &creator, &owner, &removed, true).await.unwrap();
            let change = RoomChange { locked: Some(true), ..RoomChange::default() };
            scripts.update_room(&room, &creator, &owner, &change).await.unwrap();
            scripts.lift_bans(&room, &creator, &owner).await.unwrap();
        })
        .await;
    }
    let all = costs.each_ref().map(|cost| cost.values().sum::<u64>());
    assert!(all[0].abs_diff(all[1]) < 10 && all[1] < 100, "{costs:?}");
}

/// Events and dead letters that one call looks through, at most.
const LOOKED_THROUGH: u64 = 128;

/// However many events wait behind the one that tells of a message, and however many could not be posted. Whoever
/// deletes a message may die before its text is gone: deleting it again goes on.
#[tokio::test]
async fn the_text_of_a_deleted_message_is_looked_for_step_by_step() {
    let bench = Bench::new(&WEBHOOK).await;
    let (room, owner) = bench.room().await;
    let creator = UserId::stored("owner");
    let events = KeyStyle::Plain.room(&room).events();
    let dead = KeyStyle::Plain.hooks().dead();
    bench.guest(&room, "guest").await.unwrap();
    let said = stored(bench.say(&room, "guest", "secret", None).await);
    let made = format!(
        r#"evt_1-1 message.created 1 0 {{"roomId":"{room}","id":"{said}","text":"secret"}}"#
    );
    let fill = "for _ = 1, 1000 do \
            redis.call('RPUSH', KEYS[1], 'evt_1-1 member.joined 1 0 {}') \
            redis.call('XADD', KEYS[2], '*', 'x', 'y') \
        end";
    for is_again in [false, true] {
        if is_again {
            bench.redis.cmd(["DEL", &events]);
            bench.redis.cmd(["RPUSH", &events, &made]);
        }
        bench.redis.cmd(["EVAL", fill, "2", &events, &dead]);
        let has = |part: &str| {
            bench.redis.texts(["LRANGE", &events, "0", "-1"]).iter().any(|it| it.contains(part))
        };
        assert!(has("secret"));
        let count = || ["xrange", "lrange"].map(|name| bench.redis.calls(name));
        let before = count();
        bench.scripts.delete_message(&room, &creator, &owner, said).await.unwrap();
        let pages = count().iter().sum::<u64>() - before.iter().sum::<u64>();
        assert!(pages >= 2 * 1000 / LOOKED_THROUGH, "{pages}");
        assert!(!has("secret") && has(r#""deleted":true"#), "{is_again}");
    }
}
