//! What `make audit` asks, as far as it needs no database: licences, and crates that are there twice.
//! Here also for the packages that `make audit` does not look at.

use std::{collections::BTreeSet, path::Path, process::Command};

use serde_json::Value;

/// The program with its tests, what measures it, and what makes up input for it.
const WORKSPACES: [&str; 3] = [".", "benches", "fuzz"];

/// A list of deny.toml, such as `licenses.allow`.
fn list(section: &str, name: &str) -> Vec<toml::Value> {
    let config: toml::Table = include_str!("../../deny.toml").parse().unwrap();
    config[section][name].as_array().unwrap().clone()
}

fn texts(list: &[toml::Value]) -> BTreeSet<String> {
    list.iter().map(|text| text.as_str().unwrap().to_owned()).collect()
}

/// The licences that one crate may have: those for all, and those for it alone.
fn allowed_for(name: &str) -> BTreeSet<String> {
    let mut allowed = texts(&list("licenses", "allow"));
    for exception in list("licenses", "exceptions") {
        if exception["crate"].as_str() == Some(name) {
            allowed.extend(texts(exception["allow"].as_array().unwrap()));
        }
    }
    allowed
}

/// The crates that are known to be there in more than one version: `name@version`.
fn known() -> BTreeSet<String> {
    let skip = list("bans", "skip");
    skip.iter().map(|one| one["crate"].as_str().unwrap().to_owned()).collect()
}

/// Everything that is built in a workspace, tests included, as its lock file has it.
fn packages(workspace: &str) -> Vec<Value> {
    let version = Command::new("rustc").arg("-vV").output().unwrap().stdout;
    let version = String::from_utf8(version).unwrap();
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).unwrap();
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join(workspace).join("Cargo.toml");
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--locked", "--format-version=1", "--filter-platform", host])
        .arg("--manifest-path")
        .arg(manifest)
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

/// The older ones of what is there more than once.
fn twice(packages: &[Value]) -> BTreeSet<String> {
    let of = |package: &Value, field: &str| package[field].as_str().unwrap().to_owned();
    let mut twice = BTreeSet::new();
    for package in packages {
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
    twice
}

#[test]
fn every_licence_is_allowed() {
    for package in WORKSPACES.iter().flat_map(|workspace| packages(workspace)) {
        let name = package["name"].as_str().unwrap();
        let licence = package["license"].as_str().unwrap_or("none");
        assert!(is_allowed(licence, &allowed_for(name)), "{name}: {licence}");
    }
}

#[test]
fn what_is_there_twice_is_known() {
    let [program, companions @ ..] = WORKSPACES;
    assert_eq!(twice(&packages(program)), known());
    for workspace in companions {
        let twice = twice(&packages(workspace));
        assert!(twice.is_subset(&known()), "{workspace}: {:?}", twice.difference(&known()));
    }
}
