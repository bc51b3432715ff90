//! One shape for every answer, one code for every failure, in the reader's language. The shape
//! itself is checked by `support::Http` on each answer of every test.

use reqwest::{Method, header};
use serde_json::{Value, json};

use crate::support::{Http, Stage};

async fn send(http: &Http, method: Method, path: &str) -> crate::support::Answer {
    http.send(http.request(method, path)).await
}

#[tokio::test]
async fn success_has_no_error_and_failure_no_data() {
    let stage = Stage::new(1, &[]).await;
    let http = stage.http();
    assert!(http.get("/healthz").await.body["error"].is_null());
    assert_eq!(http.get("/readyz").await.status, 200);
    http.get("/api/nothing").await.error(404, "NOT_FOUND");
}

#[tokio::test]
async fn unknown_paths_are_not_found() {
    let stage = Stage::new(1, &[]).await;
    let http = stage.http();
    let paths = [
        "/nothing",
        "/api",
        "/api/",
        "/api/rooms/x/y",
        "/api/rooms/a/messages/1/2",
        "/ws/",
        "/healthz/",
        "/static/../Cargo.toml",
        "/%ff",
        "/%00",
        "/favicon.png",
    ];
    for path in paths {
        send(&http, Method::GET, path).await.error(404, "NOT_FOUND");
        send(&http, Method::DELETE, path).await.error(404, "NOT_FOUND");
    }
}

/// A link that lost its id: a person gets the page, a program the envelope.
#[tokio::test]
async fn a_link_without_an_id_is_a_page_for_browsers_and_not_found_for_programs() {
    let stage = Stage::new(1, &[]).await;
    let http = stage.http();
    for path in
        ["/r", "/r/", "/r//", "/r/%20", "/r/%20/", "/r/.", "/r/!/", "/r/-/%20", "/r/%EC%9D%84"]
    {
        let ask = |accept: &str| http.request(Method::GET, path).header("accept", accept);
        let page = ask("text/html,application/xhtml+xml,*/*;q=0.8").send().await.unwrap();
        assert_eq!(page.status(), 200, "{path}");
        assert_eq!(page.headers()["content-type"], "text/html; charset=utf-8", "{path}");
        for accept in ["*/*", "application/json", "application/json, */*;q=0.5"] {
            http.send(ask(accept)).await.error(404, "NOT_FOUND");
        }
    }
    // What may hold an id is for the page to mend, whoever asks.
    for path in
        ["/r/abc", "/r/%20abc", "/r//abc", "/r/.abc", "/R/abc", "//r/abc", "/%72%2Fabc", "/r%5Cabc"]
    {
        assert_eq!(http.file(path).await.status(), 200, "{path}");
    }
    send(&http, Method::DELETE, "/R/abc").await.error(404, "NOT_FOUND");
}

#[tokio::test]
async fn wrong_methods_say_which_are_right() {
    let stage = Stage::new(1, &[]).await;
    let http = stage.http();
    let rows = [
        (Method::GET, "/api/rooms", "POST"),
        (Method::DELETE, "/api/rooms", "POST"),
        (Method::PUT, "/api/rooms/abc", "GET"),
        (Method::DELETE, "/api/rooms/abc/messages", "POST"),
        (Method::PATCH, "/api/rooms/abc/messages", "GET"),
        (Method::GET, "/api/rooms/abc/sessions", "POST"),
        (Method::POST, "/api/rooms/abc/members", "GET"),
        (Method::POST, "/healthz", "GET"),
        (Method::POST, "/readyz", "GET"),
        (Method::POST, "/metrics", "GET"),
        (Method::POST, "/openapi.json", "GET"),
        (Method::POST, "/ws", "GET"),
        (Method::POST, "/", "GET"),
        (Method::DELETE, "/r/abc", "GET"),
        (Method::DELETE, "/r", "GET"),
        (Method::OPTIONS, "/api/rooms", "POST"),
    ];
    for (method, path, right) in rows {
        let answer = send(&http, method.clone(), path).await;
        answer.error(405, "METHOD_NOT_ALLOWED");
        let allowed = answer.header("allow");
        assert!(
            allowed.split(',').any(|allow| allow.trim() == right),
            "{method} {path}: {allowed}"
        );
    }
}

#[tokio::test]
async fn a_plain_get_of_the_socket_must_upgrade() {
    let stage = Stage::new(1, &[]).await;
    let answer = stage.http().get("/ws").await;
    answer.error(426, "UPGRADE_REQUIRED");
    assert!(answer.header("upgrade").eq_ignore_ascii_case("websocket"));
}

#[tokio::test]
async fn bodies_must_be_json() {
    let stage = Stage::new(1, &[]).await;
    let http = stage.http();
    let post = async |kind: Option<&str>, body: Vec<u8>| {
        let mut request = http.request(Method::POST, "/api/rooms").body(body);
        if let Some(kind) = kind {
            request = request.header(header::CONTENT_TYPE, kind);
        }
        http.send(request).await
    };
    let good = br#"{"creatorName":"a"}"#;
    for kind in ["application/json", "application/json; charset=utf-8", "Application/JSON"] {
        post(Some(kind), good.to_vec()).await.data(201);
    }
    for kind in [None, Some("text/plain"), Some("application/x-www-form-urlencoded"), Some("json")]
    {
        post(kind, good.to_vec()).await.error(415, "UNSUPPORTED_MEDIA_TYPE");
    }
    let declared = Some("application/json");
    let bad: [&[u8]; 9] = [
        b"",
        b"{",
        b"nonsense",
        b"[]",
        b"7",
        b"null",
        b"\"text\"",
        b"{\"creatorName\":\"\xff\"}",
        br#"{"creatorName":"a"} and more"#,
    ];
    for body in bad {
        let error = post(declared, body.to_vec()).await.error(400, "VALIDATION_FAILED");
        assert_eq!(error["details"], json!({ "body": "Send one JSON object." }));
    }
    let half = br#"{"creatorName":"\ud800"}"#;
    let error = post(declared, half.to_vec()).await.error(400, "VALIDATION_FAILED");
    assert!(
        error["details"]["creatorName"].as_str().unwrap().starts_with("A \\u escape"),
        "{error}"
    );
}

#[tokio::test]
async fn a_body_over_the_limit_is_too_large() {
    let stage = Stage::new(1, &[]).await;
    let http = stage.http();
    let body = |bytes: usize| {
        let frame = json!({ "creatorName": "a", "x": "" }).to_string().len();
        json!({ "creatorName": "a", "x": "y".repeat(bytes - frame) })
    };
    http.post("/api/rooms", body(65_536)).await.data(201);
    http.post("/api/rooms", body(65_537)).await.error(413, "PAYLOAD_TOO_LARGE");
    http.post("/api/rooms", body(300_000)).await.error(413, "PAYLOAD_TOO_LARGE");
}

#[tokio::test]
async fn a_chunked_body_over_the_limit_is_too_large() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let stage = Stage::new(1, &[]).await;
    let mut stream = tokio::net::TcpStream::connect(stage.nodes[0].addr()).await.unwrap();
    let head = "POST /api/rooms HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
                transfer-encoding: chunked\r\nconnection: close\r\n\r\n";
    let mut request = head.as_bytes().to_vec();
    for _ in 0..5 {
        request.extend_from_slice(b"4000\r\n");
        request.extend_from_slice(&[b' '; 0x4000]);
        request.extend_from_slice(b"\r\n");
    }
    let _ = stream.write_all(&request).await;
    let mut answer = vec![0; 4096];
    let count = stream.read(&mut answer).await.unwrap();
    let answer = String::from_utf8_lossy(&answer[..count]);
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
}

#[tokio::test]
async fn a_flood_from_one_address_is_turned_away() {
    let stage = Stage::new(1, &[("REQUESTS_PER_SECOND", "5")]).await;
    let http = stage.http();
    let mut refused = None;
    for _ in 0..200 {
        let answer = http.get("/api/rooms/zzzzzzzzzzzz").await;
        if answer.status == 429 {
            refused = Some(answer);
            break;
        }
        answer.error(404, "ROOM_NOT_FOUND");
    }
    let refused = refused.expect("200 requests at once were answered at 5 a second");
    refused.error(429, "RATE_LIMITED");
    assert!(refused.header("retry-after").parse::<u32>().unwrap() >= 1);
    for path in ["/", "/static/app.css", "/openapi.json", "/none"] {
        let statuses = async || http.file(path).await.status() == 429;
        let mut limited = false;
        for _ in 0..20 {
            limited |= statuses().await;
        }
        assert!(limited, "{path} is limited as well");
    }
    assert_eq!(http.get("/healthz").await.status, 200, "health checks are not limited");
}

#[tokio::test]
async fn errors_speak_the_readers_language() {
    let stage = Stage::new(1, &[]).await;
    let http = stage.http();
    let rows = [
        ("ko", true),
        ("ko-KR,ko;q=0.9,en;q=0.8", true),
        ("en-US,en;q=0.9,ko;q=0.8", false),
        ("en;q=0.5, ko;q=0.9", true),
        ("fr, ko;q=0.5", true),
        ("KO-kr", true),
        ("ko;q=0, en", false),
        ("fr", false),
        ("*", false),
        (";;;q=x", false),
    ];
    for (languages, korean) in rows {
        for path in ["/api/rooms/zzzzzzzzzzzz", "/nothing", "/api/rooms/a/messages?limit=0"] {
            let request = http.request(Method::GET, path).header("accept-language", languages);
            let answer = http.send(request).await;
            let message = answer.body["error"]["message"].as_str().unwrap();
            assert_eq!(is_korean(message), korean, "{languages}: {message}");
        }
    }
    let plain = http.get("/nothing").await.body["error"]["message"].clone();
    assert!(!is_korean(plain.as_str().unwrap()));
}

#[tokio::test]
async fn details_speak_the_readers_language_too() {
    let stage = Stage::new(1, &[]).await;
    let http = stage.http();
    let request = http.request(Method::POST, "/api/rooms").header("accept-language", "ko");
    let error = http
        .send(request.json(&json!({ "creatorName": "" })))
        .await
        .error(400, "VALIDATION_FAILED");
    assert!(is_korean(error["details"]["creatorName"].as_str().unwrap()), "{error}");
}

fn is_korean(text: &str) -> bool {
    text.chars().any(|c| ('가'..='힣').contains(&c))
}

#[tokio::test]
async fn the_description_lists_every_call() {
    let stage = Stage::new(1, &[]).await;
    let response = stage.http().file("/openapi.json").await;
    assert_eq!(response.status(), 200);
    let page: Value = response.json().await.unwrap();
    assert!(page["openapi"].as_str().unwrap().starts_with("3."), "{page}");
    let rows = [
        ("post", "/api/rooms", "201"),
        ("get", "/api/rooms/{id}", "200"),
        ("post", "/api/rooms/{id}/sessions", "201"),
        ("get", "/api/rooms/{id}/members", "200"),
        ("get", "/api/rooms/{id}/messages", "200"),
        ("post", "/api/rooms/{id}/messages", "201"),
        ("get", "/r/{id}", "200"),
        ("get", "/", "200"),
        ("get", "/ws", "101"),
        ("get", "/healthz", "200"),
        ("get", "/readyz", "200"),
        ("get", "/metrics", "200"),
        ("get", "/openapi.json", "200"),
    ];
    for (method, path, status) in rows {
        let answers = &page["paths"][path][method]["responses"];
        assert!(answers.get(status).is_some(), "{method} {path} without {status}: {answers}");
    }
}

#[tokio::test]
async fn the_clients_files_come_with_security_headers_and_a_tag() {
    let stage = Stage::new(1, &[]).await;
    let http = stage.http();
    let index = http.file("/").await;
    let text = index.text().await.unwrap();
    let linked = text.split('"').filter(|part| part.ends_with(".js") || part.ends_with(".css"));
    let mut paths: Vec<_> =
        linked.map(|path| format!("/{}", path.trim_start_matches('/'))).collect();
    assert!(paths.len() >= 2, "the page has a script and a style sheet: {paths:?}");
    paths.extend(["/".to_owned(), "/r/abcdefghijkl".to_owned()]);
    let damages =
        ["/", ".", "/x/y", "//", "%20", "%23k=key", "%2523k=key", "%ff", "%EC%9D%84", "?x#k"];
    paths.extend(damages.map(|damage| format!("/r/abcdefghijkl{damage}")));
    paths.push("/r//abcdefghijkl".to_owned());

    for path in &paths {
        let response = http.file(path).await;
        assert_eq!(response.status(), 200, "{path}");
        let header = |name: &str| response.headers()[name].to_str().unwrap().to_owned();
        assert_eq!(header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(header("referrer-policy"), "no-referrer", "{path}");
        let policy = header("content-security-policy");
        assert!(
            policy.contains("default-src 'none'") || policy.contains("default-src 'self'"),
            "{policy}"
        );
        assert!(!policy.contains("unsafe") && !policy.contains('*'), "{policy}");
        let tag = header("etag");
        assert!(tag.ends_with('"') && tag.len() > 4, "{tag}");

        for sent in [tag.clone(), format!("\"other\", {tag}"), "*".to_owned()] {
            let request = http.request(Method::GET, path).header("if-none-match", sent);
            let again = request.send().await.unwrap();
            assert_eq!(again.status(), 304, "{path}");
            assert_eq!(again.headers()["etag"], tag.as_str(), "{path}");
        }
        let stale = http.request(Method::GET, path).header("if-none-match", "\"stale\"");
        assert_eq!(stale.send().await.unwrap().status(), 200, "{path}");
    }
}

#[tokio::test]
async fn the_client_takes_nothing_from_elsewhere_and_runs_nothing_inline() {
    let stage = Stage::new(1, &[]).await;
    let page = stage.http().file("/").await.text().await.unwrap();
    let elsewhere = page.replace(stage.http().base(), "");
    assert!(!elsewhere.contains("://"), "nothing from another host");
    for script in page.split("<script").skip(1) {
        let (tag, rest) = script.split_once('>').unwrap();
        assert!(tag.contains("src="), "an inline script: {tag}");
        assert!(rest.trim_start().starts_with("</script"), "an inline script: {tag}");
    }
    assert!(!page.contains("<style") && !page.contains(" style=") && !page.contains(" onclick="));
}

#[tokio::test]
async fn metrics_are_prometheus_text() {
    let stage = Stage::new(1, &[]).await;
    let response = stage.http().file("/metrics").await;
    assert_eq!(response.status(), 200);
    let text = response.text().await.unwrap();
    assert!(text.contains("# TYPE linkroom_"), "{text}");
}

#[tokio::test]
async fn a_page_of_another_site_gets_no_socket() {
    let stage = Stage::new(1, &[("ALLOWED_ORIGINS", "https://friend.example")]).await;
    let addr = stage.nodes[0].addr();
    let own = format!("http://{addr}");
    let connect = async |origin: &str| {
        crate::support::Client::connect_with(addr, &[("origin", origin)]).await.is_ok()
    };
    assert!(connect(&own).await);
    assert!(connect("https://friend.example").await);
    assert!(!connect("https://evil.example").await);
    assert!(!connect("null").await);
    let refused = reqwest::Client::new()
        .get(format!("{own}/ws"))
        .header("origin", "https://evil.example")
        .header("connection", "upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
    let answer: Value = refused.send().await.unwrap().json().await.unwrap();
    assert_eq!(answer["error"]["code"], "NOT_FOUND");
    let why = answer["error"]["details"]["origin"].as_str().unwrap();
    assert!(why.contains("ALLOWED_ORIGINS"), "{why}");
}

#[tokio::test]
async fn every_answer_has_security_headers() {
    let stage = Stage::new(1, &[]).await;
    let room = stage.room("Ann").await;
    let paths = [
        "/",
        "/static/app.css",
        "/static/none.css",
        "/none",
        "/ws",
        "/healthz",
        "/readyz",
        "/metrics",
        "/openapi.json",
        "/api/rooms",
        "/api/rooms/none",
        &format!("/api/rooms/{}/members", room.id),
    ];
    for path in paths {
        for method in [Method::GET, Method::POST] {
            let url = format!("{}{path}", stage.http().base());
            let answer = reqwest::Client::new().request(method.clone(), url).send().await.unwrap();
            let header = |name: &str| answer.headers()[name].to_str().unwrap();
            assert_eq!(header("x-content-type-options"), "nosniff", "{method} {path}");
            assert_eq!(header("referrer-policy"), "no-referrer", "{method} {path}");
            let policy = header("content-security-policy");
            assert!(policy.contains("frame-ancestors 'none'"), "{method} {path}: {policy}");
        }
    }
}
