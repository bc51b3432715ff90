//! The loads, and which figures of each are measured.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use crate::{
    load::{Load, Tally},
    server::{Cpu, Kind, Server},
};

/// Time before a measurement: code is paged in, and buffers grow.
const WARM_UP: Duration = Duration::from_millis(500);
/// How long a load is measured.
const MEASURED: Duration = Duration::from_secs(3);
/// The clients' heartbeat interval.
const HEARTBEAT: Duration = Duration::from_secs(10);
/// Number of heartbeats for which the idle server is measured.
const HEARTBEATS: u32 = 2;
/// Pause between the last join and the measurement of memory.
const CALM: Duration = Duration::from_secs(2);

/// The figures of the curves.
pub const PER_DELIVERY: &str = "server µs per delivery";
pub const RESIDENT: &str = "resident KiB per connection";
pub const ALL_BACK: &str = "until all are back, ms";

/// The measurement of one load on one server.
pub struct Measured {
    /// The load.
    pub scenario: String,
    /// The server.
    pub kind: Kind,
    /// What was measured, in the order of the table.
    pub figures: Vec<(&'static str, f64)>,
    /// The clients' results.
    pub tally: Tally,
}

/// A load.
pub struct Scenario {
    /// Its name.
    pub name: &'static str,
    run: fn(&Server) -> Outcome,
}

/// All loads, in the order of the table.
pub const SCENARIOS: [Scenario; 7] = [
    Scenario { name: "room of 500, 100 msg/s", run: |server| steady(server, &[500], 100.0) },
    Scenario { name: "room of 500, saturated", run: |s| saturated(s, &[500], MEASURED) },
    Scenario { name: "200 rooms of 5, 1 msg/s each", run: |s| steady(s, &[5; 200], 200.0) },
    Scenario { name: "200 rooms of 5, saturated", run: |s| saturated(s, &[5; 200], MEASURED) },
    Scenario { name: "2,000 idle connections in rooms of 100", run: |s| idle(s, &[100; 20]) },
    Scenario { name: "1,000 drop and rejoin, rooms of 50", run: |s| rejoin(s, &[51; 20]) },
    Scenario { name: "50 quiet rooms of 2 beside a hot one of 500", run: fairness },
];

impl Scenario {
    /// Starts a server of this kind and puts the load on it.
    ///
    /// # Errors
    /// The server does not start, or refuses clients.
    pub fn measure(&self, kind: Kind, linkroom: &Path) -> anyhow::Result<Measured> {
        let server = Server::start(kind, linkroom)?;
        let (figures, tally) = (self.run)(&server)?;
        Ok(Measured { scenario: self.name.to_owned(), kind, figures, tally })
    }
}

/// Figures by name, and the clients' results.
pub type Outcome = anyhow::Result<(Vec<(&'static str, f64)>, Tally)>;

fn steady(server: &Server, rooms: &[usize], per_second: f64) -> Outcome {
    deliver(server, rooms, MEASURED, |load, pause| load.steady(per_second, pause))
}

/// Every client sends its next message as soon as its last one came back, for this long.
pub fn saturated(server: &Server, rooms: &[usize], measured: Duration) -> Outcome {
    deliver(server, rooms, measured, Load::saturate)
}

fn deliver(
    server: &Server,
    rooms: &[usize],
    measured: Duration,
    talk: impl Fn(&mut Load, Duration) -> anyhow::Result<()>,
) -> Outcome {
    let mut load = everybody_inside(server, rooms)?;
    talk(&mut load, WARM_UP)?;
    load.take_tally();
    let (before, begun) = (server.cpu()?, Instant::now());
    talk(&mut load, measured)?;
    let (used, took) = (server.cpu()?.since(before), begun.elapsed());
    let tally = load.take_tally();
    Ok((delivery_figures(&tally, used, took), tally))
}

/// The figures of every load that delivers messages.
pub fn delivery_figures(tally: &Tally, used: Cpu, took: Duration) -> Vec<(&'static str, f64)> {
    let ms = |share| tally.latency.percentile(share) as f64 / 1000.0;
    vec![
        (PER_DELIVERY, micros(used.server) / tally.deliveries as f64),
        ("Redis µs per message", micros(used.redis) / tally.sent as f64),
        ("messages per second", tally.sent as f64 / took.as_secs_f64()),
        ("latency p50, ms", ms(0.5)),
        ("latency p99, ms", ms(0.99)),
        ("latency p99.9, ms", ms(0.999)),
    ]
}

/// Clients that join and send nothing, and the server's memory for each of them in KiB.
///
/// # Errors
/// Not all of them could join.
pub fn held(server: &Server, rooms: &[usize]) -> anyhow::Result<(Load, f64)> {
    let connections: usize = rooms.iter().sum();
    let mut load = Load::new(server, rooms)?;
    let empty = server.resident_kib()?;
    load.enter(0, connections)?;
    load.run_until(Instant::now() + CALM)?;
    Ok((load, (server.resident_kib()? - empty) / connections as f64))
}

/// Memory first, while the clients come in; then CPU, while they send nothing but heartbeats.
fn idle(server: &Server, rooms: &[usize]) -> Outcome {
    let connections: usize = rooms.iter().sum();
    let (mut load, resident) = held(server, rooms)?;
    let before = server.cpu()?;
    let watched = HEARTBEAT * HEARTBEATS;
    load.idle(HEARTBEAT, watched)?;
    let used = server.cpu()?.since(before);
    let per_connection = |used| micros(used) / connections as f64 / watched.as_secs_f64();
    let figures = vec![
        (RESIDENT, resident),
        ("server and Redis µs per connection and second", per_connection(used.server + used.redis)),
        ("of it Redis", per_connection(used.redis)),
    ];
    Ok((figures, load.take_tally()))
}

/// All but one of every room drop at once; that one says ten things; all come back at once and
/// get what they missed.
pub fn rejoin(server: &Server, rooms: &[usize]) -> Outcome {
    const MISSED: usize = 10;
    let mut load = everybody_inside(server, rooms)?;
    let speakers = load.speakers();
    load.say_in_every_room(&speakers, MISSED)?;
    load.run_until(Instant::now() + WARM_UP)?;
    load.take_tally();
    let everybody: usize = rooms.iter().sum();
    let dropped: Vec<usize> = (0..everybody).filter(|at| !speakers.contains(at)).collect();
    load.drop_clients(&dropped);
    load.run_until(Instant::now() + WARM_UP)?;
    load.say_in_every_room(&speakers, MISSED)?;

    let (before, begun) = (server.cpu()?, Instant::now());
    load.enter_at_once(&dropped)?;
    let took = begun.elapsed();
    let used = server.cpu()?.since(before);
    load.run_until(Instant::now() + WARM_UP)?;
    let recovered = if server.kind.keeps_rooms() { load.up_to_date(&dropped) } else { 0 };
    let mut tally = load.take_tally();
    if !server.kind.keeps_rooms() {
        // It keeps no history.
        tally.lost = 0;
    }
    let each = |used| micros(used) / dropped.len() as f64;
    let figures = vec![
        (ALL_BACK, took.as_secs_f64() * 1000.0),
        ("server µs each", each(used.server)),
        ("Redis µs each", each(used.redis)),
        ("told to come again", tally.deferred as f64),
        ("recovered everything, %", 100.0 * recovered as f64 / dropped.len() as f64),
    ];
    Ok((figures, tally))
}

/// The latency of quiet rooms alone, and while one room is saturated.
fn fairness(server: &Server) -> Outcome {
    const QUIET: [usize; 50] = [2; 50];
    let mut quiet = everybody_inside(server, &QUIET)?;
    quiet.steady(QUIET.len() as f64, WARM_UP)?;
    quiet.take_tally();
    quiet.steady(QUIET.len() as f64, MEASURED)?;
    let alone = quiet.take_tally();
    let mut hot = everybody_inside(server, &[500])?;
    let loud = std::thread::spawn(move || {
        hot.saturate(WARM_UP + MEASURED)?;
        anyhow::Ok(hot.take_tally())
    });
    std::thread::sleep(WARM_UP);
    quiet.steady(QUIET.len() as f64, MEASURED)?;
    let beside = quiet.take_tally();
    let hot = loud.join().map_err(|_| anyhow::anyhow!("the hot room's clients panicked"))??;
    let p99 = |tally: &Tally| tally.latency.percentile(0.99) as f64 / 1000.0;
    let figures = vec![
        ("latency p99 alone, ms", p99(&alone)),
        ("latency p99 beside, ms", p99(&beside)),
        ("beside / alone", p99(&beside) / p99(&alone)),
    ];
    let mut tally = alone;
    for other in [&beside, &hot] {
        tally.lost += other.lost;
        tally.doubled += other.doubled;
        tally.disordered += other.disordered;
        tally.errors += other.errors;
    }
    Ok((figures, tally))
}

/// A load whose clients are all in their rooms.
///
/// # Errors
/// Not all of them could join.
pub fn everybody_inside(server: &Server, rooms: &[usize]) -> anyhow::Result<Load> {
    let mut load = Load::new(server, rooms)?;
    load.enter(0, rooms.iter().sum())?;
    Ok(load)
}

/// Microseconds.
pub fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}
