//! Whoever is not looking is told: what happens in rooms is posted to `WEBHOOK_URL`, and pushed to users with a
//! subscription, at least once and in order.
//!
//! The script that makes a change writes its event into a list (of the room for the webhook, of the user for pushes),
//! and the list into a stream, once. The nodes are the consumer group of that stream: a list is in the hands of one of
//! them at a time. All that must not be lost is in Redis; `docs/webhooks.md` and `docs/push.md` say what is where.

mod care;
pub mod command;
mod courier;
mod delivery;
mod pause;
mod signature;

use std::sync::Arc;

use tokio::{
    sync::{Semaphore, watch},
    time::Instant,
};

use crate::{
    background::Background,
    metrics::Metrics,
    push::Push,
    redis::{Redis, scripts::Scripts},
    settings::Settings,
};
use courier::{Courier, LISTS_AT_ONCE};
use delivery::Delivery;

/// Begins to post events, where this deployment can.
///
/// # Errors
/// The receiver's address cannot be written into a request.
pub fn start(
    redis: Redis,
    scripts: Scripts,
    push: Option<Push>,
    settings: Arc<Settings>,
    metrics: Arc<Metrics>,
    background: &Background,
) -> anyhow::Result<()> {
    let Some(push) = push else { return Ok(()) };
    let courier = Arc::new(Courier {
        redis,
        scripts,
        delivery: Delivery::new(&settings.webhooks)?,
        push,
        settings,
        metrics,
        tasks: background.tasks.clone(),
        stop: background.stop.clone(),
        turns: Semaphore::new(LISTS_AT_ONCE),
        held: Default::default(),
        is_needed: watch::Sender::new(false),
        is_stopped: watch::Sender::new(false),
        next_look: watch::Sender::new(Instant::now()),
    });
    background.spawn_vital("the courier", courier.clone().take_lists());
    background.spawn_vital("the care for what waits to be posted", courier.care());
    Ok(())
}
