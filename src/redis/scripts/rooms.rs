//! Scripts that create, change and read a room, and that create sessions without a connection.

use super::{
    Member, Reader, Remembered, RoomChange, RoomFacts, RoomOptions, RoomState, Scripts,
    wire::{ScriptReply, change_args, flag, ms, new_room_args, number},
};
use std::{net::IpAddr, time::Duration};

use crate::{
    error::{Code, Error},
    names::{RoomId, Status, Token, UserId},
    redis::keys,
};

/// Characters of a room's secret, 6 random bits each. The input of an id's hash fits into one block
/// of SHA-1.
const SECRET_LENGTH: usize = 12;
/// Maximum number of removed sessions that a room remembers, for nodes that have not got the event.
const REMOVED_MAX: usize = 1000;
/// The status word for a room that its creator deleted.
const ROOM_CLOSED: &str = "ROOM_CLOSED";

/// A page of members.
struct MemberPage {
    /// Whether the room needs no sweep.
    is_swept: bool,
    /// The name after which there may be more.
    next: Option<String>,
    members: Vec<Member>,
}

impl Scripts {
    /// Creates a room. `false` if the id is in use.
    ///
    /// # Errors
    /// Redis is out of reach.
    pub async fn create_room(
        &self,
        room: &RoomId,
        creator: &UserId,
        token: &Token,
        options: &RoomOptions,
        address: IpAddr,
    ) -> Result<bool, Error> {
        let (keys, secret) = (self.keys(room), nanoid::nanoid!(SECRET_LENGTH));
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
                    keys.names(),
                    keys.closed(),
                ],
                &[
                    creator.as_str().into(),
                    token.hash().into(),
                    ms(settings.presence_ttl),
                    ms(settings.session_ttl.max(settings.presence_ttl)),
                    ms(settings.room_ttl),
                    new_room_args(&secret, options),
                    room.as_str().into(),
                    self.hooks(&keys),
                    keys.users().into(),
                    Self::address(address),
                ],
            )
            .await?;
        Ok(reply.status == "OK")
    }

    /// Changes a room for its creator: `user` with `token`.
    ///
    /// # Errors
    /// `ROOM_NOT_FOUND`, `INVALID_TOKEN`, `FORBIDDEN` where the token is of somebody else in the room, or Redis is
    /// out of reach.
    pub async fn update_room(
        &self,
        room: &RoomId,
        user: &UserId,
        token: &Token,
        change: &RoomChange,
    ) -> Result<(), Error> {
        let keys = self.keys(room);
        let names =
            vec![keys.room(), keys.messages(), keys.session(user), keys.deadlines(), keys.names()];
        let args = [
            room.as_str().into(),
            keys.channel().into(),
            token.proof().into(),
            ms(self.0.settings.room_ttl),
            change_args(change),
            self.hooks(&keys),
        ];
        self.run(&self.0.update_room, names, &args).await?.ok()?;
        Ok(())
    }

    /// Removes a user from a room, for the creator or the user itself: `by` with `token`. Returns
    /// when the room needs another sweep.
    ///
    /// # Errors
    /// `ROOM_NOT_FOUND`, `NOT_FOUND` where nobody has the name, `INVALID_TOKEN`, `FORBIDDEN` where the token is of
    /// somebody else in the room, or Redis is out of reach.
    pub async fn remove_user(
        &self,
        room: &RoomId,
        by: &UserId,
        token: &Token,
        user: &UserId,
        bans: bool,
    ) -> Result<Option<Duration>, Error> {
        let keys = self.keys(room);
        let names = vec![
            keys.room(),
            keys.members(),
            keys.deadlines(),
            keys.session(user),
            keys.session(by),
            keys.names(),
            keys.away(),
        ];
        let mut args = self.stem(room, &keys);
        args.extend([
            user.as_str().into(),
            token.proof().into(),
            flag(bans),
            number(self.0.settings.bans_max),
            number(REMOVED_MAX),
            self.roster_max(),
            self.hooks(&keys),
            self.pushes(&keys),
        ]);
        self.run_durable(&self.0.remove_user, names, &args, None).await?.ok()?.again()
    }

    /// Lifts all bans of a room.
    ///
    /// # Errors
    /// `ROOM_NOT_FOUND`, `INVALID_TOKEN`, `FORBIDDEN` where the token is of somebody else in the room, or Redis is
    /// out of reach.
    pub async fn lift_bans(&self, room: &RoomId, by: &UserId, token: &Token) -> Result<(), Error> {
        let keys = self.keys(room);
        let names = vec![keys.room(), keys.session(by)];
        self.run(&self.0.lift_bans, names, &[token.proof().into()]).await?.ok()?;
        Ok(())
    }

    /// Ends a room as its creator says, with all that it held but what there is of its users. Returns whether some of
    /// that is left to [`Scripts::clear_room`].
    ///
    /// # Errors
    /// `ROOM_NOT_FOUND`, `INVALID_TOKEN`, `FORBIDDEN` where the token is of somebody else in the room, or Redis is
    /// out of reach.
    pub async fn close_room(
        &self,
        room: &RoomId,
        by: &UserId,
        token: &Token,
    ) -> Result<bool, Error> {
        let keys = self.keys(room);
        let mut names = keys.all();
        names.extend([keys.returning(), keys.closed(), keys.session(by)]);
        let mut args = self.stem(room, &keys);
        let settings = &self.0.settings;
        // Keys of messages lie in two hashes, one after the other.
        let users_last = settings.session_ttl.max(settings.idempotency_ttl * 2);
        args.extend([token.proof().into(), ms(settings.room_ttl_max), ms(users_last)]);
        args.extend([self.hooks(&keys), self.pushes(&keys)]);
        self.run_durable(&self.0.close_room, names, &args, None).await?.ok()?.flag()
    }

    /// Deletes what there is of users of a room that was closed, some at a time, until nothing is left.
    ///
    /// # Errors
    /// Redis is out of reach.
    pub async fn clear_room(&self, room: &RoomId) -> Result<(), Error> {
        let keys = self.keys(room);
        loop {
            let names = vec![keys.room(), keys.members()];
            let args = [keys.users().into(), self.pushes(&keys)];
            if !self.run(&self.0.clear_room, names, &args).await?.ok()?.flag()? {
                return Ok(());
            }
        }
    }

    /// Gives somebody without a socket a name in the room: a guest, or a user whom a JWT names. Returns the name, which
    /// is that of the running session of such a user.
    ///
    /// # Errors
    /// `ROOM_NOT_FOUND`, `BANNED`, `ROOM_LOCKED`, `NAME_TAKEN`, or Redis is out of reach.
    pub async fn add_session(
        &self,
        room: &RoomId,
        user: &UserId,
        token: &Token,
        address: IpAddr,
    ) -> Result<UserId, Error> {
        let keys = self.keys(room);
        let names = vec![keys.room(), keys.session(user)];
        let settings = &self.0.settings;
        let args = [
            token.proof().into(),
            ms(settings.session_ttl.max(settings.presence_ttl)),
            user.as_str().into(),
            self.hooks(&keys),
            keys.users().into(),
            Self::address(address),
            self.pushes(&keys),
        ];
        let mut reply = self.run(&self.0.add_session, names, &args).await?.ok()?;
        Ok(UserId::stored(&reply.text()?))
    }

    /// Reads the name of a JWT's user in a room: that of its running session.
    ///
    /// # Errors
    /// `ROOM_NOT_FOUND`, or Redis is out of reach.
    pub async fn read_subject(
        &self,
        room: &RoomId,
        token: &Token,
    ) -> Result<Option<UserId>, Error> {
        let keys = self.keys(room);
        let args = [keys.users().into(), token.hash().into()];
        let mut reply = self.run(&self.0.read_subject, vec![keys.room()], &args).await?.ok()?;
        Ok(reply.maybe()?.map(|name| UserId::stored(&name)))
    }

    /// Stores the promise of the request with this name, unless it already has one.
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

    /// Marks the promise of the request with this name as completed.
    ///
    /// # Errors
    /// Redis is out of reach.
    pub async fn keep_promise(&self, name: &str) -> Result<(), Error> {
        self.run(&self.0.keep_promise, vec![keys::promise(name)], &[]).await?.ok()?;
        Ok(())
    }

    /// Reads a room and its first members, and sweeps it if it needs that and Redis accepts writes.
    ///
    /// # Errors
    /// `ROOM_NOT_FOUND`, or Redis is out of reach.
    pub async fn read_room(&self, room: &RoomId) -> Result<RoomState, Error> {
        let (state, is_swept) = self.try_read_room(room).await?;
        // If it fails, the next script that touches the room does it.
        if is_swept || self.sweep_room(room, &[]).await.is_err() {
            return Ok(state);
        }
        Ok(self.try_read_room(room).await?.0)
    }

    async fn try_read_room(&self, room: &RoomId) -> Result<(RoomState, bool), Error> {
        let keys = self.keys(room);
        let names = vec![keys.room(), keys.members(), keys.deadlines(), keys.names()];
        let args = [self.longest(), self.roster_max()];
        let mut reply = self.run(&self.0.read_room, names, &args).await?.ok()?;
        let (facts, bans) = (reply.facts()?, usize::try_from(reply.number()?).ok());
        let is_swept = !reply.flag()?;
        let member_count = reply.number()?;
        let mut members = Vec::new();
        while !reply.is_empty() {
            members.push(reply.text()?);
        }
        Ok((RoomState { facts, member_count, members, bans }, is_swept))
    }

    /// Reads the members of a room by name, in code point order, after this name: fewer than
    /// `limit` if there are no more.
    ///
    /// # Errors
    /// `ROOM_NOT_FOUND`, `INVALID_TOKEN` where reading takes a token, or Redis is out of reach.
    pub async fn read_members(
        &self,
        room: &RoomId,
        reader: &Reader,
        after: &str,
        limit: usize,
    ) -> Result<Vec<Member>, Error> {
        let (mut members, mut after) = (Vec::new(), Some(after.to_owned()));
        let mut is_swept = false;
        while let Some(behind) = after.take().filter(|_| members.len() < limit) {
            let page =
                self.read_members_behind(room, reader, &behind, limit - members.len()).await?;
            if !page.is_swept && !std::mem::replace(&mut is_swept, true) {
                // If it fails, the next script that touches the room does it.
                let _ = self.sweep_room(room, &[]).await;
                after = Some(behind);
                continue;
            }
            members.extend(page.members);
            after = page.next;
        }
        Ok(members)
    }

    async fn read_members_behind(
        &self,
        room: &RoomId,
        reader: &Reader,
        after: &str,
        limit: usize,
    ) -> Result<MemberPage, Error> {
        let keys = self.keys(room);
        let (session, [proof, address, has_guests]) = self.reader(&keys, reader);
        let names =
            vec![keys.room(), keys.members(), keys.deadlines(), keys.names(), keys.away(), session];
        let args = [
            keys.users().into(),
            self.longest(),
            after.into(),
            number(limit),
            proof,
            address,
            has_guests,
        ];
        let mut reply = self.run(&self.0.read_members, names, &args).await?.ok()?;
        let (is_swept, next) = (!reply.flag()?, reply.maybe()?);
        let mut members = Vec::new();
        while !reply.is_empty() {
            members.push(Member {
                user: reply.text()?,
                status: if reply.text()? == "away" { Status::Away } else { Status::Online },
                // If another program wrote something else there, the time is unknown.
                joined_at_ms: reply.text()?.parse().unwrap_or_default(),
                read: reply.text()?.parse().ok(),
            });
        }
        Ok(MemberPage { is_swept, next, members })
    }

    /// Reads the facts of a room.
    ///
    /// # Errors
    /// `ROOM_NOT_FOUND`, or Redis is out of reach.
    pub async fn read_facts(&self, room: &RoomId) -> Result<RoomFacts, Error> {
        let reply = self.facts(room).await?;
        match reply.status.as_str() {
            ROOM_CLOSED => Err(Code::RoomNotFound.into()),
            _ => reply.ok()?.facts(),
        }
    }

    /// Asks whether `user` with `token` may change what only a room's creator may.
    ///
    /// # Errors
    /// `ROOM_NOT_FOUND`, `INVALID_TOKEN`, `FORBIDDEN` where the token is of somebody else in the room, or Redis is
    /// out of reach.
    pub async fn read_right(
        &self,
        room: &RoomId,
        user: &UserId,
        token: &Token,
    ) -> Result<(), Error> {
        let keys = self.keys(room);
        let names = vec![keys.room(), keys.session(user)];
        self.run(&self.0.read_right, names, &[token.proof().into()]).await?.ok()?;
        Ok(())
    }

    /// Whether a room is gone because its creator ended it.
    ///
    /// # Errors
    /// Redis is out of reach.
    pub async fn is_closed(&self, room: &RoomId) -> Result<bool, Error> {
        Ok(self.facts(room).await?.status == ROOM_CLOSED)
    }

    async fn facts(&self, room: &RoomId) -> Result<ScriptReply, Error> {
        let keys = self.keys(room);
        self.run(&self.0.read_facts, vec![keys.room(), keys.closed()], &[]).await
    }
}
