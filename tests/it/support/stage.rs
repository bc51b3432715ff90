//! The setup of nearly every test: a Redis and some nodes.

use serde_json::json;

use super::{Client, Http, Node, RedisServer, TestEnv};

/// A private Redis and nodes that share it.
pub struct Stage {
    pub nodes: Vec<Node>,
    pub redis: RedisServer,
    pub env: TestEnv,
}

/// A room and its creator, who has not connected yet.
pub struct Room {
    pub id: String,
    pub token: String,
}

impl Stage {
    /// Starts a Redis and `count` nodes with these settings.
    pub async fn new(count: usize, settings: &[(&str, &str)]) -> Self {
        let env = TestEnv::new();
        let redis = RedisServer::start(&env);
        Self::on(env, redis, count, settings).await
    }

    /// The same with a Redis that survives a restart.
    pub async fn durable(count: usize, settings: &[(&str, &str)]) -> Self {
        let env = TestEnv::new();
        let redis = RedisServer::start_append_only(&env);
        Self::on(env, redis, count, settings).await
    }

    async fn on(env: TestEnv, redis: RedisServer, count: usize, settings: &[(&str, &str)]) -> Self {
        let mut stage = Self { nodes: Vec::new(), redis, env };
        for _ in 0..count {
            stage.add_node(settings).await;
        }
        stage
    }

    /// Starts one more node.
    pub async fn add_node(&mut self, settings: &[(&str, &str)]) {
        self.nodes.push(Node::start(&self.env, &self.redis.url(), settings).await);
    }

    pub fn http(&self) -> Http {
        self.nodes[0].http()
    }

    /// A new WebSocket to the first node.
    pub async fn client(&self) -> Client {
        self.nodes[0].client().await
    }

    /// A new room, made over HTTP.
    pub async fn room(&self, creator: &str) -> Room {
        let answer = self.http().post("/api/rooms", json!({ "creatorName": creator })).await;
        let data = answer.data(201);
        let text = |field: &str| data[field].as_str().unwrap().to_owned();
        Room { id: text("roomId"), token: text("token") }
    }

    /// A client of node number `node` that has joined the room with this nickname or token.
    pub async fn member(&self, node: usize, room: &Room, token: &str) -> Client {
        let mut client = self.nodes[node].client().await;
        client.join(&room.id, token).await;
        client
    }

    /// This many guests, "guest 0" and so on, on the nodes in turn.
    pub async fn guests(&self, room: &Room, count: usize) -> Vec<Client> {
        let mut guests = Vec::new();
        for number in 0..count {
            let node = number % self.nodes.len();
            guests.push(self.member(node, room, &format!("guest {number}")).await);
        }
        guests
    }

    /// The token of a guest made over HTTP.
    pub async fn guest(&self, room: &Room, name: &str) -> String {
        let path = format!("/api/rooms/{}/sessions", room.id);
        let data = self.http().post(&path, json!({ "name": name })).await.data(201);
        data["token"].as_str().unwrap().to_owned()
    }

    /// The members, as `redis-cli` sees them, sorted.
    pub fn members_in_redis(&self, room: &Room) -> Vec<String> {
        self.redis.texts(["SMEMBERS", &format!("room:{}:members", room.id)])
    }
}
