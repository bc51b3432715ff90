//! The services of docker-compose.yml as real processes: Redis, two nodes, nginx, Prometheus.

use std::{fs, net::SocketAddr, process::Child};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{
    balancer::Balancer,
    metrics::expect_value,
    support::{
        Client, DEADLINE, Http, Room, Stage, TestEnv, eventually, free_addr, guarded, within,
    },
};

/// One Prometheus with the configuration that we ship; dies with the test.
struct Prometheus {
    child: Child,
    addr: SocketAddr,
}

impl Prometheus {
    fn start(env: &TestEnv, targets: [SocketAddr; 2]) -> Self {
        let (addr, folder) = (free_addr(), env.fresh_path("prometheus"));
        fs::create_dir(&folder).unwrap();
        let config = include_str!("../../deploy/prometheus/prometheus.yml")
            .replace("node-a:8080", &targets[0].to_string())
            .replace("node-b:8080", &targets[1].to_string())
            .replace(": 5s", ": 500ms");
        fs::write(folder.join("prometheus.yml"), config).unwrap();
        let rules = include_str!("../../deploy/prometheus/rules.yml");
        fs::write(folder.join("rules.yml"), rules).unwrap();
        let child = guarded("prometheus")
            .arg(format!("--config.file={}", folder.join("prometheus.yml").display()))
            .arg(format!("--storage.tsdb.path={}", folder.join("data").display()))
            .arg(format!("--web.listen-address={addr}"))
            .stderr(fs::File::create(folder.join("log")).unwrap())
            .spawn()
            .unwrap();
        Self { child, addr }
    }

    /// The values of a query, sorted; `None` while it does not answer.
    async fn ask(&self, query: &str) -> Option<Vec<String>> {
        let query: String = query.bytes().map(|byte| format!("%{byte:02x}")).collect();
        let url = format!("http://{}/api/v1/query?query={query}", self.addr);
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let answer = client.get(url).send().await.ok()?;
        let answer: Value = answer.json().await.ok()?;
        let series = answer["data"]["result"].as_array()?;
        let value = |one: &Value| one["value"][1].as_str().unwrap().to_owned();
        let mut values: Vec<_> = series.iter().map(value).collect();
        values.sort();
        Some(values)
    }

    async fn expect(&self, query: &str, expected: &[&str]) {
        let reached = async || (self.ask(query).await.as_deref()? == expected).then_some(());
        eventually(DEADLINE * 2, &format!("{query} is {expected:?}"), reached).await;
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn make_room(http: &Http) -> Room {
    let made = http.post("/api/rooms", json!({ "creatorName": "alice" })).await.data(201);
    let text = |field: &str| made[field].as_str().unwrap().to_owned();
    Room { id: text("roomId"), token: text("token") }
}

#[tokio::test]
async fn a_conversation_through_the_balancer_outlives_a_node() {
    let mut stage = Stage::new(2, &[("TRUSTED_PROXIES", "127.0.0.1")]).await;
    let balancer = Balancer::start(&stage.env, &stage.nodes).await;
    let targets = [stage.nodes[0].addr(), stage.nodes[1].addr()];
    let prometheus = Prometheus::start(&stage.env, targets);

    let room = make_room(&balancer.http()).await;
    let (mut alice, mut bob) =
        (Client::connect(balancer.addr()).await, Client::connect(balancer.addr()).await);
    for node in &stage.nodes {
        expect_value(node, "linkroom_connections", 1.0).await;
    }
    alice.join(&room.id, &room.token).await;
    let bobs = bob.join(&room.id, "bob").await["token"].as_str().unwrap().to_owned();
    let first = alice.say(&room.id, "one").await;
    assert_eq!(bob.wait_for_kind("msg").await["id"], first["id"]);
    prometheus.expect("up{job=\"linkroom\"}", &["1", "1"]).await;
    prometheus.expect("linkroom_connections", &["1", "1"]).await;
    prometheus.expect("count(linkroom:cpu:share)", &["2"]).await;

    // Whichever node has the clients, the other one continues.
    stage.nodes[0].kill().await;
    let alice_was_there = tokio::select! {
        _ = alice.closed() => true,
        _ = bob.closed() => false,
    };
    let (mut stays, token) =
        if alice_was_there { (bob, room.token.clone()) } else { (alice, bobs) };
    let missed = stays.say(&room.id, "two").await;
    let mut moves = Client::connect(balancer.addr()).await;
    let joined = moves.resume(&room.id, &token, first["id"].as_str().unwrap()).await;
    assert_eq!(joined["messages"].as_array().unwrap().len(), 1);
    assert_eq!(joined["messages"][0]["id"], missed["id"]);
    let third = moves.say(&room.id, "three").await;
    assert_eq!(stays.wait_for("three", |frame| frame["text"] == "three").await["id"], third["id"]);
    prometheus.expect("up{job=\"linkroom\"}", &["0", "1"]).await;
    prometheus.expect("ALERTS{alertname=\"LinkroomNodeDown\"}", &["1"]).await;
}

#[tokio::test]
async fn the_balancer_waits_for_nobody_who_dawdles() {
    let stage = Stage::new(2, &[]).await;
    let quick = [
        ("client_header_timeout 10s;", "client_header_timeout 1s;"),
        ("client_body_timeout 10s;", "client_body_timeout 1s;"),
    ];
    let balancer = Balancer::start_with(&stage.env, &stage.nodes, &quick).await;
    let half_a_header = "POST /api/rooms HTTP/1.1\r\nHost: a\r\n";
    let half_a_body = format!("{half_a_header}Content-Length: 9\r\n\r\n{{");
    for half in [half_a_header, &half_a_body] {
        let mut socket = TcpStream::connect(balancer.addr()).await.unwrap();
        socket.write_all(half.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        within(DEADLINE, "the end", socket.read_to_end(&mut answer)).await.unwrap();
    }
}

#[tokio::test]
async fn the_balancer_keeps_an_address_to_its_share() {
    let stage = Stage::new(2, &[]).await;
    let two = [("limit_conn addresses 8192;", "limit_conn addresses 2;")];
    let balancer = Balancer::start_with(&stage.env, &stage.nodes, &two).await;
    let first = Client::connect(balancer.addr()).await;
    let _second = Client::connect(balancer.addr()).await;
    let third = Client::connect_with(balancer.addr(), &[]).await;
    assert!(third.is_err_and(|error| error.to_string().contains("429")));
    first.close().await;
    eventually(DEADLINE, "room for another", async || {
        Client::connect_with(balancer.addr(), &[]).await.ok()
    })
    .await;
}

#[tokio::test]
async fn what_a_client_says_about_its_address_counts_for_nothing() {
    let settings = [("TRUSTED_PROXIES", "127.0.0.1"), ("ROOMS_PER_MINUTE", "1")];
    let stage = Stage::new(2, &settings).await;
    let balancer = Balancer::start(&stage.env, &stage.nodes).await;
    let mut made = 0;
    for number in 0..4 {
        let http = balancer.http();
        let request = http.request(reqwest::Method::POST, "/api/rooms");
        let request = request.header("x-forwarded-for", format!("192.0.2.{number}"));
        let request = request.json(&json!({ "creatorName": "alice" }));
        made += usize::from(http.send(request).await.status == 201);
    }
    assert!(made <= stage.nodes.len(), "one room an address and node, not {made}");
}

/// nginx keeps connections to the nodes, and does not retry an unanswered post on another node.
#[tokio::test]
async fn no_post_is_lost_while_a_node_leaves() {
    const POSTS_AFTER: usize = 100;
    let settings = [("DRAIN_TIMEOUT", "4s"), ("TRUSTED_PROXIES", "127.0.0.1")];
    let mut stage = Stage::new(2, &settings).await;
    let balancer = Balancer::start(&stage.env, &stage.nodes).await;
    let gone = std::sync::atomic::AtomicBool::new(false);
    let posts = (0..4).map(|_| async {
        let http = balancer.http();
        let mut left = POSTS_AFTER;
        while left > 0 {
            make_room(&http).await;
            left -= usize::from(gone.load(std::sync::atomic::Ordering::Relaxed));
        }
    });
    let leave = async {
        while stage.nodes[0].http().get("/readyz").await.status == 503 {}
        stage.nodes[0].signal(nix::sys::signal::Signal::SIGTERM);
        assert!(stage.nodes[0].exit_status().await.success());
        gone.store(true, std::sync::atomic::Ordering::Relaxed);
    };
    futures_util::join!(futures_util::future::join_all(posts), leave);
}

/// Whether nginx keeps the connection or announces that it closes it, the next request is answered.
#[tokio::test]
async fn the_balancer_hands_on_what_is_too_large() {
    let stage = Stage::new(2, &[]).await;
    let balancer = Balancer::start(&stage.env, &stage.nodes).await;
    let http = balancer.http();
    for bytes in [70_000, 1 << 20, 2 << 20, 9 << 20] {
        for _ in 0..3 {
            http.post("/api/rooms", json!({ "creatorName": "x".repeat(bytes) }))
                .await
                .error(413, "PAYLOAD_TOO_LARGE");
            make_room(&http).await;
        }
    }
}
