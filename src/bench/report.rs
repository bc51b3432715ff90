//! The report of a run, for people and as JSON.

use std::fmt;

use serde::Serialize;

/// The results of a run.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BenchReport {
    pub url: String,
    pub connections: usize,
    pub rooms: usize,
    pub rate: usize,
    pub seconds: usize,
    pub sent: u64,
    pub acknowledged: u64,
    pub refused: u64,
    /// Messages that were neither acknowledged nor refused, after all retries.
    pub unanswered: u64,
    /// Messages that users received, counted for each user.
    pub deliveries: u64,
    /// Acknowledged messages that a user of the room did not receive.
    pub lost: u64,
    /// Messages that a user received more than once.
    pub doubled: u64,
    /// Messages that arrived after a later one.
    pub disordered: u64,
    pub reconnects: u64,
    /// The first join of all users.
    pub entry: Entry,
    /// Their return, with `--join-storm`.
    pub storm: Option<Storm>,
    pub latency_ms: Latency,
}

/// The joins of a group of users.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// Number of users.
    pub users: usize,
    /// Milliseconds until the last one was in its room.
    pub ms: f64,
    pub joins_per_second: f64,
    /// How often one of them was asked to retry later.
    pub deferred: u64,
}

/// A join storm.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Storm {
    #[serde(flatten)]
    pub entry: Entry,
    /// Users who stayed and sent messages.
    pub talkers: usize,
    pub talkers_p99_ms: TalkersP99,
}

/// Milliseconds until a talker has its own message back.
#[derive(Debug, Serialize)]
pub struct TalkersP99 {
    /// Before the storm.
    pub quiet: f64,
    /// During the storm.
    pub storm: f64,
}

impl Entry {
    /// This many users joined within this time, in microseconds.
    pub fn new(users: usize, took_us: u64, deferred: u64) -> Self {
        let ms = took_us.max(1) as f64 / 1000.0;
        Self { users, ms, joins_per_second: users as f64 * 1000.0 / ms, deferred }
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { users, ms, joins_per_second, deferred } = self;
        let seconds = ms / 1000.0;
        write!(f, "{users} in {seconds:.2} s, {joins_per_second:.0} a second, {deferred} deferred")
    }
}

/// Latency from the sender to each receiver, in milliseconds.
#[derive(Debug, Serialize)]
pub struct Latency {
    pub p50: f64,
    pub p90: f64,
    pub p99: f64,
    pub p999: f64,
    pub max: f64,
}

impl BenchReport {
    /// Whether nothing was lost, duplicated, out of order, refused or unanswered.
    pub fn is_clean(&self) -> bool {
        let wrong = self.lost + self.doubled + self.disordered + self.refused + self.unanswered;
        wrong == 0 && self.deliveries > 0
    }

    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

impl fmt::Display for BenchReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Latency { p50, p90, p99, p999, max } = self.latency_ms;
        writeln!(f, "{} connections in {} rooms at {}", self.connections, self.rooms, self.url)?;
        writeln!(
            f,
            "messages    {} sent, {} acknowledged, {} refused, {} not answered in {} s",
            self.sent, self.acknowledged, self.refused, self.unanswered, self.seconds
        )?;
        writeln!(f, "deliveries  {}", self.deliveries)?;
        writeln!(
            f,
            "            {} lost, {} doubled, {} out of order",
            self.lost, self.doubled, self.disordered
        )?;
        writeln!(f, "reconnects  {}", self.reconnects)?;
        writeln!(f, "joins       {}", self.entry)?;
        if let Some(Storm { entry, talkers, talkers_p99_ms: TalkersP99 { quiet, storm } }) =
            &self.storm
        {
            writeln!(f, "join storm  {entry}")?;
            writeln!(
                f,
                "            p99 of {talkers} talkers {quiet:.1} ms before, {storm:.1} ms in it"
            )?;
        }
        writeln!(
            f,
            "latency     p50 {p50:.1} ms, p90 {p90:.1} ms, p99 {p99:.1} ms, p99.9 {p999:.1} ms, \
             max {max:.1} ms"
        )
    }
}
