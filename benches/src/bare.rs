//! The minimal server on Redis: a baseline that uses the same libraries as linkroom. Each message
//! is one call of the shortest script that stores and publishes it, through the same client
//! library, and comes back over a subscription. No checks, no presence, no order.
//!
//! Its cost above the floor is the cost of the design; linkroom's cost above it is the cost of
//! linkroom's features.

use std::{cell::RefCell, collections::HashMap, io::ErrorKind, rc::Rc};

use fred::{prelude::*, types::scripts::Script};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::broadcast::Receiver,
    task::spawn_local,
};

use crate::{
    listen,
    wire::{self, Frame, Wish},
};

/// Stores a message and publishes it to the room.
const SCRIPT: &str = "
redis.call('XADD', KEYS[1], 'MAXLEN', '~', 1000, '*', 'text', ARGV[1])
redis.call('PUBLISH', KEYS[2], ARGV[1])
return 1
";
/// Messages that may wait between the subscription's socket and its reader.
const SUBSCRIPTION_BUFFER: usize = 1 << 16;
/// Messages that are read before anything is written.
const READ_AT_ONCE: usize = 256;
const READ_BUFFER: usize = 4096;

/// The connections in each room.
type Rooms = Rc<RefCell<HashMap<String, Vec<Rc<TcpStream>>>>>;

/// Serves until it is killed. `redis` is a Redis URL.
///
/// # Errors
/// Redis cannot be reached, or the system refuses a socket.
pub fn serve(redis: &str) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    tokio::task::LocalSet::new().block_on(&runtime, run(redis))
}

async fn run(redis: &str) -> anyhow::Result<()> {
    let config = Config::from_url(redis)?;
    let commands = Builder::from_config(config.clone()).build()?;
    let subscriber = Builder::from_config(config)
        .with_performance_config(|config| config.broadcast_channel_capacity = SUBSCRIPTION_BUFFER)
        .build()?;
    commands.init().await?;
    subscriber.init().await?;
    let script = Script::from_lua(SCRIPT);
    script.load(&commands).await?;
    let rooms = Rooms::default();
    spawn_local(pass_on(subscriber.message_rx(), rooms.clone()));
    let listener = TcpListener::from_std(listen::on_loopback()?)?;
    println!("bare: open http://{}", listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let bare = Bare {
            commands: commands.clone(),
            subscriber: subscriber.clone(),
            script: script.clone(),
            rooms: rooms.clone(),
        };
        spawn_local(async move {
            let _ = bare.serve(Rc::new(stream)).await;
        });
    }
}

/// Writes incoming messages to every connection of their room: all that are available in one call.
async fn pass_on(mut messages: Receiver<fred::types::Message>, rooms: Rooms) {
    while let Ok(message) = messages.recv().await {
        let mut batches: HashMap<_, Vec<u8>> = HashMap::new();
        let mut next = Some(message);
        for taken in 1.. {
            let Some(message) = next else { break };
            let text = message.value.as_bytes().unwrap_or_default();
            wire::put_text(batches.entry(message.channel).or_default(), text);
            next = if taken == READ_AT_ONCE { None } else { messages.try_recv().ok() };
        }
        let rooms = rooms.borrow();
        for (room, batch) in batches {
            for member in rooms.get(&*room).into_iter().flatten() {
                // What the socket does not accept is lost; the load would report it.
                let _ = member.try_write(&batch);
            }
        }
    }
}

/// The state of a connection.
struct Bare {
    commands: Client,
    subscriber: Client,
    script: Script,
    rooms: Rooms,
}

impl Bare {
    async fn serve(&self, stream: Rc<TcpStream>) -> anyhow::Result<()> {
        let (mut room, mut upgraded) = (None, false);
        let mut inbox = Vec::new();
        loop {
            stream.readable().await?;
            let mut buffer = [0; READ_BUFFER];
            match stream.try_read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(length) => inbox.extend_from_slice(&buffer[..length]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => continue,
                Err(error) => return Err(error.into()),
            }
            let mut from = 0;
            if !upgraded {
                let Some(end) = wire::end_of_head(&inbox) else { continue };
                stream.try_write(wire::upgrade_answer().as_bytes())?;
                (upgraded, from) = (true, end);
            }
            while let Some(frame) = Frame::read(&inbox, from) {
                frame.unmask(&mut inbox);
                from = frame.payload.end;
                self.obey(&stream, &mut room, &inbox[frame.payload]).await?;
            }
            inbox.drain(..from);
        }
    }

    async fn obey(
        &self,
        stream: &Rc<TcpStream>,
        room: &mut Option<String>,
        payload: &[u8],
    ) -> anyhow::Result<()> {
        match wire::wish(payload) {
            Some(Wish::Say) => {
                if let Some(room) = room {
                    self.publish(room, payload);
                }
            }
            Some(Wish::Ping) => answer(stream, wire::PONG)?,
            Some(Wish::Join(id)) => {
                let id = String::from_utf8_lossy(id).into_owned();
                self.join(stream, &id).await?;
                *room = Some(id);
                answer(stream, wire::JOINED)?;
            }
            None => {}
        }
        Ok(())
    }

    async fn join(&self, stream: &Rc<TcpStream>, room: &str) -> anyhow::Result<()> {
        let is_first = {
            let mut rooms = self.rooms.borrow_mut();
            let members = rooms.entry(room.to_owned()).or_default();
            members.push(stream.clone());
            members.len() == 1
        };
        if is_first {
            self.subscriber.subscribe(room).await?;
        }
        Ok(())
    }

    /// Does not wait for the answer: the message itself is the acknowledgement.
    fn publish(&self, room: &str, payload: &[u8]) {
        let (commands, script) = (self.commands.clone(), self.script.clone());
        let keys = vec![format!("room:{room}:messages"), room.to_owned()];
        let text = Value::Bytes(payload.to_vec().into());
        spawn_local(async move {
            let told: FredResult<i64> = script.evalsha(&commands, keys, text).await;
            told.map_err(|error| eprintln!("bare: {error}"))
        });
    }
}

fn answer(stream: &TcpStream, payload: &[u8]) -> std::io::Result<()> {
    let mut frame = Vec::with_capacity(payload.len() + 4);
    wire::put_text(&mut frame, payload);
    stream.try_write(&frame).map(|_| ())
}
