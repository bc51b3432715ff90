//! The scripts of Web Push: who has a subscription, what is to be sent there, and the key that signs it.

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

/// For how long the key is kept that nobody uses. Without it no browser takes what is sent.
const KEY_TTL: Duration = Duration::from_secs(400 * 24 * 60 * 60);

impl Scripts {
    /// Whether there are pushes. On a cluster, what waits to be posted would have to lie in the slots of its rooms.
    pub fn can_push(&self) -> bool {
        self.key_style() == KeyStyle::Plain
    }

    /// What scripts need to know to write and end pushes, in the order of `lua/lib/pushes.lua`; empty where there
    /// are none.
    pub(super) fn pushes(&self, room: &RoomKeys) -> Arg<'static> {
        if !self.can_push() {
            return Arg::List(Vec::new());
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
        Arg::List(facts.into_iter().map(Into::into).collect())
    }

    /// Keeps where a user's browser takes pushes that are signed with `key`.
    ///
    /// # Errors
    /// `ROOM_NOT_FOUND`, `INVALID_TOKEN`, `ROOM_FULL` where as many users of the room have a subscription as may, or
    /// Redis is out of reach.
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

    /// Ends the subscription of a user as the user says.
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

    /// Ends the subscription of a user where it is this one still: nobody takes its pushes any more.
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

    /// Reads what a push is about that tells a user of a message. `None` where the user has no subscription that was
    /// made with this key.
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

    /// Offers a key that pushes are signed with, and returns the one that all nodes sign with.
    ///
    /// # Errors
    /// Redis is out of reach.
    pub async fn keep_vapid(&self, offered: &VapidKey) -> Result<String, Error> {
        let args = [offered.private().into(), ms(KEY_TTL)];
        let mut reply = self.run(&self.0.keep_vapid, vec![keys::vapid()], &args).await?.ok()?;
        reply.text()
    }
}
