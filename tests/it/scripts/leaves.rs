//! Connections that leave together in one call.

use std::time::Duration;

use linkroom::{
    names::{Token, UserId},
    redis::scripts::LeaveOutcome::{Grace, Left, Stays},
};

use super::{Bench, leaves};

const GRACE: Duration = Duration::from_secs(5);
const AT_ONCE: Duration = Duration::ZERO;

#[tokio::test]
async fn each_user_leaves_with_its_last_connection_however_many_leave_together() {
    let bench = Bench::new(&[]).await;
    let (room, _) = bench.room().await;
    for name in ["a", "b:c", "d", "bad"] {
        let token = Token::random(&UserId::stored(name));
        for number in 1..=3 {
            let id = format!("{name}-{number}");
            bench.join(&room, name, &token, number == 1, &id).await.unwrap();
        }
    }
    let session = format!("user:{room}:bad:session");
    bench.redis.cmd(["DEL", &session]);
    bench.redis.cmd(["RPUSH", &session, "no hash"]);
    let mut events = bench.events(&room);
    let rows = [
        ("a", 1, GRACE, Stays),
        ("b:c", 1, AT_ONCE, Stays),
        ("bad", 1, AT_ONCE, Stays),
        ("a", 2, AT_ONCE, Stays),
        ("d", 3, GRACE, Stays),
        ("d", 1, GRACE, Stays),
        ("a", 3, GRACE, Grace),
        ("a", 3, GRACE, Stays),
        ("nobody", 1, GRACE, Stays),
        ("d", 2, AT_ONCE, Left),
        ("d", 3, GRACE, Stays),
    ];
    let leaving = rows.map(|(name, number, grace, _)| {
        leaves(&UserId::stored(name), &format!("{name}-{number}"), grace)
    });
    let left = bench.scripts.leave(&room, &leaving.each_ref()).await.unwrap();
    assert_eq!(left.outcomes, rows.map(|(.., outcome)| outcome));
    assert_eq!(bench.members(&room), ["a", "b:c", "bad", "owner"]);
    let told = events.take();
    assert!(told.len() == 1 && told[0]["t"] == "user_left" && told[0]["userId"] == "d", "{told:?}");
    assert!(bench.lapses_in(&room, "a") <= 5_000);
    assert!(bench.lapses_in(&room, "b:c") > 5_000, "two of its connections are left");
}
