//! The node's own redis-server, for a machine on which none runs: it is started if the default
//! address is free, with an append-only file, and stopped together with the node.
//!
//! It must not outlive the node, even if the node is killed. Only the kernel can do that (the
//! parent-death signal), and the child itself has to request it before redis-server runs. So the
//! child is this program again, with a first argument that leads to [`become_redis_server`], which
//! requests the signal and then executes redis-server.

use std::{
    env,
    ffi::{OsStr, OsString},
    fmt, io,
    os::unix::process::{CommandExt, parent_id},
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context, anyhow, bail, ensure};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    process::{Child, Command},
    time::{sleep, timeout},
};

/// The first argument that makes this program a redis-server.
pub const ARGUMENT: &str = "__redis-server";

const SERVER: &str = "redis-server";
const HOST: &str = "127.0.0.1";
const PORT: u16 = 6379;
const LOG_FILE: &str = "redis-server.log";
/// How long the start may take; loading a large append-only file is slow.
const START_TIMEOUT: Duration = Duration::from_secs(60);
const STOP_TIMEOUT: Duration = Duration::from_secs(10);
/// An exit after this time does not count as a failed start.
const STEADY: Duration = Duration::from_secs(60);
/// Maximum number of failed starts in a row.
const STARTS_IN_A_ROW: u32 = 5;
const BETWEEN_PINGS: Duration = Duration::from_millis(50);
const PING_TIMEOUT: Duration = Duration::from_secs(1);

/// Whether something listens at the child's address.
pub async fn something_listens() -> bool {
    let connected = timeout(PING_TIMEOUT, TcpStream::connect((HOST, PORT))).await;
    matches!(connected, Ok(Ok(_)))
}

/// The node's own redis-server.
pub struct OwnRedis {
    child: Child,
    server: PathBuf,
    folder: PathBuf,
}

impl OwnRedis {
    /// Starts it and waits until it serves.
    ///
    /// Must be called on the main thread, like [`OwnRedis::keep`]: the parent-death signal is sent
    /// when the *thread* that started the child ends, and other threads of the runtime may end
    /// before the program does.
    ///
    /// # Errors
    /// redis-server is not installed, its folder cannot be created, or it does not start.
    pub async fn start(data_dir: &Path) -> anyhow::Result<Self> {
        let Some(server) = find_server(env::var_os("PATH").as_deref()) else {
            bail!(
                "nothing listens on {HOST}:{PORT}, and redis-server is not installed: install it \
                 (on Debian and Ubuntu: apt-get install redis-server) or set REDIS_URL"
            );
        };
        let folder = std::fs::create_dir_all(data_dir).and_then(|()| data_dir.canonicalize());
        let folder = folder.with_context(|| format!("cannot make {}", data_dir.display()))?;
        let mut redis = Self { child: spawn(&server, &folder)?, server, folder };
        redis.until_it_serves().await?;
        let data_dir = redis.folder.display();
        tracing::info!(%data_dir, "started a redis-server child on {HOST}:{PORT}");
        Ok(redis)
    }

    /// Restarts it whenever it ends. Returns the error when that keeps failing.
    pub async fn keep(&mut self) -> anyhow::Error {
        let mut in_a_row = 0;
        let mut started = Instant::now();
        loop {
            let ended = match self.child.wait().await {
                Ok(status) => status.to_string(),
                Err(error) => error.to_string(),
            };
            in_a_row = if started.elapsed() < STEADY { in_a_row + 1 } else { 1 };
            if in_a_row > STARTS_IN_A_ROW {
                return anyhow!("the redis-server child ends again and again ({ended}); {self}");
            }
            tracing::warn!(ended, "the redis-server child ended; starting it again");
            started = Instant::now();
            if let Err(error) = self.start_again().await {
                return error.context("the redis-server child ended and cannot be started again");
            }
        }
    }

    async fn start_again(&mut self) -> anyhow::Result<()> {
        self.child = spawn(&self.server, &self.folder)?;
        self.until_it_serves().await
    }

    async fn until_it_serves(&mut self) -> anyhow::Result<()> {
        match timeout(START_TIMEOUT, until_it_serves(&mut self.child)).await {
            Ok(served) => served.with_context(|| self.to_string()),
            Err(_) => bail!("redis-server does not answer; {self}"),
        }
    }

    /// Stops it and waits until its file is written.
    pub async fn stop(mut self) {
        let pid = self.child.id().and_then(|id| i32::try_from(id).ok());
        let asked = pid.is_some_and(|pid| kill(Pid::from_raw(pid), Signal::SIGTERM).is_ok());
        if asked && timeout(STOP_TIMEOUT, self.child.wait()).await.is_ok() {
            tracing::info!("stopped the redis-server child");
        } else if let Err(error) = self.child.kill().await {
            tracing::warn!(%error, "cannot stop the redis-server child");
        }
    }
}

/// Where its data and its log are.
impl fmt::Display for OwnRedis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "see {}", log_of(&self.folder).display())
    }
}

fn log_of(folder: &Path) -> PathBuf {
    folder.join(LOG_FILE)
}

/// The path of redis-server.
fn find_server(path: Option<&OsStr>) -> Option<PathBuf> {
    env::split_paths(path?).map(|folder| folder.join(SERVER)).find(|file| file.is_file())
}

fn spawn(server: &Path, folder: &Path) -> anyhow::Result<Child> {
    Command::new(env::current_exe()?)
        .arg(ARGUMENT)
        .arg(std::process::id().to_string())
        .arg(server)
        .args(["--bind", HOST, "--port", &PORT.to_string()])
        .args(["--appendonly", "yes", "--save", ""])
        .args([OsStr::new("--dir"), folder.as_os_str()])
        .args([OsStr::new("--logfile"), log_of(folder).as_os_str()])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        // Ctrl-C goes to the whole process group of the terminal, but the node needs the child
        // until its end.
        .process_group(0)
        .spawn()
        .context("redis-server cannot be started")
}

async fn until_it_serves(child: &mut Child) -> anyhow::Result<()> {
    loop {
        if let Some(status) = child.try_wait()? {
            bail!("redis-server stopped at once ({status})");
        }
        if matches!(timeout(PING_TIMEOUT, ping()).await, Ok(Ok(true))) {
            return Ok(());
        }
        sleep(BETWEEN_PINGS).await;
    }
}

/// Whether Redis serves, and is not still loading its file.
async fn ping() -> io::Result<bool> {
    const PONG: &[u8] = b"+PONG\r\n";
    let mut stream = TcpStream::connect((HOST, PORT)).await?;
    stream.write_all(b"PING\r\n").await?;
    let mut answer = [0; PONG.len()];
    stream.read_exact(&mut answer).await?;
    Ok(answer == PONG)
}

/// Executes redis-server in this process. `args`: the parent's process id, the server's path, and
/// the server's own arguments.
///
/// Returns only if that fails, with the reason.
pub fn become_redis_server(args: impl IntoIterator<Item = OsString>) -> anyhow::Error {
    match exec(args.into_iter()) {
        Ok(never) => match never {},
        Err(error) => error,
    }
}

fn exec(mut args: impl Iterator<Item = OsString>) -> anyhow::Result<std::convert::Infallible> {
    let parent = args.next().context("the parent's process id is missing")?;
    let server = args.next().context("the path of redis-server is missing")?;
    die_with_parent()?;
    // The parent may have died before the signal was requested.
    ensure!(parent == OsStr::new(&parent_id().to_string()), "the parent is gone");
    let error = std::process::Command::new(&server).args(args).exec();
    Err(error).with_context(|| format!("cannot run {}", Path::new(&server).display()))
}

#[cfg(target_os = "linux")]
fn die_with_parent() -> anyhow::Result<()> {
    nix::sys::prctl::set_pdeathsig(Signal::SIGTERM).context("no parent-death signal")
}

/// On other systems only the node stops the child, so the child outlives a killed node.
#[cfg(not(target_os = "linux"))]
fn die_with_parent() -> anyhow::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redis_server_is_looked_for_on_the_path() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(find_server(Some(folder.path().as_os_str())), None);
        std::fs::write(folder.path().join(SERVER), "").unwrap();
        let path = env::join_paths([Path::new("/nowhere"), folder.path()]).unwrap();
        assert_eq!(find_server(Some(&path)), Some(folder.path().join(SERVER)));
        assert_eq!(find_server(None), None);
    }
}
