//! The scripts of Web Push: subscriptions, the data of pushes, and the key that signs them.

use std::time::Duration;

use super::{
    PushFacts, Scripts,
    hooks::kept,
    wire::{Arg, ms, number},
};
use crate::{
    error::Error,
    names::{MessageId, RoomId, Token, UserId},
    redis::keys::{self, KeyStyle, RoomKeys},
    webpush::{Subscription, VapidKey},
};

/// TTL of an unused key. Without the key no browser accepts pushes.
const KEY_TTL: Duration = Duration::from_secs(400 * 24 * 60 * 60);

impl Scripts {
    /// Whether there are pushes. On a cluster, waiting pushes would have to be in the slots of
    /// their rooms.
    pub fn can_push(&self) -> bool {
        self.key_style() == KeyStyle::Plain
    }

    /// What scripts need to write and end pushes, a line each in the order of `lua/lib/pushes.lua`; empty if
    /// there are none. One text costs a call that does not need it less than a list.
    pub(super) fn pushes(&self, room: &RoomKeys) -> Arg<'static> {
        if !self.can_push() {
            return "".into();
        }
        let (shared, settings) = (self.key_style().hooks(), &self.0.settings.webhooks);
        let facts = [
            shared.ready(),
            shared.delayed(),
            shared.oldest(),
            shared.state(),
            room.users(),
            settings.webhook_events_max.to_string(),
            kept(settings).as_millis().to_string(),
        ];
        facts.join("\n").into()
    }

    /// Stores the subscription of a user's browser for pushes that are signed with `key`.
    ///
    /// # Errors
    /// `ROOM_NOT_FOUND`, `INVALID_TOKEN`, `ROOM_FULL` if the room has its maximum number of
    /// subscriptions, or Redis cannot be reached.
    pub async fn subscribe(
        &self,
        room: &RoomId,
        user: &UserId,
        token: &Token,
        subscription: &Subscription,
        key: &VapidKey,
    ) -> Result<(), Error> {
        let (keys, settings) = (self.keys(room), &self.0.settings);
        let names = vec![keys.room(), keys.session(user)];
        let args = [
            user.as_str().into(),
            token.hash().into(),
            ms(settings.session_ttl.max(settings.presence_ttl)),
            format!("{} {}", key.tag(), subscription.words()).into(),
            number(settings.push.push_subscriptions_max),
        ];
        self.run(&self.0.subscribe, names, &args).await?.ok()?;
        Ok(())
    }

    /// Ends the subscription of a user, for the user.
    ///
    /// # Errors
    /// `ROOM_NOT_FOUND`, `INVALID_TOKEN`, or Redis is out of reach.
    pub async fn unsubscribe(
        &self,
        room: &RoomId,
        user: &UserId,
        token: &Token,
    ) -> Result<(), Error> {
        self.end_push(room, user, &token.hash(), "").await
    }

    /// Ends this subscription of a user, unless it was replaced, because its browser accepts no
    /// more pushes.
    ///
    /// # Errors
    /// Redis is out of reach.
    pub async fn forget_subscription(
        &self,
        room: &RoomId,
        user: &UserId,
        ended: &Subscription,
    ) -> Result<(), Error> {
        self.end_push(room, user, "", ended.endpoint()).await
    }

    async fn end_push(
        &self,
        room: &RoomId,
        user: &UserId,
        token_hash: &str,
        endpoint: &str,
    ) -> Result<(), Error> {
        let keys = self.keys(room);
        let names = vec![keys.room(), keys.session(user)];
        let args = [
            user.as_str().into(),
            keys.users().into(),
            token_hash.into(),
            endpoint.into(),
            self.pushes(&keys),
        ];
        self.run(&self.0.unsubscribe, names, &args).await?.ok()?;
        Ok(())
    }

    /// Reads the data of a push about a message. `None` if the user has no subscription with this
    /// key.
    ///
    /// # Errors
    /// Redis is out of reach.
    pub async fn read_push(
        &self,
        room: &RoomId,
        user: &UserId,
        id: MessageId,
        key: &VapidKey,
    ) -> Result<Option<PushFacts>, Error> {
        let keys = self.keys(room);
        let names = vec![keys.room(), keys.messages(), keys.session(user)];
        let args = [user.as_str().into(), id.to_string().into()];
        let mut reply = self.run(&self.0.read_push, names, &args).await?.ok()?;
        let kept = reply.text()?;
        let subscription = kept.split_once(' ').filter(|(tag, _)| *tag == key.tag());
        let Some(subscription) = subscription.and_then(|(_, words)| Subscription::of_words(words))
        else {
            return Ok(None);
        };
        Ok(Some(PushFacts {
            subscription,
            from: reply.maybe()?,
            text: reply.text()?,
            e2e: reply.flag()?,
            is_read: reply.flag()?,
        }))
    }

    /// Offers a key for signing pushes, and returns the one that all nodes use.
    ///
    /// # Errors
    /// Redis is out of reach.
    pub async fn keep_vapid(&self, offered: &VapidKey) -> Result<String, Error> {
        let args = [offered.private().into(), ms(KEY_TTL)];
        let mut reply = self.run(&self.0.keep_vapid, vec![keys::vapid()], &args).await?.ok()?;
        reply.text()
    }
}
