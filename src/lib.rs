//! linkroom: rooms with a link. A Redis-first, stateless room service.
//!
//! Every fact about a room lives in Redis and changes only inside a Lua script; a node holds
//! connection handles. Data flows one way:
//!
//! ```text
//! socket → protocol → room → redis::scripts → Lua → Redis
//!                                                        │ PUBLISH
//! socket ← outbox ← fanout::feed ← fanout::subscriber ┘
//! ```

pub mod address;
pub mod app;
pub mod background;
pub mod bench;
mod boxed;
pub mod chain;
pub mod error;
pub mod fanout;
pub mod files;
pub mod heartbeat;
pub mod http;
pub mod i18n;
pub mod idempotency;
pub mod limits;
pub mod log_writer;
pub mod message;
pub mod metrics;
pub mod names;
pub mod node;
pub mod origin;
pub mod outbox;
pub mod problem;
pub mod protocol;
pub mod redis;
pub mod registry;
pub mod room;
pub mod server;
pub mod settings;
pub mod slots;
mod socket;
pub mod telemetry;
mod ticks;
pub mod visible;
pub mod ws;
