//! Reads the settings, starts the logs and, if none runs, a Redis; then runs one node.

use std::{
    io::{self, Write},
    net::SocketAddr,
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use anyhow::Context;
use linkroom::{
    bench, files, health,
    log_writer::LogWriter,
    metrics::Metrics,
    node::{Leave, Node},
    redis::child::{self, OwnRedis},
    settings::{Refusal, Settings},
    telemetry, webhooks,
    webpush::{self, VapidKey},
};
use tokio::{
    net::{TcpListener, TcpSocket},
    runtime::{Builder, Runtime},
    signal::unix::{SignalKind, signal},
};
use tracing::{info, warn};

/// glibc's allocator takes a quarter of the CPU time at high message rates, and keeps the memory of
/// a burst. Without huge pages, because they double the memory of idle connections.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How long writing the last log lines may take.
const LAST_LINES: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    let metrics = Arc::new(Metrics::new());
    match LogWriter::to(io::stderr(), metrics.log_lines_lost.clone()) {
        Ok(lines) => {
            let status = start(&lines, metrics);
            lines.flush(LAST_LINES);
            status
        }
        // Nothing is left to report it to.
        Err(_) => ExitCode::FAILURE,
    }
}

fn start(lines: &LogWriter, metrics: Arc<Metrics>) -> ExitCode {
    let refuse = |line: &str| {
        lines.say(format!("{line}\n").as_bytes());
        ExitCode::FAILURE
    };
    let mut args = std::env::args_os();
    match args.nth(1) {
        Some(first) if first == child::ARGUMENT => {
            return refuse(&format!("error: {:#}", child::become_redis_server(args)));
        }
        Some(first) if first == bench::ARGUMENT => return bench::main(args),
        Some(first) if first == health::ARGUMENT => return health::main(args),
        Some(first) if first == webhooks::command::ARGUMENT => {
            return webhooks::command::main(args);
        }
        Some(first) if first == webpush::ARGUMENT => {
            return print(&format!("VAPID_PRIVATE_KEY={}", VapidKey::generate().private()), refuse);
        }
        _ => {}
    }
    let settings = match Settings::read(std::env::args_os()) {
        Ok(settings) => settings,
        Err(Refusal::Wanted(text)) => return print(&text, refuse),
        Err(Refusal::Bad(line)) => return refuse(&line),
    };
    match run(settings, lines.clone(), metrics) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => refuse(&format!("error: {error:#}")),
    }
}

fn print(text: &str, refuse: impl Fn(&str) -> ExitCode) -> ExitCode {
    match writeln!(io::stdout(), "{text}") {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => refuse(&format!("error: standard output: {error}")),
    }
}

fn run(settings: Settings, lines: LogWriter, metrics: Arc<Metrics>) -> anyhow::Result<()> {
    runtime(settings.worker_threads())?.block_on(serve(settings, lines, metrics))
}

/// Events of sockets that are taken from the system at once. Of a herd's thousands of sockets, so many wake a task each
/// before what is ready runs.
const EVENTS_AT_ONCE: usize = 64;

/// The tokio runtime. With one thread, the current-thread scheduler needs no queues between threads
/// and runs tasks in the order in which they woke.
fn runtime(threads: usize) -> std::io::Result<Runtime> {
    let mut builder = match threads {
        1 => Builder::new_current_thread(),
        _ => Builder::new_multi_thread(),
    };
    builder.worker_threads(threads).max_io_events_per_tick(EVENTS_AT_ONCE).enable_all().build()
}

async fn serve(settings: Settings, lines: LogWriter, metrics: Arc<Metrics>) -> anyhow::Result<()> {
    telemetry::init(&settings, lines)?;
    if let Err(error) = files::raise_limit() {
        warn!(%error, "cannot raise the limit of open files");
    }
    let sockets = files::for_clients()?;
    let address = settings.listen_addr;
    let listener =
        listen(address).with_context(|| format!("LISTEN_ADDR {address} cannot be listened on"))?;
    let mut redis = own_redis(&settings).await?;
    let node = Node::new(settings, metrics.clone())?;
    let told = shutdown_signal()?;
    let open = format!("linkroom: open http://{}\n", listener.local_addr()?);
    LogWriter::to(io::stdout(), metrics.log_lines_lost.clone())?.say(open.as_bytes());
    let leave = async {
        tokio::select! {
            how = told => how,
            error = lost(&mut redis) => Leave::Failed(error),
        }
    };
    let served = node.run(listener, sockets, leave).await;
    if let Some(redis) = redis {
        redis.stop().await;
    }
    served
}

/// Waits until the node's own Redis cannot be restarted any more.
async fn lost(redis: &mut Option<OwnRedis>) -> anyhow::Error {
    match redis {
        Some(redis) => redis.keep().await,
        None => std::future::pending().await,
    }
}

/// Listens with a queue that is long enough for the clients of a lost node, which reconnect at
/// once. A client that does not fit retries a second later.
fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    /// The system lowers it to its own maximum; that of Linux is 4096.
    const QUEUE: u32 = 8192;
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(QUEUE)
}

/// Without `REDIS_URL`: uses the Redis that listens on this machine, or starts one.
async fn own_redis(settings: &Settings) -> anyhow::Result<Option<OwnRedis>> {
    if settings.redis_url.is_some() {
        return Ok(None);
    }
    if child::something_listens().await {
        info!("no REDIS_URL: using the redis on 127.0.0.1:6379");
        return Ok(None);
    }
    OwnRedis::start(&settings.data_dir).await.map(Some)
}

/// Waits for SIGTERM or SIGINT.
fn shutdown_signal() -> anyhow::Result<impl Future<Output = Leave>> {
    let mut politely = signal(SignalKind::terminate())?;
    let mut quickly = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = politely.recv() => Leave::Graceful,
            _ = quickly.recv() => Leave::Immediate,
        }
    })
}
