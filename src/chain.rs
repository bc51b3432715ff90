//! How a message's id identifies the message before it.
//!
//! The low 32 bits of an id's sequence number are a digest of the previous message's id and the
//! id's own milliseconds (`lua/lib/digest.lua` writes it). A node that delivered the previous
//! message therefore sees in the next one, without asking Redis, that none is missing in between,
//! and that the frame is not one that somebody published by hand under an invented id: the digest
//! begins with a secret of the room.

use std::fmt::Write;

use sha1::{Digest, Sha1};

use crate::names::MessageId;

/// Length of three 64-bit numbers with separators.
const MOST_DIGITS: usize = 3 * 20 + 3;

/// Whether `id` was written right after `previous`, in the room with this secret.
pub fn follows(secret: &str, previous: MessageId, id: MessageId) -> bool {
    id > previous && id.seq % (1 << 32) == u64::from(digest(secret, previous, id.ms))
}

/// The first 32 bits of SHA-1 over the secret, `previous` and the milliseconds in decimal, with
/// spaces between them.
fn digest(secret: &str, previous: MessageId, ms: u64) -> u32 {
    // With the final capacity: growing it would cost as much as the rest.
    let mut text = String::with_capacity(secret.len() + MOST_DIGITS);
    write!(text, "{secret} {previous} {ms}").expect("a string takes anything");
    let hash = Sha1::digest(text);
    u32::from_be_bytes([hash[0], hash[1], hash[2], hash[3]])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_right_predecessor_fits() {
        let first = MessageId { ms: 5, seq: u64::from(digest("s", MessageId::ZERO, 5)) };
        let second = MessageId { ms: 5, seq: (1 << 32) + u64::from(digest("s", first, 5)) };
        assert!(follows("s", MessageId::ZERO, first) && follows("s", first, second));
        assert!(!follows("s", MessageId::ZERO, second) && !follows("s", second, first));
        assert!(!follows("s", first, first));
        assert!(!follows("t", first, second), "another room's secret");
    }
}
