//! Which primary serves which slots, from what the nodes of a cluster say.
//!
//! Nodes may disagree for a while, and a node that was away tells an old story. Each claim carries the epoch of its
//! primary, and Redis gives every promotion and every moved slot a newer one: the newest claim stands.

use std::{collections::BTreeSet, ops::RangeInclusive};

use fred::types::config::Server;

/// The number of slots of a cluster.
pub(super) const SLOTS: u16 = 16_384;

/// The address of a node.
pub(super) type Address = (String, u16);

/// That a primary serves slots.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Claim {
    address: Address,
    epoch: i64,
    slots: Vec<RangeInclusive<u16>>,
    /// Whether the primary itself says so.
    is_own: bool,
}

/// What one node says about its cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct View {
    claims: Vec<Claim>,
    /// All nodes that it knows.
    nodes: Vec<Address>,
    /// The node itself.
    myself: Option<Address>,
}

/// Who serves a slot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Owner {
    address: Option<Address>,
    /// The epoch of the claim; -1 without one.
    epoch: i64,
}

/// The owners of all slots.
#[derive(Clone, Debug)]
pub(super) struct Topology {
    owners: Vec<Owner>,
    nodes: BTreeSet<Address>,
}

impl Topology {
    /// Nothing is known but some nodes.
    pub fn new(seeds: impl IntoIterator<Item = Address>) -> Self {
        let owner = Owner { address: None, epoch: -1 };
        Self { owners: vec![owner; SLOTS.into()], nodes: seeds.into_iter().collect() }
    }

    /// All nodes that were ever named: any of them may be the last one left.
    pub fn nodes(&self) -> impl Iterator<Item = &Address> {
        self.nodes.iter()
    }

    /// The owner of a slot.
    pub fn owner(&self, slot: u16) -> Option<&Address> {
        self.owners.get(usize::from(slot))?.address.as_ref()
    }

    /// Whether every slot has an owner.
    pub fn is_whole(&self) -> bool {
        self.owners.iter().all(|owner| owner.address.is_some())
    }

    /// Takes over what is newer in a node's view. Returns whether an owner changed.
    pub fn merge(&mut self, view: View) -> bool {
        self.nodes.extend(view.nodes);
        if let Some(myself) = &view.myself {
            // What a primary says that it does not serve, anybody may claim.
            let mut own = vec![false; self.owners.len()];
            for slot in view.claims.iter().filter(|claim| claim.is_own).flat_map(slots) {
                own[usize::from(slot)] = true;
            }
            for (owner, is_own) in self.owners.iter_mut().zip(own) {
                if !is_own && owner.address.as_ref() == Some(myself) {
                    owner.epoch = -1;
                }
            }
        }
        let mut changed = false;
        for claim in &view.claims {
            for slot in slots(claim) {
                let Some(owner) = self.owners.get_mut(usize::from(slot)) else { continue };
                let is_newer =
                    claim.epoch > owner.epoch || claim.is_own && claim.epoch == owner.epoch;
                if is_newer {
                    changed |= owner.address.as_ref() != Some(&claim.address);
                    *owner = Owner { address: Some(claim.address.clone()), epoch: claim.epoch };
                }
            }
        }
        changed
    }

    /// A node answered that another one serves this slot. Returns whether that is news.
    pub fn moved(&mut self, slot: u16, address: Address) -> bool {
        let Some(owner) = self.owners.get_mut(usize::from(slot)) else { return false };
        self.nodes.insert(address.clone());
        owner.address.replace(address.clone()) != Some(address)
    }
}

fn slots(claim: &Claim) -> impl Iterator<Item = u16> + '_ {
    claim.slots.iter().cloned().flatten()
}

impl View {
    /// Reads the answer of CLUSTER NODES of the node at `asked`. With `by_name`, nodes are reached by their announced
    /// names where they have some, as TLS needs it.
    pub fn read(text: &str, asked: &Address, by_name: bool) -> Self {
        let mut view = View::default();
        for line in text.lines() {
            let mut words = line.split(' ');
            let (Some(address), Some(flags), Some(epoch)) =
                (words.nth(1), words.next(), words.nth(3))
            else {
                continue;
            };
            let flags: Vec<&str> = flags.split(',').collect();
            let is_own = flags.contains(&"myself");
            let address = if is_own { Some(asked.clone()) } else { read_address(address, by_name) };
            let Some(address) = address else { continue };
            if flags.contains(&"noaddr") || flags.contains(&"handshake") {
                continue;
            }
            view.nodes.push(address.clone());
            if is_own {
                view.myself = Some(address.clone());
            }
            let slots: Vec<_> = words.skip(1).filter_map(read_slots).collect();
            if flags.contains(&"master") && !slots.is_empty() {
                let epoch = epoch.parse().unwrap_or_default();
                view.claims.push(Claim { address, epoch, slots, is_own });
            }
        }
        view
    }
}

/// `host:port@bus,name`; without a host while the node does not know its own.
fn read_address(text: &str, by_name: bool) -> Option<Address> {
    let (address, rest) = text.split_once('@').unwrap_or((text, ""));
    let name = rest.split(',').nth(1).filter(|name| by_name && !name.is_empty());
    let (host, port) = address.rsplit_once(':')?;
    let host = name.unwrap_or(host);
    (!host.is_empty()).then_some((host.to_owned(), port.parse().ok()?))
}

/// `5` or `5-9`; slots on the move are in brackets, and still served.
fn read_slots(text: &str) -> Option<RangeInclusive<u16>> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    Some(first.parse().ok()?..=last.parse().ok()?)
}

/// What to do about the error of a call that did not run because of where its slot is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Hint {
    /// Another node serves the slot.
    Moved(u16, Address),
    /// The slot is on its way, or the cluster makes up its mind: it is worth asking again.
    Wait,
    /// The call came later than its caller allowed.
    Late,
}

impl Hint {
    /// Reads Redis's error.
    pub fn of(words: &str) -> Option<Self> {
        let mut parts = words.split(' ');
        match parts.next()? {
            "MOVED" => {
                let slot = parts.next()?.parse().ok()?;
                let (host, port) = parts.next()?.rsplit_once(':')?;
                let address = (host.to_owned(), port.parse().ok()?);
                // A node that does not know its own address leaves it out.
                Some(if host.is_empty() { Hint::Wait } else { Hint::Moved(slot, address) })
            }
            "ASK" | "TRYAGAIN" | "CLUSTERDOWN" | "READONLY" => Some(Hint::Wait),
            "LATE" => Some(Hint::Late),
            _ => None,
        }
    }
}

pub(super) fn server(address: &Address) -> Server {
    Server::new(address.0.as_str(), address.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(port: u16) -> Address {
        ("127.0.0.1".to_owned(), port)
    }

    fn view(port: u16, lines: &[&str]) -> View {
        View::read(&lines.join("\n"), &at(port), false)
    }

    const OLD: [&str; 3] = [
        "a 127.0.0.1:1@11 myself,master - 0 0 1 connected 0-8191",
        "b 127.0.0.1:2@12,host-b master - 0 0 2 connected 8192-16383",
        "c 127.0.0.1:3@13 slave a 0 0 1 connected",
    ];

    #[test]
    fn a_view_names_nodes_and_what_they_serve() {
        let lines = [
            "a :1@11 myself,master - 0 0 1 connected 0-5 7 [8->-b]",
            "b 127.0.0.1:2@12,host-b master - 0 0 2 connected 9",
            "c 127.0.0.1:3@13 slave,fail a 0 0 1 disconnected",
            "d 127.0.0.1:4@14 master,noaddr - 0 0 0 disconnected",
            "rubbish",
        ];
        let seen = view(1, &lines);
        assert_eq!(seen.nodes, [at(1), at(2), at(3)]);
        assert_eq!(seen.myself, Some(at(1)));
        assert_eq!(seen.claims[0].slots, [0..=5, 7..=7]);
        assert_eq!(View::read(&lines.join("\n"), &at(1), true).nodes[1].0, "host-b");
    }

    #[test]
    fn the_newest_claim_stands_whoever_repeats_an_older_one() {
        let mut topology = Topology::new([at(1)]);
        assert!(topology.merge(view(1, &OLD)));
        assert!(topology.is_whole());
        let promoted = [
            "c 127.0.0.1:3@13 master - 0 0 3 connected 0-8191",
            "b 127.0.0.1:2@12 myself,master - 0 0 2 connected 8192-16383",
        ];
        assert!(topology.merge(view(2, &promoted)));
        assert_eq!(topology.owner(0), Some(&at(3)));
        assert!(!topology.merge(view(1, &OLD)), "a primary that was away does not know it yet");
        assert_eq!(topology.owner(0), Some(&at(3)));
        assert!(topology.nodes().any(|node| *node == at(1)));
    }

    #[test]
    fn a_primary_without_a_slot_leaves_it_to_anybody() {
        let mut topology = Topology::new([]);
        topology.merge(view(1, &OLD));
        assert!(topology.moved(5, at(2)));
        assert!(!topology.moved(5, at(2)));
        assert_eq!(topology.owner(5), Some(&at(2)));
        // A cluster that was made anew begins with small epochs.
        let anew = [
            "a 127.0.0.1:1@11 myself,master - 0 0 0 connected",
            "b 127.0.0.1:2@12 master - 0 0 0 connected 0-16383",
        ];
        topology.merge(view(1, &anew));
        assert_eq!(topology.owner(0), Some(&at(2)));
    }

    #[test]
    fn what_an_error_says_about_a_slot() {
        assert_eq!(Hint::of("MOVED 5 127.0.0.1:2"), Some(Hint::Moved(5, at(2))));
        for words in
            ["ASK 5 127.0.0.1:2", "TRYAGAIN Multiple keys", "CLUSTERDOWN Hash slot not served"]
        {
            assert_eq!(Hint::of(words), Some(Hint::Wait), "{words}");
        }
        for words in ["OOM command", "NOSCRIPT No matching script", "", "MOVED x"] {
            assert_eq!(Hint::of(words), None, "{words}");
        }
    }
}
