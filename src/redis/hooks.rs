//! Reads which lists have events that are to be posted, as one of the consumers of their stream. Waiting for one
//! blocks the connection, so there is one for that alone.

use std::time::Duration;

use fred::{
    clients::Client,
    interfaces::ClientLike,
    prelude::{FredResult, Value},
    types::{ClusterHash, CustomCommand, config::Config},
};

use super::{EVENT_BUFFER, Redis, connect::connect, scripts::Ready};
use crate::{background::Background, settings::Settings};

/// How long Redis waits for a list before it answers that there is none.
const BLOCK: Duration = Duration::from_millis(500);
/// The name of the consumer group. The scripts know it too.
const GROUP: &str = "nodes";

/// The connection that waits. On a cluster there is none: the stream is in one slot, and rooms are in all of them.
pub(super) fn client(
    config: &Config,
    settings: &Settings,
    background: &Background,
) -> Option<Client> {
    let timeout = settings.redis_timeout + BLOCK;
    let connect = || connect(config.clone(), timeout, EVENT_BUFFER, true, background);
    (!config.server.is_clustered()).then(connect)
}

impl Redis {
    /// Waits a moment for lists whose next event is to be posted, and takes at most so many of them.
    ///
    /// # Errors
    /// Redis is out of reach. What was taken meanwhile is taken over later, like a dead node's.
    pub async fn take_ready(&self, most: usize) -> FredResult<Vec<Ready>> {
        let Some(client) = &self.0.hooks else { return Ok(Vec::new()) };
        let (block, count) = (BLOCK.as_millis().to_string(), most.to_string());
        let (key, node) = (self.key_style().hooks().ready(), self.node_channel());
        let words = ["GROUP", GROUP, node, "COUNT", &count, "BLOCK", &block, "STREAMS", &key, ">"];
        let words: Vec<String> = words.map(str::to_owned).into();
        let command = CustomCommand::new_static("XREADGROUP", ClusterHash::FirstKey, true);
        let answer: Value = client.custom(command, words).await?;
        let streams = answer.into_array().into_iter();
        let entries = streams.flat_map(|stream| stream.into_array().into_iter().skip(1));
        Ok(entries.flat_map(Value::into_array).filter_map(ready).collect())
    }
}

/// An entry of the stream: its id, and a field with its value.
fn ready(entry: Value) -> Option<Ready> {
    let mut parts = entry.into_array().into_iter();
    let entry = parts.next()?.into_string()?;
    let events = parts.next()?.into_array().into_iter().nth(1)?.into_string()?;
    Some(Ready { entry, events })
}
