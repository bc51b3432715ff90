//! The web client in a real Chromium: what people see and do, in rooms on real nodes.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "whoever runs the tests reads it")]

mod chromium;
mod deployment;
mod devices;
mod devtools;
mod keyboard;
mod page;
mod pretend;
mod scene;
mod tabs;

mod bad_days;
mod clocks;
mod crowds;
mod encrypted;
mod entering;
mod everyone;
mod framed;
mod installed;
mod links;
mod messages;
mod moderating;
mod naming;
mod ordering;
mod people;
mod pictures;
mod place;
mod pushed;
mod reading;
mod refusing;
mod scripts;
mod talking;

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
    pub use http::Http;
    pub use jwt::{JWT_SECRET, claims, jwt, now};
    pub use metrics::Reading;
    pub use node::Node;
    pub use process::require;
    pub use proxy::Proxy;
    pub use redis_server::RedisServer;
    pub use stage::{Room, Stage};
    pub use time::eventually;
}
