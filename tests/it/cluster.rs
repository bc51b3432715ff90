//! Promise 10: a shard is an island. What happens to one is felt in its rooms alone, and these keep the other promises.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::support::{Client, Cluster, DEADLINE, Node, Room, SHARDS, TestEnv, eventually};

/// Maximum duration of a fail-over: detection, votes, promotion, and a busy machine.
const FAILOVER: Duration = Duration::from_secs(30);
/// How long an acknowledgement may take where all is well.
const WELL: Duration = Duration::from_secs(1);
const SETTINGS: [(&str, &str); 3] =
    [("PRESENCE_TTL", "60s"), ("MESSAGES_PER_SECOND", "1000"), ("ROOMS_PER_MINUTE", "100000")];

/// A cluster, two nodes, and a room on each shard.
struct Sea {
    cluster: Cluster,
    nodes: Vec<Node>,
    rooms: Vec<Room>,
    _env: TestEnv,
}

impl Sea {
    async fn new() -> Self {
        Self::with_coverage(false).await
    }

    async fn with_coverage(full: bool) -> Self {
        let env = TestEnv::new();
        let cluster = Cluster::start(&env, full).await;
        let url = cluster.url();
        let (one, other) =
            tokio::join!(Node::start(&env, &url, &SETTINGS), Node::start(&env, &url, &SETTINGS));
        let mut rooms = BTreeMap::new();
        while rooms.len() < SHARDS {
            let room = make_room(&one).await;
            rooms.insert(cluster.server_of(&room.id).unwrap(), room);
        }
        Self { cluster, nodes: vec![one, other], rooms: rooms.into_values().collect(), _env: env }
    }

    /// Who talks in each room, and who listens there by the other node.
    async fn talkers(&self) -> Vec<Talker> {
        let mut talkers = Vec::new();
        for room in &self.rooms {
            talkers.push(Talker::start(&self.nodes[0], &self.nodes[1], room).await);
        }
        talkers
    }

    /// Every message of a room's stream reached both sides once and in order, and nothing else did.
    fn told_as_stored(&self, room: &Room, talked: &Talked) {
        let stream = self.cluster.stream_ids(&room.id).unwrap();
        assert_eq!(talked.heard, stream, "what the other node told");
        let mut acknowledged = talked.acknowledged.clone();
        // The answer to a retry may repeat a message to its own sender.
        acknowledged.dedup();
        assert_eq!(acknowledged, stream, "what was acknowledged");
    }
}

async fn make_room(node: &Node) -> Room {
    let answer = node.http().post("/api/rooms", json!({ "creatorName": "alice" })).await;
    let data = answer.data(201);
    let text = |name: &str| data[name].as_str().unwrap().to_owned();
    Room { id: text("roomId"), token: text("token") }
}

/// Says one thing after the other, each until it is acknowledged.
struct Talker {
    stop: CancellationToken,
    talks: tokio::task::JoinHandle<Talked>,
}

/// What came of it.
#[derive(Debug, Default)]
struct Talked {
    acknowledged: Vec<String>,
    heard: Vec<String>,
    /// Error codes, and how long each acknowledgement or error took.
    errors: Vec<(String, Duration)>,
    slowest: Duration,
}

impl Talker {
    async fn start(near: &Node, far: &Node, room: &Room) -> Self {
        let (mut alice, mut bob) = (near.client().await, far.client().await);
        alice.join(&room.id, &room.token).await;
        bob.join(&room.id, "bob").await;
        let (stop, room) = (CancellationToken::new(), room.id.clone());
        let stopped = stop.clone();
        let talks = tokio::spawn(async move {
            let mut talked = Talked::default();
            for number in 0.. {
                if stopped.is_cancelled() && number > 0 {
                    break;
                }
                say(&mut alice, &room, &format!("{number}"), &mut talked).await;
                tokio::time::sleep(Duration::from_millis(15)).await;
            }
            let last = talked.acknowledged.last().cloned().unwrap();
            bob.wait_for("the last message", |frame| frame["id"] == last.as_str()).await;
            talked.acknowledged = alice.message_ids(&room);
            talked.heard = bob.message_ids(&room);
            assert_eq!(bob.comings_and_goings(), [], "nobody came or went");
            talked
        });
        Self { stop, talks }
    }

    async fn end(self) -> Talked {
        self.stop.cancel();
        self.talks.await.unwrap()
    }
}

/// Says one thing until it is acknowledged.
async fn say(client: &mut Client, room: &str, text: &str, talked: &mut Talked) {
    let frame = json!({ "t": "msg", "roomId": room, "text": text, "key": text });
    let gives_up = Instant::now() + FAILOVER;
    loop {
        let begun = Instant::now();
        client.send(frame.clone()).await;
        let answer = client.wait_for("an answer", |frame| frame["key"] == text).await;
        if answer["t"] == "msg" {
            talked.slowest = talked.slowest.max(begun.elapsed());
            talked.acknowledged.push(answer["id"].as_str().unwrap().to_owned());
            return;
        }
        let code = answer["code"].as_str().unwrap_or_default().to_owned();
        talked.errors.push((code, begun.elapsed()));
        assert!(Instant::now() < gives_up, "not acknowledged: {talked:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// `/readyz` of a node, with its details.
async fn ready(node: &Node) -> (u16, Value) {
    let answer = node.http().get("/readyz").await;
    let body = &answer.body;
    (answer.status, body["data"]["details"].clone())
}

fn was_well(talked: &Talked) {
    assert_eq!(talked.errors, [], "no error where all is well");
    assert!(talked.slowest < WELL, "an acknowledgement took {:?}", talked.slowest);
}

#[tokio::test]
async fn a_message_crosses_only_the_shard_of_its_room() {
    let sea = Sea::new().await;
    let talkers = sea.talkers().await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    for (room, talker) in sea.rooms.iter().zip(talkers) {
        let talked = talker.end().await;
        was_well(&talked);
        sea.told_as_stored(room, &talked);
    }
    assert_eq!(sea.cluster.published_to_all(), 0);
    // Whoever looks with redis-cli finds the key that the contract names.
    let room = &sea.rooms[0].id;
    let key = format!("room:{{{}}}{}:members", &room[..2], &room[2..]);
    let server = &sea.cluster.servers[sea.cluster.server_of(room).unwrap()];
    assert_eq!(server.texts(["SMEMBERS", &key]), ["alice", "bob"]);
}

#[tokio::test]
async fn a_killed_primary_is_felt_in_its_rooms_alone() {
    let mut sea = Sea::new().await;
    let talkers = sea.talkers().await;
    sea.cluster.servers[0].kill();
    let name = format!("redis {}", sea.cluster.servers[0].addr());
    eventually(DEADLINE, "a node that names the dead shard", async || {
        let (status, details) = ready(&sea.nodes[0]).await;
        assert_eq!(status, 200, "others serve");
        details.get(&name).is_some().then_some(())
    })
    .await;
    sea.cluster.is_primary(SHARDS).await;
    eventually(DEADLINE, "all shards ready", async || {
        let (status, details) = ready(&sea.nodes[0]).await;
        assert_eq!(status, 200, "others serve");
        details.is_null().then_some(())
    })
    .await;
    for (number, (room, talker)) in sea.rooms.iter().zip(talkers).enumerate() {
        let talked = talker.end().await;
        sea.told_as_stored(room, &talked);
        if number == 0 {
            let slow = talked.errors.iter().filter(|(_, took)| *took > Duration::from_millis(300));
            assert!(slow.count() <= 1, "refused at once: {:?}", talked.errors);
        } else {
            was_well(&talked);
        }
    }
}

/// Redis itself refuses everything then, for about a second.
#[tokio::test]
async fn no_room_is_told_of_a_choice_where_redis_waits_for_it() {
    let mut sea = Sea::with_coverage(true).await;
    let talkers = sea.talkers().await;
    sea.cluster.servers[0].kill();
    sea.cluster.is_primary(SHARDS).await;
    for (number, (room, talker)) in sea.rooms.iter().zip(talkers).enumerate() {
        let talked = talker.end().await;
        sea.told_as_stored(room, &talked);
        if number > 0 {
            assert_eq!(talked.errors, []);
        }
    }
}

#[tokio::test]
async fn a_primary_that_thaws_after_its_replica_took_over_tells_nobody() {
    let sea = Sea::new().await;
    let talkers = sea.talkers().await;
    let quiet = loop {
        let room = make_room(&sea.nodes[0]).await;
        if sea.cluster.server_of(&room.id) == Some(0) {
            break room;
        }
    };
    let (mut says, mut hears) = (sea.nodes[0].client().await, sea.nodes[1].client().await);
    says.join(&quiet.id, &quiet.token).await;
    hears.join(&quiet.id, "bob").await;
    sea.cluster.servers[0].freeze();
    // It waits in the frozen primary. Nobody says anything after it, so nothing but its age tells that it is old.
    says.send(json!({ "t": "msg", "roomId": quiet.id, "text": "into the ice", "key": "k" })).await;
    says.wait_for("an error", |frame| frame["code"] == "SERVICE_UNAVAILABLE").await;
    sea.cluster.is_primary(SHARDS).await;
    sea.cluster.servers[0].thaw();
    sea.cluster.is_whole().await;
    for client in [&mut says, &mut hears] {
        client.until_pong().await;
        assert_eq!(client.message_ids(&quiet.id), [""; 0], "told, and not stored");
    }
    assert_eq!(sea.cluster.stream_ids(&quiet.id).unwrap(), [""; 0]);
    for (number, (room, talker)) in sea.rooms.iter().zip(talkers).enumerate() {
        let talked = talker.end().await;
        sea.told_as_stored(room, &talked);
        if number > 0 {
            was_well(&talked);
        }
    }
}

#[tokio::test]
async fn slots_that_move_under_load_lose_nothing() {
    let sea = Sea::new().await;
    let talkers = sea.talkers().await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    for (number, room) in sea.rooms[..2].iter().enumerate() {
        sea.cluster.move_slot(&sea.cluster.slot(&room.id), number, 2);
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    // And one of them back again.
    sea.cluster.move_slot(&sea.cluster.slot(&sea.rooms[0].id), 2, 0);
    tokio::time::sleep(Duration::from_millis(500)).await;
    for (room, talker) in sea.rooms.iter().zip(talkers) {
        let talked = talker.end().await;
        was_well(&talked);
        sea.told_as_stored(room, &talked);
    }
}
