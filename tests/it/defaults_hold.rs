//! An address over its daily limit of bytes can store nothing more, by any request.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Client, Stage};

#[tokio::test]
async fn over_the_days_bytes_nothing_more_is_stored_for_an_address() {
    // The burst is a tenth: 30 kB.
    let settings = [("STORED_BYTES_PER_DAY", "300000"), ("TRUSTED_PROXIES", "127.0.0.1")];
    let stage = Stage::new(1, &settings).await;
    let http = stage.http();
    let from = |address: &str, path: &str, token: &str, body: Value| {
        let request = http.request(Method::POST, path).json(&body).bearer_auth(token);
        http.send(request.header("x-forwarded-for", address))
    };
    let made =
        from("192.0.2.1", "/api/rooms", "", json!({ "creatorName": "alice" })).await.data(201);
    let (id, token) = (made["roomId"].as_str().unwrap(), made["token"].as_str().unwrap());
    let path = format!("/api/rooms/{id}/messages");
    let mut stored = 0;
    let refused = loop {
        let answer = from("192.0.2.1", &path, token, json!({ "text": "x".repeat(2000) })).await;
        if answer.status != 201 {
            break answer;
        }
        stored += 1;
        assert!(stored < 10, "never refused");
    };
    assert!(stored >= 5, "{stored}");
    refused.error(429, "RATE_LIMITED");
    let wait: u64 = refused.header("retry-after").parse().unwrap();
    assert!((1..3600).contains(&wait), "{wait}");
    from("192.0.2.1", "/api/rooms", "", json!({ "creatorName": "alice" }))
        .await
        .error(429, "RATE_LIMITED");
    let sessions = format!("/api/rooms/{id}/sessions");
    from("192.0.2.2", &sessions, "", json!({ "name": "bob" })).await.data(201);
    let mut client =
        Client::connect_with(stage.nodes[0].addr(), &[("x-forwarded-for", "192.0.2.1")])
            .await
            .unwrap();
    let answers = [
        client.try_join(json!({ "t": "join", "roomId": id, "token": "carol" })).await,
        client.try_join(json!({ "t": "join", "roomId": id, "token": "dave" })).await,
    ];
    assert!(answers.iter().any(|answer| answer["code"] == "RATE_LIMITED"), "{answers:?}");
    let text = http.file("/metrics").await.text().await.unwrap();
    assert!(text.contains(r#"linkroom_turned_away_total{limit="storage"}"#), "{text}");
}
