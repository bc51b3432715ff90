//! The problem of one field: a closed list, so that every case has a sentence in every language
//! (see `i18n`) and a test.

/// A problem of one field of a request or a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Problem {
    /// The field is missing.
    Required,
    /// The field has the wrong JSON type.
    WrongType,
    /// A name is empty after trimming.
    NameEmpty,
    /// A name has more than `max` code points.
    NameTooLong {
        /// code points
        max: usize,
    },
    /// A name has a control character, a direction mark or another invisible character.
    NameCharacters,
    /// A name begins with `lr_`, which is reserved for tokens.
    NameReserved,
    /// A text has no visible character.
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
    /// The secret of a join is too short, too long, or has characters that a token may not have.
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
    /// The idempotency key was used for another request.
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
        /// the minimum
        min: usize,
        /// the maximum
        max: usize,
    },
    /// `before` and `after` together.
    BeforeAndAfter,
    /// The body or the frame is not JSON, or not a JSON object.
    NotJson,
    /// A text has an escaped surrogate without its pair.
    HalfCharacter,
    /// A binary frame, or text that is not UTF-8.
    Binary,
    /// The frame has no `t`, or an unknown one.
    UnknownVerb,
    /// `status` is neither `online` nor `away`.
    UnknownStatus,
    /// The connection is in several rooms (or none), so the frame must name the room.
    RoomIdNeeded,
    /// The connection is already in the room, as another user.
    AlreadyJoined,
    /// The page has an origin that may not connect.
    ForeignOrigin,
    /// The connection exceeds its frame budget.
    TooManyFrames {
        /// frames
        max: usize,
    },
    /// The user has its maximum number of connections in the room.
    TooManyConnections {
        /// connections
        max: usize,
    },
    /// The connection is in its maximum number of rooms.
    TooManyRooms {
        /// rooms
        max: usize,
    },
    /// A body with a character encoding other than UTF-8.
    NotUtf8,
    /// A body with a content or transfer encoding.
    Encoded,
    /// A body that is incomplete, or has invalid chunks.
    BodyCut,
    /// A body that did not arrive in time.
    BodyLate,
    /// The target of a request is neither a path nor an absolute URL.
    Target,
    /// A request with `If-Match`, which no resource here matches.
    Precondition,
    /// A request without a host, with several, or with an invalid one.
    OneHost,
    /// A request for a WebSocket with a body, which would be read as frames.
    BodyOfUpgrade,
    /// A request for a WebSocket without a key, with several, or with an invalid one.
    WebSocketKey,
    /// Guests are not allowed: a JWT is required.
    NoGuests,
    /// A JWT that cannot be read.
    JwtMalformed,
    /// A JWT that is signed with an algorithm other than that of the setting.
    JwtAlgorithm,
    /// A JWT with the id of an unknown key.
    JwtKey,
    /// A JWT whose signature is wrong.
    JwtSignature,
    /// A JWT that has expired.
    JwtExpired,
    /// A JWT that is not valid yet.
    JwtNotYetValid,
    /// A JWT without a claim that it needs, or with one of the wrong type.
    JwtClaims,
    /// A JWT whose `name`, or without it whose `sub`, is not a valid name.
    JwtName,
    /// A JWT for another room.
    JwtRoom,
    /// The address of a push service is not https, or not on the public Internet.
    PushEndpoint,
    /// A key of a push subscription is not what browsers make.
    PushKey,
}

impl Problem {
    /// The problems of JWTs.
    pub const OF_JWTS: [Self; 9] = [
        Self::JwtMalformed,
        Self::JwtAlgorithm,
        Self::JwtKey,
        Self::JwtSignature,
        Self::JwtExpired,
        Self::JwtNotYetValid,
        Self::JwtClaims,
        Self::JwtName,
        Self::JwtRoom,
    ];

    /// A stable name of the kind of problem, to look up its sentences.
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
            Problem::NoGuests => "no_guests",
            Problem::JwtMalformed => "jwt_malformed",
            Problem::JwtAlgorithm => "jwt_algorithm",
            Problem::JwtKey => "jwt_key",
            Problem::JwtSignature => "jwt_signature",
            Problem::JwtExpired => "jwt_expired",
            Problem::JwtNotYetValid => "jwt_not_yet_valid",
            Problem::JwtClaims => "jwt_claims",
            Problem::JwtName => "jwt_name",
            Problem::JwtRoom => "jwt_room",
            Problem::PushEndpoint => "push_endpoint",
            Problem::PushKey => "push_key",
        }
    }
}
