//! `/openapi.json`: a validator accepts it, and a fuzzer that reads it finds no difference to a
//! node's behaviour.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde_json::Value;

use crate::support::{Stage, guarded};

/// A program installed by `make setup`.
pub fn tool(name: &str) -> Command {
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/python/bin");
    guarded(tools.join(name).to_str().unwrap())
}

/// Runs a program to its end, and prints its output if it fails.
pub async fn expect_success(mut command: Command) -> String {
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let ended = tokio::task::spawn_blocking(|| child.wait_with_output()).await.unwrap();
    let output = ended.unwrap();
    let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert!(output.status.success(), "{said}");
    said
}

async fn description(stage: &Stage) -> Value {
    stage.http().file("/openapi.json").await.json().await.unwrap()
}

/// Number of operations, except those that the fuzzer skips: the description itself, and endless
/// answers.
fn operations_in(description: &Value) -> usize {
    let paths = description["paths"].as_object().unwrap().iter();
    let paths = paths.filter(|(path, _)| *path != "/openapi.json" && !path.ends_with("/events"));
    let methods = paths.flat_map(|(_, path)| path.as_object().unwrap().keys());
    methods
        .filter(|method| ["delete", "get", "patch", "post", "put"].contains(&method.as_str()))
        .count()
}

#[tokio::test]
async fn a_validator_understands_the_description() {
    let stage = Stage::new(1, &[]).await;
    let file: PathBuf = stage.env.fresh_path("openapi").with_extension("json");
    fs::write(&file, description(&stage).await.to_string()).unwrap();
    let mut validator = tool("openapi-spec-validator");
    validator.arg(&file);
    expect_success(validator).await;
}

#[tokio::test]
async fn bounds_are_those_of_the_settings() {
    let stage = Stage::new(1, &[("TEXT_MAX", "7"), ("PAGE_MAX", "9"), ("NAME_MAX", "5")]).await;
    let description = description(&stage).await;
    let schemas = &description["components"]["schemas"];
    assert_eq!(schemas["NewMessage"]["properties"]["text"]["maxLength"], 7);
    let name = schemas["NewRoom"]["properties"]["creatorName"]["pattern"].as_str().unwrap();
    assert!(name.contains("{1,5}"), "{name}");
    let page = &description["paths"]["/api/rooms/{id}/messages"]["get"]["parameters"];
    let limit = page.as_array().unwrap().iter().find(|one| one["name"] == "limit").unwrap();
    assert_eq!((&limit["schema"]["maximum"], &limit["schema"]["default"]), (&9.into(), &9.into()));
}

#[tokio::test]
async fn a_fuzzer_finds_nothing_that_is_not_as_described() {
    // The test is about answers after the rate limits.
    let settings = [("MESSAGES_PER_SECOND", "100000"), ("MISSES_PER_MINUTE", "1000000")];
    let stage = Stage::new(1, &settings).await;
    let room = stage.room("alice").await;
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/openapi/schemathesis.toml");
    let mut fuzzer = tool("schemathesis");
    fuzzer
        .current_dir(stage.env.path())
        .envs([("ROOM", &room.id), ("TOKEN", &room.token)])
        .arg("--config-file")
        .arg(config)
        .args(["run", "--no-color", &format!("{}/openapi.json", stage.http().base())]);
    let said = expect_success(fuzzer).await;
    let tested = format!("Tested: {}\n", operations_in(&description(&stage).await));
    assert!(said.contains(&tested), "{tested}{said}");
}
