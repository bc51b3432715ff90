//! WebSocket frames (RFC 6455): the server's are encoded once, however many connections get them;
//! a client's are checked and put together. Knows no socket.
//!
//! Only what a frame lacks is kept between two reads: a connection that is quiet has no buffer.

use std::ops::ControlFlow;

use bytes::Bytes;

use super::close::CloseReason;

const FIN: u8 = 0x80;
const RESERVED: u8 = 0x70;
const MASKED: u8 = 0x80;
const CONTINUATION: u8 = 0x0;
const TEXT: u8 = 0x1;
const BINARY: u8 = 0x2;
const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
const PONG: u8 = 0xa;
/// Maximum payload bytes of a control frame.
const CONTROL_MAX: usize = 125;
/// Values of the length byte for a length of two or eight more bytes.
const LENGTH_16: u8 = 126;
const LENGTH_64: u8 = 127;

/// One frame of a client.
#[derive(Debug, PartialEq, Eq)]
pub enum Incoming<'a> {
    /// The last frame of a text message, with the whole message.
    Text(&'a str),
    /// The last frame of a binary message, with the whole message.
    Binary(&'a [u8]),
    /// A fragment of a message that is not complete yet.
    Part,
    /// A ping, to be answered with a pong with the same payload.
    Ping(&'a [u8]),
    /// A pong.
    Pong,
    /// The client closes, with this code if it has one. No frame follows.
    Close(Option<u16>),
}

/// Encodes a text message, ready to be written to any number of connections.
pub fn text(payload: &str) -> Bytes {
    frame(TEXT, payload.as_bytes())
}

/// The payloads of consecutive messages that were encoded here.
pub fn payloads(mut frames: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (head, end) = extent(frames)?;
        let payload = &frames[head..end];
        frames = &frames[end..];
        Some(payload)
    })
}

/// The first of consecutive messages that were encoded here.
pub fn first_frame(frames: &[u8]) -> &[u8] {
    &frames[..extent(frames).map_or(0, |(_, end)| end)]
}

/// Where the payload of the first message begins and ends.
fn extent(frames: &[u8]) -> Option<(usize, usize)> {
    let bytes = |count: usize| frames.get(2..2 + count);
    let (head, length) = match *frames.get(1)? {
        LENGTH_16 => (4, u64::from(u16::from_be_bytes(bytes(2)?.try_into().ok()?))),
        LENGTH_64 => (10, u64::from_be_bytes(bytes(8)?.try_into().ok()?)),
        length => (2, u64::from(length)),
    };
    let end = usize::try_from(length).ok()?.checked_add(head)?;
    (end <= frames.len()).then_some((head, end))
}

/// Encodes a binary message.
pub fn binary(payload: &[u8]) -> Bytes {
    frame(BINARY, payload)
}

/// Encodes the answer to a ping.
pub fn pong(payload: &[u8]) -> Bytes {
    frame(PONG, payload)
}

/// Encodes a close frame; without a code its payload is empty.
pub fn close(code: Option<u16>, reason: &str) -> Bytes {
    let code = code.map(u16::to_be_bytes);
    let payload = [code.as_ref().map_or(&[][..], |code| code), reason.as_bytes()].concat();
    frame(CLOSE, &payload)
}

fn frame(opcode: u8, payload: &[u8]) -> Bytes {
    let mut bytes = Vec::with_capacity(payload.len() + 10);
    bytes.push(FIN | opcode);
    match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
        (Ok(short), _) if short < LENGTH_16 => bytes.push(short),
        (_, Ok(length)) => {
            bytes.push(LENGTH_16);
            bytes.extend_from_slice(&length.to_be_bytes());
        }
        _ => {
            bytes.push(LENGTH_64);
            bytes.extend_from_slice(&(payload.len() as u64).to_be_bytes());
        }
    }
    bytes.extend_from_slice(payload);
    bytes.into()
}

/// Decodes the frames of one client and assembles its messages.
pub struct Decoder {
    /// Maximum bytes of a message.
    max: usize,
    /// The bytes of an incomplete frame.
    partial: Vec<u8>,
    /// A message that is not complete yet.
    message: Option<PartialMessage>,
    /// Whether the consumer stopped before all frames were decoded.
    stopped: bool,
    closed: bool,
}

struct PartialMessage {
    is_text: bool,
    payload: Vec<u8>,
}

/// The header of a complete frame.
struct FrameHeader {
    is_final: bool,
    opcode: u8,
    mask: [u8; 4],
    start: usize,
    end: usize,
}

impl Decoder {
    /// A decoder for messages of at most `max` bytes.
    pub fn new(max: usize) -> Self {
        Self { max, partial: Vec::new(), message: None, stopped: false, closed: false }
    }

    /// Decodes bytes that were read, and passes on complete frames until the consumer says stop.
    /// The rest is kept for the next call. The bytes are unmasked in place.
    ///
    /// # Errors
    /// Why the connection has to be closed; the frames before the error were passed on.
    pub fn take(
        &mut self,
        read: &mut [u8],
        mut hand_on: impl FnMut(Incoming<'_>) -> ControlFlow<()>,
    ) -> Result<(), CloseReason> {
        if self.partial.is_empty() {
            let used = self.take_frames(read, &mut hand_on)?;
            self.partial.extend_from_slice(&read[used..]);
            return Ok(());
        }
        let mut joined = std::mem::take(&mut self.partial);
        joined.extend_from_slice(read);
        let used = self.take_frames(&mut joined, &mut hand_on)?;
        if used < joined.len() {
            joined.drain(..used);
            self.partial = joined;
        }
        Ok(())
    }

    /// Whether frames may remain that were not passed on.
    pub fn has_more(&self) -> bool {
        self.stopped && !self.partial.is_empty()
    }

    fn take_frames(
        &mut self,
        bytes: &mut [u8],
        hand_on: &mut impl FnMut(Incoming<'_>) -> ControlFlow<()>,
    ) -> Result<usize, CloseReason> {
        let mut used = 0;
        self.stopped = false;
        while !self.closed
            && !self.stopped
            && let Some(head) = self.head(&bytes[used..])?
        {
            let payload = &mut bytes[used + head.start..used + head.end];
            for (byte, key) in payload.iter_mut().zip(head.mask.into_iter().cycle()) {
                *byte ^= key;
            }
            self.stopped = self.take_frame(&head, payload, hand_on)?.is_break();
            used += head.end;
        }
        Ok(if self.closed { bytes.len() } else { used })
    }

    /// Reads the header of the first frame; `None` while the frame is incomplete. An error in the
    /// header is found before the rest of the frame has arrived.
    fn head(&self, bytes: &[u8]) -> Result<Option<FrameHeader>, CloseReason> {
        let &[first, second, ..] = bytes else { return Ok(None) };
        let (is_final, opcode) = (first & FIN != 0, first & 0x0f);
        let is_control = opcode & 0x8 != 0;
        let is_known = matches!(opcode, CONTINUATION | TEXT | BINARY | CLOSE | PING | PONG);
        let fits_in = match opcode {
            CONTINUATION => self.message.is_some(),
            TEXT | BINARY => self.message.is_none(),
            _ => is_final,
        };
        if first & RESERVED != 0 || second & MASKED == 0 || !is_known || !fits_in {
            return Err(CloseReason::Broken);
        }
        let Some((length, at)) = length(bytes) else { return Ok(None) };
        if is_control && length > CONTROL_MAX {
            return Err(CloseReason::Broken);
        }
        let before = if is_control { 0 } else { self.begun() };
        if !is_control && length > self.max.saturating_sub(before) {
            return Err(CloseReason::TooLarge);
        }
        let (start, end) = (at + 4, at + 4 + length);
        let mask = bytes.get(at..start).and_then(|mask| mask.try_into().ok());
        let Some(mask) = mask.filter(|_| bytes.len() >= end) else { return Ok(None) };
        Ok(Some(FrameHeader { is_final, opcode, mask, start, end }))
    }

    fn begun(&self) -> usize {
        self.message.as_ref().map_or(0, |message| message.payload.len())
    }

    fn take_frame(
        &mut self,
        head: &FrameHeader,
        payload: &[u8],
        hand_on: &mut impl FnMut(Incoming<'_>) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, CloseReason> {
        Ok(match head.opcode {
            CLOSE => {
                let code = close_code(payload)?;
                self.closed = true;
                hand_on(Incoming::Close(code))
            }
            PING => hand_on(Incoming::Ping(payload)),
            PONG => hand_on(Incoming::Pong),
            CONTINUATION => self.take_part(head.is_final, payload, hand_on)?,
            opcode if head.is_final => hand_on(whole(opcode == TEXT, payload)?),
            opcode => {
                let message = PartialMessage { is_text: opcode == TEXT, payload: payload.to_vec() };
                self.message = Some(message);
                hand_on(Incoming::Part)
            }
        })
    }

    fn take_part(
        &mut self,
        is_final: bool,
        payload: &[u8],
        hand_on: &mut impl FnMut(Incoming<'_>) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, CloseReason> {
        let Some(mut message) = self.message.take() else { return Err(CloseReason::Broken) };
        message.payload.extend_from_slice(payload);
        if is_final {
            return Ok(hand_on(whole(message.is_text, &message.payload)?));
        }
        self.message = Some(message);
        Ok(hand_on(Incoming::Part))
    }
}

/// The payload length in a header, and the position of the mask. A length that does not fit into
/// this machine's words is too large in any case.
fn length(bytes: &[u8]) -> Option<(usize, usize)> {
    match bytes[1] & !MASKED {
        LENGTH_16 => {
            let length = u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?);
            Some((length.into(), 4))
        }
        LENGTH_64 => {
            let length = u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?);
            Some((usize::try_from(length).unwrap_or(usize::MAX), 10))
        }
        short => Some((short.into(), 2)),
    }
}

fn whole(is_text: bool, payload: &[u8]) -> Result<Incoming<'_>, CloseReason> {
    if !is_text {
        return Ok(Incoming::Binary(payload));
    }
    std::str::from_utf8(payload).map(Incoming::Text).map_err(|_| CloseReason::Malformed)
}

/// The code of a close frame; none if it is empty.
fn close_code(payload: &[u8]) -> Result<Option<u16>, CloseReason> {
    let (code, reason) = match payload {
        [] => return Ok(None),
        [high, low, reason @ ..] => (u16::from_be_bytes([*high, *low]), reason),
        [_] => return Err(CloseReason::Broken),
    };
    // The codes that an endpoint may send: registered ones, and those for libraries and
    // applications.
    if !matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
        return Err(CloseReason::Broken);
    }
    std::str::from_utf8(reason).map_err(|_| CloseReason::Malformed)?;
    Ok(Some(code))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: usize = 70_000;
    const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

    /// A frame as a client sends it.
    fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut bytes = frame(first & 0x0f, payload).to_vec();
        let start = bytes.len() - payload.len();
        bytes[0] = first;
        bytes[1] |= MASKED;
        bytes.iter_mut().skip(start).zip(KEY.into_iter().cycle()).for_each(|(b, k)| *b ^= k);
        bytes.splice(start..start, KEY);
        bytes
    }

    /// The result of decoding these bytes, `at_once` per read.
    fn decode(bytes: &[u8], at_once: usize) -> (Vec<String>, Result<(), CloseReason>) {
        let (mut decoder, mut seen) = (Decoder::new(MAX), Vec::new());
        for read in bytes.to_vec().chunks_mut(at_once) {
            let taken = decoder.take(read, |incoming| {
                seen.push(format!("{incoming:?}"));
                ControlFlow::Continue(())
            });
            if taken.is_err() {
                return (seen, taken);
            }
        }
        (seen, Ok(()))
    }

    fn fate(bytes: &[u8]) -> Result<(), CloseReason> {
        let (at_once, by_bytes) = (decode(bytes, bytes.len()), decode(bytes, 1));
        assert_eq!(at_once, by_bytes);
        at_once.1
    }

    #[test]
    fn messages_of_every_length_come_in_however_they_are_cut() {
        for length in [0, 1, 125, 126, 127, 65_535, 65_536, MAX] {
            let payload = "a".repeat(length);
            let bytes = [masked(FIN | TEXT, payload.as_bytes()), masked(FIN | PONG, b"")].concat();
            for at_once in [1, 3, 1000, bytes.len()] {
                let (seen, fate) = decode(&bytes, at_once);
                assert_eq!(fate, Ok(()));
                assert_eq!(seen, [format!("Text({payload:?})"), "Pong".into()]);
            }
        }
    }

    #[test]
    fn what_is_encoded_is_what_clients_expect() {
        assert_eq!(&text("hi")[..], [0x81, 2, b'h', b'i']);
        assert_eq!(&text(&"a".repeat(126))[..4], [0x81, 126, 0, 126]);
        assert_eq!(&text(&"a".repeat(65_536))[..10], [0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]);
        assert_eq!(&pong(b"x")[..], [0x8a, 1, b'x']);
        assert_eq!(&close(Some(1012), "x")[..], [0x88, 3, 0x03, 0xf4, b'x']);
        assert_eq!(&close(None, "")[..], [0x88, 0]);
    }

    #[test]
    fn control_frames_come_between_the_parts_of_a_message() {
        let bytes = [
            masked(TEXT, "세".as_bytes().split_at(1).0),
            masked(FIN | PING, b"alive?"),
            masked(CONTINUATION, b""),
            masked(FIN | PONG, b""),
            masked(FIN | CONTINUATION, "세".as_bytes().split_at(1).1),
            masked(BINARY, b"\xff"),
            masked(FIN | CONTINUATION, b"\xff"),
        ]
        .concat();
        let (seen, fate) = decode(&bytes, 1);
        assert_eq!(fate, Ok(()));
        let ping = format!("{:?}", Incoming::Ping(b"alive?"));
        let text = "Text(\"세\")";
        assert_eq!(seen, ["Part", &ping, "Part", "Pong", text, "Part", "Binary([255, 255])"]);
    }

    #[test]
    fn text_is_utf_8_as_a_whole() {
        let whole = masked(FIN | TEXT, b"\xce\xba\xed\xa0\x80");
        assert_eq!(fate(&whole), Err(CloseReason::Malformed));
        let parts = [masked(TEXT, b"\xce"), masked(FIN | CONTINUATION, b"\xce")].concat();
        assert_eq!(fate(&parts), Err(CloseReason::Malformed));
    }

    #[test]
    fn broken_frames_are_refused() {
        let broken = [
            masked(FIN | 0x40 | TEXT, b""),
            masked(FIN | 0x20 | TEXT, b""),
            masked(FIN | 0x10 | TEXT, b""),
            masked(FIN | 0x3, b""),
            masked(FIN | 0x7, b""),
            masked(FIN | 0xb, b""),
            masked(FIN | 0xf, b""),
            frame(TEXT, b"not masked").to_vec(),
            masked(PING, b"in parts"),
            masked(FIN | PING, &[0; 126]),
            masked(FIN | CLOSE, &[0x03; 126]),
            masked(FIN | CONTINUATION, b"of nothing"),
            [masked(TEXT, b""), masked(FIN | TEXT, b"no continuation")].concat(),
        ];
        for bytes in broken {
            assert_eq!(fate(&bytes), Err(CloseReason::Broken), "{bytes:?}");
        }
        assert_eq!(fate(&masked(FIN | PING, &[0; 125])), Ok(()));
    }

    #[test]
    fn what_is_too_large_is_refused_by_its_head() {
        let whole = masked(FIN | TEXT, &[b'a'; MAX + 1]);
        assert_eq!(fate(&whole[..14]), Err(CloseReason::TooLarge));
        let parts = [masked(TEXT, &[b'a'; MAX]), masked(CONTINUATION, b"a")].concat();
        assert_eq!(fate(&parts), Err(CloseReason::TooLarge));
        let endless = [FIN | BINARY, MASKED | LENGTH_64, 0xff, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(fate(&endless), Err(CloseReason::TooLarge));
    }

    #[test]
    fn close_codes() {
        let close =
            |code: u16, reason: &[u8]| masked(FIN | CLOSE, &[&code.to_be_bytes(), reason].concat());
        for code in [1000, 1001, 1002, 1003, 1007, 1011, 1014, 3000, 4999] {
            let bytes = [close(code, b"bye"), masked(FIN | TEXT, b"after it")].concat();
            let (seen, fate) = decode(&bytes, bytes.len());
            assert_eq!((seen, fate), (vec![format!("Close(Some({code}))")], Ok(())));
        }
        for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65_535] {
            assert_eq!(fate(&close(code, b"")), Err(CloseReason::Broken), "{code}");
        }
        assert_eq!(fate(&masked(FIN | CLOSE, b"")), Ok(()));
        assert_eq!(fate(&masked(FIN | CLOSE, b"\x03")), Err(CloseReason::Broken));
        assert_eq!(fate(&close(1000, b"\xff")), Err(CloseReason::Malformed));
    }

    /// A consumer that stops gets the rest the next time, each frame once, however the bytes were
    /// split.
    #[test]
    fn frames_are_taken_one_at_a_time_where_that_is_wanted() {
        let frames = [
            masked(FIN | TEXT, b"one"),
            masked(FIN | PING, b""),
            masked(BINARY, b"two"),
            masked(CONTINUATION, b""),
            masked(FIN | CONTINUATION, b"three"),
            masked(FIN | CLOSE, b""),
        ];
        let (mut bytes, mut seen) = (frames.concat(), Vec::new());
        let cut = bytes.len() - 4;
        let (begin, end) = bytes.split_at_mut(cut);
        let mut decoder = Decoder::new(MAX);
        for part in [begin, end] {
            decoder.take(part, |incoming| one(&mut seen, &incoming)).unwrap();
            let before = seen.len();
            while decoder.has_more() {
                decoder.take(&mut [], |incoming| one(&mut seen, &incoming)).unwrap();
            }
            assert!(seen.len() - before < frames.len());
        }
        assert_eq!(seen, decode(&frames.concat(), 1000).0);
        assert_eq!(seen.len(), frames.len(), "every frame counts");
    }

    fn one(seen: &mut Vec<String>, incoming: &Incoming<'_>) -> ControlFlow<()> {
        seen.push(format!("{incoming:?}"));
        ControlFlow::Break(())
    }

    #[test]
    fn a_quiet_connection_holds_no_buffer() {
        let mut decoder = Decoder::new(MAX);
        let mut bytes = masked(FIN | TEXT, &[b'a'; 1000]);
        let (first, second) = bytes.split_at_mut(500);
        decoder.take(first, |_| ControlFlow::Continue(())).unwrap();
        assert_eq!(decoder.partial.len(), 500);
        decoder.take(second, |_| ControlFlow::Continue(())).unwrap();
        assert_eq!(decoder.partial.capacity(), 0);
    }
}
