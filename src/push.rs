//! Web Push: notifies users with a subscription of missed messages. Each push is a request to the
//! push service of the user's browser, encrypted for that browser. Waiting pushes are in Redis, and
//! are sent like webhooks.

use std::sync::Arc;

use axum::http::{Request, StatusCode, header};
use bytes::Bytes;
use data_encoding::BASE64URL_NOPAD;
use http_body_util::Full;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{
    error::Error,
    names::{MessageId, RoomId, UserId},
    outbound::{HttpClient, USER_AGENT},
    redis::scripts::{PushFacts, QueuedEvent, Scripts},
    settings::Settings,
    webpush::{Subscription, VapidKey, encrypt},
};

/// How long (s) a push service keeps a push for a browser that is away.
const TTL: u32 = 24 * 60 * 60;
/// Maximum code points of a text, and of a name, in a push.
const BEGINNING: usize = 200;
/// Characters of the topic that identifies the pushes of a room.
const TOPIC: usize = 32;

/// The outcome of a push.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pushed {
    /// The push service accepted it.
    Sent,
    /// The push service no longer knows the browser: the subscription has ended.
    Ended,
    /// Nothing has to be sent: the subscription has ended, or the message was read or deleted.
    Needless,
    /// The push service did not accept it, with the reason.
    Failed(String),
}

/// A push to be sent, as `lua/lib/push_missed.lua` writes it.
#[derive(Deserialize)]
struct Wanted {
    id: MessageId,
    more: u64,
}

/// The contents of a push.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Payload<'a> {
    room_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
    more: u64,
}

/// Sends pushes. Cheap to clone.
#[derive(Clone)]
pub struct Push(Arc<Inner>);

struct Inner {
    scripts: Scripts,
    settings: Arc<Settings>,
    client: HttpClient,
    /// The last used key.
    key: Mutex<Arc<VapidKey>>,
}

impl Push {
    /// `None` if this deployment cannot push.
    pub fn new(scripts: &Scripts, settings: &Arc<Settings>) -> Option<Self> {
        if !scripts.can_push() {
            return None;
        }
        let given = settings.push.vapid_private_key.clone();
        let key = given.unwrap_or_else(|| Arc::new(VapidKey::generate()));
        Some(Self(Arc::new(Inner {
            scripts: scripts.clone(),
            settings: settings.clone(),
            client: HttpClient::new(settings.webhooks.allow_private()),
            key: Mutex::new(key),
        })))
    }

    /// The key that all nodes sign with.
    ///
    /// # Errors
    /// Redis cannot be reached.
    pub async fn key(&self) -> Result<Arc<VapidKey>, Error> {
        let mine = self.0.key.lock().clone();
        if self.0.settings.push.vapid_private_key.is_some() {
            return Ok(mine);
        }
        let kept = self.0.scripts.keep_vapid(&mine).await?;
        if kept == mine.private() {
            return Ok(mine);
        }
        let foreign = || Error::internal("room::push:vapid holds no key");
        let key = Arc::new(VapidKey::parse(&kept).ok_or_else(foreign)?);
        *self.0.key.lock() = key.clone();
        Ok(key)
    }

    /// Notifies a user of missed messages. `now_ms` is Redis's time.
    pub async fn post(
        &self,
        room: &RoomId,
        user: &UserId,
        event: &QueuedEvent,
        now_ms: u64,
    ) -> Pushed {
        match self.try_post(room, user, event, now_ms).await {
            Ok(pushed) => pushed,
            Err(error) => Pushed::Failed(error.to_string()),
        }
    }

    async fn try_post(
        &self,
        room: &RoomId,
        user: &UserId,
        event: &QueuedEvent,
        now_ms: u64,
    ) -> Result<Pushed, Error> {
        // Something that another program wrote there is not a push.
        let Ok(wanted) = serde_json::from_str::<Wanted>(&event.data) else {
            return Ok(Pushed::Needless);
        };
        let key = self.key().await?;
        let facts = self.0.scripts.read_push(room, user, wanted.id, &key).await?;
        let Some(facts) = facts.filter(|facts| !facts.is_read) else { return Ok(Pushed::Needless) };
        let Some(payload) = payload(room, &wanted, &facts) else { return Ok(Pushed::Needless) };
        let to = &facts.subscription;
        let request = self.request(room, to, &payload, &key, now_ms / 1000);
        let request = request.map_err(|error| Error::internal(error.to_string()))?;
        match self.0.client.send(request, self.0.settings.webhooks.webhook_timeout).await {
            Ok(answer) if answer.status.is_success() => Ok(Pushed::Sent),
            Ok(answer) if matches!(answer.status, StatusCode::NOT_FOUND | StatusCode::GONE) => {
                self.0.scripts.forget_subscription(room, user, to).await?;
                Ok(Pushed::Ended)
            }
            Ok(answer) => Ok(Pushed::Failed(format!("status {}", answer.status.as_u16()))),
            Err(why) => Ok(Pushed::Failed(why)),
        }
    }

    fn request(
        &self,
        room: &RoomId,
        to: &Subscription,
        payload: &str,
        key: &VapidKey,
        now: u64,
    ) -> anyhow::Result<Request<Full<Bytes>>> {
        let body = encrypt(payload.as_bytes(), to)
            .map_err(|_| anyhow::anyhow!("it cannot be encrypted for this browser"))?;
        let signed = key.authorization(to.origin(), self.subject().as_deref(), now);
        let request = Request::post(to.endpoint())
            .header(header::AUTHORIZATION, signed)
            .header(header::CONTENT_TYPE, "application/octet-stream")
            .header(header::CONTENT_ENCODING, "aes128gcm")
            .header(header::USER_AGENT, USER_AGENT)
            .header("ttl", TTL)
            .header("urgency", "normal")
            .header("topic", topic(room));
        Ok(request.body(Full::from(body))?)
    }

    /// The contact for the push service.
    fn subject(&self) -> Option<String> {
        let settings = &self.0.settings;
        let given = settings.push.vapid_subject.as_ref().map(|contact| contact.as_str().to_owned());
        let public = settings.public_url.as_ref().map(ToString::to_string);
        given.or(public.filter(|url| url.starts_with("https://")))
    }
}

/// The contents of a push; `None` if the missed messages are gone.
fn payload(room: &RoomId, wanted: &Wanted, facts: &PushFacts) -> Option<String> {
    let (from, more) = match &facts.from {
        Some(from) => (Some(beginning(from)), wanted.more),
        // There were earlier messages.
        None => (None, wanted.more.checked_sub(1)?),
    };
    // Only members can read the text of an encrypted room, and it would be cut off.
    let text = from.filter(|_| !facts.e2e).map(|_| beginning(&facts.text));
    let payload = Payload { room_id: room.as_str(), from, text, more };
    serde_json::to_string(&payload).ok()
}

fn beginning(text: &str) -> &str {
    let end = text.char_indices().nth(BEGINNING).map_or(text.len(), |(at, _)| at);
    &text[..end]
}

/// The topic, which makes a push service keep only the newest push of a room. It does not reveal
/// the room.
fn topic(room: &RoomId) -> String {
    let mut topic = BASE64URL_NOPAD.encode(&Sha256::digest(room.as_str()));
    topic.truncate(TOPIC);
    topic
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::webpush::PAYLOAD_MAX;

    fn told(text: &str, from: Option<&str>, e2e: bool, more: u64) -> Option<String> {
        let words = "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4 \
                     BTBZMqHH6r4Tts7J_aSIgg https://push.example/x";
        let facts = PushFacts {
            subscription: Subscription::of_words(words).unwrap(),
            from: from.map(str::to_owned),
            text: text.to_owned(),
            e2e,
            is_read: false,
        };
        let wanted = Wanted { id: "1-1".parse().unwrap(), more };
        payload(&RoomId::parse("abc12345").unwrap(), &wanted, &facts)
    }

    #[test]
    fn a_push_tells_the_beginning_and_of_an_encrypted_room_no_text() {
        let open = told("hi", Some("bob"), false, 2).unwrap();
        assert_eq!(open, r#"{"roomId":"abc12345","from":"bob","text":"hi","more":2}"#);
        let sealed = told("hi", Some("bob"), true, 0).unwrap();
        assert_eq!(sealed, r#"{"roomId":"abc12345","from":"bob","more":0}"#);
        let gone = told("", None, false, 2).unwrap();
        assert_eq!(gone, r#"{"roomId":"abc12345","more":1}"#);
        assert_eq!(told("", None, false, 0), None);
    }

    #[test]
    fn no_payload_is_too_long() {
        for text in ["\u{1}", "\u{1f9d1}"] {
            let long = told(&text.repeat(4000), Some(&text.repeat(4000)), false, u64::MAX);
            assert!(long.unwrap().len() <= PAYLOAD_MAX);
        }
    }
}
