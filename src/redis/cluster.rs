//! Follows a cluster: asks its nodes which primaries there are and what they serve, and founds and leaves the islands.
//!
//! While all is well, one node is asked now and then. While anything is not, or somebody doubts it, all nodes are asked,
//! each by itself, so that a frozen one holds nobody up. Any one node that is left is enough.

use std::{collections::HashSet, sync::Arc, time::Duration};

use fred::{
    prelude::Value,
    types::config::{Config, ServerConfig, TlsConnector},
};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::{
    condition::Condition,
    island::{self, Common, Island},
    link::{self, Way},
    probe,
    shards::Shards,
    topology::{self, Address, View},
};
/// How often one node is asked while all is well.
const PEACE: Duration = Duration::from_secs(2);
/// How often all nodes are asked while something is not.
const TROUBLE: Duration = Duration::from_millis(100);
/// How many rounds a doubt lasts: the nodes themselves may not know yet.
const ROUNDS_OF_DOUBT: u32 = 10;
/// The user of a password without one.
const DEFAULT_USER: &str = "default";

/// Starts to follow the cluster that `config` has the seeds of. Returns its islands, and the condition of the best.
pub(super) fn start(
    config: &Config,
    common: Arc<Common>,
) -> (Arc<Shards>, watch::Sender<Condition>) {
    let way = way(config, common.timeout);
    let seeds = match &config.server {
        ServerConfig::Clustered { hosts, .. } => &hosts[..],
        _ => &[],
    };
    let seeds = seeds.iter().map(|server| (server.host.to_string(), server.port));
    let found = {
        let (way, common) = (way.clone(), common.clone());
        move |address: &Address, absence| {
            let island = Island::found(address, &way, absence, common.clone());
            probe::start(&island);
            island
        }
    };
    let nowhere = Island::nowhere(common.clone());
    let shards = Arc::new(Shards::of_cluster(nowhere, seeds, Box::new(found)));
    let condition = island::no_answer_yet();
    let stop = common.background.stop.clone();
    let follower = Follower {
        shards: shards.clone(),
        condition: condition.clone(),
        way,
        common: common.clone(),
    };
    common.background.spawn_vital("the look at the cluster", follower.run(stop));
    (shards, condition)
}

fn way(config: &Config, timeout: Duration) -> Way {
    let user = config.username.clone().unwrap_or_else(|| DEFAULT_USER.to_owned());
    let login = config.password.clone().map(|password| (user, password));
    let tls = config.tls.as_ref().map(|tls| {
        let TlsConnector::Rustls(connector) = &tls.connector;
        connector.clone()
    });
    Way { login, tls, timeout }
}

struct Follower {
    shards: Arc<Shards>,
    condition: watch::Sender<Condition>,
    way: Way,
    common: Arc<Common>,
}

/// What a node said, or why it said nothing.
type Said = (Address, Result<View, String>);

impl Follower {
    async fn run(self, stop: CancellationToken) {
        let (says, mut said) = mpsc::channel(64);
        let mut asking = HashSet::new();
        let mut doubts = ROUNDS_OF_DOUBT;
        for turn in 0.. {
            let is_well = doubts == 0 && self.is_well();
            let mut nodes = self.shards.nodes();
            if is_well {
                // One after the other.
                nodes = nodes
                    .iter()
                    .cycle()
                    .nth(turn % nodes.len().max(1))
                    .cloned()
                    .into_iter()
                    .collect();
            }
            for address in nodes {
                if asking.insert(address.clone()) {
                    self.common.background.tasks.spawn(ask(
                        address,
                        self.way.clone(),
                        says.clone(),
                    ));
                }
            }
            doubts = doubts.saturating_sub(1);
            let round = tokio::time::sleep(if is_well { PEACE } else { TROUBLE });
            tokio::pin!(round);
            loop {
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = &mut round => break,
                    () = self.shards.doubted() => {
                        doubts = ROUNDS_OF_DOUBT;
                        if is_well { break }
                    }
                    () = self.common.changed.notified() => {
                        self.judge(None);
                        doubts = ROUNDS_OF_DOUBT;
                        if is_well { break }
                    }
                    Some((address, answer)) = said.recv() => {
                        asking.remove(&address);
                        match answer {
                            Ok(view) => self.shards.merge(view),
                            Err(why) => self.judge(Some(why)),
                        }
                    }
                }
            }
        }
    }

    fn is_well(&self) -> bool {
        let serves = |island: &Arc<Island>| island.condition() == Condition::Serves;
        self.shards.is_whole() && self.shards.all().iter().all(serves)
    }

    /// Says in which condition the best island is. Without any, `why` nodes cannot be asked is all there is to say.
    fn judge(&self, why: Option<String>) {
        let conditions: Vec<_> =
            self.shards.all().iter().map(|island| island.condition()).collect();
        let all_up = !conditions.is_empty() && conditions.iter().all(Condition::is_up);
        self.common.metrics.redis_up.set(i64::from(all_up));
        let best = conditions.into_iter().min_by_key(Condition::rank).or(why.map(Condition::Away));
        let Some(best) = best else { return };
        self.condition.send_if_modified(|was| {
            let changed = *was != best;
            *was = best;
            changed
        });
    }
}

/// Asks one node for its view.
async fn ask(address: Address, way: Way, says: mpsc::Sender<Said>) {
    let answer = link::ask(&topology::server(&address), &way, &[b"CLUSTER", b"NODES"]).await;
    let answer = match answer.map(Value::into_string) {
        Ok(Some(text)) => Ok(View::read(&text, &address, way.tls.is_some())),
        Ok(None) => Err("not the answer of a cluster".to_owned()),
        Err(error) => Err(crate::error::redacted(&error).to_owned()),
    };
    // It fails when the node leaves.
    let _ = says.send((address, answer)).await;
}
