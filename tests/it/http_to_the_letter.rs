//! HTTP according to RFC 9110 and 9112, and the handshake of RFC 6455, byte by byte: what careless
//! clients send, and what load balancers rely on.

use std::{io::Write, net::SocketAddr};

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
};

use crate::support::{DEADLINE, Reading, Stage, eventually, within};

const UPGRADE: &str =
    "GET /ws HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n";
const VERSION: &str = "sec-websocket-version: 13\r\n";
const KEY: &str = "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
const POST: &str = "POST /api/rooms HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n";
const BODY: &str = r#"{"creatorName":"a"}"#;
const HEALTH: &str = "GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n";

/// One answer: its head in lower case, and its body.
struct Answer {
    head: String,
    body: String,
}

impl Answer {
    async fn read(stream: &mut TcpStream) -> Self {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let byte = within(DEADLINE, "a head", stream.read_u8()).await;
            head.push(byte.unwrap_or_else(|error| panic!("{error} after {head:?}")));
        }
        let head = String::from_utf8(head).unwrap().to_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
        within(DEADLINE, "a body", stream.read_exact(&mut body)).await.unwrap();
        Self { head, body: String::from_utf8(body).unwrap() }
    }

    fn status(&self) -> u16 {
        self.head["http/1.1 ".len()..][..3].parse().unwrap()
    }

    fn error(&self) -> Value {
        let envelope: Value = serde_json::from_str(&self.body).unwrap();
        envelope["error"].clone()
    }
}

/// The answer to this request, a part of which may be sent later.
async fn ask(addr: SocketAddr, request: &str, later: &str) -> Answer {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    if !later.is_empty() {
        // Sent separately, so that the input is split at any position.
        tokio::task::yield_now().await;
        let _ = stream.write_all(later.as_bytes()).await;
    }
    Answer::read(&mut stream).await
}

/// Waits for the end of the input, without any bytes before it.
async fn expect_end(stream: &mut TcpStream) {
    let end = within(DEADLINE, "the end of a connection", stream.read(&mut [0])).await;
    assert_eq!(end.unwrap(), 0, "nothing more is said, and nothing is reset");
}

#[tokio::test]
async fn a_websocket_is_asked_for_as_the_standard_says() {
    let stage = Stage::new(1, &[]).await;
    let addr = stage.nodes[0].addr();
    let with = |headers: &[&str]| format!("{UPGRADE}{}\r\n", headers.concat());
    assert_eq!(ask(addr, &with(&[VERSION, KEY]), "").await.status(), 101);
    let wrong_version = "sec-websocket-version: 8\r\n";
    for request in
        [&with(&[KEY]), &with(&[wrong_version, KEY]), "GET /ws HTTP/1.1\r\nhost: x\r\n\r\n"]
    {
        let answer = ask(addr, request, "").await;
        assert_eq!(answer.error()["code"], "UPGRADE_REQUIRED", "{request}");
        for header in ["426 ", "\r\nsec-websocket-version: 13\r\n", "\r\nupgrade: websocket\r\n"] {
            assert!(answer.head.contains(header), "{request}: {}", answer.head);
        }
    }
    let bad = "sec-websocket-key: short\r\n";
    let chunked = "transfer-encoding: chunked\r\n";
    let rows: [(&[&str], &str, &str); 6] = [
        (&[VERSION], "", "sec-websocket-key"),
        (&[VERSION, bad], "", "sec-websocket-key"),
        (&[VERSION, "sec-websocket-key:\r\n"], "", "sec-websocket-key"),
        (&[VERSION, KEY, KEY], "", "sec-websocket-key"),
        (&[VERSION, KEY, "content-length: 5\r\n"], "hello", "body"),
        (&[VERSION, KEY, chunked], "5\r\nhello\r\n0\r\n\r\n", "body"),
    ];
    for (headers, later, field) in rows {
        let answer = ask(addr, &with(headers), later).await;
        assert_eq!((answer.status(), &answer.error()["code"]), (400, &json!("VALIDATION_FAILED")));
        assert!(answer.error()["details"][field].is_string(), "{headers:?}: {}", answer.body);
    }
}

#[tokio::test]
async fn a_body_is_json_in_utf8_and_as_it_is() {
    let stage = Stage::new(1, &[]).await;
    let addr = stage.nodes[0].addr();
    let post = async |headers: &str, body: &str| {
        let request = format!("{POST}{headers}content-length: {}\r\n\r\n{body}", body.len());
        ask(addr, &request, "").await
    };
    let twice = r#"{"creatorName":7,"x":{},"creatorName":"a","x":1e999}"#;
    for (headers, body) in [("", BODY), ("", twice), ("content-encoding: identity\r\n", BODY)] {
        assert_eq!(post(headers, body).await.status(), 201, "{headers}{body}");
    }
    let answer = post("content-encoding: gzip\r\n", BODY).await;
    assert_eq!((answer.status(), &answer.error()["code"]), (415, &json!("UNSUPPORTED_MEDIA_TYPE")));
    assert!(answer.error()["details"]["content-encoding"].is_string(), "{}", answer.body);
    assert!(answer.head.contains("\r\naccept-encoding: identity\r\n"), "{}", answer.head);
    let request = POST.replace("json", "json; charset=euc-kr");
    let answer = ask(addr, &format!("{request}content-length: 19\r\n\r\n{BODY}"), "").await;
    assert!(answer.status() == 415 && answer.error()["details"]["content-type"].is_string());
}

#[tokio::test]
async fn a_body_that_does_not_come_whole_is_told_so() {
    let stage = Stage::new(1, &[("HEADER_TIMEOUT", "300ms")]).await;
    let addr = stage.nodes[0].addr();
    let chunked = "transfer-encoding: chunked\r\n\r\n";
    let rows = [
        (format!("{POST}content-length: 30\r\n\r\n{BODY}"), "in time"),
        (format!("{POST}{chunked}13\r\n{BODY}\r\n"), "in time"),
        (format!("{POST}{chunked}0x13\r\n{BODY}\r\n0\r\n\r\n"), "broke off"),
        (format!("{POST}{chunked}13\r\n{BODY}xx0\r\n\r\n"), "broke off"),
    ];
    for (request, why) in rows {
        let answer = ask(addr, &request, "").await;
        assert_eq!(answer.status(), 400, "{request}");
        let details = &answer.error()["details"]["body"];
        assert!(details.as_str().is_some_and(|text| text.contains(why)), "{request}: {details}");
    }
    for codings in ["gzip, chunked", "chunked\r\ntransfer-encoding: chunked"] {
        let body = format!("13\r\n{BODY}\r\n0\r\n\r\n");
        let answer =
            ask(addr, &format!("{POST}transfer-encoding: {codings}\r\n\r\n{body}"), "").await;
        assert_eq!(answer.status(), 415, "{codings}");
        assert!(answer.error()["details"]["transfer-encoding"].is_string(), "{}", answer.body);
    }
}

#[tokio::test]
async fn a_request_says_whom_it_is_for() {
    let stage = Stage::new(1, &[]).await;
    let addr = stage.nodes[0].addr();
    let rows = [
        ("GET /healthz HTTP/1.1\r\n\r\n", 400),
        ("GET /healthz HTTP/1.0\r\n\r\n", 200),
        ("GET /healthz HTTP/1.1\r\nhost: a\r\nhost: a\r\n\r\n", 400),
        ("GET /healthz HTTP/1.1\r\nhost: a b\r\n\r\n", 400),
        ("GET /healthz HTTP/1.1\r\nhost: u@a\r\n\r\n", 400),
        ("GET /healthz HTTP/1.1\r\nhost:\r\n\r\n", 200),
        ("GET http://a/healthz HTTP/1.1\r\nhost: b\r\n\r\n", 200),
        ("GET http://u@a/healthz HTTP/1.1\r\nhost: a\r\n\r\n", 400),
        ("GET healthz HTTP/1.1\r\nhost: a\r\n\r\n", 400),
        ("GET * HTTP/1.1\r\nhost: a\r\n\r\n", 400),
        ("OPTIONS * HTTP/1.1\r\nhost: a\r\n\r\n", 204),
    ];
    for (request, status) in rows {
        assert_eq!(ask(addr, request, "").await.status(), status, "{request}");
    }
    let whole = POST.replace("POST /api", "POST http://rooms.example/api");
    let answer = ask(addr, &format!("{whole}content-length: 19\r\n\r\n{BODY}"), "").await;
    assert!(answer.body.contains("http://rooms.example/r/"), "the target counts: {}", answer.body);
}

#[tokio::test]
async fn every_answer_of_the_api_can_be_read_by_any_page() {
    let stage = Stage::new(1, &[]).await;
    let addr = stage.nodes[0].addr();
    let preflight = "OPTIONS /api/rooms HTTP/1.1\r\nhost: x\r\norigin: https://a.example\r\n\
                     access-control-request-method: PATCH\r\n\r\n";
    let large = format!("{POST}content-length: 99999999999\r\n\r\n");
    let rows = [
        (HEALTH, 200),
        ("HEAD /readyz HTTP/1.1\r\nhost: x\r\n\r\n", 200),
        ("GET /api/nothing HTTP/1.1\r\nhost: x\r\n\r\n", 404),
        ("FOO /api/rooms HTTP/1.1\r\nhost: x\r\n\r\n", 405),
        ("POST /api/rooms HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n", 415),
        (&large, 413),
        ("GET /ws HTTP/1.1\r\nhost: x\r\n\r\n", 426),
        ("GET /healthz HTTP/1.1\r\n\r\n", 400),
        ("GET /healthz HTTP/1.1\r\nhost: x\r\nhost: x\r\n\r\n", 400),
        (preflight, 204),
    ];
    for (request, status) in rows {
        let mut stream = TcpStream::connect(addr).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = String::new();
        within(DEADLINE, "an answer", stream.read_to_string(&mut answer)).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{request}: {head}");
        for header in ["access-control-allow-origin: *", "date: ", "x-request-id: "] {
            assert!(head.contains(&format!("\r\n{header}")), "{request}: {head}");
        }
        assert!(head.contains("expose-headers: retry-after, x-request-id"), "{request}: {head}");
        let has_none = request.starts_with("HEAD") || status == 204;
        assert_eq!(body.is_empty(), has_none, "{request}: {body}");
    }
    let allowed = ask(addr, preflight, "").await.head;
    for name in
        ["get", "patch", "put", "delete", "authorization", "idempotency-key", "last-event-id"]
    {
        assert!(allowed.contains(name), "{name}: {allowed}");
    }
}

/// A client that sends its whole body before it reads.
fn send_and_read(
    addr: SocketAddr,
    head: &str,
    chunk: &[u8],
    chunks: usize,
) -> std::io::Result<String> {
    let mut stream = std::net::TcpStream::connect(addr)?;
    stream.set_read_timeout(Some(DEADLINE))?;
    stream.write_all(head.as_bytes())?;
    for _ in 0..chunks {
        stream.write_all(chunk)?;
    }
    let mut answer = [0; 12];
    std::io::Read::read_exact(&mut stream, &mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

#[tokio::test]
async fn whoever_sends_too_much_reads_that_it_is() {
    let stage = Stage::new(1, &[]).await;
    let addr = stage.nodes[0].addr();
    let plain = [b'x'; 0x10000];
    let chunk = [b"10000\r\n", &plain[..], b"\r\n"].concat();
    let known = format!("{POST}content-length: {}\r\n\r\n", 80 * plain.len());
    let chunked = format!("{POST}transfer-encoding: chunked\r\n\r\n");
    let elsewhere = known.replace("/api/rooms", "/api/nothing");
    for (head, chunk, status) in
        [(known, plain.to_vec(), 413), (chunked, chunk, 413), (elsewhere, plain.to_vec(), 404)]
    {
        for _ in 0..5 {
            let (head, chunk) = (head.clone(), chunk.clone());
            let sent = tokio::task::spawn_blocking(move || send_and_read(addr, &head, &chunk, 80));
            assert_eq!(sent.await.unwrap().unwrap(), format!("HTTP/1.1 {status}"));
        }
    }
    let expects = format!("{POST}expect: 100-continue\r\ncontent-length: 70000\r\n\r\n");
    let answer = ask(addr, &expects, "").await;
    assert_eq!(answer.status(), 413, "it is not asked to go on");
    assert!(answer.head.contains("\r\nconnection: close\r\n"), "{}", answer.head);
}

#[tokio::test]
async fn a_connection_may_be_quiet_between_two_requests_but_not_within_one() {
    let stage = Stage::new(1, &[("HEADER_TIMEOUT", "300ms")]).await;
    let addr = stage.nodes[0].addr();
    let mut quiet = TcpStream::connect(addr).await.unwrap();
    let mut slow = TcpStream::connect(addr).await.unwrap();
    for stream in [&mut quiet, &mut slow] {
        stream.write_all(HEALTH.as_bytes()).await.unwrap();
        assert_eq!(Answer::read(stream).await.status(), 200);
    }
    slow.write_all(b"GET /heal").await.unwrap();
    expect_end(&mut slow).await;
    quiet.write_all(HEALTH.as_bytes()).await.unwrap();
    assert_eq!(Answer::read(&mut quiet).await.status(), 200);
}

#[tokio::test]
async fn who_ends_its_half_of_the_connection_is_answered() {
    let stage = Stage::new(1, &[]).await;
    let mut stream = TcpStream::connect(stage.nodes[0].addr()).await.unwrap();
    let request = format!("{POST}content-length: {}\r\n\r\n{BODY}", BODY.len());
    stream.write_all(request.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    assert_eq!(Answer::read(&mut stream).await.status(), 201);
    expect_end(&mut stream).await;
}

#[tokio::test]
async fn in_a_drain_each_answer_is_the_last_of_its_connection() {
    let stage = Stage::new(1, &[("DRAIN_TIMEOUT", "20s")]).await;
    let room = stage.room("alice").await;
    // The first is closed at once, the other after half of the drain time.
    let _alice = stage.member(0, &room, &room.token).await;
    let _bob = stage.member(0, &room, "bob").await;
    let mut streams = Vec::new();
    for _ in 0..3 {
        let mut stream = TcpStream::connect(stage.nodes[0].addr()).await.unwrap();
        stream.write_all(HEALTH.as_bytes()).await.unwrap();
        let answer = Answer::read(&mut stream).await;
        assert!(answer.status() == 200 && !answer.head.contains("\r\nconnection:"));
        streams.push(stream);
    }
    stage.nodes[0].signal(Signal::SIGTERM);
    eventually(DEADLINE, "the node drains", async || {
        (stage.http().get("/readyz").await.status == 503).then_some(())
    })
    .await;
    for stream in &mut streams {
        stream.write_all(HEALTH.as_bytes()).await.unwrap();
        let answer = Answer::read(stream).await;
        assert_eq!(answer.status(), 200);
        assert!(answer.head.contains("\r\nconnection: close\r\n"), "{}", answer.head);
        expect_end(stream).await;
    }
    stage.nodes[0].signal(Signal::SIGKILL);
}

/// A connection ends if its client reads no answers, or never sends its body.
#[tokio::test]
async fn who_reads_no_answer_and_who_sends_no_body_is_waited_for_no_longer_than_others() {
    let settings = [
        ("STALL_TIMEOUT", "500ms"),
        ("HEADER_TIMEOUT", "300ms"),
        ("REQUESTS_PER_SECOND", "100000"),
    ];
    let stage = Stage::new(1, &settings).await;
    let addr = stage.nodes[0].addr();
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut deaf = socket.connect(addr).await.unwrap();
    // More than the system buffers for a reader.
    let asked = "GET /openapi.json HTTP/1.1\r\nhost: x\r\n\r\n".repeat(300);
    let asking = tokio::spawn(async move {
        // Until the node closes the connection.
        let _ = deaf.write_all(asked.as_bytes()).await;
        deaf
    });
    eventually(DEADLINE, "it is hung up on", async || {
        let reading = Reading::of(&stage.nodes[0]).await;
        (reading.value("linkroom_slow_consumers_total") == 1.0).then_some(())
    })
    .await;
    drop(asking.await.unwrap());

    for (request, status) in [
        (format!("{POST}content-length: 30\r\n\r\n"), 400),
        ("GET /healthz HTTP/1.1\r\nhost: x\r\ncontent-length: 30\r\n\r\n".to_owned(), 200),
        ("GET / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n".to_owned(), 200),
    ] {
        let mut stream = TcpStream::connect(addr).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let answer = Answer::read(&mut stream).await;
        assert_eq!(answer.status(), status, "{request}");
        assert!(answer.head.contains("\r\nconnection: close\r\n"), "{}", answer.head);
        expect_end(&mut stream).await;
    }
}

/// Rare preconditions, ranges, targets and methods: unknown ones are ignored or refused, never half
/// understood.
#[tokio::test]
async fn what_is_asked_for_in_a_rare_way_is_answered_as_the_standard_says() {
    let stage = Stage::new(1, &[]).await;
    let addr = stage.nodes[0].addr();
    let room = stage.room("alice").await;
    let head = ask(addr, "GET / HTTP/1.1\r\nhost: x\r\n\r\n", "").await.head;
    let tag = head.lines().find_map(|line| line.strip_prefix("etag: ")).unwrap().to_owned();
    let get =
        |path: &str, header: &str| format!("GET {path} HTTP/1.1\r\nhost: x\r\n{header}\r\n\r\n");
    let patch = |header: &str| {
        let (id, token) = (&room.id, &room.token);
        format!(
            "PATCH /api/rooms/{id} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\n\
             content-type: application/json\r\n{header}\r\ncontent-length: 17\r\n\r\n{{\"topic\":\"lunch\"}}"
        )
    };
    let rows = [
        (get("/", "if-match: \"another\""), 412),
        (get("/", "if-match: W/\"a\", \"b\""), 412),
        (get("/", &format!("if-match: \"b\", {tag}")), 200),
        (get("/", "if-match: *"), 200),
        (get("/", &format!("if-match: \"b\"\r\nif-none-match: {tag}")), 412),
        (get("/", &format!("if-match: {tag}\r\nif-none-match: {tag}")), 304),
        (get("/healthz", "if-match: \"b\""), 412),
        (get("/healthz", "if-match: *"), 200),
        (get("/api/rooms/nosuchroom00", "if-match: \"b\""), 404),
        (get("/", "if-unmodified-since: Thu, 01 Jan 1970 00:00:00 GMT"), 200),
        (get("/", "if-modified-since: Thu, 01 Jan 2970 00:00:00 GMT"), 200),
        (get("/", "range: bytes=0-9"), 200),
        (get("/", "range: bytes=999999-"), 200),
        (get("/static/js/main.js", "range: bytes=0-0,-1\r\nif-range: \"b\""), 200),
        (patch("if-match: \"b\""), 412),
        (patch("if-match: *"), 200),
        ("CONNECT a:80 HTTP/1.1\r\nhost: a:80\r\n\r\n".to_owned(), 404),
        ("CONNECT /healthz HTTP/1.1\r\nhost: a\r\n\r\n".to_owned(), 405),
        ("FOO /healthz HTTP/1.1\r\nhost: a\r\n\r\n".to_owned(), 405),
        ("get /healthz HTTP/1.1\r\nhost: a\r\n\r\n".to_owned(), 405),
        ("TRACE /healthz HTTP/1.1\r\nhost: a\r\n\r\n".to_owned(), 405),
        ("FOO * HTTP/1.1\r\nhost: a\r\n\r\n".to_owned(), 400),
        ("OPTIONS /healthz HTTP/1.1\r\nhost: a\r\n\r\n".to_owned(), 405),
        ("GET http://a HTTP/1.1\r\nhost: a\r\n\r\n".to_owned(), 200),
        ("GET HTTP://A:80/healthz?q HTTP/1.1\r\nhost: b\r\n\r\n".to_owned(), 200),
        ("GET ftp://a/healthz HTTP/1.1\r\nhost: a\r\n\r\n".to_owned(), 200),
    ];
    for (request, status) in rows {
        let answer = ask(addr, &request, "").await;
        assert_eq!(answer.status(), status, "{request}: {}", answer.head);
        assert!(!answer.head.contains("accept-ranges"), "{}", answer.head);
        assert!(!answer.head.contains("content-range"), "{}", answer.head);
        assert_eq!(
            answer.head.contains("\r\nallow: "),
            status == 405,
            "{request}: {}",
            answer.head
        );
        if status == 412 {
            assert!(answer.error()["details"]["if-match"].is_string(), "{}", answer.body);
        }
    }
    let topic =
        stage.http().get(&format!("/api/rooms/{}", room.id)).await.data(200)["topic"].clone();
    assert_eq!(topic, "lunch", "only what matched was done");
}

/// Who has no right to a change is told so, whatever else the request says: of a room, and of every call that
/// changes something in it.
#[tokio::test]
async fn a_right_is_looked_at_before_a_precondition() {
    let stage = Stage::new(1, &[]).await;
    let (room, other) = (stage.room("alice").await, stage.room("alice").await);
    let bob = stage.guest(&room, "bob").await;
    let said = stage.http().say(&room.id, &bob, json!({ "text": "hi" })).await.data(201);
    let message = format!("/messages/{}", said["id"].as_str().unwrap());
    let of_creator = 403;
    let of_others = 412;
    for (method, path, of_bob) in [
        ("PATCH", "", of_creator),
        ("DELETE", "", of_creator),
        ("DELETE", "/bans", of_creator),
        ("DELETE", "/members/bob", of_others),
        ("DELETE", &message, of_others),
        ("POST", "/messages", of_others),
        ("PUT", "/push", of_others),
        ("DELETE", "/push", of_others),
    ] {
        let nowhere = "nosuchroom00".to_owned();
        for (id, token, status) in [
            (&room.id, Some(&room.token), 412),
            (&room.id, Some(&bob), of_bob),
            (&room.id, Some(&other.token), 401),
            (&room.id, Some(&"bob".to_owned()), 401),
            (&room.id, None, 401),
            (&nowhere, Some(&room.token), 404),
            (&"x".to_owned(), Some(&room.token), 404),
        ] {
            let path = format!("/api/rooms/{id}{path}");
            let mut request = stage.http().request(method.parse().unwrap(), &path);
            request = request.header("if-match", "\"b\"").json(&json!({ "text": "x" }));
            if let Some(token) = token {
                request = request.bearer_auth(token);
            }
            let answer = stage.http().send(request).await;
            assert_eq!(answer.status, status, "{method} {path} {token:?}");
        }
    }
    let sessions = "/api/rooms/nosuchroom00/sessions";
    for (path, status) in [(sessions, 404), ("/api/rooms", 412), ("/nowhere", 404)] {
        let request = stage.http().request(reqwest::Method::POST, path);
        let request = request.header("if-match", "\"b\"").json(&json!({ "name": "x" }));
        assert_eq!(stage.http().send(request).await.status, status, "{path}");
    }
    assert_eq!(stage.redis.stream_ids(&room.id).len(), 1);
    stage.http().get(&format!("/api/rooms/{}", room.id)).await.data(200);
}
