//! The servers that are measured, each in its own process, and the system's figures about them.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use tempfile::TempDir;

use crate::wire;

/// Maximum time until a server listens.
const PATIENCE: Duration = Duration::from_secs(10);

/// Limits that a load would run into; what is measured is the work, not the refusals.
const NO_LIMITS: [(&str, &str); 10] = [
    ("ROOMS_PER_MINUTE", "1000000"),
    ("ROOM_MAX_MEMBERS", "100000"),
    ("MESSAGES_PER_SECOND", "1000000"),
    ("FRAMES_PER_SECOND", "1000000"),
    ("REQUESTS_PER_SECOND", "1000000"),
    ("CONNECTIONS_PER_IP", "100000"),
    ("SOCKETS_PER_IP", "100000"),
    ("STORED_BYTES_PER_DAY", "1000000000000000"),
    ("OUTBOX_FRAMES", "65536"),
    ("OUTBOX_BYTES", "67108864"),
];

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One write for each message and recipient.
    Floor,
    /// One write per recipient for everything that is ready.
    FloorPlus,
    /// Only linkroom's libraries, with a Redis of its own.
    #[cfg(feature = "bare")]
    Bare,
    /// linkroom with a Redis of its own.
    Linkroom,
}

impl Kind {
    /// All of them, in the order of the tables.
    pub const ALL: &[Kind] = &[
        Kind::Floor,
        Kind::FloorPlus,
        #[cfg(feature = "bare")]
        Kind::Bare,
        Kind::Linkroom,
    ];

    /// Its name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Floor => "floor",
            Kind::FloorPlus => "floor+",
            #[cfg(feature = "bare")]
            Kind::Bare => "bare",
            Kind::Linkroom => "linkroom",
        }
    }

    /// Whether it is one of the floor's modes.
    fn is_floor(self) -> bool {
        matches!(self, Kind::Floor | Kind::FloorPlus)
    }

    /// Whether it stores rooms; the others only relay messages.
    pub fn keeps_rooms(self) -> bool {
        self == Kind::Linkroom
    }
}

/// A server under measurement; it ends with this value.
pub struct Server {
    /// What it is.
    pub kind: Kind,
    /// Where it listens.
    pub address: SocketAddr,
    process: Process,
    redis: Option<Redis>,
}

/// A private Redis without persistence.
pub struct Redis {
    /// Where it listens.
    pub port: u16,
    process: Process,
    _folder: TempDir,
}

/// CPU time used so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cpu {
    /// by the server
    pub server: Duration,
    /// by its Redis
    pub redis: Duration,
}

impl Server {
    /// Starts a server. `linkroom` is the program to measure.
    ///
    /// # Errors
    /// It does not start.
    pub fn start(kind: Kind, linkroom: &Path) -> anyhow::Result<Self> {
        Self::start_with(kind, linkroom, &[])
    }

    /// Starts a server with settings of its own.
    ///
    /// # Errors
    /// It does not start.
    pub fn start_with(
        kind: Kind,
        linkroom: &Path,
        settings: &[(&str, &str)],
    ) -> anyhow::Result<Self> {
        let redis = if kind.is_floor() { None } else { Some(Redis::start()?) };
        let mut command = if kind.keeps_rooms() {
            let mut command = Command::new(linkroom);
            command.envs(NO_LIMITS).env("LISTEN_ADDR", "127.0.0.1:0").env("LOG_LEVEL", "warn");
            command.envs(settings.iter().copied());
            command
        } else {
            let mut command = Command::new(std::env::current_exe()?);
            command.arg(kind.name());
            command
        };
        if let Some(redis) = &redis {
            command.env("REDIS_URL", format!("redis://127.0.0.1:{}", redis.port));
        }
        let mut process = Process::start(command.stdout(Stdio::piped()))?;
        let address = process.announced_address()?;
        let server = Self { kind, address, process, redis };
        server.until_ready()?;
        Ok(server)
    }

    /// The id of a new room.
    ///
    /// # Errors
    /// The server does not create one.
    pub fn make_room(&self) -> anyhow::Result<String> {
        /// Servers that do not store rooms use only their names.
        static NAMED_ROOMS: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        if !self.kind.keeps_rooms() {
            let number = NAMED_ROOMS.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            return Ok(format!("room{number:08}"));
        }
        let answer = self.request("POST /api/rooms", r#"{"creatorName":"creator"}"#)?;
        let id = wire::string_after(&answer, r#""roomId":""#).context("no room")?.0;
        Ok(String::from_utf8(id.to_vec())?)
    }

    /// CPU time used so far.
    ///
    /// # Errors
    /// A process is gone.
    pub fn cpu(&self) -> anyhow::Result<Cpu> {
        let redis = self.redis.as_ref().map_or(Ok(Duration::ZERO), |redis| redis.process.cpu())?;
        Ok(Cpu { server: self.process.cpu()?, redis })
    }

    /// Resident memory of the server without its Redis, KiB.
    ///
    /// # Errors
    /// The process is gone.
    pub fn resident_kib(&self) -> anyhow::Result<f64> {
        let rollup = fs::read_to_string(self.process.folder().join("smaps_rollup"))?;
        let line = rollup.lines().find(|line| line.starts_with("Rss:")).context("no Rss")?;
        Ok(line.split_whitespace().nth(1).context("no number")?.parse()?)
    }

    /// Its Redis, if it has one.
    pub fn redis(&self) -> Option<&Redis> {
        self.redis.as_ref()
    }

    fn until_ready(&self) -> anyhow::Result<()> {
        let begun = Instant::now();
        while self.kind.keeps_rooms()
            && !self.request("GET /readyz", "")?.starts_with(b"HTTP/1.1 200")
        {
            if begun.elapsed() > PATIENCE {
                bail!("linkroom does not become ready");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Sends an HTTP request; returns the whole answer, head included.
    ///
    /// # Errors
    /// The connection fails.
    pub fn request(&self, what: &str, body: &str) -> anyhow::Result<Vec<u8>> {
        let mut stream = TcpStream::connect(self.address)?;
        write!(
            stream,
            "{what} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            self.address,
            body.len()
        )?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        Ok(answer)
    }
}

impl Redis {
    /// Starts a Redis on a free port.
    ///
    /// # Errors
    /// It does not start.
    pub fn start() -> anyhow::Result<Self> {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let folder = tempfile::tempdir()?;
        let mut command = Command::new("redis-server");
        command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", ""]);
        command.args(["--appendonly", "no", "--dir"]).arg(folder.path()).stdout(Stdio::null());
        let process = Process::start(&mut command).context("redis-server")?;
        let begun = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            if begun.elapsed() > PATIENCE {
                bail!("redis-server does not listen");
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(Self { port, process, _folder: folder })
    }
}

impl Redis {
    /// Bytes that it uses.
    ///
    /// # Errors
    /// Redis does not answer.
    pub fn used_memory(&self) -> anyhow::Result<f64> {
        let answer = self.ask("INFO memory")?;
        let line = answer.lines().find_map(|line| line.strip_prefix("used_memory:"));
        Ok(line.context("no used_memory")?.trim().parse()?)
    }

    fn ask(&self, command: &str) -> anyhow::Result<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
        write!(stream, "{command}\r\nQUIT\r\n")?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    }

    /// What Redis counted of every command since the last call.
    ///
    /// # Errors
    /// Redis does not answer.
    pub fn take_statistics(&self) -> anyhow::Result<String> {
        self.ask("INFO commandstats\r\nCONFIG RESETSTAT")
    }
}

impl Cpu {
    /// What was used since `earlier`.
    pub fn since(self, earlier: Cpu) -> Cpu {
        Cpu { server: self.server - earlier.server, redis: self.redis - earlier.redis }
    }
}

/// A child process that is killed when this is dropped.
struct Process(Child);

impl Process {
    fn start(command: &mut Command) -> anyhow::Result<Self> {
        let name = command.get_program().to_owned();
        Ok(Self(command.spawn().with_context(|| format!("{name:?} does not start"))?))
    }

    /// The address in the one line that a server prints when it listens.
    fn announced_address(&mut self) -> anyhow::Result<SocketAddr> {
        let output = self.0.stdout.take().context("no output")?;
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line)?;
        let address = line.trim().rsplit("//").next().unwrap_or_default();
        address.parse().with_context(|| format!("no address in {line:?}"))
    }

    fn folder(&self) -> PathBuf {
        Path::new("/proc").join(self.0.id().to_string())
    }

    /// CPU time of its threads in nanoseconds; /proc/PID/stat has only hundredths of a second.
    fn cpu(&self) -> anyhow::Result<Duration> {
        let mut nanos = 0;
        for thread in fs::read_dir(self.folder().join("task"))? {
            // The time of a thread that ends meanwhile is lost; a steady load has no such threads.
            let Ok(line) = fs::read_to_string(thread?.path().join("schedstat")) else { continue };
            let used = line.split_whitespace().next().context("no schedstat")?;
            nanos += used.parse::<u64>()?;
        }
        Ok(Duration::from_nanos(nanos))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
