//! The cost of each Lua script in Redis, in rooms of 1 to 1,000 members, by command: Redis's own
//! count of microseconds while linkroom repeats one operation.

use std::{path::Path, time::Duration};

use anyhow::Context;

use crate::{
    load::Load,
    scenarios,
    server::{Kind, Server},
};

/// Numbers of members of the room.
const SIZES: [usize; 4] = [1, 10, 100, 1000];
/// Repetitions of each operation.
const TIMES: usize = 200;
/// Guests that join at the end.
const GUESTS: usize = 20;
/// Heartbeat interval of the second server, which does nothing else.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// The room's creator is a member too, for a while.
const LARGE_ROOMS: (&str, &str) = ("ROOM_MAX_MEMBERS", "2000");
/// Number of commands listed per script, the most expensive first.
const DEAREST: usize = 4;

/// The cost of a script.
struct Cost {
    calls: u64,
    micros: f64,
    /// Commands inside the script: name, calls, and total microseconds.
    commands: Vec<(String, u64, f64)>,
}

/// Measures all scripts. Returns the tables.
///
/// # Errors
/// linkroom or Redis fails.
pub fn profile(linkroom: &Path) -> anyhow::Result<String> {
    let mut lines: Vec<(&str, Vec<Cost>)> = Vec::new();
    for size in SIZES {
        let mut costs = on_demand(linkroom, size)?;
        costs.push(("heartbeat, all members", beating(linkroom, size)?));
        for (name, cost) in costs {
            match lines.iter_mut().find(|(known, _)| *known == name) {
                Some((_, costs)) => costs.push(cost),
                None => lines.push((name, vec![cost])),
            }
        }
    }
    Ok(table(&lines))
}

/// The cost of scripts that run on request; no heartbeat runs meanwhile.
fn on_demand(linkroom: &Path, size: usize) -> anyhow::Result<Vec<(&'static str, Cost)>> {
    let quiet =
        [("PRESENCE_TTL", "1h"), LARGE_ROOMS, ("SESSION_TTL", "2h"), ("IDLE_TIMEOUT", "1h")];
    let server = Server::start_with(Kind::Linkroom, linkroom, &quiet)?;
    let redis = server.redis().context("no Redis")?;
    let mut load = Load::new(&server, &[size + GUESTS])?;
    load.enter(0, size)?;
    let room = load.room_id(0);
    load.say_in_every_room(&[0], TIMES)?;
    let mut costs = Vec::new();
    let mut note = |name, done: anyhow::Result<()>| {
        done?;
        costs.push((name, cost(redis.take_statistics()?)));
        anyhow::Ok(())
    };
    let pages = format!("GET /api/rooms/{room}/messages?limit=50");
    let look = format!("GET /api/rooms/{room}");
    let guests = format!("POST /api/rooms/{room}/sessions");
    redis.take_statistics()?;
    note("publish", load.say_in_every_room(&[0], TIMES))?;
    note("heartbeat, one member's news", load.show_often(0, TIMES))?;
    note("join again, nothing missed", load.join_often(0, TIMES))?;
    note("create_room", (0..TIMES).try_for_each(|_| server.make_room().map(drop)))?;
    note("read_room", (0..TIMES).try_for_each(|_| server.request(&look, "").map(drop)))?;
    note("read_messages, 50", (0..TIMES).try_for_each(|_| server.request(&pages, "").map(drop)))?;
    note(
        "add_session",
        (0..TIMES).try_for_each(|guest| {
            server.request(&guests, &format!(r#"{{"name":"guest-{guest}"}}"#)).map(drop)
        }),
    )?;
    note("join as a guest, 50 messages", load.enter(size, size + GUESTS))?;
    Ok(costs)
}

/// The cost of the heartbeat of a whole room.
fn beating(linkroom: &Path, size: usize) -> anyhow::Result<Cost> {
    let beat = format!("{}s", HEARTBEAT.as_secs());
    let settings = [("HEARTBEAT_INTERVAL", beat.as_str()), LARGE_ROOMS];
    let server = Server::start_with(Kind::Linkroom, linkroom, &settings)?;
    let redis = server.redis().context("no Redis")?;
    let mut load = scenarios::everybody_inside(&server, &[size])?;
    load.idle(HEARTBEAT, HEARTBEAT)?;
    redis.take_statistics()?;
    load.idle(HEARTBEAT, HEARTBEAT * 5)?;
    Ok(cost(redis.take_statistics()?))
}

/// Reads Redis's statistics of commands: `cmdstat_hget:calls=4,usec=9,…` lines.
fn cost(statistics: String) -> Cost {
    let mut cost = Cost { calls: 0, micros: 0.0, commands: Vec::new() };
    for line in statistics.lines() {
        let Some((name, fields)) = line.strip_prefix("cmdstat_").and_then(|l| l.split_once(':'))
        else {
            continue;
        };
        let field = |wanted: &str| {
            let pairs = fields.split(',').filter_map(|pair| pair.split_once('='));
            let found = pairs.into_iter().find(|(name, _)| *name == wanted);
            found.and_then(|(_, value)| value.parse::<f64>().ok()).unwrap_or_default()
        };
        match name {
            "evalsha" => (cost.calls, cost.micros) = (field("calls") as u64, field("usec")),
            // linkroom's own probes of Redis, and this program's queries.
            "ping" | "info" | "config|resetstat" => {}
            _ => cost.commands.push((name.to_owned(), field("calls") as u64, field("usec"))),
        }
    }
    cost.commands.sort_by(|a, b| b.2.total_cmp(&a.2));
    cost
}

fn table(lines: &[(&str, Vec<Cost>)]) -> String {
    let mut out = vec![
        "| script | 1 | 10 | 100 | 1,000 members | most of it, at 1,000 |".to_owned(),
        "|---|---:|---:|---:|---:|---|".to_owned(),
    ];
    for (name, costs) in lines {
        let each = |cost: &Cost| format!("{:.0}", cost.micros / cost.calls.max(1) as f64);
        let numbers = costs.iter().map(each).collect::<Vec<_>>().join(" | ");
        let dearest = costs.last().map(dearest).unwrap_or_default();
        out.push(format!("| {name} | {numbers} | {dearest} |"));
    }
    out.join("\n") + "\n"
}

fn dearest(cost: &Cost) -> String {
    let calls = cost.calls.max(1) as f64;
    let lua = cost.micros - cost.commands.iter().map(|c| c.2).sum::<f64>();
    let mut parts = vec![format!("Lua {:.0}", lua / calls)];
    parts.extend(cost.commands.iter().take(DEAREST).map(|(name, times, micros)| {
        format!("{name} {:.1} ({:.1} ×)", micros / calls, *times as f64 / calls)
    }));
    parts.join(", ")
}
