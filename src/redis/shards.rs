//! Which Redis a key is in. Everything above sees one Redis; each primary of a cluster is an island of its own, with its
//! own connections and its own condition, so that what happens to one is felt in its rooms alone.

use std::{
    collections::HashMap,
    sync::{Arc, LazyLock},
};

use parking_lot::RwLock;
use redis_protocol::redis_keyslot;
use tokio::sync::{Notify, watch};

use super::{
    absence::Absence,
    island::Island,
    topology::{Address, SLOTS, Topology, View},
};
use crate::names::LETTERS_AND_DIGITS;

/// The groups of rooms in braces, and their slots.
static GROUPS: LazyLock<Vec<(String, u16)>> = LazyLock::new(|| {
    let pairs =
        LETTERS_AND_DIGITS.iter().flat_map(|a| LETTERS_AND_DIGITS.iter().map(move |b| (a, b)));
    pairs
        .map(|(a, b)| {
            let group = format!("{{{a}{b}}}");
            let slot = redis_keyslot(group.as_bytes());
            (group, slot)
        })
        .collect()
});

/// Makes the island of a primary; it goes on with the absence of the one that it takes rooms over from.
type Found = Box<dyn Fn(&Address, Absence) -> Arc<Island> + Send + Sync>;

/// All islands of a deployment.
pub(super) struct Shards {
    /// The island of all keys where there is no cluster, and of slots that nobody serves where there is one.
    mainland: Arc<Island>,
    /// What is known of the cluster.
    cluster: Option<Cluster>,
    islands: watch::Sender<Vec<Arc<Island>>>,
}

struct Cluster {
    map: RwLock<Map>,
    found: Found,
    wake: Notify,
}

struct Map {
    topology: Topology,
    islands: HashMap<Address, Arc<Island>>,
    /// The island of each slot.
    slots: Vec<Arc<Island>>,
}

impl Shards {
    /// One Redis has all keys.
    pub fn one(island: Arc<Island>) -> Self {
        let islands = watch::Sender::new(vec![island.clone()]);
        Self { mainland: island, cluster: None, islands }
    }

    /// A cluster of which only some nodes are known. Calls to slots that nobody serves go to `nowhere`, which refuses
    /// them.
    pub fn of_cluster(
        nowhere: Arc<Island>,
        seeds: impl IntoIterator<Item = Address>,
        found: Found,
    ) -> Self {
        let slots = vec![nowhere.clone(); SLOTS.into()];
        let map = Map { topology: Topology::new(seeds), islands: HashMap::new(), slots };
        let cluster = Cluster { map: RwLock::new(map), found, wake: Notify::new() };
        Self { mainland: nowhere, cluster: Some(cluster), islands: watch::Sender::default() }
    }

    /// The island that has this key.
    pub fn of(&self, key: &str) -> Arc<Island> {
        match &self.cluster {
            None => self.mainland.clone(),
            Some(cluster) => {
                cluster.map.read().slots[usize::from(redis_keyslot(key.as_bytes()))].clone()
            }
        }
    }

    /// All islands; a new value whenever slots moved.
    pub fn islands(&self) -> watch::Receiver<Vec<Arc<Island>>> {
        self.islands.subscribe()
    }

    /// The islands of this moment.
    pub fn all(&self) -> Vec<Arc<Island>> {
        self.islands.borrow().clone()
    }

    /// A group of rooms that an island has: `group`, if it has that; empty where rooms have none.
    pub fn group_of(&self, island: &Island, group: &str) -> String {
        let Some(cluster) = &self.cluster else { return String::new() };
        group_in(&cluster.map.read().slots, island, group)
    }

    /// All nodes of the cluster that were ever named.
    pub fn nodes(&self) -> Vec<Address> {
        let nodes = |cluster: &Cluster| cluster.map.read().topology.nodes().cloned().collect();
        self.cluster.as_ref().map(nodes).unwrap_or_default()
    }

    /// Whether every slot has an owner.
    pub fn is_whole(&self) -> bool {
        self.cluster.as_ref().is_none_or(|cluster| cluster.map.read().topology.is_whole())
    }

    /// Waits until somebody doubts that the map is right.
    pub async fn doubted(&self) {
        match &self.cluster {
            Some(cluster) => cluster.wake.notified().await,
            None => std::future::pending().await,
        }
    }

    /// The map may be wrong: the nodes are asked again at once.
    pub fn doubt(&self) {
        self.cluster.iter().for_each(|cluster| cluster.wake.notify_one());
    }

    /// Takes over what a node says.
    pub fn merge(&self, view: View) {
        let Some(cluster) = &self.cluster else { return };
        let mut map = cluster.map.write();
        if map.topology.merge(view) {
            self.apply(cluster, &mut map);
        }
    }

    /// A node answered that another one serves this slot.
    pub fn moved(&self, slot: u16, address: Address) {
        let Some(cluster) = &self.cluster else { return };
        let mut map = cluster.map.write();
        if map.topology.moved(slot, address) {
            self.apply(cluster, &mut map);
        }
        cluster.wake.notify_one();
    }

    /// Founds the islands of new primaries, and leaves those of primaries without slots.
    fn apply(&self, cluster: &Cluster, map: &mut Map) {
        let Map { topology, islands, slots } = map;
        let mut known = std::mem::take(islands);
        let mut last: Option<(Address, Arc<Island>)> = None;
        for (slot, place) in (0..SLOTS).zip(slots.iter_mut()) {
            let Some(address) = topology.owner(slot) else { continue };
            if let Some((_, island)) = last.as_ref().filter(|(before, _)| before == address) {
                *place = island.clone();
                continue;
            }
            let island = islands.entry(address.clone()).or_insert_with(|| {
                known.remove(address).unwrap_or_else(|| (cluster.found)(address, place.absence()))
            });
            *place = island.clone();
            last = Some((address.clone(), island.clone()));
        }
        for island in islands.values().filter(|island| island.group().is_empty()) {
            island.set_group(group_in(slots, island, ""));
        }
        self.islands.send_replace(islands.values().cloned().collect());
        known.values().for_each(|island| island.leave());
    }
}

/// A group whose slot an island has: `group`, if it has that.
fn group_in(slots: &[Arc<Island>], island: &Island, group: &str) -> String {
    let has = |slot: u16| slots[usize::from(slot)].id() == island.id();
    if !group.is_empty() && has(redis_keyslot(group.as_bytes())) {
        return group.to_owned();
    }
    GROUPS.iter().find(|(_, slot)| has(*slot)).map(|(group, _)| group.clone()).unwrap_or_default()
}
