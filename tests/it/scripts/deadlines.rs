//! How long a member stays, independent of its deadline: Redis's clock may have been set back, or
//! another program has written a deadline.

use std::time::Duration;

use linkroom::names::{RoomId, UserId};

use super::{Bench, leaves};

impl Bench {
    fn now_ms(&self) -> u64 {
        let time = self.redis.cmd(["TIME"]);
        let [seconds, micros] = [0, 1].map(|at| time.list()[at].text().parse::<u64>().unwrap());
        seconds * 1_000 + micros / 1_000
    }

    /// The time until the member lapses, in ms.
    pub(super) fn lapses_in(&self, room: &RoomId, name: &str) -> u64 {
        let deadline = self.redis.texts(["ZMSCORE", &format!("room:{room}:deadlines"), name]);
        deadline[0].parse::<f64>().unwrap() as u64 - self.now_ms()
    }

    /// Simulates that everything in the room was written while the clock was this far ahead.
    fn set_back(&self, room: &RoomId, ahead_ms: u64) {
        let deadlines = format!("room:{room}:deadlines");
        for name in self.members(room) {
            self.redis.cmd(["ZINCRBY", &deadlines, &ahead_ms.to_string(), &name]);
            let session = format!("user:{room}:{name}:session");
            for field in self.redis.texts(["HKEYS", &session]) {
                if field.starts_with("conn:") {
                    let lapses = self.redis.texts(["HMGET", &session, &field])[0].clone();
                    let lapses: u64 = lapses.split(' ').next().unwrap().parse().unwrap();
                    let planted = format!("{} online", lapses + ahead_ms);
                    self.redis.cmd(["HSET", &session, &field, &planted]);
                }
            }
        }
    }
}

#[tokio::test]
async fn a_connection_counts_for_a_presence_and_a_closed_one_for_a_grace() {
    for (presence_ms, grace_ms) in [(30_000, 5_000), (5_000, 30_000), (5_000, 5_000)] {
        let bench = Bench::new(&[
            &format!("--presence-ttl={presence_ms}ms"),
            &format!("--leave-grace={grace_ms}ms"),
        ])
        .await;
        let names = ["here", "closed"];
        for ahead_ms in [40_000, 3_600_000, 1_000_000_000_000] {
            for looks_by_itself in [false, true] {
                let (room, _) = bench.room().await;
                for name in names {
                    bench.guest(&room, name).await.unwrap();
                }
                let grace = Duration::from_millis(grace_ms);
                let closed = UserId::stored("closed");
                bench.leave(&room, leaves(&closed, "closed-1", grace)).await.unwrap();
                bench.set_back(&room, ahead_ms);
                if looks_by_itself {
                    bench.scripts.read_room(&room).await.unwrap();
                } else {
                    let reply = bench.scripts.heartbeat(&room, "@1", &[], &[]).await.unwrap();
                    assert!(reply.bounded, "the node looks at it again");
                }
                let left = names.map(|name| bench.lapses_in(&room, name));
                let slack = 2_000;
                let is_bounded = |left: u64, most: u64| left <= most && left + slack >= most;
                assert!(is_bounded(left[0], presence_ms), "{left:?} {presence_ms} {ahead_ms}");
                assert!(is_bounded(left[1], grace_ms), "{left:?} {grace_ms} {ahead_ms}");
                let again = bench.scripts.heartbeat(&room, "@2", &[], &[]).await.unwrap();
                assert!(!again.bounded, "once is enough");
            }
        }
    }
}

#[tokio::test]
async fn of_several_connections_none_counts_for_longer_than_a_presence() {
    let bench = Bench::new(&["--presence-ttl=2s", "--leave-grace=60s"]).await;
    let (room, _) = bench.room().await;
    let token = linkroom::names::Token::random(&UserId::stored("two"));
    bench.join(&room, "two", &token, true, "two-1").await.unwrap();
    bench.set_back(&room, 3_600_000);
    bench.join(&room, "two", &token, false, "two-2").await.unwrap();
    assert!(bench.lapses_in(&room, "two") <= 2_000);
    bench.leave(&room, leaves(&UserId::stored("two"), "two-2", Duration::ZERO)).await.unwrap();
    assert!(bench.lapses_in(&room, "two") <= 2_000);
}

#[tokio::test]
async fn a_grace_ends_by_the_clock_of_its_node_where_nobody_came_back() {
    let bench = Bench::new(&["--presence-ttl=30s", "--leave-grace=5s"]).await;
    let (room, _) = bench.room().await;
    let mut graces = Vec::new();
    for name in ["gone", "returned"] {
        let token = linkroom::names::Token::random(&UserId::stored(name));
        bench.join(&room, name, &token, true, &format!("{name}-1")).await.unwrap();
        let leave = leaves(&UserId::stored(name), &format!("{name}-1"), Duration::from_secs(5));
        graces.extend(bench.scripts.leave(&room, &[&leave]).await.unwrap().graces);
        if name == "returned" {
            bench.join(&room, name, &token, false, "returned-2").await.unwrap();
        }
    }
    // Less than a presence, so the deadline alone does not show that the clock was set back.
    bench.set_back(&room, 10_000);
    for grace in &mut graces {
        grace.until_ms += 10_000;
    }
    assert!(bench.lapses_in(&room, "gone") > 10_000);
    let mut events = bench.events(&room);
    bench.scripts.sweep_room(&room, &graces).await.unwrap();
    assert_eq!(events.count("user_left"), 1);
    assert!(bench.members(&room).contains(&"returned".to_owned()));
    bench.scripts.sweep_room(&room, &graces).await.unwrap();
    assert_eq!(events.count("user_left"), 0, "it is told once");
}
