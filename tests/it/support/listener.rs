//! A reader of Server-Sent Events, as the standard defines them; it knows no WebSocket.

use std::time::Duration;

use reqwest::{Method, RequestBuilder, Response};
use serde_json::Value;

use super::{
    Http,
    time::{DEADLINE, within},
};

/// One event.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    pub kind: String,
    pub id: Option<String>,
    pub data: Value,
}

/// One streaming answer.
pub struct Listener {
    response: Response,
    unread: Vec<u8>,
    /// every event so far, oldest first
    pub seen: Vec<Event>,
    /// the id to resume from
    pub last: Option<String>,
    /// comments so far
    pub comments: usize,
}

impl Listener {
    /// Requests the events after `last`, as `EventSource` does when it reconnects.
    pub async fn open(http: &Http, room: &str, last: Option<&str>) -> Self {
        Self::send(http.request(Method::GET, &format!("/api/rooms/{room}/events")), last).await
    }

    /// The same with this token.
    pub async fn open_as(http: &Http, room: &str, token: &str) -> Self {
        let request = http.request(Method::GET, &format!("/api/rooms/{room}/events"));
        Self::send(request.bearer_auth(token), None).await
    }

    async fn send(request: RequestBuilder, last: Option<&str>) -> Self {
        let request = last.iter().fold(request, |request, id| request.header("last-event-id", *id));
        let response = within(DEADLINE, "an answer", request.send()).await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self {
            response,
            unread: Vec::new(),
            seen: Vec::new(),
            last: last.map(str::to_owned),
            comments: 0,
        }
    }

    /// The next event; `None` if the answer ended normally.
    ///
    /// # Errors
    /// The answer ended early.
    pub async fn next(&mut self) -> reqwest::Result<Option<Event>> {
        loop {
            while let Some(end) = self.unread.windows(2).position(|two| two == b"\n\n") {
                let block = self.unread.drain(..end + 2).collect();
                let block = String::from_utf8(block).unwrap();
                self.comments += usize::from(block.starts_with(':'));
                self.last = field(&block, "id").or(self.last.take());
                let event = read(&block);
                if let Some(event) = event {
                    self.seen.push(event.clone());
                    return Ok(Some(event));
                }
            }
            match within(DEADLINE, "an event", self.response.chunk()).await? {
                Some(chunk) => self.unread.extend(chunk),
                None => return Ok(None),
            }
        }
    }

    /// Reads until it has an id to resume from, before the first event.
    pub async fn until_position(&mut self) {
        while self.last.is_none() {
            let waits = tokio::time::timeout(Duration::from_millis(20), self.next()).await;
            assert!(waits.is_err() || self.last.is_some(), "{waits:?}");
        }
    }

    /// The first event of this kind from now on.
    pub async fn wait_for(&mut self, kind: &str) -> Event {
        loop {
            let event = self.next().await.unwrap();
            let event = event.unwrap_or_else(|| panic!("ended before {kind}: {:?}", self.seen));
            if event.kind == kind {
                return event;
            }
        }
    }

    /// Reads until it has this many messages, and returns their ids.
    pub async fn messages(&mut self, count: usize) -> Vec<String> {
        while self.ids().len() < count {
            self.wait_for("msg").await;
        }
        self.ids()
    }

    /// The ids of the messages so far.
    pub fn ids(&self) -> Vec<String> {
        self.seen.iter().filter_map(|event| event.id.clone()).collect()
    }
}

/// Reads one block of lines. A block without data is not an event.
fn read(block: &str) -> Option<Event> {
    let data = serde_json::from_str(&field(block, "data")?).unwrap();
    Some(Event { kind: field(block, "event").unwrap(), id: field(block, "id"), data })
}

fn field(block: &str, name: &str) -> Option<String> {
    let lines = block.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    let lines: Vec<_> = lines.collect();
    (!lines.is_empty()).then(|| lines.join("\n"))
}
