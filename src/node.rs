//! One node from start to end: puts the parts together, serves, and leaves politely.

use std::{sync::Arc, time::Duration};

use anyhow::Context;
use tokio::{net::TcpListener, time::timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{info, warn};

use crate::{
    app::{App, Shared},
    fanout::Fanout,
    heartbeat::Heartbeat,
    http,
    limits::Limits,
    metrics::{self, Metrics},
    redis::{Redis, scripts::Scripts},
    registry::Registry,
    room::Rooms,
    server,
    settings::Settings,
};

/// The Redis that is used where no other is named.
const DEFAULT_REDIS_URL: &str = "redis://127.0.0.1:6379";
/// The part of the drain time over which sockets are told to close.
const SPREAD_PERCENT: u32 = 70;
/// The part of the drain time after which sockets are no longer waited for.
const SOCKETS_PERCENT: u32 = 90;
/// How long background work may take to end.
const LAST_WORK: Duration = Duration::from_secs(1);

/// How a node is told to leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leave {
    /// With the drain time of the settings: SIGTERM.
    Politely,
    /// At once, as somebody waits at the keyboard: SIGINT.
    Quickly,
}

/// One node, ready to serve.
pub struct Node {
    app: App,
}

impl Node {
    /// Puts a node together and begins to connect to Redis.
    ///
    /// # Errors
    /// The Redis URL is none.
    pub fn new(settings: Settings) -> anyhow::Result<Self> {
        Ok(Self { app: build(settings)? })
    }

    /// Serves on `listener` until `leave` resolves and everything is put away.
    ///
    /// # Errors
    /// The Redis that was found cannot serve.
    pub async fn run(
        self,
        listener: TcpListener,
        leave: impl Future<Output = Leave>,
    ) -> anyhow::Result<()> {
        let app = self.app;
        let closed = CancellationToken::new();
        let server = tokio::spawn(server::serve(
            listener,
            http::router(app.clone()),
            app.clone(),
            closed.clone(),
        ));
        let redis = app.redis.clone();
        let checked = async move {
            match redis.check().await {
                Ok(()) => std::future::pending().await,
                Err(error) => error,
            }
        };
        let how = tokio::select! {
            how = leave => how,
            error = checked => return Err(error),
        };
        info!(connections = app.metrics.connections.get(), "leaving");
        let leaving = async {
            let sockets = app.settings.drain_timeout * SOCKETS_PERCENT / 100;
            let drained = timeout(sockets, drain(&app, how)).await;
            closed.cancel();
            let answered = timeout(LAST_WORK, server).await;
            app.stop.cancel();
            app.tasks.close();
            let ended = timeout(LAST_WORK, app.tasks.wait()).await;
            app.redis.quit().await;
            drained.is_ok() && answered.is_ok() && ended.is_ok()
        };
        match timeout(app.settings.drain_timeout, leaving).await {
            Ok(true) => info!("left"),
            _ => warn!("left before everything had ended"),
        }
        Ok(())
    }
}

fn build(settings: Settings) -> anyhow::Result<App> {
    let settings = Arc::new(settings);
    let metrics = Arc::new(Metrics::new());
    let node = nanoid::nanoid!(8);
    let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
    tasks.spawn(metrics::watch_event_loop(metrics.clone(), stop.clone()));
    let url = settings.redis_url.as_deref().unwrap_or(DEFAULT_REDIS_URL);
    let redis = Redis::start(url, &node, &settings, metrics.clone(), &tasks, &stop)
        .context("REDIS_URL is not the address of a Redis")?;
    let scripts = Scripts::new(redis.clone(), settings.clone());
    let fanout = Fanout::start(
        redis.clone(),
        scripts.clone(),
        &settings,
        metrics.clone(),
        tasks.clone(),
        stop.clone(),
    );
    let heartbeat = Heartbeat::new(fanout.clone(), scripts.clone(), settings.clone());
    heartbeat.start(&redis, &tasks, stop.clone());
    let registry = Arc::new(Registry::new(node, metrics.clone()));
    tasks.spawn(registry.clone().close_silent(settings.idle_timeout, stop.clone()));
    let shared = Shared {
        rooms: Rooms::new(scripts, settings.clone()),
        limits: Arc::new(Limits::new(&settings)),
        drain: CancellationToken::new(),
        settings,
        redis,
        fanout,
        heartbeat,
        registry,
        metrics,
        stop,
        tasks,
    };
    Ok(shared.into())
}

/// Not ready, no new connections, then every socket closed in its turn.
async fn drain(app: &App, how: Leave) {
    app.drain.cancel();
    let spread = match how {
        Leave::Politely => app.settings.drain_timeout * SPREAD_PERCENT / 100,
        Leave::Quickly => Duration::ZERO,
    };
    app.registry.close_all(spread).await;
    app.registry.emptied().await;
}
