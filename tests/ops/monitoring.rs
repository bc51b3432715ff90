//! The dashboard and the alerts: their queries use existing metrics, and they fire as documented.

use std::{collections::BTreeSet, fs, path::Path, process::Command};

use serde_json::Value;

use crate::{
    metrics::{metrics_in, names, seen_everything},
    support::TestEnv,
};

const RULES: &str = include_str!("../../deploy/prometheus/rules.yml");
const PAGE: &str = include_str!("../../docs/operations.md");

/// All queries of the dashboard.
fn queries() -> Vec<String> {
    let text = include_str!("../../deploy/grafana/dashboards/linkroom.json");
    let dashboard: Value = serde_json::from_str(text).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let targets = panels.iter().filter_map(|panel| panel["targets"].as_array()).flatten();
    targets.map(|target| target["expr"].as_str().unwrap().to_owned()).collect()
}

/// Names like `linkroom:cpu:share`, which the recording rules define.
fn recorded_in(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':'));
    // A double colon belongs to a log directive, and an upper-case name is a placeholder.
    let is_name = |word: &&str| {
        word.starts_with("linkroom:") && !word.contains("::") && !word.contains(char::is_uppercase)
    };
    words.filter(is_name).map(str::to_owned).collect()
}

/// The values of a key of the rules, such as `record` or `alert`.
fn values_of(key: &str) -> BTreeSet<String> {
    let prefix = format!("- {key}: ");
    RULES.lines().filter_map(|line| line.trim().strip_prefix(&prefix)).map(str::to_owned).collect()
}

#[tokio::test]
async fn dashboard_and_alerts_ask_for_what_there_is() {
    let (_stage, reading) = seen_everything().await;
    let asked = metrics_in(&(queries().join("\n") + RULES));
    let real = names(&reading);
    assert!(asked.is_subset(&real), "not in /metrics: {:?}", asked.difference(&real));
    let recorded = values_of("record");
    for text in [queries().join("\n").as_str(), RULES, PAGE] {
        let used = recorded_in(text);
        assert!(used.is_subset(&recorded), "no rule: {:?}", used.difference(&recorded));
    }
}

#[test]
fn every_alert_has_its_page() {
    let alerts = values_of("alert");
    let headings = PAGE.lines().filter_map(|line| line.strip_prefix("### Linkroom"));
    let pages: BTreeSet<_> = headings.map(|rest| format!("Linkroom{rest}")).collect();
    assert_eq!(alerts, pages);
}

/// Runs promtool, which comes with Debian's package `prometheus`.
fn promtool(arguments: &[&str], file: &Path) {
    let output = Command::new("promtool").args(arguments).arg(file).output();
    let output = output.expect("promtool is there (apt-get install prometheus)");
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&said));
}

#[test]
fn alerts_fire_when_they_should() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/prometheus");
    promtool(&["check", "config"], &folder.join("prometheus.yml"));
    promtool(&["test", "rules"], &folder.join("rules.test.yml"));
    let tested = include_str!("../../deploy/prometheus/rules.test.yml");
    for alert in values_of("alert") {
        assert!(tested.contains(&format!("- alertname: {alert}\n")), "{alert} is not tested");
    }
}

#[test]
fn prometheus_understands_every_query_of_the_dashboard() {
    let env = TestEnv::new();
    let rules = queries().into_iter().enumerate().map(|(number, query)| {
        serde_json::json!({ "record": format!("dashboard:{number}"), "expr": query })
    });
    let rules: Vec<_> = rules.collect();
    // JSON is valid YAML.
    let groups = serde_json::json!({ "groups": [{ "name": "dashboard", "rules": rules }] });
    let file = env.fresh_path("dashboard").with_extension("yml");
    fs::write(&file, groups.to_string()).unwrap();
    promtool(&["check", "rules"], &file);
}
