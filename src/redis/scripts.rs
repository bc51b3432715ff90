//! One typed function for each Lua script, and the only place that knows their arguments, replies
//! and status words. What a script does and promises stands at the head of its file.

mod types;
mod wire;

use std::sync::Arc;

use tokio::{sync::SemaphorePermit, time::timeout};

use super::{
    Redis,
    keys::{self, KeyStyle, RoomKeys},
    script::{Named, pack, script},
};
use crate::{
    error::{Code, Error},
    names::{MessageId, RoomId, Status, Token, UserId},
    problem::Problem,
    settings::{Durability, Settings},
};
pub use types::{
    ConnectionReport, Draft, HeartbeatReply, Join, Leave, LeaveOutcome, Member, MessagePage,
    Missed, Page, Published, Remembered, Restored, RoomFacts, RoomState, Sender, Snapshot,
    UserHeartbeat,
};
use wire::{
    Arg, ScriptReply, draft_args, flag, frame_head, heartbeat_args, ms, number, optional, second,
};

/// Characters of a room's secret, 6 random bits each. What is hashed for an id fits into one block of SHA-1.
const SECRET_LENGTH: usize = 12;

/// Every way to change or read a room.
#[derive(Clone)]
pub struct Scripts(Arc<Inner>);

struct Inner {
    redis: Redis,
    settings: Arc<Settings>,
    create_room: Named,
    add_session: Named,
    join: Named,
    publish: Named,
    heartbeat: Named,
    leave: Named,
    sweep_room: Named,
    read_room: Named,
    read_topic: Named,
    read_messages: Named,
    catch_up: Named,
    tell_members: Named,
    restore: Named,
    remember: Named,
    keep_promise: Named,
}

impl Scripts {
    /// The scripts, to be run through `redis`.
    pub fn new(redis: Redis, settings: Arc<Settings>) -> Self {
        Self(Arc::new(Inner {
            redis,
            settings,
            create_room: script!("create_room", "clock"),
            add_session: script!("add_session", "clock"),
            join: script!(
                "join",
                "clock",
                "confirm_session",
                "json_list",
                "digest",
                "follows",
                "is_newer",
                "last_generated_id",
                "tip",
                "read_newest",
                "read_history",
                "publish_event",
                "user_key",
                "fence",
                "remove_member",
                "sweep",
                "settle",
                "touch_room",
                "away_members",
                "roster",
                "publish_members",
                "begin_return",
                "has_connections",
                "count_connections"
            ),
            publish: script!(
                "publish",
                "clock",
                "confirm_session",
                "timestamp",
                "digest",
                "next_id",
                "tip"
            ),
            heartbeat: script!(
                "heartbeat",
                "clock",
                "json_list",
                "is_newer",
                "tip",
                "publish_event",
                "user_key",
                "fence",
                "remove_member",
                "sweep",
                "settle",
                "touch_room",
                "away_members",
                "roster",
                "publish_members",
                "begin_return",
                "use_skiplist"
            ),
            leave: script!(
                "leave",
                "clock",
                "confirm_session",
                "publish_event",
                "user_key",
                "remove_member",
                "sweep",
                "settle"
            ),
            sweep_room: script!(
                "sweep_room",
                "clock",
                "publish_event",
                "user_key",
                "remove_member",
                "sweep"
            ),
            read_room: script!(reads "read_room", "clock", "user_key", "away_members"),
            read_topic: script!(reads "read_topic"),
            read_messages: script!(reads "read_messages"),
            catch_up: script!(reads "catch_up", "digest", "follows", "is_newer", "last_generated_id"),
            tell_members: script!(
                "tell_members",
                "json_list",
                "user_key",
                "away_members",
                "roster"
            ),
            remember: script!("remember"),
            keep_promise: script!("keep_promise"),
            restore: script!(
                "restore",
                "clock",
                "json_list",
                "is_newer",
                "tip",
                "publish_event",
                "user_key",
                "fence",
                "settle",
                "touch_room",
                "away_members",
                "roster",
                "publish_members"
            ),
        }))
    }

    /// How key names are written on this deployment.
    pub fn key_style(&self) -> KeyStyle {
        self.0.redis.key_style()
    }

    fn keys(&self, room: &RoomId) -> RoomKeys {
        self.key_style().room(room)
    }

    /// Makes a room. `false` where the id is in use.
    ///
    /// # Errors
    /// Redis is out of reach.
    pub async fn create_room(
        &self,
        room: &RoomId,
        creator: &UserId,
        token: &Token,
        e2e: bool,
        topic: Option<&str>,
    ) -> Result<bool, Error> {
        let keys = self.keys(room);
        let settings = &self.0.settings;
        let reply = self
            .run(
                &self.0.create_room,
                vec![
                    keys.room(),
                    keys.members(),
                    keys.deadlines(),
                    keys.session(creator),
                    keys.presence(creator),
                ],
                &[
                    creator.as_str().into(),
                    token.hash().into(),
                    ms(settings.presence_ttl),
                    ms(settings.session_ttl.max(settings.presence_ttl)),
                    ms(settings.room_ttl),
                    flag(e2e),
                    nanoid::nanoid!(SECRET_LENGTH).into(),
                    topic.unwrap_or_default().into(),
                ],
            )
            .await?;
        Ok(reply.status == "OK")
    }

    /// Gives a guest without a socket a name in the room.
    ///
    /// # Errors
    /// `ROOM_NOT_FOUND`, `NAME_TAKEN`, or Redis is out of reach.
    pub async fn add_session(
        &self,
        room: &RoomId,
        user: &UserId,
        token: &Token,
    ) -> Result<(), Error> {
        let keys = self.keys(room);
        let names = vec![keys.room(), keys.session(user)];
        let settings = &self.0.settings;
        let args = [token.hash().into(), ms(settings.session_ttl.max(settings.presence_ttl))];
        self.run(&self.0.add_session, names, &args).await?.ok()?;
        Ok(())
    }

    /// Remembers what the request of this name is promised, unless it was promised something before.
    ///
    /// # Errors
    /// Redis is out of reach.
    pub async fn remember(
        &self,
        name: &str,
        digest: &str,
        sealed: &str,
    ) -> Result<Remembered, Error> {
        let args = [digest.into(), sealed.into(), ms(self.0.settings.idempotency_ttl)];
        let names = vec![keys::promise(name)];
        let mut reply = self.run(&self.0.remember, names, &args).await?.ok()?;
        Ok(Remembered { digest: reply.text()?, sealed: reply.text()?, is_kept: reply.flag()? })
    }

    /// Notes that what the request of this name was promised is done.
    ///
    /// # Errors
    /// Redis is out of reach.
    pub async fn keep_promise(&self, name: &str) -> Result<(), Error> {
        self.run(&self.0.keep_promise, vec![keys::promise(name)], &[]).await?.ok()?;
        Ok(())
    }

    /// Lets a connection into a room. A fence with the connection's id reaches this node on its
    /// subscription, in order with the room's events.
    ///
    /// # Errors
    /// `ROOM_NOT_FOUND`, `NAME_TAKEN`, `INVALID_TOKEN`, `ROOM_FULL`, `RATE_LIMITED` where the user has
    /// as many connections as it may, or Redis is out of reach.
    pub async fn join(&self, room: &RoomId, join: Join<'_>) -> Result<Snapshot, Error> {
        let keys = self.keys(room);
        let settings = &self.0.settings;
        let names = vec![
            keys.room(),
            keys.members(),
            keys.deadlines(),
            keys.messages(),
            keys.session(join.user),
            keys.roster(),
            keys.returning(),
        ];
        let mut args = self.stem(room, &keys);
        args.extend([
            join.user.as_str().into(),
            if join.guest { "guest" } else { "token" }.into(),
            join.token.hash().into(),
            join.connection.into(),
            join.status.as_str().into(),
            ms(settings.presence_ttl),
            ms(settings.session_ttl),
            ms(settings.room_ttl),
            number(settings.room_max_members),
            optional(join.since).into(),
            number(settings.join_history),
            number(settings.resume_max),
            self.0.redis.node_channel().into(),
            join.tag.into(),
            flag(self.0.redis.is_returning()),
            ms(self.0.redis.spared()),
            self.provisional_ttl(),
            number(settings.connections_per_user),
            number(settings.joined_bytes),
            self.longest(),
        ]);
        let reply = self.run(&self.0.join, names, &args).await?.ok();
        let mut reply = reply.map_err(|error| match error.code {
            Code::RateLimited => {
                let max = settings.connections_per_user;
                let problems = [("token".into(), Problem::TooManyConnections { max })].into();
                Error { problems, ..error }
            }
            _ => error,
        })?;
        Ok(Snapshot {
            members: reply.text()?,
            away: reply.text()?,
            facts: RoomFacts {
                creator: reply.text()?,
                created_at_ms: reply.number()?,
                e2e: reply.flag()?,
                secret: reply.text()?,
                topic: reply.maybe()?,
            },
            member_count: reply.number()?,
            joined_at_ms: reply.number()?,
            tip: reply.id()?,
            events: reply.number()?,
            more: reply.flag()?,
            messages: reply.messages(room)?,
        })
    }

    /// Stores messages in their order and tells the room. Returns what became of each.
    ///
    /// # Errors
    /// `ROOM_NOT_FOUND`, or Redis is out of reach; in the last case they may have been stored.
    /// For one message `INVALID_TOKEN`, `NOT_IN_ROOM`, `RATE_LIMITED`, or Redis failed.
    pub async fn publish(
        &self,
        room: &RoomId,
        drafts: &[&Draft],
    ) -> Result<Vec<Result<Published, Error>>, Error> {
        let keys = self.keys(room);
        let settings = &self.0.settings;
        let channel = keys.channel();
        let [second, begins] = second(self.0.redis.now_ms());
        let mut names = vec![keys.room(), keys.messages()];
        let mut args = vec![
            channel.as_str().into(),
            number(settings.messages_per_second),
            number(settings.history_max),
            ms(settings.room_ttl),
            ms(settings.session_ttl),
            ms(settings.idempotency_ttl),
            flag(settings.durability != Durability::Memory),
            frame_head(room).into(),
            second.into(),
            begins.into(),
        ];
        for draft in drafts {
            let key = draft.key.as_deref();
            names.push(keys.session(&draft.user));
            names.extend(key.map(|key| keys.idempotency(&draft.user, key)));
            args.extend(draft_args(draft));
        }
        let reply = self.run_durable(&self.0.publish, names, &args, Some(&channel)).await?;
        let mut reply = reply.ok()?;
        let _frames = reply.number()?;
        Ok(drafts.iter().map(|_| reply.published()).collect())
    }

    /// Keeps a room's members alive, clears those that lapsed, and has a fence with `tag` sent to
    /// this node.
    ///
    /// # Errors
    /// `ROOM_NOT_FOUND`, or Redis is out of reach.
    pub async fn heartbeat(
        &self,
        room: &RoomId,
        tag: &str,
        beats: &[UserHeartbeat],
    ) -> Result<HeartbeatReply, Error> {
        let keys = self.keys(room);
        let mut args = self.stem(room, &keys);
        args.extend(self.ttls());
        args.extend([self.0.redis.node_channel().into(), tag.into()]);
        let presence_ttl = self.0.settings.presence_ttl;
        args.push(Arg::List(beats.iter().map(|beat| beat.user.as_str().into()).collect()));
        args.push(Arg::List(
            beats.iter().flat_map(|beat| heartbeat_args(beat, presence_ttl)).collect(),
        ));
        args.push(ms(self.0.redis.spared()));
        args.extend([self.provisional_ttl(), self.longest()]);
        let names = vec![
            keys.room(),
            keys.members(),
            keys.deadlines(),
            keys.messages(),
            keys.returning(),
            keys.roster(),
        ];
        let mut reply = self.run(&self.0.heartbeat, names, &args).await?.ok()?;
        Ok(HeartbeatReply { tip: reply.id()?, events: reply.number()?, lost: reply.users()? })
    }

    /// Takes a connection out of a room, with or without a grace.
    ///
    /// # Errors
    /// `ROOM_NOT_FOUND`, or Redis is out of reach.
    pub async fn leave(&self, room: &RoomId, leave: Leave<'_>) -> Result<LeaveOutcome, Error> {
        let (keys, settings) = (self.keys(room), &self.0.settings);
        let names = vec![keys.room(), keys.members(), keys.deadlines(), keys.session(leave.user)];
        let mut args = self.stem(room, &keys);
        args.extend([
            leave.user.as_str().into(),
            leave.connection.into(),
            ms(leave.grace),
            ms(settings.session_ttl),
            ms(self.0.redis.spared()),
            flag(leave.proven),
            ms(settings.leave_grace),
            self.longest(),
        ]);
        let mut reply = self.run(&self.0.leave, names, &args).await?.ok()?;
        Ok(match reply.text()?.as_str() {
            "left" => LeaveOutcome::Left,
            "grace" => LeaveOutcome::Grace,
            _ => LeaveOutcome::Stays,
        })
    }

    /// Clears members that lapsed.
    ///
    /// # Errors
    /// `ROOM_NOT_FOUND`, or Redis is out of reach.
    pub async fn sweep_room(&self, room: &RoomId) -> Result<(), Error> {
        let keys = self.keys(room);
        let names = vec![keys.room(), keys.members(), keys.deadlines()];
        let mut args = self.stem(room, &keys);
        args.extend([ms(self.0.redis.spared()), self.longest()]);
        self.run(&self.0.sweep_room, names, &args).await?.ok()?;
        Ok(())
    }

    /// Reads a room and who is in it, and clears members that lapsed where Redis lets us write.
    ///
    /// # Errors
    /// `ROOM_NOT_FOUND`, or Redis is out of reach.
    pub async fn read_room(&self, room: &RoomId) -> Result<RoomState, Error> {
        let keys = self.keys(room);
        let names = vec![keys.room(), keys.members(), keys.deadlines()];
        let args = [keys.users().into(), self.longest()];
        let mut reply = self.run(&self.0.read_room, names, &args).await?.ok()?;
        let (creator, created_at_ms) = (reply.text()?, reply.number()?);
        let (e2e, topic) = (reply.flag()?, reply.maybe()?);
        if reply.flag()? {
            // Where it fails, whoever touches the room next does it.
            let _ = self.sweep_room(room).await;
        }
        let mut members = Vec::new();
        while !reply.is_empty() {
            members.push(Member {
                user: reply.text()?,
                status: if reply.text()? == "away" { Status::Away } else { Status::Online },
                // Where somebody wrote something else there, it is as old as the room.
                joined_at_ms: reply.text()?.parse().unwrap_or(created_at_ms),
                read: reply.text()?.parse().ok(),
            });
        }
        members.sort_by(|a, b| a.user.cmp(&b.user));
        Ok(RoomState { creator, created_at_ms, e2e, topic, members })
    }

    /// Reads a room's topic, as far as whoever has the link may see it.
    ///
    /// # Errors
    /// `ROOM_NOT_FOUND`, or Redis is out of reach.
    pub async fn read_topic(&self, room: &RoomId) -> Result<Option<String>, Error> {
        let names = vec![self.keys(room).room()];
        self.run(&self.0.read_topic, names, &[]).await?.ok()?.maybe()
    }

    /// Reads one page of a room's messages.
    ///
    /// # Errors
    /// `ROOM_NOT_FOUND`, or Redis is out of reach.
    pub async fn read_messages(
        &self,
        room: &RoomId,
        page: Page,
        limit: usize,
    ) -> Result<MessagePage, Error> {
        let keys = self.keys(room);
        let (way, from) = match page {
            Page::Before(None) => ("before", "+".to_owned()),
            Page::Before(Some(id)) => ("before", id.to_string()),
            Page::After(id) => ("after", id.to_string()),
        };
        let names = vec![keys.room(), keys.messages()];
        let args = [way.into(), from.into(), number(limit)];
        let mut reply = self.run(&self.0.read_messages, names, &args).await?.ok()?;
        Ok(MessagePage { has_more: reply.flag()?, messages: reply.messages(room)? })
    }

    /// Reads what came after the last message that this node delivered, and waits until it is kept.
    ///
    /// # Errors
    /// Redis is out of reach, or did not confirm in time.
    pub async fn catch_up(
        &self,
        room: &RoomId,
        after: MessageId,
        limit: usize,
    ) -> Result<Missed, Error> {
        let keys = self.keys(room);
        let names = vec![keys.room(), keys.messages()];
        let args = [after.to_string().into(), number(limit)];
        let mut reply = self.run_durable(&self.0.catch_up, names, &args, None).await?.ok()?;
        Ok(Missed { trimmed: reply.flag()?, messages: reply.messages(room)? })
    }

    /// Has the whole truth about a room's members sent to this node, in order with its events.
    ///
    /// # Errors
    /// `ROOM_NOT_FOUND`, or Redis is out of reach.
    pub async fn tell_members(&self, room: &RoomId) -> Result<(), Error> {
        self.members(room, self.0.redis.node_channel()).await?;
        Ok(())
    }

    /// The whole truth about a room's members as a frame's text, where nothing that is sent comes, and
    /// the number of events that it accounts for.
    ///
    /// # Errors
    /// `ROOM_NOT_FOUND`, or Redis is out of reach.
    pub async fn list_members(&self, room: &RoomId) -> Result<(u64, String), Error> {
        let mut reply = self.members(room, "").await?;
        Ok((reply.number()?, reply.text()?))
    }

    async fn members(&self, room: &RoomId, node_channel: &str) -> Result<ScriptReply, Error> {
        let keys = self.keys(room);
        let names = vec![keys.room(), keys.members(), keys.roster()];
        let args = [room.as_str().into(), keys.users().into(), node_channel.into()];
        self.run(&self.0.tell_members, names, &args).await?.ok()
    }

    /// Puts back a room that Redis lost, and has a fence with `tag` sent to this node. Returns the
    /// users whose name somebody else took.
    ///
    /// # Errors
    /// Redis is out of reach.
    pub async fn restore(
        &self,
        room: &RoomId,
        tag: &str,
        facts: &RoomFacts,
        users: &[Restored],
    ) -> Result<Vec<UserId>, Error> {
        let keys = self.keys(room);
        let mut args = self.stem(room, &keys);
        args.extend(self.ttls());
        args.extend([
            facts.creator.as_str().into(),
            facts.created_at_ms.to_string().into(),
            flag(facts.e2e),
            self.0.redis.node_channel().into(),
            tag.into(),
            facts.secret.as_str().into(),
            facts.topic.as_deref().unwrap_or_default().into(),
        ]);
        let presence_ttl = self.0.settings.presence_ttl;
        let users = users.iter().flat_map(|Restored { beat, token }| {
            [token.hash().into(), beat.user.as_str().into()]
                .into_iter()
                .chain(heartbeat_args(beat, presence_ttl))
        });
        args.push(Arg::List(users.collect()));
        args.extend([self.provisional_ttl(), self.longest()]);
        let names =
            vec![keys.room(), keys.members(), keys.deadlines(), keys.messages(), keys.roster()];
        self.run(&self.0.restore, names, &args).await?.ok()?.users()
    }

    /// The arguments that every script about a whole room begins with.
    fn stem<'a>(&'a self, room: &'a RoomId, keys: &RoomKeys) -> Vec<Arg<'a>> {
        vec![room.as_str().into(), keys.channel().into(), keys.users().into()]
    }

    /// How far ahead a deadline can be that a script of ours has set.
    fn longest(&self) -> Arg<'static> {
        ms(self.0.settings.presence_ttl.max(self.0.settings.leave_grace))
    }

    /// How long a session lasts of which nobody has proved that it heard of its token: as long as its
    /// connection may be silent, and the grace.
    fn provisional_ttl(&self) -> Arg<'static> {
        let settings = &self.0.settings;
        let lasts = settings.presence_ttl.saturating_add(settings.leave_grace);
        ms(lasts.min(settings.session_ttl.max(settings.presence_ttl)))
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
        let _turn = self.turn(named).await?;
        ScriptReply::new(self.0.redis.evalsha(named, keys, pack(args)).await?)
    }

    /// To be held while a call is under way.
    async fn turn<'a>(&self, named: &'a Named) -> Result<SemaphorePermit<'a>, Error> {
        if let Ok(turn) = named.turns.try_acquire() {
            return Ok(turn);
        }
        match timeout(self.0.settings.redis_timeout, named.turns.acquire()).await {
            Ok(Ok(turn)) => Ok(turn),
            _ => Err(Error::unavailable("too many calls of its kind wait for redis")),
        }
    }

    /// Without a turn: what is said of one room waits for each other already, and so do the readings
    /// of streams.
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

    /// Every entry script with the fragments that its `script!` line names, in order.
    fn scripts() -> Vec<(String, Vec<String>)> {
        let source = concat!(include_str!("scripts.rs"), include_str!("probe.rs"));
        let lines = source.split("script!(").skip(1);
        let words = lines.map(|call| {
            let call = call.split(')').next().unwrap();
            call.split('"').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>()
        });
        let named =
            words.filter(|words| words.first().is_some_and(|w| Path::new(&file(w)).exists()));
        named.map(|mut words| (words.remove(0), words)).collect()
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
        for (name, _) in scripts {
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

    #[test]
    fn every_fragment_comes_after_those_it_needs() {
        for (name, fragments) in scripts() {
            for (at, fragment) in fragments.iter().enumerate() {
                let text = fs::read_to_string(file(&format!("lib/{fragment}"))).unwrap();
                let needs = text.split("Needs: ").nth(1).and_then(|rest| rest.split('.').next());
                for needed in needs.unwrap_or_default().split(", ").filter(|word| !word.is_empty())
                {
                    let before = fragments[..at].iter().any(|other| other == needed);
                    assert!(before, "{name}: {fragment} needs {needed}");
                }
            }
        }
    }
}
