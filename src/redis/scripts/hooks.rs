//! The scripts that distribute the webhook's events, and the arguments that other scripts need to
//! write them.

use std::time::Duration;

use sha2::{Digest, Sha256};

use super::{
    Attempt, AttemptRecorded, Backlog, DeadLetter, QueuedEvent, Ready, Scripts,
    wire::{Arg, flag, ms, number},
};
use crate::{
    error::Error,
    names::{RoomId, UserId},
    redis::keys::{Queue, RoomKeys},
    settings::WebhookSettings,
};

/// How long a node is silent before others take over its rooms. Each node reports once a second.
const SILENT: Duration = Duration::from_secs(5);
/// Dead letters per page.
const PAGE: usize = 500;
/// What a script says where nothing was ever written.
const IDLE: &str = "IDLE";
/// The type of a push among events.
const PUSH: &str = "push";

impl Scripts {
    /// What scripts need to write events, in the order of `lua/lib/hooks.lua`; empty without a
    /// webhook.
    pub(super) fn hooks(&self, room: &RoomKeys) -> Arg<'static> {
        let settings = &self.0.settings;
        if !settings.webhooks.are_on() {
            return Arg::List(Vec::new());
        }
        let shared = self.key_style().hooks();
        let ms = |duration: Duration| duration.as_millis().to_string();
        let types = settings.webhooks.types();
        let types: Vec<_> = types.into_iter().map(|one| one.as_str()).collect();
        let sessions = settings.session_ttl.max(settings.presence_ttl).max(settings.leave_grace);
        let facts = [
            room.events(),
            room.absent(),
            shared.ready(),
            shared.oldest(),
            shared.state(),
            shared.dead(),
            shared.lapses(),
            room.users(),
            format!(" {} ", types.join(" ")),
            settings.webhooks.webhook_events_max.to_string(),
            ms(kept(&settings.webhooks)),
            ms(sessions),
            ms(settings.room_ttl),
            settings.room_max_members.to_string(),
            settings.roster_max.to_string(),
        ];
        Arg::List(facts.into_iter().map(Into::into).collect())
    }

    /// Notes what became of the event of a list that was tried last, and asks for the next one; `goes_on` says
    /// whether this node wants it.
    ///
    /// # Errors
    /// Redis is out of reach.
    pub async fn settle_hook(
        &self,
        ready: &Ready,
        queue: &Queue,
        tried: Option<Attempt<'_>>,
        goes_on: bool,
    ) -> Result<AttemptRecorded, Error> {
        let shared = self.key_style().hooks();
        let names = vec![
            ready.events.clone(),
            shared.ready(),
            shared.delayed(),
            shared.oldest(),
            shared.state(),
            shared.dead(),
        ];
        let settings = &self.0.settings.webhooks;
        let (id, [outcome, why], pause) = match tried {
            None => ("", ["", ""], Duration::ZERO),
            Some(Attempt::Delivered { event, rest }) => (&*event.id, ["delivered", ""], rest),
            Some(Attempt::Gone(event)) => (&*event.id, ["gone", ""], Duration::ZERO),
            Some(Attempt::Failed { event, why, pause }) => (&*event.id, ["failed", why], pause),
        };
        let (room, is_hook) = match queue {
            Queue::Webhook(room) => (room, true),
            Queue::Push(room, _) => (room, false),
        };
        let args = [
            room.as_str().into(),
            self.0.redis.node_channel().into(),
            ready.entry.as_str().into(),
            id.into(),
            outcome.into(),
            why.into(),
            ms(pause),
            number(settings.webhook_attempts),
            receiver(settings).into(),
            flag(goes_on),
            ms(kept(settings)),
            flag(is_hook),
            flag(settings.are_on()),
        ];
        let mut reply = self.run(&self.0.settle_hook, names, &args).await?.ok()?;
        Ok(AttemptRecorded {
            next: QueuedEvent::parse(&reply.text()?),
            now_ms: reply.number()?,
            is_dead: !reply.is_empty(),
        })
    }

    /// Says that this node lives and still works on these lists, has tried again what is due, and reads what
    /// waits. Takes over at most `wanted` lists of nodes that are silent. `None` where nothing was ever written.
    ///
    /// # Errors
    /// Redis is out of reach.
    pub async fn tend_hooks(
        &self,
        held: Vec<String>,
        wanted: usize,
    ) -> Result<Option<Backlog>, Error> {
        let shared = self.key_style().hooks();
        let names = vec![
            shared.ready(),
            shared.delayed(),
            shared.oldest(),
            shared.state(),
            shared.dead(),
            shared.lapses(),
        ];
        let settings = &self.0.settings.webhooks;
        let args = [
            self.0.redis.node_channel().into(),
            Arg::List(held.into_iter().map(Into::into).collect()),
            ms(SILENT),
            number(wanted),
            receiver(settings).into(),
            ms(settings.webhook_age_max),
            number(settings.webhook_events_max),
            flag(settings.are_on()),
        ];
        let reply = self.run(&self.0.tend_hooks, names, &args).await?;
        if reply.status == IDLE {
            return Ok(None);
        }
        let mut reply = reply.ok()?;
        let mut waiting = Backlog {
            is_stopped: reply.flag()?,
            next_due: reply.maybe()?.and_then(|ms| ms.parse().ok()).map(Duration::from_millis),
            events: reply.number()?,
            oldest: Duration::from_millis(reply.number()?),
            letters: reply.number()?,
            oldest_letter: Duration::from_millis(reply.number()?),
            dropped: reply.number()?,
            lapsed: Vec::new(),
            taken: Vec::new(),
        };
        for _ in 0..reply.number()? {
            waiting.lapsed.extend(RoomId::parse(&reply.text()?));
        }
        while !reply.is_empty() {
            waiting.taken.push(Ready { entry: reply.text()?, events: reply.text()? });
        }
        Ok(Some(waiting))
    }

    /// Reads a page of dead letters, oldest first: those after this entry.
    ///
    /// # Errors
    /// Redis cannot be reached.
    pub async fn read_letters(&self, after: Option<&str>) -> Result<Vec<DeadLetter>, Error> {
        let first = after.map_or("-".to_owned(), |entry| format!("({entry}"));
        let names = vec![self.key_style().hooks().dead()];
        let args = [first.into(), number(PAGE)];
        let mut reply = self.run(&self.0.read_letters, names, &args).await?.ok()?;
        let mut letters = Vec::new();
        while !reply.is_empty() {
            letters.push(DeadLetter {
                entry: reply.text()?,
                id: reply.text()?,
                kind: reply.text()?,
                room: reply.text()?,
                at_ms: reply.text()?.parse().unwrap_or_default(),
                tries: reply.text()?.parse().unwrap_or_default(),
                reason: reply.text()?,
                data: reply.text()?,
            });
        }
        Ok(letters)
    }

    /// Replays a dead letter, or discards it. `false` if it no longer exists.
    ///
    /// # Errors
    /// Redis cannot be reached, or the letter has an invalid room id.
    pub async fn move_letter(&self, letter: &DeadLetter, replay: bool) -> Result<bool, Error> {
        let room = RoomId::parse(&letter.room);
        let room = room.ok_or_else(|| Error::internal("a dead letter that names no room"))?;
        let (shared, keys) = (self.key_style().hooks(), self.keys(&room));
        let names = vec![
            shared.dead(),
            letter.addressee().map_or_else(|| keys.events(), |user| keys.pushes(&user)),
            shared.ready(),
            shared.oldest(),
            shared.state(),
            shared.delayed(),
        ];
        let what = if replay { "replay" } else { "discard" };
        let lasts = kept(&self.0.settings.webhooks);
        let args = [letter.entry.as_str().into(), what.into(), ms(lasts)];
        self.run(&self.0.move_letter, names, &args).await?.ok()?.flag()
    }
}

impl DeadLetter {
    /// Whose push it is; nobody's where it is an event for the webhook.
    fn addressee(&self) -> Option<UserId> {
        let data: serde_json::Value = serde_json::from_str(&self.data).ok()?;
        let user = data["userId"].as_str().filter(|_| self.kind == PUSH)?;
        Some(UserId::stored(user))
    }
}

/// TTL of the webhooks' keys: longer than the maximum age of their contents, which is counted when
/// it is dropped.
pub(super) fn kept(settings: &WebhookSettings) -> Duration {
    const LONGER: Duration = Duration::from_secs(24 * 60 * 60);
    settings.webhook_age_max + LONGER
}

/// An identifier of the receiver in these settings.
fn receiver(settings: &WebhookSettings) -> String {
    const LENGTH: usize = 16;
    let url = settings.webhook_url.as_ref().map_or("", |url| url.expose());
    let secret = settings.webhook_secret.as_ref().map_or(&[][..], |secret| secret.expose());
    let digest = Sha256::new().chain_update(url).chain_update([0]).chain_update(secret).finalize();
    let mut hex = data_encoding::HEXLOWER.encode(&digest);
    hex.truncate(LENGTH);
    hex
}
