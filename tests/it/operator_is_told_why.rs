//! The operator can read why Redis cannot be reached, in the log and in /readyz, without any
//! secret.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener},
};

use futures_util::future::join_all;

use crate::support::{DEADLINE, Node, RedisServer, TestEnv, eventually};

const PASSWORD: &str = "pa55w0rd";

/// Checks that a node on `url` logs `why`, once.
async fn says(env: &TestEnv, url: String, why: &str) {
    let node = Node::start_unready(env, &[("REDIS_URL", &url)]).await;
    eventually(DEADLINE, &format!("/readyz says {why}"), async || {
        let answer = node.http().get("/readyz").await;
        assert_eq!(answer.status, 503, "{url}");
        let details = answer.body["error"]["details"]["redis"].as_str()?;
        assert!(!details.contains(PASSWORD), "{details}");
        details.contains(why).then_some(())
    })
    .await;
    let log = eventually(DEADLINE, &format!("the log says {why}"), async || {
        let log = node.log();
        log.contains(why).then_some(log)
    })
    .await;
    let lines: Vec<_> = log.lines().filter(|line| line.contains(why)).collect();
    assert!(lines.len() == 1 && lines[0].contains("WARN"), "{url}: {log}");
    assert!(!log.contains(PASSWORD), "{log}");
}

/// The address of a server that knows no command and quotes its input, as Redis does.
fn quoting_server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let says =
                format!("-ERR unknown command 'AUTH', with args beginning with: '{PASSWORD}' \r\n");
            let _ = stream.write_all(says.as_bytes());
            // Kept open until the other side has read it.
            let _ = stream.read(&mut [0; 1024]);
            let _ = stream.read(&mut [0; 1024]);
        }
    });
    addr
}

#[tokio::test]
async fn each_reason_why_redis_is_out_of_reach_is_told_once() {
    let env = TestEnv::new();
    let redis = RedisServer::start(&env);
    let open = redis.addr();
    let quoting = quoting_server();
    let cases = [
        (format!("redis://bob:{PASSWORD}@{quoting}"), "unknown command 'AUTH'"),
        (format!("redis://bob:{PASSWORD}@{open}"), "WRONGPASS"),
        (format!("redis://:{PASSWORD}@127.0.0.1:1"), "Connection refused"),
        (format!("redis://{open}/99"), "DB index is out of range"),
        (format!("redis://{PASSWORD}:{PASSWORD}@no.such.host.invalid"), "failed to lookup address"),
        (format!("rediss://{open}"), "does it speak TLS there?"),
        (
            format!(
                "redis-sentinel://127.0.0.1:1?sentinelServiceName=m&sentinelPassword={PASSWORD}"
            ),
            "all sentinel nodes",
        ),
    ];
    join_all(cases.into_iter().map(|(url, why)| says(&env, url, why))).await;
}

/// The address of a Redis that is loading its data, which is its answer to every command.
fn loading_server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            std::thread::spawn(move || {
                let mut request = [0; 4096];
                while let Ok(1..) = stream.read(&mut request) {
                    let _ =
                        stream.write_all(b"-LOADING Redis is loading the dataset in memory\r\n");
                }
            });
        }
    });
    addr
}

#[tokio::test]
async fn a_redis_that_is_loading_is_the_only_reason_that_is_told() {
    let env = TestEnv::new();
    let url = format!("redis://{}", loading_server());
    let node = Node::start_unready(&env, &[("REDIS_URL", &url)]).await;
    let log = eventually(DEADLINE, "a warning", async || {
        let log = node.log();
        log.contains("WARN").then_some(log)
    })
    .await;
    // Until the node has probed Redis a few more times.
    let mut looks = 0;
    eventually(DEADLINE, "the reason", async || {
        let answer = node.http().get("/readyz").await;
        let details = answer.body["error"]["details"]["redis"].as_str().unwrap_or_default();
        assert!(details.contains("LOADING"), "{details}: {log}");
        looks += 1;
        (looks == 50).then_some(())
    })
    .await;
    let log = node.log();
    let warnings: Vec<_> = log.lines().filter(|line| line.contains("WARN")).collect();
    assert!(warnings.len() == 1 && warnings[0].contains("LOADING"), "{log}");
}
