//! No call of a script keeps Redis for long, however large the room is: what it does is counted, command by command.

use std::collections::BTreeMap;

use linkroom::names::{RoomId, Token, UserId};

use super::{Bench, NO_FLOOD_LIMIT, STRANGER, a_join};

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

/// How often each command runs while this is done.
async fn during(bench: &Bench, done: impl Future<Output = ()>) -> BTreeMap<String, u64> {
    let before = calls(bench);
    done.await;
    let mut ran = calls(bench);
    ran.iter_mut().for_each(|(name, count)| *count -= before.get(name).copied().unwrap_or(0));
    // The node looks whether Redis is there, whatever is done.
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
            again = bench.scripts.sweep_room(&room).await.unwrap();
        })
        .await;
        // From the members and from those who are away.
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

/// A join, a heartbeat, a look and a leave are as many commands in a room of 300 as in one of 30.
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
    // Whether the number is told meanwhile is up to the clock.
    assert!(all[0].abs_diff(all[1]) < 10, "{costs:?}");
}
