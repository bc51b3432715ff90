//! Web Push: where a browser takes pushes (RFC 8030), how they are encrypted for it alone (RFC 8291), and what says
//! who sends them (RFC 8292). Knows no rooms.

mod encryption;
mod subscription;
mod vapid;

pub use encryption::{PAYLOAD_MAX, encrypt};
pub use subscription::{Flaw, Subscription};
pub use vapid::VapidKey;

/// The argument that asks for a new key instead of a node.
pub const ARGUMENT: &str = "vapid";

/// Random bytes.
fn random<const N: usize>() -> [u8; N] {
    let random = ring::rand::generate::<[u8; N]>(&ring::rand::SystemRandom::new());
    random.expect("the system has random bytes").expose()
}
