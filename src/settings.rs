//! Every setting: its name in the environment, default, unit and range.
//!
//! clap reads the environment and writes `--help`, so this file is also the list that operators
//! see. Relations between timeouts are checked once, at the start.

mod http_url;
mod identity;
mod parse;
mod push;
mod redis_url;
mod webhooks;

use std::{
    error::Error,
    ffi::{OsStr, OsString},
    net::SocketAddr,
    ops::RangeInclusive,
    path::PathBuf,
    time::Duration,
};

use clap::{
    Arg, Command, CommandFactory, FromArgMatches, Parser, ValueEnum,
    builder::Resettable,
    error::{ContextKind, ContextValue, ErrorKind},
};
use ipnet::IpNet;

use crate::origin::{Allowed, Origin};
pub use http_url::HttpUrl;
pub use identity::{IdentitySettings, JwtKey};
pub use parse::public_url;
use parse::{Word, at_least_one, duration, header_bytes, joined_bytes, roster, threads};
pub use push::{Contact, PushSettings};
pub use redis_url::RedisUrl;
pub use webhooks::{EventType, Switch, WebhookSecret, WebhookSettings};

/// The Redis that is used where no other is named.
const DEFAULT_REDIS_URL: &str = "redis://127.0.0.1:6379";

/// How log lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}

/// Where a message must be stored in Redis before it is delivered to anybody, its sender included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Durability {
    /// In memory.
    Memory,
    /// In the append-only file, fsynced.
    Local,
    /// In the memory of a replica too.
    Replicated,
}

/// A chat room service: make a room, share its link, talk. All state is in Redis.
///
/// All settings are environment variables, and options of the same name; an empty one counts as
/// not set. Durations are written 30s, 10m, 500ms or as plain seconds.
#[derive(Clone, Debug, Parser)]
#[command(
    version,
    name = "linkroom",
    max_term_width = 100,
    after_help = "A load test of any deployment: linkroom bench --help. Events that a webhook did not take: \
                  linkroom webhooks --help. A key for Web Push: linkroom vapid. Health checks: linkroom health --help"
)]
pub struct Settings {
    /// Redis URL: redis://, rediss:// (TLS), redis-sentinel:// or redis-cluster://. Without it: the
    /// Redis on 127.0.0.1:6379; if none listens there, the node starts its own redis-server there
    #[arg(long, env, hide_env_values = true, value_parser = str::parse::<RedisUrl>)]
    pub redis_url: Option<RedisUrl>,

    /// Address and port to listen on: `:8080` for all IPv4 addresses, `[::]:8080` for IPv6 as well;
    /// port 0 selects a free port
    #[arg(long, env, default_value = "127.0.0.1:8080", value_parser = parse::listen_addr)]
    pub listen_addr: SocketAddr,

    /// Number of worker threads; without it, one less than the number of cores: one core is left
    /// for Redis and the kernel
    #[arg(long, env, value_parser = threads)]
    pub worker_threads: Option<usize>,

    /// Base of room links; without it, the address that the request was sent to
    #[arg(
        long,
        env,
        value_parser = parse::public_url,
        help = "Base of room links, such as https://rooms.example; without it, the address that \
                the request was sent to"
    )]
    pub public_url: Option<Origin>,

    /// Other origins, comma-separated, whose pages may open a WebSocket here; * for all
    #[arg(long, env, default_value = "", hide_default_value = true, value_parser = parse::allowed_origins)]
    pub allowed_origins: std::vec::Vec<Allowed>,

    /// How long a member stays online after its last heartbeat
    #[arg(long, env, default_value = "30s", value_parser = duration)]
    pub presence_ttl: Duration,

    /// How often clients are asked to send a heartbeat; without it, a third of PRESENCE_TTL
    #[arg(long, env, value_parser = duration)]
    pub heartbeat_interval: Option<Duration>,

    /// How long a session, and with it the name, is kept after the user's last activity; at least
    /// PRESENCE_TTL
    #[arg(long, env, default_value = "10m", value_parser = duration)]
    pub session_ttl: Duration,

    /// How long a room is kept after its last activity; at least PRESENCE_TTL
    #[arg(long, env, default_value = "24h", value_parser = duration)]
    pub room_ttl: Duration,

    /// The longest `ttl` that the creator of a room may choose
    #[arg(long, env, default_value = "7d", value_parser = duration)]
    pub room_ttl_max: Duration,

    /// How long a user stays a member after its last connection closed
    #[arg(long, env, default_value = "5s", value_parser = duration)]
    pub leave_grace: Duration,

    /// Approximate number of messages kept in a room (MAXLEN ~ of the stream)
    #[arg(long, env, default_value_t = 1000, value_parser = at_least_one)]
    pub history_max: usize,

    /// Maximum number of members of a room
    #[arg(long, env, default_value_t = 10_000, value_parser = at_least_one)]
    pub room_max_members: usize,

    /// Maximum number of names in a list of members; a room with more members is large, and its
    /// connections get the number of members instead of each change
    #[arg(long, env, default_value_t = 200, value_parser = roster)]
    pub roster_max: usize,

    /// Maximum number of addresses that a room bans; the oldest ban ends for a new one
    #[arg(long, env, default_value_t = 1000, value_parser = at_least_one)]
    pub bans_max: usize,

    /// Messages that a user may send each second, over all its connections and nodes
    #[arg(long, env, default_value_t = 10, value_parser = at_least_one)]
    pub messages_per_second: usize,

    /// How long an idempotency key is remembered
    #[arg(long, env, default_value = "10m", value_parser = duration)]
    pub idempotency_ttl: Duration,

    /// Number of latest messages in the answer to a join
    #[arg(long, env, default_value_t = 50, value_parser = at_least_one)]
    pub join_history: usize,

    /// Maximum number of missed messages in the answer to a join with `since`
    #[arg(long, env, default_value_t = 1000, value_parser = at_least_one)]
    pub resume_max: usize,

    /// Maximum bytes of the answer to a join; it has fewer messages if they do not fit
    #[arg(long, env, default_value_t = 262_144, value_parser = joined_bytes)]
    pub joined_bytes: usize,

    /// Messages of one HTTP page when the request names no limit
    #[arg(long, env, default_value_t = 50, value_parser = at_least_one)]
    pub page_size: usize,

    /// Maximum number of messages of one HTTP page
    #[arg(long, env, default_value_t = 1000, value_parser = at_least_one)]
    pub page_max: usize,

    /// Maximum code points of a name
    #[arg(long, env, default_value_t = 32, value_parser = at_least_one)]
    pub name_max: usize,

    /// Maximum code points of a room's topic
    #[arg(long, env, default_value_t = 120, value_parser = at_least_one)]
    pub topic_max: usize,

    /// Maximum characters of the topic of an encrypted room, as sent (encrypted)
    #[arg(long, env, default_value_t = 1000, value_parser = at_least_one)]
    pub sealed_topic_max: usize,

    /// Maximum code points of a message's text
    #[arg(long, env, default_value_t = 4000, value_parser = at_least_one)]
    pub text_max: usize,

    /// Maximum code points of an idempotency key
    #[arg(long, env, default_value_t = 64, value_parser = at_least_one)]
    pub key_max: usize,

    /// Maximum bytes of an HTTP body, of a WebSocket frame and of a frame published by others
    #[arg(long, env, default_value_t = 65_536, value_parser = at_least_one)]
    pub max_body_bytes: usize,

    /// Number of unreadable frames in a row after which a connection is closed with 1008
    #[arg(long, env, default_value_t = 10, value_parser = at_least_one)]
    pub bad_frames_max: usize,

    /// Maximum number of frames that wait for one connection; at the limit it is closed with 1013
    #[arg(long, env, default_value_t = 1024, value_parser = at_least_one)]
    pub outbox_frames: usize,

    /// Maximum bytes of frames that wait for one connection; at the limit it is closed with 1013
    #[arg(long, env, default_value_t = 1_048_576, value_parser = at_least_one)]
    pub outbox_bytes: usize,

    /// How long a slow connection has to read the close frame before the socket is dropped
    #[arg(long, env, default_value = "1s", value_parser = duration)]
    pub slow_close_timeout: Duration,

    /// How long a connection may read nothing of its outbox before it is closed with 1013
    #[arg(long, env, default_value = "30s", value_parser = duration)]
    pub stall_timeout: Duration,

    /// How long a connection may be silent before it is closed; at least HEARTBEAT_INTERVAL
    #[arg(long, env, default_value = "5m", value_parser = duration)]
    pub idle_timeout: Duration,

    /// Connections that one user may have in a room, over all nodes
    #[arg(long, env, default_value_t = 50, value_parser = at_least_one)]
    pub connections_per_user: usize,

    /// Rooms that one connection may be in
    #[arg(long, env, default_value_t = 50, value_parser = at_least_one)]
    pub rooms_per_connection: usize,

    /// Frames of any kind that are read from one connection each second; each 100 messages in the
    /// answer to a join count as one. Without it, five times MESSAGES_PER_SECOND and at least 50
    #[arg(long, env, value_parser = at_least_one)]
    pub frames_per_second: Option<usize>,

    /// How long a connection may send more than FRAMES_PER_SECOND before it is closed with 1008
    #[arg(long, env, default_value = "1m", value_parser = duration)]
    pub flood_timeout: Duration,

    /// HTTP requests, upgrades included, that one address may send each second
    #[arg(long, env, default_value_t = 5000, value_parser = at_least_one)]
    pub requests_per_second: usize,

    /// WebSocket connections and live tails that one address may hold
    #[arg(long, env, default_value_t = 20_000, value_parser = at_least_one)]
    pub connections_per_ip: usize,

    /// Open sockets of one address, idle ones included; WebSockets and sockets from TRUSTED_PROXIES
    /// do not count
    #[arg(long, env, default_value_t = 5000, value_parser = at_least_one)]
    pub sockets_per_ip: usize,

    /// Rooms that one address may make each minute
    #[arg(long, env, default_value_t = 600, value_parser = at_least_one)]
    pub rooms_per_minute: usize,

    /// Bytes of Redis that one address may fill in a day, about: rooms, sessions, connections,
    /// messages and their keys together
    #[arg(long, env, default_value_t = 600_000_000, value_parser = parse::bytes_per_day)]
    pub stored_bytes_per_day: u64,

    /// Unknown room ids and wrong tokens that one address may try each minute; over it, the address
    /// has to wait for every room and token
    #[arg(long, env, default_value_t = 10_000, value_parser = at_least_one)]
    pub misses_per_minute: usize,

    /// Proxies, as comma-separated addresses or networks (10.0.0.0/8), whose X-Forwarded-For is
    /// trusted
    #[arg(long, env, default_value = "", hide_default_value = true, value_parser = parse::networks)]
    pub trusted_proxies: std::vec::Vec<IpNet>,

    /// Maximum bytes of a request's headers
    #[arg(long, env, default_value_t = 16_384, value_parser = header_bytes)]
    pub max_header_bytes: usize,

    /// How long a client may take to send a request's headers, from their first byte on; on a new
    /// connection, from its start
    #[arg(long, env, default_value = "10s", value_parser = duration)]
    pub header_timeout: Duration,

    /// How long a connection is kept open for another request; must be longer than the keep-alive
    /// of a balancer in front
    #[arg(long, env, default_value = "75s", value_parser = duration)]
    pub keepalive_timeout: Duration,

    /// How long a node may take to shut down after SIGTERM
    #[arg(long, env, default_value = "30s", value_parser = duration)]
    pub drain_timeout: Duration,

    /// Where a message must be stored in Redis before it is acknowledged: in memory, in the
    /// append-only file (needs Redis 7.2 and `appendonly yes`), or in a replica too
    #[arg(long, env, value_parser = Word::<Durability>::new(), default_value = "memory")]
    pub durability: Durability,

    /// Timeout of one Redis command
    #[arg(long, env, default_value = "1s", value_parser = duration)]
    pub redis_timeout: Duration,

    /// Where the node's own redis-server keeps its append-only file
    #[arg(long, env, default_value = "./data")]
    pub data_dir: PathBuf,

    /// Who may be here.
    #[command(flatten)]
    pub identity: IdentitySettings,

    /// Where events go, and how.
    #[command(flatten)]
    pub webhooks: WebhookSettings,

    /// How those are told who are not looking.
    #[command(flatten)]
    pub push: PushSettings,

    /// Format of log lines
    #[arg(long, env, value_parser = Word::<LogFormat>::new(), default_value = "text")]
    pub log_format: LogFormat,

    /// Log level, or directives such as linkroom=debug,fred=warn
    #[arg(long, env, default_value = "info")]
    pub log_level: String,
}

/// Why the program does not start: one line.
#[derive(Debug, PartialEq, Eq)]
pub enum Refusal {
    /// `--help` or `--version`: print it and exit with success.
    Wanted(String),
    /// An invalid value: print it and exit with a failure.
    Bad(String),
}

impl Settings {
    /// Reads the environment and the arguments.
    ///
    /// # Errors
    /// The text to print, and whether it is a failure.
    pub fn read<I: IntoIterator<Item = OsString>>(args: I) -> Result<Self, Refusal> {
        let mut command = without_empty_variables(Self::command());
        let settings = command
            .try_get_matches_from_mut(without_empty_options(args))
            .and_then(|matches| Self::from_arg_matches(&matches));
        let settings = settings.map_err(|error| match error.exit_code() {
            0 => Refusal::Wanted(error.to_string()),
            _ => Refusal::Bad(refusal(&command, &error)),
        })?;
        settings.check().map_err(|text| Refusal::Bad(format!("error: {text}")))?;
        Ok(settings)
    }

    /// Reads only the environment: for commands that concern a node with the same settings.
    ///
    /// # Errors
    /// The line to print about an invalid value, without `error: ` before it.
    pub fn from_environment() -> anyhow::Result<Self> {
        Self::read([OsString::from("linkroom")]).map_err(|refusal| match refusal {
            Refusal::Bad(line) | Refusal::Wanted(line) => {
                anyhow::Error::msg(line.trim_start_matches("error: ").to_owned())
            }
        })
    }

    /// The address of Redis, secrets included.
    pub fn redis_url(&self) -> &str {
        self.redis_url.as_ref().map_or(DEFAULT_REDIS_URL, RedisUrl::expose)
    }

    /// How often clients are asked to send a heartbeat.
    pub fn heartbeat(&self) -> Duration {
        self.heartbeat_interval.unwrap_or(self.presence_ttl / 3)
    }

    /// The values of `ttl` in seconds that the creator of a room may choose.
    pub fn room_ttls(&self) -> RangeInclusive<usize> {
        60..=usize::try_from(self.room_ttl_max.as_secs()).unwrap_or(usize::MAX)
    }

    /// The values of `maxMembers` that the creator of a room may choose.
    pub fn room_sizes(&self) -> RangeInclusive<usize> {
        2..=self.room_max_members
    }

    /// Number of worker threads.
    pub fn worker_threads(&self) -> usize {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        self.worker_threads.unwrap_or(cores.saturating_sub(1).max(1))
    }

    /// Frames that one connection may send each second.
    pub fn frames_per_second(&self) -> usize {
        const FRAMES_PER_MESSAGE: usize = 5;
        const LEAST: usize = 50;
        let wanted = self.messages_per_second.saturating_mul(FRAMES_PER_MESSAGE);
        let wanted = wanted.clamp(LEAST, parse::MOST);
        self.frames_per_second.unwrap_or(wanted)
    }

    /// Checks the limits and relations that the promises need.
    fn check(&self) -> Result<(), String> {
        self.check_durations()?;
        let show = humantime::format_duration;
        let (heartbeat, ttl) = (self.heartbeat(), self.presence_ttl);
        if heartbeat >= ttl {
            return Err(format!(
                "HEARTBEAT_INTERVAL ({}) must be shorter than PRESENCE_TTL ({}), or members leave \
                 between two heartbeats",
                show(heartbeat),
                show(ttl),
            ));
        }
        self.check_lifetimes()?;
        self.identity.check()?;
        self.webhooks.check()?;
        let (body, least) = (self.max_body_bytes, self.largest_message());
        if body < least {
            return Err(format!(
                "MAX_BODY_BYTES ({body}) must be at least {least}, or a message of TEXT_MAX, \
                 NAME_MAX and KEY_MAX characters does not fit"
            ));
        }
        if self.outbox_bytes < body {
            return Err(format!(
                "OUTBOX_BYTES ({}) must be at least MAX_BODY_BYTES ({body}), or nobody can be sent \
                 a frame of that size",
                self.outbox_bytes
            ));
        }
        Ok(())
    }

    /// Checks the lifetimes that must be at least as long as others: heartbeats extend all of them.
    fn check_lifetimes(&self) -> Result<(), String> {
        let ttl = ("PRESENCE_TTL", self.presence_ttl);
        let beat = ("HEARTBEAT_INTERVAL", self.heartbeat());
        let relations = [
            (("SESSION_TTL", self.session_ttl), ttl, "a member's name is lost while it is here"),
            (("ROOM_TTL", self.room_ttl), ttl, "a room ends while members are in it"),
            (("IDLE_TIMEOUT", self.idle_timeout), beat, "connections end between two heartbeats"),
        ];
        let wrong = relations.into_iter().find(|((_, longer), (_, shorter), _)| longer < shorter);
        let Some(((name, longer), (than, shorter), or)) = wrong else { return Ok(()) };
        let show = humantime::format_duration;
        let (longer, shorter) = (show(longer), show(shorter));
        Err(format!("{name} ({longer}) must be at least {than} ({shorter}), or {or}"))
    }

    /// Checks the minimum of each duration: periodic work must leave time for other work.
    fn check_durations(&self) -> Result<(), String> {
        const INSTANT: Duration = Duration::from_millis(1);
        const TURN: Duration = Duration::from_millis(10);
        const MINUTE: Duration = Duration::from_secs(60);
        let least = [
            ("PRESENCE_TTL", self.presence_ttl, TURN),
            ("HEARTBEAT_INTERVAL", self.heartbeat(), TURN),
            ("SESSION_TTL", self.session_ttl, INSTANT),
            ("ROOM_TTL", self.room_ttl, INSTANT),
            ("ROOM_TTL_MAX", self.room_ttl_max, MINUTE),
            ("IDEMPOTENCY_TTL", self.idempotency_ttl, INSTANT),
            ("IDLE_TIMEOUT", self.idle_timeout, TURN),
            ("STALL_TIMEOUT", self.stall_timeout, TURN),
            ("HEADER_TIMEOUT", self.header_timeout, INSTANT),
            ("KEEPALIVE_TIMEOUT", self.keepalive_timeout, INSTANT),
            ("REDIS_TIMEOUT", self.redis_timeout, TURN),
        ];
        if let Some((name, _, least)) = least.iter().find(|(_, d, least)| d < least) {
            return Err(format!("{name} must be at least {}", humantime::format_duration(*least)));
        }
        if self.redis_timeout > MINUTE {
            return Err("REDIS_TIMEOUT must be at most 1m: everybody waits that long".to_owned());
        }
        Ok(())
    }

    /// Bytes of the largest message that a client may send: each character written as two escapes.
    fn largest_message(&self) -> usize {
        const ESCAPED: usize = 12;
        const REST: usize = 256;
        let characters = [self.text_max, self.name_max, self.key_max].into_iter().sum::<usize>();
        characters * ESCAPED + REST
    }
}

/// Makes empty variables count as not set: Compose and other tools pass unset variables as empty.
fn without_empty_variables(command: Command) -> Command {
    command.mut_args(|arg| {
        let value = arg.get_env().and_then(std::env::var_os);
        let is_empty = value.is_some_and(|value| is_blank(&value));
        if is_empty { arg.env(Resettable::Reset) } else { arg }
    })
}

/// The same for options: `--name=`, and `--name` followed by an empty argument.
fn without_empty_options(words: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut kept: Vec<OsString> = Vec::new();
    for word in words {
        let text = word.to_string_lossy();
        let is_empty_option = text.starts_with("--")
            && text.split_once('=').is_some_and(|(_, value)| value.trim().is_empty());
        let is_name = |word: &OsString| word.to_string_lossy().starts_with("--");
        if is_blank(&word) && kept.last().is_some_and(is_name) {
            kept.pop();
        } else if !is_empty_option {
            kept.push(word);
        }
    }
    kept
}

fn is_blank(value: &OsStr) -> bool {
    value.to_str().is_some_and(|text| text.trim().is_empty())
}

/// clap's error in one line: the setting and its valid form. It never quotes the value, which may
/// contain a secret.
fn refusal(command: &Command, error: &clap::Error) -> String {
    let named = match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(named)) => named.as_str(),
        _ => return no_text(command).unwrap_or_else(|| first_line(&error.to_string())),
    };
    let option = named.split([' ', '=']).next().unwrap_or_default();
    if error.kind() == ErrorKind::UnknownArgument {
        return match option.starts_with('-') {
            true => format!("error: there is no option {}; see linkroom --help", plain(option)),
            false => "error: options begin with --; see linkroom --help".to_owned(),
        };
    }
    let is_it = |arg: &&Arg| arg.get_long().is_some_and(|long| option == format!("--{long}"));
    let why = match (error.source(), error.get(ContextKind::ValidValue)) {
        (Some(why), _) => why.to_string(),
        (None, Some(ContextValue::Strings(words))) => format!("write {}", words.join(" or ")),
        (None, _) => return first_line(&error.to_string()),
    };
    match command.get_arguments().find(is_it) {
        Some(arg) => unreadable(arg, &plain(&why)),
        None => first_line(&error.to_string()),
    }
}

fn unreadable(arg: &Arg, why: &str) -> String {
    format!("error: {} cannot be read: {why}", variable(arg))
}

/// An error for the first variable that is not UTF-8; clap's own error does not name it.
fn no_text(command: &Command) -> Option<String> {
    let is_none = |arg: &&Arg| {
        let value = arg.get_env().and_then(std::env::var_os);
        value.is_some_and(|value| value.to_str().is_none())
    };
    command.get_arguments().find(is_none).map(|arg| unreadable(arg, "it is not UTF-8"))
}

fn variable(arg: &Arg) -> String {
    arg.get_id().as_str().to_uppercase()
}

/// clap's error without the hints after it. It quotes the value.
fn first_line(report: &str) -> String {
    let lines = report.lines().take_while(|line| !line.is_empty());
    plain(&lines.map(str::trim).collect::<Vec<_>>().join(" "))
}

/// Replaces control characters, so that the text is one line.
fn plain(text: &str) -> String {
    text.replace(char::is_control, " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(args: &[&str]) -> Result<Settings, Refusal> {
        let words = std::iter::once("linkroom").chain(args.iter().copied());
        Settings::read(words.map(Into::into))
    }

    #[test]
    fn a_heartbeat_is_a_third_of_the_presence_ttl() {
        assert_eq!(read(&[]).unwrap().heartbeat(), Duration::from_secs(10));
        assert_eq!(read(&["--presence-ttl=3s"]).unwrap().heartbeat(), Duration::from_secs(1));
    }

    #[test]
    fn a_bad_value_is_one_line() {
        let bad = [
            "--presence-ttl=soon",
            "--history-max=0",
            "--history-max=18446744073709551615",
            "--listen-addr=a\rb",
            "--listen-addr=here",
            "--public-url=rooms.example",
            "--heartbeat-interval=30s",
            "--redis-url=http://host",
            "--redis-timeout=10m",
            "--idle-timeout=1ms",
            "--idle-timeout=9s",
            "--session-ttl=29s",
            "--room-ttl=29s",
            "--presence-ttl=11m",
            "--max-body-bytes=1000",
            "--text-max=1000000000",
            "--outbox-bytes=65535",
            "redis://host",
            "--log-format=xml",
            "--trusted-proxies=10.0.0.0/33",
            "--max-header-bytes=100",
            "--worker-threads=0",
            "--worker-threads=1025",
            "--no-such-option",
            "--allowed-origins=https://a.example,b.example",
        ];
        for argument in bad {
            let Err(Refusal::Bad(line)) = read(&[argument]) else { panic!("{argument}") };
            assert!(line.starts_with("error: ") && !line.contains('\n'), "{line}");
        }
    }

    #[test]
    fn a_bad_value_that_may_be_a_secret_is_not_quoted() {
        for argument in [
            "--redis-url=redis://:pa55@host:bad",
            "redis://:pa55@host",
            "--redis-urll=redis://:pa55@h",
            "--jwt-secrett=pa55",
            "--public-url=https://u:pa55@h",
        ] {
            let Err(Refusal::Bad(line)) = read(&[argument]) else { panic!("{argument}") };
            assert!(line.starts_with("error: ") && !line.contains("pa55"), "{line}");
        }
        let settings = read(&["--redis-url=redis://u:pa55@host/1"]).unwrap();
        assert!(!format!("{settings:?}").contains("pa55"));
    }

    #[test]
    fn what_is_empty_is_not_set() {
        let empty = [
            "--redis-url=",
            "--public-url= ",
            "--presence-ttl",
            "",
            "--allowed-origins=",
            "--log-format",
            " ",
        ];
        let settings = read(&empty).unwrap();
        assert!(settings.redis_url.is_none() && settings.public_url.is_none());
        assert_eq!((settings.presence_ttl.as_secs(), settings.allowed_origins.len()), (30, 0));
    }

    #[test]
    fn lists_and_words_mean_what_people_write() {
        let origins = "--allowed-origins=https://a.example/, HTTPS://B.example:443 ,http://c:81";
        let settings = read(&[
            origins,
            "--log-format= JSON ",
            "--durability=Memory",
            "--trusted-proxies=10.0.0.1, ::ffff:10.1.0.0/112",
        ])
        .unwrap();
        let expected = ["https://a.example", "https://b.example", "http://c:81"];
        assert_eq!(settings.allowed_origins, expected.map(|o| Allowed::One(o.parse().unwrap())));
        assert_eq!(settings.log_format, LogFormat::Json);
        assert_eq!(
            settings.trusted_proxies.iter().map(ToString::to_string).collect::<Vec<_>>(),
            ["10.0.0.1/32", "10.1.0.0/16"]
        );
    }

    #[test]
    fn a_word_that_is_none_is_answered_with_those_there_are() {
        let refusal =
            Refusal::Bad("error: LOG_FORMAT cannot be read: write text or json".to_owned());
        assert_eq!(read(&["--log-format=xml"]).map(drop), Err(refusal));
    }

    #[test]
    fn extremes_are_no_overflow() {
        let most = format!("--messages-per-second={}", parse::MOST);
        assert_eq!(read(&[&most]).unwrap().frames_per_second(), parse::MOST);
        let longest = ["presence-ttl", "drain-timeout"].map(|name| format!("--{name}=9y"));
        let longer = ["session-ttl", "room-ttl"].map(|name| format!("--{name}=10y"));
        let all: Vec<_> = longest.iter().chain(&longer).map(String::as_str).collect();
        assert!(read(&[&all[..], &["--heartbeat-interval=1m"]].concat()).is_ok());
    }
}
