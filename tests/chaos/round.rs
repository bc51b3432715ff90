//! One round: a world, clients in it, a storm, faults one at a time, then quiet, and the check.

mod inject;
mod order;
mod settle;

use std::{
    fmt,
    sync::{Arc, atomic::AtomicUsize},
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use rand::{SeedableRng, rngs::StdRng};
use tokio::{task::JoinSet, time::sleep};

use crate::{
    bot::Bot,
    checker::{self, Evidence, Violation},
    client::{self, Client, Identity},
    fault::{ALL, Fault, Kind, Lane, Storm},
    figures::Figures,
    history::History,
    pushed,
    told::{self, TOLD_WITHIN},
    world::{LEFT_WITHIN, Room, TOLD_EVERY, Variant, World},
};
pub use inject::STRANGER;
use order::Order;
use settle::{RECOVERS_WITHIN, eventually_or_not};

const ROOMS: usize = 3;
/// Users of a room; the first has two connections, the last one's socket holds little.
const USERS: usize = 3;
/// Pause between two faults that are tested alone.
const BREATH: Duration = Duration::from_millis(300);

/// One round, by its seed.
pub struct Round {
    seed: u64,
    storm: Storm,
    length: Duration,
    alone: usize,
}

/// A fault with its times, in seconds since the round began.
#[derive(Clone, Debug)]
pub struct Injected {
    pub fault: Fault,
    pub from: f64,
    pub to: f64,
    /// When its effects have ended.
    pub felt_until: f64,
}

impl fmt::Display for Injected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Fault { kind, target, .. } = self.fault;
        write!(f, "{:8.3} s to {:8.3} s: {kind:?} {target}", self.from, self.to)
    }
}

/// A running round.
struct Running {
    world: World,
    rooms: Vec<Room>,
    residents: Vec<Client>,
    bots: Vec<Bot>,
    visitors: Mutex<Vec<Client>>,
    /// Number of guests so far.
    guests: AtomicUsize,
    injected: Mutex<Vec<Injected>>,
    violations: Mutex<Vec<Violation>>,
    order: Order,
    start: Instant,
    seed: u64,
}

impl Round {
    pub fn new(seed: u64, storm: Storm, length: Duration) -> Self {
        Self { seed, storm, length, alone: 0 }
    }

    /// Afterwards, injects each kind of fault alone, this many times, and measures the time to
    /// recover.
    pub fn each_fault_alone(self, times: usize) -> Self {
        Self { alone: times, ..self }
    }

    /// Runs the round and panics if a promise was broken.
    pub async fn run(self, figures: &mut Figures) {
        println!("seed {}: {:?} for {:?}", self.seed, self.storm, self.length);
        let running = Arc::new(Running::start(self.seed).await);
        running.settle().await;
        if self.storm != Storm::None {
            running.weather(self.storm.lanes(self.seed, self.length)).await;
            if let Some(after) = running.settle().await {
                figures.storm_over(after);
            }
        }
        running.each_fault_alone(self.alone, figures).await;
        let running = Arc::into_inner(running).expect("every fault is over");
        running.finish(&self, figures).await;
    }
}

impl Running {
    async fn start(seed: u64) -> Self {
        let (world, start) = (World::new(variant(seed)).await, Instant::now());
        let users: Vec<String> = (0..USERS).map(|number| format!("user {number}")).collect();
        let (mut rooms, mut residents, mut bots) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..ROOMS {
            let room = world.room(&users).await;
            let mut tokens = room.tokens.clone();
            tokens.push(tokens[0].clone());
            for (number, (name, token)) in tokens.into_iter().enumerate() {
                let small_buffers = number == USERS - 1;
                let identity = Identity { token, small_buffers, ..Identity::default() };
                let history = History::new(&name, &room.id, start);
                let seed = (seed << 16) + residents.len() as u64;
                residents.push(Client::start(identity, history, world.doors.clone(), seed));
            }
            let history = History::new("bot", &room.id, start);
            let token = world.guest(&room.id, "bot").await;
            let seed = (seed << 16) + (1 << 14) + bots.len() as u64;
            bots.push(Bot::start(token, history, world.doors.clone(), seed));
            rooms.push(room);
        }
        let (visitors, guests) = (Mutex::default(), AtomicUsize::new(0));
        let (injected, violations) = (Mutex::default(), Mutex::default());
        let order = Order::new(seed);
        Self {
            world,
            rooms,
            residents,
            bots,
            visitors,
            guests,
            injected,
            violations,
            order,
            start,
            seed,
        }
    }

    /// All lanes side by side, to the end of the last fault.
    async fn weather(self: &Arc<Self>, lanes: Vec<Lane>) {
        let mut tasks = JoinSet::new();
        for lane in lanes {
            let running = self.clone();
            tasks.spawn(async move {
                for (pause, fault) in lane.0 {
                    sleep(pause).await;
                    running.inject(fault).await;
                }
            });
        }
        while let Some(ended) = tasks.join_next().await {
            ended.unwrap();
        }
    }

    async fn each_fault_alone(self: &Arc<Self>, times: usize, figures: &mut Figures) {
        let mut rng = StdRng::seed_from_u64(self.seed);
        for kind in ALL.repeat(times) {
            self.inject(kind.alone(&mut rng)).await;
            match self.probe(&format!("after {kind:?}")).await {
                Some(after) => figures.recovered(kind, after),
                None => return,
            }
            if kind == Kind::Visit {
                let deadline = LEFT_WITHIN
                    + if variant(self.seed).has_small_roster { TOLD_EVERY } else { Duration::ZERO };
                self.check_members("after a visit", deadline).await;
            }
            self.injected.lock().last_mut().unwrap().felt_until = self.now();
            sleep(BREATH).await;
        }
    }

    /// Seconds since the round began.
    fn now(&self) -> f64 {
        self.start.elapsed().as_secs_f64()
    }

    fn violation(&self, check: &'static str, what: String) {
        let at = self.now();
        self.violations.lock().push(Violation { check, what: format!("at {at:.3} s: {what}") });
    }

    /// Calm, then the check.
    async fn finish(mut self, round: &Round, figures: &mut Figures) {
        self.residents.iter().for_each(|client| client.order(client::Order::Calm));
        let mut evidence = Evidence::default();
        for bot in std::mem::take(&mut self.bots) {
            evidence.bots.push(bot.history.clone());
            bot.ended().await;
        }
        let all_answered =
            async || self.residents.iter().all(|client| client.history.is_answered()).then_some(());
        if !eventually_or_not(RECOVERS_WITHIN, all_answered).await {
            self.violation("works again", "not everything said was acknowledged".to_owned());
        }
        self.probe("at the end").await;
        self.order.finish(&self.world, &mut evidence, &self.violations).await;
        evidence.injected = self.injected.into_inner();
        self.residents.iter().for_each(|client| client.order(client::Order::End { leave: false }));
        for client in self.residents.into_iter().chain(self.visitors.into_inner()) {
            evidence.histories.push(client.history.clone());
            client.ended().await;
        }
        for room in &self.rooms {
            let mut stream = self.world.stream(&room.id).await;
            stream.restore_deleted(&evidence.rulings.deleted);
            evidence.streams.insert(room.id.clone(), stream);
        }
        let mut violations = self.violations.into_inner();
        violations.extend(check_told(&self.world, &evidence).await);
        violations.extend(check_pushed(&self.world, &self.rooms, &evidence).await);
        violations.extend(checker::check(&evidence, figures));
        figures.rounds += 1;
        if !violations.is_empty() {
            report(round, &self.world, &evidence, &violations);
        }
    }
}

/// What is different in a round.
fn variant(seed: u64) -> Variant {
    Variant {
        // In every second of each kind of storm.
        has_webhook: seed % 4 < 2,
        // In a quarter of the rounds, they become large and small again.
        has_small_roster: matches!(seed % 12, 2 | 9 | 11),
        // With a webhook and without one.
        has_push: matches!(seed % 4, 1 | 2),
    }
}

/// Waits until the webhook was told of every message, and checks what it was told.
async fn check_told(world: &World, evidence: &Evidence) -> Vec<Violation> {
    let Some(receiver) = world.receiver() else { return Vec::new() };
    let mut violations = Vec::new();
    for (room, stream) in &evidence.streams {
        let all_told = async || {
            let told = told::messages(&receiver.taken(room));
            (told.len() >= stream.0.len()).then_some(())
        };
        // The check reports missing events.
        eventually_or_not(TOLD_WITHIN, all_told).await;
        violations.extend(told::check(room, &receiver.taken(room), stream));
    }
    violations
}

/// Waits until those who are never there were told of every message, and checks what they were told.
async fn check_pushed(world: &World, rooms: &[Room], evidence: &Evidence) -> Vec<Violation> {
    let mut violations = Vec::new();
    for room in rooms {
        let Some(browser) = &room.browser else { continue };
        let stream = &evidence.streams[&room.id];
        let all_told =
            async || (pushed::count(&world.pushed(browser)) >= pushed::due(stream)).then_some(());
        // The check reports what is missing.
        eventually_or_not(TOLD_WITHIN, all_told).await;
        violations.extend(pushed::check(&room.id, &world.pushed(browser), stream));
    }
    violations
}

/// Saves the evidence, and panics.
fn report(round: &Round, world: &World, evidence: &Evidence, violations: &[Violation]) -> ! {
    let folder = world.env.path();
    for (number, history) in evidence.histories.iter().chain(&evidence.bots).enumerate() {
        history.write(folder, number).unwrap();
    }
    let lines = |list: Vec<String>| list.join("\n");
    let mut faults: Vec<_> = evidence.injected.iter().map(ToString::to_string).collect();
    faults.sort();
    std::fs::write(folder.join("faults.txt"), lines(faults)).unwrap();
    let all: Vec<_> = violations.iter().map(ToString::to_string).collect();
    std::fs::write(folder.join("violations.txt"), lines(all.clone())).unwrap();
    let first = lines(all.into_iter().take(20).collect());
    panic!(
        "seed {}, {:?} for {:?}: {} violations; histories, faults and logs are in {}\n{first}",
        round.seed,
        round.storm,
        round.length,
        violations.len(),
        folder.display(),
    );
}
