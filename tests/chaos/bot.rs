//! A bot: sends messages over HTTP, each to any node, and retries unanswered ones with the same
//! key.

use std::time::Duration;

use rand::{Rng, SeedableRng, rngs::StdRng};
use serde_json::{Value, json};
use tokio::{sync::watch, task::JoinHandle, time::sleep};

use crate::{
    history::{Event, History},
    world::Doors,
};

/// Timeout of one request.
const PATIENCE: Duration = Duration::from_secs(3);
/// Between two messages, and before a retry, in milliseconds.
const TALK_EVERY_MS: std::ops::Range<u64> = 300..1500;
const SAY_AGAIN_AFTER_MS: std::ops::Range<u64> = 100..400;

/// A running bot.
pub struct Bot {
    pub history: History,
    quiet: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Bot {
    pub fn start(token: String, history: History, doors: Doors, seed: u64) -> Self {
        let (quiet, is_quiet) = watch::channel(false);
        // Every request has its own connection, like a shell script's.
        let http =
            reqwest::Client::builder().no_proxy().timeout(PATIENCE).pool_max_idle_per_host(0);
        let mouth = Mouth { token, history: history.clone(), doors, http: http.build().unwrap() };
        let task = tokio::spawn(mouth.talk(seed, is_quiet));
        Self { history, quiet, task }
    }

    /// Stops new messages, and waits until all earlier ones were answered.
    pub async fn ended(self) {
        self.quiet.send_replace(true);
        self.task.await.unwrap();
    }
}

struct Mouth {
    token: String,
    history: History,
    doors: Doors,
    http: reqwest::Client,
}

impl Mouth {
    async fn talk(self, seed: u64, is_quiet: watch::Receiver<bool>) {
        let mut rng = StdRng::seed_from_u64(seed);
        for number in 0.. {
            sleep(Duration::from_millis(rng.random_range(TALK_EVERY_MS))).await;
            if *is_quiet.borrow() {
                return;
            }
            let (key, text) = (format!("{seed:x}-{number}"), format!("bot {seed} {number}"));
            while !self.say(&key, &text, &mut rng).await {
                sleep(Duration::from_millis(rng.random_range(SAY_AGAIN_AFTER_MS))).await;
            }
        }
    }

    /// Sends it once. Returns whether the answer is final.
    async fn say(&self, key: &str, text: &str, rng: &mut StdRng) -> bool {
        let (_, door) = self.doors.pick(rng);
        let url =
            format!("http://{}/api/rooms/{}/messages", door.through_proxy, self.history.room());
        let body = json!({ "text": text, "key": key });
        self.history.note(Event::Say { key: key.to_owned(), text: text.to_owned() });
        let request = self.http.post(url).bearer_auth(&self.token).json(&body);
        let Ok(response) = request.send().await else { return false };
        let status = response.status();
        let Ok(mut answer) = response.json::<Value>().await else { return false };
        let mut frame = answer["data"].take();
        if status != 201 {
            frame = answer["error"].take();
            frame["key"] = key.into();
        }
        frame["t"] = if status == 201 { "msg" } else { "error" }.into();
        self.history.note(Event::Got(frame));
        status != 503
    }
}
