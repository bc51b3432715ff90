//! A connection to one Redis, whichever library makes it: fred where there is one Redis or a Sentinel, a [`Link`] for
//! each primary of a cluster.

use fred::{
    clients::Client,
    error::{Error as RedisError, ErrorKind},
    interfaces::{ClientLike, EventInterface, PubsubInterface},
    prelude::{FredResult, Value},
    types::{ClusterHash, CustomCommand, Message as Payload, config::Server, scripts::Script},
};
use tokio::sync::broadcast::{self, Receiver};

use super::link::Link;
use crate::boxed;

/// How Redis begins its answer to a script that it does not have.
pub(super) const NO_SCRIPT: &str = "NOSCRIPT";

/// A connection to one Redis, which is made again whenever it breaks.
pub(super) enum Connection {
    Fred(Client),
    Link(Link),
    /// To a Redis that nobody knows.
    Nowhere,
}

impl Connection {
    /// Runs a script once, and loads it first if Redis does not have it.
    ///
    /// # Errors
    /// Redis's own, or there is no connection.
    pub async fn evalsha(
        &self,
        script: &Script,
        keys: Vec<String>,
        args: Vec<Value>,
    ) -> FredResult<Vec<Value>> {
        match self {
            // Boxed: fred's future is large, and so would be every future that awaits it.
            Connection::Fred(client) => {
                boxed::in_place(|| script.evalsha_with_reload(client, keys, args)).await
            }
            Connection::Link(link) => {
                let count = keys.len().to_string();
                let args: Vec<_> = args.iter().filter_map(Value::as_bytes).collect();
                let mut words =
                    vec![b"EVALSHA".as_slice(), script.sha1().as_bytes(), count.as_bytes()];
                words.extend(keys.iter().map(|key| key.as_bytes()));
                words.extend(args);
                let mut answer = link.call(&words).await;
                if answer.as_ref().is_err_and(|error| error.details().starts_with(NO_SCRIPT)) {
                    let source = script.lua().map(ToString::to_string).unwrap_or_default();
                    link.call(&[b"SCRIPT", b"LOAD", source.as_bytes()]).await?;
                    answer = link.call(&words).await;
                }
                answer?.convert()
            }
            Connection::Nowhere => Err(nowhere()),
        }
    }

    /// Redis's clock: seconds and microseconds.
    ///
    /// # Errors
    /// Redis's own, or there is no connection.
    pub async fn time(&self) -> FredResult<(u64, u64)> {
        match self {
            Connection::Fred(client) => {
                let time = CustomCommand::new_static("TIME", ClusterHash::FirstKey, false);
                client.custom(time, Vec::<String>::new()).await
            }
            Connection::Link(link) => link.call(&[b"TIME"]).await?.convert(),
            Connection::Nowhere => Err(nowhere()),
        }
    }

    pub fn is_connected(&self) -> bool {
        match self {
            Connection::Fred(client) => client.is_connected(),
            Connection::Link(link) => link.is_connected(),
            Connection::Nowhere => false,
        }
    }

    /// Closes the connection; another one is made. A failure is ignored, because this is retried as long as Redis is
    /// away.
    pub async fn reconnect(&self) {
        match self {
            Connection::Fred(client) if client.is_connected() => {
                drop(client.force_reconnection().await);
            }
            Connection::Link(link) if link.is_connected() => link.reconnect(),
            _ => {}
        }
    }

    /// Closes the connection for good. It fails if it is already closed, which is fine.
    pub async fn quit(&self) {
        if let Connection::Fred(client) = self {
            drop(client.quit().await);
        }
    }

    /// Subscribes to channels, of one slot on a cluster, and has Redis confirm it.
    ///
    /// # Errors
    /// Redis's own, or there is no connection.
    pub async fn subscribe(&self, channels: Vec<String>) -> FredResult<()> {
        match self {
            Connection::Fred(client) => {
                client.subscribe(channels).await?;
                // The answer to a PING comes after the SUBSCRIBE took effect.
                client.ping::<()>(None).await
            }
            Connection::Link(link) => link.subscribe(&channels).await,
            Connection::Nowhere => Err(nowhere()),
        }
    }

    /// Ends the subscription to channels, of one slot on a cluster.
    ///
    /// # Errors
    /// As [`Connection::subscribe`].
    pub async fn unsubscribe(&self, channels: Vec<String>) -> FredResult<()> {
        match self {
            Connection::Fred(client) => client.unsubscribe(channels).await,
            Connection::Link(link) => link.unsubscribe(&channels).await,
            Connection::Nowhere => Err(nowhere()),
        }
    }

    /// What is published on the channels.
    pub fn payloads(&self) -> Receiver<Payload> {
        match self {
            Connection::Fred(client) => client.message_rx(),
            Connection::Link(link) => link.payloads(),
            Connection::Nowhere => closed(),
        }
    }

    /// Channels that Redis took away; `None` where it takes none.
    pub fn gone(&self) -> Option<Receiver<String>> {
        match self {
            Connection::Link(link) => Some(link.gone()),
            Connection::Fred(_) | Connection::Nowhere => None,
        }
    }

    /// Each connection that was made.
    pub fn reconnects(&self) -> Receiver<Server> {
        match self {
            Connection::Fred(client) => client.reconnect_rx(),
            Connection::Link(link) => link.reconnects(),
            Connection::Nowhere => closed(),
        }
    }

    /// Why connections failed or ended.
    pub fn errors(&self) -> Receiver<(RedisError, Option<Server>)> {
        match self {
            Connection::Fred(client) => client.error_rx(),
            Connection::Link(link) => link.errors(),
            Connection::Nowhere => closed(),
        }
    }
}

fn closed<T: Clone>() -> Receiver<T> {
    broadcast::channel(1).1
}

fn nowhere() -> RedisError {
    RedisError::new(ErrorKind::IO, "no node of the cluster serves this slot")
}
