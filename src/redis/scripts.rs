//! One typed function for each Lua script. Only this module knows their arguments, replies and
//! status words. The head of each Lua file has its contract.

mod hooks;
mod members;
mod messages;
mod push;
mod rooms;
mod types;
mod wire;

use std::{net::IpAddr, sync::Arc};

use tokio::{sync::OwnedSemaphorePermit, time::timeout};

use super::{
    Redis,
    keys::{KeyStyle, RoomKeys},
    script::{Named, pack, script},
};
use crate::{
    error::Error,
    limits,
    names::{RoomId, UserId},
    settings::Settings,
};
pub use types::{
    Attempt, AttemptRecorded, Backlog, Confirmation, ConnectionReport, DeadLetter, Draft, Entry,
    Grace, HeartbeatReply, History, Join, Joined, Leave, LeaveOutcome, Left, Member, MessagePage,
    Missed, Page, Published, PushFacts, QueuedEvent, ReadOn, Reader, Ready, Remembered,
    Restoration, Restored, RoomChange, RoomFacts, RoomOptions, RoomState, Sender, Snapshot,
    UserHeartbeat, json_of,
};
use wire::{Arg, ScriptReply, flag, ms, number};

/// Every way to change or read a room.
#[derive(Clone)]
pub struct Scripts(Arc<Inner>);

struct Inner {
    redis: Redis,
    settings: Arc<Settings>,
    create_room: Named,
    update_room: Named,
    close_room: Named,
    clear_room: Named,
    remove_user: Named,
    lift_bans: Named,
    add_session: Named,
    join: Named,
    publish: Named,
    delete_message: Named,
    redact_event: Named,
    heartbeat: Named,
    leave: Named,
    sweep_room: Named,
    read_room: Named,
    read_members: Named,
    read_facts: Named,
    read_subject: Named,
    read_right: Named,
    read_messages: Named,
    catch_up: Named,
    read_on: Named,
    tell_members: Named,
    restore: Named,
    remember: Named,
    keep_promise: Named,
    settle_hook: Named,
    tend_hooks: Named,
    read_letters: Named,
    move_letter: Named,
    subscribe: Named,
    unsubscribe: Named,
    read_push: Named,
    keep_vapid: Named,
}

impl Scripts {
    /// The scripts, to be run through `redis`.
    pub fn new(redis: Redis, settings: Arc<Settings>) -> Self {
        Self(Arc::new(Inner {
            redis,
            settings,
            create_room: script!("create_room"),
            update_room: script!("update_room"),
            close_room: script!("close_room"),
            clear_room: script!("clear_room"),
            remove_user: script!("remove_user"),
            lift_bans: script!("lift_bans"),
            add_session: script!("add_session"),
            join: script!("join"),
            publish: script!("publish"),
            delete_message: script!("delete_message"),
            redact_event: script!("redact_event"),
            heartbeat: script!("heartbeat"),
            leave: script!("leave"),
            sweep_room: script!("sweep_room"),
            read_room: script!(reads "read_room"),
            read_members: script!(reads "read_members"),
            read_facts: script!(reads "read_facts"),
            read_subject: script!(reads "read_subject"),
            read_right: script!(reads "read_right"),
            read_messages: script!(reads "read_messages"),
            catch_up: script!(reads "catch_up"),
            read_on: script!("read_on"),
            tell_members: script!("tell_members"),
            remember: script!("remember"),
            keep_promise: script!("keep_promise"),
            settle_hook: script!("settle_hook"),
            tend_hooks: script!("tend_hooks"),
            read_letters: script!(reads "read_letters"),
            move_letter: script!("move_letter"),
            subscribe: script!("subscribe"),
            unsubscribe: script!("unsubscribe"),
            read_push: script!(reads "read_push"),
            keep_vapid: script!("keep_vapid"),
            restore: script!("restore"),
        }))
    }

    /// How key names are written on this deployment.
    pub fn key_style(&self) -> KeyStyle {
        self.0.redis.key_style()
    }

    fn keys(&self, room: &RoomId) -> RoomKeys {
        self.key_style().room(room)
    }

    /// The channel of this node for the rooms of a group.
    fn node_channel(&self, keys: &RoomKeys) -> Arg<'static> {
        keys.node_channel(self.0.redis.node()).into()
    }

    /// The first arguments of every script about a whole room.
    fn stem<'a>(&'a self, room: &'a RoomId, keys: &RoomKeys) -> Vec<Arg<'a>> {
        vec![room.as_str().into(), keys.channel().into(), keys.users().into()]
    }

    /// An address as scripts get it: that of its holder.
    fn address(address: IpAddr) -> Arg<'static> {
        limits::holder(address).to_string().into()
    }

    /// The arguments about a reader: its session; and its proof, or '' without one, its address,
    /// and whether guests may read.
    fn reader<'a>(&self, keys: &RoomKeys, reader: &Reader) -> (String, [Arg<'a>; 3]) {
        let (session, proof) = match &reader.token {
            Some((token, user)) => (keys.session(user), token.proof()),
            // No user has this name.
            None => (keys.session(&UserId::stored("")), String::new()),
        };
        let has_guests = flag(self.0.settings.identity.has_guests());
        (session, [proof.into(), Self::address(reader.address), has_guests])
    }

    /// TTL of a session until its client has proved that it got the token: as long as its
    /// connection may be silent, plus the grace.
    fn provisional_ttl(&self) -> Arg<'static> {
        let settings = &self.0.settings;
        let lasts = settings.presence_ttl.saturating_add(settings.leave_grace);
        ms(lasts.min(settings.session_ttl.max(settings.presence_ttl)))
    }

    /// Maximum time until a deadline.
    fn longest(&self) -> Arg<'static> {
        ms(self.0.settings.presence_ttl.max(self.0.settings.leave_grace))
    }

    /// Maximum number of members in a list of them.
    fn roster_max(&self) -> Arg<'static> {
        number(self.0.settings.roster_max)
    }

    fn ttls(&self) -> [Arg<'static>; 3] {
        let settings = &self.0.settings;
        [ms(settings.presence_ttl), ms(settings.session_ttl), ms(settings.room_ttl)]
    }

    async fn run(
        &self,
        named: &Named,
        keys: Vec<String>,
        args: &[Arg<'_>],
    ) -> Result<ScriptReply, Error> {
        let _turn = self.turn(named, keys.first().map(String::as_str).unwrap_or_default()).await?;
        ScriptReply::new(self.0.redis.evalsha(named, keys, pack(args)).await?)
    }

    /// Waits for a turn on the island with this key; the permit must be held during the call.
    async fn turn(&self, named: &Named, key: &str) -> Result<OwnedSemaphorePermit, Error> {
        let turns = self.0.redis.turns(named, key);
        if let Ok(turn) = turns.clone().try_acquire_owned() {
            return Ok(turn);
        }
        match timeout(self.0.settings.redis_timeout, turns.acquire_owned()).await {
            Ok(Ok(turn)) => Ok(turn),
            _ => Err(Error::unavailable("too many calls of its kind wait for redis")),
        }
    }

    /// Needs no turn: publish calls of one room already wait for each other, and so do catch-ups.
    async fn run_durable(
        &self,
        named: &Named,
        keys: Vec<String>,
        args: &[Arg<'_>],
        channel: Option<&str>,
    ) -> Result<ScriptReply, Error> {
        ScriptReply::new(self.0.redis.evalsha_durable(named, keys, pack(args), channel).await?)
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    /// The scripts that functions run.
    fn scripts() -> Vec<String> {
        let source = concat!(include_str!("scripts.rs"), include_str!("probe.rs"));
        let calls = source.split("script!(").skip(1);
        let named = calls.filter_map(|call| call.split('"').nth(1)).map(str::to_owned);
        named.filter(|name| Path::new(&file(name)).exists()).collect()
    }

    fn file(name: &str) -> String {
        format!("{}/lua/{name}.lua", env!("CARGO_MANIFEST_DIR"))
    }

    #[test]
    fn every_script_says_what_it_takes_and_keeps() {
        let scripts = scripts();
        let files = fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/lua")).unwrap();
        let files = files.filter(|f| f.as_ref().unwrap().path().is_file()).count();
        assert_eq!(
            scripts.len(),
            files,
            "each script has its function, and each function its script"
        );
        for name in scripts {
            let text = fs::read_to_string(file(&name)).unwrap();
            let head: String = text.lines().take_while(|line| line.starts_with("--")).collect();
            let body = &text[text.find("\nlocal").unwrap()..];
            for part in ["-- KEYS ", "-- ARGV ", "-- RETURNS ", "PROMISE "] {
                assert!(head.contains(part), "{name}: {part}");
            }
            for (what, used) in [("KEYS", "KEYS["), ("ARGV", "ARGV[")] {
                let said = head.split(&format!("-- {what} ")).nth(1).unwrap();
                let said: usize =
                    said.split(|c: char| !c.is_ascii_digit()).next().unwrap().parse().unwrap();
                let indices = body
                    .split(used)
                    .skip(1)
                    .filter_map(|rest| rest.split(']').next()?.parse().ok());
                assert_eq!(indices.max().unwrap_or(0), said, "{name}: {what}");
            }
        }
    }

    #[test]
    fn a_probe_asks_for_all_that_scripts_do() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/lua");
        let texts = [folder.to_owned(), format!("{folder}/lib")]
            .iter()
            .flat_map(|folder| fs::read_dir(folder).unwrap())
            .map(|file| file.unwrap().path())
            .filter(|path| path.is_file())
            .map(|path| fs::read_to_string(path).unwrap())
            .collect::<String>();
        let probe = fs::read_to_string(file("probe")).unwrap();
        for called in texts.split("call('").skip(1) {
            let command = called.split('\'').next().unwrap();
            assert!(probe.contains(&format!("{{'{command}'")), "probe.lua: {command}");
        }
    }

    /// The words of a script, without its comments and what stands in quotation marks.
    fn words(script: &str) -> Vec<String> {
        let code = script.lines().map(|line| line.split("--").next().unwrap_or_default());
        let code: Vec<_> = code.collect();
        let code = code.join("\n");
        let unquoted = code.split('\'').step_by(2).collect::<Vec<_>>().join(" '' ");
        let spaced: String = unquoted
            .chars()
            .flat_map(|c| match c {
                c if c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | ':') => vec![c],
                c => vec![' ', c, ' '],
            })
            .collect();
        spaced.split_whitespace().map(str::to_owned).collect()
    }

    /// The functions that a script calls where none of that name is visible.
    fn unknown_calls(script: &str) -> Vec<String> {
        let known =
            ["tonumber", "tostring", "type", "pairs", "ipairs", "unpack", "select", "pcall"];
        let no_call = ["function", "if", "and", "or", "not", "in", "return", "while", "until"];
        let words = words(script);
        let mut blocks: Vec<Vec<&str>> = vec![known.to_vec()];
        let mut unknown = Vec::new();
        for (at, word) in words.iter().enumerate() {
            let before = at.checked_sub(1).map_or("", |at| &words[at]);
            let innermost = blocks.len() - 1;
            match word.as_str() {
                "if" | "for" | "while" | "repeat" => blocks.push(Vec::new()),
                "do" if !is_loop(&words[..at]) => blocks.push(Vec::new()),
                "elseif" | "else" => blocks[innermost].clear(),
                "end" | "until" => drop(blocks.pop()),
                "function" => blocks.push(Vec::new()),
                name if before == "function" && name != "(" => {
                    blocks[innermost - 1].push(name);
                }
                name if before == "local" => blocks[innermost].push(name),
                _ => {}
            }
            let name = word.trim_start_matches('.');
            let is_called = words.get(at + 1).is_some_and(|next| next == "(")
                && name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
                && !name.contains(['.', ':'])
                && !no_call.contains(&name)
                && before != "function";
            if is_called && !blocks.iter().flatten().any(|known| *known == name) {
                unknown.push(name.to_owned());
            }
        }
        unknown
    }

    /// Whether the `do` behind these words belongs to a loop.
    fn is_loop(words: &[String]) -> bool {
        let last = words.iter().rev().find(|word| {
            matches!(word.as_str(), "for" | "while" | "do" | "end" | "then" | "local")
        });
        last.is_some_and(|word| word == "for" || word == "while")
    }

    #[test]
    fn every_function_that_a_script_calls_is_there_where_it_calls_it() {
        assert_eq!(unknown_calls("if x then local function f() end end f()"), ["f"]);
        assert_eq!(unknown_calls("local function g() f() end local function f() end"), ["f"]);
        for name in scripts() {
            let assembled = format!("{}/{name}.lua", env!("OUT_DIR"));
            assert_eq!(unknown_calls(&fs::read_to_string(assembled).unwrap()), [""; 0], "{name}");
        }
    }
}
