//! The room service: the operations on a room. Knows no socket and no HTTP.

mod identity;

use std::{net::IpAddr, sync::Arc, time::Duration};

use tracing::warn;

pub use identity::{Caller, Identity};

pub use crate::redis::scripts::{
    Member, MessagePage, Page, ReadOn, Reader, RoomChange, RoomFacts, RoomOptions, RoomState,
};
use crate::{
    error::Error,
    idempotency::IdempotentRequest,
    jwt::Verifier,
    message::Message,
    names::{self, MessageId, RoomId, Token, UserId},
    problem::Problem,
    redis::scripts::{Draft, Published, Scripts, Sender},
    settings::Settings,
    webpush::{Subscription, VapidKey},
};

/// The room service.
#[derive(Clone)]
pub struct Rooms {
    scripts: Scripts,
    settings: Arc<Settings>,
    jwt: Option<Verifier>,
}

/// A room that was just created.
pub struct Created {
    /// Its id.
    pub room: RoomId,
    /// The creator's token.
    pub token: Token,
}

/// The promised answer to an idempotent request.
struct Promise {
    made: Created,
    /// Whether the request is completed.
    is_kept: bool,
}

impl Rooms {
    /// The room service over `scripts`; with `jwt`, also for users of JWTs.
    pub fn new(scripts: Scripts, settings: Arc<Settings>, jwt: Option<Verifier>) -> Self {
        Self { scripts, settings, jwt }
    }

    /// Parses a topic; that of an encrypted room is encrypted.
    ///
    /// # Errors
    /// The problem of the topic.
    pub fn topic(settings: &Settings, raw: &str, e2e: bool) -> Result<String, Problem> {
        match e2e {
            true => names::sealed_topic(raw, settings.sealed_topic_max),
            false => names::topic(raw, settings.topic_max),
        }
    }

    fn parse_topic(&self, raw: Option<String>, e2e: bool) -> Result<Option<String>, Error> {
        let topic = raw.map(|raw| Self::topic(&self.settings, &raw, e2e)).transpose();
        topic.map_err(|problem| Error::invalid("topic", problem))
    }

    /// Creates a room. Its topic is unchecked.
    ///
    /// # Errors
    /// `VALIDATION_FAILED` about `topic`, or if the same key was used with another body; or Redis
    /// is out of reach.
    pub async fn create(
        &self,
        creator: Identity,
        options: RoomOptions,
        address: IpAddr,
        once: Option<&IdempotentRequest>,
    ) -> Result<Created, Error> {
        let topic = self.parse_topic(options.topic, options.e2e)?;
        let options = RoomOptions { topic, ..options };
        let Identity { user: creator, token, .. } = creator;
        loop {
            let fresh = Created { room: RoomId::random(), token: token.clone() };
            let promise = self.promise(once, fresh).await?;
            let Created { room, token } = &promise.made;
            let is_made = promise.is_kept
                || self.scripts.create_room(room, &creator, token, &options, address).await?;
            // A promised id belongs to this request: an earlier attempt created that room.
            if is_made || once.is_some() {
                return self.kept(once, promise).await;
            }
        }
    }

    /// Changes a room for its creator. The topic is unchecked. Returns the changed room.
    ///
    /// # Errors
    /// `ROOM_NOT_FOUND`, `VALIDATION_FAILED` about `topic`, `INVALID_TOKEN`, `FORBIDDEN` where the token is of
    /// somebody else in the room, or Redis is out of reach.
    pub async fn update(
        &self,
        room: &RoomId,
        caller: &Caller,
        change: RoomChange,
    ) -> Result<RoomState, Error> {
        let (token, user) = self.proven(room, caller).await?;
        let topic = match change.topic {
            Some(raw @ Some(_)) => {
                let e2e = self.scripts.read_facts(room).await?.options.e2e;
                Some(self.parse_topic(raw, e2e)?)
            }
            other => other,
        };
        let change = RoomChange { topic, ..change };
        self.scripts.update_room(room, &user, &token, &change).await?;
        self.look_as(room, Some(&token)).await
    }

    /// The answer to a request: the promise of an earlier attempt, or else this one.
    ///
    /// # Errors
    /// `VALIDATION_FAILED` if the earlier attempt had another body, or Redis is out of reach.
    async fn promise(
        &self,
        once: Option<&IdempotentRequest>,
        fresh: Created,
    ) -> Result<Promise, Error> {
        let Some(once) = once else { return Ok(Promise { made: fresh, is_kept: false }) };
        let unreadable = || Error::internal("a promise that cannot be read");
        let sealed = once
            .seal(&format!("{} {}", fresh.room, fresh.token.secret().unwrap_or_default()))
            .ok_or_else(unreadable)?;
        let known = self.scripts.remember(once.name(), once.digest(), &sealed).await?;
        if known.digest != once.digest() {
            return Err(Error::invalid(names::REQUEST_KEY, Problem::RequestKeyReused));
        }
        let promised = once.open(&known.sealed).ok_or_else(unreadable)?;
        let (room, token) = promised.split_once(' ').ok_or_else(unreadable)?;
        let room = RoomId::parse(room).ok_or_else(unreadable)?;
        let token = match Token::parse(token) {
            Some((token, _)) => token,
            // The user of a JWT has no secret.
            None if token.is_empty() => fresh.token,
            None => return Err(unreadable()),
        };
        Ok(Promise { made: Created { room, token }, is_kept: known.is_kept })
    }

    /// Marks a promise as completed.
    async fn kept(
        &self,
        once: Option<&IdempotentRequest>,
        promise: Promise,
    ) -> Result<Created, Error> {
        if let Some(once) = once
            && !promise.is_kept
        {
            self.scripts.keep_promise(once.name()).await?;
        }
        Ok(promise.made)
    }

    /// Removes a user from a room, for the creator or the user itself; with `bans`, no new users
    /// may join from the addresses of its connections. Returns when the room needs another sweep.
    ///
    /// # Errors
    /// `ROOM_NOT_FOUND`, `NOT_FOUND` where nobody has the name, `INVALID_TOKEN`, `FORBIDDEN` where the token is of
    /// somebody else in the room, or Redis is out of reach.
    pub async fn remove_user(
        &self,
        room: &RoomId,
        caller: &Caller,
        name: &str,
        bans: bool,
    ) -> Result<Option<Duration>, Error> {
        let (token, user) = self.proven(room, caller).await?;
        // No user can have an invalid name.
        let named = self.name("name", name).unwrap_or_else(|_| UserId::stored(name));
        self.scripts.remove_user(room, &user, &token, &named, bans).await
    }

    /// Lifts all bans of a room.
    ///
    /// # Errors
    /// `ROOM_NOT_FOUND`, `INVALID_TOKEN`, `FORBIDDEN` where the token is of somebody else in the room, or Redis is
    /// out of reach.
    pub async fn lift_bans(&self, room: &RoomId, caller: &Caller) -> Result<(), Error> {
        let (token, user) = self.proven(room, caller).await?;
        self.scripts.lift_bans(room, &user, &token).await
    }

    /// Ends a room as its creator says, with all that it held. To be run to its end, or something of its users is
    /// left until it expires.
    ///
    /// # Errors
    /// `ROOM_NOT_FOUND`, `INVALID_TOKEN`, `FORBIDDEN` where the token is of somebody else in the room, or Redis is
    /// out of reach.
    pub async fn close(&self, room: &RoomId, caller: &Caller) -> Result<(), Error> {
        let (token, user) = self.proven(room, caller).await?;
        if self.scripts.close_room(room, &user, &token).await?
            && let Err(error) = self.scripts.clear_room(room).await
        {
            // It is closed, which is what was asked for.
            warn!(%error, "what is left of a closed room expires by itself");
        }
        Ok(())
    }

    /// Asks whether a token may change what only a room's creator may.
    ///
    /// # Errors
    /// `ROOM_NOT_FOUND`, `INVALID_TOKEN`, `FORBIDDEN` where the token is of somebody else in the room, or Redis is
    /// out of reach.
    pub async fn right(&self, room: &RoomId, caller: &Caller) -> Result<(), Error> {
        let (token, user) = self.proven(room, caller).await?;
        self.scripts.read_right(room, &user, &token).await
    }

    /// Whether a room is gone because its creator ended it.
    ///
    /// # Errors
    /// Redis is out of reach.
    pub async fn is_closed(&self, room: &RoomId) -> Result<bool, Error> {
        self.scripts.is_closed(room).await
    }

    /// Keeps where the browser of this caller takes pushes that are signed with `key`.
    ///
    /// # Errors
    /// `ROOM_NOT_FOUND`, `INVALID_TOKEN`, `ROOM_FULL` where as many users of the room have a subscription as may, or
    /// Redis is out of reach.
    pub async fn subscribe(
        &self,
        room: &RoomId,
        caller: &Caller,
        subscription: &Subscription,
        key: &VapidKey,
    ) -> Result<(), Error> {
        let (token, user) = self.proven(room, caller).await?;
        self.scripts.subscribe(room, &user, &token, subscription, key).await
    }

    /// Ends the subscription of this caller.
    ///
    /// # Errors
    /// `ROOM_NOT_FOUND`, `INVALID_TOKEN`, or Redis is out of reach.
    pub async fn unsubscribe(&self, room: &RoomId, caller: &Caller) -> Result<(), Error> {
        let (token, user) = self.proven(room, caller).await?;
        self.scripts.unsubscribe(room, &user, &token).await
    }

    /// Checks a message.
    ///
    /// # Errors
    /// `VALIDATION_FAILED`.
    pub fn draft(
        &self,
        user: UserId,
        sender: Sender,
        text: String,
        key: Option<String>,
    ) -> Result<Draft, Error> {
        let invalid = |field, problem: Problem| Error::invalid(field, problem);
        names::check_text(&text, self.settings.text_max).map_err(|p| invalid("text", p))?;
        let checked =
            key.as_deref().map_or(Ok(()), |key| names::check_key(key, self.settings.key_max));
        checked.map_err(|p| invalid("key", p))?;
        Ok(Draft { user, sender, text, key })
    }

    /// Stores and publishes a message of the user with this `token`.
    ///
    /// # Errors
    /// `VALIDATION_FAILED`, `ROOM_NOT_FOUND`, `INVALID_TOKEN`, `RATE_LIMITED`, or Redis is out of
    /// reach.
    pub async fn post_as(
        &self,
        room: &RoomId,
        caller: &Caller,
        text: String,
        key: Option<String>,
    ) -> Result<Message, Error> {
        let (token, user) = self.proven(room, caller).await?;
        let draft = self.draft(user, Sender::Session(token), text, key)?;
        let mut outcomes = self.scripts.publish(room, &[&draft]).await?;
        let (id, text) = match outcomes.remove(0)? {
            Published::Stored(id) => (id, Some(draft.text)),
            Published::Repeat { id, text } => (id, Some(text)),
            Published::Deleted(id) => (id, None),
        };
        Ok(Message::new(room, id, draft.user.to_string(), text, draft.key))
    }

    /// Deletes a message for its author or the room's creator.
    ///
    /// # Errors
    /// `ROOM_NOT_FOUND`, `NOT_FOUND`, `INVALID_TOKEN`, `FORBIDDEN` where the token is of somebody else in the
    /// room, or Redis is out of reach.
    pub async fn delete_message(
        &self,
        room: &RoomId,
        caller: &Caller,
        id: MessageId,
    ) -> Result<(), Error> {
        let (token, user) = self.proven(room, caller).await?;
        self.scripts.delete_message(room, &user, &token, id).await
    }

    /// Reads a room and its first members. With the creator's token, it includes the number of
    /// bans.
    ///
    /// # Errors
    /// `ROOM_NOT_FOUND`, `INVALID_TOKEN` for an invalid JWT, or Redis cannot be reached.
    pub async fn look(&self, room: &RoomId, presented: Option<&str>) -> Result<RoomState, Error> {
        let token = self.token(room, presented).await?;
        self.look_as(room, token.as_ref()).await
    }

    async fn look_as(&self, room: &RoomId, token: Option<&Token>) -> Result<RoomState, Error> {
        let mut state = self.scripts.read_room(room).await?;
        let is_creator = token
            .is_some_and(|token| token.is_creator() || token.hash() == state.facts.creator_token);
        state.bans = state.bans.filter(|_| is_creator);
        Ok(state)
    }

    /// What a link preview of a room may show: its topic, if it has one that is not encrypted.
    ///
    /// # Errors
    /// `ROOM_NOT_FOUND`, or Redis is out of reach.
    pub async fn preview(&self, room: &RoomId) -> Result<Option<String>, Error> {
        let options = self.scripts.read_facts(room).await?.options;
        Ok(options.topic.filter(|_| !options.e2e))
    }

    /// Reads the members of a room by name, after this name; fewer than `limit` if there are no
    /// more.
    ///
    /// # Errors
    /// `ROOM_NOT_FOUND`, `INVALID_TOKEN` where that takes a token, or Redis is out of reach.
    pub async fn members(
        &self,
        room: &RoomId,
        reader: &Reader,
        after: &str,
        limit: usize,
    ) -> Result<Vec<Member>, Error> {
        self.scripts.read_members(room, reader, after, limit).await
    }

    /// Checks whether somebody may read a room's messages.
    ///
    /// # Errors
    /// `ROOM_NOT_FOUND`, `INVALID_TOKEN` where that takes a token, or Redis is out of reach.
    pub async fn may_listen(&self, room: &RoomId, reader: &Reader) -> Result<(), Error> {
        self.scripts.read_messages(room, reader, Page::Before(None), 1).await?;
        Ok(())
    }

    /// Reads one page of a room's messages.
    ///
    /// # Errors
    /// `ROOM_NOT_FOUND`, `INVALID_TOKEN` where that takes a token, or Redis is out of reach.
    pub async fn page(
        &self,
        room: &RoomId,
        reader: &Reader,
        page: Page,
        limit: usize,
    ) -> Result<MessagePage, Error> {
        self.scripts.read_messages(room, reader, page, limit).await
    }

    /// Reads the messages after `since` for a listener; without it, no earlier messages. If nothing
    /// is left, a fence with `tag` reaches this node.
    ///
    /// # Errors
    /// `ROOM_NOT_FOUND`, `INVALID_TOKEN` where that takes a token, or Redis is out of reach.
    pub async fn read_on(
        &self,
        room: &RoomId,
        reader: &Reader,
        since: Option<MessageId>,
        limit: usize,
        tag: &str,
    ) -> Result<ReadOn, Error> {
        self.scripts.read_on(room, reader, since, limit, tag).await
    }
}
