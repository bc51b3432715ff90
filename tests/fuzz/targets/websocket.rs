//! WebSocket frames: the result does not depend on how they are split or taken, and is the same as
//! tungstenite's.

use std::{
    io::{self, Cursor, Read, Write},
    ops::ControlFlow,
};

use linkroom::protocol::{
    close::CloseReason,
    codec::{Decoder, Incoming},
};
use tokio_tungstenite::tungstenite::{
    Error, Message,
    error::{CapacityError, ProtocolError},
    protocol::{CloseFrame, Role, WebSocket, WebSocketConfig},
};

const MAX: usize = 300;

/// The first byte is the number of bytes per read.
pub fn check(data: &[u8]) {
    let [at_once, bytes @ ..] = data else { return };
    let (events, end) = ours(bytes, usize::from(*at_once).max(1));
    assert_eq!(ours(bytes, bytes.len().max(1)), (events.clone(), end));
    let (mut theirs, mut error) = read(bytes);
    if end.is_err() && error.is_none() {
        // tungstenite checks a frame's head only when the rest has arrived.
        (theirs, error) = read(&[bytes, &[0; MAX + 20]].concat());
    }
    match (end, error) {
        // tungstenite checks a text's bytes before the text is complete, and so fails earlier.
        (_, Some(Error::Utf8(_))) => assert!(events.starts_with(&theirs), "{events:?}"),
        (Err(reason), Some(error)) => {
            assert_eq!(events, theirs);
            let too_large = matches!(error, Error::Capacity(CapacityError::MessageTooLong { .. }));
            // Input with two faults may be refused for either.
            assert!(too_large || reason != CloseReason::TooLarge, "{reason:?} {error}");
        }
        (Ok(()), Some(Error::Protocol(ProtocolError::InvalidCloseSequence))) => {
            // The only close code that tungstenite does not know.
            theirs.push(closed(Some(1014)));
            assert_eq!(events, theirs);
        }
        (end, error) => assert_eq!((events, end), (theirs, Ok(())), "{error:?}"),
    }
}

fn closed(code: Option<u16>) -> Message {
    let frame = |code: u16| CloseFrame { code: code.into(), reason: "".into() };
    Message::Close(code.map(frame))
}

/// The codec's result if this many bytes are read at once and each frame is taken by itself.
fn ours(bytes: &[u8], at_once: usize) -> (Vec<Message>, Result<(), CloseReason>) {
    let (mut decoder, mut events) = (Decoder::new(MAX), Vec::new());
    for read in bytes.to_vec().chunks_mut(at_once) {
        let mut taken = decoder.take(read, |incoming| note(&mut events, incoming));
        while taken.is_ok() && decoder.has_more() {
            taken = decoder.take(&mut [], |incoming| note(&mut events, incoming));
        }
        if taken.is_err() {
            return (events, taken);
        }
    }
    (events, Ok(()))
}

fn note(events: &mut Vec<Message>, incoming: Incoming<'_>) -> ControlFlow<()> {
    events.extend(match incoming {
        Incoming::Text(text) => Some(Message::text(text)),
        Incoming::Binary(payload) => Some(Message::binary(payload.to_vec())),
        Incoming::Part => None,
        Incoming::Ping(payload) => Some(Message::Ping(payload.to_vec().into())),
        Incoming::Pong => Some(Message::Pong(Vec::new().into())),
        Incoming::Close(code) => Some(closed(code)),
    });
    ControlFlow::Break(())
}

/// A socket with this input that discards output.
struct Socket<'a>(Cursor<&'a [u8]>);

impl Read for Socket<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Write for Socket<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// tungstenite's result, without the events that the codec does not pass on; and its error, if any.
fn read(bytes: &[u8]) -> (Vec<Message>, Option<Error>) {
    let config = WebSocketConfig::default().max_message_size(Some(MAX)).max_frame_size(Some(MAX));
    let socket = Socket(Cursor::new(bytes));
    let mut socket = WebSocket::from_raw_socket(socket, Role::Server, Some(config));
    let mut events = Vec::new();
    loop {
        match socket.read() {
            Ok(Message::Pong(_)) => events.push(Message::Pong(Vec::new().into())),
            Ok(Message::Close(Some(frame))) if frame.reason == "Protocol violation" => {
                return (events, Some(ProtocolError::InvalidCloseSequence.into()));
            }
            Ok(Message::Close(frame)) => {
                events.push(closed(frame.map(|frame| frame.code.into())));
                return (events, None);
            }
            Ok(message) => events.push(message),
            // The codec does not handle the end of the input.
            Err(Error::Protocol(ProtocolError::ResetWithoutClosingHandshake)) => {
                return (events, None);
            }
            Err(error) => return (events, Some(error)),
        }
    }
}
