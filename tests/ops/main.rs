//! What an operator relies on: metrics, dashboards, alerts, logs, limits, the balancer, the load
//! test. Real processes, as in the other tests.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "whoever runs the tests reads it")]

mod abuse;
mod asyncapi;
mod audit;
mod autobahn;
mod balancer;
mod bench;
mod cluster;
mod examples;
mod flood;
mod health;
mod layers;
mod links;
mod log_lines;
mod logs;
mod metrics;
mod monitoring;
mod names;
mod openapi;
mod topology;
mod tour;

#[path = "../it/support"]
#[allow(dead_code, unused_imports, reason = "shared with the other tests, which use the rest")]
mod support {
    mod client;
    mod env;
    mod http;
    mod jwt;
    mod metrics;
    mod node;
    mod process;
    mod proxy;
    mod redis_server;
    mod resp;
    mod shape;
    mod stage;
    mod time;

    pub use client::Client;
    pub use env::TestEnv;
    pub use http::{Answer, Http};
    pub use jwt::JWT_SECRET;
    pub use metrics::Reading;
    pub use node::{Node, PROGRAM};
    pub use process::guarded;
    pub use proxy::Proxy;
    pub use redis_server::{RedisServer, free_addr};
    pub use stage::{Room, Stage};
    pub use time::{DEADLINE, eventually, within};
}
