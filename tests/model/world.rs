//! The node and its connections around the real `Feed`, and every possible next step.
//!
//! This repeats what `fanout`, `heartbeat` and `ws::connection` do with a room, split where they
//! wait: a call is sent, its script runs, and its answer arrives, with anything in between.

use std::{
    fmt::{self, Write},
    hash::{Hash, Hasher},
    sync::Arc,
};

use bytes::Bytes;
use linkroom::{
    fanout::{
        feed::{Actions, Answered, Feed, JoinAnswer, Sink},
        frame::Frame,
    },
    names::MessageId,
    removal::{Reason, Removal, Session},
};
use parking_lot::Mutex;

use crate::{
    client::Client,
    redis::{Heard, Page, Payload, Redis, SECRET, Snapshot, removals},
    words::Word,
};

/// Messages of one page of the stream.
const PAGE: usize = 1;
/// A user connected elsewhere.
const STRANGER: u8 = 7;

/// How often each step may happen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Budget {
    /// Messages published.
    pub messages: u8,
    /// Messages published by hand.
    pub foreign: u8,
    /// Joins and leaves of a user connected elsewhere.
    pub strangers: u8,
    /// Publications lost one by one.
    pub losses: u8,
    /// Interruptions of the subscription.
    pub cuts: u8,
    /// Entries trimmed from the stream.
    pub trims: u8,
    /// Times that Redis comes back empty.
    pub wipes: u8,
    /// Heartbeats, except those after a new subscription.
    pub heartbeats: u8,
    /// Joins of each connection, including resumes.
    pub joins: [u8; 2],
    /// Leaves of each connection.
    pub leaves: u8,
    /// Sockets that just close.
    pub closes: u8,
    /// Joins given up because the answer was late.
    pub timeouts: u8,
    /// Failing reads of the stream.
    pub failures: u8,
    /// Messages that are retried with their key.
    pub retries: u8,
    /// Answers to heartbeats that overtake their fences.
    pub answers: u8,
    /// Removed users.
    pub removals: u8,
}

/// The possible steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    Publish,
    PublishForeign,
    Toggle,
    Trim,
    Wipe,
    Deliver,
    Lose,
    Cut,
    SubscribeNode,
    SubscribeRoom,
    Release,
    Enter(usize),
    RunJoin(usize),
    AnswerJoin(usize),
    GiveUpJoin(usize),
    RunLateJoin(usize),
    Rejoin(usize),
    Leave(usize),
    Close(usize),
    Retry(usize),
    SendHeartbeat,
    RunHeartbeat(usize),
    Restore,
    BeginReading(usize),
    RunReading(usize),
    FailReading(usize),
    TakePage(usize),
    TellMembers,
    TakeAnswer,
    ListMembers,
    TellNumber,
    Remove(u8),
}

/// The whole state.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct World {
    pub redis: Redis,
    node: Node,
    pub connections: [Connection; 2],
    pub left: Budget,
    /// Whether no publication ever arrives.
    is_deaf: bool,
    /// The first promise that was broken.
    pub broken: Option<&'static str>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Node {
    feed: Feed<Seat>,
    /// Whether the node knows the room, and its channel counts as subscribed.
    is_local: bool,
    /// Whether a new subscription requests a heartbeat.
    resync: bool,
    /// The number of the latest heartbeat.
    heartbeat: u64,
    /// Heartbeats that were sent but have not run.
    beats: Vec<(u64, Vec<Heard>)>,
    /// Whether a heartbeat found that Redis lost the room or a user.
    restores: bool,
    readings: Vec<Reading>,
    /// Calls for a published list of members that have not run.
    telling: u8,
    /// The same for calls that return the list.
    listing: u8,
    /// The answer to the last heartbeat: its number, the last message, the events.
    answer: Option<(u64, MessageId, u64)>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Reading {
    Wanted(u64),
    /// Its number, the last message delivered, the number of events of which none was missed.
    Asked(u64, MessageId, u64),
    Answered(u64, Page),
}

/// The room's state of one connection.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Connection {
    pub user: u8,
    /// The number of its socket.
    socket: u8,
    /// The number of its latest join.
    joins: u8,
    join: Join,
    /// Whether a join was answered, so that heartbeats report it.
    occupied: bool,
    /// Whether it was asked to join again.
    rejoin: Option<MessageId>,
    /// The number of its session, once a join was answered.
    session: u8,
    /// Joins that were given up but may still run.
    late: Vec<String>,
    pub client: Client,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Join {
    Outside,
    Asked(Asked),
    Answered(Asked, Option<Box<Snapshot>>),
    Inside,
}

/// The parameters of a join.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Asked {
    since: Option<MessageId>,
    /// Whether the node requests it, after a gap.
    after_hole: bool,
}

/// A connection's outbox; emptied after every step.
#[derive(Debug)]
struct Seat {
    name: Arc<str>,
    index: usize,
    user: u8,
    /// The number of its session; 0 until its join was answered.
    session: Mutex<u8>,
    told: Mutex<Vec<Told>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Told {
    Frame(Bytes),
    Rejoin(MessageId),
    Removed,
    Overflow,
}

impl World {
    pub fn new(budget: Budget, users: [u8; 2]) -> Self {
        let node = Node {
            feed: Feed::default(),
            is_local: false,
            resync: false,
            heartbeat: 0,
            beats: Vec::new(),
            restores: false,
            readings: Vec::new(),
            telling: 0,
            listing: 0,
            answer: None,
        };
        Self {
            redis: Redis::new(),
            node,
            connections: users.map(Connection::new),
            left: budget,
            is_deaf: false,
            broken: None,
        }
    }

    /// The same without any publications.
    pub fn deaf(budget: Budget, users: [u8; 2]) -> Self {
        let mut world = Self { is_deaf: true, ..Self::new(budget, users) };
        world.redis.wire = Default::default();
        world
    }

    /// The steps that happen without faults, in the order of a calm world.
    pub fn calm_steps(&self, steps: &mut Vec<Step>) {
        let (wire, node) = (&self.redis.wire, &self.node);
        let mut may = |step, possible: bool| {
            if possible {
                steps.push(step);
            }
        };
        may(Step::SubscribeNode, !wire.node && !self.is_deaf);
        may(Step::SubscribeRoom, wire.node && !wire.room && node.is_local);
        may(Step::Deliver, !wire.flight.is_empty());
        for (i, _) in node.beats.iter().enumerate() {
            may(Step::RunHeartbeat(i), true);
        }
        may(Step::Restore, node.restores);
        for (i, reading) in node.readings.iter().enumerate() {
            may(Step::BeginReading(i), matches!(reading, Reading::Wanted(_)));
            may(Step::RunReading(i), matches!(reading, Reading::Asked(..)));
            may(Step::TakePage(i), matches!(reading, Reading::Answered(..)));
        }
        may(Step::TellMembers, node.telling > 0);
        may(Step::ListMembers, node.listing > 0);
        may(Step::TellNumber, self.redis.exists && self.redis.owes_number());
        may(Step::TakeAnswer, node.answer.is_some() && self.is_deaf);
        for (i, connection) in self.connections.iter().enumerate() {
            may(Step::RunJoin(i), matches!(connection.join, Join::Asked(_)));
            may(Step::AnswerJoin(i), matches!(connection.join, Join::Answered(..)));
            may(Step::RunLateJoin(i), !connection.late.is_empty());
            may(Step::Rejoin(i), connection.rejoin.is_some() && connection.join == Join::Inside);
        }
        may(Step::SendHeartbeat, node.resync && wire.room && !node.feed.is_empty());
    }

    /// The steps that happen while their budget lasts.
    pub fn wild_steps(&self, steps: &mut Vec<Step>) {
        let (left, wire, node) = (&self.left, &self.redis.wire, &self.node);
        let mut may = |step, left: u8, possible: bool| {
            if left > 0 && possible {
                steps.push(step);
            }
        };
        let exists = self.redis.exists;
        may(Step::Publish, left.messages, exists);
        may(Step::PublishForeign, left.foreign, wire.room);
        may(Step::Toggle, left.strangers, exists);
        may(Step::Trim, left.trims, self.redis.kept().len() > 1);
        may(Step::Wipe, left.wipes, exists);
        may(Step::Lose, left.losses, !wire.flight.is_empty());
        may(Step::Cut, left.cuts, wire.node && node.is_local);
        may(Step::Release, 1, node.is_local && node.feed.is_empty());
        may(Step::SendHeartbeat, left.heartbeats, !node.feed.is_empty());
        for user in 0..2 {
            may(Step::Remove(user), left.removals, self.redis.sessions.contains(user));
        }
        may(Step::TakeAnswer, left.answers, node.answer.is_some() && !self.is_deaf);
        for (i, reading) in node.readings.iter().enumerate() {
            may(Step::FailReading(i), left.failures, matches!(reading, Reading::Asked(..)));
        }
        for (i, connection) in self.connections.iter().enumerate() {
            let is_in = connection.join == Join::Inside;
            let may_enter = match connection.join {
                // The order of two new connections makes no difference.
                Join::Outside if i == 1 && left.joins[0] > 0 && self.connections[0].joins == 0 => {
                    false
                }
                Join::Outside => node.is_local || wire.node || self.is_deaf,
                Join::Inside => true,
                _ => false,
            };
            may(Step::Enter(i), left.joins[i], may_enter);
            may(Step::Leave(i), left.leaves, is_in);
            may(Step::Close(i), left.closes, connection.join != Join::Outside);
            may(Step::GiveUpJoin(i), left.timeouts, connection.is_joining());
            may(Step::Retry(i), left.retries, is_in && !self.redis.kept().is_empty());
        }
    }

    /// Whether no step happens without faults.
    pub fn is_idle(&self) -> bool {
        let mut steps = Vec::new();
        self.calm_steps(&mut steps);
        steps.is_empty()
    }

    /// Performs one step.
    pub fn step(&mut self, step: Step) {
        self.spend(step);
        match step {
            Step::Publish => self.redis.publish(),
            Step::PublishForeign => self.redis.publish_foreign(),
            Step::Toggle => self.redis.toggle(STRANGER),
            Step::Trim => self.redis.gone += 1,
            Step::Wipe => self.redis.lose_everything(),
            Step::Deliver => self.deliver(),
            Step::Lose => drop(self.redis.wire.flight.pop_front()),
            Step::Cut => self.redis.wire = Default::default(),
            Step::SubscribeNode => {
                self.node.feed.members_stale();
                self.redis.wire.node = true;
            }
            Step::SubscribeRoom => {
                self.redis.wire.room = true;
                self.node.resync = true;
            }
            Step::Release => self.release(),
            Step::Enter(i) => self.enter_first(i),
            Step::RunJoin(i) => self.run_join(i),
            Step::AnswerJoin(i) => self.answer_join(i),
            Step::GiveUpJoin(i) => self.give_up_join(i),
            Step::RunLateJoin(i) => self.run_late_join(i),
            Step::Rejoin(i) => self.rejoin(i),
            Step::Leave(i) => self.leave(i, false),
            Step::Close(i) => self.leave(i, true),
            Step::Retry(i) => self.retry(i),
            Step::SendHeartbeat => self.send_heartbeat(),
            Step::RunHeartbeat(i) => self.run_heartbeat(i),
            Step::Restore => self.restore(),
            Step::BeginReading(i) => self.begin_reading(i),
            Step::RunReading(i) => self.run_reading(i),
            Step::FailReading(i) => self.fail_reading(i),
            Step::TakePage(i) => self.take_page(i),
            Step::TellMembers => {
                self.node.telling -= 1;
                self.redis.tell_members(self.node.feed.known_events());
            }
            Step::TakeAnswer => self.take_answer(),
            Step::TellNumber => self.redis.tell_number(),
            Step::Remove(user) => self.redis.remove(user),
            Step::ListMembers => {
                self.node.listing -= 1;
                if let Some((events, truth)) =
                    self.redis.list_members(self.node.feed.known_events())
                {
                    self.putting_out(|feed| feed.listed(events, truth));
                }
            }
        }
        self.empty_outboxes();
    }

    fn spend(&mut self, step: Step) {
        let left = &mut self.left;
        match step {
            Step::Publish => left.messages -= 1,
            Step::PublishForeign => left.foreign -= 1,
            Step::Toggle => left.strangers -= 1,
            Step::Trim => left.trims -= 1,
            Step::Wipe => left.wipes -= 1,
            Step::Lose => left.losses -= 1,
            Step::Cut => left.cuts -= 1,
            Step::Enter(i) => left.joins[i] -= 1,
            Step::Leave(_) => left.leaves -= 1,
            Step::Close(_) => left.closes -= 1,
            Step::GiveUpJoin(_) => left.timeouts -= 1,
            Step::Retry(_) => left.retries -= 1,
            Step::FailReading(_) => left.failures -= 1,
            Step::TakeAnswer => left.answers = left.answers.saturating_sub(1),
            Step::Remove(_) => left.removals -= 1,
            Step::SendHeartbeat if self.node.resync => self.node.resync = false,
            Step::SendHeartbeat => left.heartbeats = left.heartbeats.saturating_sub(1),
            _ => {}
        }
    }

    fn deliver(&mut self) {
        let Some(payload) = self.redis.wire.flight.pop_front() else { return };
        if !self.node.is_local {
            return;
        }
        let actions = match payload {
            Payload::Frame(frame) => self.node.feed.frame(frame).1,
            Payload::Fence(fence) => self.node.feed.fence(fence),
            Payload::Members(events, truth) => {
                self.putting_out(|feed| feed.members(events, truth));
                Actions::default()
            }
            Payload::Removal(removal, frame) => {
                self.putting_out(|feed| {
                    let _ = feed.removal(removal, frame);
                });
                Actions::default()
            }
        };
        self.act(actions);
    }

    /// What may put connections out of the room.
    fn putting_out(&mut self, happens: impl FnOnce(&mut Feed<Seat>)) {
        let seated = |world: &Self| -> Vec<usize> {
            world.node.feed.sinks().map(|seat| seat.index).collect()
        };
        let before = seated(self);
        happens(&mut self.node.feed);
        let after = seated(self);
        before.into_iter().filter(|i| !after.contains(i)).for_each(|i| self.removed(i));
    }

    fn act(&mut self, actions: Actions) {
        self.node.readings.extend(actions.catch_up.map(Reading::Wanted));
        self.node.telling += u8::from(actions.tell_members);
        self.node.listing += u8::from(actions.list_members);
    }

    /// The last connection has left: the node forgets the room.
    fn release(&mut self) {
        let node = &mut self.node;
        (node.feed, node.is_local, node.resync) = (Feed::default(), false, false);
        (node.heartbeat, node.restores, node.answer) = (0, false, None);
        node.readings.clear();
        self.redis.wire.room = false;
    }

    /// A client joins: for the first time, again on the same socket, or after its socket closed.
    fn enter_first(&mut self, i: usize) {
        let since = self.connections[i].client.since(&self.redis.history);
        self.enter(i, Asked { since, after_hole: false });
    }

    fn enter(&mut self, i: usize, asked: Asked) {
        if !self.node.is_local {
            self.node.is_local = true;
            self.redis.wire.room = !self.is_deaf;
        }
        let connection = &mut self.connections[i];
        connection.client.asked = connection.client.has;
        connection.join = Join::Asked(asked);
        connection.joins += 1;
        let tag = connection.tag(i);
        let seat = Seat {
            name: connection.name(i).into(),
            index: i,
            user: connection.user,
            session: Mutex::new(connection.session),
            told: Mutex::default(),
        };
        self.node.feed.enter(seat, tag);
    }

    fn run_join(&mut self, i: usize) {
        let tag = self.connections[i].tag(i);
        let connection = &mut self.connections[i];
        if let Join::Asked(asked) = &connection.join {
            let Connection { user, session, .. } = *connection;
            // A client with a token uses it.
            let is_refused = self.redis.ended.contains(&(user, session));
            let answer = (!is_refused).then(|| self.redis.join(i as u8, user, &tag, asked.since));
            let answer = answer.flatten();
            connection.join = Join::Answered(asked.clone(), answer.map(Box::new));
        }
    }

    fn answer_join(&mut self, i: usize) {
        let name = self.connections[i].name(i);
        let connection = &mut self.connections[i];
        match std::mem::replace(&mut connection.join, Join::Outside) {
            Join::Answered(asked, Some(snapshot)) => {
                (connection.join, connection.occupied) = (Join::Inside, true);
                connection.session = snapshot.session;
                for seat in self.node.feed.sinks().filter(|seat| *seat.name == *name) {
                    *seat.session.lock() = snapshot.session;
                }
                let answer = JoinAnswer {
                    joined: Some(Word::Joined(snapshot.joined).to_text()),
                    tip: snapshot.tip,
                    secret: SECRET.to_owned(),
                    heartbeat: self.node.heartbeat,
                };
                match self.node.feed.answered(&name, answer) {
                    Answered::Sent => {}
                    Answered::Gone => self.removed(i),
                    Answered::Overtaken => {
                        let asked_with = self.connections[i].client.asked;
                        self.enter(i, asked);
                        self.connections[i].client.asked = asked_with;
                    }
                }
            }
            Join::Answered(asked, None) => {
                self.refused(i, &asked);
                if asked.after_hole {
                    self.restore();
                }
            }
            _ => unreachable!("no answer without a question"),
        }
    }

    fn give_up_join(&mut self, i: usize) {
        match std::mem::replace(&mut self.connections[i].join, Join::Outside) {
            Join::Asked(asked) => {
                self.refused(i, &asked);
                let tag = self.connections[i].tag(i);
                self.connections[i].late.push(tag);
            }
            Join::Answered(asked, _) => self.refused(i, &asked),
            _ => unreachable!("nothing to give up"),
        }
    }

    /// A connection that was in the room stays there; after a gap it tries again.
    fn refused(&mut self, i: usize, asked: &Asked) {
        let name = self.connections[i].name(i);
        let stays = self.node.feed.refused(&name);
        let connection = &mut self.connections[i];
        connection.join = if stays { Join::Inside } else { Join::Outside };
        if !stays && self.redis.ended.contains(&(connection.user, connection.session)) {
            connection.session = 0;
        }
        if stays && asked.after_hole {
            connection.rejoin = asked.since;
        }
    }

    fn run_late_join(&mut self, i: usize) {
        let tag = self.connections[i].late.remove(0);
        let user = self.connections[i].user;
        self.redis.join(i as u8, user, &tag, None);
    }

    fn rejoin(&mut self, i: usize) {
        let is_behind = self.node.feed.is_behind(&self.connections[i].name(i));
        if let Some(since) = self.connections[i].rejoin.take().filter(|_| is_behind) {
            self.enter(i, Asked { since: Some(since), after_hole: true });
        }
    }

    fn leave(&mut self, i: usize, closed: bool) {
        let name = self.connections[i].name(i);
        self.node.feed.leave(&name);
        let connection = &mut self.connections[i];
        (connection.join, connection.occupied, connection.rejoin) = (Join::Outside, false, None);
        connection.socket += u8::from(closed);
        connection.client = Client { has: connection.client.has, ..Client::default() };
        self.redis.leave(i as u8, connection.user, closed);
    }

    /// publish.lua finds the key of the last message, and the answer arrives.
    fn retry(&mut self, i: usize) {
        let Some(last) = self.redis.kept().last() else { return };
        let id = self.redis.history[last].id;
        if !self.node.feed.has_delivered(&self.connections[i].name(i), id) {
            self.connections[i].client.owed = Some(last);
        }
    }

    /// The connections that the heartbeat reports.
    fn heard(&self) -> Vec<Heard> {
        let occupied = |(i, connection): (usize, &Connection)| {
            let Connection { user, session, .. } = *connection;
            connection.occupied.then_some(Heard { connection: i as u8, user, session })
        };
        self.connections.iter().enumerate().filter_map(occupied).collect()
    }

    fn send_heartbeat(&mut self) {
        self.node.heartbeat += 1;
        let beat = (self.node.heartbeat, self.heard());
        self.node.beats.push(beat);
    }

    fn run_heartbeat(&mut self, i: usize) {
        let (number, heard) = self.node.beats.remove(i);
        let lost = self.redis.heartbeat(number, &heard);
        if lost.is_some() && self.node.is_local {
            self.node.answer = Some((number, self.redis.tip(), self.redis.events.number));
        }
        self.node.restores |= lost.is_none_or(|lost| !lost.is_empty()) && self.node.is_local;
    }

    fn take_answer(&mut self) {
        let Some((number, tip, events)) = self.node.answer.take() else { return };
        let actions = self.node.feed.answered_heartbeat(number, tip, events);
        self.act(actions);
    }

    fn restore(&mut self) {
        self.node.restores = false;
        let heard = self.heard();
        if !heard.is_empty() {
            self.node.heartbeat += 1;
            for ended in self.redis.restore(self.node.heartbeat, &heard) {
                let i = usize::from(ended);
                self.node.feed.leave(&self.connections[i].name(i));
                self.removed(i);
            }
        }
    }

    /// A connection was told that it is out of the room.
    fn removed(&mut self, i: usize) {
        let connection = &mut self.connections[i];
        (connection.occupied, connection.rejoin, connection.session) = (false, None, 0);
        connection.client = Client { has: connection.client.has, ..Client::default() };
        if connection.join == Join::Inside {
            connection.join = Join::Outside;
        }
    }

    fn begin_reading(&mut self, i: usize) {
        let Reading::Wanted(number) = self.node.readings.remove(i) else { return };
        if let Some(after) = self.node.feed.reading(number) {
            let known = self.node.feed.known_events();
            self.node.readings.insert(i, Reading::Asked(number, after, known));
        }
    }

    fn run_reading(&mut self, i: usize) {
        if let Reading::Asked(number, after, known) = self.node.readings[i] {
            let page = self.redis.catch_up(after, PAGE, known);
            self.node.readings[i] = Reading::Answered(number, page);
        }
    }

    fn fail_reading(&mut self, i: usize) {
        let Reading::Asked(number, ..) = self.node.readings.remove(i) else { return };
        if !self.node.feed.is_empty() {
            self.node.readings.insert(i, Reading::Wanted(number));
        }
    }

    fn take_page(&mut self, i: usize) {
        let Reading::Answered(number, page) = self.node.readings.remove(i) else { return };
        let last_page = page.messages.len() < PAGE;
        self.putting_out(|feed| feed.ended(&removals(&page.ended)));
        let actions = if page.trimmed {
            self.node.feed.history_trimmed(number)
        } else {
            let history = &self.redis.history;
            let message = |at: usize| (history[at].id, Word::Message(at).to_text());
            let page = page.messages.into_iter().map(message).collect();
            self.node.feed.caught_up(number, page, last_page)
        };
        self.act(actions);
    }

    /// Delivers the connections' frames to the clients.
    fn empty_outboxes(&mut self) {
        for seat in self.node.feed.sinks() {
            let connection = &mut self.connections[seat.index];
            for told in seat.told.lock().drain(..) {
                let heard = match told {
                    Told::Frame(text) => {
                        let word = Word::parse(std::str::from_utf8(&text).expect("text"));
                        connection.client.hear(connection.user, word, &self.redis.history)
                    }
                    Told::Rejoin(since) => {
                        connection.client.joined = false;
                        connection.rejoin.get_or_insert(since);
                        Ok(())
                    }
                    Told::Removed => Err("told that it is out, and still in"),
                    Told::Overflow => Err("more waits than may"),
                };
                self.broken = self.broken.or(heard.err());
            }
        }
    }

    /// The broken promise after the world has calmed down: no more faults, one heartbeat.
    pub fn after_calm(&self) -> Option<&'static str> {
        self.clone().calm_down()
    }

    fn calm_down(mut self) -> Option<&'static str> {
        let world = &mut self;
        if !world.node.feed.is_empty() {
            world.step(Step::SendHeartbeat);
        }
        let mut steps = Vec::new();
        for _ in 0..200 {
            steps.clear();
            world.calm_steps(&mut steps);
            match steps.first() {
                Some(step) => world.step(*step),
                None => return world.missing(),
            }
        }
        Some("it never calms down")
    }

    fn missing(&self) -> Option<&'static str> {
        let of = |connection: &Connection| match connection.join {
            Join::Inside if self.redis.ended.contains(&(connection.user, connection.session)) => {
                Some("still in after its session was ended")
            }
            Join::Inside if !connection.client.joined => Some("no answer to a join"),
            Join::Inside if !connection.client.is_complete(&self.redis.history) => {
                Some("a message is missing")
            }
            Join::Inside if !connection.client.knows(self.redis.members, self.redis.large) => {
                Some("other members than there are")
            }
            Join::Inside if connection.client.owed.is_some() => Some("a retry without an answer"),
            _ => None,
        };
        self.broken.or_else(|| self.connections.iter().find_map(of))
    }
}

impl Connection {
    fn new(user: u8) -> Self {
        Self {
            user,
            socket: 0,
            joins: 0,
            join: Join::Outside,
            occupied: false,
            rejoin: None,
            session: 0,
            late: Vec::new(),
            client: Client::default(),
        }
    }

    /// The id of its connection.
    fn name(&self, index: usize) -> String {
        format!("c{index}.{}", self.socket)
    }

    /// The tag of its latest join's fence.
    fn tag(&self, index: usize) -> String {
        format!("{}.{}", self.name(index), self.joins)
    }

    fn is_joining(&self) -> bool {
        matches!(self.join, Join::Asked(_) | Join::Answered(..))
    }
}

impl Sink for Seat {
    fn connection(&self) -> &Arc<str> {
        &self.name
    }

    fn push(&self, frame: &Frame) {
        self.told.lock().push(Told::Frame(frame.text.clone()));
    }

    fn overflow(&self) {
        self.told.lock().push(Told::Overflow);
    }

    fn rejoin(&self, since: MessageId) {
        self.told.lock().push(Told::Rejoin(since));
    }

    fn is_target(&self, removal: &Removal) -> bool {
        let session = u64::from(*self.session.lock());
        let is_its = |whom: &Session| {
            session > 0
                && whom.joined_at_ms == session
                && whom.user.as_str() == self.user.to_string()
        };
        removal.whom.as_ref().is_some_and(is_its)
    }

    fn evict(&self, _: Reason) {
        self.told.lock().push(Told::Removed);
    }

    fn recheck_access(&self) {}
}

/// A seat is copied and compared only between two steps, when its outbox is empty.
impl Clone for Seat {
    fn clone(&self) -> Self {
        let session = Mutex::new(*self.session.lock());
        Self {
            name: self.name.clone(),
            index: self.index,
            user: self.user,
            session,
            told: Mutex::default(),
        }
    }
}

impl PartialEq for Seat {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && *self.session.lock() == *other.session.lock()
    }
}

impl Eq for Seat {}

impl Hash for Node {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // Frames do not implement `Hash`, so the feed's `Debug` output is hashed.
        let _ = write!(Hashed(state), "{:?}", self.feed);
        (self.is_local, self.resync, self.heartbeat, &self.beats).hash(state);
        (self.restores, &self.readings, self.telling, self.listing, self.answer).hash(state);
    }
}

/// Hashes what is written.
pub struct Hashed<'a, H>(pub &'a mut H);

impl<H: Hasher> Write for Hashed<'_, H> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.write(text.as_bytes());
        Ok(())
    }
}
