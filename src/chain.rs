//! How a message's id names the message before it.
//!
//! The low 32 bits of an id's sequence number are a digest of the previous message's id and the
//! id's own milliseconds (`lua/lib/digest.lua` writes it). A node that delivered the previous
//! message therefore sees in the next one, without asking Redis, that none is missing in between,
//! and that the frame is not one that somebody published by hand under an invented id.

use sha1::{Digest, Sha1};

use crate::names::MessageId;

/// Whether `id` was written right after `previous`.
pub fn follows(previous: MessageId, id: MessageId) -> bool {
    id > previous && id.seq % (1 << 32) == u64::from(digest(previous, id.ms))
}

/// The first 32 bits of SHA-1 over `previous`, a space and the milliseconds in decimal.
fn digest(previous: MessageId, ms: u64) -> u32 {
    let hash = Sha1::digest(format!("{previous} {ms}"));
    u32::from_be_bytes([hash[0], hash[1], hash[2], hash[3]])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_right_predecessor_fits() {
        let first = MessageId { ms: 5, seq: u64::from(digest(MessageId::ZERO, 5)) };
        let second = MessageId { ms: 5, seq: (1 << 32) + u64::from(digest(first, 5)) };
        assert!(follows(MessageId::ZERO, first) && follows(first, second));
        assert!(!follows(MessageId::ZERO, second) && !follows(second, first));
        assert!(!follows(first, first));
    }
}
