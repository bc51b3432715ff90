//! How each fault is injected and ended.

use std::{
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;
use tokio::time::sleep;

use super::{Injected, ROOMS, Running, USERS};
use crate::{
    client::{Client, Identity, Order},
    fault::{Fault, Kind},
    history::History,
    support::Node,
    world::LEAVES_WITHIN,
};

/// Number of messages sent to a slow reader meanwhile.
const FLOOD: usize = 40;
/// How long a visitor stays after its fault.
const VISIT_ENDS: Duration = Duration::from_millis(50);
/// How long a node that is about to shut down has for its latest requests: too little.
const HASTE: Duration = Duration::from_millis(10);
/// Maximum duration of the effects after a fault has ended.
const AFTERMATH: Duration = Duration::from_secs(4);
/// The sender in garbage frames.
pub const STRANGER: &str = "stranger";

impl Running {
    /// Injects one fault, from its beginning to its end.
    pub(super) async fn inject(&self, fault: Fault) {
        let from = self.now();
        match fault.kind {
            Kind::PubsubKilled => self.tell_redis(&["CLIENT", "KILL", "TYPE", "pubsub"]).await,
            Kind::ScriptsForgotten => self.tell_redis(&["SCRIPT", "FLUSH"]).await,
            Kind::Rubbish => self.publish_rubbish(fault.target).await,
            Kind::RedisFrozen | Kind::RedisKilled | Kind::RedisFull => {
                self.hurt_redis(fault).await;
            }
            Kind::LinkCut | Kind::LinkDown | Kind::LinkFrozen | Kind::LinkDeaf => {
                self.hurt_link(fault).await;
            }
            Kind::NodeKilled
            | Kind::NodeFrozen
            | Kind::NodeDrained
            | Kind::StreetCut
            | Kind::StreetFrozen => self.hurt_place(fault).await,
            Kind::Visit => self.visit(fault).await,
            Kind::Removal => self.remove(fault).await,
            Kind::Deletion => self.delete(fault).await,
            Kind::Lock => self.lock(fault).await,
            Kind::End => self.end_room(fault).await,
            _ => self.disturb(fault).await,
        }
        let to = self.now();
        let felt_until = to + AFTERMATH.as_secs_f64();
        self.injected.lock().push(Injected { fault, from, to, felt_until });
    }

    async fn tell_redis(&self, words: &[&str]) {
        // Redis itself may be unavailable.
        let _ = self.world.tell_redis(words).await;
    }

    /// Publishes in every room what anybody with redis-cli may publish.
    async fn publish_rubbish(&self, number: usize) {
        let Ok(time) = self.world.tell_redis(&["TIME"]).await else { return };
        let now_ms = time.list()[0].text().parse::<u64>().unwrap() * 1000
            + time.list()[1].text().parse::<u64>().unwrap() / 1000;
        for room in &self.rooms {
            let channel = format!("chan:{}", room.id);
            for payload in rubbish(&room.id, number, now_ms) {
                self.tell_redis(&["PUBLISH", &channel, &payload]).await;
            }
        }
    }

    async fn hurt_redis(&self, fault: Fault) {
        let mut redis = self.world.redis.lock().await;
        match fault.kind {
            Kind::RedisFrozen => {
                redis.freeze();
                sleep(fault.lasts).await;
                redis.thaw();
            }
            Kind::RedisFull => {
                redis.cmd(["CONFIG", "SET", "maxmemory", "1"]);
                sleep(fault.lasts).await;
                redis.cmd(["CONFIG", "SET", "maxmemory", "0"]);
            }
            _ => {
                redis.kill();
                sleep(fault.lasts).await;
                self.world.restart_redis(&mut redis).await;
            }
        }
    }

    async fn hurt_link(&self, fault: Fault) {
        let link = &self.world.links[fault.target % self.world.links.len()];
        match fault.kind {
            Kind::LinkCut => return link.cut_once(),
            Kind::LinkDown => link.cut(),
            Kind::LinkFrozen => link.freeze(),
            _ => link.lose_what_is_published(),
        }
        sleep(fault.lasts).await;
        if fault.kind == Kind::LinkDeaf {
            // Bytes never get lost within a connection that survives.
            link.cut_once();
        }
        link.resume();
    }

    async fn hurt_place(&self, fault: Fault) {
        let number = fault.target % self.world.places.len();
        let mut place = self.world.places[number].lock().await;
        match fault.kind {
            Kind::NodeKilled => {
                place.node.kill().await;
                sleep(fault.lasts).await;
                self.world.restart(number, &mut place).await;
            }
            Kind::NodeDrained => {
                self.drain(number, &mut place.node).await;
                self.world.restart(number, &mut place).await;
            }
            Kind::NodeFrozen => {
                place.node.signal(Signal::SIGSTOP);
                sleep(fault.lasts).await;
                place.node.signal(Signal::SIGCONT);
            }
            Kind::StreetFrozen => {
                place.street.freeze();
                sleep(fault.lasts).await;
                place.street.resume();
            }
            _ => place.street.cut_once(),
        }
    }

    /// Sends SIGTERM while everybody sends messages, so that the node shuts down with work in
    /// progress.
    async fn drain(&self, number: usize, node: &mut Node) {
        self.residents.iter().for_each(|client| client.order(Order::Busy(Some(number))));
        sleep(HASTE).await;
        let asked = Instant::now();
        node.signal(Signal::SIGTERM);
        let status = node.exit_status().await;
        self.residents.iter().for_each(|client| client.order(Order::Busy(None)));
        if !status.success() || asked.elapsed() > LEAVES_WITHIN {
            self.violation("leaves politely", format!("{status} after {:?}", asked.elapsed()));
        }
    }

    async fn disturb(&self, fault: Fault) {
        let client = &self.residents[fault.target % self.residents.len()];
        let away = fault.lasts;
        match fault.kind {
            Kind::ClientCut => client.order(Order::Cut { away }),
            Kind::ClientClosed => client.order(Order::Close { away }),
            Kind::ClientLeaves => client.order(Order::Leave { away }),
            Kind::ClientRewound => return client.order(Order::Rewind),
            Kind::ClientJoinsAgain => return client.order(Order::JoinAgain),
            Kind::ClientShows => {
                client.order(Order::Show { away: fault.target.is_multiple_of(2) });
                return;
            }
            _ => self.overwhelm(fault),
        }
        sleep(away).await;
    }

    /// The slow reader of a room stops reading, while another member sends more than its queue
    /// holds.
    fn overwhelm(&self, fault: Fault) {
        let each = USERS + 1;
        let room = fault.target % ROOMS;
        let (slow, other) =
            (&self.residents[room * each + USERS - 1], &self.residents[room * each]);
        slow.order(Order::Sleep(fault.lasts));
        for number in 0..FLOOD {
            other.order(Order::Say(format!("{number} {}", "가".repeat(3900))));
        }
    }

    async fn visit(&self, fault: Fault) {
        let number = self.guests.fetch_add(1, Ordering::Relaxed);
        let room = &self.rooms[fault.target % ROOMS].id;
        let name = format!("guest {number}");
        let history = History::new(&name, room, self.start);
        let seed = (self.seed << 16) + (1 << 15) + number as u64;
        let secret = Some(format!("{seed:032}"));
        let identity = Identity { token: name, secret, ..Identity::default() };
        let visitor = Client::start(identity, history, self.world.doors.clone(), seed);
        sleep(fault.lasts + VISIT_ENDS).await;
        visitor.order(Order::End { leave: fault.target.is_multiple_of(2) });
        self.visitors.lock().push(visitor);
    }
}

/// Frames that violate the contract, or are not in the stream.
fn rubbish(room: &str, number: usize, now_ms: u64) -> Vec<String> {
    let msg = |id: &str| {
        format!(
            r#"{{"t":"msg","roomId":"{room}","id":"{id}","from":"{STRANGER}","text":"{number}","timestamp":"2024-01-01T00:00:00.000Z"}}"#
        )
    };
    let invented = [now_ms - 1, now_ms, now_ms + 3, now_ms + 1_000_000_000];
    let mut rubbish = vec![
        "nonsense".to_owned(),
        r#"{"t":7}"#.to_owned(),
        format!(r#"{{"t":"notice","number":{number}}}"#),
        msg("0-1"),
        msg("1-18446744073709551615"),
        msg("99999999999999999999999-1"),
    ];
    rubbish.push(msg(&format!("{}-{number}", invented[number % invented.len()])));
    rubbish
}
