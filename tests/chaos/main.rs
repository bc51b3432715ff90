//! The chaos test: clients that record what they do and see, faults from a seed, and a checker that
//! reads the histories afterwards.
//!
//! `cargo test --test chaos` runs fixed seeds for about a minute. `make chaos` runs new ones for
//! `CHAOS_SECONDS`; `CHAOS_SEED` repeats a run. Every second round kills Redis every few seconds;
//! with `CHAOS_STORM=redis` all of them do.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "whoever runs the tests reads it")]

mod bot;
mod checker;
mod client;
mod fault;
mod figures;
mod history;
mod pushed;
mod regressions;
mod round;
mod rulings;
mod stream;
mod told;
mod view;
mod world;

#[path = "../it/support"]
#[allow(dead_code, unused_imports, reason = "shared with the other tests, which use the rest")]
mod support {
    mod client;
    mod env;
    mod http;
    mod jwt;
    mod node;
    mod process;
    mod proxy;
    mod push_service;
    mod receiver;
    mod redis_server;
    pub mod resp;
    pub mod shape;
    mod time;

    pub use client::Client;
    pub use env::TestEnv;
    pub use http::Http;
    pub use jwt::{JWT_SECRET, claims, jwt, now};
    pub use node::{Node, PROGRAM};
    pub use proxy::Proxy;
    pub use push_service::{Browser, PushService, Pushed};
    pub use receiver::{Post, PostReply, Receiver, SECRET};
    pub use redis_server::RedisServer;
    pub use time::{DEADLINE, eventually, within};
}

use std::time::{Duration, Instant};

use fault::Storm;
use figures::Figures;
use round::Round;
use tokio::sync::Mutex;

/// How long a storm of the short runs lasts.
const SHORT: Duration = Duration::from_secs(10);
/// How long a storm of the long runs lasts.
const LONG: Duration = Duration::from_secs(40);

/// Runs one test after the other: parallel ones would disturb each other's times.
static TURN: Mutex<()> = Mutex::const_new(());

async fn storm(seed: u64, storm: Storm, length: Duration) {
    let _turn = TURN.lock().await;
    let mut figures = Figures::default();
    Round::new(seed, storm, length).run(&mut figures).await;
    println!("{figures}");
}

#[tokio::test]
async fn nothing_is_lost_or_doubled_whatever_dies() {
    storm(1, Storm::Everything, SHORT).await;
}

#[tokio::test]
async fn nothing_is_lost_or_doubled_while_redis_dies_every_few_seconds() {
    storm(2, Storm::Redis, SHORT).await;
}

#[tokio::test]
async fn everything_works_again_after_each_fault_alone() {
    let _turn = TURN.lock().await;
    let mut figures = Figures::default();
    Round::new(3, Storm::None, Duration::ZERO).each_fault_alone(1).run(&mut figures).await;
    println!("{figures}");
}

/// `make chaos`.
#[tokio::test]
#[ignore = "runs as long as CHAOS_SECONDS says"]
async fn long() {
    let number = |name: &str| std::env::var(name).ok().map(|value| value.parse::<u64>().unwrap());
    let first = number("CHAOS_SEED").unwrap_or_else(|| rand::random::<u32>().into());
    let length = Duration::from_secs(number("CHAOS_SECONDS").unwrap_or(600));
    let only_redis = std::env::var("CHAOS_STORM").is_ok_and(|storm| storm == "redis");
    let storm_of = |seed: u64| {
        if only_redis || seed.is_multiple_of(2) { Storm::Redis } else { Storm::Everything }
    };
    let (start, mut figures) = (Instant::now(), Figures::default());
    for seed in first.. {
        println!("seed {seed}: {:?}, {:.0?} so far", storm_of(seed), start.elapsed());
        Round::new(seed, storm_of(seed), LONG).each_fault_alone(1).run(&mut figures).await;
        if start.elapsed() >= length {
            break;
        }
    }
    println!("{figures}");
}
