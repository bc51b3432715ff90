//! A private redis-server.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::PathBuf,
    process::Child,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;
use rand::Rng;

use super::{
    TestEnv,
    process::{guarded, signal},
    resp::{self, Reply, Subscription},
    time::DEADLINE,
};

/// Below the ports that the kernel assigns to outgoing connections, so that none of those can take
/// the port while Redis is down.
const PORTS: std::ops::Range<u16> = 12_000..30_000;

/// A Redis process with its own port and folder; dies with the test.
pub struct RedisServer {
    child: Child,
    addr: SocketAddr,
    folder: PathBuf,
    append_only: bool,
    /// Further arguments of the process.
    args: Vec<String>,
}

impl RedisServer {
    /// Starts a Redis without persistence.
    pub fn start(env: &TestEnv) -> Self {
        Self::start_with(env, false, &[])
    }

    /// Starts a node of a Redis Cluster that has no other node yet, with its own bus port.
    pub fn start_cluster_node(env: &TestEnv, args: &[&str]) -> Self {
        let bus = free_addr().port().to_string();
        let clustered = [
            "--cluster-enabled",
            "yes",
            "--cluster-port",
            &bus,
            "--cluster-replica-validity-factor",
            "0",
            "--repl-diskless-sync-delay",
            "0",
        ];
        Self::start_with(env, false, &[&clustered, args].concat())
    }

    /// Starts a Redis with an append-only file, so that its data survives a restart.
    pub fn start_append_only(env: &TestEnv) -> Self {
        Self::start_with(env, true, &[])
    }

    fn start_with(env: &TestEnv, append_only: bool, args: &[&str]) -> Self {
        let args: Vec<String> = args.iter().map(ToString::to_string).collect();
        let folder = env.fresh_path("redis");
        fs::create_dir(&folder).unwrap();
        for _ in 0..20 {
            let addr = free_addr();
            let child = spawn(addr, &folder, append_only, &args);
            let (folder, args) = (folder.clone(), args.clone());
            let mut server = Self { child, addr, folder, append_only, args };
            if server.wait_until_ready() {
                return server;
            }
        }
        panic!("redis-server does not start; its log is {}", folder.join("redis.log").display());
    }

    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    pub fn url(&self) -> String {
        format!("redis://{}", self.addr)
    }

    /// One command; an error answer panics.
    pub fn cmd<const N: usize>(&self, words: [&str; N]) -> Reply {
        self.run(&words)
    }

    /// The same for a list of words.
    pub fn run(&self, words: &[&str]) -> Reply {
        match resp::command(self.addr, words) {
            Ok(Reply::Error(error)) => panic!("{words:?}: {error}"),
            Ok(reply) => reply,
            Err(error) => panic!("{words:?}: {error}"),
        }
    }

    /// The texts of a list answer, sorted.
    pub fn texts<const N: usize>(&self, words: [&str; N]) -> Vec<String> {
        self.cmd(words).texts()
    }

    /// The ids in a room's stream, oldest first.
    pub fn stream_ids(&self, room: &str) -> Vec<String> {
        let entries = self.cmd(["XRANGE", &format!("room:{room}:messages"), "-", "+"]);
        entries.list().iter().map(|entry| entry.list()[0].text().to_owned()).collect()
    }

    /// Number of scripts that it has run.
    pub fn scripts_run(&self) -> u64 {
        self.calls("evalsha")
    }

    /// Number of calls of a command, by scripts too.
    pub fn calls(&self, command: &str) -> u64 {
        let info = self.cmd(["INFO", "commandstats"]).text().to_owned();
        let named = |line: &&str| line.starts_with(&format!("cmdstat_{command}:"));
        let calls = info.lines().find(named).and_then(|line| line.split(['=', ',']).nth(1));
        calls.map_or(0, |calls| calls.parse().unwrap())
    }

    pub fn subscribe(&self, channel: &str) -> Subscription {
        Subscription::open(self.addr, channel)
    }

    /// Stops answering but keeps every connection (SIGSTOP).
    pub fn freeze(&self) {
        signal(self.child.id(), Signal::SIGSTOP);
    }

    /// Continues after [`freeze`](Self::freeze).
    pub fn thaw(&self) {
        signal(self.child.id(), Signal::SIGCONT);
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts again on the same port, with the contents of the append-only file (without one:
    /// empty).
    pub fn restart(&mut self) {
        self.child = spawn(self.addr, &self.folder, self.append_only, &self.args);
        assert!(self.wait_until_ready(), "redis-server does not start again");
    }

    /// Whether it answers before its process ends.
    fn wait_until_ready(&mut self) -> bool {
        let start = Instant::now();
        while start.elapsed() < DEADLINE {
            if self.child.try_wait().unwrap().is_some() {
                return false;
            }
            match resp::command(self.addr, &["PING"]) {
                Ok(Reply::Text(pong)) if pong == "PONG" => return true,
                _ => std::thread::sleep(Duration::from_millis(5)),
            }
        }
        false
    }

    /// The contents of every key, one line each.
    pub fn everything(&self) -> String {
        self.describe().unwrap()
    }

    /// Writes the contents of every key to the test's folder.
    fn dump(&self) -> std::io::Result<()> {
        fs::write(self.folder.join("keys.txt"), self.describe()?)
    }

    fn describe(&self) -> std::io::Result<String> {
        let mut lines = String::new();
        for key in resp::command(self.addr, &["KEYS", "*"])?.texts() {
            let kind = resp::command(self.addr, &["TYPE", &key])?;
            let ttl = resp::command(self.addr, &["PTTL", &key])?.int();
            let value = match kind.text() {
                "string" => resp::command(self.addr, &["GET", &key])?,
                "hash" => resp::command(self.addr, &["HGETALL", &key])?,
                "set" => resp::command(self.addr, &["SMEMBERS", &key])?,
                "zset" => resp::command(self.addr, &["ZRANGE", &key, "0", "-1", "WITHSCORES"])?,
                _ => resp::command(self.addr, &["XRANGE", &key, "-", "+"])?,
            };
            lines += &format!("{key} ({}, {ttl} ms left): {value:?}\n", kind.text());
        }
        Ok(lines)
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.thaw();
        // A replica in a cluster shows nobody its keys.
        let shows = self.args.is_empty();
        if std::thread::panicking() && shows && self.dump().is_err() {
            eprintln!("Redis is away, so its keys are not dumped");
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A free address.
pub fn free_addr() -> SocketAddr {
    loop {
        let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, rand::rng().random_range(PORTS)));
        if TcpListener::bind(addr).is_ok() {
            return addr;
        }
    }
}

fn spawn(addr: SocketAddr, folder: &std::path::Path, append_only: bool, args: &[String]) -> Child {
    guarded("redis-server")
        .args(["--bind", "127.0.0.1", "--save", "", "--daemonize", "no"])
        .args(["--port", &addr.port().to_string()])
        .args(["--appendonly", if append_only { "yes" } else { "no" }])
        // An acknowledged write is on disk, however busy the disk is.
        .args(["--appendfsync", "always"])
        .arg("--dir")
        .arg(folder)
        .arg("--logfile")
        .arg(folder.join("redis.log"))
        .args(args)
        .spawn()
        .expect("redis-server starts")
}
