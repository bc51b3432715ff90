//! The reasons why the server closes a connection, with their close codes and what the client
//! should do next.

/// Why the server closes a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// The client was silent for too long. It may reconnect at once.
    Silent,
    /// Too many unreadable frames in a row. A reconnect would not help.
    Unreadable,
    /// More frames than the client may send, for too long. A reconnect to continue would not help.
    Flooding,
    /// A frame over the size limit. Sending it again would not help.
    TooLarge,
    /// A frame that violates the WebSocket protocol. A reconnect would not help.
    Broken,
    /// A text or a close reason that is not UTF-8. Sending it again would not help.
    Malformed,
    /// A room of the client failed on this node. It reconnects at once and resumes.
    Failed,
    /// The node shuts down. The client resumes on another node.
    Leaving,
    /// The client does not read fast enough. It reconnects after a wait and resumes.
    TooSlow,
}

impl CloseReason {
    /// All reasons.
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

    /// The close code, and a short reason for people who debug.
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
