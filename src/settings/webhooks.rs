//! The settings of webhooks.

use std::{collections::BTreeSet, fmt, str::FromStr, time::Duration};

use base64::{Engine, prelude::BASE64_STANDARD};
use clap::{Args, ValueEnum};

use super::{
    HttpUrl,
    parse::{Word, at_least_one, duration, list},
};

/// Prefix of a secret, by the Standard Webhooks specification.
const SECRET_PREFIX: &str = "whsec_";
/// Number of bytes of a secret, by the same specification.
const SECRET_BYTES: std::ops::RangeInclusive<usize> = 24..=64;
/// Maximum timeout, because the next event of the room waits that long.
const LONGEST_TIMEOUT: Duration = Duration::from_secs(60);

/// The types of events of a webhook.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum EventType {
    /// A room was created.
    RoomCreated,
    /// Its creator changed it.
    RoomUpdated,
    /// Its creator deleted it.
    RoomDeleted,
    /// A user became a member.
    MemberJoined,
    /// A user is no longer a member.
    MemberLeft,
    /// A message was stored.
    MessageCreated,
    /// Its text was deleted.
    MessageDeleted,
    /// A message was stored while a user with a session was not a member.
    MessageMissed,
}

impl EventType {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::RoomCreated,
        Self::RoomUpdated,
        Self::RoomDeleted,
        Self::MemberJoined,
        Self::MemberLeft,
        Self::MessageCreated,
        Self::MessageDeleted,
        Self::MessageMissed,
    ];

    /// The name of the type.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RoomCreated => "room.created",
            Self::RoomUpdated => "room.updated",
            Self::RoomDeleted => "room.deleted",
            Self::MemberJoined => "member.joined",
            Self::MemberLeft => "member.left",
            Self::MessageCreated => "message.created",
            Self::MessageDeleted => "message.deleted",
            Self::MessageMissed => "message.missed",
        }
    }
}

/// The secret that signs events. It is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct WebhookSecret(Vec<u8>);

impl WebhookSecret {
    /// Its bytes.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl FromStr for WebhookSecret {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bytes = text.trim().strip_prefix(SECRET_PREFIX);
        let bytes = bytes.and_then(|base64| BASE64_STANDARD.decode(base64).ok());
        bytes.filter(|bytes| SECRET_BYTES.contains(&bytes.len())).map(Self).ok_or_else(|| {
            "write it as whsec_ and the base64 of 24 to 64 random bytes, such as \
             echo whsec_$(openssl rand -base64 32)"
                .to_owned()
        })
    }
}

impl fmt::Debug for WebhookSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

/// Whether something is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Switch {
    /// Yes
    On,
    /// No
    Off,
}

/// Where events go, and how.
#[derive(Args, Clone, Debug)]
pub struct WebhookSettings {
    /// The URL that events are posted to, such as `https://app.example/hooks`; without it, webhooks are off
    #[arg(
        long,
        env,
        hide_env_values = true,
        value_parser = str::parse::<HttpUrl>,
        help = "The URL that events are posted to, such as https://app.example/hooks; without it, webhooks are off"
    )]
    pub webhook_url: Option<HttpUrl>,

    /// The secret that signs the events: whsec_ and the base64 of 24 to 64 random bytes
    #[arg(long, env, hide_env_values = true, value_parser = str::parse::<WebhookSecret>)]
    pub webhook_secret: Option<WebhookSecret>,

    /// Comma-separated types of the events to post, such as room.created,member.joined; without it, all types
    #[arg(long, env, default_value = "", hide_default_value = true, value_parser = event_types)]
    pub webhook_events: BTreeSet<EventType>,

    /// How long the receiver may take to answer; at most 1m
    #[arg(long, env, default_value = "5s", value_parser = duration)]
    pub webhook_timeout: Duration,

    /// How long to wait before the second try of an event; each later wait is three times as long
    #[arg(long, env, default_value = "1s", value_parser = duration)]
    pub webhook_backoff: Duration,

    /// Maximum number of tries of an event; then it becomes a dead letter
    #[arg(long, env, default_value_t = 12, value_parser = at_least_one)]
    pub webhook_attempts: usize,

    /// Whether webhooks and pushes may connect to private addresses, such as those of the node's own network
    #[arg(long, env, value_parser = Word::<Switch>::new(), default_value = "off")]
    pub webhook_allow_private: Switch,

    /// Maximum number of waiting events, and of dead letters; beyond it the oldest are dropped
    #[arg(long, env, default_value_t = 100_000, value_parser = at_least_one)]
    pub webhook_events_max: usize,

    /// Maximum age of waiting events and of dead letters; older ones are dropped
    #[arg(long, env, default_value = "7d", value_parser = duration)]
    pub webhook_age_max: Duration,
}

impl WebhookSettings {
    /// Whether there is a webhook.
    pub fn are_on(&self) -> bool {
        self.webhook_url.is_some()
    }

    /// Whether private addresses may be connected to.
    pub fn allow_private(&self) -> bool {
        self.webhook_allow_private == Switch::On
    }

    /// The configured types of events.
    pub fn types(&self) -> BTreeSet<EventType> {
        match self.webhook_events.is_empty() {
            true => EventType::ALL.into(),
            false => self.webhook_events.clone(),
        }
    }

    /// A secret is required: without it, a receiver could not verify who posted an event.
    pub(super) fn check(&self) -> Result<(), String> {
        if self.webhook_url.is_some() && self.webhook_secret.is_none() {
            return Err("WEBHOOK_URL needs WEBHOOK_SECRET, which signs what is posted".to_owned());
        }
        let bounds = [
            ("WEBHOOK_TIMEOUT", self.webhook_timeout, Duration::from_millis(10)),
            ("WEBHOOK_BACKOFF", self.webhook_backoff, Duration::from_millis(10)),
            ("WEBHOOK_AGE_MAX", self.webhook_age_max, Duration::from_secs(1)),
        ];
        if let Some((name, _, least)) = bounds.iter().find(|(_, d, least)| d < least) {
            return Err(format!("{name} must be at least {}", humantime::format_duration(*least)));
        }
        if self.webhook_timeout > LONGEST_TIMEOUT {
            return Err("WEBHOOK_TIMEOUT must be at most 1m: a room's next event waits".to_owned());
        }
        Ok(())
    }
}

/// Comma-separated types of events.
fn event_types(raw: &str) -> Result<BTreeSet<EventType>, String> {
    let one = |raw: &str| {
        let word = raw.trim().to_ascii_lowercase();
        EventType::ALL.into_iter().find(|one| one.as_str() == word).ok_or_else(|| {
            let words = EventType::ALL.map(EventType::as_str);
            format!("write one or more of {}", words.join(", "))
        })
    };
    Ok(list(raw, one)?.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_that_of_the_specification_and_never_shown() {
        let secret: WebhookSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".parse().unwrap();
        assert_eq!(secret.expose().len(), 24);
        assert_eq!(format!("{secret:?}"), "(secret)");
        let short = format!("whsec_{}", BASE64_STANDARD.encode([0; 23]));
        let long = format!("whsec_{}", BASE64_STANDARD.encode([0; 65]));
        for text in [&*short, &*long, "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_?", "whsec_", ""] {
            assert!(text.parse::<WebhookSecret>().is_err(), "{text}");
        }
    }

    #[test]
    fn types_are_named_one_by_one() {
        let types = event_types(" Room.Created,message.missed, ").unwrap();
        assert_eq!(types, [EventType::RoomCreated, EventType::MessageMissed].into());
        assert!(event_types("room").is_err() && event_types("").unwrap().is_empty());
    }
}
