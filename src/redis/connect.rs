//! Sets up clients of Redis.

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

use crate::{background::Background, error::redacted};

/// Wait between two attempts to connect, without the jitter.
const RECONNECT_DELAY_MS: u32 = 100;
const RECONNECT_JITTER_MS: u32 = 50;
/// Maximum number of commands that wait for a connection. Further ones fail at once.
const COMMAND_BUFFER: usize = 20_000;
/// A connection without any answer for this many command timeouts is closed.
const UNRESPONSIVE_TIMEOUTS: u32 = 2;

/// Creates a client. fred's defaults have no limits and long timeouts, so every limit is set here.
///
/// fred writes each script separately, however many are waiting. Without `nodelay` the system
/// collects writes until Redis has answered the previous ones (RFC 896): a single script is sent at
/// once, and many are sent together, at most a round trip later.
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
        // A script that was in progress when the connection broke must not run twice.
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

/// Waits until a client stops reconnecting; it does so if it considers its configuration wrong.
async fn ended(connecting: ConnectHandle, stop: CancellationToken) {
    tokio::select! {
        () = stop.cancelled() => {}
        ended = connecting => if let Ok(Err(error)) = ended {
            error!(error = redacted(&error), "the redis client stopped reconnecting");
        }
    }
}
