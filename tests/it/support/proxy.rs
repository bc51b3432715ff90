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

/// What the network does now.
#[derive(Clone, Copy, Default, PartialEq)]
struct Weather {
    /// Connections stay open, nothing passes.
    frozen: bool,
    /// New connections are closed at once.
    refusing: bool,
    /// What Redis publishes is lost on the way, though every connection looks healthy.
    deaf: Option<Deaf>,
    /// Connections made before the latest cut are gone.
    cuts: u64,
    /// What a word on its way sets off, once.
    trap: Option<Trap>,
}

/// What is lost of what Redis publishes.
#[derive(Clone, Copy, PartialEq)]
enum Deaf {
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
    weather: watch::Sender<Weather>,
    accepting: JoinHandle<()>,
}

impl Proxy {
    pub async fn to(upstream: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let weather = watch::Sender::new(Weather::default());
        let (upstream, leads_to) = watch::channel(upstream);
        let accepting = tokio::spawn(accept(listener, leads_to, weather.clone()));
        Self { addr, upstream, weather, accepting }
    }

    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    pub fn redis_url(&self) -> String {
        format!("redis://{}", self.addr)
    }

    /// Leads new connections elsewhere.
    pub fn lead_to(&self, upstream: SocketAddr) {
        self.upstream.send_replace(upstream);
    }

    /// Cuts every connection; new ones pass.
    pub fn cut_once(&self) {
        self.weather.send_modify(|weather| weather.cuts += 1);
    }

    /// Cuts every connection and lets no new one pass, until [`resume`](Self::resume).
    pub fn cut(&self) {
        self.weather.send_modify(|weather| {
            weather.cuts += 1;
            weather.refusing = true;
        });
    }

    /// Keeps every connection, but nothing passes until [`resume`](Self::resume).
    pub fn freeze(&self) {
        self.weather.send_modify(|weather| weather.frozen = true);
    }

    /// The next answer with this word ends its connection there; what came before it passes.
    pub fn cut_before(&self, word: &'static str) {
        self.weather.send_modify(|weather| weather.trap = Some(Trap::CutBefore(word)));
    }

    /// Freezes as soon as somebody asks something with this word.
    pub fn freeze_at(&self, word: &'static str) {
        self.weather.send_modify(|weather| weather.trap = Some(Trap::FreezeAt(word)));
    }

    /// Whether nothing passes.
    pub fn is_frozen(&self) -> bool {
        self.weather.borrow().frozen
    }

    /// Loses what Redis publishes in rooms, and nothing else, until [`resume`](Self::resume): a
    /// subscription that died in silence.
    pub fn lose_what_is_published(&self) {
        self.weather.send_modify(|weather| weather.deaf = Some(Deaf::ToRooms));
    }

    /// The same of what it publishes to the node alone as well.
    pub fn lose_all_that_is_published(&self) {
        self.weather.send_modify(|weather| weather.deaf = Some(Deaf::ToAll));
    }

    /// Fair weather.
    pub fn resume(&self) {
        self.weather.send_modify(|weather| {
            weather.frozen = false;
            weather.refusing = false;
            weather.deaf = None;
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
    weather: watch::Sender<Weather>,
) {
    while let Ok((downstream, _)) = listener.accept().await {
        if weather.borrow().refusing {
            continue;
        }
        let upstream = *leads_to.borrow();
        let Ok(upstream) = TcpStream::connect(upstream).await else { continue };
        let _ = (downstream.set_nodelay(true), upstream.set_nodelay(true));
        let (down_read, down_write) = downstream.into_split();
        let (up_read, up_write) = upstream.into_split();
        tokio::spawn(forward(down_read, up_write, weather.clone(), false));
        tokio::spawn(forward(up_read, down_write, weather.clone(), true));
    }
}

/// Copies one direction until it ends or is cut; dropping the halves closes both sockets.
async fn forward(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    weather: watch::Sender<Weather>,
    is_answer: bool,
) {
    let born = weather.borrow().cuts;
    let (mut clearing, mut cutting) = (weather.subscribe(), weather.subscribe());
    let copy = async {
        let mut bytes = vec![0; 16 * 1024];
        loop {
            let count = from.read(&mut bytes).await.unwrap_or(0);
            let cut = spring(&weather, is_answer, &bytes[..count]);
            let clear = clearing.wait_for(|weather| !weather.frozen).await.is_ok();
            let deaf = clearing.borrow().deaf;
            if deaf.is_some_and(|deaf| is_publication(&bytes[..count], deaf)) {
                continue;
            }
            let passing = &bytes[..cut.unwrap_or(count)];
            if count == 0 || !clear || to.write_all(passing).await.is_err() || cut.is_some() {
                return;
            }
        }
    };
    tokio::select! {
        // What was frozen does not slip through a cut.
        biased;
        _ = cutting.wait_for(|weather| weather.cuts != born) => {}
        () = copy => {}
    }
}

/// Sets off the trap if these bytes have its word. Returns where they are to be cut.
fn spring(weather: &watch::Sender<Weather>, is_answer: bool, bytes: &[u8]) -> Option<usize> {
    let (word, frozen) = match weather.borrow().trap? {
        Trap::CutBefore(word) if is_answer => (word, false),
        Trap::FreezeAt(word) if !is_answer => (word, true),
        _ => return None,
    };
    let at = find(bytes, word)?;
    weather.send_modify(|weather| (weather.trap, weather.frozen) = (None, frozen));
    (!frozen).then_some(at)
}

/// Whether these bytes bring something that was published there.
fn is_publication(bytes: &[u8], deaf: Deaf) -> bool {
    let contains = |word| find(bytes, word).is_some();
    let is_there = deaf == Deaf::ToAll || contains("chan:");
    contains("message\r\n") && is_there && !contains("subscribe\r\n")
}

fn find(bytes: &[u8], word: &str) -> Option<usize> {
    bytes.windows(word.len()).position(|window| window == word.as_bytes())
}
