//! The system under test: a Redis that persists everything, and nodes, with a proxy for faults on
//! both sides of each.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use parking_lot::Mutex;
use rand::{Rng, rngs::StdRng};
use serde_json::json;

use crate::{
    pushed,
    stream::Stream,
    support::{
        Browser, Http, JWT_SECRET, Node, Proxy, PushService, Pushed, Receiver, RedisServer, SECRET,
        TestEnv, claims, jwt, now,
        resp::{self, Reply},
    },
    told,
};

pub const NODES: usize = 2;
/// The nodes' settings: short times, so that a round sees them pass, and no limits that would
/// distort the checks.
pub const SETTINGS: [(&str, &str); 16] = [
    ("JWT_SECRET", JWT_SECRET),
    ("WEBHOOK_TIMEOUT", "500ms"),
    ("WEBHOOK_BACKOFF", "20ms"),
    ("PRESENCE_TTL", "3s"),
    ("HEARTBEAT_INTERVAL", "1s"),
    ("LEAVE_GRACE", "600ms"),
    ("DRAIN_TIMEOUT", "2s"),
    ("HISTORY_MAX", "10000000"),
    ("RESUME_MAX", "100000"),
    ("JOINED_BYTES", "100000000"),
    ("MESSAGES_PER_SECOND", "100000"),
    ("FRAMES_PER_SECOND", "100000"),
    ("REQUESTS_PER_SECOND", "100000"),
    ("OUTBOX_FRAMES", "256"),
    ("OUTBOX_BYTES", "131072"),
    ("SLOW_CLOSE_TIMEOUT", "500ms"),
];
/// The setting with which a room of all residents and a visitor is large, and is not where a resident is missing.
const SMALL_ROSTER: (&str, &str) = ("ROSTER_MAX", "3");
/// A large room is told the number of its members at most so often.
pub const TOLD_EVERY: Duration = Duration::from_secs(1);
/// Who in a room comes by a JWT of an embedding application; the others have tokens.
const COMES_BY_JWT: usize = 1;
/// Seconds that a JWT is valid: longer than a round.
const JWT_LASTS: u64 = 3600;
/// Further settings of nodes that push.
const PUSH: [(&str, &str); 3] = [
    ("WEBHOOK_ALLOW_PRIVATE", "on"),
    ("PUSH_INTERVAL", "500ms"),
    ("VAPID_SUBJECT", "mailto:tests@rooms.example"),
];
/// Further settings of nodes that post what happens.
const WEBHOOK: [(&str, &str); 3] = [
    ("WEBHOOK_SECRET", SECRET),
    ("WEBHOOK_ALLOW_PRIVATE", "on"),
    ("WEBHOOK_EVENTS", "message.created, message.deleted, member.joined, member.left"),
];
/// Maximum time of a shutdown: the drain time, and a tolerance for a busy machine.
pub const LEAVES_WITHIN: Duration = Duration::from_secs(2 + 1);
/// How long a user who left or closed may still be shown: the grace and a tolerance, but less than
/// until it lapses.
pub const LEFT_WITHIN: Duration = Duration::from_millis(600 + 900);
/// How long a lost user may still be shown: presence TTL, a heartbeat, and a tolerance.
pub const LAPSES_WITHIN: Duration = Duration::from_secs(3 + 1 + 2);

/// The addresses of the nodes for clients; cheap to clone.
#[derive(Clone, Default)]
pub struct Doors(Arc<Mutex<Vec<Door>>>);

/// The address of one node for clients.
#[derive(Clone, Copy)]
pub struct Door {
    pub direct: SocketAddr,
    pub through_proxy: SocketAddr,
}

impl Doors {
    /// Any node, like the choice of a load balancer that does not know which ones are alive.
    pub fn pick(&self, rng: &mut StdRng) -> (usize, Door) {
        let doors = self.0.lock();
        let node = rng.random_range(0..doors.len());
        (node, doors[node])
    }
}

/// A node and its proxy.
pub struct Place {
    pub node: Node,
    /// Between clients and the node.
    pub street: Proxy,
}

/// What is different in some rounds.
pub struct Variant {
    /// Whether the nodes post what happens to a webhook.
    pub has_webhook: bool,
    /// Whether rooms are large soon, or never.
    pub has_small_roster: bool,
    /// Whether somebody in each room is never there, and is told by Web Push.
    pub has_push: bool,
}

/// Who hears of what happens by other ways than a connection.
struct Outside {
    receiver: Option<Receiver>,
    push_service: Option<PushService>,
    /// Whether a room of four is large.
    has_small_roster: bool,
}

/// Everything that runs, except the clients.
pub struct World {
    pub places: Vec<tokio::sync::Mutex<Place>>,
    /// Between a node and Redis.
    pub links: Vec<Proxy>,
    pub redis: tokio::sync::Mutex<RedisServer>,
    pub redis_addr: SocketAddr,
    pub doors: Doors,
    outside: Outside,
    pub env: TestEnv,
}

/// A room with the tokens of those who will be in it.
pub struct Room {
    pub id: String,
    pub tokens: Vec<(String, String)>,
    /// That of a user who is never there.
    pub browser: Option<Browser>,
}

impl World {
    pub async fn new(variant: Variant) -> Self {
        let env = TestEnv::new();
        let redis = RedisServer::start_append_only(&env);
        keep_what_is_answered(&redis);
        let mut outside = Outside {
            receiver: None,
            push_service: None,
            has_small_roster: variant.has_small_roster,
        };
        if variant.has_webhook {
            outside.receiver = Some(told::moody_receiver().await);
        }
        if variant.has_push {
            outside.push_service = Some(pushed::moody_service().await);
        }
        let (mut places, mut links, doors) = (Vec::new(), Vec::new(), Doors::default());
        for _ in 0..NODES {
            let link = Proxy::to(redis.addr()).await;
            let place = Place::new(&env, &link, &outside).await;
            place.node.wait_until_ready().await;
            doors.0.lock().push(place.door());
            places.push(tokio::sync::Mutex::new(place));
            links.push(link);
        }
        let redis_addr = redis.addr();
        let redis = tokio::sync::Mutex::new(redis);
        Self { places, links, redis, redis_addr, doors, outside, env }
    }

    /// Where the nodes post what happens, if they do.
    pub fn receiver(&self) -> Option<&Receiver> {
        self.outside.receiver.as_ref()
    }

    /// What the browser of somebody who is never there was pushed.
    pub fn pushed(&self, browser: &Browser) -> Vec<Pushed> {
        self.outside.push_service.as_ref().map(|it| it.got(browser)).unwrap_or_default()
    }

    /// Starts a node again where one has ended.
    pub async fn restart(&self, node: usize, place: &mut Place) {
        *place = Place::new(&self.env, &self.links[node], &self.outside).await;
        self.doors.0.lock()[node] = place.door();
    }

    pub async fn restart_redis(&self, redis: &mut RedisServer) {
        redis.restart();
        keep_what_is_answered(redis);
    }

    /// A room with these users.
    pub async fn room(&self, users: &[String]) -> Room {
        let http = Http::new(self.places[0].lock().await.node.addr());
        let answer = http.post("/api/rooms", json!({ "creatorName": users[0] })).await;
        let data = answer.data(201);
        let id = data["roomId"].as_str().unwrap().to_owned();
        let mut tokens = vec![(users[0].clone(), data["token"].as_str().unwrap().to_owned())];
        for (number, user) in users.iter().enumerate().skip(1) {
            let token = match number {
                COMES_BY_JWT => visitor(&id, user),
                _ => self.guest(&id, user).await,
            };
            tokens.push((user.clone(), token));
        }
        let mut browser = None;
        if let Some(service) = &self.outside.push_service {
            let token = self.guest(&id, "never there").await;
            browser = Some(pushed::subscribe(service, &http, &id, &token).await);
        }
        Room { id, tokens, browser }
    }

    /// The token of a guest.
    pub async fn guest(&self, room: &str, name: &str) -> String {
        let http = Http::new(self.places[0].lock().await.node.addr());
        let path = format!("/api/rooms/{room}/sessions");
        let data = http.post(&path, json!({ "name": name })).await.data(201);
        data["token"].as_str().unwrap().to_owned()
    }

    /// One command to Redis that may fail or take long, on a thread of its own.
    pub async fn tell_redis(&self, words: &[&str]) -> std::io::Result<Reply> {
        let (addr, words) = (self.redis_addr, words.iter().map(|w| (*w).to_owned()));
        let words: Vec<String> = words.collect();
        let told = tokio::task::spawn_blocking(move || {
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            resp::command(addr, &words)
        });
        told.await.unwrap()
    }

    /// The members of a room, as `redis-cli` shows them.
    pub async fn members(&self, room: &str) -> Vec<String> {
        let key = format!("room:{room}:members");
        self.tell_redis(&["SMEMBERS", &key]).await.unwrap().texts()
    }

    /// Whether a room is large.
    pub async fn is_large(&self, room: &str) -> bool {
        let key = format!("room:{room}");
        self.tell_redis(&["HEXISTS", &key, "large"]).await.is_ok_and(|reply| reply.int() == 1)
    }

    pub async fn stream(&self, room: &str) -> Stream {
        let key = format!("room:{room}:messages");
        let mut stream = Stream::read(&self.tell_redis(&["XRANGE", &key, "-", "+"]).await.unwrap());
        let key = format!("room:{room}:deleted");
        stream.add_deleted(&self.tell_redis(&["ZRANGE", &key, "0", "-1"]).await.unwrap());
        stream
    }
}

impl Place {
    async fn new(env: &TestEnv, link: &Proxy, outside: &Outside) -> Self {
        let (url, hooks) = (link.redis_url(), outside.receiver.as_ref().map(Receiver::url));
        let mut settings = SETTINGS.to_vec();
        settings.push(("REDIS_URL", &url));
        if outside.has_small_roster {
            settings.push(SMALL_ROSTER);
        }
        if let Some(service) = &outside.push_service {
            settings.push(("SSL_CERT_FILE", service.trusted()));
            settings.extend(PUSH);
        }
        if let Some(hooks) = &hooks {
            settings.push(("WEBHOOK_URL", hooks));
            settings.extend(WEBHOOK);
        }
        let node = Node::start_unready(env, &settings).await;
        let street = Proxy::to(node.addr()).await;
        Self { node, street }
    }

    fn door(&self) -> Door {
        Door { direct: self.node.addr(), through_proxy: self.street.addr() }
    }
}

/// The JWT of a user of an embedding application.
fn visitor(room: &str, name: &str) -> String {
    let changes = json!({ "name": name, "exp": now() + JWT_LASTS });
    jwt(&claims(&format!("account of {name}"), room, changes))
}

/// Makes every acknowledged write survive a crash: the file is written and synced first.
fn keep_what_is_answered(redis: &RedisServer) {
    redis.cmd(["CONFIG", "SET", "appendfsync", "always"]);
}
