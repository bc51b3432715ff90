//! A minimal WebSocket for both ends of a measurement: the upgrade, and unfragmented frames. It
//! does not handle invalid input, because it must be cheap, not complete.

use std::ops::Range;

/// The key that every client here sends: RFC 6455's own example.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
/// The answer to it, also in the RFC.
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
/// What ends an HTTP head.
const END_OF_HEAD: &[u8] = b"\r\n\r\n";

/// Answers to a join and a ping, for the minimal servers.
pub const JOINED: &[u8] = br#"{"t":"joined","messages":[]}"#;
pub const PONG: &[u8] = br#"{"t":"pong"}"#;

const TEXT: u8 = 0x81;
const MASKED: u8 = 0x80;

/// One frame in a buffer.
pub struct Frame {
    /// Its opcode: 1 text, 8 close, 9 ping, 10 pong.
    pub opcode: u8,
    /// The position of its payload.
    pub payload: Range<usize>,
    /// The mask of its payload.
    mask: Option<[u8; 4]>,
}

/// The request in a client's frame.
pub enum Wish<'a> {
    /// Send a message to the room.
    Say,
    /// Answer it.
    Ping,
    /// Join the room with this id.
    Join(&'a [u8]),
}

/// Parses the request in a client's frame; handles only frames that the load writes.
pub fn wish(payload: &[u8]) -> Option<Wish<'_>> {
    if payload.starts_with(br#"{"t":"msg""#) {
        Some(Wish::Say)
    } else if payload.starts_with(br#"{"t":"ping""#) {
        Some(Wish::Ping)
    } else {
        string_after(payload, r#""roomId":""#).map(|(room, _)| Wish::Join(room))
    }
}

/// The request that turns a connection into a WebSocket.
pub fn upgrade_request(host: &str) -> Vec<u8> {
    format!(
        "GET /ws HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n\r\n"
    )
    .into_bytes()
}

/// The answer to [`upgrade_request`].
pub fn upgrade_answer() -> String {
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {ACCEPT}\r\n\r\n"
    )
}

/// The end of the head of an HTTP message, once it is complete.
pub fn end_of_head(buffer: &[u8]) -> Option<usize> {
    find(buffer, END_OF_HEAD).map(|at| at + END_OF_HEAD.len())
}

/// Adds a server's text frame.
pub fn put_text(out: &mut Vec<u8>, payload: &[u8]) {
    put_head(out, payload.len(), 0);
    out.extend_from_slice(payload);
}

/// Adds a client's text frame, masked with zeros, which leaves the payload unchanged.
pub fn put_masked_text(out: &mut Vec<u8>, payload: &[u8]) {
    put_head(out, payload.len(), MASKED);
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(payload);
}

fn put_head(out: &mut Vec<u8>, length: usize, masked: u8) {
    out.push(TEXT);
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(short @ 0..=125), _) => out.push(masked | short),
        (_, Ok(middle)) => {
            out.push(masked | 126);
            out.extend_from_slice(&middle.to_be_bytes());
        }
        _ => {
            out.push(masked | 127);
            out.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
}

impl Frame {
    /// Reads the frame that begins at `start`; `None` while part of it is missing.
    pub fn read(buffer: &[u8], start: usize) -> Option<Self> {
        let head = buffer.get(start..start + 2)?;
        let (opcode, masked) = (head[0] & 0x0f, head[1] & MASKED != 0);
        let (length, mut at) = match head[1] & 0x7f {
            126 => {
                let bytes = buffer.get(start + 2..start + 4)?.try_into().ok()?;
                (usize::from(u16::from_be_bytes(bytes)), start + 4)
            }
            127 => {
                let bytes = buffer.get(start + 2..start + 10)?.try_into().ok()?;
                (usize::try_from(u64::from_be_bytes(bytes)).ok()?, start + 10)
            }
            short => (usize::from(short), start + 2),
        };
        let mut mask = None;
        if masked {
            mask = Some(buffer.get(at..at + 4)?.try_into().ok()?);
            at += 4;
        }
        (buffer.len() >= at + length).then_some(Self { opcode, payload: at..at + length, mask })
    }

    /// Unmasks the payload in place.
    pub fn unmask(&self, buffer: &mut [u8]) {
        let Some(mask) = self.mask else { return };
        for (byte, key) in buffer[self.payload.clone()].iter_mut().zip(mask.into_iter().cycle()) {
            *byte ^= key;
        }
    }
}

/// The position of the first `needle` in `hay`.
pub fn find(hay: &[u8], needle: &[u8]) -> Option<usize> {
    memchr::memmem::find(hay, needle)
}

/// The value after `name`, a JSON string without escapes, and its end. `name` is the text right
/// before the value, such as `"id":"`.
pub fn string_after<'a>(json: &'a [u8], name: &str) -> Option<(&'a [u8], usize)> {
    let start = find(json, name.as_bytes())? + name.len();
    let length = memchr::memchr(b'"', &json[start..])?;
    Some((&json[start..start + length], start + length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_back_as_they_were() {
        for length in [0, 125, 126, 65_535, 65_536] {
            let payload = vec![b'a'; length];
            let mut buffer = Vec::new();
            put_text(&mut buffer, &payload);
            put_masked_text(&mut buffer, &payload);
            let first = Frame::read(&buffer, 0).unwrap();
            assert_eq!(buffer[first.payload.clone()], payload);
            let second = Frame::read(&buffer, first.payload.end).unwrap();
            assert_eq!(second.payload.end, buffer.len());
            assert!(Frame::read(&buffer[..buffer.len() - 1], first.payload.end).is_none());
        }
    }
}
