//! Every interleaving of a small world: the real `Feed`, a Redis model of a few lines, and faults.
//!
//! Each test explores one configuration completely. Two things are checked in every state: no
//! promise is broken yet, and if all faults ended now, every client would have everything after one
//! heartbeat.

#![allow(clippy::print_stdout, reason = "whoever runs the tests reads it")]

mod bounds;
mod client;
mod redis;
mod words;
mod world;

use stateright::{Checker, HasDiscoveries, Model, Property};
use world::{Budget, Step, World};

/// One configuration.
struct Small {
    budget: Budget,
    users: [u8; 2],
    is_deaf: bool,
    /// A room with more members is large.
    roster_max: u8,
}

impl Model for Small {
    type State = World;
    type Action = Step;

    fn init_states(&self) -> Vec<World> {
        let new = if self.is_deaf { World::deaf } else { World::new };
        let mut world = new(self.budget, self.users);
        world.redis.roster_max = self.roster_max;
        vec![world]
    }

    fn actions(&self, world: &World, steps: &mut Vec<Step>) {
        if world.broken.is_none() {
            world.calm_steps(steps);
            world.wild_steps(steps);
            steps.sort_unstable_by_key(|step| format!("{step:?}"));
            steps.dedup();
        }
    }

    fn next_state(&self, world: &World, step: Step) -> Option<World> {
        let mut next = world.clone();
        next.step(step);
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("no promise is broken", |_, world: &World| world.broken.is_none()),
            Property::always("calm brings everything", |_, world: &World| {
                !world.is_idle() || world.broken.is_some() || world.after_calm().is_none()
            }),
        ]
    }
}

fn explore(name: &str, users: [u8; 2], budget: Budget) {
    explore_all(name, Small { budget, users, is_deaf: false, roster_max: u8::MAX });
}

fn explore_all(name: &str, small: Small) {
    let began = std::time::Instant::now();
    let checker =
        small.checker().threads(2).finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
    println!("{name}: {} states, {:.1?}", checker.unique_state_count(), began.elapsed());
    if let Some((property, path)) = checker.discoveries().into_iter().next() {
        let last = path.last_state().clone();
        let why = last.broken.or_else(|| last.after_calm());
        let steps = path.into_actions();
        panic!("{name}: not so: {property}: {why:?}\nafter {steps:?}");
    }
}

/// Two new members, messages, and one lost publication.
#[test]
fn a_loss_two_newcomers() {
    explore(
        "a_loss_two_newcomers",
        [0, 1],
        Budget { messages: 2, losses: 1, joins: [1, 1], ..Budget::default() },
    );
}

/// One listener, several losses, and another connected user.
#[test]
fn losses_one_listener() {
    explore(
        "losses_one_listener",
        [0, 1],
        Budget { messages: 2, strangers: 1, losses: 2, joins: [1, 0], ..Budget::default() },
    );
}

/// The subscription breaks and reconnects.
#[test]
fn a_cut() {
    explore("a_cut", [0, 1], Budget { messages: 1, cuts: 1, joins: [1, 1], ..Budget::default() });
}

/// It breaks twice while a client listens.
#[test]
fn cuts_one_listener() {
    explore(
        "cuts_one_listener",
        [0, 1],
        Budget { messages: 1, strangers: 1, cuts: 2, joins: [1, 0], ..Budget::default() },
    );
}

/// Joins and leaves, one of them lost.
#[test]
fn events() {
    explore(
        "events",
        [0, 1],
        Budget { strangers: 2, losses: 1, heartbeats: 1, joins: [1, 1], ..Budget::default() },
    );
}

/// The lost messages are no longer stored.
#[test]
fn a_trim() {
    explore(
        "a_trim",
        [0, 1],
        Budget { messages: 2, trims: 1, losses: 1, joins: [1, 1], ..Budget::default() },
    );
}

/// A client joins again on the same socket while the loss is detected.
#[test]
fn a_trim_joining_again() {
    explore(
        "a_trim_joining_again",
        [0, 1],
        Budget {
            messages: 2,
            trims: 1,
            losses: 1,
            timeouts: 1,
            joins: [2, 0],
            ..Budget::default()
        },
    );
}

/// More was lost, and less is stored.
#[test]
fn trims_one_listener() {
    explore(
        "trims_one_listener",
        [0, 1],
        Budget { messages: 4, trims: 2, losses: 2, joins: [1, 0], ..Budget::default() },
    );
}

/// Somebody publishes by hand, with ids in the future.
#[test]
fn foreign_frames() {
    explore(
        "foreign_frames",
        [0, 1],
        Budget {
            messages: 2,
            foreign: 1,
            losses: 1,
            heartbeats: 1,
            joins: [1, 0],
            ..Budget::default()
        },
    );
}

/// A client leaves and joins again on the same socket, as soon as possible.
#[test]
fn leaving() {
    explore(
        "leaving",
        [0, 1],
        Budget { messages: 1, leaves: 1, joins: [2, 1], ..Budget::default() },
    );
}

/// A socket closes, and its client comes back on another one.
#[test]
fn resuming() {
    explore(
        "resuming",
        [0, 1],
        Budget { messages: 2, losses: 1, closes: 1, joins: [2, 0], ..Budget::default() },
    );
}

/// One user with two connections.
#[test]
fn two_tabs() {
    explore(
        "two_tabs",
        [0, 0],
        Budget { messages: 1, losses: 1, leaves: 1, joins: [1, 1], ..Budget::default() },
    );
}

/// The answer to a join comes too late; the join is retried, and may run twice.
#[test]
fn joins_given_up() {
    explore(
        "joins_given_up",
        [0, 1],
        Budget { messages: 1, timeouts: 1, joins: [2, 1], ..Budget::default() },
    );
}

/// Redis comes back empty, and the room is restored.
#[test]
fn a_wipe() {
    explore(
        "a_wipe",
        [0, 1],
        Budget { messages: 1, wipes: 1, heartbeats: 1, joins: [1, 1], ..Budget::default() },
    );
}

/// The same with more activity.
#[test]
fn wipe_one_listener() {
    explore(
        "wipe_one_listener",
        [0, 1],
        Budget {
            messages: 2,
            strangers: 1,
            wipes: 1,
            heartbeats: 1,
            joins: [1, 0],
            ..Budget::default()
        },
    );
}

/// The stream cannot be read at first, while the last member leaves and comes back.
#[test]
fn failed_readings() {
    explore(
        "failed_readings",
        [0, 1],
        Budget {
            messages: 2,
            losses: 1,
            failures: 1,
            closes: 1,
            joins: [2, 0],
            ..Budget::default()
        },
    );
}

/// A message is retried with its key while the room is behind.
#[test]
fn retries() {
    explore(
        "retries",
        [0, 1],
        Budget { messages: 2, retries: 1, closes: 1, joins: [2, 0], ..Budget::default() },
    );
}

/// Answers to heartbeats overtake publications, or arrive instead of lost ones.
#[test]
fn answers_overtake() {
    explore(
        "answers_overtake",
        [0, 1],
        Budget {
            messages: 1,
            strangers: 1,
            losses: 1,
            answers: 1,
            heartbeats: 1,
            joins: [1, 0],
            ..Budget::default()
        },
    );
}

/// The same while a client joins.
#[test]
fn answers_overtake_newcomers() {
    explore(
        "answers_overtake_newcomers",
        [0, 1],
        Budget { messages: 1, heartbeats: 1, answers: 1, joins: [1, 1], ..Budget::default() },
    );
}

/// No publication ever arrives.
#[test]
fn deaf() {
    let budget =
        Budget { messages: 1, strangers: 1, heartbeats: 1, joins: [1, 1], ..Budget::default() };
    explore_all("deaf", Small { budget, users: [0, 1], is_deaf: true, roster_max: u8::MAX });
}

/// A room with more than `roster_max` members, which becomes large and small again.
fn explore_large(name: &str, roster_max: u8, budget: Budget) {
    explore_all(name, Small { budget, users: [0, 1], is_deaf: false, roster_max });
}

/// Another connected user makes it large and small again while clients join.
#[test]
fn becoming_large_and_small() {
    let budget = Budget { strangers: 2, joins: [1, 1], ..Budget::default() };
    explore_large("becoming_large_and_small", 1, budget);
}

/// The same with lost publications.
#[test]
fn becoming_large_with_losses() {
    let budget =
        Budget { strangers: 2, losses: 2, heartbeats: 1, joins: [1, 0], ..Budget::default() };
    explore_large("becoming_large_with_losses", 1, budget);
}

/// The subscription breaks while the room is large.
#[test]
fn a_cut_in_a_large_room() {
    let budget = Budget { messages: 1, strangers: 1, cuts: 1, joins: [1, 0], ..Budget::default() };
    explore_large("a_cut_in_a_large_room", 0, budget);
}

/// A connection of a large room closes, and comes back.
#[test]
fn resuming_in_a_large_room() {
    let budget =
        Budget { messages: 1, strangers: 1, closes: 1, joins: [2, 0], ..Budget::default() };
    explore_large("resuming_in_a_large_room", 1, budget);
}

/// Redis comes back empty, and the room becomes large again.
#[test]
fn a_wipe_of_a_large_room() {
    let budget = Budget { wipes: 1, heartbeats: 1, joins: [1, 1], ..Budget::default() };
    explore_large("a_wipe_of_a_large_room", 1, budget);
}

/// A user is removed while it is in the room, or joins, and a publication of that is lost.
#[test]
fn a_removal() {
    explore(
        "a_removal",
        [0, 1],
        Budget { messages: 1, removals: 1, losses: 1, joins: [2, 0], ..Budget::default() },
    );
}

/// The same beside another user.
#[test]
fn a_removal_beside_others() {
    explore(
        "a_removal_beside_others",
        [0, 1],
        Budget { messages: 1, removals: 1, joins: [1, 1], ..Budget::default() },
    );
}

/// The same for a user with two connections.
#[test]
fn a_removal_of_two_tabs() {
    explore(
        "a_removal_of_two_tabs",
        [0, 0],
        Budget { messages: 1, removals: 1, joins: [1, 1], ..Budget::default() },
    );
}

/// The same while the stream is read.
#[test]
fn a_removal_behind_a_gap() {
    explore(
        "a_removal_behind_a_gap",
        [0, 1],
        Budget { messages: 2, losses: 1, removals: 1, joins: [1, 0], ..Budget::default() },
    );
}

/// The same without any publications.
#[test]
fn a_removal_deaf() {
    let budget =
        Budget { messages: 1, removals: 1, heartbeats: 1, joins: [2, 0], ..Budget::default() };
    explore_all(
        "a_removal_deaf",
        Small { budget, users: [0, 1], is_deaf: true, roster_max: u8::MAX },
    );
}
