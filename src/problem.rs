//! What exactly is wrong with one field: a closed list, so that every case has a sentence in
//! every language (see `i18n`) and a test.

/// One thing that is wrong with one field of a request or a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Problem {
    /// The field is missing.
    Required,
    /// The field has another JSON type than it should.
    WrongType,
    /// A name is empty after trimming.
    NameEmpty,
    /// A name has more than `max` code points.
    NameTooLong {
        /// code points
        max: usize,
    },
    /// A name has a control character, a direction mark or another character that nobody sees.
    NameCharacters,
    /// A name begins with `lr_`, as only tokens do.
    NameReserved,
    /// There is nothing to see in a text.
    TextEmpty,
    /// A text has more than `max` code points.
    TextTooLong {
        /// code points
        max: usize,
    },
    /// An idempotency key is empty or has more than `max` characters.
    KeyLength {
        /// code points
        max: usize,
    },
    /// The secret of a join is too short, too long, or has other characters than a token may.
    SecretShape {
        /// characters
        min: usize,
        /// characters
        max: usize,
    },
    /// The idempotency key of a request is too short, too long, or not printable ASCII.
    RequestKeyShape {
        /// characters
        min: usize,
        /// characters
        max: usize,
    },
    /// The idempotency key of a request was that of another.
    RequestKeyReused,
    /// A topic is empty or has more than `max` characters.
    TopicLength {
        /// code points
        max: usize,
    },
    /// Not a message id.
    NotAMessageId,
    /// A number outside its range.
    OutOfRange {
        /// the least that is allowed
        min: usize,
        /// the most that is allowed
        max: usize,
    },
    /// `before` and `after` together.
    BeforeAndAfter,
    /// The body or the frame is not JSON, or not a JSON object.
    NotJson,
    /// A text has half of a character that takes two escapes.
    HalfCharacter,
    /// A binary frame, or text that is not UTF-8.
    Binary,
    /// The frame has no `t`, or one that is no verb.
    UnknownVerb,
    /// `status` is neither `online` nor `away`.
    UnknownStatus,
    /// The connection is in several rooms (or none), so the frame must say which it means.
    RoomIdNeeded,
    /// The connection is in the room already, as somebody else.
    AlreadyJoined,
    /// The page that connects is of a site that may not.
    ForeignOrigin,
    /// The connection sends more frames a second than are read.
    TooManyFrames {
        /// frames
        max: usize,
    },
    /// The user has as many connections as it may have in a room.
    TooManyConnections {
        /// connections
        max: usize,
    },
    /// The connection is in as many rooms as it may be.
    TooManyRooms {
        /// rooms
        max: usize,
    },
    /// A body in another encoding of characters than UTF-8.
    NotUtf8,
    /// A body that is compressed, or encoded otherwise, be it for the way alone.
    Encoded,
    /// A body that stopped before its end, or that is not cut into chunks as it says.
    BodyCut,
    /// A body that did not come in time.
    BodyLate,
    /// The target of a request is neither a path nor a whole address.
    Target,
    /// A request for the case that something has a tag which nothing here has.
    Precondition,
    /// A request without a host, with several, or with one that can be none.
    OneHost,
    /// A request for a WebSocket that has a body, which would be taken for frames.
    BodyOfUpgrade,
    /// A request for a WebSocket without a key, with several, or with one that is none.
    WebSocketKey,
}

impl Problem {
    /// A stable name for the kind of problem, under which the texts are filed.
    pub const fn name(self) -> &'static str {
        match self {
            Problem::Required => "required",
            Problem::WrongType => "wrong_type",
            Problem::NameEmpty => "name_empty",
            Problem::NameTooLong { .. } => "name_too_long",
            Problem::NameCharacters => "name_characters",
            Problem::NameReserved => "name_reserved",
            Problem::TextEmpty => "text_empty",
            Problem::TextTooLong { .. } => "text_too_long",
            Problem::KeyLength { .. } => "key_length",
            Problem::SecretShape { .. } => "secret_shape",
            Problem::RequestKeyShape { .. } => "request_key_shape",
            Problem::RequestKeyReused => "request_key_reused",
            Problem::TopicLength { .. } => "topic_length",
            Problem::NotAMessageId => "not_a_message_id",
            Problem::OutOfRange { .. } => "out_of_range",
            Problem::BeforeAndAfter => "before_and_after",
            Problem::NotJson => "not_json",
            Problem::HalfCharacter => "half_character",
            Problem::Binary => "binary",
            Problem::UnknownVerb => "unknown_verb",
            Problem::UnknownStatus => "unknown_status",
            Problem::RoomIdNeeded => "room_id_needed",
            Problem::AlreadyJoined => "already_joined",
            Problem::ForeignOrigin => "foreign_origin",
            Problem::TooManyFrames { .. } => "too_many_frames",
            Problem::TooManyConnections { .. } => "too_many_connections",
            Problem::TooManyRooms { .. } => "too_many_rooms",
            Problem::NotUtf8 => "not_utf8",
            Problem::Encoded => "encoded",
            Problem::BodyCut => "body_cut",
            Problem::BodyLate => "body_late",
            Problem::Target => "target",
            Problem::Precondition => "precondition",
            Problem::OneHost => "one_host",
            Problem::BodyOfUpgrade => "body_of_upgrade",
            Problem::WebSocketKey => "websocket_key",
        }
    }
}
