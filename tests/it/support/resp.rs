//! A minimal Redis client: one command, one answer, over a socket of its own. It blocks, which is
//! fine for a millisecond on loopback, and makes the tests independent of the client library that
//! they test.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

const TIMEOUT: Duration = Duration::from_secs(10);

/// An answer of Redis.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    Nil,
    Int(i64),
    Text(String),
    List(Vec<Reply>),
    Error(String),
}

impl Reply {
    pub fn int(&self) -> i64 {
        match self {
            Reply::Int(number) => *number,
            other => panic!("not a number: {other:?}"),
        }
    }

    pub fn text(&self) -> &str {
        match self {
            Reply::Text(text) => text,
            other => panic!("not a text: {other:?}"),
        }
    }

    pub fn list(&self) -> &[Reply] {
        match self {
            Reply::List(items) => items,
            other => panic!("not a list: {other:?}"),
        }
    }

    /// A list of texts, sorted.
    pub fn texts(&self) -> Vec<String> {
        let mut texts: Vec<_> = self.list().iter().map(|item| item.text().to_owned()).collect();
        texts.sort();
        texts
    }
}

/// Runs one command on its own connection.
pub fn command(addr: SocketAddr, words: &[&str]) -> io::Result<Reply> {
    let mut connection = Connection::open(addr, TIMEOUT)?;
    connection.send(words)?;
    connection.read()
}

/// One connection that speaks RESP2.
pub struct Connection {
    stream: BufReader<TcpStream>,
}

impl Connection {
    pub fn open(addr: SocketAddr, timeout: Duration) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&addr, timeout)?;
        stream.set_read_timeout(Some(timeout))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream: BufReader::new(stream) })
    }

    pub fn send(&mut self, words: &[&str]) -> io::Result<()> {
        let mut request = format!("*{}\r\n", words.len());
        for word in words {
            request.push_str(&format!("${}\r\n{word}\r\n", word.len()));
        }
        self.stream.get_mut().write_all(request.as_bytes())
    }

    pub fn read(&mut self) -> io::Result<Reply> {
        let mut line = String::new();
        if self.stream.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let (kind, rest) = line.trim_end().split_at(1);
        let number = || rest.parse::<i64>().map_err(io::Error::other);
        Ok(match kind {
            "+" => Reply::Text(rest.to_owned()),
            "-" => Reply::Error(rest.to_owned()),
            ":" => Reply::Int(number()?),
            "$" => self.read_bulk(number()?)?,
            "*" if number()? < 0 => Reply::Nil,
            "*" => Reply::List((0..number()?).map(|_| self.read()).collect::<Result<_, _>>()?),
            other => return Err(io::Error::other(format!("unknown RESP type {other}"))),
        })
    }

    fn read_bulk(&mut self, length: i64) -> io::Result<Reply> {
        let Ok(length) = usize::try_from(length) else { return Ok(Reply::Nil) };
        let mut bytes = vec![0; length + 2];
        self.stream.read_exact(&mut bytes)?;
        bytes.truncate(length);
        Ok(Reply::Text(String::from_utf8_lossy(&bytes).into_owned()))
    }
}

/// `SUBSCRIBE channel`, confirmed.
pub struct Subscription {
    connection: Connection,
}

impl Subscription {
    pub fn open(addr: SocketAddr, channel: &str) -> Self {
        let mut connection = Connection::open(addr, TIMEOUT).unwrap();
        connection.send(&["SUBSCRIBE", channel]).unwrap();
        assert_eq!(connection.read().unwrap().list()[0].text(), "subscribe");
        Self { connection }
    }

    /// The next payload on the channel. Blocks its thread.
    pub fn next(&mut self) -> serde_json::Value {
        serde_json::from_str(&self.next_text()).expect("JSON on the channel")
    }

    /// The next payload as text, for one that is not JSON.
    pub fn next_text(&mut self) -> String {
        self.connection.read().expect("a message on the channel").list()[2].text().to_owned()
    }
}
