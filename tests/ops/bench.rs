//! The load test for operators, and its report when nodes behind the load balancer are killed or
//! replaced.

use std::process::{Child, Output, Stdio};

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::{
    balancer::Balancer,
    support::{DEADLINE, Node, PROGRAM, Reading, Stage, eventually, guarded},
};

/// Sixty users, ten per room, who send many messages.
const SIXTY: [&str; 4] = ["--connections=60", "--rooms=6", "--rate=120", "--json"];

/// Starts the load test.
pub fn bench(url: &str, arguments: &[&str]) -> Child {
    let mut command = guarded(PROGRAM);
    command.args(["bench", "--url", url]).args(arguments);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Waits for its end.
pub async fn report(child: Child) -> Output {
    tokio::task::spawn_blocking(|| child.wait_with_output()).await.unwrap().unwrap()
}

/// Waits until many users have joined and sent messages.
async fn until_they_talk(stage: &Stage) {
    eventually(DEADLINE, "a conversation", async || {
        let reading = Reading::of(&stage.nodes[0]).await;
        (reading.value("linkroom_deliveries_total") > 500.0).then_some(())
    })
    .await;
}

/// The report of a run of [`SIXTY`] in which nothing was lost, and its progress.
async fn clean_report(child: Child) -> (Value, String) {
    let output = report(child).await;
    let said = String::from_utf8(output.stdout).unwrap();
    let progress = String::from_utf8(output.stderr).unwrap();
    let report: Value = serde_json::from_str(&said).unwrap_or_else(|_| panic!("{said}{progress}"));
    assert!(output.status.success(), "{report}");
    for clean in ["lost", "doubled", "disordered", "refused", "unanswered"] {
        assert_eq!(report[clean], 0, "{report}");
    }
    assert_eq!(report["sent"], report["acknowledged"], "{report}");
    let (heard, said) = (&report["deliveries"], report["acknowledged"].as_u64().unwrap());
    assert_eq!(heard.as_u64().unwrap(), said * 10, "ten users a room: {report}");
    (report, progress)
}

#[tokio::test]
async fn killing_a_node_loses_and_doubles_nothing() {
    // A client that comes back has to page through what it missed.
    let mut stage = Stage::new(2, &[("RESUME_MAX", "1")]).await;
    let balancer = Balancer::start(&stage.env, &stage.nodes).await;
    let bench = bench(balancer.http().base(), &[&SIXTY[..], &["--seconds=6"]].concat());
    until_they_talk(&stage).await;
    stage.nodes[0].kill().await;

    let (report, progress) = clean_report(bench).await;
    assert!(report["reconnects"].as_u64().unwrap() > 0, "{report}");
    assert!(report["latencyMs"]["p99"].as_f64().unwrap() > 0.0, "{report}");
    assert!(progress.lines().count() >= 5, "{progress}");
}

/// Both nodes behind the load balancer are replaced one after the other. A watcher on a third node
/// checks that nobody in the room notices.
#[tokio::test]
async fn a_rolling_restart_is_invisible_but_for_the_reconnects() {
    let settings = [("DRAIN_TIMEOUT", "1s")];
    let mut stage = Stage::new(3, &settings).await;
    let balancer = Balancer::start(&stage.env, &stage.nodes).await;
    let mut bench = bench(balancer.http().base(), &[&SIXTY[..], &["--seconds=8"]].concat());
    until_they_talk(&stage).await;
    let mut watcher = stage.nodes[2].client().await;
    let room = stage.redis.texts(["KEYS", "room:*:members"])[0]["room:".len()..][..12].to_owned();
    let joined = watcher.join(&room, "watcher").await;
    let ten_and_the_watcher = 11;
    assert_eq!(joined["members"].as_array().unwrap().len(), ten_and_the_watcher);

    for number in 0..2 {
        let addr = stage.nodes[number].addr().to_string();
        stage.nodes[number].signal(Signal::SIGTERM);
        assert!(stage.nodes[number].exit_status().await.success());
        let settings = [settings[0], ("LISTEN_ADDR", &addr)];
        stage.nodes[number] = Node::start(&stage.env, &stage.redis.url(), &settings).await;
    }

    watcher.say(&room, "did anybody come or go?").await;
    assert!(bench.try_wait().unwrap().is_none(), "the users are still there");
    assert_eq!(watcher.comings_and_goings(), []);
    let (report, _) = clean_report(bench).await;
    assert!(report["reconnects"].as_u64().unwrap() >= 60, "{report}");
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

/// All users but the talkers disconnect at once and come back at once, in one room or in many.
#[tokio::test]
async fn a_join_storm_is_told_apart() {
    let stage = Stage::new(1, &[]).await;
    for rooms in [1, 6] {
        let rooms = format!("--rooms={rooms}");
        let storm = ["--connections=60", "--talkers=12", "--rate=24", "--seconds=1"];
        let arguments = [&storm[..], &["--join-storm", "--json", &rooms]].concat();
        let output = report(bench(stage.http().base(), &arguments)).await;
        let said = String::from_utf8(output.stdout).unwrap();
        let report: Value = serde_json::from_str(&said).unwrap_or_else(|_| panic!("{said}"));
        assert!(output.status.success(), "{report}");
        assert_eq!((&report["lost"], &report["doubled"]), (&0.into(), &0.into()), "{report}");
        let (entry, storm) = (&report["entry"], &report["storm"]);
        assert_eq!((&entry["users"], &storm["users"]), (&60.into(), &48.into()), "{report}");
        for part in [&entry["joinsPerSecond"], &storm["ms"], &storm["talkersP99Ms"]["quiet"]] {
            assert!(part.as_f64().is_some_and(|figure| figure > 0.0), "{report}");
        }
        let progress = String::from_utf8(output.stderr).unwrap();
        assert!(progress.contains("connections") && progress.contains("deferred"), "{progress}");
    }
    let joins = Reading::of(&stage.nodes[0]).await.value("linkroom_joins_total");
    assert_eq!(joins, 2.0 * (60.0 + 48.0));
}

#[tokio::test]
async fn a_deployment_that_is_not_there_is_one_line() {
    let output = report(bench("http://127.0.0.1:1", &[])).await;
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.starts_with("error: http://127.0.0.1:1 makes no room"), "{said}");
}

#[tokio::test]
async fn whoever_asks_for_help_hears_of_it() {
    for (arguments, word) in
        [(&["--help"][..], "linkroom bench --help"), (&["bench", "--help"], "--rate")]
    {
        let mut command = guarded(PROGRAM);
        let help = command.args(arguments).stdout(Stdio::piped()).spawn().unwrap();
        let output = report(help).await;
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success() && said.contains(word), "{said}");
    }
}
