//! The members of a room over HTTP, in pages by name.

use std::collections::BTreeMap;

use axum::extract::{Query, State};
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use super::{
    envelope::{Envelope, Success},
    extract::{RoomPath, RoomReader},
    openapi::{Always, BadQuery, NoSuchRoom, Unproven},
};
use crate::{
    app::App,
    error::Error,
    message::timestamp,
    names::{MessageId, Status},
    problem::Problem,
    room::Member,
};

/// Maximum members of a page: as many as one call of a script can look up.
pub const PAGE_MAX: usize = 1000;

/// The query parameters that select a page of members.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub struct MembersQuery {
    /// The page begins after this name, even if no member has it; without it, with the first name.
    #[param(example = "홍길동")]
    after: Option<String>,
    /// Maximum number of members. A full page may have more after it.
    #[param(value_type = Option<u32>, minimum = 1, example = 200)]
    limit: Option<String>,
}

impl From<BTreeMap<String, String>> for MembersQuery {
    fn from(mut given: BTreeMap<String, String>) -> Self {
        Self { after: given.remove("after"), limit: given.remove("limit") }
    }
}

/// The number of members wanted; by default as many as a list of them has.
fn limit(raw: Option<&str>, roster_max: usize) -> Result<usize, Error> {
    let Some(raw) = raw else { return Ok(roster_max) };
    let wanted = raw.parse().ok().filter(|limit| (1..=PAGE_MAX).contains(limit));
    wanted.ok_or_else(|| Error::invalid("limit", Problem::OutOfRange { min: 1, max: PAGE_MAX }))
}

/// A user who is in a room now.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct MemberData {
    /// The user's name in the room.
    #[schema(example = "홍길동")]
    user_id: String,
    /// Whether the user is looking.
    status: Status,
    /// When the user joined: RFC 3339, UTC, milliseconds.
    joined_at: String,
    /// The last message that the user has read; null when it has read none.
    #[schema(value_type = Option<String>, required = true, example = "1763683200123-0")]
    read: Option<MessageId>,
}

impl From<Member> for MemberData {
    fn from(member: Member) -> Self {
        Self {
            user_id: member.user,
            status: member.status,
            joined_at: timestamp(member.joined_at_ms),
            read: member.read,
        }
    }
}

/// See who is in a room
///
/// By name, in code point order. `after` with the last name of a page returns the next page. In a locked room, and
/// from a banned address, this needs the token of a session.
#[utoipa::path(
    get,
    path = "/api/rooms/{id}/members",
    operation_id = "getMembers",
    tag = "rooms",
    params(("id" = String, Path, description = "The room"), MembersQuery),
    security((), ("token" = [])),
    responses(
        (status = 200, description = "Its members", body = Envelope<Vec<MemberData>>),
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
    Query(query): Query<BTreeMap<String, String>>,
) -> Result<Success<Vec<MemberData>>, Error> {
    let MembersQuery { after, limit: wanted } = query.into();
    let limit = limit(wanted.as_deref(), app.settings.roster_max)?;
    let members =
        app.rooms.members(&room, &reader, after.as_deref().unwrap_or_default(), limit).await?;
    Ok(Success::Found(members.into_iter().map(MemberData::from).collect()))
}
