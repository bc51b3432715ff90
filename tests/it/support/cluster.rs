//! A private Redis Cluster: three primaries, each with a replica.

use std::net::SocketAddr;

use super::{
    RedisServer, TestEnv,
    resp::{self, Reply},
    time::{DEADLINE, eventually},
};

/// The number of primaries, and of replicas.
pub const SHARDS: usize = 3;
/// After how long without an answer the nodes give one of them up.
const NODE_TIMEOUT_MS: &str = "1500";
const SLOTS: usize = 16_384;

/// A cluster; dies with the test. The first [`SHARDS`] servers began as primaries, the others as their replicas, in the
/// same order.
pub struct Cluster {
    pub servers: Vec<RedisServer>,
}

impl Cluster {
    /// Starts a cluster. With `full_coverage`, Redis's default, all shards refuse everything while one has no primary.
    pub async fn start(env: &TestEnv, full_coverage: bool) -> Self {
        let coverage = if full_coverage { "yes" } else { "no" };
        let args = [
            "--cluster-node-timeout",
            NODE_TIMEOUT_MS,
            "--cluster-require-full-coverage",
            coverage,
        ];
        let servers: Vec<_> =
            (0..2 * SHARDS).map(|_| RedisServer::start_cluster_node(env, &args)).collect();
        let cluster = Self { servers };
        for (number, server) in cluster.servers.iter().enumerate() {
            server.cmd(["CLUSTER", "SET-CONFIG-EPOCH", &(number + 1).to_string()]);
            for other in &cluster.servers[..number] {
                let bus = other.cmd(["CONFIG", "GET", "cluster-port"]).list()[1].text().to_owned();
                let (ip, port) = (other.addr().ip().to_string(), other.addr().port().to_string());
                server.cmd(["CLUSTER", "MEET", &ip, &port, &bus]);
            }
        }
        for (number, server) in cluster.servers[..SHARDS].iter().enumerate() {
            let first = (number * SLOTS / SHARDS).to_string();
            let last = ((number + 1) * SLOTS / SHARDS - 1).to_string();
            server.cmd(["CLUSTER", "ADDSLOTSRANGE", &first, &last]);
        }
        for (number, replica) in cluster.servers[SHARDS..].iter().enumerate() {
            let primary = cluster.servers[number].cmd(["CLUSTER", "MYID"]).text().to_owned();
            eventually(DEADLINE, "a replica that knows its primary", async || {
                resp::command(replica.addr(), &["CLUSTER", "REPLICATE", &primary])
                    .is_ok_and(|answer| !matches!(answer, Reply::Error(_)))
                    .then_some(())
            })
            .await;
        }
        cluster.is_whole().await;
        cluster
    }

    /// Waits until every node sees a healthy cluster, and every replica is up to date.
    pub async fn is_whole(&self) {
        eventually(DEADLINE * 2, "a whole cluster", async || {
            let is_well = |server: &RedisServer| {
                let info = resp::command(server.addr(), &["CLUSTER", "INFO"]).ok()?;
                let nodes = resp::command(server.addr(), &["CLUSTER", "NODES"]).ok()?;
                let role = resp::command(server.addr(), &["INFO", "replication"]).ok()?;
                let replicas = nodes.text().lines().filter(|line| line.contains("slave ")).count();
                let linked = role.text().contains("role:master")
                    || role.text().contains("master_link_status:up");
                let healthy = info.text().contains("cluster_state:ok")
                    && info.text().contains("cluster_known_nodes:6")
                    && !nodes.text().contains("fail");
                Some(healthy && linked && replicas == SHARDS)
            };
            self.servers.iter().all(|server| is_well(server) == Some(true)).then_some(())
        })
        .await;
    }

    /// The address for `REDIS_URL`, with all servers.
    pub fn url(&self) -> String {
        let all: Vec<_> = self.servers.iter().map(RedisServer::addr).collect();
        Self::url_of(&all)
    }

    /// The address for `REDIS_URL`, with these servers alone.
    pub fn url_of(servers: &[SocketAddr]) -> String {
        let others: Vec<String> = servers[1..].iter().map(|addr| format!("node={addr}")).collect();
        let url = format!("redis-cluster://{}?{}", servers[0], others.join("&"));
        url.trim_end_matches('?').to_owned()
    }

    /// The index of the server that serves a room, as the servers see it that answer; `None` while none does.
    pub fn server_of(&self, room: &str) -> Option<usize> {
        let key = key(room);
        let serves = |server: &RedisServer| {
            matches!(resp::command(server.addr(), &["EXISTS", &key]), Ok(Reply::Int(_)))
        };
        self.servers.iter().position(serves)
    }

    /// The ids in a room's stream, oldest first, from the server that serves it; `None` while none does.
    pub fn stream_ids(&self, room: &str) -> Option<Vec<String>> {
        let server = &self.servers[self.server_of(room)?];
        let words = ["XRANGE", &format!("{}:messages", key(room)), "-", "+"];
        let entries = resp::command(server.addr(), &words).ok()?;
        Some(entries.list().iter().map(|entry| entry.list()[0].text().to_owned()).collect())
    }

    /// Waits until a server is a primary.
    pub async fn is_primary(&self, server: usize) {
        eventually(DEADLINE * 2, "a promoted replica", async || {
            let role = resp::command(self.servers[server].addr(), &["ROLE"]).ok()?;
            (role.list()[0].text() == "master").then_some(())
        })
        .await;
    }

    /// The slot of a room.
    pub fn slot(&self, room: &str) -> String {
        let slot = self.servers[SHARDS].cmd(["CLUSTER", "KEYSLOT", &key(room)]);
        slot.int().to_string()
    }

    /// Moves a slot with its keys from one primary to another, as `redis-cli --cluster reshard` does.
    pub fn move_slot(&self, slot: &str, from: usize, to: usize) {
        let id = |server: usize| self.servers[server].cmd(["CLUSTER", "MYID"]).text().to_owned();
        let [source, target] = [from, to].map(|server| &self.servers[server]);
        target.cmd(["CLUSTER", "SETSLOT", slot, "IMPORTING", &id(from)]);
        source.cmd(["CLUSTER", "SETSLOT", slot, "MIGRATING", &id(to)]);
        loop {
            let keys = source.cmd(["CLUSTER", "GETKEYSINSLOT", slot, "10"]);
            if keys.list().is_empty() {
                break;
            }
            let port = target.addr().port().to_string();
            let head = ["MIGRATE", "127.0.0.1", &port, "", "0", "5000", "KEYS"];
            let keys = keys.texts();
            let words: Vec<&str> =
                head.into_iter().chain(keys.iter().map(String::as_str)).collect();
            source.run(&words);
        }
        target.cmd(["CLUSTER", "SETSLOT", slot, "NODE", &id(to)]);
        source.cmd(["CLUSTER", "SETSLOT", slot, "NODE", &id(to)]);
    }

    /// How often something was published to all nodes of the cluster.
    pub fn published_to_all(&self) -> i64 {
        let sent = |server: &RedisServer| {
            let info = server.cmd(["CLUSTER", "INFO"]).text().to_owned();
            let field = "cluster_stats_messages_publish_sent:";
            info.lines().find_map(|line| line.strip_prefix(field)?.trim().parse().ok()).unwrap_or(0)
        };
        self.servers.iter().map(sent).sum::<i64>()
    }
}

/// The key of a room.
fn key(room: &str) -> String {
    format!("room:{{{}}}{}", &room[..2], &room[2..])
}
