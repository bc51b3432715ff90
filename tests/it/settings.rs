//! Settings: listed, validated, and the behaviour without REDIS_URL.

use std::{
    fs::File,
    net::SocketAddr,
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::{Value, json};

use crate::support::{DEADLINE, Node, PROGRAM, Reply, Stage, TestEnv, eventually, redis_command};

/// Runs linkroom until it exits by itself.
fn run(arguments: &[&str], settings: &[(&str, &str)]) -> Output {
    let mut child = Command::new(PROGRAM)
        .args(arguments)
        .env_clear()
        .envs(settings.iter().copied())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let start = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if start.elapsed() > DEADLINE {
            child.kill().unwrap();
            panic!("linkroom runs with {settings:?}");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    child.wait_with_output().unwrap()
}

#[test]
fn help_lists_every_setting_with_its_default() {
    let output = run(&["--help"], &[]);
    assert!(output.status.success());
    let help = String::from_utf8(output.stdout).unwrap();
    let settings = [
        ("REDIS_URL", ""),
        ("LISTEN_ADDR", "127.0.0.1:8080"),
        ("WORKER_THREADS", ""),
        ("PUBLIC_URL", ""),
        ("ALLOWED_ORIGINS", ""),
        ("PRESENCE_TTL", "30s"),
        ("HEARTBEAT_INTERVAL", ""),
        ("SESSION_TTL", "10m"),
        ("ROOM_TTL", "24h"),
        ("ROOM_TTL_MAX", "7d"),
        ("LEAVE_GRACE", "5s"),
        ("HISTORY_MAX", "1000"),
        ("ROOM_MAX_MEMBERS", "10000"),
        ("ROSTER_MAX", "200"),
        ("MESSAGES_PER_SECOND", "10"),
        ("IDEMPOTENCY_TTL", "10m"),
        ("JOIN_HISTORY", "50"),
        ("RESUME_MAX", "1000"),
        ("PAGE_MAX", "1000"),
        ("MAX_BODY_BYTES", "65536"),
        ("BAD_FRAMES_MAX", "10"),
        ("OUTBOX_FRAMES", "1024"),
        ("OUTBOX_BYTES", "1048576"),
        ("SLOW_CLOSE_TIMEOUT", "1s"),
        ("IDLE_TIMEOUT", "5m"),
        ("ROOMS_PER_CONNECTION", "50"),
        ("FRAMES_PER_SECOND", ""),
        ("REQUESTS_PER_SECOND", "500"),
        ("CONNECTIONS_PER_IP", "20000"),
        ("DRAIN_TIMEOUT", "30s"),
        ("REDIS_TIMEOUT", "1s"),
        ("DATA_DIR", "./data"),
        ("LOG_FORMAT", "text"),
        ("LOG_LEVEL", "info"),
        ("WEBHOOK_URL", ""),
        ("WEBHOOK_SECRET", ""),
        ("WEBHOOK_EVENTS", ""),
        ("WEBHOOK_TIMEOUT", "5s"),
        ("WEBHOOK_BACKOFF", "1s"),
        ("WEBHOOK_ATTEMPTS", "12"),
        ("WEBHOOK_ALLOW_PRIVATE", "off"),
        ("WEBHOOK_EVENTS_MAX", "100000"),
        ("WEBHOOK_AGE_MAX", "7d"),
    ];
    for (name, default) in settings {
        let at = help.find(&format!("{name}=")).or_else(|| help.find(&format!("{name}]")));
        let at = at.unwrap_or_else(|| panic!("{name} is not in the help"));
        let rest = &help[at..help.len().min(at + 200)];
        assert!(rest.contains(default), "{name} has the default {default}: {rest}");
    }
}

#[test]
fn a_bad_value_stops_the_start_with_one_clear_line() {
    let bad = [
        ("PRESENCE_TTL", "soon"),
        ("PRESENCE_TTL", "-5s"),
        ("PRESENCE_TTL", "0"),
        ("PUBLIC_URL", "https://rooms.example/chat"),
        ("ALLOWED_ORIGINS", "https://a.example b.example"),
        ("OUTBOX_BYTES", "100"),
        ("LISTEN_ADDR", "nowhere"),
        ("LISTEN_ADDR", "127.0.0.1:99999"),
        ("WORKER_THREADS", "0"),
        ("HISTORY_MAX", "many"),
        ("HISTORY_MAX", "-1"),
        ("MESSAGES_PER_SECOND", "0"),
        ("LOG_FORMAT", "xml"),
        ("REDIS_URL", "http://example"),
        ("REDIS_URL", "nonsense"),
        ("PUBLIC_URL", "nonsense"),
        ("HEARTBEAT_INTERVAL", "1h"),
        ("DRAIN_TIMEOUT", "1 parsec"),
        ("LEAVE_GRACE", "5x"),
        ("WEBHOOK_URL", "app.example"),
        ("WEBHOOK_URL", "https://app.example/hooks"),
        ("WEBHOOK_SECRET", "whsec_short"),
        ("WEBHOOK_EVENTS", "rooms"),
        ("WEBHOOK_TIMEOUT", "2m"),
        ("WEBHOOK_ALLOW_PRIVATE", "yes"),
    ];
    for (name, value) in bad {
        let output = run(&[], &[("LISTEN_ADDR", "127.0.0.1:0"), (name, value)]);
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success(), "{name}={value} is accepted");
        assert_eq!(said.trim_end().lines().count(), 1, "{name}={value}: {said}");
        let flag = format!("--{}", name.to_lowercase().replace('_', "-"));
        assert!(said.contains(name) || said.contains(&flag), "{name}={value}: {said}");
        assert!(output.stdout.is_empty(), "{name}={value}");
    }
}

#[test]
fn a_refused_redis_url_keeps_its_password() {
    for url in ["redis://:pa55@host:bad", "pa55@host", "redis-sentinel://s?sentinelPassword=pa55"] {
        let output = run(&[], &[("LISTEN_ADDR", "127.0.0.1:0"), ("REDIS_URL", url)]);
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && said.contains("REDIS_URL"), "{said}");
        assert!(said.contains("redis://user:password@host") && !said.contains("pa55"), "{said}");
    }
}

#[test]
fn a_bad_file_of_certificates_is_named_and_not_the_address_of_redis() {
    let env = TestEnv::new();
    let file = |name: &str, text: &str| {
        let path = env.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let files = [
        env.path().join("missing.pem").to_str().unwrap().to_owned(),
        env.path().to_str().unwrap().to_owned(),
        file("empty.pem", ""),
        file("other.pem", "no certificate\n"),
        file("broken.pem", broken),
    ];
    let urls = ["rediss://127.0.0.1:1", "rediss-cluster://127.0.0.1:1"];
    for (file, url) in files.iter().flat_map(|file| urls.map(|url| (file, url))) {
        let settings =
            [("LISTEN_ADDR", "127.0.0.1:0"), ("REDIS_URL", url), ("SSL_CERT_FILE", file)];
        let output = run(&[], &settings);
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && said.trim_end().lines().count() == 1, "{said}");
        assert!(said.contains(&format!("SSL_CERT_FILE ({file})")), "{said}");
        assert!(!said.contains("REDIS_URL"), "{said}");
    }
}

#[tokio::test]
async fn an_empty_setting_is_not_set() {
    let env = TestEnv::new();
    let help = String::from_utf8(run(&["--help"], &[]).stdout).unwrap();
    let names = help.split("[env: ").skip(1).map(|rest| rest.split(['=', ']']).next().unwrap());
    let mut settings: Vec<_> = names.map(|name| (name, " ")).collect();
    assert!(settings.len() > 30, "{settings:?}");
    settings.retain(|(name, _)| !["REDIS_URL", "LISTEN_ADDR", "DATA_DIR"].contains(name));
    settings.push(("REDIS_URL", "redis://127.0.0.1:1"));
    let node = Node::start_unready(&env, &settings).await;
    assert_eq!(node.http().get("/healthz").await.status, 200);
}

#[test]
fn an_address_in_use_stops_the_start_with_one_clear_line() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap().to_string();
    let output = run(&[], &[("LISTEN_ADDR", &addr), ("REDIS_URL", "redis://127.0.0.1:1")]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success());
    assert!(said.contains(&addr), "{said}");
}

#[tokio::test]
async fn durations_take_units_and_plain_seconds() {
    for (value, heartbeat) in [("6", 2.0), ("6s", 2.0), ("6000ms", 2.0), ("1m", 20.0)] {
        let stage = Stage::new(1, &[("PRESENCE_TTL", value)]).await;
        let room = stage.room("a").await;
        let joined = stage.client().await.join(&room.id, &room.token).await;
        assert_eq!(joined["heartbeat"].as_f64(), Some(heartbeat), "PRESENCE_TTL={value}");
    }
}

#[tokio::test]
async fn limits_are_settings() {
    let settings = [
        ("BAD_FRAMES_MAX", "2"),
        ("MAX_BODY_BYTES", "500"),
        ("NAME_MAX", "5"),
        ("TEXT_MAX", "4"),
        ("KEY_MAX", "3"),
    ];
    let stage = Stage::new(1, &settings).await;
    let room = stage.room("alice").await;
    let http = stage.http();
    let say = async |body: Value| http.say(&room.id, &room.token, body).await;
    say(json!({ "text": "1234", "key": "123" })).await.data(201);
    say(json!({ "text": "12345" })).await.invalid("text");
    say(json!({ "text": "1", "key": "1234" })).await.invalid("key");
    say(json!({ "text": "a".repeat(600) })).await.error(413, "PAYLOAD_TOO_LARGE");
    http.post("/api/rooms", json!({ "creatorName": "123456" })).await.invalid("creatorName");

    let mut client = stage.client().await;
    for _ in 0..2 {
        client.send(json!({ "t": "dance" })).await;
    }
    client.expect_closed(1008).await;
    let mut client = stage.client().await;
    client.send(json!({ "t": "ping", "x": "y".repeat(500) })).await;
    client.expect_closed(1009).await;
}

#[tokio::test]
async fn a_json_log_is_one_object_a_line() {
    let stage = Stage::new(1, &[("LOG_FORMAT", "json"), ("LOG_LEVEL", "linkroom=trace")]).await;
    let room = stage.room("alice").await;
    stage.member(0, &room, &room.token).await.say(&room.id, "hello").await;
    let log = stage.nodes[0].log();
    assert!(!log.is_empty());
    for line in log.lines() {
        let parsed: Value = serde_json::from_str(line).expect(line);
        assert!(parsed.is_object(), "{line}");
    }
}

/// The default address of Redis.
const USUAL_REDIS: ([u8; 4], u16) = ([127, 0, 0, 1], 6379);

fn usual_redis_answers() -> bool {
    let pong = redis_command(SocketAddr::from(USUAL_REDIS), &["PING"]);
    matches!(pong, Ok(Reply::Text(_) | Reply::Error(_)))
}

/// The only test that needs a fixed port, so parallel test runs take turns. If a Redis already
/// listens there, it belongs to somebody, and the test only checks that it is used.
#[tokio::test]
async fn without_a_redis_url_the_usual_one_is_used_or_a_child_started() {
    let turn = File::create(std::env::temp_dir().join("linkroom-test-6379.lock")).unwrap();
    turn.lock().unwrap();
    let env = TestEnv::new();
    if usual_redis_answers() {
        let node = Node::start_unready(&env, &[]).await;
        node.wait_until_ready().await;
        assert!(node.log().contains("6379"), "{}", node.log());
        return;
    }
    for end in [Signal::SIGTERM, Signal::SIGKILL] {
        let mut node = Node::start_unready(&env, &[]).await;
        node.wait_until_ready().await;
        assert!(node.log().contains("redis-server"), "it says so: {}", node.log());
        node.http().post("/api/rooms", json!({ "creatorName": "a" })).await.data(201);
        let persistence = redis_command(USUAL_REDIS.into(), &["INFO", "persistence"]).unwrap();
        assert!(persistence.text().contains("aof_enabled:1"));
        assert!(env.path().join("data").read_dir().unwrap().next().is_some(), "a file in DATA_DIR");
        node.signal(end);
        assert_eq!(node.exit_status().await.success(), end == Signal::SIGTERM);
        eventually(Duration::from_secs(30), "the child is gone", async || {
            (!usual_redis_answers()).then_some(())
        })
        .await;
    }
    let node = Node::start_unready(&env, &[]).await;
    eventually(DEADLINE, "both rooms are still there", async || {
        let rooms = redis_command(USUAL_REDIS.into(), &["DBSIZE"]).ok()?;
        (node.http().get("/readyz").await.status == 200 && rooms.int() >= 2).then_some(())
    })
    .await;
    let pid = || {
        let info = redis_command(USUAL_REDIS.into(), &["INFO", "server"]).ok()?;
        let pid = info.text().lines().find_map(|line| line.strip_prefix("process_id:"))?.parse();
        pid.ok()
    };
    let killed: i32 = pid().unwrap();
    kill(Pid::from_raw(killed), Signal::SIGKILL).unwrap();
    eventually(DEADLINE, "another child with what the file holds", async || {
        // While it loads the file it answers with an error instead of a number.
        let rooms = redis_command(USUAL_REDIS.into(), &["DBSIZE"]).ok();
        let has_rooms = matches!(rooms, Some(Reply::Int(2..)));
        (pid().is_some_and(|pid| pid != killed) && has_rooms).then_some(())
    })
    .await;
    node.wait_until_ready().await;
}
