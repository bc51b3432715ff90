//! A log that cannot be written, and missing file descriptors, have no further effect: a node that
//! looks alive serves.

use std::{
    fs::File,
    io::{PipeReader, pipe},
    process::{Command, Stdio},
};

use futures_util::future::join_all;
use nix::sys::signal::Signal;
use serde_json::json;
use tokio_tungstenite::{connect_async, tungstenite};

use crate::support::{DEADLINE, Node, PROGRAM, Reading, RedisServer, TestEnv, eventually, guarded};

const LOST: &str = "linkroom_log_lines_lost_total";

/// A log's destination, and the end of it that must stay open.
type Sink = (Stdio, Option<PipeReader>);

fn full_disk() -> Sink {
    (File::options().write(true).open("/dev/full").unwrap().into(), None)
}

fn without_a_reader() -> Sink {
    (pipe().unwrap().1.into(), None)
}

fn with_a_reader_that_does_not_read() -> Sink {
    let (reader, writer) = pipe().unwrap();
    (writer.into(), Some(reader))
}

/// Runs through a restart of Redis with such a log, and shuts down gracefully.
async fn lives(stdout: Sink, stderr: Sink) {
    let env = TestEnv::new();
    let mut redis = RedisServer::start(&env);
    let url = redis.url();
    // Each request writes at least one line.
    let settings = [("REDIS_URL", url.as_str()), ("LOG_LEVEL", "trace"), ("DRAIN_TIMEOUT", "2s")];
    let output = [stdout.0, stderr.0];
    let mut node = Node::start_apart(&env, guarded(PROGRAM), &settings, output).await;
    node.wait_until_ready().await;
    redis.kill();
    eventually(DEADLINE, "it sees that Redis is gone", async || {
        (node.http().get("/readyz").await.status == 503).then_some(())
    })
    .await;
    redis.restart();
    node.wait_until_ready().await;
    node.http().post("/api/rooms", json!({ "creatorName": "alice" })).await.data(201);
    eventually(DEADLINE, "lost lines are counted", async || {
        join_all((0..20).map(async |_| node.http().get("/healthz").await)).await;
        (Reading::of(&node).await.value(LOST) > 0.0).then_some(())
    })
    .await;
    node.signal(Signal::SIGTERM);
    assert_eq!(node.exit_status().await.code(), Some(0));
    drop((stdout.1, stderr.1));
}

#[tokio::test]
async fn a_full_disk_under_the_log_costs_lines_alone() {
    lives(full_disk(), full_disk()).await;
}

#[tokio::test]
async fn a_log_without_a_reader_costs_lines_alone() {
    lives(without_a_reader(), without_a_reader()).await;
}

#[tokio::test]
async fn a_log_that_nobody_reads_costs_lines_alone() {
    lives(with_a_reader_that_does_not_read(), with_a_reader_that_does_not_read()).await;
}

/// A node with this limit of open files.
async fn with_files(env: &TestEnv, redis: &RedisServer, files: usize) -> Node {
    let mut shell = guarded("sh");
    shell.args(["-c", &format!("ulimit -n {files} && exec {PROGRAM}")]);
    let settings = [("REDIS_URL", redis.url())];
    let settings = settings.each_ref().map(|(name, value)| (*name, value.as_str()));
    Node::start_apart(env, shell, &settings, [Stdio::null(), Stdio::null()]).await
}

#[tokio::test]
async fn clients_leave_files_for_redis() {
    let env = TestEnv::new();
    let redis = RedisServer::start(&env);
    let node = with_files(&env, &redis, 64).await;
    node.wait_until_ready().await;
    let url = format!("ws://{}/ws", node.addr());
    let (inside, outside): (Vec<_>, Vec<_>) =
        join_all((0..200).map(|_| connect_async(&url))).await.into_iter().partition(Result::is_ok);
    assert!(inside.len() >= 10, "some are in: {}", inside.len());
    for refusal in outside {
        let Err(tungstenite::Error::Http(answer)) = refusal else { panic!("{refusal:?}") };
        assert_eq!(answer.status(), 503);
    }
    for kind in ["normal", "pubsub"] {
        redis.cmd(["CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes"]);
    }
    eventually(DEADLINE, "the node is back on Redis", async || {
        let made = node.http().post("/api/rooms", json!({ "creatorName": "a" })).await;
        (made.status == 201).then_some(())
    })
    .await;
    node.wait_until_ready().await;
    assert_eq!(node.http().get("/healthz").await.status, 200);
    drop(inside);
    eventually(DEADLINE, "there is room again", async || connect_async(&url).await.ok()).await;
}

#[test]
fn too_few_files_for_any_client_stop_the_start_with_one_line() {
    let script = format!("ulimit -n 32 && exec {PROGRAM}");
    let settings = [("LISTEN_ADDR", "127.0.0.1:0"), ("REDIS_URL", "redis://127.0.0.1:1")];
    let run = Command::new("sh").args(["-c", &script]).envs(settings).output().unwrap();
    let said = String::from_utf8(run.stderr).unwrap();
    assert!(!run.status.success());
    assert!(said.lines().count() == 1 && said.contains("ulimit -n"), "{said}");
}
