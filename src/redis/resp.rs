//! RESP3 as [`super::link`] needs it: what a command looks like, and what comes back.

use bytes::{BufMut, Bytes, BytesMut};
use fred::{
    error::{Error as RedisError, ErrorKind},
    prelude::{FredResult, Value},
};
use redis_protocol::resp3::{decode::complete::decode_bytes_mut, types::BytesFrame};

/// The bytes of most commands.
const COMMAND: usize = 1024;

/// What Redis sends.
#[derive(Debug)]
pub(super) enum Frame {
    /// The answer to the oldest command without one.
    Answer(FredResult<Value>),
    /// Something else: a publication, or a word about a subscription.
    Push(Vec<Value>),
}

/// Encodes a command.
pub(super) fn command(words: &[&[u8]]) -> Bytes {
    let mut text = BytesMut::with_capacity(COMMAND);
    text.put_slice(format!("*{}\r\n", words.len()).as_bytes());
    for word in words {
        text.put_slice(format!("${}\r\n", word.len()).as_bytes());
        text.put_slice(word);
        text.put_slice(b"\r\n");
    }
    text.freeze()
}

/// Takes the first whole frame out of `buffer`, if there is one.
///
/// # Errors
/// This is not RESP3; the connection is of no more use.
pub(super) fn decode(buffer: &mut BytesMut) -> FredResult<Option<Frame>> {
    let broken = |_| RedisError::new(ErrorKind::Protocol, "not the protocol of Redis");
    let Some((frame, ..)) = decode_bytes_mut(buffer).map_err(broken)? else { return Ok(None) };
    Ok(Some(match frame {
        BytesFrame::Push { data, .. } => {
            Frame::Push(data.into_iter().filter_map(|word| value(word).ok()).collect())
        }
        other => Frame::Answer(value(other)),
    }))
}

/// The value of a frame, as fred gives it in RESP2.
fn value(frame: BytesFrame) -> FredResult<Value> {
    Ok(match frame {
        BytesFrame::BlobString { data, .. }
        | BytesFrame::SimpleString { data, .. }
        | BytesFrame::BigNumber { data, .. }
        | BytesFrame::VerbatimString { data, .. }
        | BytesFrame::ChunkedString(data) => text(data),
        BytesFrame::SimpleError { data, .. } => return Err(error(data.to_string())),
        BytesFrame::BlobError { data, .. } => {
            return Err(error(String::from_utf8_lossy(&data).into_owned()));
        }
        BytesFrame::Number { data, .. } => Value::Integer(data),
        BytesFrame::Double { data, .. } => Value::Double(data),
        BytesFrame::Boolean { data, .. } => Value::Boolean(data),
        BytesFrame::Array { data, .. } | BytesFrame::Push { data, .. } => list(data)?,
        BytesFrame::Set { data, .. } => list(data)?,
        BytesFrame::Map { data, .. } => {
            list(data.into_iter().flat_map(|(key, value)| [key, value]))?
        }
        BytesFrame::Null | BytesFrame::Hello { .. } => Value::Null,
    })
}

fn list(frames: impl IntoIterator<Item = BytesFrame>) -> FredResult<Value> {
    frames.into_iter().map(value).collect::<FredResult<_>>().map(Value::Array)
}

fn text(data: Bytes) -> Value {
    match fred::bytes_utils::Str::from_inner(data) {
        Ok(text) => Value::String(text),
        Err(data) => Value::Bytes(data.into_inner()),
    }
}

/// An error of Redis; its first word says what kind it is.
fn error(words: String) -> RedisError {
    let kind = match words.split(' ').next() {
        Some("WRONGTYPE") => ErrorKind::InvalidArgument,
        Some("NOAUTH" | "WRONGPASS") => ErrorKind::Auth,
        Some("MOVED" | "ASK" | "TRYAGAIN" | "CLUSTERDOWN") => ErrorKind::Cluster,
        _ => ErrorKind::Unknown,
    };
    RedisError::new(kind, words)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The frames in a text that comes byte by byte.
    fn frames(text: &[u8]) -> Vec<Frame> {
        let mut buffer = BytesMut::new();
        let mut frames = Vec::new();
        for byte in text {
            buffer.put_u8(*byte);
            frames.extend(decode(&mut buffer).unwrap());
        }
        assert!(buffer.is_empty());
        frames
    }

    #[test]
    fn answers_and_pushes_are_told_apart() {
        let text =
            b"*3\r\n$2\r\nOK\r\n:7\r\n_\r\n>3\r\n$8\r\nsmessage\r\n$6\r\nchan:a\r\n$2\r\nhi\r\n\
            -MOVED 5 10.0.0.1:6379\r\n%1\r\n+a\r\n,1.5\r\n$2\r\n\xff\xfe\r\n";
        let [Frame::Answer(Ok(Value::Array(list))), Frame::Push(push), moved, map, bytes] =
            &frames(text)[..]
        else {
            panic!("other frames")
        };
        assert_eq!(list[..], [Value::from("OK"), Value::Integer(7), Value::Null]);
        assert_eq!(push[..], [Value::from("smessage"), Value::from("chan:a"), Value::from("hi")]);
        let Frame::Answer(Err(moved)) = moved else { panic!("{moved:?}") };
        assert_eq!((moved.kind(), moved.details()), (&ErrorKind::Cluster, "MOVED 5 10.0.0.1:6379"));
        assert!(matches!(map, Frame::Answer(Ok(Value::Array(map))) if map.len() == 2));
        assert!(matches!(bytes, Frame::Answer(Ok(Value::Bytes(bytes))) if bytes[..] == [255, 254]));
    }

    #[test]
    fn a_command_is_written_as_redis_reads_it() {
        assert_eq!(command(&[b"GET", b"a b"])[..], b"*2\r\n$3\r\nGET\r\n$3\r\na b\r\n"[..]);
    }
}
