//! `linkroom bench`: simulates users of a deployment over the public protocol, and counts lost
//! messages. Knows nothing about the inside of a node.

mod latency;
mod report;
mod storm;
mod target;
mod user;

use std::{
    io::{self, Write},
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::ensure;
use clap::Parser;
use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::{
    runtime::{Builder, Handle, Runtime},
    sync::watch,
    task::JoinSet,
};

use crate::files;
use latency::Latencies;
use report::{BenchReport, Entry, Storm};
use target::Target;
use user::{Account, BenchRoom, User};

/// The argument that starts the load test instead of a node.
pub const ARGUMENT: &str = "bench";

/// Connections and rooms that are opened at the same time.
const AT_ONCE: usize = 64;
/// Maximum time until all users have joined.
const JOIN_PATIENCE: Duration = Duration::from_secs(120);
/// Maximum time until the last messages have arrived everywhere.
const SETTLE_PATIENCE: Duration = Duration::from_secs(30);
/// The run has settled when nothing has arrived for this long.
const SILENCE: Duration = Duration::from_secs(2);
/// The share of users who send messages during a join storm, and their maximum number.
const TALKERS_SHARE: usize = 10;
const TALKERS_MAX: usize = 100;
/// Interval of checks of what has arrived.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Simulates users of a linkroom deployment and counts the messages that they miss.
///
/// It creates rooms, joins them, sends messages, and reconnects after every disconnect. The exit
/// status is 1 if a message was lost or duplicated. With --join-storm, all users but those who talk
/// then drop their connections and come back at once, each with the last message that it has.
#[derive(Debug, Parser)]
#[command(name = "linkroom bench", max_term_width = 100)]
struct Options {
    /// Address of the deployment: a node or a balancer
    #[arg(long, default_value = "http://127.0.0.1:8080")]
    url: Target,

    /// Number of connections, one user each
    #[arg(long, default_value_t = 100, value_parser = at_least_one)]
    connections: usize,

    /// Number of rooms
    #[arg(long, default_value_t = 10, value_parser = at_least_one)]
    rooms: usize,

    /// Messages a second, sent by all users together
    #[arg(long, default_value_t = 50, value_parser = at_least_one)]
    rate: usize,

    /// How long messages are sent, in seconds
    #[arg(long, default_value_t = 30, value_parser = at_least_one)]
    seconds: usize,

    /// Number of users who send messages; the others only listen [default: all; with --join-storm a
    /// tenth, at most 100]
    #[arg(long, value_parser = at_least_one)]
    talkers: Option<usize>,

    /// After these seconds, have all users but the talkers drop their connections and come back at once
    #[arg(long)]
    join_storm: bool,

    /// Print the report as one JSON object
    #[arg(long)]
    json: bool,
}

/// State that all users share.
struct Run {
    target: Target,
    began: Instant,
    phase: watch::Sender<Phase>,
    /// Limits the connections that are opened at the same time, except those of a join storm.
    doors: tokio::sync::Semaphore,
    counts: Counts,
    latencies: Latencies,
    /// Times until a sender has its own message back.
    round_trips: storm::RoundTrips,
}

/// The phases of a run, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    Joining,
    Talking,
    /// The users of the join storm drop their connections.
    Dropping,
    /// They come back.
    Storming,
    Settling,
    Over,
}

/// Events so far.
#[derive(Default)]
struct Counts {
    inside: AtomicUsize,
    /// When the last user joined, in microseconds of the run.
    last_in_us: AtomicU64,
    /// Joins that were deferred: the server asked to retry later.
    deferred: AtomicU64,
    sent: AtomicU64,
    acknowledged: AtomicU64,
    refused: AtomicU64,
    deliveries: AtomicU64,
    reconnects: AtomicU64,
}

/// Runs the load test with these arguments.
pub fn main(args: impl Iterator<Item = std::ffi::OsString>) -> ExitCode {
    let options =
        match Options::try_parse_from(std::iter::once("linkroom bench".into()).chain(args)) {
            Ok(options) => options,
            Err(error) => error.exit(),
        };
    let json = options.json;
    // If this fails, opening the connections reports it.
    let _ = files::raise_limit();
    let report =
        runtimes().and_then(|(herd, talkers)| herd.block_on(run(options, talkers.handle())));
    match report {
        Ok(report) => {
            let written = match json {
                true => writeln!(io::stdout(), "{}", report.to_json()),
                false => write!(io::stdout(), "{report}"),
            };
            let is_well = report.is_clean() && written.is_ok();
            if is_well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            say(format_args!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// Prints one line of progress; the run continues if standard error is closed.
fn say(line: std::fmt::Arguments<'_>) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// A runtime for users who only listen, and one for those who talk: what they notice of a join storm is not to be
/// that thousands of simulated users wait for a thread.
fn runtimes() -> anyhow::Result<(Runtime, Runtime)> {
    let talkers = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    Ok((Runtime::new()?, talkers))
}

async fn run(options: Options, talking: &Handle) -> anyhow::Result<BenchReport> {
    let made = (0..options.rooms).map(|_| options.url.make_room());
    let rooms: Vec<Arc<BenchRoom>> = stream::iter(made)
        .buffered(AT_ONCE)
        .map_ok(|(id, creator)| Arc::new(BenchRoom::new(id, creator)))
        .try_collect()
        .await?;
    let run = Arc::new(Run::new(options.url.clone()));
    let talkers = options.talkers();
    let pause = Duration::from_secs(1) * u32::try_from(talkers)? / u32::try_from(options.rate)?;
    let mut users = JoinSet::new();
    for number in 0..options.connections {
        let talks_every = (number < talkers).then_some(pause);
        let user = User::new(number, rooms[number % rooms.len()].clone(), talks_every);
        let play = user.play(run.clone());
        if talks_every.is_some() && options.join_storm {
            users.spawn_on(play, talking);
        } else {
            users.spawn(play);
        }
    }
    let progress = tokio::spawn(show_progress(run.clone()));
    let (entry, storm) = talk(&run, &options).await?;
    let accounts = users.join_all().await;
    progress.abort();
    Ok(verdict(&run, &options, &accounts, entry, storm))
}

/// Runs the phases: all users join, send, storm if asked for, and receive the rest.
async fn talk(run: &Run, options: &Options) -> anyhow::Result<(Entry, Option<Storm>)> {
    let entry = all_in(run, options.connections, options.connections).await?;
    run.phase.send_replace(Phase::Talking);
    tokio::time::sleep(Duration::from_secs(options.seconds as u64)).await;
    let storm = match options.join_storm {
        true => Some(storm::run(run, options.connections, options.talkers()).await?),
        false => None,
    };
    run.phase.send_replace(Phase::Settling);
    settle(run, options.connections).await;
    run.phase.send_replace(Phase::Over);
    Ok((entry, storm))
}

/// Waits until all users are in their rooms, `outside` of whom are not yet, and returns how long
/// that took.
async fn all_in(run: &Run, connections: usize, outside: usize) -> anyhow::Result<Entry> {
    let (began, began_us) = (Instant::now(), run.micros());
    let deferred = run.counts.deferred.load(Ordering::Relaxed);
    while run.counts.inside.load(Ordering::Relaxed) < connections {
        let inside = run.counts.inside.load(Ordering::Relaxed);
        ensure!(began.elapsed() < JOIN_PATIENCE, "only {inside} users are in their rooms");
        tokio::time::sleep(LOOK_EVERY).await;
    }
    let took_us = run.counts.last_in_us.load(Ordering::Relaxed).saturating_sub(began_us);
    let deferred = run.counts.deferred.load(Ordering::Relaxed) - deferred;
    Ok(Entry::new(outside, took_us, deferred))
}

/// Waits until every message is acknowledged, every user is in its room, and nothing more arrives.
async fn settle(run: &Run, connections: usize) {
    let counts = &run.counts;
    let began = Instant::now();
    let mut silent_since = Instant::now();
    let mut delivered = 0;
    while began.elapsed() < SETTLE_PATIENCE && silent_since.elapsed() < SILENCE {
        tokio::time::sleep(LOOK_EVERY).await;
        let now = counts.deliveries.load(Ordering::Relaxed);
        let answered =
            counts.acknowledged.load(Ordering::Relaxed) + counts.refused.load(Ordering::Relaxed);
        let waits = answered < counts.sent.load(Ordering::Relaxed)
            || counts.inside.load(Ordering::Relaxed) < connections;
        if std::mem::replace(&mut delivered, now) != now || waits {
            silent_since = Instant::now();
        }
    }
}

async fn show_progress(run: Arc<Run>) {
    let mut ticks = tokio::time::interval(Duration::from_secs(1));
    ticks.tick().await;
    loop {
        ticks.tick().await;
        let counts = &run.counts;
        say(format_args!(
            "{:>5} s  {:?}  {} connections  {} messages  {} deliveries  p99 {:.1} ms  {} reconnects  \
             {} deferred",
            run.began.elapsed().as_secs(),
            *run.phase.borrow(),
            counts.inside.load(Ordering::Relaxed),
            counts.acknowledged.load(Ordering::Relaxed),
            counts.deliveries.load(Ordering::Relaxed),
            run.latencies.at(0.99),
            counts.reconnects.load(Ordering::Relaxed),
            counts.deferred.load(Ordering::Relaxed),
        ));
    }
}

fn verdict(
    run: &Run,
    options: &Options,
    accounts: &[Account],
    entry: Entry,
    storm: Option<Storm>,
) -> BenchReport {
    let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
    let (sent, acknowledged, refused) =
        (count(&run.counts.sent), count(&run.counts.acknowledged), count(&run.counts.refused));
    BenchReport {
        url: options.url.to_string(),
        connections: options.connections,
        rooms: options.rooms,
        rate: options.rate,
        seconds: options.seconds,
        sent,
        acknowledged,
        refused,
        unanswered: sent.saturating_sub(acknowledged + refused),
        deliveries: count(&run.counts.deliveries),
        lost: accounts.iter().map(Account::lost).sum(),
        doubled: accounts.iter().map(|account| account.doubled).sum(),
        disordered: accounts.iter().map(|account| account.disordered).sum(),
        reconnects: count(&run.counts.reconnects),
        entry,
        storm,
        latency_ms: report::Latency {
            p50: run.latencies.at(0.50),
            p90: run.latencies.at(0.90),
            p99: run.latencies.at(0.99),
            p999: run.latencies.at(0.999),
            max: run.latencies.at(1.0),
        },
    }
}

impl Run {
    fn new(target: Target) -> Self {
        Self {
            target,
            began: Instant::now(),
            phase: watch::Sender::new(Phase::Joining),
            doors: tokio::sync::Semaphore::new(AT_ONCE),
            counts: Counts::default(),
            latencies: Latencies::new(),
            round_trips: storm::RoundTrips::default(),
        }
    }

    /// Whether messages are sent in this phase.
    fn may_talk(&self) -> bool {
        (Phase::Talking..Phase::Settling).contains(&*self.phase.borrow())
    }

    /// Microseconds since the run began.
    fn micros(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX)
    }
}

impl Phase {
    /// Whether users drop their connections and come back.
    fn is_storm(self) -> bool {
        (Phase::Dropping..Phase::Settling).contains(&self)
    }
}

impl Options {
    /// How many users send messages.
    fn talkers(&self) -> usize {
        let by_itself = match self.join_storm {
            true => (self.connections / TALKERS_SHARE).clamp(1, TALKERS_MAX),
            false => self.connections,
        };
        self.talkers.unwrap_or(by_itself).min(self.connections)
    }
}

fn at_least_one(raw: &str) -> Result<usize, String> {
    match raw.parse() {
        Ok(0) | Err(_) => Err("write a whole number from 1 on".to_owned()),
        Ok(number) => Ok(number),
    }
}
