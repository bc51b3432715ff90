//! What the tests are built from: processes that die with the test, clients that assert, and a
//! proxy that breaks the network.

mod client;
mod cluster;
mod env;
mod http;
mod jwt;
mod listener;
mod metrics;
mod node;
mod process;
mod proxy;
mod push_service;
mod receiver;
mod redis_server;
mod resp;
mod shape;
mod stage;
mod time;

pub use client::Client;
pub use cluster::{Cluster, SHARDS};
pub use env::TestEnv;
pub use http::{Answer, Http, fields_of};
pub use jwt::{JWT_SECRET, Key, KeyServer, claims, jwt, key_pair, now};
pub use listener::Listener;
pub use metrics::Reading;
pub use node::{Node, PROGRAM};
pub use process::guarded;
pub use proxy::Proxy;
pub use push_service::{Browser, PushService, Pushed};
pub use receiver::{Post, PostReply, Receiver, SECRET};
pub use redis_server::{RedisServer, free_addr};
pub use resp::{Reply, Subscription, command as redis_command};
pub use shape::{ids_of, is_instant};
pub use stage::{Room, Stage};
pub use time::{DEADLINE, eventually, within};
