//! The join storm: all users but the talkers drop their connections and come back at once.

use std::{sync::atomic::Ordering, time::Instant};

use anyhow::ensure;

use super::{
    JOIN_PATIENCE, LOOK_EVERY, Phase, Run, all_in,
    latency::Latencies,
    report::{Storm, TalkersP99},
};

/// Times until a sender has its own message back, by when it was sent.
pub struct RoundTrips {
    /// Outside of the storm.
    pub quiet: Latencies,
    /// From when users dropped their connections until all were back.
    pub storm: Latencies,
}

impl Default for RoundTrips {
    fn default() -> Self {
        Self { quiet: Latencies::new(), storm: Latencies::new() }
    }
}

impl RoundTrips {
    /// The histogram for messages that are sent in this phase.
    pub fn of(&self, phase: Phase) -> &Latencies {
        if phase < Phase::Dropping { &self.quiet } else { &self.storm }
    }
}

/// Makes the users drop their connections, and come back once all have dropped.
///
/// # Errors
/// Some of them are still not back after two minutes.
pub async fn run(run: &Run, connections: usize, talkers: usize) -> anyhow::Result<Storm> {
    run.phase.send_replace(Phase::Dropping);
    let began = Instant::now();
    while run.counts.inside.load(Ordering::Relaxed) > talkers {
        ensure!(began.elapsed() < JOIN_PATIENCE, "some users do not drop their connections");
        tokio::time::sleep(LOOK_EVERY).await;
    }
    run.phase.send_replace(Phase::Storming);
    let entry = all_in(run, connections, connections - talkers).await?;
    let RoundTrips { quiet, storm } = &run.round_trips;
    let talkers_p99_ms = TalkersP99 { quiet: quiet.at(0.99), storm: storm.at(0.99) };
    Ok(Storm { entry, talkers, talkers_p99_ms })
}
