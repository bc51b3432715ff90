//! Checks that everything works: probes reach every client, and the lists of members are right.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use tokio::time::sleep;

use super::{Running, USERS};
use crate::{
    client::Order,
    world::{LAPSES_WITHIN, Room},
};

/// The maximum time from the end of the last fault until everything works again.
pub(super) const RECOVERS_WITHIN: Duration = Duration::from_secs(15);

impl Running {
    /// Sends a message in each room; returns how long it took until every client there received it.
    pub(super) async fn probe(&self, what: &str) -> Option<Duration> {
        let asked = Instant::now();
        let text = format!("probe {what} {}", asked.duration_since(self.start).as_millis());
        for speaker in self.residents.iter().step_by(USERS + 1) {
            speaker.order(Order::Say(text.clone()));
        }
        loop {
            let heard: Vec<_> = self.residents.iter().map(|c| c.history.heard(&text)).collect();
            if let Some(last) = heard.iter().copied().collect::<Option<Vec<Instant>>>() {
                return last.into_iter().max().map(|last| last - asked);
            }
            if asked.elapsed() > RECOVERS_WITHIN {
                let deaf = self.residents.iter().filter(|c| c.history.heard(&text).is_none());
                let names: Vec<_> =
                    deaf.map(|c| format!("{} of {}", c.history.name(), c.history.room())).collect();
                self.violation("works again", format!("{what}: nothing reached {names:?}"));
                return None;
            }
            sleep(Duration::from_millis(5)).await;
        }
    }

    /// Without faults, waits until every client has everything and the members are right. Returns
    /// the time of the first.
    pub(super) async fn settle(&self) -> Option<Duration> {
        let after = self.probe("quiet").await?;
        self.check_members("quiet", LAPSES_WITHIN).await;
        Some(after)
    }

    /// Checks that the members of each room are right, in Redis and in every client's view, within
    /// `deadline`.
    pub(super) async fn check_members(&self, when: &str, deadline: Duration) {
        for room in &self.rooms {
            let mut wrong = None;
            let is_right = async || {
                wrong = self.who_is_wrong(room).await;
                wrong.is_none().then_some(())
            };
            if !eventually_or_not(deadline, is_right).await {
                let what = format!("{when}: {}: {}", room.id, wrong.unwrap_or_default());
                self.violation("members", what);
            }
        }
    }

    /// Describes how the members in Redis, or a client's view of them, differ from those who are in
    /// the room.
    async fn who_is_wrong(&self, room: &Room) -> Option<String> {
        let expected: BTreeSet<_> = room.tokens.iter().map(|(name, _)| name.clone()).collect();
        let here = self.residents.iter().filter(|client| client.history.room() == room.id);
        let histories: Vec<_> = here.map(|client| &client.history).collect();
        let shows_up = |name: &String| {
            histories.iter().any(|history| history.name() == name && !history.is_away())
        };
        let away: BTreeSet<_> = expected.iter().filter(|name| !shows_up(name)).cloned().collect();
        let members = self.world.members(&room.id).await;
        if !members.iter().eq(&expected) {
            return Some(format!("Redis has {members:?}"));
        }
        let is_large = self.world.is_large(&room.id).await;
        for history in histories {
            let Some(view) = history.view() else {
                return Some(format!("{} is not in the room", history.name()));
            };
            let is_right = match is_large {
                true => view.count == expected.len() as u64,
                false => view.members == expected && view.away == away,
            };
            if !is_right {
                return Some(format!("{} sees {view:?}, away are {away:?}", history.name()));
            }
        }
        None
    }
}

/// Whether the condition holds before `deadline`.
pub(super) async fn eventually_or_not(
    deadline: Duration,
    mut check: impl AsyncFnMut() -> Option<()>,
) -> bool {
    let asked = Instant::now();
    while check().await.is_none() {
        if asked.elapsed() > deadline {
            return false;
        }
        sleep(Duration::from_millis(20)).await;
    }
    true
}
