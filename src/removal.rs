//! The published end of a session or a room: which connections are out of the room, and why.
//! Clients get only the reason.
//!
//! Everybody with access to Redis may publish, and nodes act on this event, so it has a proof: a
//! digest with a secret of the room (`lua/lib/removal.lua` writes it). A replayed event does no
//! harm, because that session has already ended.

use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};
use sha1::{Digest, Sha1};

use crate::names::UserId;

/// How scripts begin this event. Other frames with its `t` are passed on like any frame.
const BEGINS: &str = r#"{"t":"removed","roomId":"#;
/// Characters of a proof.
const PROOF_LENGTH: usize = 32;

/// Why a connection is out of a room for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reason {
    /// The creator removed the user.
    Removed,
    /// The user removed itself.
    Left,
    /// The creator ended the room.
    Closed,
    /// The user's JWT has expired; its session continues.
    Expired,
}

/// The end of a session, or of a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Removal {
    /// The session; `None` for the whole room.
    pub whom: Option<Session>,
    /// Why.
    pub reason: Reason,
    proof: String,
}

/// One session of all that a name has in a room.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Session {
    /// The name.
    pub user: UserId,
    /// When the user first joined, milliseconds on Redis's clock.
    pub joined_at_ms: u64,
}

impl Removal {
    /// Reads a payload of a room's channel; `None` for anything else.
    pub fn parse(payload: &str) -> Option<Self> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Fields {
            user_id: Option<String>,
            joined_at: Option<String>,
            reason: Reason,
            proof: String,
        }
        if !payload.starts_with(BEGINS) {
            return None;
        }
        let Fields { user_id, joined_at, reason, proof } = serde_json::from_str(payload).ok()?;
        let session = |user: String| {
            let joined_at_ms = joined_at.and_then(|ms| ms.parse().ok()).unwrap_or_default();
            Session { user: UserId::stored(&user), joined_at_ms }
        };
        let whom = user_id.map(session);
        (whom.is_none() == (reason == Reason::Closed)).then_some(Self { whom, reason, proof })
    }

    /// Whether a script of the room with this secret wrote it.
    pub fn is_proved(&self, secret: &str) -> bool {
        let who = match &self.whom {
            Some(Session { user, joined_at_ms }) => format!("{joined_at_ms} {user}"),
            None => "everybody".to_owned(),
        };
        let digest = HEXLOWER.encode(&Sha1::digest(format!("{secret} removed {who}")));
        self.proof == digest[..PROOF_LENGTH]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proof(secret: &str, who: &str) -> String {
        let digest = Sha1::digest(format!("{secret} removed {who}"));
        HEXLOWER.encode(&digest)[..PROOF_LENGTH].to_owned()
    }

    #[test]
    fn what_a_script_wrote_is_proved_by_its_rooms_secret_alone() {
        let said = format!(
            r#"{{"t":"removed","roomId":"r","userId":"a:b","joinedAt":"7","reason":"left","proof":"{}"}}"#,
            proof("s", "7 a:b")
        );
        let removal = Removal::parse(&said).unwrap();
        let session = Session { user: UserId::stored("a:b"), joined_at_ms: 7 };
        assert_eq!((&removal.whom, removal.reason), (&Some(session), Reason::Left));
        assert!(removal.is_proved("s") && !removal.is_proved("t") && !removal.is_proved(""));
        for (from, to) in [("\"7\"", "\"8\""), ("a:b", "a:c"), ("\"7\"", "7")] {
            let forged = Removal::parse(&said.replace(from, to));
            assert!(forged.is_none_or(|forged| !forged.is_proved("s")), "{from} {to}");
        }
        let closed = format!(
            r#"{{"t":"removed","roomId":"r","reason":"closed","proof":"{}"}}"#,
            proof("s", "everybody")
        );
        let closed = Removal::parse(&closed).unwrap();
        assert!(closed.whom.is_none() && closed.is_proved("s") && !closed.is_proved("t"));
    }

    #[test]
    fn what_others_publish_is_none() {
        for other in [
            "",
            "{}",
            r#"{"t":"msg","roomId":"r"}"#,
            r#" {"t":"removed","roomId":"r","reason":"closed","proof":"x"}"#,
            r#"{"t":"removed","roomId":"r","reason":"closed"}"#,
            r#"{"t":"removed","roomId":"r","reason":"tired","proof":"x"}"#,
            r#"{"t":"removed","roomId":"r","reason":"removed","proof":"x"}"#,
            r#"{"t":"removed","roomId":"r","userId":"a","reason":"closed","proof":"x"}"#,
        ] {
            assert_eq!(Removal::parse(other), None, "{other}");
        }
    }
}
