//! linkroom: chat rooms that anybody with the link can join. A stateless service on Redis.
//!
//! All state of a room is in Redis and changes only inside a Lua script. A node holds connections,
//! and nothing that must not be lost.
//!
//! # A message's way through the code
//!
//! `docs/TOUR.md` follows a message with links to every step. Down to Redis:
//!
//! 1. [`Connection::turn`](../src/linkroom/ws/connection.rs.html) reads the socket.
//! 2. [`ClientFrame::parse`](protocol::ClientFrame::parse) parses the text into a typed frame.
//! 3. [`Client::publish`](../src/linkroom/ws/client/publish.rs.html) checks the text, and answers
//!    errors.
//! 4. [`LocalRoom::publish`](fanout::LocalRoom::publish) puts the draft into the room's publish queue.
//! 5. [`Scripts::publish`](redis::scripts::Scripts::publish) writes keys and arguments.
//! 6. `publish.lua` stores the message in the room's stream and publishes it.
//!
//! And back, on every node that has a connection in the room:
//!
//! 7. [`on_payload`](../src/linkroom/fanout/subscriber.rs.html) puts the publication into the room's inbox.
//! 8. [`Fanout::serve`](../src/linkroom/fanout/serve.rs.html) empties the inbox into the feed.
//! 9. [`Feed::frame`](fanout::feed::Feed::frame) keeps the order, and detects gaps.
//! 10. [`Outbox::queue`](outbox::Outbox::queue) and [`Outbox::flush`](outbox::Outbox::flush) write it to
//!     each connection; a client that reads too slowly is cut off here.
//!
//! # Where to find what
//!
//! - **A message is stored** by `lua/publish.lua`, in the stream `room:ID:messages`.
//!   [`redis::keys`] builds the names of all keys.
//! - **A gap is found** by [`Feed::frame`](fanout::feed::Feed::frame), which compares the digest in the
//!   id with [`chain::follows`]; without a next message, by the fence of a heartbeat
//!   ([`Feed::fence`](fanout::feed::Feed::fence)). `lua/catch_up.lua` reads the missing messages.
//! - **Backpressure acts** at a client that sends too much (`ws/pace.rs`: its socket is not read), at a
//!   room with a full inbox ([`Inbox::has_space`](../src/linkroom/fanout/inbox.rs.html): its senders wait), and
//!   at a client that reads too slowly ([`Outbox::queue`](outbox::Outbox::queue): it is cut off).
//! - **To add a server frame**, extend [`ServerFrame`](protocol::ServerFrame) if one connection gets it;
//!   if a room gets it, publish it in the script that makes the change, with
//!   `lua/lib/publish_event.lua`. Then follow the list at the end of `docs/TOUR.md`.
//! - **To add an operation on a room**, write a script in `lua/`, a function in [`redis::scripts`] that
//!   calls it, and a method of [`Rooms`](room::Rooms) that HTTP and WebSocket use.
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
pub mod health;
pub mod heartbeat;
pub mod http;
pub mod i18n;
pub mod idempotency;
pub mod jwt;
pub mod limits;
pub mod log_writer;
pub mod message;
pub mod metrics;
pub mod names;
pub mod node;
pub mod origin;
pub mod outbound;
pub mod outbox;
pub mod problem;
pub mod protocol;
pub mod push;
pub mod redis;
pub mod registry;
pub mod removal;
pub mod room;
pub mod server;
pub mod settings;
pub mod slots;
mod socket;
pub mod telemetry;
mod ticks;
pub mod visible;
pub mod webhooks;
pub mod webpush;
pub mod ws;
