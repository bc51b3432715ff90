//! The examples in examples/ and docs/embedding.md run unchanged against a real node.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use serde_json::{Value, json};

use crate::{
    openapi::tool,
    support::{Client, DEADLINE, JWT_SECRET, Reading, Stage, eventually, free_addr, guarded},
};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const EMBEDDING: &str = include_str!("../../docs/embedding.md");
/// Maximum number of lines of an example.
const SHORT: usize = 60;

/// A program that ends with the test.
struct Running(Child);

impl Running {
    fn start(mut command: Command) -> Self {
        Self(command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn example(name: &str) -> PathBuf {
    Path::new(ROOT).join("examples").join(name)
}

/// Node.js with the modules that the examples need.
fn node() -> Command {
    let modules = Path::new(ROOT).join("tests/examples/node_modules");
    assert!(modules.exists(), "make examples");
    let mut command = guarded("node");
    command.env("NODE_PATH", modules);
    command
}

/// Sends a message until it is answered, and returns the answer.
async fn answer(client: &mut Client, room: &str, text: &str) -> Value {
    client.say(room, text).await;
    client.wait_for("answer", |frame| frame["t"] == "msg" && frame["from"] != "Ann").await
}

/// Starts a program with this many members, and sends it a message before and after its node died.
async fn answers_again_after_a_node_died(mut program: Command, members: usize, words: &[&str]) {
    let mut stage = Stage::new(1, &[]).await;
    let addr = free_addr();
    stage.nodes.clear();
    stage.add_node(&[("LISTEN_ADDR", &addr.to_string())]).await;
    let room = stage.room("Ann").await;
    program.arg(stage.http().base()).arg(&room.id);
    let _bot = Running::start(program);
    for words in words.chunks(2) {
        let mut ann = stage.member(0, &room, &room.token).await;
        let is_in = async || {
            let reading = Reading::of(&stage.nodes[0]).await;
            let is_connected = reading.value("linkroom_connections") >= 2.0;
            (is_connected && stage.members_in_redis(&room).len() > members).then_some(())
        };
        eventually(DEADLINE, "the bot", is_in).await;
        let said = answer(&mut ann, &room.id, words[0]).await;
        assert!(said["text"].as_str().unwrap().contains(words[1]), "{said}");
        stage.nodes.clear();
        stage.add_node(&[("LISTEN_ADDR", &addr.to_string())]).await;
    }
}

#[tokio::test]
async fn the_bot_in_python_echoes() {
    let mut bot = tool("python");
    bot.arg(example("echo_bot.py"));
    let words = ["@echo hello", "hello", "@echo again", "again"];
    answers_again_after_a_node_died(bot, 1, &words).await;
}

#[tokio::test]
async fn the_bot_in_node_echoes() {
    let mut bot = node();
    bot.arg(example("echo_bot.cjs"));
    let words = ["@echo hello", "hello", "@echo again", "again"];
    answers_again_after_a_node_died(bot, 1, &words).await;
}

#[tokio::test]
async fn the_shell_tells_the_time() {
    let bot = guarded(example("tail_and_answer.sh").to_str().unwrap());
    answers_again_after_a_node_died(bot, 0, &["!time", "UTC", "!time", "UTC"]).await;
}

#[test]
fn every_example_is_short_and_named_in_the_readme() {
    let readme = include_str!("../../README.md");
    for file in fs::read_dir(example("")).unwrap() {
        let path = file.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        let lines = fs::read_to_string(&path).unwrap().lines().count();
        assert!(lines < SHORT, "{name} has {lines} lines");
        assert!(readme.contains(&format!("examples/{name}")), "{name} is not in the README");
    }
}

/// The code of the first block of this language in docs/embedding.md.
fn shown(language: &str) -> &'static str {
    let block = EMBEDDING.split(&format!("```{language}\n")).nth(1).unwrap();
    block.split("```").next().unwrap()
}

/// Runs an application, and enters the room that its page links to.
async fn enters(mut application: Command, language: &str, file: &str) {
    let stage = Stage::new(1, &[("JWT_SECRET", JWT_SECRET), ("GUESTS", "off")]).await;
    let path = stage.env.path().join(file);
    fs::write(&path, shown(language)).unwrap();
    let port = free_addr().port().to_string();
    application.arg(&path).env("JWT_SECRET", JWT_SECRET).env("PORT", &port);
    application.env("LINKROOM", stage.http().base());
    let _running = Running::start(application);
    let url = format!("http://127.0.0.1:{port}/");
    let page = eventually(DEADLINE, "the application's page", async || {
        reqwest::get(&url).await.ok()?.text().await.ok()
    });
    let page = page.await;
    let link = page.split(['"', '\'']).find(|part| part.contains("/r/")).unwrap();
    let (address, token) = link.split_once("#t=").unwrap();
    let room = address.rsplit('/').next().unwrap();
    assert!(address.starts_with(stage.http().base()), "{page}");
    let joined = stage.client().await.join(room, token).await;
    assert_eq!((&joined["me"], &joined["creator"]), (&json!("Ann"), &json!("Ann")));
}

#[tokio::test]
async fn the_application_in_node_sends_its_user() {
    enters(guarded("node"), "js", "application.mjs").await;
}

#[tokio::test]
async fn the_application_in_python_sends_its_user() {
    enters(guarded("python3"), "python", "application.py").await;
}
