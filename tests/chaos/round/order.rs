//! How a creator keeps order while everything else goes wrong: somebody is removed, a message deleted, a room locked or
//! ended. What is not answered is asked again.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use rand::{SeedableRng, rngs::StdRng};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::{ROOMS, Running, settle::RECOVERS_WITHIN};
use crate::{
    checker::{Evidence, Violation},
    client::{self, Client, Identity},
    fault::Fault,
    history::History,
    rulings::{Deleted, Ended, Locked, Removed, Rulings},
    stream::Id,
    world::{Room, World},
};

/// How long one request may take, and how long it is asked again.
const PATIENCE: Duration = Duration::from_secs(3);
const INSISTS: Duration = Duration::from_secs(60);
/// Between two tries.
const PAUSE: Duration = Duration::from_millis(100);
/// Messages of which one is deleted.
const LATEST: &str = "20";

/// What creators did, and whom it hit.
pub struct Order {
    http: reqwest::Client,
    rulings: Mutex<Rulings>,
    /// Those who were removed.
    outcasts: Mutex<Vec<Client>>,
    /// Those whose room was ended.
    homeless: Mutex<Vec<Client>>,
    /// One lock at a time in each room.
    locks: [tokio::sync::Mutex<()>; ROOMS],
    seed: u64,
    asked: AtomicU64,
}

/// A request, and who makes it.
struct Wish<'a> {
    method: Method,
    path: String,
    token: &'a str,
    body: Option<Value>,
}

/// The last answer to a request.
struct Answer {
    status: u16,
    body: Value,
    /// Whether an earlier try may have been carried out.
    is_again: bool,
}

impl Order {
    pub fn new(seed: u64) -> Self {
        // Every request comes over a connection of its own.
        let http =
            reqwest::Client::builder().no_proxy().timeout(PATIENCE).pool_max_idle_per_host(0);
        Self {
            http: http.build().unwrap(),
            rulings: Mutex::default(),
            outcasts: Mutex::default(),
            homeless: Mutex::default(),
            locks: [(); ROOMS].map(|()| tokio::sync::Mutex::default()),
            seed,
            asked: AtomicU64::new(0),
        }
    }

    /// Asks any node, once.
    async fn ask(&self, world: &World, wish: &Wish<'_>) -> Option<(u16, Value)> {
        let number = self.asked.fetch_add(1, Ordering::Relaxed);
        let (_, door) = world.doors.pick(&mut StdRng::seed_from_u64((self.seed << 32) + number));
        let url = format!("http://{}{}", door.through_proxy, wish.path);
        let mut request = self.http.request(wish.method.clone(), url).bearer_auth(wish.token);
        if let Some(body) = &wish.body {
            request = request.json(body);
        }
        let response = request.send().await.ok()?;
        Some((response.status().as_u16(), response.json().await.ok()?))
    }

    /// Asks until there is an answer that is not about Redis.
    async fn insist(&self, world: &World, wish: Wish<'_>) -> Option<Answer> {
        let (begun, mut is_again) = (Instant::now(), false);
        while begun.elapsed() < INSISTS {
            match self.ask(world, &wish).await {
                Some((status, body)) if status != 503 => {
                    return Some(Answer { status, body, is_again });
                }
                _ => is_again = true,
            }
            sleep(PAUSE).await;
        }
        None
    }

    /// Waits until everybody whom it hit knows, and looks whether what is gone stayed so.
    pub async fn finish(
        self,
        world: &World,
        evidence: &mut Evidence,
        violations: &Mutex<Vec<Violation>>,
    ) {
        let violation = |check, what: String| violations.lock().push(Violation { check, what });
        let outcasts = self.outcasts.into_inner().into_iter().map(|client| (client, true));
        let homeless = self.homeless.into_inner().into_iter().map(|client| (client, false));
        for (mut client, is_outcast) in outcasts.chain(homeless) {
            let history = client.history.clone();
            if !client.ends_within(RECOVERS_WITHIN).await {
                let what = format!("{} of {} is not told", history.name(), history.room());
                violation("removed", what);
                client.order(client::Order::End { leave: false });
                client.ended().await;
            }
            match is_outcast {
                true => evidence.histories.push(history),
                false => evidence.homeless.push(history),
            }
        }
        evidence.rulings = self.rulings.into_inner();
        for Ended { room, .. } in &evidence.rulings.ended {
            let left = left_of(world, room).await.unwrap_or_default();
            if !left.is_empty() {
                violation("ended", format!("of {room} there is at the end: {left:?}"));
            }
        }
    }
}

/// What Redis has of a room, but what waits for the webhook.
async fn left_of(world: &World, room: &str) -> Option<Vec<String>> {
    let mut keys = world.tell_redis(&["KEYS", &format!("*{room}*")]).await.ok()?.texts();
    keys.retain(|key| !key.ends_with(":hooks"));
    Some(keys)
}

impl Running {
    /// Asks until it is answered with one of these, or says what it was answered with.
    async fn order(&self, wish: Wish<'_>, expected: impl Fn(&Answer) -> bool) -> Option<Answer> {
        let what = format!("{} {}", wish.method, wish.path);
        let answer = self.order.insist(&self.world, wish).await;
        match &answer {
            Some(answer) if !expected(answer) => {
                let what = format!("{what}: {} {}", answer.status, answer.body);
                self.violation("answers to a creator", what);
            }
            Some(_) => {}
            None => self.violation("works again", format!("{what} is not answered")),
        }
        answer.filter(expected)
    }

    /// A session of somebody new, whose name begins so: name and token.
    async fn newcomer(&self, room: &str, named: &str) -> Option<(String, String)> {
        let begun = Instant::now();
        while begun.elapsed() < INSISTS {
            let number = self.guests.fetch_add(1, Ordering::Relaxed);
            let name = format!("{named} {number}");
            let wish = Wish {
                method: Method::POST,
                path: format!("/api/rooms/{room}/sessions"),
                token: "",
                body: Some(json!({ "name": name })),
            };
            if let Some((201, body)) = self.order.ask(&self.world, &wish).await {
                return Some((name, body["data"]["token"].as_str().unwrap().to_owned()));
            }
            sleep(PAUSE).await;
        }
        self.violation("works again", format!("nobody gets into {room}"));
        None
    }

    /// Somebody who ends with its session, or its room.
    fn mortal(&self, room: &str, name: &str, token: String) -> Client {
        let number = self.guests.fetch_add(1, Ordering::Relaxed) as u64;
        let history = History::new(name, room, self.start);
        let identity = Identity { token, is_mortal: true, ..Identity::default() };
        let seed = (self.seed << 16) + (1 << 13) + number;
        Client::start(identity, history, self.world.doors.clone(), seed)
    }

    fn any_room(&self, fault: Fault) -> &Room {
        &self.rooms[fault.target % ROOMS]
    }

    pub(super) async fn remove(&self, fault: Fault) {
        let Room { id, tokens, .. } = self.any_room(fault);
        let Some((name, token)) = self.newcomer(id, "outcast").await else { return };
        let outcast = self.mortal(id, &name, token);
        // Mostly while it joins.
        sleep(fault.lasts / 5).await;
        let wish = Wish {
            method: Method::DELETE,
            path: format!("/api/rooms/{id}/members/{}", name.replace(' ', "%20")),
            token: &tokens[0].1,
            body: None,
        };
        let done = |answer: &Answer| {
            answer.status == 200 || answer.is_again && answer.body["error"]["code"] == "NOT_FOUND"
        };
        if self.order(wish, done).await.is_some() {
            let last = self.last_stored(id).await;
            let room = id.clone();
            self.order.rulings.lock().removed.push(Removed { room, name, last });
        }
        self.order.outcasts.lock().push(outcast);
    }

    /// The last message of a room by now.
    async fn last_stored(&self, room: &str) -> Id {
        let key = format!("room:{room}:messages");
        loop {
            let last = self.world.tell_redis(&["XREVRANGE", &key, "+", "-", "COUNT", "1"]).await;
            if let Ok(reply) = last
                && let Some(id) = Id::of_entries(&reply)
            {
                return id;
            }
            sleep(PAUSE).await;
        }
    }

    pub(super) async fn delete(&self, fault: Fault) {
        let Room { id: room, tokens, .. } = self.any_room(fault);
        let key = format!("room:{room}:messages");
        let latest = self.world.tell_redis(&["XREVRANGE", &key, "+", "-", "COUNT", LATEST]).await;
        let Ok(latest) = latest else { return };
        // Everybody waits for a probe.
        let mut found = crate::stream::Stream::read(&latest).0;
        found.retain(|_, stored| !stored.text.starts_with("probe"));
        let Some((id, stored)) = found.into_iter().nth(fault.target % 7) else { return };
        let deleted = Deleted { room: room.clone(), id, stored, at: f64::INFINITY };
        let nth = {
            let mut rulings = self.order.rulings.lock();
            rulings.deleted.push(deleted);
            rulings.deleted.len() - 1
        };
        let wish = Wish {
            method: Method::DELETE,
            path: format!("/api/rooms/{room}/messages/{id}"),
            token: &tokens[0].1,
            body: None,
        };
        if self.order(wish, |answer| answer.status == 200).await.is_some() {
            self.order.rulings.lock().deleted[nth].at = self.now();
        }
    }

    pub(super) async fn lock(&self, fault: Fault) {
        let _turn = self.order.locks[fault.target % ROOMS].lock().await;
        let room = self.any_room(fault);
        let change = |locked: bool| Wish {
            method: Method::PATCH,
            path: format!("/api/rooms/{}", room.id),
            token: &room.tokens[0].1,
            body: Some(json!({ "locked": locked })),
        };
        if self.order(change(true), |answer| answer.status == 200).await.is_some() {
            let (from, begun) = (self.now(), Instant::now());
            while begun.elapsed() < fault.lasts {
                let wish = Wish {
                    method: Method::POST,
                    path: format!("/api/rooms/{}/sessions", room.id),
                    token: "",
                    body: Some(json!({ "name": "late" })),
                };
                let answer = self.order.ask(&self.world, &wish).await;
                if let Some((status, body)) =
                    answer.filter(|(status, _)| ![403, 503].contains(status))
                {
                    self.violation("locked", format!("{}: {status} {body}", room.id));
                }
                sleep(PAUSE).await;
            }
            let (room, to) = (room.id.clone(), self.now());
            self.order.rulings.lock().locked.push(Locked { room, from, to });
        }
        self.order(change(false), |answer| answer.status == 200).await;
    }

    pub(super) async fn end_room(&self, fault: Fault) {
        let body = Some(json!({ "creatorName": "host" }));
        let wish = Wish { method: Method::POST, path: "/api/rooms".to_owned(), token: "", body };
        let made = self.order(wish, |answer| answer.status == 201).await;
        let Some(Answer { body, .. }) = made else { return };
        let text = |field: &str| body["data"][field].as_str().unwrap().to_owned();
        let (room, token) = (text("roomId"), text("token"));
        let Some((name, guest)) = self.newcomer(&room, "guest").await else { return };
        let homeless =
            [self.mortal(&room, "host", token.clone()), self.mortal(&room, &name, guest)];
        self.order.homeless.lock().extend(homeless);
        sleep(fault.lasts).await;
        let wish = Wish {
            method: Method::DELETE,
            path: format!("/api/rooms/{room}"),
            token: &token,
            body: None,
        };
        let done =
            |answer: &Answer| answer.status == 200 || answer.is_again && answer.status == 404;
        if self.order(wish, done).await.is_none() {
            return;
        }
        let at = self.now();
        let left = left_of(&self.world, &room).await.unwrap_or_default();
        if !left.is_empty() {
            self.violation("ended", format!("of {room} there is after the answer: {left:?}"));
        }
        self.order.rulings.lock().ended.push(Ended { room, at });
    }
}
