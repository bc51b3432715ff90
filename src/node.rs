//! One node from start to end: creates its parts, serves, and shuts down gracefully.

use std::{sync::Arc, time::Duration};

use tokio::{net::TcpListener, sync::Semaphore, time::timeout};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::{
    app::{App, ENDS_AT_ONCE, Shared},
    background::Background,
    fanout::Fanout,
    heartbeat::Heartbeat,
    http,
    jwt::Verifier,
    limits::Limits,
    metrics::{self, Metrics},
    push::Push,
    redis::{Condition, Redis, scripts::Scripts},
    registry::Registry,
    room::Rooms,
    server,
    settings::Settings,
    slots::Slots,
    webhooks,
};

/// How long requests to a new node wait for Redis. Not every load balancer checks `/readyz`.
const FIRST_ANSWER: Duration = Duration::from_secs(1);
/// Percentage of the drain time over which sockets are told to close.
const SPREAD_PERCENT: u32 = 70;
/// Percentage of the drain time after which the node no longer waits for sockets.
const SOCKETS_PERCENT: u32 = 90;
/// How long the last requests, and then background work, may take to end.
const LAST_WORK: Duration = Duration::from_secs(2);

/// Why a node shuts down, which decides how.
#[derive(Debug)]
pub enum Leave {
    /// With the drain time of the settings: SIGTERM.
    Graceful,
    /// At once, because somebody waits at the terminal: SIGINT.
    Immediate,
    /// Gracefully, because the node cannot serve any more.
    Failed(anyhow::Error),
}

/// One node, ready to serve.
pub struct Node {
    app: App,
    background: Background,
}

impl Node {
    /// Creates the parts of a node and starts to connect to Redis.
    ///
    /// # Errors
    /// The Redis URL is invalid.
    pub fn new(settings: Settings, metrics: Arc<Metrics>) -> anyhow::Result<Self> {
        let background = Background::new();
        Ok(Self { app: build(settings, metrics, &background)?, background })
    }

    /// Serves on `listener`, with this many sockets for clients, until `leave` resolves and the
    /// shutdown is complete.
    ///
    /// # Errors
    /// This Redis cannot serve, or a vital task ended.
    pub async fn run(
        self,
        listener: TcpListener,
        sockets: usize,
        leave: impl Future<Output = Leave>,
    ) -> anyhow::Result<()> {
        let Self { app, background } = self;
        let (closed, served) = (CancellationToken::new(), CancellationToken::new());
        let router = http::router(app.clone());
        let slots = Slots::new(sockets);
        let server = server::serve(listener, slots, router, app.clone(), closed.clone());
        let guard = served.clone().drop_guard();
        let mut conditions = app.redis.conditions();
        background.spawn_vital("the listener", async move {
            let _ = timeout(FIRST_ANSWER, conditions.wait_for(Condition::is_up)).await;
            server.await;
            drop(guard);
        });
        let how = tokio::select! {
            how = leave => how,
            error = cannot_serve(&app.redis) => return Err(error),
            lost = background.lost() => Leave::Failed(lost.into()),
        };
        info!(connections = app.metrics.connections.get(), "shutting down");
        let leaving = async {
            let sockets = app.settings.drain_timeout * SOCKETS_PERCENT / 100;
            let drained = timeout(sockets, drain(&app, &how)).await;
            closed.cancel();
            let answered = timeout(LAST_WORK, served.cancelled()).await;
            app.stop.cancel();
            app.tasks.close();
            let ended = timeout(LAST_WORK, app.tasks.wait()).await;
            app.redis.quit().await;
            drained.is_ok() && answered.is_ok() && ended.is_ok()
        };
        match timeout(app.settings.drain_timeout, leaving).await {
            Ok(true) => info!("shut down"),
            _ => warn!("shut down before everything had ended"),
        }
        match how {
            Leave::Failed(error) => Err(error),
            Leave::Graceful | Leave::Immediate => Ok(()),
        }
    }
}

/// Waits until it is known that this Redis cannot serve.
async fn cannot_serve(redis: &Redis) -> anyhow::Error {
    match redis.check().await {
        Ok(()) => std::future::pending().await,
        Err(error) => error,
    }
}

pub(crate) fn build(
    settings: Settings,
    metrics: Arc<Metrics>,
    background: &Background,
) -> anyhow::Result<App> {
    let settings = Arc::new(settings);
    let node = nanoid::nanoid!(8);
    let stop = background.stop.clone();
    let watch = metrics::watch_event_loop(metrics.clone(), stop.clone());
    background.spawn_vital("the watch over the event loop", watch);
    let redis = Redis::start(settings.redis_url(), &node, &settings, metrics.clone(), background)?;
    let scripts = Scripts::new(redis.clone(), settings.clone());
    let fanout =
        Fanout::start(redis.clone(), scripts.clone(), &settings, metrics.clone(), background);
    let heartbeat = Heartbeat::new(fanout.clone(), scripts.clone(), settings.clone(), background);
    heartbeat.start(background);
    let push = Push::new(&scripts, &settings);
    webhooks::start(
        redis.clone(),
        scripts.clone(),
        push.clone(),
        settings.clone(),
        metrics.clone(),
        background,
    )?;
    let jwt = Verifier::new(&settings, metrics.clone(), background);
    let registry = Arc::new(Registry::new(node, metrics.clone()));
    let silent = registry.clone().close_silent(settings.idle_timeout, stop.clone());
    background.spawn_vital("the look for silent connections", silent);
    let stalled = registry.clone().cut_off_stalled(settings.stall_timeout, stop.clone());
    background.spawn_vital("the look for connections that read nothing", stalled);
    let shared = Shared {
        rooms: Rooms::new(scripts, settings.clone(), jwt),
        limits: Arc::new(Limits::new(&settings)),
        drain: CancellationToken::new(),
        settings,
        redis,
        push,
        fanout,
        heartbeat,
        registry,
        metrics,
        stop,
        tasks: background.tasks.clone(),
        ends: Arc::new(Semaphore::new(ENDS_AT_ONCE)),
    };
    Ok(shared.into())
}

/// Not ready, no new connections; then every socket is closed.
async fn drain(app: &App, how: &Leave) {
    app.drain.cancel();
    let spread = match how {
        Leave::Graceful | Leave::Failed(_) => app.settings.drain_timeout * SPREAD_PERCENT / 100,
        Leave::Immediate => Duration::ZERO,
    };
    app.registry.close_all(spread).await;
    app.registry.emptied().await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_node_leaves_when_something_ends_that_it_cannot_do_without() {
        let words = ["linkroom", "--redis-url=redis://127.0.0.1:1", "--redis-timeout=100ms"];
        let settings = Settings::read(words.map(Into::into)).unwrap();
        let node = Node::new(settings, Arc::new(Metrics::new())).unwrap();
        node.background.spawn_vital("the wheel", async {});
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let error = node.run(listener, 10, std::future::pending()).await.unwrap_err();
        assert_eq!(error.to_string(), "the wheel ended, and the node cannot do without it");
    }
}
