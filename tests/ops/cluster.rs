//! `make cluster`: a Redis Cluster and three nodes behind the balancer, as processes.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::json;

use crate::support::{Client, DEADLINE, Http, eventually, free_addr};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/cluster.sh");

/// The script while it runs. It gets the signal on which it ends everything even if the test run is killed.
struct Cluster(Child);

impl Cluster {
    fn start(balancer: u16, redis: u16) -> Self {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "TERM", "--", SCRIPT]).stdout(Stdio::piped());
        command.env("PORT", balancer.to_string()).env("REDIS_PORT", redis.to_string());
        Self(command.spawn().unwrap())
    }

    /// What it prints when all is there.
    async fn said(&mut self) -> Vec<String> {
        let mut lines = BufReader::new(self.0.stdout.take().unwrap()).lines().map(Result::unwrap);
        let said = tokio::task::spawn_blocking(move || {
            let mut said: Vec<String> = Vec::new();
            while !said.last().is_some_and(|line| line.starts_with("Ctrl-C")) {
                said.push(lines.next().expect("its last line"));
            }
            said
        });
        said.await.unwrap()
    }

    fn signal(&self, what: Signal) {
        let _ = kill(Pid::from_raw(self.0.id().try_into().unwrap()), what);
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.signal(Signal::SIGTERM);
        let _ = self.0.wait();
    }
}

/// The first of six free ports in a row.
fn six_ports() -> u16 {
    let are_free = |first: u16| {
        (first..first + 6).all(|port| std::net::TcpListener::bind(("127.0.0.1", port)).is_ok())
    };
    // Redis listens 10,000 ports higher as well, which is not to be where outgoing connections begin.
    let firsts = std::iter::repeat_with(|| free_addr().port()).filter(|first| *first < 22_000);
    firsts.into_iter().find(|first| are_free(*first)).unwrap()
}

#[tokio::test]
async fn make_cluster_starts_all_and_ends_all() {
    let (balancer, redis) = (free_addr(), six_ports());
    let mut cluster = Cluster::start(balancer.port(), redis);
    let said = cluster.said().await;
    assert_eq!(said[0], format!("linkroom: open http://{balancer}"), "{said:?}");

    let http = Http::new(balancer);
    let made = http.post("/api/rooms", json!({ "creatorName": "alice" })).await.data(201);
    let text = |field: &str| made[field].as_str().unwrap();
    let mut alice = Client::connect(balancer).await;
    alice.join(text("roomId"), text("token")).await;
    alice.say(text("roomId"), "hello").await;

    // The lines that it prints are run as they stand, for this room.
    let (group, rest) = text("roomId").split_at(2);
    for line in said.iter().filter_map(|line| line.strip_prefix("  redis-cli ")) {
        let line = line.replace("{ab}c12345", &format!("{{{group}}}{rest}"));
        let output =
            Command::new("sh").args(["-c", &format!("redis-cli {line}")]).output().unwrap();
        let shown = String::from_utf8(output.stdout).unwrap();
        let is_shard = |port: u16| shown.trim() == format!("tcp_port:{port}");
        let is_answer = shown.contains("16384 slots covered") || (redis..redis + 6).any(is_shard);
        assert!(is_answer, "{line}: {shown}");
    }

    cluster.signal(Signal::SIGINT);
    eventually(DEADLINE, "it ends", async || cluster.0.try_wait().unwrap()).await;
    for port in (redis..redis + 6).chain([balancer.port()]) {
        assert!(std::net::TcpStream::connect(("127.0.0.1", port)).is_err(), "{port} is open");
    }
}
