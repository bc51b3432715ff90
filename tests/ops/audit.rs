//! The checks of `make audit` that need no database: licences, and duplicate crates. Also for the
//! packages that `make audit` does not check.

use std::{collections::BTreeSet, path::Path, process::Command};

use serde_json::Value;

/// The program with its tests, the benchmarks, and the fuzzer.
const WORKSPACES: [&str; 3] = [".", "benches", "fuzz"];

/// A list of deny.toml, such as `licenses.allow`.
fn list(section: &str, name: &str) -> Vec<toml::Value> {
    let config: toml::Table = include_str!("../../deny.toml").parse().unwrap();
    config[section][name].as_array().unwrap().clone()
}

fn texts(list: &[toml::Value]) -> BTreeSet<String> {
    list.iter().map(|text| text.as_str().unwrap().to_owned()).collect()
}

/// The allowed licences of one crate: the general ones, and its exceptions.
fn allowed_for(name: &str) -> BTreeSet<String> {
    let mut allowed = texts(&list("licenses", "allow"));
    for exception in list("licenses", "exceptions") {
        if exception["crate"].as_str() == Some(name) {
            allowed.extend(texts(exception["allow"].as_array().unwrap()));
        }
    }
    allowed
}

/// The crates that may occur in more than one version: `name@version`.
fn known() -> BTreeSet<String> {
    let skip = list("bans", "skip");
    skip.iter().map(|one| one["crate"].as_str().unwrap().to_owned()).collect()
}

/// All packages of a workspace, tests included, according to its lock file.
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

/// Whether a licence such as `(MIT OR Apache-2.0) AND ISC` needs only allowed ones.
fn is_allowed(licence: &str, allowed: &BTreeSet<String>) -> bool {
    let plain = licence.replace(['(', ')'], "").replace('/', " OR ");
    plain.split(" AND ").all(|part| part.split(" OR ").any(|one| allowed.contains(one.trim())))
}

/// The older versions of duplicate packages.
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
            // Like cargo's comparison: the first number that is not 0 decides.
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
