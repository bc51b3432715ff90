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
    deaf: bool,
    /// Connections made before the latest cut are gone.
    cuts: u64,
}

/// Forwards to one address; lives in the test's runtime.
pub struct Proxy {
    addr: SocketAddr,
    weather: watch::Sender<Weather>,
    accepting: JoinHandle<()>,
}

impl Proxy {
    pub async fn to(upstream: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let (weather, seen) = watch::channel(Weather::default());
        let accepting = tokio::spawn(accept(listener, upstream, seen));
        Self { addr, weather, accepting }
    }

    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    pub fn redis_url(&self) -> String {
        format!("redis://{}", self.addr)
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

    /// Loses what Redis publishes, and nothing else, until [`resume`](Self::resume): a subscription
    /// that died in silence.
    pub fn lose_what_is_published(&self) {
        self.weather.send_modify(|weather| weather.deaf = true);
    }

    /// Fair weather.
    pub fn resume(&self) {
        self.weather.send_modify(|weather| {
            weather.frozen = false;
            weather.refusing = false;
            weather.deaf = false;
        });
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
        self.cut_once();
    }
}

async fn accept(listener: TcpListener, upstream: SocketAddr, weather: watch::Receiver<Weather>) {
    while let Ok((downstream, _)) = listener.accept().await {
        if weather.borrow().refusing {
            continue;
        }
        let Ok(upstream) = TcpStream::connect(upstream).await else { continue };
        let _ = (downstream.set_nodelay(true), upstream.set_nodelay(true));
        let (down_read, down_write) = downstream.into_split();
        let (up_read, up_write) = upstream.into_split();
        tokio::spawn(forward(down_read, up_write, weather.clone()));
        tokio::spawn(forward(up_read, down_write, weather.clone()));
    }
}

/// Copies one direction until it ends or is cut; dropping the halves closes both sockets.
async fn forward(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut weather: watch::Receiver<Weather>,
) {
    let born = weather.borrow().cuts;
    let mut clearing = weather.clone();
    let copy = async {
        let mut bytes = vec![0; 16 * 1024];
        loop {
            let count = from.read(&mut bytes).await.unwrap_or(0);
            let clear = clearing.wait_for(|weather| !weather.frozen).await.is_ok();
            if clearing.borrow().deaf && is_publication(&bytes[..count]) {
                continue;
            }
            if count == 0 || !clear || to.write_all(&bytes[..count]).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        // What was frozen does not slip through a cut.
        biased;
        _ = weather.wait_for(|weather| weather.cuts != born) => {}
        () = copy => {}
    }
}

/// Whether these bytes bring something that was published on a room's channel.
fn is_publication(bytes: &[u8]) -> bool {
    let contains = |word: &[u8]| bytes.windows(word.len()).any(|window| window == word);
    contains(b"message\r\n") && contains(b"chan:") && !contains(b"subscribe\r\n")
}
