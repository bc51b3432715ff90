//! One try to post one event.

use std::time::Duration;

use axum::http::{Request, StatusCode, Uri, header};
use bytes::Bytes;
use http_body_util::Full;

use super::signature::Signer;
use crate::{
    message::timestamp,
    outbound::{HttpClient, USER_AGENT},
    redis::scripts::QueuedEvent,
    settings::WebhookSettings,
};

/// What a try came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The receiver has the event.
    Delivered {
        /// How long until it may have the next one.
        rest: Duration,
    },
    /// The receiver wants no events any more.
    Gone,
    /// It did not take it; why.
    Failed(String),
}

/// Posts events to one receiver.
pub(super) struct Delivery {
    client: HttpClient,
    url: Uri,
    signer: Signer,
    timeout: Duration,
}

impl Delivery {
    /// `None` if the settings name no receiver.
    ///
    /// # Errors
    /// The URL cannot be used in a request.
    pub fn new(settings: &WebhookSettings) -> anyhow::Result<Option<Self>> {
        let Some((url, secret)) =
            settings.webhook_url.as_ref().zip(settings.webhook_secret.as_ref())
        else {
            return Ok(None);
        };
        Ok(Some(Self {
            client: HttpClient::new(settings.allow_private()),
            url: url.expose().parse()?,
            signer: Signer::new(secret),
            timeout: settings.webhook_timeout,
        }))
    }

    /// Posts an event, and waits for the answer. `now_ms` is Redis's time.
    pub async fn post(&self, event: &QueuedEvent, now_ms: u64) -> Outcome {
        let request = match self.request(event, now_ms / 1000) {
            Ok(request) => request,
            Err(error) => return Outcome::Failed(error.to_string()),
        };
        match self.client.send(request, self.timeout).await {
            Ok(answer) if answer.status.is_success() => Outcome::Delivered { rest: Duration::ZERO },
            Ok(answer) if answer.status == StatusCode::GONE => Outcome::Gone,
            Ok(answer) => Outcome::Failed(format!("status {}", answer.status.as_u16())),
            Err(why) => Outcome::Failed(why),
        }
    }

    fn request(
        &self,
        event: &QueuedEvent,
        now: u64,
    ) -> Result<Request<Full<Bytes>>, axum::http::Error> {
        let body = body(event);
        Request::post(self.url.clone())
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::USER_AGENT, USER_AGENT)
            .header("webhook-id", &event.id)
            .header("webhook-timestamp", now)
            .header("webhook-signature", self.signer.sign(&event.id, now, &body))
            .body(Full::from(body))
    }
}

/// The body of the request: the same for each try.
fn body(event: &QueuedEvent) -> String {
    let at = timestamp(event.at_ms);
    ["{\"type\":\"", &event.kind, "\",\"timestamp\":\"", &at, "\",\"data\":", &event.data, "}"]
        .concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_posted_as_it_was_written() {
        let text = r#"evt_1-1 member.left 1700000000007 3 {"roomId":"r","userId":"a b"}"#;
        let event = QueuedEvent::parse(text).unwrap();
        assert_eq!((event.id.as_str(), event.tries), ("evt_1-1", 3));
        let expected = r#"{"type":"member.left","timestamp":"2023-11-14T22:13:20.007Z","data":{"roomId":"r","userId":"a b"}}"#;
        assert_eq!(body(&event), expected);
        for text in ["", "evt_1", "evt_1-1 member.left soon 3 {}"] {
            assert_eq!(QueuedEvent::parse(text), None);
        }
    }
}
