//! The faults, their times and durations, all from a seed.

use std::{fmt, time::Duration};

use rand::{Rng, SeedableRng, rngs::StdRng, seq::IndexedRandom};

use crate::world::NODES;

/// One fault. A lasting one ends after `lasts`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fault {
    pub kind: Kind,
    /// The node or the client that it affects, if any; taken modulo their number.
    pub target: usize,
    pub lasts: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Redis cuts the nodes' subscriptions.
    PubsubKilled,
    /// Redis forgets its scripts.
    ScriptsForgotten,
    /// Somebody publishes rubbish in the rooms.
    Rubbish,
    /// Redis is stopped.
    RedisFrozen,
    /// Redis is killed, and started again with its append-only file.
    RedisKilled,
    /// Redis is out of memory.
    RedisFull,
    /// The connections between a node and Redis are cut.
    LinkCut,
    /// A node cannot reach Redis.
    LinkDown,
    /// Nothing passes between a node and Redis, though the connections stay open.
    LinkFrozen,
    /// Publications do not reach a node, whose connections look healthy until they end.
    LinkDeaf,
    /// A node is killed, and started again.
    NodeKilled,
    /// A node is stopped.
    NodeFrozen,
    /// A node shuts down gracefully, and is started again.
    NodeDrained,
    /// The connections between clients and a node are cut.
    StreetCut,
    /// Nothing passes between clients and a node, though the connections stay open.
    StreetFrozen,
    /// A client loses its connection.
    ClientCut,
    /// A client closes its connection.
    ClientClosed,
    /// A client leaves and comes back.
    ClientLeaves,
    /// A client comes back without the memory of the last messages.
    ClientRewound,
    /// A client joins once more over the connection that it is in the room with.
    ClientJoinsAgain,
    /// A client does not read, while much is said in its room.
    ClientSlow,
    /// A client is away, or no longer.
    ClientShows,
    /// Somebody new comes, says something and goes.
    Visit,
    /// The creator removes somebody who comes in.
    Removal,
    /// The creator deletes a message.
    Deletion,
    /// The creator locks the room, and somebody new wants to come in.
    Lock,
    /// A creator ends a room in which others talk.
    End,
}

use Kind::*;

/// What a round's storm is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Storm {
    /// No storm at all.
    None,
    /// All faults, on top of each other.
    Everything,
    /// Redis is killed over and over; clients come and go.
    Redis,
    /// These lanes: pause, kind, target and length of each fault, in milliseconds.
    Script(&'static [&'static [(u64, Kind, usize, u64)]]),
}

/// One lane: faults that come one after the other, each after a pause. Lanes run side by side, so
/// that two faults of different lanes may overlap, and two of one lane never hit the same process.
#[derive(Clone, Debug)]
pub struct Lane(pub Vec<(Duration, Fault)>);

/// From what a lane is drawn.
struct Recipe {
    kinds: &'static [Kind],
    target: Option<usize>,
    /// milliseconds between two faults
    pauses: (u64, u64),
    /// milliseconds that a fault lasts
    lasts: (u64, u64),
}

const CLIENTS: &[Kind] = &[
    ClientCut,
    ClientCut,
    ClientClosed,
    ClientLeaves,
    ClientRewound,
    ClientJoinsAgain,
    ClientSlow,
    ClientShows,
    Visit,
    Visit,
    Removal,
    Deletion,
    Deletion,
    Lock,
    End,
];
const REDIS: &[Kind] = &[RedisFrozen, RedisKilled, RedisFull];
const LINKS: &[Kind] = &[LinkCut, LinkDown, LinkFrozen, LinkDeaf];
const PLACES: &[Kind] = &[NodeKilled, NodeFrozen, NodeDrained, StreetCut, StreetFrozen];
const WORDS: &[Kind] = &[PubsubKilled, PubsubKilled, ScriptsForgotten, Rubbish];

/// Every kind, in the order of the figures.
pub const ALL: [Kind; 27] = [
    PubsubKilled,
    ScriptsForgotten,
    Rubbish,
    RedisFrozen,
    RedisKilled,
    RedisFull,
    LinkCut,
    LinkDown,
    LinkFrozen,
    LinkDeaf,
    NodeKilled,
    NodeFrozen,
    NodeDrained,
    StreetCut,
    StreetFrozen,
    ClientCut,
    ClientClosed,
    ClientLeaves,
    ClientRewound,
    ClientJoinsAgain,
    ClientSlow,
    ClientShows,
    Visit,
    Removal,
    Deletion,
    Lock,
    End,
];

impl Storm {
    /// The lanes of a storm that ends after about `length`.
    pub fn lanes(self, seed: u64, length: Duration) -> Vec<Lane> {
        if let Storm::Script(lanes) = self {
            return lanes.iter().map(|faults| Lane::scripted(faults)).collect();
        }
        let mut rng = StdRng::seed_from_u64(seed);
        self.recipes().iter().map(|recipe| recipe.lane(&mut rng, length)).collect()
    }

    fn recipes(self) -> Vec<Recipe> {
        let clients =
            || Recipe { kinds: CLIENTS, target: None, pauses: (50, 600), lasts: (0, 1500) };
        match self {
            Storm::None | Storm::Script(_) => Vec::new(),
            Storm::Redis => vec![
                Recipe {
                    kinds: &[RedisKilled],
                    target: None,
                    pauses: (1500, 3500),
                    lasts: (0, 1500),
                },
                clients(),
                clients(),
            ],
            Storm::Everything => {
                let mut recipes = vec![
                    Recipe { kinds: REDIS, target: None, pauses: (800, 4000), lasts: (50, 4000) },
                    Recipe { kinds: WORDS, target: None, pauses: (200, 1500), lasts: (0, 0) },
                    clients(),
                    clients(),
                ];
                for node in 0..NODES {
                    let target = Some(node);
                    let (pauses, lasts) = ((300, 4000), (50, 3500));
                    recipes.push(Recipe { kinds: LINKS, target, pauses, lasts });
                    recipes.push(Recipe { kinds: PLACES, target, pauses, lasts });
                }
                recipes
            }
        }
    }
}

impl Lane {
    fn scripted(faults: &[(u64, Kind, usize, u64)]) -> Self {
        let faults = faults.iter().map(|&(pause, kind, target, lasts)| {
            let fault = Fault { kind, target, lasts: Duration::from_millis(lasts) };
            (Duration::from_millis(pause), fault)
        });
        Self(faults.collect())
    }
}

impl Recipe {
    fn lane(&self, rng: &mut StdRng, length: Duration) -> Lane {
        let between = |(least, most): (u64, u64), rng: &mut StdRng| {
            Duration::from_millis(rng.random_range(least..=most))
        };
        let (mut faults, mut at) = (Vec::new(), Duration::ZERO);
        loop {
            let (pause, lasts) = (between(self.pauses, rng), between(self.lasts, rng));
            at += pause + lasts;
            if at >= length {
                return Lane(faults);
            }
            let kind = *self.kinds.choose(rng).unwrap();
            let target = self.target.unwrap_or_else(|| rng.random_range(0..1000));
            faults.push((pause, Fault { kind, target, lasts }));
        }
    }
}

impl Kind {
    /// A fault of this kind by itself.
    pub fn alone(self, rng: &mut StdRng) -> Fault {
        let lasts = Duration::from_millis(rng.random_range(500..2500));
        Fault { kind: self, target: rng.random_range(0..1000), lasts }
    }

    /// Whether it may keep a node from reaching Redis, or from running.
    pub fn hinders_answers(self) -> bool {
        !matches!(
            self,
            ScriptsForgotten
                | Rubbish
                | NodeDrained
                | ClientCut
                | ClientClosed
                | ClientLeaves
                | ClientRewound
                | ClientJoinsAgain
                | ClientShows
                | Visit
                | Removal
                | Deletion
                | Lock
                | End
        )
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            PubsubKilled => "subscriptions killed (CLIENT KILL TYPE pubsub)",
            ScriptsForgotten => "scripts forgotten (SCRIPT FLUSH)",
            Rubbish => "rubbish published",
            RedisFrozen => "Redis frozen (SIGSTOP)",
            RedisKilled => "Redis killed (-9) and restarted",
            RedisFull => "Redis out of memory (maxmemory)",
            LinkCut => "node-Redis connections cut",
            LinkDown => "node-Redis connections refused",
            LinkFrozen => "node-Redis connections frozen",
            LinkDeaf => "publications lost in silence",
            NodeKilled => "node killed (-9)",
            NodeFrozen => "node frozen (SIGSTOP)",
            NodeDrained => "node drained (SIGTERM)",
            StreetCut => "client connections of a node cut",
            StreetFrozen => "client connections of a node frozen",
            ClientCut => "client cut off",
            ClientClosed => "client closed and back",
            ClientLeaves => "client left and back",
            ClientRewound => "client back with an older since",
            ClientJoinsAgain => "client joins again while in the room",
            ClientSlow => "client reads nothing for a while",
            ClientShows => "client away or back",
            Visit => "guest came and went",
            Removal => "user removed while joining",
            Deletion => "message deleted",
            Lock => "room locked and opened",
            End => "room ended",
        })
    }
}
