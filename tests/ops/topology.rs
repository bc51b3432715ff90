//! What docker-compose.yml starts, as real processes: Redis, two nodes, nginx, Prometheus.

use std::{fs, net::SocketAddr, process::Child};

use serde_json::{Value, json};

use crate::{
    balancer::Balancer,
    metrics::expect_value,
    support::{Client, DEADLINE, Http, Room, Stage, TestEnv, eventually, free_addr, guarded},
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

    /// The values of a query, sorted; nothing while it does not answer.
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

    // Whoever sits there, the other one carries on.
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
