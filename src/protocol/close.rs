//! Why the server closes a connection: the close codes, and what a client does next.

/// Why the server closes a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// The client was silent for too long. It may come back at once.
    Silent,
    /// Too many unreadable frames in a row. Coming back would not help.
    Unreadable,
    /// More frames than it may send, for too long. Coming back to do the same would not help.
    Flooding,
    /// A frame over the size limit. Sending it again would not help.
    TooLarge,
    /// A frame that breaks the WebSocket protocol. Coming back would not help.
    Broken,
    /// A text or a close reason that is not UTF-8. Sending it again would not help.
    Malformed,
    /// A room of the client's failed on this node. The client comes back at once, with `since`.
    Failed,
    /// The node leaves. The client comes back elsewhere, with `since`.
    Leaving,
    /// The client does not read fast enough. It comes back with `since`.
    TooSlow,
}

impl CloseReason {
    /// Every reason there is.
    pub const ALL: [CloseReason; 9] = [
        CloseReason::Silent,
        CloseReason::Unreadable,
        CloseReason::Flooding,
        CloseReason::TooLarge,
        CloseReason::Broken,
        CloseReason::Malformed,
        CloseReason::Failed,
        CloseReason::Leaving,
        CloseReason::TooSlow,
    ];

    /// The close code and a word for whoever reads a trace.
    pub const fn code(self) -> (u16, &'static str) {
        match self {
            CloseReason::Silent => (1001, "silent for too long"),
            CloseReason::Broken => (1002, "broken frame"),
            CloseReason::Malformed => (1007, "not UTF-8"),
            CloseReason::Unreadable => (1008, "too many unreadable frames"),
            CloseReason::Flooding => (1008, "too many frames for too long"),
            CloseReason::TooLarge => (1009, "frame too large"),
            CloseReason::Failed => (1011, "a room failed"),
            CloseReason::Leaving => (1012, "node leaves"),
            CloseReason::TooSlow => (1013, "too slow"),
        }
    }
}
