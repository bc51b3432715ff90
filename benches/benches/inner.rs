//! The cost of a node's inner parts: decoding and encoding a frame, the order of a room, passing a
//! message to N connections, collecting a heartbeat. Run it with `make bench-inner`.

#![allow(missing_docs, reason = "the macros of criterion make functions without")]

use std::{
    hint::black_box,
    io::Read,
    ops::ControlFlow,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use anyhow::Context;
use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use linkroom::{
    chain,
    fanout::{
        Membership, Seat,
        feed::{Feed, JoinAnswer},
        frame::{Fence, Frame, FrameKind, NodeSignal, Tag},
    },
    heartbeat::Beats,
    i18n::Language,
    names::{MessageId, RoomId, Token, UserId},
    outbox::{Outbox, OutboxLimits, Wire},
    protocol::{
        ClientFrame,
        codec::{self, Decoder},
    },
};
use sha1::{Digest, Sha1};
use tokio::{net::TcpListener, runtime::Runtime};

/// Connections of a room.
const MEMBERS: [usize; 4] = [1, 10, 100, 1_000];
const SECRET: &str = "cGx5Z2FtZQ";
/// The publication of a script for a text of 64 bytes.
const PUBLISHED: &str = concat!(
    r#"{"t":"msg","roomId":"Gnhp1bk7CKXT","id":"1795244255858-1500768908","from":"Ann","#,
    r#""text":"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef","#,
    r#""timestamp":"2026-11-21T06:57:35.858Z","key":"295e7f149f38e4b1c2b9baeb6efaa78d"}"#,
);
/// The client's frame for it.
const SENT: &str = concat!(
    r#"{"t":"msg","roomId":"Gnhp1bk7CKXT","key":"295e7f149f38e4b1c2b9baeb6efaa78d","#,
    r#""text":"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"}"#,
);

criterion_main!(inner);
criterion_group! {
    name = inner;
    config = Criterion::default().warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2)).sample_size(30);
    targets = frames, order, fan_out, heartbeats
}

fn frames(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("frame");
    group.throughput(Throughput::Elements(1));
    group.bench_function("decode a client's", |bench| {
        let (frame, mut decoder) = (masked(SENT), Decoder::new(65_536));
        bench.iter(|| {
            let mut read = frame.clone();
            decoder.take(black_box(&mut read), |incoming| {
                black_box(incoming);
                ControlFlow::Continue(())
            })
        });
    });
    group.bench_function("understand a client's", |bench| {
        bench.iter(|| ClientFrame::parse(black_box(SENT)));
    });
    group
        .bench_function("encode for all", |bench| bench.iter(|| codec::text(black_box(PUBLISHED))));
    group.bench_function("decode a publication", |bench| {
        bench.iter(|| Frame::decode(black_box(PUBLISHED), 65_536));
    });
    group.bench_function("decode a fence", |bench| {
        bench
            .iter(|| NodeSignal::decode(black_box("Gnhp1bk7CKXT @17 1795244255858-1500768908 42")));
    });
    group.finish();
}

fn order(criterion: &mut Criterion) {
    let first = next(MessageId::ZERO);
    let second = next(first);
    let mut group = criterion.benchmark_group("order");
    group.throughput(Throughput::Elements(1));
    group.bench_function("position check", |bench| {
        bench.iter(|| chain::follows(SECRET, black_box(first), black_box(second)));
    });
    group.finish();
}

fn fan_out(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let mut group = criterion.benchmark_group("fan-out of a message");
    for members in MEMBERS {
        let seats = runtime.block_on(seats(members)).expect("connections");
        let mut feed = room(&seats);
        let (mut last, text) = (MessageId::ZERO, codec::text(PUBLISHED));
        let mut take = move || {
            last = next(last);
            let frame = Frame { kind: FrameKind::Message(last), text: text.clone() };
            black_box(feed.frame(frame))
        };
        group.throughput(Throughput::Elements(members as u64));
        group.bench_function(BenchmarkId::new("order and queue", members), |bench| {
            bench.iter_custom(|count| {
                let mut spent = Duration::ZERO;
                for _ in 0..count {
                    let begun = Instant::now();
                    let _ = take();
                    spent += begun.elapsed();
                    seats.iter().for_each(|seat| seat.outbox.flush());
                }
                spent
            });
        });
        if members == 1 {
            // Faster than a reader could read, so it would be cut off.
            continue;
        }
        group.bench_function(BenchmarkId::new("order, queue and write", members), |bench| {
            bench.iter(|| {
                let _ = take();
                seats.iter().for_each(|seat| seat.outbox.flush());
            });
        });
    }
    group.finish();
}

fn heartbeats(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let mut group = criterion.benchmark_group("heartbeat");
    for members in MEMBERS {
        let seats = runtime.block_on(seats(members)).expect("connections");
        group.throughput(Throughput::Elements(members as u64));
        group.bench_function(BenchmarkId::new("collect", members), |bench| {
            bench.iter(|| Beats::of(black_box(&seats).iter().cloned()));
        });
    }
    group.finish();
}

/// Connections of this many users, over real sockets that are read.
async fn seats(count: usize) -> anyhow::Result<Vec<Seat>> {
    let room = RoomId::parse("Gnhp1bk7CKXT").context("a room id")?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let mut seats = Vec::with_capacity(count);
    let mut peers = Vec::with_capacity(count);
    for number in 0..count {
        let peer = std::net::TcpStream::connect(listener.local_addr()?)?;
        peer.set_nonblocking(true)?;
        peers.push(peer);
        let (socket, _) = listener.accept().await?;
        let limits = OutboxLimits { frames: 4_096, bytes: 1 << 24 };
        let id = format!("c-{number}").into();
        let outbox =
            Arc::new(Outbox::new(id, Language::En, limits, Wire::Socket(Arc::new(socket))));
        let user = UserId::stored(&format!("user {number}"));
        let token = Token::random(&user);
        let who = Arc::new(Membership::new(user, token, true, [127, 0, 0, 1].into()));
        seats.push(Seat::new(outbox, who, room.clone()));
    }
    thread::spawn(move || read_all(peers));
    Ok(seats)
}

/// Reads faster than input can arrive, until every peer has disconnected.
fn read_all(mut peers: Vec<std::net::TcpStream>) {
    let mut bytes = [0; 65_536];
    while !peers.is_empty() {
        let mut is_quiet = true;
        peers.retain_mut(|peer| {
            let read = peer.read(&mut bytes);
            is_quiet &= read.is_err();
            !matches!(read, Ok(0))
        });
        if is_quiet {
            thread::sleep(Duration::from_micros(100));
        }
    }
}

/// A room with these connections.
fn room(seats: &[Seat]) -> Feed<Seat> {
    let mut feed = Feed::default();
    for (number, seat) in seats.iter().enumerate() {
        let tag = number.to_string();
        feed.enter(seat.clone(), tag.clone());
        let _ = feed.fence(Fence { tag: Tag::Joins(vec![tag]), tip: MessageId::ZERO, events: 0 });
        let secret = SECRET.to_owned();
        let answer =
            JoinAnswer { joined: Some(Bytes::new()), tip: MessageId::ZERO, secret, heartbeat: 0 };
        let _ = feed.answered(seat.outbox.id(), answer);
    }
    feed
}

/// The id of the message after this one, as the scripts create it.
fn next(previous: MessageId) -> MessageId {
    let ms = 1_795_244_255_858;
    let hash = Sha1::digest(format!("{SECRET} {previous} {ms}"));
    let digest = u32::from_be_bytes([hash[0], hash[1], hash[2], hash[3]]);
    let count = if previous.ms == ms { (previous.seq >> 32) + 1 } else { 0 };
    MessageId { ms, seq: (count << 32) + u64::from(digest) }
}

/// A text frame as a browser sends it.
fn masked(text: &str) -> Vec<u8> {
    let mask = [0x37, 0xfa, 0x21, 0x3d];
    let mut frame = codec::text(text).to_vec();
    let start = frame.len() - text.len();
    frame[1] |= 0x80;
    for (at, byte) in frame[start..].iter_mut().enumerate() {
        *byte ^= mask[at % 4];
    }
    frame.splice(start..start, mask);
    frame
}
