//! The Chrome DevTools Protocol: calls and events over one WebSocket.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use futures_util::{
    SinkExt, StreamExt,
    stream::{SplitSink, SplitStream},
};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::{
    net::TcpStream,
    sync::{Mutex as AsyncMutex, oneshot},
    task::JoinHandle,
};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async, tungstenite::protocol::Message,
};

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// A connection to the browser. Everything created over it with `disposeOnDetach` ends with it.
pub struct DevTools {
    sink: AsyncMutex<SplitSink<Socket, Message>>,
    inbox: Arc<Inbox>,
    next_id: AtomicU64,
    reading: JoinHandle<()>,
}

#[derive(Default)]
struct Inbox {
    calls: Mutex<HashMap<u64, oneshot::Sender<Value>>>,
    /// session -> its events so far, oldest first
    events: Mutex<HashMap<String, Vec<Value>>>,
}

impl DevTools {
    pub async fn connect(url: &str) -> Self {
        let (socket, _) = connect_async(url).await.expect("Chromium listens");
        let (sink, stream) = socket.split();
        let inbox = Arc::<Inbox>::default();
        let reading = tokio::spawn(read(stream, Arc::clone(&inbox)));
        Self { sink: AsyncMutex::new(sink), inbox, next_id: AtomicU64::new(1), reading }
    }

    /// Calls a method of the browser (no session) or of a page, and returns the result.
    pub async fn call(
        &self,
        session: Option<&str>,
        method: &str,
        params: Value,
    ) -> Result<Value, String> {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let (sender, answer) = oneshot::channel();
        self.inbox.calls.lock().insert(id, sender);
        let mut call = json!({ "id": id, "method": method, "params": params });
        if let Some(session) = session {
            call["sessionId"] = json!(session);
        }
        let sent = self.sink.lock().await.send(Message::text(call.to_string())).await;
        sent.map_err(|error| error.to_string())?;
        let mut answer = answer.await.map_err(|_| format!("{method}: the browser is gone"))?;
        match answer.get("error") {
            Some(error) => Err(format!("{method}: {error}")),
            None => Ok(answer["result"].take()),
        }
    }

    /// The parameters of a session's events of one kind so far, oldest first.
    pub fn events(&self, session: &str, method: &str) -> Vec<Value> {
        let events = self.inbox.events.lock();
        let of_session = events.get(session).into_iter().flatten();
        of_session
            .filter(|event| event["method"] == method)
            .map(|event| event["params"].clone())
            .collect()
    }
}

impl Drop for DevTools {
    fn drop(&mut self) {
        self.reading.abort();
    }
}

async fn read(mut stream: SplitStream<Socket>, inbox: Arc<Inbox>) {
    while let Some(Ok(message)) = stream.next().await {
        let Ok(text) = message.to_text() else { continue };
        let Ok(frame) = serde_json::from_str::<Value>(text) else { continue };
        if let Some(id) = frame["id"].as_u64() {
            if let Some(call) = inbox.calls.lock().remove(&id) {
                let _ = call.send(frame);
            }
        } else if let Some(session) = frame["sessionId"].as_str() {
            inbox.events.lock().entry(session.to_owned()).or_default().push(frame);
        }
    }
    inbox.calls.lock().clear();
}
