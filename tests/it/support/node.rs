//! A linkroom process.

use std::{
    fs,
    net::SocketAddr,
    path::PathBuf,
    process::{ExitStatus, Stdio},
};

use nix::sys::signal::Signal;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
};

use super::{
    Client, Http, TestEnv,
    process::{guarded, signal},
    redis_server::free_addr,
    time::{DEADLINE, eventually, within},
};

/// The program under test.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_linkroom");

/// One running linkroom; dies with the test.
pub struct Node {
    child: Child,
    addr: SocketAddr,
    log: PathBuf,
}

impl Node {
    /// Starts a node on a free port and waits until it is ready.
    pub async fn start(env: &TestEnv, redis_url: &str, settings: &[(&str, &str)]) -> Self {
        let mut settings = settings.to_vec();
        settings.push(("REDIS_URL", redis_url));
        let node = Self::start_unready(env, &settings).await;
        node.wait_until_ready().await;
        node
    }

    /// Waits until the node is ready.
    pub async fn wait_until_ready(&self) {
        eventually(DEADLINE, "a ready node", async || {
            (self.http().get("/readyz").await.status == 200).then_some(())
        })
        .await;
    }

    /// Starts a node on a free port and waits for the line with its address.
    pub async fn start_unready(env: &TestEnv, settings: &[(&str, &str)]) -> Self {
        let log = env.fresh_path("node").with_extension("log");
        let mut command = command(guarded(PROGRAM), env, settings);
        command.stdout(Stdio::piped()).stderr(fs::File::create(&log).unwrap());
        let mut child = command.spawn().expect("linkroom starts");
        let addr = read_addr(&mut child, &log).await;
        Self { child, addr, log }
    }

    /// Starts a node through `program`, which redirects its output, so it has no log here.
    pub async fn start_apart(
        env: &TestEnv,
        program: std::process::Command,
        settings: &[(&str, &str)],
        [stdout, stderr]: [Stdio; 2],
    ) -> Self {
        let addr = free_addr();
        let mut command = command(program, env, settings);
        command.env("LISTEN_ADDR", addr.to_string()).stdout(stdout).stderr(stderr);
        let child = command.spawn().expect("linkroom starts");
        let node = Self { child, addr, log: PathBuf::new() };
        eventually(DEADLINE, "it listens", async || {
            tokio::net::TcpStream::connect(addr).await.ok()
        })
        .await;
        node
    }

    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    pub fn pid(&self) -> u32 {
        self.child.id().expect("the node runs")
    }

    pub fn http(&self) -> Http {
        Http::new(self.addr)
    }

    /// A new WebSocket to this node.
    pub async fn client(&self) -> Client {
        Client::connect(self.addr).await
    }

    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    /// `kill -9`, and waits until it is gone.
    pub async fn kill(&mut self) {
        self.child.kill().await.unwrap();
    }

    pub fn signal(&self, what: Signal) {
        signal(self.pid(), what);
    }

    /// Waits for the process to end by itself.
    pub async fn exit_status(&mut self) -> ExitStatus {
        within(DEADLINE * 3, "the node ends", self.child.wait()).await.unwrap()
    }
}

fn command(program: std::process::Command, env: &TestEnv, settings: &[(&str, &str)]) -> Command {
    let mut command = Command::from(program);
    command
        .current_dir(env.path())
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("LISTEN_ADDR", "127.0.0.1:0")
        .env("DATA_DIR", env.path().join("data"))
        .envs(settings.iter().copied())
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command
}

/// Reads `linkroom: open http://127.0.0.1:PORT` from the node's standard output.
async fn read_addr(child: &mut Child, log: &std::path::Path) -> SocketAddr {
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let line = within(DEADLINE, "the node says where it listens", lines.next_line()).await.unwrap();
    let Some(line) = line else {
        panic!("linkroom ended: {}", fs::read_to_string(log).unwrap_or_default());
    };
    let addr = line.strip_prefix("linkroom: open http://").and_then(|addr| addr.parse().ok());
    addr.unwrap_or_else(|| panic!("not the line that was agreed: {line}"))
}
