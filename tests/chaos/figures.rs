//! What the rounds measured.

use std::{collections::BTreeMap, fmt, time::Duration};

use crate::fault::{ALL, Kind};

/// What the rounds measured.
#[derive(Default)]
pub struct Figures {
    pub rounds: usize,
    /// Messages in the streams.
    pub messages: usize,
    /// Messages that reached a client, and were compared with the stream.
    pub deliveries: usize,
    /// Joins, leaves, presences and lists of members that reached a client.
    pub events: usize,
    pub connections: usize,
    /// Connections that the server closed with 1012 (the node leaves) and 1013 (too slow).
    pub leaving: usize,
    pub too_slow: usize,
    faults: BTreeMap<Kind, usize>,
    recoveries: BTreeMap<Kind, Vec<Duration>>,
    storms: Vec<Duration>,
}

impl Figures {
    pub fn injected(&mut self, kind: Kind) {
        *self.faults.entry(kind).or_default() += 1;
    }

    /// All clients had a probe this long after a fault's end.
    pub fn recovered(&mut self, kind: Kind, after: Duration) {
        self.recoveries.entry(kind).or_default().push(after);
    }

    /// All clients had everything this long after the end of a storm.
    pub fn storm_over(&mut self, after: Duration) {
        self.storms.push(after);
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let faults: usize = self.faults.values().sum();
        writeln!(
            f,
            "{} rounds, {faults} faults; {} messages, {} deliveries and {} events checked; {} \
             connections, of which {} ended with 1012 and {} with 1013",
            self.rounds,
            self.messages,
            self.deliveries,
            self.events,
            self.connections,
            self.leaving,
            self.too_slow,
        )?;
        writeln!(f, "\n| fault | injected | alone | recovered, median | worst |")?;
        writeln!(f, "|---|---:|---:|---:|---:|")?;
        for kind in ALL {
            let injected = self.faults.get(&kind).copied().unwrap_or_default();
            let times = self.recoveries.get(&kind).map(Vec::as_slice).unwrap_or_default();
            if injected > 0 {
                writeln!(f, "| {kind} | {injected} | {} |", times.len().to_string() + &row(times))?;
            }
        }
        writeln!(f, "| a whole storm | {0} | {0}{1} |", self.storms.len(), row(&self.storms))
    }
}

/// Median and maximum, as two cells.
fn row(times: &[Duration]) -> String {
    let mut times = times.to_vec();
    times.sort();
    match times.last() {
        Some(worst) => format!(" | {} | {}", show(times[times.len() / 2]), show(*worst)),
        None => " | | ".to_owned(),
    }
}

fn show(time: Duration) -> String {
    format!("{} ms", time.as_millis())
}
