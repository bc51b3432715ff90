//! What `make audit` asks, as far as it needs no network: licences, and crates that are there twice.

use std::{collections::BTreeSet, process::Command};

use serde_json::Value;

const CONFIG: &str = include_str!("../../deny.toml");

/// What stands in quotes first on each line of a list of the configuration.
fn list(name: &str) -> BTreeSet<String> {
    let (_, list) = CONFIG.split_once(&format!("\n{name} = [\n")).unwrap();
    let (list, _) = list.split_once("\n]").unwrap();
    list.lines().map(|line| line.split('"').nth(1).unwrap().to_owned()).collect()
}

/// Everything that is built here, tests included.
fn packages() -> Vec<Value> {
    let version = Command::new("rustc").arg("-vV").output().unwrap().stdout;
    let version = String::from_utf8(version).unwrap();
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).unwrap();
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--locked", "--format-version=1", "--filter-platform", host])
        .args(["--manifest-path", concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    metadata["packages"].as_array().unwrap().clone()
}

/// Whether a licence such as `(MIT OR Apache-2.0) AND ISC` can be had by allowed ones alone.
fn is_allowed(licence: &str, allowed: &BTreeSet<String>) -> bool {
    let plain = licence.replace(['(', ')'], "").replace('/', " OR ");
    plain.split(" AND ").all(|part| part.split(" OR ").any(|one| allowed.contains(one.trim())))
}

#[test]
fn every_licence_is_allowed() {
    let allowed = list("allow");
    for package in packages() {
        let licence = package["license"].as_str().unwrap_or("none");
        assert!(is_allowed(licence, &allowed), "{}: {licence}", package["name"]);
    }
}

#[test]
fn what_is_there_twice_is_known() {
    let mut twice = BTreeSet::new();
    let packages = packages();
    let of = |package: &Value, field: &str| package[field].as_str().unwrap().to_owned();
    for package in &packages {
        let (name, version) = (of(package, "name"), of(package, "version"));
        let number = |version: &str| -> Vec<u64> {
            version.split(['.', '-', '+']).map_while(|part| part.parse().ok()).collect()
        };
        let is_newest = packages
            .iter()
            .filter(|other| of(other, "name") == name)
            .all(|other| number(&of(other, "version")) <= number(&version));
        if !is_newest {
            // As cargo compares: the first number that is not 0 decides.
            let parts: Vec<_> = version.split('.').collect();
            let kept = if parts[0] == "0" { 2 } else { 1 };
            twice.insert(format!("{name}@{}", parts[..kept].join(".")));
        }
    }
    assert_eq!(twice, list("skip"));
}
