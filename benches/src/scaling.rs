//! What one room costs at 10 to 10,000 members, how long a herd takes until all are back, and what things cost in
//! memory: the figures of `docs/scaling.md`.

use std::{
    fs,
    time::{Duration, Instant},
};

use crate::{
    Options,
    curves::{Curve, Point},
    load::Load,
    plot, report,
    scenarios::{
        ALL_BACK, Outcome, PER_DELIVERY, RESIDENT, delivery_figures, held, micros, rejoin,
    },
    server::{Cpu, Kind, Server},
};

const JOIN_SERVER: &str = "server µs per join";
const JOIN_REDIS: &str = "Redis µs per join";
const KEPT_ROOM: &str = "Redis KiB per room";
/// Guests that join one after the other, beside the members; in each room a tenth of these, but 10 at least.
const GUESTS: usize = 200;
/// Members that come in at once.
const WAVE: usize = 64;
/// Until memory is looked at.
const CALM: Duration = Duration::from_secs(2);
/// How long messages are sent, and how many deliveries a second they make about.
const TALK: Duration = Duration::from_secs(4);
const DELIVERIES: f64 = 20_000.0;
/// What clients keep to, and how long they do nothing else.
const HEARTBEAT: Duration = Duration::from_secs(10);
/// Members of a small room.
const FIVE: usize = 5;

const ONE_ROOM: &[usize] = &[10, 100, 1_000, 10_000];
const HERD: &[usize] = &[1_000, 3_000, 10_000];

/// One figure of a series of measurements.
const fn curve(
    of: &'static str,
    figure: &'static str,
    sizes: &'static [usize],
    run: fn(&Server, usize) -> Outcome,
) -> Curve {
    Curve { of, figure, sizes, run }
}

/// Each series is measured once, beside one of the floors; its figures are drawn beside each other.
const SERIES: [(Kind, &[Curve]); 3] = [
    (
        Kind::FloorPlus,
        &[
            curve("members of one room", JOIN_SERVER, ONE_ROOM, one_room),
            curve("members of one room", JOIN_REDIS, ONE_ROOM, one_room),
            curve("members of one room", PER_DELIVERY, ONE_ROOM, one_room),
        ],
    ),
    (
        Kind::Floor,
        &[curve("clients back at once, rooms of five", ALL_BACK, HERD, |server, clients| {
            // One more, who stays and talks.
            rejoin(server, &vec![FIVE + 1; clients / FIVE])
        })],
    ),
    (
        Kind::Floor,
        &[curve("clients back at once, one room", ALL_BACK, HERD, |server, clients| {
            rejoin(server, &[clients + 1])
        })],
    ),
];

/// What is not drawn: costs in the model of `docs/scaling.md`, and the load that it is checked against.
const UNITS: [Curve; 2] = [
    curve("connections in rooms of five", RESIDENT, &[1_000, 10_000], rooms_of_five),
    curve("rooms", KEPT_ROOM, &[2_000], memory),
];

/// Measures all of it, and writes tables and a picture.
///
/// # Errors
/// A server does not do what it is asked.
pub fn measure(options: &Options) -> anyhow::Result<()> {
    fs::create_dir_all(&options.out)?;
    let is_wanted = |curve: &Curve| curve.of.contains(&options.only);
    let measured = |curve: &Curve, kinds: &[Kind]| {
        let kinds: Vec<_> =
            kinds.iter().copied().filter(|kind| options.kinds.contains(kind)).collect();
        curve.measure(&kinds, &options.linkroom)
    };
    let (mut tables, mut series) = (String::new(), Vec::new());
    for (floor, curves) in SERIES.iter().filter(|(_, curves)| is_wanted(&curves[0])) {
        let points = measured(&curves[0], &[*floor, Kind::Linkroom])?;
        tables += &told(&points);
        series.push((*curves, points));
    }
    for curve in UNITS.iter().filter(|curve| is_wanted(curve)) {
        tables += &told(&measured(curve, &[Kind::Linkroom])?);
    }
    fs::write(options.out.join("scaling.md"), tables)?;
    let drawn: Vec<_> = series
        .iter()
        .flat_map(|(curves, points)| curves.iter().map(|curve| (curve, points.as_slice())))
        .collect();
    plot::curves(&drawn, &options.out.join("scaling.svg"))
}

/// A table for each size, which is printed as well.
fn told(points: &[Point]) -> String {
    let same = points.chunk_by(|a, b| a.size == b.size);
    let tables = same.map(|points| {
        let measured: Vec<_> = points.iter().map(|point| &point.measured).collect();
        report::table(&measured) + "\n"
    });
    let tables: String = tables.collect();
    println!("{tables}");
    tables
}

/// Rooms with so many members, one where these are many: what a guest's join, a delivery and a member take.
fn one_room(server: &Server, members: usize) -> Outcome {
    let guests = (members / 10).clamp(10, GUESTS);
    let rooms = GUESTS / guests;
    let before = redis_kib(server)?;
    let mut load = Load::new(server, &vec![members + guests; rooms])?;
    let is_member = |at: &usize| at % (members + guests) < members;
    let (inside, outside): (Vec<usize>, Vec<usize>) =
        (0..rooms * (members + guests)).partition(is_member);
    let empty = server.resident_kib()?;
    load.enter_in_waves(&inside, WAVE)?;
    load.run_until(Instant::now() + CALM)?;
    let of_each = |kib: f64| kib / inside.len() as f64;
    let (resident, kept) = (of_each(server.resident_kib()? - empty), redis_kib(server)? - before);

    let joins = used(server, || load.enter_in_waves(&outside, 1))?.0;
    load.take_tally();
    let per_second = (DELIVERIES / members as f64).clamp(2.0, 50.0);
    let (talk, took) = used(server, || load.steady(per_second, TALK))?;
    let tally = load.take_tally();
    let each = |used| micros(used) / outside.len() as f64;
    let mut figures = vec![(JOIN_SERVER, each(joins.server)), (JOIN_REDIS, each(joins.redis))];
    figures.extend(delivery_figures(&tally, talk, took));
    figures.extend([(RESIDENT, resident), ("Redis KiB per member", of_each(kept))]);
    Ok((figures, tally))
}

/// So many connections in rooms of five: what they take while they are silent, and while each room says something
/// every five seconds.
fn rooms_of_five(server: &Server, connections: usize) -> Outcome {
    let (mut load, resident) = held(server, &vec![FIVE; connections / FIVE])?;
    let (idle, silent) = used(server, || load.idle(HEARTBEAT, HEARTBEAT * 2))?;
    let per_second = connections as f64 / FIVE as f64 / 5.0;
    load.take_tally();
    let (talk, took) = used(server, || load.steady(per_second, TALK))?;
    let tally = load.take_tally();
    let beat = |used| micros(used) / connections as f64 / silent.as_secs_f64();
    let core = |used: Duration| 100.0 * used.as_secs_f64() / took.as_secs_f64();
    let mut figures = vec![
        (RESIDENT, resident),
        ("silent: server µs per connection and second", beat(idle.server)),
        ("silent: Redis µs per connection and second", beat(idle.redis)),
        ("talking: server, % of a core", core(talk.server)),
        ("talking: Redis, % of a core", core(talk.redis)),
    ];
    figures.extend(delivery_figures(&tally, talk, took));
    Ok((figures, tally))
}

/// What rooms, their only members and messages take in memory.
fn memory(server: &Server, rooms: usize) -> Outcome {
    let of_each = |kib: f64| kib / rooms as f64;
    let before = redis_kib(server)?;
    let mut load = Load::new(server, &vec![1; rooms])?;
    let (empty, made) = (server.resident_kib()?, redis_kib(server)?);
    load.enter(0, rooms)?;
    load.run_until(Instant::now() + CALM)?;
    let (resident, inside) = (server.resident_kib()? - empty, redis_kib(server)?);
    load.steady(1_000.0, TALK)?;
    let tally = load.take_tally();
    let said = (redis_kib(server)? - inside) / tally.sent as f64;
    let figures = vec![
        (KEPT_ROOM, of_each(made - before)),
        ("Redis KiB per member, alone in its room", of_each(inside - made)),
        ("Redis KiB per message of 64 bytes", said),
        ("resident KiB per connection, alone in its room", of_each(resident)),
    ];
    Ok((figures, tally))
}

/// CPU that a server and its Redis use while this is done, and how long it takes.
fn used(
    server: &Server,
    done: impl FnOnce() -> anyhow::Result<()>,
) -> anyhow::Result<(Cpu, Duration)> {
    let (before, begun) = (server.cpu()?, Instant::now());
    done()?;
    Ok((server.cpu()?.since(before), begun.elapsed()))
}

fn redis_kib(server: &Server) -> anyhow::Result<f64> {
    Ok(server.redis().map_or(Ok(0.0), |redis| redis.used_memory())? / 1024.0)
}
