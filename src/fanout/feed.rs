//! The order of one room on one node: its seats, the last message delivered, and what to do about a
//! gap. A state machine without I/O, so that a model checker can try every interleaving.
//!
//! Its state is soft: if it is lost, the next join starts from the state in Redis.
//!
//! - A message is delivered if it follows the last one delivered (see `chain`). If not, the feed
//!   first reads the stream. A message that is not in the stream is foreign, and moves no position.
//! - A fence is the position of the room when a script ran. It arrives in order with the room's
//!   events, so a different position or count means that something was lost.
//! - A connection has its seat before its join script runs. Events before its fence are in its
//!   snapshot; messages in the snapshot are recognised by their ids.

mod fallback;
mod removals;
mod seat;
mod seats;
mod types;

use std::{
    collections::{BTreeSet, VecDeque},
    sync::Arc,
};

use bytes::Bytes;

use seat::{JoinStage, Origin, Passing, SeatState};
use seats::Seats;
pub use types::{Actions, Answered, Inbound, JoinAnswer, Outcome, Sink};

use super::frame::{Fence, Frame, FrameKind, Tag, Truth};
use crate::{chain, names::MessageId, removal::Removal};

/// Frames that wait while the stream is read. What comes beyond is dropped: a message leaves a gap
/// and an event a wrong count, and both are found by the next message or fence.
const BACKLOG_MAX: usize = 1024;

/// What the connections know about the room's members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Members {
    /// Every event.
    Known,
    /// The subscription was interrupted: a fence will show whether anything happened.
    Stale,
    /// Everything up to a list that came out of order: events that the list contains may still
    /// arrive.
    Listed,
    /// Events were lost. Further events would not match what they know, so they are held back until
    /// a new list arrives.
    Unknown,
}

/// Frames that wait while the stream is read.
#[derive(Clone, Debug, PartialEq, Eq)]
struct CatchUp {
    /// The number of the catch-up that they wait for.
    number: u64,
    backlog: VecDeque<Inbound>,
    /// How many of them arrived before the latest read began: its result contains them.
    covered: usize,
}

/// The order of one room on one node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Feed<S> {
    seats: Seats<S>,
    /// The connections whose join was answered, and whose fence may not have passed.
    answered: BTreeSet<Arc<str>>,
    /// The secret of the room's message ids; empty until a first join is answered.
    secret: String,
    /// The last message that was delivered; unknown until the first fence. Answers do not set it,
    /// because they overtake publications.
    last: Option<MessageId>,
    /// Number of events so far.
    events: u64,
    /// How many of these the connections certainly know, according to the last fence or list of
    /// members.
    known_events: u64,
    /// Whether the connections know the members.
    members: Members,
    catch_up: Option<CatchUp>,
    /// Sessions that ended while joins were in progress.
    removals: Vec<Removal>,
    /// The number of the latest heartbeat whose fence has arrived.
    fenced: u64,
    /// The number of the latest read of the stream.
    readings: u64,
}

impl<S> Default for Feed<S> {
    fn default() -> Self {
        Self {
            seats: Seats::default(),
            answered: BTreeSet::new(),
            secret: String::new(),
            last: None,
            events: 0,
            known_events: 0,
            members: Members::Known,
            catch_up: None,
            removals: Vec::new(),
            fenced: 0,
            readings: 0,
        }
    }
}

impl<S: Sink> Feed<S> {
    /// Whether no connection has a seat.
    pub fn is_empty(&self) -> bool {
        self.seats.is_empty()
    }

    /// Number of connections that have a seat, or are joining.
    pub fn len(&self) -> usize {
        self.seats.len()
    }

    /// The sink of a connection that has a seat, or is joining.
    pub fn sink(&self, connection: &str) -> Option<&S> {
        self.seats.get(connection).map(|seat| &seat.sink)
    }

    /// The connections that have a seat, or are joining.
    pub fn sinks(&self) -> impl Iterator<Item = &S> {
        self.seats.iter().map(|seat| &seat.sink)
    }

    /// Seats a connection before its join is sent; `tag` is that of the join's fence. A connection
    /// that already has a seat keeps its state until that fence.
    pub fn enter(&mut self, sink: S, tag: String) {
        if let Some(seat) = self.seats.get_mut(sink.connection()) {
            seat.tag = tag;
            return;
        }
        if self.seats.is_empty() {
            // Catch-ups in progress were for connections that have left.
            *self = Self { readings: self.readings, ..Self::default() };
        }
        self.forget_removals();
        let stage = JoinStage::joining(Origin::Outside);
        self.seats.add(SeatState { sink, tag, cutoff: MessageId::ZERO, stage });
    }

    /// Takes a connection out. Returns its sink if it was seated.
    pub fn leave(&mut self, connection: &str) -> Option<S> {
        self.answered.remove(connection);
        Some(self.seats.remove(connection)?.sink)
    }

    /// Sends the answer to a connection's join, then the frames that were buffered since.
    pub fn answered(&mut self, connection: &str, answer: JoinAnswer) -> Answered {
        let last = self.last;
        self.secret = answer.secret;
        if self.is_evicted(connection) {
            return Answered::Gone;
        }
        let Some(seat) = self.seats.get_mut(connection) else { return Answered::Gone };
        if seat.given(last) > Some(answer.tip) {
            self.refused(connection);
            return Answered::Overtaken;
        }
        seat.cutoff = answer.tip;
        if let Some(text) = answer.joined {
            seat.sink.push(&Frame { kind: FrameKind::Other, text });
        }
        let tag = std::mem::take(&mut seat.tag);
        let answered = JoinStage::Answered { tag, heartbeat: answer.heartbeat };
        if let JoinStage::Joining { fenced, heard_from, early, .. } =
            std::mem::replace(&mut seat.stage, answered)
        {
            if heard_from > Some(answer.tip) {
                // Messages between the answer and the first fence were published before this node's
                // subscription was confirmed, so the connection may lack them.
                seat.sink.rejoin(answer.tip);
                seat.stage = JoinStage::joining(Origin::Gap);
                return Answered::Sent;
            }
            for frame in early.into_iter().filter(|frame| frame.is_after(answer.tip)) {
                seat.sink.push(&frame);
            }
            if fenced {
                seat.stage = JoinStage::Live;
                return Answered::Sent;
            }
        }
        self.answered.insert(seat.sink.connection().clone());
        Answered::Sent
    }

    /// A join was refused. Returns whether the connection is still in the room, because it was in it
    /// before; then it gets the frames that were buffered.
    pub fn refused(&mut self, connection: &str) -> bool {
        let Some(seat) = self.seats.get_mut(connection) else { return false };
        // The script may still run, but nobody waits for its fence any more.
        seat.tag.clear();
        match std::mem::replace(&mut seat.stage, JoinStage::Live) {
            JoinStage::Joining { from: Origin::Outside, .. } => {
                self.seats.remove(connection);
                false
            }
            JoinStage::Joining { from: Origin::Inside(_), early, .. } => {
                early.iter().for_each(|frame| seat.sink.push(frame));
                true
            }
            JoinStage::Joining { from: Origin::Gap, .. } => {
                seat.stage = JoinStage::joining(Origin::Gap);
                true
            }
            JoinStage::Joining { from: Origin::InsideWithGap(since), .. } => {
                seat.sink.rejoin(since);
                seat.stage = JoinStage::joining(Origin::Gap);
                true
            }
            stage => {
                seat.stage = stage;
                true
            }
        }
    }

    /// Whether a connection still has to join again.
    pub fn is_behind(&self, connection: &str) -> bool {
        let waits =
            |stage: &JoinStage| matches!(stage, JoinStage::Joining { from: Origin::Gap, .. });
        self.seats.get(connection).is_some_and(|seat| waits(&seat.stage))
    }

    /// Whether this message was already delivered to a connection, also in its snapshot: then the
    /// answer to its retry has to be sent separately.
    pub fn has_delivered(&self, connection: &str, id: MessageId) -> bool {
        let own = |seat: &SeatState<S>| id <= seat.cutoff;
        self.last >= Some(id) || self.seats.get(connection).is_some_and(own)
    }

    /// The number of events up to which the connections certainly missed none: a list of members
    /// may omit earlier changes.
    pub fn known_events(&self) -> u64 {
        self.known_events
    }

    /// The subscription was interrupted: events may have been lost.
    pub fn members_stale(&mut self) {
        if self.members == Members::Known {
            self.members = Members::Stale;
        }
    }

    /// A frame of the room's channel.
    pub fn frame(&mut self, frame: Frame) -> (Outcome, Actions) {
        if self.catch_up.is_none() {
            return self.take_frame(frame, false);
        }
        self.hold(Inbound::Frame(frame));
        (Outcome::Delivered(0), Actions::default())
    }

    /// A fence on this node's channel.
    pub fn fence(&mut self, fence: Fence) -> Actions {
        if let Tag::Heartbeat(number) = fence.tag {
            self.fenced = self.fenced.max(number);
        }
        if self.catch_up.is_none() {
            return self.take_fence(fence, false);
        }
        self.hold(Inbound::Fence(fence));
        Actions::default()
    }

    /// The whole truth about the room, on this node's channel.
    pub fn members(&mut self, events: u64, truth: Truth) {
        self.ended(&truth.removals);
        if self.catch_up.is_none() {
            return self.take_members(events, truth.frames);
        }
        self.hold(Inbound::Members(events, Truth { removals: Vec::new(), ..truth }));
    }

    /// A catch-up begins, or continues after its last page. Returns the message to read after, or
    /// `None` if the catch-up is obsolete.
    pub fn reading(&mut self, number: u64) -> Option<MessageId> {
        let catch_up = self.catch_up.as_mut().filter(|catch_up| catch_up.number == number)?;
        catch_up.covered = catch_up.backlog.len();
        self.last
    }

    /// A page of the stream. `last_page` says that it was the last one when it was read.
    pub fn caught_up(
        &mut self,
        number: u64,
        page: Vec<(MessageId, Bytes)>,
        last_page: bool,
    ) -> Actions {
        if !self.is_reading(number) {
            return Actions::default();
        }
        for (id, text) in page {
            if self.last.is_none_or(|last| id > last) {
                self.deliver(&Frame { kind: FrameKind::Message(id), text });
                self.last = Some(id);
            }
        }
        if last_page {
            self.release_backlog()
        } else {
            Actions { catch_up: Some(number), ..Actions::default() }
        }
    }

    /// The stream no longer holds the message after the last one delivered: every connection has to
    /// join again. Those that are joining already do.
    pub fn history_trimmed(&mut self, number: u64) -> Actions {
        if !self.is_reading(number) {
            return Actions::default();
        }
        let last = self.last.take();
        for seat in self.seats.iter_mut().filter(|seat| !seat.is_joining()) {
            let since = last.unwrap_or_default().max(seat.cutoff);
            let from = if seat.tag.is_empty() {
                seat.sink.rejoin(since);
                Origin::Gap
            } else {
                Origin::InsideWithGap(since)
            };
            seat.stage = JoinStage::joining(from);
        }
        if let Some(catch_up) = &mut self.catch_up {
            // Nothing was read, so the result contains no waiting frame.
            catch_up.covered = 0;
        }
        self.release_backlog()
    }

    /// A fence passes. It concerns the connections whose joins it is of, or those whose join was answered. Returns
    /// whether one of them may have missed events.
    fn pass(&mut self, fence: &Fence) -> bool {
        let mut may_have_missed = false;
        match &fence.tag {
            Tag::Joins(tags) => {
                for tag in tags {
                    let connection = tag.rsplit_once('.').map_or("", |(connection, _)| connection);
                    may_have_missed |= self.pass_one(connection, Passing::Join(tag));
                }
            }
            Tag::Heartbeat(number) => {
                let answered: Vec<_> = self.answered.iter().cloned().collect();
                for connection in answered {
                    may_have_missed |= self.pass_one(&connection, Passing::Heartbeat(*number));
                }
            }
        }
        may_have_missed
    }

    fn pass_one(&mut self, connection: &str, passing: Passing<'_>) -> bool {
        let last = self.last;
        let Some(seat) = self.seats.get_mut(connection) else {
            self.answered.remove(connection);
            return false;
        };
        let may_have_missed = seat.pass(passing, last);
        if !seat.is_answered() {
            self.answered.remove(connection);
        }
        may_have_missed
    }

    /// Keeps input until the stream is read. Excess input is dropped: a message leaves a gap, and
    /// after any other frame the members count as unknown.
    fn hold(&mut self, waiting: Inbound) {
        let Some(catch_up) = &mut self.catch_up else { return };
        if catch_up.backlog.len() < BACKLOG_MAX {
            catch_up.backlog.push_back(waiting);
        } else if !waiting.is_message() {
            self.members_stale();
        }
    }

    fn is_reading(&self, number: u64) -> bool {
        self.catch_up.as_ref().is_some_and(|catch_up| catch_up.number == number)
    }

    fn take_frame(&mut self, frame: Frame, covered: bool) -> (Outcome, Actions) {
        if let FrameKind::Deleted(id) = frame.kind
            && !covered
            && self.last.is_some_and(|last| id > last)
        {
            // With `DURABILITY`, a message is published after it was stored, and may be deleted before. In the
            // stream it has no text any more; once it was read there, its publication is stale.
            return (Outcome::Delivered(0), self.begin_catch_up(Some(Inbound::Frame(frame))));
        }
        let FrameKind::Message(id) = frame.kind else {
            return (self.take_event(&frame), Actions::default());
        };
        match self.last {
            Some(last) if chain::follows(&self.secret, last, id) => {
                self.last = Some(id);
                (Outcome::Delivered(self.deliver(&frame)), Actions::default())
            }
            Some(last) if id > last && covered => {
                // The stream was read after the frame arrived, and does not contain it.
                self.deliver(&Frame { kind: FrameKind::Other, text: frame.text });
                (Outcome::Foreign, Actions::default())
            }
            Some(last) if id > last => {
                (Outcome::Delivered(0), self.begin_catch_up(Some(Inbound::Frame(frame))))
            }
            _ => (Outcome::Stale, Actions::default()),
        }
    }

    fn take_event(&mut self, frame: &Frame) -> Outcome {
        match frame.kind {
            FrameKind::Event
            | FrameKind::Deleted(_)
            | FrameKind::Room
            | FrameKind::Removed
            | FrameKind::Members
                if self.members == Members::Listed =>
            {
                return Outcome::Delivered(0);
            }
            FrameKind::Event | FrameKind::Deleted(_) | FrameKind::Room | FrameKind::Removed
                if self.members != Members::Known =>
            {
                self.events += 1;
                self.members = Members::Unknown;
                return Outcome::Delivered(0);
            }
            FrameKind::Event | FrameKind::Deleted(_) | FrameKind::Room => self.events += 1,
            FrameKind::Removed => {
                self.events += 1;
                return Outcome::Delivered(0);
            }
            FrameKind::Members => {
                self.events += 1;
                self.members = Members::Known;
            }
            FrameKind::Message(_) | FrameKind::Other => {}
        }
        Outcome::Delivered(self.deliver(frame))
    }

    fn take_fence(&mut self, fence: Fence, covered: bool) -> Actions {
        if self.last.is_none() {
            self.begin(fence.tip);
        }
        if self.last.is_some_and(|last| fence.tip > last) && !covered {
            return self.begin_catch_up(Some(Inbound::Fence(fence)));
        }
        // The fence may be ahead if the entry was deleted since. It may be behind if the stream was
        // read while the fence was on its way, or if Redis lost delivered messages, which the next
        // message will show.
        self.last = self.last.max(Some(fence.tip));
        let heard = self.seats.iter().any(SeatState::hears_events);
        if heard && fence.events != self.events {
            self.members = Members::Unknown;
        }
        if !heard || matches!(self.members, Members::Stale | Members::Listed) {
            self.members = Members::Known;
        }
        self.events = fence.events;
        if self.pass(&fence) {
            self.members = Members::Unknown;
        }
        if self.members == Members::Known {
            self.known_events = self.events;
        }
        Actions { tell_members: self.members == Members::Unknown, ..Actions::default() }
    }

    /// The first fence sets the room's position. The feed begins there, or at an earlier answer's
    /// position; connections that are still joining may need the messages before it.
    fn begin(&mut self, tip: MessageId) {
        let answered = self.seats.iter().filter(|seat| !seat.is_joining()).map(|seat| seat.cutoff);
        let last = answered.min().map_or(tip, |cutoff| cutoff.min(tip));
        self.last = Some(last);
        for seat in self.seats.iter_mut() {
            if let JoinStage::Joining { heard_from, .. } = &mut seat.stage {
                *heard_from = Some(last);
            }
        }
    }

    fn take_members(&mut self, events: u64, text: Bytes) {
        (self.events, self.known_events) = (events, events);
        self.members = Members::Known;
        self.deliver(&Frame { kind: FrameKind::Members, text });
    }

    fn begin_catch_up(&mut self, first: Option<Inbound>) -> Actions {
        self.readings += 1;
        let number = self.readings;
        let backlog = first.into_iter().collect();
        self.catch_up = Some(CatchUp { number, backlog, covered: 0 });
        Actions { catch_up: Some(number), ..Actions::default() }
    }

    /// Processes the backlog. A frame that the catch-up did not include may reveal another gap;
    /// then the rest stays in the backlog.
    fn release_backlog(&mut self) -> Actions {
        let Some(CatchUp { mut backlog, mut covered, .. }) = self.catch_up.take() else {
            return Actions::default();
        };
        let mut all = Actions::default();
        while let Some(waiting) = backlog.pop_front() {
            let is_covered = covered > 0;
            covered = covered.saturating_sub(1);
            let actions = match waiting {
                Inbound::Frame(frame) => self.take_frame(frame, is_covered).1,
                Inbound::Fence(fence) => self.take_fence(fence, is_covered),
                Inbound::Members(events, truth) => {
                    self.take_members(events, truth.frames);
                    Actions::default()
                }
                Inbound::Removal(removal, frame) => {
                    self.removal(removal, frame);
                    Actions::default()
                }
            };
            all.tell_members |= actions.tell_members;
            if let Some(catch_up) = &mut self.catch_up {
                catch_up.backlog.append(&mut backlog);
                all.catch_up = actions.catch_up;
            }
        }
        all
    }

    /// Offers a frame to every seat. Returns how many got it at once.
    fn deliver(&mut self, frame: &Frame) -> usize {
        self.seats.iter_mut().map(|seat| usize::from(seat.offer(frame))).sum()
    }
}
