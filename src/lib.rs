//! linkroom: rooms with a link. A Redis-first, stateless room service.
//!
//! Every fact about a room is in Redis and changes only inside a Lua script. A node holds connections,
//! and nothing that must not be lost.
//!
//! # A message's way through the code
//!
//! `docs/TOUR.md` follows it with links. Down to Redis:
//!
//! 1. [`Connection::turn`](../src/linkroom/ws/connection.rs.html) reads the socket.
//! 2. [`ClientFrame::parse`](protocol::ClientFrame::parse) makes a typed frame of the text.
//! 3. [`Client::publish`](../src/linkroom/ws/client/publish.rs.html) has the text checked, and answers
//!    what fails.
//! 4. [`LocalRoom::publish`](fanout::LocalRoom::publish) puts the draft into the room's publish queue.
//! 5. [`Scripts::publish`](redis::scripts::Scripts::publish) writes keys and arguments.
//! 6. `publish.lua` stores the message in the room's stream and publishes it.
//!
//! And back, on every node that has somebody in the room:
//!
//! 7. [`on_payload`](../src/linkroom/fanout/subscriber.rs.html) puts the publication into the room's inbox.
//! 8. [`Fanout::serve`](../src/linkroom/fanout/serve.rs.html) empties the inbox into the feed.
//! 9. [`Feed::frame`](fanout::feed::Feed::frame) keeps the order, and finds gaps.
//! 10. [`Outbox::queue`](outbox::Outbox::queue) and [`Outbox::flush`](outbox::Outbox::flush) write it to
//!     each connection; a client that reads too slowly is cut off here.
//!
//! `docs/ARCHITECTURE.md` has a glossary and the layers: a module imports only from lower ones.

pub mod address;
pub mod app;
pub mod authorities;
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
