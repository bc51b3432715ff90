//! Sending messages: from frames to drafts, and the answers.

use std::{collections::VecDeque, iter, sync::Arc};

use super::{Client, Echo, Joined, Request};
use crate::{
    error::{Code, Error},
    fanout::{BATCH_MAX, all_failed},
    limits::{Limit, storage},
    message::Message,
    protocol::{ClientFrame, Msg},
    redis::scripts::{Draft, Published, Sender},
};

/// Takes the messages that wait directly after `first` and go to the same room, for one batch.
pub(super) fn take_batch(first: &Msg, pending: &mut VecDeque<Request>) -> Vec<Msg> {
    let goes_with = |next: &Request| match next {
        Request::Frame(ClientFrame::Msg(next)) => next.room_id == first.room_id,
        _ => false,
    };
    let fits = pending.iter().take(BATCH_MAX - 1).take_while(|next| goes_with(next));
    let more = pending.drain(..fits.count()).filter_map(|next| match next {
        Request::Frame(ClientFrame::Msg(msg)) => Some(msg),
        _ => None,
    });
    more.collect()
}

impl Client {
    /// Sends these messages to one room, in their order. Errors are answered.
    pub(super) async fn publish(&self, first: Msg, more: Vec<Msg>) {
        let joined = self.joined(first.room_id.as_deref());
        let (mut run, mut echoes) = (Vec::new(), Vec::new());
        for msg in iter::once(first).chain(more) {
            let echo = msg.echo();
            match joined.as_ref().map_err(Error::clone).and_then(|room| self.draft(room, msg)) {
                Ok(draft) => {
                    run.push(draft);
                    echoes.push(echo);
                }
                Err(error) => self.answer_error(&error, &echo),
            }
        }
        let Ok(joined) = joined else { return };
        if run.is_empty() {
            return;
        }
        let run: Arc<[Draft]> = run.into();
        let outcomes = self.store(&joined, &run).await;
        for ((draft, echo), outcome) in run.iter().zip(&echoes).zip(outcomes) {
            match outcome {
                Ok(published) => self.published(&joined, draft, published),
                Err(error) => self.publish_failed(&error, echo),
            }
        }
    }

    fn draft(&self, joined: &Joined, msg: Msg) -> Result<Draft, Error> {
        let (id, confirmed) = (self.outbox.id().clone(), joined.membership.is_unreported());
        let user = joined.membership.user.clone();
        self.app.charge(self.ip, storage::message(&msg.text, msg.key.as_deref()))?;
        self.app.rooms.draft(user, Sender::Connection { id, confirmed }, msg.text, msg.key)
    }

    /// Stores the messages. If Redis does not know the connection, it is reported first and the
    /// messages are sent again; the first call stored none of them, because one script stores them
    /// all.
    async fn store(&self, joined: &Joined, run: &Arc<[Draft]>) -> Vec<Result<Published, Error>> {
        let outcomes = joined.local.publish(run.clone()).await;
        if !outcomes.iter().all(is_forgotten) {
            return outcomes;
        }
        match self.app.heartbeat.report(&joined.local, &self.seat(joined), false).await {
            Ok(()) => joined.local.publish(run.clone()).await,
            Err(error) => all_failed(run.len(), &error),
        }
    }

    fn published(&self, joined: &Joined, draft: &Draft, published: Published) {
        self.app.metrics.messages.inc();
        if matches!(draft.sender, Sender::Connection { confirmed: true, .. }) {
            joined.membership.confirmation_reported();
        }
        let (Published::Stored(id) | Published::Repeat { id, .. } | Published::Deleted(id)) =
            published;
        *joined.membership.last_sent.lock() = Some(id);
        self.app.fanout.stored(&joined.local, id);
        let text = match published {
            Published::Stored(_) => return,
            Published::Repeat { text, .. } => Some(text),
            Published::Deleted(_) => None,
        };
        let (room, user) = (&joined.local.id, draft.user.to_string());
        let message = Message::new(room, id, user, text, draft.key.clone());
        joined.local.answer_repeat(&self.outbox, &message);
    }

    fn publish_failed(&self, error: &Error, echo: &Echo) {
        if error.code == Code::RateLimited {
            self.app.metrics.turned_away(Limit::Messages);
        }
        self.answer_error(error, echo);
    }
}

fn is_forgotten(outcome: &Result<Published, Error>) -> bool {
    matches!(outcome, Err(error) if matches!(error.code, Code::NotInRoom | Code::RoomNotFound))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_in_a_row_in_one_room_goes_together() {
        let msg = |room: &str, text: usize| Msg {
            room_id: Some(room.to_owned()),
            text: text.to_string(),
            key: None,
        };
        let texts = |more: Vec<Msg>| more.into_iter().map(|msg| msg.text).collect::<Vec<_>>();
        let frame = |room, text| Request::Frame(ClientFrame::Msg(msg(room, text)));
        let mut pending = VecDeque::from([frame("a", 1), frame("a", 2), frame("b", 3)]);
        pending.push_back(frame("a", 4));
        assert_eq!(texts(take_batch(&msg("a", 0), &mut pending)), ["1", "2"]);
        assert_eq!(texts(take_batch(&msg("a", 0), &mut pending)), [""; 0]);
        assert_eq!(pending.len(), 2);

        let leave = Request::Frame(ClientFrame::Leave { room_id: Some("a".to_owned()) });
        let mut pending = VecDeque::from([leave, frame("a", 1)]);
        assert_eq!(texts(take_batch(&msg("a", 0), &mut pending)), [""; 0]);

        let mut pending: VecDeque<_> = (1..100).map(|text| frame("a", text)).collect();
        assert_eq!(take_batch(&msg("a", 0), &mut pending).len(), BATCH_MAX - 1);
        assert_eq!(pending.len(), 99 - (BATCH_MAX - 1));
    }
}
