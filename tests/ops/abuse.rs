//! Floods are turned away, counted, and told in a way that people understand; nobody else notices.

use std::{
    net::SocketAddr,
    sync::atomic::Ordering,
    thread::JoinHandle,
    time::{Duration, Instant},
};

use linkroom::limits::HEALTH_CHECKS_PER_SECOND;

use nix::{
    sched::{CpuSet, sched_setaffinity},
    unistd::Pid,
};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    runtime::Builder,
    sync::oneshot,
};
use tokio_tungstenite::tungstenite::Message;

use crate::{
    bench::{bench, report},
    flood::{self, Flood},
    metrics::expect_value,
    support::{Answer, Client, DEADLINE, Reading, Room, Stage, eventually, within},
};

fn turned_away(limit: &str) -> String {
    format!("linkroom_turned_away_total{{limit=\"{limit}\"}}")
}

/// Asks for a room as somebody behind a proxy.
async fn room_for(stage: &Stage, forwarded_for: &str) -> Answer {
    let http = stage.http();
    let request = http.request(Method::POST, "/api/rooms").header("x-forwarded-for", forwarded_for);
    http.send(request.json(&json!({ "creatorName": "alice" }))).await
}

#[tokio::test]
async fn an_address_makes_so_many_rooms_a_minute() {
    let stage = Stage::new(1, &[("ROOMS_PER_MINUTE", "2")]).await;
    let room = stage.room("alice").await;
    stage.room("alice").await;
    let refused = stage.http().post("/api/rooms", json!({ "creatorName": "alice" })).await;
    let error = refused.error(429, "RATE_LIMITED");
    assert!(error["message"].as_str().unwrap().len() > 10, "{error}");
    assert!(refused.header("retry-after").parse::<u32>().unwrap() <= 60);
    stage.http().get(&format!("/api/rooms/{}", room.id)).await.data(200);
    expect_value(&stage.nodes[0], &turned_away("rooms"), 1.0).await;
}

#[tokio::test]
async fn who_guesses_rooms_has_to_wait() {
    let stage = Stage::new(1, &[("MISSES_PER_MINUTE", "3")]).await;
    let room = stage.room("alice").await;
    let mut alice = stage.member(0, &room, &room.token).await;
    for _ in 0..4 {
        stage.http().get("/api/rooms/nosuchroom00").await.error(404, "ROOM_NOT_FOUND");
    }
    let right = stage.http().get(&format!("/api/rooms/{}", room.id)).await;
    right.error(429, "RATE_LIMITED");
    let mut bob = stage.client().await;
    bob.try_join(json!({ "t": "join", "roomId": room.id, "token": "bob" })).await;
    assert_eq!(bob.seen[0]["code"], "RATE_LIMITED");
    expect_value(&stage.nodes[0], &turned_away("misses"), 2.0).await;
    alice.say(&room.id, "I am in already").await;
}

#[tokio::test]
async fn who_guesses_tokens_has_to_wait() {
    let stage = Stage::new(1, &[("MISSES_PER_MINUTE", "3")]).await;
    let room = stage.room("alice").await;
    let mut mallory = stage.client().await;
    let mut codes = Vec::new();
    for _ in 0..6 {
        let join = json!({ "t": "join", "roomId": room.id, "token": "lr_YWxpY2U.guess" });
        codes.push(mallory.try_join(join).await["code"].as_str().unwrap().to_owned());
    }
    assert_eq!(codes[..4], ["INVALID_TOKEN"; 4]);
    assert!(codes[4..].contains(&"RATE_LIMITED".to_owned()), "{codes:?}");
}

#[tokio::test]
async fn a_trusted_proxy_says_whose_request_it_is() {
    let settings = [("TRUSTED_PROXIES", "127.0.0.0/8, 10.0.0.1"), ("ROOMS_PER_MINUTE", "1")];
    let stage = Stage::new(1, &settings).await;
    room_for(&stage, "192.0.2.1").await.data(201);
    room_for(&stage, "192.0.2.1").await.error(429, "RATE_LIMITED");
    room_for(&stage, "192.0.2.2").await.data(201);
    room_for(&stage, "192.0.2.9, 192.0.2.2, 10.0.0.1").await.error(429, "RATE_LIMITED");
}

#[tokio::test]
async fn a_stranger_says_nothing() {
    let stage = Stage::new(1, &[("ROOMS_PER_MINUTE", "1")]).await;
    room_for(&stage, "192.0.2.1").await.data(201);
    room_for(&stage, "192.0.2.2").await.error(429, "RATE_LIMITED");
}

#[tokio::test]
async fn connections_are_counted_for_the_client_behind_the_proxy() {
    let settings = [("TRUSTED_PROXIES", "127.0.0.1"), ("CONNECTIONS_PER_IP", "1")];
    let stage = Stage::new(1, &settings).await;
    let addr = stage.nodes[0].addr();
    let connect = async |from: &str| Client::connect_with(addr, &[("x-forwarded-for", from)]).await;
    let _first = connect("192.0.2.1").await.unwrap();
    assert!(connect("192.0.2.1").await.is_err_and(|error| error.to_string().contains("429")));
    let _other = connect("192.0.2.2").await.unwrap();
    expect_value(&stage.nodes[0], &turned_away("connections"), 1.0).await;
}

#[tokio::test]
async fn requests_and_frames_over_the_limit_are_counted() {
    let stage = Stage::new(1, &[("REQUESTS_PER_SECOND", "5"), ("FRAMES_PER_SECOND", "5")]).await;
    let mut client = stage.client().await;
    for _ in 0..50 {
        client.send(json!({ "t": "ping" })).await;
    }
    client.wait_for("refusal", |frame| frame["code"] == "RATE_LIMITED").await;
    eventually(DEADLINE, "a refused request", async || {
        (stage.http().get("/api/rooms/nosuchroom00").await.status == 429).then_some(())
    })
    .await;
    let reading = Reading::of(&stage.nodes[0]).await;
    assert!(reading.value(&turned_away("frames")) > 0.0);
    assert!(reading.value(&turned_away("requests")) > 0.0);
}

#[tokio::test]
async fn frames_that_are_wrong_and_pings_count_as_well() {
    let stage = Stage::new(1, &[("FRAMES_PER_SECOND", "5"), ("BAD_FRAMES_MAX", "1000")]).await;
    let wrong = [
        Message::text("{\"t\":"),
        Message::text("{\"t\":\"join\"}"),
        Message::binary(vec![0]),
        Message::Ping("alive?".into()),
    ];
    let refused = turned_away("frames");
    for frame in wrong {
        let before = Reading::of(&stage.nodes[0]).await.value(&refused);
        let client = stage.client().await;
        for _ in 0..50 {
            client.send_raw(frame.clone()).await.unwrap();
        }
        eventually(DEADLINE, "they are turned away", async || {
            (Reading::of(&stage.nodes[0]).await.value(&refused) > before).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn headers_may_not_be_slow_or_long() {
    let stage = Stage::new(1, &[("HEADER_TIMEOUT", "300ms")]).await;
    let addr = stage.nodes[0].addr();
    let mut slow = TcpStream::connect(addr).await.unwrap();
    slow.write_all(b"GET /ws HTTP/1.1\r\nhost: x\r\n").await.unwrap();
    let mut answer = Vec::new();
    // However it ends, it ends.
    let _ = within(DEADLINE, "the end of a slow request", slow.read_to_end(&mut answer)).await;
    expect_value(&stage.nodes[0], &turned_away("header_time"), 1.0).await;

    let mut long = TcpStream::connect(addr).await.unwrap();
    let header = format!("GET / HTTP/1.1\r\nhost: x\r\nx-long: {}\r\n\r\n", "a".repeat(20_000));
    let _ = long.write_all(header.as_bytes()).await;
    let mut status = [0; 12];
    within(DEADLINE, "an answer", long.read_exact(&mut status)).await.unwrap();
    assert_eq!(&status, b"HTTP/1.1 431");
    drop(long);
    expect_value(&stage.nodes[0], &turned_away("header_size"), 1.0).await;
}

#[tokio::test]
async fn foreign_pages_are_counted() {
    let stage = Stage::new(1, &[]).await;
    let addr = stage.nodes[0].addr();
    let foreign = Client::connect_with(addr, &[("origin", "https://evil.example")]).await;
    assert!(foreign.is_err());
    expect_value(&stage.nodes[0], &turned_away("origin"), 1.0).await;
}

#[tokio::test]
async fn one_room_too_many_for_a_connection_is_counted() {
    let stage = Stage::new(1, &[("ROOMS_PER_CONNECTION", "1")]).await;
    let (first, second) = (stage.room("alice").await, stage.room("alice").await);
    let mut client = stage.member(0, &first, &first.token).await;
    let join = json!({ "t": "join", "roomId": second.id, "token": second.token });
    let error = client.try_join(join).await;
    assert_eq!(error["code"], "VALIDATION_FAILED");
    assert!(error["message"].as_str().unwrap().ends_with('.'), "{error}");
    expect_value(&stage.nodes[0], &turned_away("rooms_per_connection"), 1.0).await;
    client.send(json!({ "t": "leave", "roomId": first.id })).await;
    client.join(&second.id, &second.token).await;
}

#[tokio::test]
async fn silence_is_no_way_to_hold_a_socket() {
    let settings = [("HEADER_TIMEOUT", "300ms"), ("SOCKETS_PER_IP", "3")];
    let stage = Stage::new(1, &settings).await;
    let addr = stage.nodes[0].addr();
    let from = |last: u8| async move {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::from(([127, 0, 0, last], 0))).unwrap();
        socket.connect(addr).await.unwrap()
    };
    let mut silent = Vec::new();
    for _ in 0..3 {
        silent.push(from(2).await);
    }
    expect_value(&stage.nodes[0], &turned_away("sockets"), 0.0).await;
    let mut refused = from(2).await;
    expect_value(&stage.nodes[0], &turned_away("sockets"), 1.0).await;
    // Sent to a socket that was closed, this would have the answer lost to a reset.
    refused.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    within(DEADLINE, "a refusal", refused.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 429 ") && answer.contains("retry-after: 1"), "{answer}");
    let body: Value = serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
    assert_eq!(body["error"]["code"], "RATE_LIMITED");
    for mut socket in silent {
        let end = within(DEADLINE, "the end of a silent socket", socket.read(&mut [0])).await;
        assert_eq!(end.unwrap_or(0), 0);
    }
    expect_value(&stage.nodes[0], &turned_away("header_time"), 3.0).await;
}

#[tokio::test]
async fn whoever_was_answered_and_is_quiet_is_no_flood() {
    let stage = Stage::new(1, &[("KEEPALIVE_TIMEOUT", "200ms")]).await;
    let mut socket = TcpStream::connect(stage.nodes[0].addr()).await.unwrap();
    socket.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    within(DEADLINE, "the end", socket.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    expect_value(&stage.nodes[0], &turned_away("header_time"), 0.0).await;
}

/// What comes back for so many requests that one connection sends at once, until the node is done.
async fn pipelined(node: SocketAddr, from: u8, path: &str, count: usize) -> String {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, from], 0).into()).unwrap();
    let mut socket = socket.connect(node).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n");
    let last = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    let (mut reads, mut writes) = socket.split();
    let mut answers = String::new();
    let asked = async {
        let requests = request.repeat(count - 1) + &last;
        writes.write_all(requests.as_bytes()).await.unwrap();
    };
    let answered = async { reads.read_to_string(&mut answers).await.unwrap() };
    within(DEADLINE, "answers", async { tokio::join!(asked, answered) }).await;
    answers
}

#[tokio::test]
async fn health_checks_without_end_are_held_back_and_answered() {
    let stage = Stage::new(1, &[]).await;
    let node = stage.nodes[0].addr();
    for (from, path) in [(2, "/healthz"), (3, "/readyz"), (4, "/metrics")] {
        let cost = if path == "/metrics" { 5 } else { 1 };
        let more = (HEALTH_CHECKS_PER_SECOND + HEALTH_CHECKS_PER_SECOND / 4) / cost;
        let began = Instant::now();
        let answers = pipelined(node, from, path, more).await;
        assert_eq!(answers.matches("HTTP/1.1 200 ").count(), more, "{path}");
        assert!(began.elapsed() >= Duration::from_millis(100), "{path}");
        assert_eq!(pipelined(node, 9, path, 1).await.matches("HTTP/1.1 200 ").count(), 1);
    }
}

/// Frames that are none, and what is said in a room meanwhile; how fast it goes, `make flood` tells.
const GARBAGE: usize = 10_000;
const SAID: usize = 100;

/// Talks until the node has had as much garbage; each message has to come back before the next.
async fn talk(talker: &mut Client, room: &Room, flood: &Flood) {
    let mut said = 0;
    while said < SAID || flood.garbage.load(Ordering::Relaxed) < GARBAGE {
        talker.say(&room.id, "as if nothing were").await;
        said += 1;
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn whoever_is_in_a_room_does_not_notice_a_flood() {
    linkroom::files::raise_limit().unwrap();
    let settings = [
        ("MESSAGES_PER_SECOND", "1000"),
        ("FRAMES_PER_SECOND", "200"),
        ("HEADER_TIMEOUT", "2s"),
        ("ROOMS_PER_MINUTE", "60"),
        ("MISSES_PER_MINUTE", "60"),
        // The flood shares the machine with Redis, which may be slow on a small one.
        ("REDIS_TIMEOUT", "10s"),
    ];
    let stage = Stage::new(1, &settings).await;
    let node = &stage.nodes[0];
    let room = stage.room("alice").await;
    let memory = |reading: &Reading| reading.value("process_resident_memory_bytes");
    let files = |reading: &Reading| reading.value("process_open_fds");
    let before = Reading::of(node).await;
    let mut talker = stage.member(0, &room, &room.token).await;
    let flood = Flood::start(node.addr(), &room.id);
    talk(&mut talker, &room, &flood).await;
    let during = Reading::of(node).await;
    // All of them are hung up on at about the same time, and come again a little later.
    eventually(DEADLINE, "the sockets that say nothing are held", async || {
        let held = files(&Reading::of(node).await) - files(&before);
        (held > flood::HALF_OPEN as f64 / 2.0).then_some(())
    })
    .await;
    drop(flood);
    drop(talker);
    let closes = |code| format!("linkroom_closes_total{{code=\"{code}\"}}");
    let limits = ["header_time", "frames", "rooms", "misses"].map(turned_away);
    for refusals in limits.into_iter().chain([closes(1008), closes(1009)]) {
        assert!(during.value(&refusals) > 0.0, "{refusals}");
    }
    expect_value(node, "linkroom_connections", 0.0).await;
    eventually(DEADLINE, "files and memory come back", async || {
        let after = Reading::of(node).await;
        let back = files(&after) < files(&before) + 20.0 && memory(&after) < memory(&before) + 16e6;
        back.then_some(())
    })
    .await;
}

/// What `linkroom bench` finds: the 99th percentile in milliseconds.
async fn figures(stage: &Stage, when: &str) -> f64 {
    let arguments = ["--connections=50", "--rooms=10", "--rate=100", "--seconds=20", "--json"];
    let output = report(bench(stage.http().base(), &arguments)).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let latency = |at: &str| report["latencyMs"][at].as_f64().unwrap();
    let reading = Reading::of(&stage.nodes[0]).await;
    println!(
        "{when:<10} p50 {:.1} ms, p99 {:.1} ms, p99.9 {:.1} ms; {:.0} MB, {} files",
        latency("p50"),
        latency("p99"),
        latency("p999"),
        reading.value("process_resident_memory_bytes") / 1e6,
        reading.value("process_open_fds"),
    );
    latency("p99")
}

/// Holds this thread, and what it starts from now on, to the last of so many cores, or to the others.
fn use_cores(cores: usize, last: bool) {
    let mut set = CpuSet::new();
    for core in (0..cores).filter(|core| (core + 1 == cores) == last) {
        set.set(core).unwrap();
    }
    sched_setaffinity(Pid::from_raw(0), &set).unwrap();
}

/// Floods from a core of its own until the sender is dropped; returns how much was garbage.
fn flood_apart(
    node: SocketAddr,
    room: String,
    cores: usize,
    end: oneshot::Receiver<()>,
) -> JoinHandle<usize> {
    std::thread::spawn(move || {
        use_cores(cores, true);
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let flood = Flood::start(node, &room);
            let _ = end.await;
            flood.garbage.load(Ordering::Relaxed)
        })
    })
}

#[tokio::test]
#[ignore = "takes a minute, for its figures: make flood"]
async fn figures_of_a_flood() {
    linkroom::files::raise_limit().unwrap();
    let cores = std::thread::available_parallelism().unwrap().get();
    assert!(cores > 1, "a flood needs a core of its own");
    use_cores(cores, false);
    let stage = Stage::new(1, &[]).await;
    let node = &stage.nodes[0];
    let quiet = figures(&stage, "before").await;
    let (end, ends) = oneshot::channel();
    let flood = flood_apart(node.addr(), stage.room("alice").await.id, cores, ends);
    let flooded = figures(&stage, "flooded").await;
    drop(end);
    println!("{} frames were garbage", flood.join().unwrap());
    expect_value(node, "linkroom_connections", 0.0).await;
    figures(&stage, "afterwards").await;
    assert!(flooded < quiet * 3.0, "quiet {quiet} ms, flooded {flooded} ms");
}
