//! Errors as clients see them.
//!
//! Which type belongs where: `anyhow` in `main` and in tests; [`Error`] from the room service
//! upwards; fred's errors become [`Code::ServiceUnavailable`] or [`Code::Internal`] in the one
//! `From` below. HTTP, WebSocket, the OpenAPI page and the texts all read the one table [`Code`].

use std::{borrow::Cow, collections::BTreeMap, time::Duration};

use crate::problem::Problem;

/// Every error code of the contract, the same in HTTP and WebSocket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Code {
    /// A field or a frame is invalid; the details name it.
    ValidationFailed,
    /// The token is not that of a live session of the room.
    InvalidToken,
    /// The connection has not joined the room.
    NotInRoom,
    /// A token of the room without the right to do this.
    Forbidden,
    /// The room accepts no new users.
    RoomLocked,
    /// The room accepts no new users from this address.
    Banned,
    /// There is no such room, or it has expired.
    RoomNotFound,
    /// Nothing exists at this path, or no user has this name.
    NotFound,
    /// The path does not support this method.
    MethodNotAllowed,
    /// A live session holds the name.
    NameTaken,
    /// The room has its maximum number of members.
    RoomFull,
    /// The body is over the size limit.
    PayloadTooLarge,
    /// The body is not declared as JSON.
    UnsupportedMediaType,
    /// A plain request where a WebSocket upgrade is needed.
    UpgradeRequired,
    /// Over a limit; the answer says when to retry.
    RateLimited,
    /// A bug; the log has the cause.
    Internal,
    /// Redis is unavailable or the node drains; retry.
    ServiceUnavailable,
}

impl Code {
    /// Every code, in the order of the contract.
    pub const ALL: [Code; 17] = [
        Code::ValidationFailed,
        Code::InvalidToken,
        Code::NotInRoom,
        Code::Forbidden,
        Code::RoomLocked,
        Code::Banned,
        Code::RoomNotFound,
        Code::NotFound,
        Code::MethodNotAllowed,
        Code::NameTaken,
        Code::RoomFull,
        Code::PayloadTooLarge,
        Code::UnsupportedMediaType,
        Code::UpgradeRequired,
        Code::RateLimited,
        Code::Internal,
        Code::ServiceUnavailable,
    ];

    /// The name on the wire and the HTTP status: the one place that pairs them.
    const fn row(self) -> (&'static str, u16) {
        match self {
            Code::ValidationFailed => ("VALIDATION_FAILED", 400),
            Code::InvalidToken => ("INVALID_TOKEN", 401),
            Code::NotInRoom => ("NOT_IN_ROOM", 403),
            Code::Forbidden => ("FORBIDDEN", 403),
            Code::RoomLocked => ("ROOM_LOCKED", 403),
            Code::Banned => ("BANNED", 403),
            Code::RoomNotFound => ("ROOM_NOT_FOUND", 404),
            Code::NotFound => ("NOT_FOUND", 404),
            Code::MethodNotAllowed => ("METHOD_NOT_ALLOWED", 405),
            Code::NameTaken => ("NAME_TAKEN", 409),
            Code::RoomFull => ("ROOM_FULL", 409),
            Code::PayloadTooLarge => ("PAYLOAD_TOO_LARGE", 413),
            Code::UnsupportedMediaType => ("UNSUPPORTED_MEDIA_TYPE", 415),
            Code::UpgradeRequired => ("UPGRADE_REQUIRED", 426),
            Code::RateLimited => ("RATE_LIMITED", 429),
            Code::Internal => ("INTERNAL", 500),
            Code::ServiceUnavailable => ("SERVICE_UNAVAILABLE", 503),
        }
    }

    /// The name on the wire.
    pub const fn as_str(self) -> &'static str {
        self.row().0
    }

    /// The HTTP status.
    pub const fn status(self) -> u16 {
        self.row().1
    }

    /// The code with this name on the wire; Lua scripts answer with these names.
    pub fn from_wire(name: &str) -> Option<Code> {
        Code::ALL.into_iter().find(|code| code.as_str() == name)
    }
}

/// The error of one request or frame: the code, the problems by field, and when to retry.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{}{}", code.as_str(), cause.as_deref().map(|c| format!(": {c}")).unwrap_or_default())]
pub struct Error {
    /// The code of the contract.
    pub code: Code,
    /// Problems by field or header.
    pub problems: BTreeMap<Cow<'static, str>, Problem>,
    /// When a retry may succeed, if that is known.
    pub retry_after: Option<Duration>,
    /// The cause, only for the log; never sent to clients.
    pub cause: Option<String>,
}

impl Error {
    /// An error with this code and no details.
    pub fn new(code: Code) -> Self {
        Self { code, problems: BTreeMap::new(), retry_after: None, cause: None }
    }

    /// A [`Code::ValidationFailed`] about one field.
    pub fn invalid(field: impl Into<Cow<'static, str>>, problem: Problem) -> Self {
        let mut error = Self::new(Code::ValidationFailed);
        error.problems.insert(field.into(), problem);
        error
    }

    /// A [`Code::RateLimited`] that may be retried after `wait`.
    pub fn rate_limited(wait: Duration) -> Self {
        Self { retry_after: Some(wait), ..Self::new(Code::RateLimited) }
    }

    /// A [`Code::ServiceUnavailable`] that is worth a retry after `wait`, and not before.
    pub fn come_again(wait: Duration, cause: impl Into<String>) -> Self {
        Self { retry_after: Some(wait), ..Self::unavailable(cause) }
    }

    /// A [`Code::Internal`] whose cause goes to the log.
    pub fn internal(cause: impl Into<String>) -> Self {
        Self { cause: Some(cause.into()), ..Self::new(Code::Internal) }
    }

    /// A [`Code::ServiceUnavailable`] whose cause goes to the log.
    pub fn unavailable(cause: impl Into<String>) -> Self {
        Self { cause: Some(cause.into()), ..Self::new(Code::ServiceUnavailable) }
    }
}

impl From<Code> for Error {
    fn from(code: Code) -> Self {
        Self::new(code)
    }
}

impl From<fred::error::Error> for Error {
    /// An error in a command of ours, or in stored data, does not go away by itself and is
    /// `Internal`. Anything else means that Redis is unavailable or cannot serve at the moment
    /// (loading, read-only, out of memory).
    fn from(error: fred::error::Error) -> Self {
        use fred::error::ErrorKind;
        match error.kind() {
            ErrorKind::InvalidArgument | ErrorKind::InvalidCommand | ErrorKind::Parse => {
                Self::internal(redacted(&error))
            }
            _ if is_of_a_script(error.details()) => Self::internal(redacted(&error)),
            _ => Self::unavailable(redacted(&error)),
        }
    }
}

/// Errors of scripts that go away by themselves: missing rights, and keys that move to another
/// shard.
const PASSING: [&str; 3] = ["The user executing the script", "ACL failure", "non local key"];

/// Whether a script failed because of stored data, such as a value that is not a number: then Redis
/// names the line of the script.
fn is_of_a_script(words: &str) -> bool {
    let passes = || PASSING.iter().any(|passing| words.contains(passing));
    words.starts_with("ERR ") && words.contains("user_script:") && !passes()
}

/// The text of a Redis error without the command that Redis quotes if it does not know it: that may
/// contain a password or a user's text, and must not be logged or shown.
pub fn redacted(error: &fred::error::Error) -> &str {
    const QUOTE: &str = ", with args beginning with";
    let words = error.details();
    words.split_once(QUOTE).map_or(words, |(before, _)| before)
}

#[cfg(test)]
mod tests {
    use fred::error::{Error as RedisError, ErrorKind};

    use super::{Code, Error, redacted};

    #[test]
    fn what_redis_was_sent_is_not_quoted() {
        for (words, expected) in [
            (
                "ERR unknown command 'AUTH', with args beginning with: 'u' 'pa55' ",
                "ERR unknown command 'AUTH'",
            ),
            (
                "ERR unknown command `AUTH`, with args beginning with: `pa55`, ",
                "ERR unknown command `AUTH`",
            ),
            ("NOAUTH Authentication required.", "NOAUTH Authentication required."),
        ] {
            let error = RedisError::new(ErrorKind::Unknown, words);
            assert_eq!(redacted(&error), expected);
            assert_eq!(Error::from(error).cause.as_deref(), Some(expected));
        }
    }

    #[test]
    fn every_code_is_found_by_its_name() {
        for code in Code::ALL {
            assert_eq!(Code::from_wire(code.as_str()), Some(code));
        }
        assert_eq!(Code::from_wire("OK"), None);
    }

    #[test]
    fn what_would_fail_again_is_no_outage() {
        let line = "script: 8d2c, on @user_script:36.";
        let code = |words: String| Error::from(RedisError::new(ErrorKind::Unknown, words)).code;
        for words in [
            "ERR hash value is not an integer",
            "ERR increment or decrement would overflow",
            "ERR user_script:36: attempt to compare nil with number",
        ] {
            assert_eq!(code(format!("{words} {line}")), Code::Internal, "{words}");
        }
        for words in [
            "OOM command not allowed when used memory > 'maxmemory'.",
            "NOREPLICAS Not enough good replicas to write.",
            "NOPERM ACL failure in script: User app has no permissions to run the 'get' command",
            "ERR ACL failure in script: User app has no permissions to run the 'get' command",
            "ERR The user executing the script can't run this command or subcommand",
            "ERR Script attempted to access a non local key in a cluster node",
        ] {
            assert_eq!(code(format!("{words} {line}")), Code::ServiceUnavailable, "{words}");
        }
        assert_eq!(code("ERR max number of clients reached".into()), Code::ServiceUnavailable);
    }
}
