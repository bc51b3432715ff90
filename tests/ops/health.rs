//! `linkroom health`, the health check of images and units without `curl`.

use std::process::Stdio;

use crate::support::{DEADLINE, PROGRAM, Stage, eventually, guarded};

/// Runs it in an environment; returns whether the node is well, and the line.
fn health(arguments: &[&str], environment: &[(&str, &str)]) -> (bool, String) {
    let mut command = guarded(PROGRAM);
    command.arg("health").args(arguments).env_clear().envs(environment.iter().copied());
    let output = command.stderr(Stdio::inherit()).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.lines().count() <= 1, "{said}");
    assert!(matches!(output.status.code(), Some(0 | 1)), "{:?}", output.status);
    (output.status.success(), said.trim_end().to_owned())
}

#[tokio::test]
async fn health_tells_ready_from_alive_and_alive_from_gone() {
    let mut stage = Stage::new(1, &[]).await;
    let addr = stage.nodes[0].addr();
    let listens = format!("0.0.0.0:{}", addr.port());
    let here = [("LISTEN_ADDR", &*listens)];
    let url = format!("http://{addr}");
    for (arguments, environment) in [(&["--url", &*url][..], &[][..]), (&[], &here)] {
        let ready = (true, format!("{url}/readyz: ready"));
        assert_eq!(health(arguments, environment), ready);
    }
    stage.redis.kill();
    let why = eventually(DEADLINE, "it is not ready", async || {
        let (is_well, line) = health(&[], &here);
        (!is_well).then_some(line)
    })
    .await;
    assert!(why.starts_with(&format!("{url}/readyz: 503 redis: ")), "{why}");
    assert_eq!(health(&["--live"], &here), (true, format!("{url}/healthz: live")));
    stage.nodes[0].kill().await;
    let (is_well, line) = health(&["--live"], &here);
    assert!(!is_well && line.starts_with(&format!("{url}/healthz: ")), "{line}");
}

#[test]
fn health_says_what_it_cannot_ask() {
    let (is_well, line) = health(&[], &[("LISTEN_ADDR", "nowhere")]);
    assert!(!is_well && line.starts_with("LISTEN_ADDR cannot be read"), "{line}");
    let (is_well, line) = health(&[], &[("LISTEN_ADDR", "127.0.0.1:0")]);
    assert!(!is_well && line.contains("--url"), "{line}");
    assert_eq!(health(&["--url", "here"], &[]), (false, String::new()));
}
