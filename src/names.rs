//! The terms of the contract as types: parsed once at the edge, and trusted everywhere after it.
//!
//! Knows no Redis, no HTTP and no socket.

use std::{fmt, str::FromStr, sync::Arc};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use unicode_normalization::UnicodeNormalization;

use crate::{problem::Problem, visible};

/// The characters of ids and secrets: a double click selects all of them.
pub const LETTERS_AND_DIGITS: [char; 62] = [
    '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'A', 'B', 'C', 'D', 'E', 'F', 'G', 'H', 'I',
    'J', 'K', 'L', 'M', 'N', 'O', 'P', 'Q', 'R', 'S', 'T', 'U', 'V', 'W', 'X', 'Y', 'Z', 'a', 'b',
    'c', 'd', 'e', 'f', 'g', 'h', 'i', 'j', 'k', 'l', 'm', 'n', 'o', 'p', 'q', 'r', 's', 't', 'u',
    'v', 'w', 'x', 'y', 'z',
];
/// 12 letters and digits are 71 bits: the link is the key to the room, so it must not be guessed.
const ROOM_ID_LENGTH: usize = 12;
/// Maximum length of a room id that is looked up; other programs may create longer ids than ours.
const ROOM_ID_MAX: usize = 64;
/// 22 letters and digits are 130 bits.
const SECRET_LENGTH: usize = 22;
/// Longest secret that a client may choose; no shorter than ours.
const SECRET_MAX: usize = 64;
/// The header that makes a request safe to repeat.
pub const REQUEST_KEY: &str = "Idempotency-Key";
/// The prefix of every token; nicknames may not begin with it.
pub const TOKEN_PREFIX: &str = "lr_";
/// Prefix, in memory, of the [`Token`] of a JWT's user.
const SUBJECT_PREFIX: &str = "sub ";

/// The name of a room.
#[derive(Clone, PartialEq, Eq, Hash, Serialize)]
pub struct RoomId(Arc<str>);

impl RoomId {
    /// A new id that nobody can guess.
    pub fn random() -> Self {
        Self(nanoid::nanoid!(ROOM_ID_LENGTH, &LETTERS_AND_DIGITS).into())
    }

    /// Parses a room id from a path or a frame. `None` if no room can have it.
    pub fn parse(raw: &str) -> Option<Self> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
        let fits = (1..=ROOM_ID_MAX).contains(&raw.len());
        (fits && raw.bytes().all(plain)).then(|| Self(raw.into()))
    }

    /// The id at the beginning of a link's path; characters that an id cannot have were appended by
    /// other apps.
    pub fn in_link(path: &str) -> Option<Self> {
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        let end = path.find(|c| !plain(c)).unwrap_or(path.len());
        Self::parse(path[..end].trim_end_matches(['_', '-']))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A name in one room: trimmed, NFC, and without invisible characters.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct UserId(Arc<str>);

impl UserId {
    /// Parses a nickname as a user typed it.
    ///
    /// # Errors
    /// The first rule of the contract that it breaks. `max` is in code points.
    pub fn parse(raw: &str, max: usize) -> Result<Self, Problem> {
        if raw.trim_start().starts_with(TOKEN_PREFIX) {
            return Err(Problem::NameReserved);
        }
        Ok(Self(line(raw, max)?.into()))
    }

    /// A name from Redis: it was parsed before it was stored.
    pub fn stored(name: &str) -> Self {
        Self(name.into())
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The common rules of names and topics: one line, trimmed, NFC, and visible.
fn line(raw: &str, max: usize) -> Result<String, Problem> {
    let line: String = raw.trim().nfc().collect();
    if line.is_empty() {
        return Err(Problem::NameEmpty);
    }
    if line.chars().count() > max {
        return Err(Problem::NameTooLong { max });
    }
    if !visible::is_fully_visible(&line) {
        return Err(Problem::NameCharacters);
    }
    Ok(line)
}

/// Parses a room's topic as a user typed it.
///
/// # Errors
/// The first rule of the contract that it breaks. `max` is in code points.
pub fn topic(raw: &str, max: usize) -> Result<String, Problem> {
    line(raw, max).map_err(|problem| match problem {
        Problem::NameEmpty | Problem::NameTooLong { .. } => Problem::TopicLength { max },
        other => other,
    })
}

/// Parses the encrypted topic of an encrypted room. `max` is in characters.
///
/// # Errors
/// Empty, or over `max`.
pub fn sealed_topic(raw: &str, max: usize) -> Result<String, Problem> {
    let fits = (1..=max).contains(&raw.chars().count());
    if fits { Ok(raw.to_owned()) } else { Err(Problem::TopicLength { max }) }
}

/// What identifies a user: a secret of ours, or the `sub` of a JWT from an embedding application.
///
/// A secret is `lr_`, the name in base64url, a dot, the random part. It contains the name, so that looking
/// up one session key is enough; the name is not secret.
#[derive(Clone)]
pub struct Token {
    text: Arc<str>,
    /// Whether it has the creator's powers, even if another token created the room.
    is_creator: bool,
    /// When it expires, in seconds since 1970.
    ends_at: Option<u64>,
}

impl PartialEq for Token {
    /// Whether both belong to the same user.
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Token {}

impl Token {
    /// A new token for a user of a room.
    pub fn random(user: &UserId) -> Self {
        Self::of(user, &nanoid::nanoid!(SECRET_LENGTH, &LETTERS_AND_DIGITS))
    }

    /// The token with a random part that the client chose, so that it can request the same token
    /// again.
    ///
    /// # Errors
    /// The secret is too short or too long, or has characters that a token may not have.
    pub fn with_secret(user: &UserId, secret: &str) -> Result<Self, Problem> {
        if !is_secret(secret) {
            return Err(Problem::SecretShape { min: SECRET_LENGTH, max: SECRET_MAX });
        }
        Ok(Self::of(user, secret))
    }

    fn of(user: &UserId, secret: &str) -> Self {
        let name = URL_SAFE_NO_PAD.encode(user.as_str());
        Self::plain(format!("{TOKEN_PREFIX}{name}.{secret}").into())
    }

    fn plain(text: Arc<str>) -> Self {
        Self { text, is_creator: false, ends_at: None }
    }

    /// The user of JWTs with this `sub`; whether the JWT grants the creator's powers; and when it
    /// expires, in seconds since 1970.
    pub fn subject(sub: &str, is_creator: bool, ends_at: u64) -> Self {
        let digest = HEXLOWER.encode(&Sha256::digest(sub));
        let text = format!("{SUBJECT_PREFIX}{digest}").into();
        Self { text, is_creator, ends_at: Some(ends_at) }
    }

    /// Whether it has the creator's powers, even if another token created the room.
    pub fn is_creator(&self) -> bool {
        self.is_creator
    }

    /// When it expires, in seconds since 1970; `None` if it lasts as long as its session.
    pub fn ends_at(&self) -> Option<u64> {
        self.ends_at
    }

    /// Parses a token and the name in it. `None` if it is not one of ours.
    pub fn parse(raw: &str) -> Option<(Self, UserId)> {
        let (name, secret) = raw.strip_prefix(TOKEN_PREFIX)?.split_once('.')?;
        let name = String::from_utf8(URL_SAFE_NO_PAD.decode(name).ok()?).ok()?;
        let plausible = is_secret(secret) && !name.is_empty();
        plausible.then(|| (Self::plain(raw.into()), UserId(name.into())))
    }

    /// The secret, only for its owner; `None` for the user of a JWT.
    pub fn secret(&self) -> Option<&str> {
        self.text.starts_with(TOKEN_PREFIX).then_some(&self.text)
    }

    /// The hash in Redis: SHA-256 in hexadecimal; that of a `sub` has a suffix. A slow hash would
    /// protect nothing: the secret has 130 random bits, and a `sub` is not secret.
    pub fn hash(&self) -> String {
        match self.text.strip_prefix(SUBJECT_PREFIX) {
            Some(digest) => format!("{digest}:sub"),
            None => HEXLOWER.encode(&Sha256::digest(self.text.as_bytes())),
        }
    }

    /// The form in which scripts get it, as `lua/lib/proof.lua` reads it.
    pub fn proof(&self) -> String {
        let hash = self.hash();
        if self.is_creator { format!("{hash}:creator") } else { hash }
    }
}

/// Whether this can be the random part of a token: characters of base64url, as in ours.
fn is_secret(secret: &str) -> bool {
    let fits = (SECRET_LENGTH..=SECRET_MAX).contains(&secret.len());
    fits && secret.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
}

impl fmt::Debug for Token {
    /// Never the secret: tokens must not reach a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// A message's position in its room's stream: the id of its entry, `ms-seq`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageId {
    /// milliseconds since 1970, Redis's clock
    pub ms: u64,
    /// the order of entries of one millisecond; see `chain` for its digest
    pub seq: u64,
}

impl MessageId {
    /// Before every message.
    pub const ZERO: MessageId = MessageId { ms: 0, seq: 0 };
    /// After every message.
    pub const MAX: MessageId = MessageId { ms: u64::MAX, seq: u64::MAX };
}

impl FromStr for MessageId {
    type Err = Problem;

    /// `ms-seq`, or `ms` alone for the first of that millisecond.
    fn from_str(raw: &str) -> Result<Self, Problem> {
        // Rust would accept a plus sign as well.
        let number = |part: &str| match part.parse() {
            Ok(number) if !part.starts_with('+') => Ok(number),
            _ => Err(Problem::NotAMessageId),
        };
        let (ms, seq) = raw.split_once('-').unwrap_or((raw, "0"));
        Ok(Self { ms: number(ms)?, seq: number(seq)? })
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.ms, self.seq)
    }
}

impl Serialize for MessageId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for MessageId {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let raw = String::deserialize(from)?;
        raw.parse().map_err(|_| serde::de::Error::custom("not the id of a message"))
    }
}

/// Checks a message's text.
///
/// # Errors
/// No visible character, or over `max` code points.
pub fn check_text(text: &str, max: usize) -> Result<(), Problem> {
    if text.chars().count() > max {
        return Err(Problem::TextTooLong { max });
    }
    if visible::has_visible_character(text) { Ok(()) } else { Err(Problem::TextEmpty) }
}

/// Checks an idempotency key.
///
/// # Errors
/// Empty, or over `max` code points.
pub fn check_key(key: &str, max: usize) -> Result<(), Problem> {
    let length = key.chars().count();
    if (1..=max).contains(&length) { Ok(()) } else { Err(Problem::KeyLength { max }) }
}

/// The status of a member.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Present and active.
    #[default]
    Online,
    /// Present, but not active.
    Away,
}

impl Status {
    /// The word on the wire and in Redis.
    pub const fn as_str(self) -> &'static str {
        match self {
            Status::Online => "online",
            Status::Away => "away",
        }
    }
}

macro_rules! text_like {
    ($($name:ident),*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }
    )*};
}
text_like!(RoomId, UserId);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_trimmed_and_composed() {
        assert_eq!(UserId::parse("  Zoe\u{308} ", 32).unwrap().as_str(), "Zo\u{eb}");
        assert_eq!(UserId::parse("홍길동", 3).unwrap().as_str(), "홍길동");
        assert_eq!(UserId::parse("👨\u{200D}👩", 32).unwrap().as_str(), "👨\u{200D}👩");
    }

    #[test]
    fn names_that_break_a_rule() {
        let cases = [
            ("", Problem::NameEmpty),
            (" \t ", Problem::NameEmpty),
            ("lr_me", Problem::NameReserved),
            ("a\u{0}b", Problem::NameCharacters),
            ("a\u{202E}b", Problem::NameCharacters),
            ("a\u{2066}b", Problem::NameCharacters),
            ("a\u{200B}b", Problem::NameCharacters),
            ("\u{200D}a", Problem::NameCharacters),
            ("a\u{200D}", Problem::NameCharacters),
            ("a\u{200D}\u{200C}b", Problem::NameCharacters),
            ("\u{3164}", Problem::NameCharacters),
            ("a\u{AD}", Problem::NameCharacters),
            ("12345", Problem::NameTooLong { max: 4 }),
        ];
        for (raw, problem) in cases {
            assert_eq!(UserId::parse(raw, 4), Err(problem), "{raw:?}");
        }
    }

    #[test]
    fn topics_are_names_of_rooms() {
        let long = Problem::TopicLength { max: 4 };
        let cases = [
            (" e\u{301}! ", Ok("\u{e9}!")),
            ("lr_a", Ok("lr_a")),
            ("점심 🍜", Ok("점심 🍜")),
            ("", Err(long)),
            (" \u{3000}", Err(long)),
            ("12345", Err(long)),
            ("a\nb", Err(Problem::NameCharacters)),
            ("\u{202E}ab", Err(Problem::NameCharacters)),
        ];
        for (raw, expected) in cases {
            assert_eq!(topic(raw, 4), expected.map(str::to_owned), "{raw:?}");
        }
        assert_eq!(sealed_topic(" a\n ", 4), Ok(" a\n ".to_owned()));
        for raw in ["", "12345"] {
            assert_eq!(sealed_topic(raw, 4), Err(long), "{raw:?}");
        }
    }

    #[test]
    fn texts_show_something() {
        assert_eq!(check_text("a", 1), Ok(()));
        assert_eq!(check_text("ab", 1), Err(Problem::TextTooLong { max: 1 }));
        for blank in ["", " ", "\n", "\u{3164}", "\u{AD}\u{2060}", "\u{301}"] {
            assert_eq!(check_text(blank, 9), Err(Problem::TextEmpty), "{blank:?}");
        }
    }

    #[test]
    fn a_token_names_its_user_and_hides_its_secret() {
        let user = UserId::parse("홍길동", 32).unwrap();
        let token = Token::random(&user);
        let secret = token.secret().unwrap();
        let (again, name) = Token::parse(secret).unwrap();
        assert!(again == token && name == user);
        assert_eq!((token.hash().len(), token.proof()), (64, token.hash()));
        assert!(!format!("{token:?}").contains(secret));
        let chosen = Token::with_secret(&user, "a-secret_of-my-own-0123456789").unwrap();
        assert!(Token::parse(chosen.secret().unwrap()).unwrap() == (chosen.clone(), user.clone()));
        let long = "x".repeat(65);
        for bad in [
            "",
            "x",
            "twenty-one-characters",
            "a dot. in the middle of it",
            "한글한글한글한글한글한글한글",
            &long,
        ] {
            let problem = Problem::SecretShape { min: 22, max: 64 };
            assert_eq!(Token::with_secret(&user, bad).err(), Some(problem), "{bad}");
        }
        for bad in ["lr_", "lr_x", "lr_.", "user", "lr_QQ.short", "lr_!!.aaaaaaaaaaaaaaaaaaaaaa"] {
            assert!(Token::parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn whom_jwts_name_is_the_same_by_every_one_of_them_and_has_no_secret() {
        let (ann, creator) = (Token::subject("ann", false, 7), Token::subject("ann", true, 8));
        assert!(ann == creator && ann.hash() == creator.hash() && ann.secret().is_none());
        assert!(ann.hash().ends_with(":sub") && ann.proof() == ann.hash());
        assert_eq!(creator.proof(), format!("{}:creator", ann.hash()));
        assert!(ann != Token::subject("bob", false, 7));
    }

    #[test]
    fn message_ids_order_by_number() {
        let id = |raw: &str| raw.parse::<MessageId>().unwrap();
        assert!(id("9-10") < id("10-1") && id("10-9") < id("10-10"));
        assert_eq!(id("7"), MessageId { ms: 7, seq: 0 });
        for bad in ["", "-", "1-", "-1", "a-1", "+1-1", "1-1-1", "99999999999999999999999-1"] {
            assert_eq!(bad.parse::<MessageId>(), Err(Problem::NotAMessageId), "{bad}");
        }
    }

    #[test]
    fn room_ids_that_cannot_be() {
        assert!(RoomId::parse(RoomId::random().as_str()).is_some());
        for bad in ["", "a:b", "{a}", "a b", "가", &"a".repeat(65)] {
            assert!(RoomId::parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn a_room_id_is_the_beginning_of_what_an_app_made_of_its_link() {
        for end in ["", "/", ".", "%23k=x", "%EC%9D%84", "을", "_", "%ff"] {
            let id = RoomId::in_link(&format!("Ab3-d_f{end}"));
            assert_eq!(id.unwrap().as_str(), "Ab3-d_f", "{end}");
        }
        assert!(RoomId::in_link("%20").is_none());
    }
}
