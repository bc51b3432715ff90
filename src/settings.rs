//! Every setting: its name in the environment, default, unit and range.
//!
//! clap reads the environment and writes `--help`, so this file is also the list that operators
//! see. Relations between timeouts are checked once, at the start.

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use clap::{Parser, ValueEnum};
use ipnet::IpNet;

/// How log lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Where Redis must have a message before it is told to anybody, its sender included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Durability {
    /// In its memory.
    Memory,
    /// In its append-only file, fsynced.
    Local,
    /// In the memory of a replica as well.
    Replicated,
}

/// A room service: make a room, share its link, talk. Every fact lives in Redis.
///
/// All settings are environment variables, and options of the same name. Durations are written
/// 30s, 10m, 500ms or as plain seconds.
#[derive(Clone, Debug, Parser)]
#[command(
    version,
    name = "linkroom",
    max_term_width = 100,
    after_help = "A load test of any deployment: linkroom bench --help"
)]
pub struct Settings {
    /// Redis to use: redis://, rediss:// (TLS), redis-sentinel:// or redis-cluster://. Without
    /// it: the Redis on 127.0.0.1:6379, and where none listens a redis-server child there
    #[arg(long, env, hide_env_values = true, value_parser = redis_url)]
    pub redis_url: Option<String>,

    /// Address and port to listen on; port 0 takes a free one
    #[arg(long, env, default_value = "127.0.0.1:8080")]
    pub listen_addr: SocketAddr,

    /// Threads that serve everybody; without it, one less than there are cores: one is for Redis and
    /// the kernel
    #[arg(long, env, value_parser = threads)]
    pub worker_threads: Option<usize>,

    /// What links to rooms begin with; without it, the address that the request came to
    #[arg(long, env, value_parser = public_url)]
    pub public_url: Option<String>,

    /// Origins, comma-separated, whose pages may open a WebSocket here, besides our own; * for all
    #[arg(long, env, value_delimiter = ',')]
    pub allowed_origins: Vec<String>,

    /// How long a member stays online after its last heartbeat
    #[arg(long, env, default_value = "30s", value_parser = duration)]
    pub presence_ttl: Duration,

    /// How often clients are asked to send a heartbeat; without it, a third of PRESENCE_TTL
    #[arg(long, env, value_parser = duration)]
    pub heartbeat_interval: Option<Duration>,

    /// How long a name is kept for its token after the user was last heard of
    #[arg(long, env, default_value = "10m", value_parser = duration)]
    pub session_ttl: Duration,

    /// How long a room is kept after anything last happened in it
    #[arg(long, env, default_value = "24h", value_parser = duration)]
    pub room_ttl: Duration,

    /// How long after its last connection closed a user still counts as here
    #[arg(long, env, default_value = "5s", value_parser = duration)]
    pub leave_grace: Duration,

    /// Messages kept in a room, about (MAXLEN ~ of the stream)
    #[arg(long, env, default_value_t = 1000, value_parser = at_least_one)]
    pub history_max: usize,

    /// Members that a room may have
    #[arg(long, env, default_value_t = 1000, value_parser = at_least_one)]
    pub room_max_members: usize,

    /// Messages that a user may send each second, over all its connections and nodes
    #[arg(long, env, default_value_t = 10, value_parser = at_least_one)]
    pub messages_per_second: usize,

    /// How long a message's key is remembered, so that a retry is not a repeat
    #[arg(long, env, default_value = "10m", value_parser = duration)]
    pub idempotency_ttl: Duration,

    /// Latest messages that a join is answered with
    #[arg(long, env, default_value_t = 50, value_parser = at_least_one)]
    pub join_history: usize,

    /// Missed messages that a join with `since` is answered with, at most
    #[arg(long, env, default_value_t = 1000, value_parser = at_least_one)]
    pub resume_max: usize,

    /// Messages of one HTTP page when the request names no limit
    #[arg(long, env, default_value_t = 50, value_parser = at_least_one)]
    pub page_size: usize,

    /// Messages of one HTTP page, at most
    #[arg(long, env, default_value_t = 1000, value_parser = at_least_one)]
    pub page_max: usize,

    /// Code points of a name, at most
    #[arg(long, env, default_value_t = 32, value_parser = at_least_one)]
    pub name_max: usize,

    /// Code points of a room's topic, at most
    #[arg(long, env, default_value_t = 120, value_parser = at_least_one)]
    pub topic_max: usize,

    /// Characters of an encrypted room's topic as it is sent, sealed, at most
    #[arg(long, env, default_value_t = 1000, value_parser = at_least_one)]
    pub sealed_topic_max: usize,

    /// Code points of a message's text, at most
    #[arg(long, env, default_value_t = 4000, value_parser = at_least_one)]
    pub text_max: usize,

    /// Code points of an idempotency key, at most
    #[arg(long, env, default_value_t = 64, value_parser = at_least_one)]
    pub key_max: usize,

    /// Bytes of an HTTP body, of a WebSocket frame and of a frame published by others, at most
    #[arg(long, env, default_value_t = 65_536, value_parser = at_least_one)]
    pub max_body_bytes: usize,

    /// Unreadable frames in a row after which a connection is closed with 1008
    #[arg(long, env, default_value_t = 10, value_parser = at_least_one)]
    pub bad_frames_max: usize,

    /// Frames that may wait for one connection; over it the connection is closed with 1013
    #[arg(long, env, default_value_t = 1024, value_parser = at_least_one)]
    pub outbox_frames: usize,

    /// Bytes that may wait for one connection; over it the connection is closed with 1013
    #[arg(long, env, default_value_t = 1_048_576, value_parser = at_least_one)]
    pub outbox_bytes: usize,

    /// How long a slow connection is given to take the close frame before it is dropped
    #[arg(long, env, default_value = "1s", value_parser = duration)]
    pub slow_close_timeout: Duration,

    /// How long a connection may be silent before it is closed
    #[arg(long, env, default_value = "5m", value_parser = duration)]
    pub idle_timeout: Duration,

    /// Rooms that one connection may be in
    #[arg(long, env, default_value_t = 50, value_parser = at_least_one)]
    pub rooms_per_connection: usize,

    /// Frames of any kind that are read of one connection each second, where 100 messages in the
    /// answer to a join count as one; without it, five times MESSAGES_PER_SECOND and at least 50
    #[arg(long, env, value_parser = at_least_one)]
    pub frames_per_second: Option<usize>,

    /// How long a connection may send more than FRAMES_PER_SECOND before it is closed with 1008
    #[arg(long, env, default_value = "1m", value_parser = duration)]
    pub flood_timeout: Duration,

    /// HTTP requests, upgrades included, that one address may send each second
    #[arg(long, env, default_value_t = 5000, value_parser = at_least_one)]
    pub requests_per_second: usize,

    /// WebSocket connections that one address may hold
    #[arg(long, env, default_value_t = 20_000, value_parser = at_least_one)]
    pub connections_per_ip: usize,

    /// Sockets that one address may hold on which it asks, or asks nothing yet; WebSockets and those
    /// of TRUSTED_PROXIES do not count
    #[arg(long, env, default_value_t = 5000, value_parser = at_least_one)]
    pub sockets_per_ip: usize,

    /// Rooms that one address may make each minute
    #[arg(long, env, default_value_t = 10_000, value_parser = at_least_one)]
    pub rooms_per_minute: usize,

    /// Rooms that are not there and wrong tokens that one address may try each minute; over it the
    /// address has to wait, whatever it asks for
    #[arg(long, env, default_value_t = 10_000, value_parser = at_least_one)]
    pub misses_per_minute: usize,

    /// Proxies, comma-separated addresses or networks (10.0.0.0/8), whose X-Forwarded-For says
    /// whose request it is
    #[arg(long, env, value_delimiter = ',', value_parser = network)]
    pub trusted_proxies: Vec<IpNet>,

    /// Bytes of a request's headers, at most
    #[arg(long, env, default_value_t = 16_384, value_parser = header_bytes)]
    pub max_header_bytes: usize,

    /// How long a client may take to send its request's headers
    #[arg(long, env, default_value = "10s", value_parser = duration)]
    pub header_timeout: Duration,

    /// How long a node may take to leave after SIGTERM
    #[arg(long, env, default_value = "30s", value_parser = duration)]
    pub drain_timeout: Duration,

    /// Where Redis must have a message before it is acknowledged: in memory, in the append-only
    /// file (needs Redis 7.2 and `appendonly yes`), or in a replica too
    #[arg(long, env, value_enum, default_value = "memory")]
    pub durability: Durability,

    /// How long one command may wait for Redis
    #[arg(long, env, default_value = "1s", value_parser = duration)]
    pub redis_timeout: Duration,

    /// Where a redis-server child keeps its append-only file
    #[arg(long, env, default_value = "./data")]
    pub data_dir: PathBuf,

    /// How log lines are written
    #[arg(long, env, value_enum, default_value = "text")]
    pub log_format: LogFormat,

    /// What is logged: a level, or directives such as linkroom=debug,fred=warn
    #[arg(long, env, default_value = "info")]
    pub log_level: String,
}

/// Why the program does not start: one line.
#[derive(Debug, PartialEq, Eq)]
pub enum Refusal {
    /// `--help` or `--version`: print it and stop well.
    Wanted(String),
    /// A bad value: print it and stop badly.
    Bad(String),
}

impl Settings {
    /// Reads the environment and the arguments.
    ///
    /// # Errors
    /// What to print and whether that is a failure.
    pub fn read<I: IntoIterator<Item = std::ffi::OsString>>(args: I) -> Result<Self, Refusal> {
        let settings = Self::try_parse_from(args).map_err(|error| match error.exit_code() {
            0 => Refusal::Wanted(error.to_string()),
            _ => Refusal::Bad(first_line(&error.to_string())),
        })?;
        settings.check().map_err(Refusal::Bad)?;
        Ok(settings)
    }

    /// Seconds between two heartbeats that clients are asked for.
    pub fn heartbeat(&self) -> Duration {
        self.heartbeat_interval.unwrap_or(self.presence_ttl / 3)
    }

    /// Threads that serve everybody.
    pub fn worker_threads(&self) -> usize {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        self.worker_threads.unwrap_or(cores.saturating_sub(1).max(1))
    }

    /// Frames that one connection may send each second.
    pub fn frames_per_second(&self) -> usize {
        const FRAMES_PER_MESSAGE: usize = 5;
        const LEAST: usize = 50;
        let wanted = self.messages_per_second.saturating_mul(FRAMES_PER_MESSAGE).max(LEAST);
        self.frames_per_second.unwrap_or(wanted)
    }

    /// Relations between settings without which a promise could not be kept.
    fn check(&self) -> Result<(), String> {
        let heartbeat = self.heartbeat();
        let bad = |text: String| Err(format!("error: {text}"));
        let positive = [
            ("PRESENCE_TTL", self.presence_ttl),
            ("HEARTBEAT_INTERVAL", heartbeat),
            ("SESSION_TTL", self.session_ttl),
            ("ROOM_TTL", self.room_ttl),
            ("IDEMPOTENCY_TTL", self.idempotency_ttl),
            ("IDLE_TIMEOUT", self.idle_timeout),
            ("HEADER_TIMEOUT", self.header_timeout),
            ("REDIS_TIMEOUT", self.redis_timeout),
        ];
        if let Some((name, _)) = positive.iter().find(|(_, d)| *d < Duration::from_millis(1)) {
            return bad(format!("{name} must be longer than 0"));
        }
        if heartbeat >= self.presence_ttl {
            return bad(format!(
                "HEARTBEAT_INTERVAL ({}) must be shorter than PRESENCE_TTL ({}), or members leave \
                 between two heartbeats",
                humantime::format_duration(heartbeat),
                humantime::format_duration(self.presence_ttl),
            ));
        }
        Ok(())
    }
}

/// clap's report without the hints that follow it. It quotes what was written, so what no line has
/// is taken out.
fn first_line(report: &str) -> String {
    let lines = report.lines().take_while(|line| !line.is_empty());
    let line = lines.map(str::trim).collect::<Vec<_>>().join(" ");
    line.replace(char::is_control, " ")
}

/// `30s`, `10m`, `500ms`, or plain seconds.
fn duration(raw: &str) -> Result<Duration, String> {
    /// Ten years. Clocks cannot count much further, be they ours or Redis's.
    const LONGEST: Duration = Duration::from_secs(10 * 366 * 24 * 60 * 60);
    let raw = raw.trim();
    let seconds = raw.parse().ok().map(Duration::from_secs);
    match seconds.or_else(|| humantime::parse_duration(raw).ok()) {
        Some(duration) if duration <= LONGEST => Ok(duration),
        Some(_) => Err("write a duration of at most 10 years".to_owned()),
        None => Err("write a duration as 30s, 10m, 500ms or plain seconds".to_owned()),
    }
}

/// A count of which zero makes no sense.
fn at_least_one(raw: &str) -> Result<usize, String> {
    from(1, raw)
}

/// What the HTTP layer can be held to.
fn header_bytes(raw: &str) -> Result<usize, String> {
    from(8192, raw)
}

/// As many as there are cores anywhere.
fn threads(raw: &str) -> Result<usize, String> {
    between(1, 1024, raw)
}

/// A whole number that is not too small, and not so large that Redis cannot count it.
fn from(least: usize, raw: &str) -> Result<usize, String> {
    between(least, 1_000_000_000, raw)
}

fn between(least: usize, most: usize, raw: &str) -> Result<usize, String> {
    let number = raw.trim().parse().ok().filter(|number| (least..=most).contains(number));
    number.ok_or_else(|| format!("write a whole number from {least} to {most}"))
}

/// A network, or one address.
fn network(raw: &str) -> Result<IpNet, String> {
    let raw = raw.trim();
    let one = || raw.parse::<IpAddr>().map(IpNet::from);
    raw.parse().or_else(|_| one()).map_err(|_| "write it as 10.0.0.0/8 or 10.0.0.1".to_owned())
}

/// What the address of a Redis may begin with.
const REDIS_SCHEMES: [&str; 6] =
    ["redis", "rediss", "redis-sentinel", "rediss-sentinel", "redis-cluster", "rediss-cluster"];

/// The address of a Redis; the client library reads the rest of it.
fn redis_url(raw: &str) -> Result<String, String> {
    match raw.trim().split_once("://") {
        Some((scheme, rest)) if REDIS_SCHEMES.contains(&scheme) && !rest.is_empty() => {
            Ok(raw.trim().to_owned())
        }
        _ => Err("write it as redis://host:6379".to_owned()),
    }
}

/// An http(s) URL, kept without a slash at its end.
fn public_url(raw: &str) -> Result<String, String> {
    let url = raw.trim().trim_end_matches('/');
    let host = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    match host {
        Some(host) if !host.is_empty() => Ok(url.to_owned()),
        _ => Err("write it as https://rooms.example".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(args: &[&str]) -> Result<Settings, Refusal> {
        let words = std::iter::once("linkroom").chain(args.iter().copied());
        Settings::read(words.map(Into::into))
    }

    #[test]
    fn durations() {
        assert_eq!(duration("30s"), Ok(Duration::from_secs(30)));
        assert_eq!(duration("10m"), Ok(Duration::from_secs(600)));
        assert_eq!(duration("45"), Ok(Duration::from_secs(45)));
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert!(duration("soon").is_err() && duration("-1").is_err() && duration("").is_err());
        assert!(duration("10y").is_ok() && duration("11y").is_err());
        assert!(duration("18446744073709551615").is_err());
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
            "--log-format=xml",
            "--trusted-proxies=10.0.0.0/33",
            "--max-header-bytes=100",
            "--worker-threads=0",
            "--worker-threads=1025",
            "--no-such-option",
        ];
        for argument in bad {
            let Err(Refusal::Bad(line)) = read(&[argument]) else { panic!("{argument}") };
            assert!(line.starts_with("error: ") && !line.contains('\n'), "{line}");
        }
    }
}
