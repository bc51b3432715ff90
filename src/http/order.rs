//! Moderation over HTTP: remove a user, ban, lift bans.

use axum::extract::{Query, State};
use serde::Deserialize;
use utoipa::IntoParams;

use super::{
    envelope::{Envelope, Nothing, Success},
    extract::{Bearer, MemberPath, RoomPath},
    openapi::{Always, BadQuery, NameTaken, NoSuchRoom, NoSuchUser, NotAllowed, Unproven},
};
use crate::{app::App, error::Error, limits::storage, problem::Problem};

/// The query parameters of a removal.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct RemovalQuery {
    /// Whether to ban the addresses of the user's connections: no new users may join from them.
    #[param(value_type = Option<bool>)]
    ban: Option<String>,
}

impl RemovalQuery {
    fn bans(&self) -> Result<bool, Error> {
        match self.ban.as_deref() {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(_) => Err(Error::invalid("ban", Problem::WrongType)),
        }
    }
}

/// Remove a user
///
/// With the token of the room's creator, or of the user itself, which cannot ban. The user's sessions end, its
/// connections leave the room, and the name is free.
#[utoipa::path(
    delete,
    path = "/api/rooms/{id}/members/{name}",
    operation_id = "removeMember",
    tag = "rooms",
    params(
        ("id" = String, Path, description = "The room"),
        ("name" = String, Path, description = "The user's name"),
        RemovalQuery
    ),
    security(("token" = [])),
    responses(
        (status = 200, description = "The user is removed", body = Envelope<Nothing>),
        BadQuery,
        Unproven,
        NotAllowed,
        NameTaken,
        NoSuchUser,
        Always
    )
)]
pub async fn remove(
    State(app): State<App>,
    MemberPath(room, name): MemberPath,
    Bearer(caller): Bearer,
    Query(query): Query<RemovalQuery>,
) -> Result<Success<Nothing>, Error> {
    let bans = query.bans()?;
    app.charge(caller.address, storage::REMOVAL)?;
    if let Some(wait) = app.rooms.remove_user(&room, &caller, &name, bans).await? {
        app.fanout.sweep_after(&room, wait);
    }
    Ok(Success::Found(Nothing))
}

/// Lift the bans
///
/// With the creator's token. Users from a banned address may join again.
#[utoipa::path(
    delete,
    path = "/api/rooms/{id}/bans",
    operation_id = "liftBans",
    tag = "rooms",
    params(("id" = String, Path, description = "The room")),
    security(("token" = [])),
    responses(
        (status = 200, description = "Nobody is banned", body = Envelope<Nothing>),
        Unproven,
        NotAllowed,
        NameTaken,
        NoSuchRoom,
        Always
    )
)]
pub async fn lift_bans(
    State(app): State<App>,
    RoomPath(room): RoomPath,
    Bearer(caller): Bearer,
) -> Result<Success<Nothing>, Error> {
    app.rooms.lift_bans(&room, &caller).await?;
    Ok(Success::Found(Nothing))
}
