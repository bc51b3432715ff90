//! The codec passes Autobahn's cases, which `kosoku` runs against an echo server with the codec.
//! Excluded are the performance cases (9) and compression, which is not offered (12 and 13).

use std::ops::ControlFlow;

use bytes::Bytes;
use linkroom::protocol::codec::{self, Decoder, Incoming};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::openapi::{expect_success, tool};

/// Maximum bytes of a message in the cases, and of one read.
const MAX: usize = 1 << 20;
const READ_AT_ONCE: usize = 4096;
/// Number of cases that run at the same time: most of the time they wait.
const AT_ONCE: &str = "16";

/// Answers the upgrade request. Returns the bytes that followed it.
async fn upgrade(socket: &mut TcpStream) -> Option<Vec<u8>> {
    let mut request = Vec::new();
    let end = loop {
        if socket.read_buf(&mut request).await.ok()? == 0 {
            return None;
        }
        if let Some(end) = request.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            break end + 4;
        }
    };
    let early = request.split_off(end);
    let head = String::from_utf8(request).ok()?;
    let mut fields = head.lines().filter_map(|line| line.split_once(": "));
    let (_, key) = fields.find(|(name, _)| name.eq_ignore_ascii_case("sec-websocket-key"))?;
    let accept = derive_accept_key(key.as_bytes());
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-accept: {accept}\r\n\r\n"
    );
    socket.write_all(answer.as_bytes()).await.ok()?;
    Some(early)
}

/// The answer to a frame.
fn answer(incoming: Incoming<'_>) -> Option<Bytes> {
    match incoming {
        Incoming::Text(text) => Some(codec::text(text)),
        Incoming::Binary(payload) => Some(codec::binary(payload)),
        Incoming::Ping(payload) => Some(codec::pong(payload)),
        Incoming::Close(code) => Some(codec::close(code, "")),
        Incoming::Part | Incoming::Pong => None,
    }
}

/// Sends every message back, until either side closes.
async fn echo(mut socket: TcpStream) -> Option<()> {
    let mut read = upgrade(&mut socket).await?;
    let mut decoder = Decoder::new(MAX);
    loop {
        let (mut answers, mut closes) = (Vec::new(), false);
        let taken = decoder.take(&mut read, |incoming| {
            closes |= matches!(incoming, Incoming::Close(_));
            answers.extend(answer(incoming));
            ControlFlow::Continue(())
        });
        if let Err(reason) = taken {
            let (code, text) = reason.code();
            answers.push(codec::close(Some(code), text));
        }
        socket.write_all(&answers.concat()).await.ok()?;
        if closes || taken.is_err() {
            return socket.shutdown().await.ok();
        }
        read = vec![0; READ_AT_ONCE];
        let length = socket.read(&mut read).await.ok().filter(|length| *length > 0)?;
        read.truncate(length);
    }
}

#[tokio::test]
async fn the_codec_passes_autobahns_cases() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let server = tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            tokio::spawn(echo(socket));
        }
    });
    let reports = tempfile::tempdir().unwrap();
    let mut kosoku = tool("kosoku");
    kosoku.arg(addr.to_string()).args(["-p", AT_ONCE, "-x", "9.*", "-x", "12.*", "-x", "13.*"]);
    kosoku.arg("-o").arg(reports.path());
    let said = expect_success(kosoku).await;
    server.abort();
    assert!(said.contains("247 cases passed"), "{said}");
}
