//! The live tail: the events of a room as Server-Sent Events, for clients that only listen.
//!
//! It has a seat in the room's feed and an outbox with the same limits as any connection; it has no
//! session and is not a member.

mod listener;

use std::collections::BTreeMap;

use axum::{
    body::{Body, Bytes},
    extract::{Query, Request, State},
    http::{HeaderMap, Method, header},
    response::{IntoResponse, Response},
};
use futures_util::stream;
use utoipa::IntoParams;

use super::{
    envelope,
    extract::{RoomPath, RoomReader},
    openapi::{Always, BadQuery, NoSuchRoom, Unproven},
};
use crate::{
    app::App,
    error::Error,
    limits::Limit,
    names::MessageId,
    outbox::{CutOff, Outbox},
    slots::Slot,
};
use listener::Listener;

/// The header with which a browser's `EventSource` resumes.
const LAST_EVENT_ID: &str = "last-event-id";

/// The position to begin at, as a query parameter.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "a description; the handler reads it")]
struct Since {
    /// The last message seen: begin with the messages after it. Without it, begin with the events
    /// from now on.
    #[param(example = "1763683200123-0")]
    since: Option<String>,
}

/// The same as a header, which has precedence.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "a description; the handler reads it")]
struct LastEventId {
    /// As `since`; a browser's `EventSource` sends it by itself.
    #[param(rename = "Last-Event-ID", value_type = String, required = false)]
    id: Option<String>,
}

/// Hear a room live
///
/// Server-Sent Events: all events that a member gets, each as `event: T` and `data:` the frame of
/// the WebSocket; a message has its id. A listener needs no token and is not a member. `gap` means
/// that messages are missing because they are no longer stored. In a locked room, and from a banned
/// address, listening needs the token of a session. The last event of a room that its creator
/// deleted is `removed`.
#[utoipa::path(
    get,
    path = "/api/rooms/{id}/events",
    operation_id = "getEvents",
    tag = "messages",
    params(("id" = String, Path, description = "The room"), Since, LastEventId),
    security((), ("token" = [])),
    responses(
        (status = 200, description = "Events, without end", body = String, content_type = "text/event-stream"),
        BadQuery,
        Unproven,
        NoSuchRoom,
        Always
    )
)]
pub async fn listen(
    State(app): State<App>,
    RoomPath(room): RoomPath,
    RoomReader(reader): RoomReader,
    Query(mut query): Query<BTreeMap<String, String>>,
    mut request: Request,
) -> Result<Response, Error> {
    let since = since(request.headers(), query.remove("since"))?;
    if request.method() == Method::HEAD {
        app.rooms.may_listen(&room, &reader).await?;
        // A stream, as for `GET`, so that the answer has no `Content-Length`.
        return Ok(answer(Body::from_stream(stream::empty::<Result<Bytes, CutOff>>())));
    }
    if app.drain.is_cancelled() {
        return Err(Error::unavailable("the node leaves"));
    }
    let slot = request.extensions_mut().remove::<Slot>();
    if slot.as_ref().is_some_and(|slot| slot.is_reserve) {
        app.metrics.turned_away(Limit::Files);
        return Err(Error::unavailable("no more files may be open"));
    }
    let full = |_: &Error| app.metrics.turned_away(Limit::Connections);
    let permit = app.limits.open_connection(reader.address).inspect_err(full)?;
    let language = envelope::language(request.headers());
    let mut listener = Listener::new(&app, room, reader, language, since);
    listener.take_seat().await?;
    let (outbox, cut) = (listener.outbox(), request.extensions_mut().remove());
    let gone = listener.gone().drop_guard();
    app.tasks.spawn(async move {
        listener.run(cut).await;
        drop((permit, slot));
    });
    let events = stream::try_unfold((outbox, gone), async |(outbox, gone)| {
        let taken = Outbox::taken(&outbox).await?;
        Ok::<_, CutOff>(taken.map(|events| (events, (outbox, gone))))
    });
    Ok(answer(Body::from_stream(events)))
}

fn answer(body: Body) -> Response {
    let headers = [
        (header::CONTENT_TYPE.as_str(), "text/event-stream"),
        // Without this, nginx buffers events.
        ("x-accel-buffering", "no"),
    ];
    (headers, body).into_response()
}

/// The position to begin at. The header has precedence, because an `EventSource` reconnects to its
/// original URL.
fn since(headers: &HeaderMap, query: Option<String>) -> Result<Option<MessageId>, Error> {
    let header = headers.get(LAST_EVENT_ID).map(|value| value.to_str().unwrap_or("?"));
    let (field, raw) = match header.filter(|value| !value.is_empty()) {
        Some(id) => (LAST_EVENT_ID, id),
        None => ("since", query.as_deref().unwrap_or_default()),
    };
    if raw.is_empty() && (field != "since" || query.is_none()) {
        return Ok(None);
    }
    raw.parse().map(Some).map_err(|problem| Error::invalid(field, problem))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::problem::Problem;

    #[test]
    fn the_header_wins_and_what_is_no_id_is_named() {
        let read = |header: Option<&str>, query: Option<&str>| {
            let mut headers = HeaderMap::new();
            header.map(|id| headers.insert(LAST_EVENT_ID, id.parse().unwrap()));
            since(&headers, query.map(str::to_owned)).map_err(|error| error.problems)
        };
        let (seven, eight) = (MessageId { ms: 7, seq: 0 }, MessageId { ms: 8, seq: 0 });
        let wrong = |field: &'static str| Err([(field.into(), Problem::NotAMessageId)].into());
        assert_eq!(read(None, None), Ok(None));
        assert_eq!(read(Some(""), None), Ok(None));
        assert_eq!(read(None, Some("7-0")), Ok(Some(seven)));
        assert_eq!(read(Some(""), Some("7-0")), Ok(Some(seven)));
        assert_eq!(read(Some("8-0"), Some("7-0")), Ok(Some(eight)));
        assert_eq!(read(Some("8-0"), Some("x")), Ok(Some(eight)));
        assert_eq!(read(Some("x"), Some("7-0")), wrong(LAST_EVENT_ID));
        for query in ["", "x", "-1", "7-0 "] {
            assert_eq!(read(None, Some(query)), wrong("since"), "{query}");
        }
    }
}
