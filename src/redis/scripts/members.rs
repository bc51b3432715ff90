//! Scripts that change or read the members of a room.

use std::time::Duration;

use super::{
    Grace, HeartbeatReply, Join, Joined, Leave, LeaveOutcome, Left, Restoration, Restored,
    RoomFacts, Scripts, UserHeartbeat,
    wire::{
        Arg, ScriptReply, facts_args, flag, heartbeat_args, join_args, leave_args, malformed_reply,
        ms, number, restored_args,
    },
};
use crate::{
    error::{Code, Error},
    names::{RoomId, UserId},
    problem::Problem,
    removal::Session,
};

/// The status word for a room that must not come back.
const CLOSED: &str = "CLOSED";

impl Scripts {
    /// Lets connections into a room. Returns what became of each: `BANNED`, `ROOM_LOCKED`, `NAME_TAKEN`,
    /// `INVALID_TOKEN`, `ROOM_FULL`, `RATE_LIMITED` where the user has as many connections as it may. A fence with the
    /// tags of all who came in reaches this node on its subscription, in order with the room's events.
    ///
    /// # Errors
    /// `ROOM_NOT_FOUND`, or Redis is out of reach.
    pub async fn join(&self, room: &RoomId, joins: &[&Join]) -> Result<Vec<Joined>, Error> {
        let island = self.0.redis.island(room);
        let (keys, settings) = (self.keys(room), &self.0.settings);
        let mut names = vec![
            keys.room(),
            keys.members(),
            keys.deadlines(),
            keys.messages(),
            keys.returning(),
            keys.names(),
            keys.away(),
        ];
        names.extend(joins.iter().map(|join| keys.session(&join.user)));
        let mut args = self.stem(room, &keys);
        args.extend(self.ttls());
        args.extend([
            number(settings.room_max_members),
            number(settings.join_history),
            number(settings.resume_max),
            self.node_channel(&keys),
            flag(island.is_returning()),
            ms(island.deadline_extension()),
            self.provisional_ttl(),
            number(settings.connections_per_user),
            number(settings.joined_bytes),
            self.roster_max(),
            self.hooks(&keys),
            self.pushes(&keys),
        ]);
        args.extend(joins.iter().flat_map(|join| join_args(join)));
        let mut reply = self.run(&self.0.join, names, &args).await?.ok()?;
        let room = reply.joined_room(room)?;
        let became = joins.iter().map(|_| -> Result<Joined, Error> {
            Ok(match reply.joined(&room)? {
                Joined::Refused(error) if error.code == Code::RateLimited => {
                    let max = settings.connections_per_user;
                    let problems = [("token".into(), Problem::TooManyConnections { max })].into();
                    Joined::Refused(Error { problems, ..error })
                }
                other => other,
            })
        });
        became.collect()
    }

    /// Keeps a room's members alive, removes the lapsed ones, and publishes a fence with `tag` to
    /// this node. Returns as well which of the users `here`, who need not be kept alive yet, are no members.
    ///
    /// # Errors
    /// `ROOM_NOT_FOUND`, or Redis is out of reach.
    pub async fn heartbeat(
        &self,
        room: &RoomId,
        tag: &str,
        beats: &[UserHeartbeat],
        here: &[UserId],
    ) -> Result<HeartbeatReply, Error> {
        let island = self.0.redis.island(room);
        let keys = self.keys(room);
        let mut args = self.stem(room, &keys);
        args.extend(self.ttls());
        args.extend([self.node_channel(&keys), tag.into()]);
        let presence_ttl = self.0.settings.presence_ttl;
        args.push(Arg::List(beats.iter().map(|beat| beat.user.as_str().into()).collect()));
        args.push(Arg::List(
            beats.iter().flat_map(|beat| heartbeat_args(beat, presence_ttl)).collect(),
        ));
        args.push(ms(island.deadline_extension()));
        args.extend([self.provisional_ttl(), ms(self.0.settings.leave_grace)]);
        args.extend([self.roster_max(), self.hooks(&keys)]);
        args.push(Arg::List(here.iter().map(|user| user.as_str().into()).collect()));
        let names = vec![
            keys.room(),
            keys.members(),
            keys.deadlines(),
            keys.messages(),
            keys.returning(),
            keys.names(),
            keys.away(),
        ];
        let mut reply = self.run(&self.0.heartbeat, names, &args).await?.ok()?;
        Ok(HeartbeatReply {
            tip: reply.id()?,
            events: reply.number()?,
            bounded: reply.flag()?,
            again: reply.again()?,
            gone: (0..reply.number()?).map(|_| reply.user()).collect::<Result<_, Error>>()?,
            lost: reply.users()?,
        })
    }

    /// Takes connections out of a room, each with or without a grace. Returns the outcome of each.
    ///
    /// # Errors
    /// `ROOM_NOT_FOUND`, or Redis is out of reach.
    pub async fn leave(&self, room: &RoomId, leaves: &[&Leave]) -> Result<Left, Error> {
        let island = self.0.redis.island(room);
        let (keys, settings) = (self.keys(room), &self.0.settings);
        let names = vec![keys.room(), keys.members(), keys.deadlines(), keys.names(), keys.away()];
        let mut args = self.stem(room, &keys);
        args.extend([
            ms(settings.session_ttl),
            ms(island.deadline_extension()),
            ms(settings.leave_grace),
            ms(settings.presence_ttl),
            Arg::List(leaves.iter().flat_map(|leave| leave_args(leave)).collect()),
            self.roster_max(),
            self.hooks(&keys),
        ]);
        let mut reply = self.run(&self.0.leave, names, &args).await?.ok()?;
        let again = reply.again()?;
        let mut left = Left { outcomes: Vec::new(), graces: Vec::new(), again };
        for leave in leaves {
            let outcome = match reply.text()?.as_str() {
                "stays" => LeaveOutcome::Stays,
                "left" => LeaveOutcome::Left,
                until => {
                    let until_ms = until.parse().map_err(|_| malformed_reply())?;
                    left.graces.push(Grace { user: leave.user.clone(), until_ms });
                    LeaveOutcome::Grace
                }
            };
            left.outcomes.push(outcome);
        }
        Ok(left)
    }

    /// Clears lapsed members, a limited number in each call, and those whose grace is `over` by the
    /// clock of this node. Returns when the room needs another sweep.
    ///
    /// # Errors
    /// `ROOM_NOT_FOUND`, or Redis is out of reach.
    pub async fn sweep_room(
        &self,
        room: &RoomId,
        over: &[Grace],
    ) -> Result<Option<Duration>, Error> {
        let island = self.0.redis.island(room);
        let (keys, settings) = (self.keys(room), &self.0.settings);
        let names = vec![keys.room(), keys.members(), keys.deadlines(), keys.names(), keys.away()];
        let mut args = self.stem(room, &keys);
        args.extend(
            [island.deadline_extension(), settings.presence_ttl, settings.leave_grace].map(ms),
        );
        let over = over
            .iter()
            .flat_map(|grace| [grace.user.as_str().into(), grace.until_ms.to_string().into()]);
        args.extend([self.roster_max(), self.hooks(&keys), Arg::List(over.collect())]);
        self.run(&self.0.sweep_room, names, &args).await?.ok()?.again()
    }

    /// Has the complete state of a room and its members sent to this node, in order with its
    /// events. `known` is the number of events of which the node missed none.
    ///
    /// # Errors
    /// `ROOM_NOT_FOUND`, or Redis is out of reach.
    pub async fn tell_members(&self, room: &RoomId, known: u64) -> Result<(), Error> {
        self.members(room, self.node_channel(&self.keys(room)), known).await?;
        Ok(())
    }

    /// The complete state of a room and its members as frames, one per line, for use while
    /// publications do not arrive; and the number of events that it includes.
    ///
    /// # Errors
    /// `ROOM_NOT_FOUND`, or Redis is out of reach.
    pub async fn list_members(&self, room: &RoomId, known: u64) -> Result<(u64, String), Error> {
        let mut reply = self.members(room, "".into(), known).await?;
        Ok((reply.number()?, reply.text()?))
    }

    async fn members(
        &self,
        room: &RoomId,
        node_channel: Arg<'_>,
        known: u64,
    ) -> Result<ScriptReply, Error> {
        let keys = self.keys(room);
        let names = vec![keys.room(), keys.members(), keys.names(), keys.away()];
        let known = known.to_string();
        let args = [room.as_str().into(), node_channel, self.roster_max(), known.into()];
        self.run(&self.0.tell_members, names, &args).await?.ok()
    }

    /// Restores a room that Redis lost, and has a fence with `tag` sent to this node. Returns the
    /// users who were not restored.
    ///
    /// # Errors
    /// Redis is out of reach.
    pub async fn restore(
        &self,
        room: &RoomId,
        tag: &str,
        facts: &RoomFacts,
        users: &[Restored],
    ) -> Result<Restoration, Error> {
        let keys = self.keys(room);
        let mut args = self.stem(room, &keys);
        args.extend(self.ttls());
        args.extend([self.node_channel(&keys), tag.into(), facts_args(facts)]);
        let presence_ttl = self.0.settings.presence_ttl;
        let users = users.iter().flat_map(|user| restored_args(user, presence_ttl));
        args.push(Arg::List(users.collect()));
        args.extend([
            self.provisional_ttl(),
            self.roster_max(),
            self.hooks(&keys),
            self.pushes(&keys),
        ]);
        let mut names = keys.all();
        names.push(keys.closed());
        let reply = self.run(&self.0.restore, names, &args).await?;
        if reply.status == CLOSED {
            return Ok(Restoration::Closed);
        }
        let mut reply = reply.ok()?;
        let again = reply.again()?;
        let mut others = Vec::new();
        while !reply.is_empty() {
            let user = UserId::stored(&reply.text()?);
            let session = Session { user, joined_at_ms: reply.number()? };
            others.push((session, reply.reason()?));
        }
        Ok(Restoration::Done { others, again })
    }
}
