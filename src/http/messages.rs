//! Messages over HTTP: page through a room's history, post as a session.

use std::collections::BTreeMap;

use axum::extract::{Query, State};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use validator::Validate;

use super::{
    envelope::{Envelope, Nothing, Success},
    extract::{Bearer, Checked, MessagePath, RoomPath, RoomReader, check_key, check_text},
    openapi::{
        Always, BadBody, BadQuery, NameTaken, NoSuchMessage, NoSuchRoom, NotAllowed, Unproven,
    },
};
use crate::{
    app::App,
    error::{Code, Error},
    limits::storage,
    message::Message,
    names::MessageId,
    problem::Problem,
    room::{MessagePage, Page},
    settings::Settings,
};

/// The query parameters of a page.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub struct PageQuery {
    /// The page that ends before this message; without it the newest page.
    #[param(example = "1763683200123-0")]
    before: Option<String>,
    /// The page that begins after this message; not together with `before`.
    #[param(example = "1763683200123-0")]
    after: Option<String>,
    /// Maximum number of messages.
    #[param(value_type = Option<u32>, minimum = 1, example = 50)]
    limit: Option<String>,
}

/// The query parameters; of a duplicate one value counts.
type Parameters = BTreeMap<String, String>;

impl From<Parameters> for PageQuery {
    fn from(mut given: Parameters) -> Self {
        let mut take = |name| given.remove(name);
        Self { before: take("before"), after: take("after"), limit: take("limit") }
    }
}

impl PageQuery {
    /// The page and its size, or all problems of the query.
    fn read(self, settings: &Settings) -> Result<(Page, usize), Error> {
        let limit = limit(self.limit.as_deref(), settings);
        let before = self.before.as_deref().map(str::parse::<MessageId>).transpose();
        let after = self.after.as_deref().map(str::parse::<MessageId>).transpose();
        match (before, after, limit) {
            (Ok(Some(_)), Ok(Some(_)), _) => Err(Error::invalid("before", Problem::BeforeAndAfter)),
            (Ok(None), Ok(Some(after)), Ok(limit)) => Ok((Page::After(after), limit)),
            (Ok(before), Ok(None), Ok(limit)) => Ok((Page::Before(before), limit)),
            (before, after, limit) => {
                let wrong =
                    [("before", before.err()), ("after", after.err()), ("limit", limit.err())];
                let wrong = wrong.into_iter().filter_map(|(field, p)| Some((field.into(), p?)));
                let problems = BTreeMap::from_iter(wrong);
                Err(Error { problems, ..Code::ValidationFailed.into() })
            }
        }
    }
}

fn limit(raw: Option<&str>, settings: &Settings) -> Result<usize, Problem> {
    let max = settings.page_max;
    let Some(raw) = raw else { return Ok(settings.page_size.min(max)) };
    let wanted = raw.parse().ok().filter(|limit| (1..=max).contains(limit));
    wanted.ok_or(Problem::OutOfRange { min: 1, max })
}

/// One page of a room's history, oldest first.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct History {
    /// The messages, oldest first.
    messages: Vec<Message>,
    /// Whether there are more in the direction of paging.
    has_more: bool,
    /// The value of `before` (or `after`) for the next page; null if there is none.
    #[schema(value_type = Option<String>, required = true, example = "1763683200123-0")]
    next_cursor: Option<MessageId>,
}

impl History {
    fn new(page: MessagePage, towards_newer: bool) -> Self {
        let edge = if towards_newer { page.messages.last() } else { page.messages.first() };
        let next_cursor = edge.map(|message| message.id).filter(|_| page.has_more);
        Self { messages: page.messages, has_more: page.has_more, next_cursor }
    }
}

/// A message to post.
#[derive(Deserialize, Validate, ToSchema)]
#[validate(context = Settings)]
pub struct NewMessage {
    /// The text.
    #[validate(required, custom(function = check_text, use_context))]
    #[schema(value_type = String, required = true, example = "Deployed.")]
    text: Option<String>,
    /// Makes a retry safe: the same user and key is one message.
    #[validate(custom(function = check_key, use_context))]
    key: Option<String>,
}

/// Read a room's history
///
/// The newest page first; `before` with `nextCursor` returns the page before it. With `after` the
/// pages go the other way. In a locked room, and from a banned address, this needs the token of a session.
#[utoipa::path(
    get,
    path = "/api/rooms/{id}/messages",
    operation_id = "getMessages",
    tag = "messages",
    params(("id" = String, Path, description = "The room"), PageQuery),
    security((), ("token" = [])),
    responses(
        (status = 200, description = "One page", body = Envelope<History>),
        BadQuery,
        Unproven,
        NoSuchRoom,
        Always
    )
)]
pub async fn page(
    State(app): State<App>,
    RoomPath(room): RoomPath,
    RoomReader(reader): RoomReader,
    Query(query): Query<Parameters>,
) -> Result<Success<History>, Error> {
    let (page, limit) = PageQuery::from(query).read(&app.settings)?;
    let towards_newer = matches!(page, Page::After(_));
    let found = app.rooms.page(&room, &reader, page, limit).await?;
    Ok(Success::Found(History::new(found, towards_newer)))
}

/// Post a message
///
/// Needs the token of a live session; its user need not be a member.
#[utoipa::path(
    post,
    path = "/api/rooms/{id}/messages",
    operation_id = "postMessage",
    tag = "messages",
    params(("id" = String, Path, description = "The room")),
    request_body = NewMessage,
    security(("token" = [])),
    responses(
        (status = 201, description = "The message as it was stored", body = Envelope<Message>),
        BadBody,
        Unproven,
        NotAllowed,
        NameTaken,
        NoSuchRoom,
        Always
    )
)]
pub async fn post(
    State(app): State<App>,
    RoomPath(room): RoomPath,
    Bearer(caller): Bearer,
    Checked(body): Checked<NewMessage>,
) -> Result<Success<Message>, Error> {
    let text = body.text.unwrap_or_default();
    app.charge(caller.address, storage::message(&text, body.key.as_deref()))?;
    let message = app.rooms.post_as(&room, &caller, text, body.key).await?;
    app.metrics.messages.inc();
    if let Some(local) = app.fanout.find(&room) {
        app.fanout.stored(&local, message.id);
    }
    Ok(Success::Created(message))
}

/// Delete a message
///
/// With the token of the author's session, or of the room's creator. The text is deleted at once. The message
/// stays in its place, marked `deleted`, so order, cursors and counts do not change.
#[utoipa::path(
    delete,
    path = "/api/rooms/{id}/messages/{messageId}",
    operation_id = "deleteMessage",
    tag = "messages",
    params(
        ("id" = String, Path, description = "The room"),
        ("messageId" = String, Path, description = "The message")
    ),
    security(("token" = [])),
    responses(
        (status = 200, description = "It is deleted", body = Envelope<Nothing>),
        Unproven,
        NotAllowed,
        NameTaken,
        NoSuchMessage,
        Always
    )
)]
pub async fn delete(
    State(app): State<App>,
    MessagePath(room, id): MessagePath,
    Bearer(caller): Bearer,
) -> Result<Success<Nothing>, Error> {
    app.rooms.delete_message(&room, &caller, id).await?;
    Ok(Success::Found(Nothing))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> Settings {
        Settings::read(["linkroom", "--page-max=100"].map(Into::into)).unwrap()
    }

    fn read(query: &[(&str, &str)]) -> Result<(Page, usize), Error> {
        let given = query.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        PageQuery::from(Parameters::from_iter(given)).read(&settings())
    }

    #[test]
    fn pages_that_can_be_wanted() {
        let id = MessageId { ms: 7, seq: 1 };
        assert!(matches!(read(&[]), Ok((Page::Before(None), 50))));
        assert!(matches!(read(&[("limit", "100")]), Ok((Page::Before(None), 100))));
        assert!(matches!(read(&[("before", "7-1")]), Ok((Page::Before(Some(at)), _)) if at == id));
        assert!(matches!(read(&[("after", "7-1")]), Ok((Page::After(at), _)) if at == id));
    }

    #[test]
    fn everything_wrong_with_a_query_is_named() {
        let range = Problem::OutOfRange { min: 1, max: 100 };
        for limit in ["0", "101", "-1", "ten", "", "99999999999999999999"] {
            let error = read(&[("limit", limit)]).err().unwrap();
            assert_eq!(error.problems, BTreeMap::from([("limit".into(), range)]), "{limit}");
        }
        let both = read(&[("before", "1-1"), ("after", "1-1")]).err().unwrap();
        assert_eq!(both.problems, BTreeMap::from([("before".into(), Problem::BeforeAndAfter)]));
        let three = read(&[("before", "x"), ("after", ""), ("limit", "0")]).err().unwrap();
        assert_eq!(three.problems.len(), 3);
    }

    #[test]
    fn the_next_cursor_is_the_edge_that_was_reached() {
        let page = |has_more| {
            let room = crate::names::RoomId::random();
            let message = |ms| {
                Message::new(&room, MessageId { ms, seq: 0 }, "a".into(), Some("b".into()), None)
            };
            MessagePage { messages: vec![message(1), message(2)], has_more }
        };
        let cursor =
            |has_more, newer| History::new(page(has_more), newer).next_cursor.map(|id| id.ms);
        assert_eq!(cursor(true, false), Some(1));
        assert_eq!(cursor(true, true), Some(2));
        assert_eq!(cursor(false, true), None);
    }
}
