//! Promise 5 with Redis Sentinel: when a primary fails over to its replica, users stay.

use std::{
    fs,
    net::SocketAddr,
    process::{Child, Stdio},
    time::Duration,
};

use serde_json::json;

use crate::support::{
    Client, DEADLINE, Node, RedisServer, Room, TestEnv, eventually, free_addr, guarded,
    redis_command,
};

const SENTINELS: usize = 3;
/// Maximum duration of a failover: detection, votes, promotion, and a busy machine.
const FAILOVER: Duration = Duration::from_secs(40);

/// A primary, a replica, and the sentinels that watch them.
struct Deployment {
    primary: RedisServer,
    replica: RedisServer,
    sentinels: Vec<(Child, SocketAddr)>,
    env: TestEnv,
}

impl Drop for Deployment {
    fn drop(&mut self) {
        for (sentinel, _) in &mut self.sentinels {
            let _ = sentinel.kill();
            let _ = sentinel.wait();
        }
    }
}

impl Deployment {
    async fn start() -> Self {
        let env = TestEnv::new();
        let (primary, replica) = (RedisServer::start(&env), RedisServer::start(&env));
        let addr = primary.addr();
        replica.cmd(["REPLICAOF", &addr.ip().to_string(), &addr.port().to_string()]);
        let sentinels = (0..SENTINELS).map(|_| sentinel(&env, addr)).collect();
        let deployment = Self { primary, replica, sentinels, env };
        eventually(DEADLINE, "sentinels that know each other and the replica", async || {
            deployment.sentinels.iter().all(|(_, addr)| knows_all(*addr)).then_some(())
        })
        .await;
        deployment
    }

    fn url(&self) -> String {
        let mut addrs = self.sentinels.iter().map(|(_, addr)| addr.to_string());
        let first = addrs.next().unwrap();
        let others: String = addrs.map(|addr| format!("&node={addr}")).collect();
        format!("redis-sentinel://{first}?sentinelServiceName=rooms{others}")
    }

    /// The primary that the sentinels name.
    fn named_primary(&self) -> Option<SocketAddr> {
        let (_, sentinel) = self.sentinels[0];
        let words = ["SENTINEL", "get-master-addr-by-name", "rooms"];
        let answer = redis_command(sentinel, &words).ok()?;
        let [host, port] = answer.list() else { return None };
        format!("{}:{}", host.text(), port.text()).parse().ok()
    }
}

fn sentinel(env: &TestEnv, primary: SocketAddr) -> (Child, SocketAddr) {
    let addr = free_addr();
    let path = env.fresh_path("sentinel");
    fs::create_dir(&path).unwrap();
    let file = path.join("sentinel.conf");
    let (ip, port) = (primary.ip(), primary.port());
    let config = format!(
        "port {}\nbind 127.0.0.1\ndir {}\nlogfile sentinel.log\n\
         sentinel monitor rooms {ip} {port} 2\n\
         sentinel down-after-milliseconds rooms 700\n\
         sentinel failover-timeout rooms 3000\n",
        addr.port(),
        path.display(),
    );
    fs::write(&file, config).unwrap();
    let child = guarded("redis-server")
        .arg(&file)
        .arg("--sentinel")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    (child, addr)
}

fn knows_all(sentinel: SocketAddr) -> bool {
    let Ok(state) = redis_command(sentinel, &["INFO", "sentinel"]) else { return false };
    let others = format!("sentinels={SENTINELS}");
    ["status=ok", "slaves=1", &others].iter().all(|fact| state.text().contains(fact))
}

/// Sends `text` repeatedly with one key until it is acknowledged.
async fn insist(client: &mut Client, room: &Room, text: &str) -> String {
    let frame = json!({ "t": "msg", "roomId": room.id, "text": text, "key": text });
    let said = eventually(FAILOVER, "an acknowledgement", async || {
        client.send(frame.clone()).await;
        let answer = client.wait_for("an answer", |f| f["key"] == text).await;
        (answer["t"] == "msg").then_some(answer)
    })
    .await;
    said["id"].as_str().unwrap().to_owned()
}

async fn survives(fail: impl AsyncFnOnce(&mut Deployment)) {
    let mut deployment = Deployment::start().await;
    let settings = [("PRESENCE_TTL", "60s"), ("MESSAGES_PER_SECOND", "1000")];
    let (url, env) = (deployment.url(), &deployment.env);
    let nodes = [Node::start(env, &url, &settings).await, Node::start(env, &url, &settings).await];
    let answer = nodes[0].http().post("/api/rooms", json!({ "creatorName": "alice" })).await;
    let data = answer.data(201);
    let text = |name: &str| data[name].as_str().unwrap().to_owned();
    let room = Room { id: text("roomId"), token: text("token") };
    let mut alice = nodes[0].client().await;
    alice.join(&room.id, &room.token).await;
    let mut bob = nodes[1].client().await;
    bob.join(&room.id, "bob").await;
    let before = insist(&mut alice, &room, "before").await;
    eventually(DEADLINE, "a replica that has it", async || {
        (deployment.replica.stream_ids(&room.id) == [before.clone()]).then_some(())
    })
    .await;

    fail(&mut deployment).await;
    eventually(FAILOVER, "a new primary", async || {
        (deployment.named_primary()? == deployment.replica.addr()).then_some(())
    })
    .await;
    let after = insist(&mut alice, &room, "after").await;
    insist(&mut bob, &room, "too").await;

    let stream = deployment.replica.stream_ids(&room.id);
    assert_eq!(stream[..2], [before, after]);
    alice.wait_for("the last message", |f| f["text"] == "too").await;
    for client in [&alice, &bob] {
        let mut ids = client.message_ids(&room.id);
        // The answer to a retry may repeat a message to its own sender.
        ids.dedup();
        assert_eq!(ids, stream);
    }
    let members = format!("room:{}:members", room.id);
    assert_eq!(deployment.replica.texts(["SMEMBERS", &members]), ["alice", "bob"]);
    deployment.replica.cmd(["PUBLISH", &format!("chan:{}", room.id), r#"{"t":"news"}"#]);
    bob.accept_any_frame();
    bob.wait_for_kind("news").await;
    assert_eq!(bob.comings_and_goings(), [], "nobody came or went");
}

#[tokio::test]
async fn a_dead_primary_is_replaced() {
    survives(async |deployment| deployment.primary.kill()).await;
}

#[tokio::test]
async fn a_frozen_primary_is_replaced() {
    survives(async |deployment| deployment.primary.freeze()).await;
}

#[tokio::test]
async fn a_primary_that_is_demoted_is_left() {
    survives(async |deployment| {
        let (_, sentinel) = deployment.sentinels[0];
        redis_command(sentinel, &["SENTINEL", "failover", "rooms"]).unwrap();
        // Until it is demoted it accepts messages that will be lost.
        eventually(FAILOVER, "a demoted primary", async || {
            let state = redis_command(deployment.primary.addr(), &["INFO", "replication"]).ok()?;
            state.text().contains("role:slave").then_some(())
        })
        .await;
    })
    .await;
}
