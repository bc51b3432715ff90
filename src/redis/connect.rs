//! How a client of Redis is set up.

use std::time::Duration;

use fred::{
    clients::Client,
    interfaces::ClientLike,
    types::ConnectHandle,
    types::config::{
        Config, ConnectionConfig, PerformanceConfig, ReconnectPolicy, TcpConfig, UnresponsiveConfig,
    },
};
use tokio_util::sync::CancellationToken;
use tracing::error;

use crate::{background::Background, error::said};

/// Between two attempts to connect, give or take the jitter.
const RECONNECT_DELAY_MS: u32 = 100;
const RECONNECT_JITTER_MS: u32 = 50;
/// Commands that may wait for a connection. Beyond it they fail at once.
const COMMAND_BUFFER: usize = 20_000;
/// A connection on which nothing came back for so many command timeouts is closed.
const UNRESPONSIVE_TIMEOUTS: u32 = 2;

/// fred's defaults are unbounded and patient: every limit is set here.
///
/// fred writes each script by itself, however many are waiting. Without `nodelay` the system gathers
/// (RFC 896) what is written until Redis has answered what is under way, which every command is: one
/// alone goes out at once, and many go out together, a round trip later at most.
pub(super) fn connect(
    config: Config,
    timeout: Duration,
    events: usize,
    nodelay: bool,
    background: &Background,
) -> Client {
    let performance = PerformanceConfig {
        default_command_timeout: timeout,
        broadcast_channel_capacity: events,
        ..Default::default()
    };
    let connection = ConnectionConfig {
        connection_timeout: timeout,
        internal_command_timeout: timeout,
        // A script that was under way when the connection broke must not run a second time.
        max_command_attempts: 1,
        max_command_buffer_len: COMMAND_BUFFER,
        unresponsive: UnresponsiveConfig {
            max_timeout: Some(timeout * UNRESPONSIVE_TIMEOUTS),
            interval: timeout / 2,
        },
        tcp: TcpConfig { nodelay: Some(nodelay), ..Default::default() },
        ..Default::default()
    };
    let policy = ReconnectPolicy::Constant {
        attempts: 0,
        max_attempts: 0,
        delay: RECONNECT_DELAY_MS,
        jitter: RECONNECT_JITTER_MS,
    };
    let client = Client::new(config, Some(performance), Some(connection), Some(policy));
    let ended = ended(client.connect(), background.stop.clone());
    background.spawn_vital("a client of Redis", ended);
    client
}

/// Waits until a client tries no more, which it does of itself where it takes its settings for wrong.
async fn ended(connecting: ConnectHandle, stop: CancellationToken) {
    tokio::select! {
        () = stop.cancelled() => {}
        ended = connecting => if let Ok(Err(error)) = ended {
            error!(error = said(&error), "a client of redis gave up");
        }
    }
}
