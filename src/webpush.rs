//! Web Push: subscriptions of browsers (RFC 8030), encryption for one browser (RFC 8291), and the
//! identification of the sender (RFC 8292). Knows no rooms.

mod encryption;
mod subscription;
mod vapid;

pub use encryption::{PAYLOAD_MAX, encrypt};
pub use subscription::{Flaw, Subscription};
pub use vapid::VapidKey;

/// The argument that creates a new key instead of starting a node.
pub const ARGUMENT: &str = "vapid";

/// Random bytes.
fn random<const N: usize>() -> [u8; N] {
    let random = ring::rand::generate::<[u8; N]>(&ring::rand::SystemRandom::new());
    random.expect("the system has random bytes").expose()
}
