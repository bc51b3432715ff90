//! Reads the settings, starts the logs and, where there is none, a Redis; then runs one node.

use std::{net::SocketAddr, process::ExitCode};

use anyhow::Context;
use linkroom::{
    bench, files,
    node::{Leave, Node},
    redis::child,
    settings::{Refusal, Settings},
    telemetry,
};
use tokio::{
    net::{TcpListener, TcpSocket},
    runtime::{Builder, Runtime},
    signal::unix::{SignalKind, signal},
};
use tracing::{info, warn};

/// glibc's allocator takes a quarter of the time where messages are many, and keeps what a burst
/// needed. Without huge pages, which double what quiet connections take.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let mut args = std::env::args_os();
    match args.nth(1) {
        Some(first) if first == child::ARGUMENT => {
            eprintln!("error: {:#}", child::become_redis_server(args));
            return ExitCode::FAILURE;
        }
        Some(first) if first == bench::ARGUMENT => return bench::main(args),
        _ => {}
    }
    let settings = match Settings::read(std::env::args_os()) {
        Ok(settings) => settings,
        Err(Refusal::Wanted(text)) => {
            println!("{text}");
            return ExitCode::SUCCESS;
        }
        Err(Refusal::Bad(line)) => return refuse(&line),
    };
    match run(settings) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => refuse(&format!("error: {error:#}")),
    }
}

fn refuse(line: &str) -> ExitCode {
    eprintln!("{line}");
    ExitCode::FAILURE
}

fn run(settings: Settings) -> anyhow::Result<()> {
    runtime(settings.worker_threads())?.block_on(serve(settings))
}

/// One thread needs no queues between threads, and serves tasks in the order in which they woke.
fn runtime(threads: usize) -> std::io::Result<Runtime> {
    let mut builder = match threads {
        1 => Builder::new_current_thread(),
        _ => Builder::new_multi_thread(),
    };
    builder.worker_threads(threads).enable_all().build()
}

async fn serve(settings: Settings) -> anyhow::Result<()> {
    telemetry::init(&settings)?;
    if let Err(error) = files::allow_many() {
        warn!(%error, "no more files may be open than before");
    }
    let address = settings.listen_addr;
    let listener =
        listen(address).with_context(|| format!("LISTEN_ADDR {address} cannot be listened on"))?;
    let redis = own_redis(&settings).await?;
    let node = Node::new(settings)?;
    let leave = told_to_leave()?;
    println!("linkroom: open http://{}", listener.local_addr()?);
    let served = node.run(listener, leave).await;
    if let Some(redis) = redis {
        child::stop(redis).await;
    }
    served
}

/// Listens with a queue for whoever comes back at once when a node was lost. What does not fit tries
/// again a second later.
fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    /// Systems take it down to what they allow; Linux allows 4096.
    const QUEUE: u32 = 8192;
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(QUEUE)
}

/// Where no Redis is named: the one that listens here already, else a child of our own.
async fn own_redis(settings: &Settings) -> anyhow::Result<Option<tokio::process::Child>> {
    if settings.redis_url.is_some() {
        return Ok(None);
    }
    if child::something_listens().await {
        info!("no REDIS_URL: using the redis on 127.0.0.1:6379");
        return Ok(None);
    }
    child::start(&settings.data_dir).await.map(Some)
}

/// Resolves at SIGTERM or SIGINT.
fn told_to_leave() -> anyhow::Result<impl Future<Output = Leave>> {
    let mut politely = signal(SignalKind::terminate())?;
    let mut quickly = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = politely.recv() => Leave::Politely,
            _ = quickly.recv() => Leave::Quickly,
        }
    })
}
