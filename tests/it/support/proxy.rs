//! A TCP proxy that breaks the network between a node and Redis, or a client and a node.

use std::net::SocketAddr;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    task::JoinHandle,
};

/// The present state of the network.
#[derive(Clone, Copy, Default, PartialEq)]
struct Network {
    /// Connections stay open, but nothing passes.
    frozen: bool,
    /// New connections are closed at once.
    refusing: bool,
    /// Publications are lost, although every connection looks healthy.
    lost: Option<Lost>,
    /// Number of cuts; connections from before the latest one are closed.
    cuts: u64,
    /// A fault that the next occurrence of a word triggers, once.
    trap: Option<Trap>,
}

/// Which publications are lost.
#[derive(Clone, Copy, PartialEq)]
enum Lost {
    ToRooms,
    ToAll,
}

#[derive(Clone, Copy, PartialEq)]
enum Trap {
    CutBefore(&'static str),
    FreezeAt(&'static str),
}

/// Forwards to one address; lives in the test's runtime.
pub struct Proxy {
    addr: SocketAddr,
    upstream: watch::Sender<SocketAddr>,
    network: watch::Sender<Network>,
    accepting: JoinHandle<()>,
}

impl Proxy {
    pub async fn to(upstream: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let network = watch::Sender::new(Network::default());
        let (upstream, leads_to) = watch::channel(upstream);
        let accepting = tokio::spawn(accept(listener, leads_to, network.clone()));
        Self { addr, upstream, network, accepting }
    }

    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    pub fn redis_url(&self) -> String {
        format!("redis://{}", self.addr)
    }

    /// Forwards new connections to another address.
    pub fn lead_to(&self, upstream: SocketAddr) {
        self.upstream.send_replace(upstream);
    }

    /// Closes every connection; new ones pass.
    pub fn cut_once(&self) {
        self.network.send_modify(|network| network.cuts += 1);
    }

    /// Closes every connection and refuses new ones, until [`resume`](Self::resume).
    pub fn cut(&self) {
        self.network.send_modify(|network| {
            network.cuts += 1;
            network.refusing = true;
        });
    }

    /// Keeps every connection, but nothing passes until [`resume`](Self::resume).
    pub fn freeze(&self) {
        self.network.send_modify(|network| network.frozen = true);
    }

    /// Closes the connection of the next answer with this word at that word; the bytes before it
    /// pass.
    pub fn cut_before(&self, word: &'static str) {
        self.network.send_modify(|network| network.trap = Some(Trap::CutBefore(word)));
    }

    /// Freezes the network at the next request with this word.
    pub fn freeze_at(&self, word: &'static str) {
        self.network.send_modify(|network| network.trap = Some(Trap::FreezeAt(word)));
    }

    /// Whether nothing passes.
    pub fn is_frozen(&self) -> bool {
        self.network.borrow().frozen
    }

    /// Drops publications to rooms, and nothing else, until [`resume`](Self::resume): a
    /// subscription that died without an error.
    pub fn lose_what_is_published(&self) {
        self.network.send_modify(|network| network.lost = Some(Lost::ToRooms));
    }

    /// Drops all publications, those to the node included.
    pub fn lose_all_that_is_published(&self) {
        self.network.send_modify(|network| network.lost = Some(Lost::ToAll));
    }

    /// Ends all faults.
    pub fn resume(&self) {
        self.network.send_modify(|network| {
            network.frozen = false;
            network.refusing = false;
            network.lost = None;
        });
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
        self.cut_once();
    }
}

async fn accept(
    listener: TcpListener,
    leads_to: watch::Receiver<SocketAddr>,
    network: watch::Sender<Network>,
) {
    while let Ok((downstream, _)) = listener.accept().await {
        if network.borrow().refusing {
            continue;
        }
        let upstream = *leads_to.borrow();
        let Ok(upstream) = TcpStream::connect(upstream).await else { continue };
        let _ = (downstream.set_nodelay(true), upstream.set_nodelay(true));
        let (down_read, down_write) = downstream.into_split();
        let (up_read, up_write) = upstream.into_split();
        tokio::spawn(forward(down_read, up_write, network.clone(), false));
        tokio::spawn(forward(up_read, down_write, network.clone(), true));
    }
}

/// Copies one direction until it ends or is cut; dropping the halves closes both sockets.
async fn forward(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    network: watch::Sender<Network>,
    is_answer: bool,
) {
    let born = network.borrow().cuts;
    let (mut clearing, mut cutting) = (network.subscribe(), network.subscribe());
    let copy = async {
        let mut bytes = vec![0; 16 * 1024];
        loop {
            let count = from.read(&mut bytes).await.unwrap_or(0);
            let cut = spring(&network, is_answer, &bytes[..count]);
            let clear = clearing.wait_for(|network| !network.frozen).await.is_ok();
            let lost = clearing.borrow().lost;
            if lost.is_some_and(|lost| is_publication(&bytes[..count], lost)) {
                continue;
            }
            let passing = &bytes[..cut.unwrap_or(count)];
            if count == 0 || !clear || to.write_all(passing).await.is_err() || cut.is_some() {
                return;
            }
        }
    };
    tokio::select! {
        // Bytes that were frozen do not pass after a cut.
        biased;
        _ = cutting.wait_for(|network| network.cuts != born) => {}
        () = copy => {}
    }
}

/// Triggers the trap if these bytes have its word. Returns where to cut them.
fn spring(network: &watch::Sender<Network>, is_answer: bool, bytes: &[u8]) -> Option<usize> {
    let (word, frozen) = match network.borrow().trap? {
        Trap::CutBefore(word) if is_answer => (word, false),
        Trap::FreezeAt(word) if !is_answer => (word, true),
        _ => return None,
    };
    let at = find(bytes, word)?;
    network.send_modify(|network| (network.trap, network.frozen) = (None, frozen));
    (!frozen).then_some(at)
}

/// Whether these bytes contain a publication that must be lost.
fn is_publication(bytes: &[u8], lost: Lost) -> bool {
    let contains = |word| find(bytes, word).is_some();
    let is_there = lost == Lost::ToAll || contains("chan:");
    contains("message\r\n") && is_there && !contains("subscribe\r\n")
}

fn find(bytes: &[u8], word: &str) -> Option<usize> {
    bytes.windows(word.len()).position(|window| window == word.as_bytes())
}
