//! Webhooks: what happens in rooms is posted to `WEBHOOK_URL`, at least once and in each room's order.
//!
//! The script that makes a change writes its event into a list of the room, and the room into a stream, once.
//! The nodes are the consumer group of that stream: a room is in the hands of one of them at a time. All that
//! must not be lost is in Redis; `docs/webhooks.md` says what is where.

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
    redis::{Redis, scripts::Scripts},
    settings::Settings,
};
use courier::{Courier, ROOMS_AT_ONCE};
use delivery::Delivery;

/// Begins to post events, where the settings name a receiver.
///
/// # Errors
/// The receiver's address cannot be written into a request.
pub fn start(
    redis: Redis,
    scripts: Scripts,
    settings: Arc<Settings>,
    metrics: Arc<Metrics>,
    background: &Background,
) -> anyhow::Result<()> {
    let Some(delivery) = Delivery::new(&settings.webhooks)? else { return Ok(()) };
    let courier = Arc::new(Courier {
        redis,
        scripts,
        settings,
        metrics,
        delivery,
        tasks: background.tasks.clone(),
        stop: background.stop.clone(),
        turns: Semaphore::new(ROOMS_AT_ONCE),
        held: Default::default(),
        is_stopped: watch::Sender::new(false),
        next_look: watch::Sender::new(Instant::now()),
    });
    background.spawn_vital("the courier of webhooks", courier.clone().take_rooms());
    background.spawn_vital("the care for what webhooks wait for", courier.care());
    Ok(())
}
