//! The scripts that store and read messages.

use super::{
    Draft, MessagePage, Missed, Page, Published, ReadOn, Reader, Scripts,
    wire::{draft_args, flag, frame_head, ms, number, optional, second},
};
use crate::{
    error::Error,
    names::{MessageId, RoomId, Token, UserId},
    settings::Durability,
};

impl Scripts {
    /// Stores messages in order and publishes them. Returns the outcome of each.
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
        let [second, begins] = second(self.0.redis.island(room).now_ms());
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
            room.as_str().into(),
            self.hooks(&keys),
            self.pushes(&keys),
        ];
        for draft in drafts {
            names.push(keys.session(&draft.user));
            names.extend(draft.key.as_ref().map(|_| keys.sent_keys(&draft.user)));
            args.extend(draft_args(draft));
        }
        let reply = self.run_durable(&self.0.publish, names, &args, Some(&channel)).await?;
        let mut reply = reply.ok()?;
        let _frames = reply.number()?;
        Ok(drafts.iter().map(|_| reply.published()).collect())
    }

    /// Reads one page of a room's messages.
    ///
    /// # Errors
    /// `ROOM_NOT_FOUND`, `INVALID_TOKEN` where reading takes a token, or Redis is out of reach.
    pub async fn read_messages(
        &self,
        room: &RoomId,
        reader: &Reader,
        page: Page,
        limit: usize,
    ) -> Result<MessagePage, Error> {
        let keys = self.keys(room);
        let (way, from) = match page {
            Page::Before(None) => ("before", "+".to_owned()),
            Page::Before(Some(id)) => ("before", id.to_string()),
            Page::After(id) => ("after", id.to_string()),
        };
        let (session, [proof, address, has_guests]) = self.reader(&keys, reader);
        let names = vec![keys.room(), keys.messages(), session];
        let args = [way.into(), from.into(), number(limit), proof, address, has_guests];
        let mut reply = self.run(&self.0.read_messages, names, &args).await?.ok()?;
        Ok(MessagePage { has_more: reply.flag()?, messages: reply.messages(room)? })
    }

    /// Reads the messages after the last one that this node delivered, and waits until they are
    /// durable. `known` is the number of events of which the node missed none.
    ///
    /// # Errors
    /// Redis is out of reach, or did not confirm in time.
    pub async fn catch_up(
        &self,
        room: &RoomId,
        after: MessageId,
        limit: usize,
        known: u64,
    ) -> Result<Missed, Error> {
        let keys = self.keys(room);
        let names = vec![keys.room(), keys.messages()];
        let known = known.to_string();
        let args = [after.to_string().into(), number(limit), room.as_str().into(), known.into()];
        let mut reply = self.run_durable(&self.0.catch_up, names, &args, None).await?.ok()?;
        Ok(Missed {
            trimmed: reply.flag()?,
            messages: reply.messages(room)?,
            removals: reply.removals()?,
        })
    }

    /// Reads on behind `since` for somebody who listens and is no member, and waits until what is read is
    /// kept. Where there are no more messages, a fence with `tag` reaches this node.
    ///
    /// # Errors
    /// `ROOM_NOT_FOUND`, `INVALID_TOKEN` where listening takes a token, or Redis is out of reach, or did not
    /// confirm in time.
    pub async fn read_on(
        &self,
        room: &RoomId,
        reader: &Reader,
        since: Option<MessageId>,
        limit: usize,
        tag: &str,
    ) -> Result<ReadOn, Error> {
        let keys = self.keys(room);
        let (session, [proof, address, has_guests]) = self.reader(&keys, reader);
        let names = vec![keys.room(), keys.messages(), session];
        let args = [
            room.as_str().into(),
            optional(since).into(),
            number(limit),
            self.node_channel(&keys),
            tag.into(),
            proof,
            address,
            has_guests,
        ];
        let mut reply = self.run_durable(&self.0.read_on, names, &args, None).await?.ok()?;
        Ok(ReadOn {
            secret: reply.text()?,
            tip: reply.id()?,
            more: reply.flag()?,
            gap: reply.flag()?,
            messages: reply.messages(room)?,
            deleted: reply.ids()?,
        })
    }

    /// Deletes a message for its author or the room's creator: `user` with `token`.
    ///
    /// # Errors
    /// `ROOM_NOT_FOUND`, `NOT_FOUND`, `INVALID_TOKEN`, `FORBIDDEN` where the token is of somebody else in the
    /// room, or Redis is out of reach.
    pub async fn delete_message(
        &self,
        room: &RoomId,
        user: &UserId,
        token: &Token,
        id: MessageId,
    ) -> Result<(), Error> {
        let keys = self.keys(room);
        let names = vec![keys.room(), keys.messages(), keys.session(user)];
        let mut args = self.stem(room, &keys);
        let kept = number(self.0.settings.history_max);
        args.extend([id.to_string().into(), token.proof().into(), kept, self.hooks(&keys)]);
        let reply = self.run_durable(&self.0.delete_message, names, &args, None).await?;
        let mut reply = reply.ok()?;
        let from = reply.text()?;
        match reply.text()? {
            left if left.is_empty() => Ok(()),
            left => self.redact_event(room, id, &from, left).await,
        }
    }

    /// Removes the text of a deleted message from the event that tells of it, from where `delete_message` stopped:
    /// some events in each call, until nothing is left to look through. Empty is the beginning. `from` said it.
    ///
    /// # Errors
    /// Redis is out of reach.
    pub async fn redact_event(
        &self,
        room: &RoomId,
        id: MessageId,
        from: &str,
        mut left: String,
    ) -> Result<(), Error> {
        let (keys, id) = (self.keys(room), id.to_string());
        loop {
            let names = vec![keys.events(), self.key_style().hooks().dead()];
            let args = [room.as_str(), &id, from, &left].map(Into::into);
            left = self.run(&self.0.redact_event, names, &args).await?.ok()?.text()?;
            if left.is_empty() {
                return Ok(());
            }
        }
    }
}
