//! The load test for operators, and what it says when a node is killed behind the balancer.

use std::process::{Child, Output, Stdio};

use serde_json::Value;

use crate::{
    balancer::Balancer,
    metrics::Reading,
    support::{DEADLINE, PROGRAM, Stage, eventually, guarded},
};

fn bench(url: &str, arguments: &[&str]) -> Child {
    let mut command = guarded(PROGRAM);
    command.args(["bench", "--url", url]).args(arguments);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

async fn report(child: Child) -> Output {
    tokio::task::spawn_blocking(|| child.wait_with_output()).await.unwrap().unwrap()
}

#[tokio::test]
async fn killing_a_node_loses_and_doubles_nothing() {
    let mut stage = Stage::new(2, &[]).await;
    let balancer = Balancer::start(&stage.env, &stage.nodes).await;
    let arguments = ["--connections=60", "--rooms=6", "--rate=120", "--seconds=6", "--json"];
    let bench = bench(balancer.http().base(), &arguments);
    eventually(DEADLINE, "a conversation", async || {
        let reading = Reading::of(&stage.nodes[0]).await;
        (reading.value("linkroom_deliveries_total") > 500.0).then_some(())
    })
    .await;
    stage.nodes[0].kill().await;

    let output = report(bench).await;
    let said = String::from_utf8(output.stdout).unwrap();
    let progress = String::from_utf8(output.stderr).unwrap();
    let report: Value = serde_json::from_str(&said).unwrap_or_else(|_| panic!("{said}{progress}"));
    assert!(output.status.success(), "{report}");
    for clean in ["lost", "doubled", "disordered", "refused"] {
        assert_eq!(report[clean], 0, "{report}");
    }
    assert_eq!(report["sent"], report["acknowledged"], "{report}");
    let (heard, said) = (&report["deliveries"], report["acknowledged"].as_u64().unwrap());
    assert_eq!(heard.as_u64().unwrap(), said * 10, "ten users a room: {report}");
    assert!(report["reconnects"].as_u64().unwrap() > 0, "{report}");
    assert!(report["latencyMs"]["p99"].as_f64().unwrap() > 0.0, "{report}");
    assert!(progress.lines().count() >= 5, "{progress}");
}

#[tokio::test]
async fn people_can_read_the_report() {
    let stage = Stage::new(1, &[]).await;
    let url = stage.http().base().to_owned();
    let bench = bench(&url, &["--connections=4", "--rooms=2", "--rate=8", "--seconds=1"]);
    let output = report(bench).await;
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{said}");
    for part in ["4 connections in 2 rooms", "0 lost, 0 doubled, 0 out of order", "p99"] {
        assert!(said.contains(part), "no {part:?} in {said}");
    }
}

#[tokio::test]
async fn a_deployment_that_is_not_there_is_one_line() {
    let output = report(bench("http://127.0.0.1:1", &[])).await;
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.starts_with("error: http://127.0.0.1:1 makes no room"), "{said}");
}
