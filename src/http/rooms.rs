//! Rooms over HTTP: create, read and change one, get a session without a socket.

use axum::{extract::State, http::HeaderMap};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use validator::{Validate, ValidationError};

use super::{
    base_url::base_url,
    envelope::{Envelope, Nothing, Success},
    extract::{
        Bearer, Checked, Repeatable, RoomPath, carry_for, check_name, check_range, or_default,
        present, presented,
    },
    openapi::{Always, BadBody, NameTaken, NoGuests, NoSuchRoom, NotAllowed, Unproven},
};
use crate::{
    address::ClientIp,
    app::App,
    error::Error,
    limits::storage,
    message::timestamp,
    names::RoomId,
    room::{RoomChange, RoomOptions, RoomState, Rooms},
    settings::Settings,
};

/// The header that makes a request safe to repeat.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "a description; the extractor reads it")]
struct RequestKey {
    /// Makes a retry safe for ten minutes: the same key, call, room, body and client address get
    /// the same answer, and another body is refused with 400. Choose it at random for each request.
    #[param(
        rename = "Idempotency-Key",
        value_type = String,
        required = false,
        min_length = 16,
        max_length = 64,
        pattern = "^[!-~][ -~]*[!-~]$"
    )]
    key: Option<String>,
}

/// The request for a new room.
#[derive(Deserialize, Validate, ToSchema)]
#[serde(rename_all = "camelCase")]
#[validate(context = Settings)]
#[validate(schema(function = check_topic, use_context, skip_on_field_errors = false))]
pub struct NewRoom {
    /// The creator's name in the room; a JWT provides it instead.
    #[validate(required, custom(function = check_name, use_context))]
    #[schema(value_type = String, required = true, example = "홍길동")]
    creator_name: Option<String>,
    /// Whether the room is end-to-end encrypted.
    #[serde(default, deserialize_with = "or_default")]
    #[schema(value_type = Option<bool>)]
    e2e: bool,
    /// The room's topic; encrypted in an encrypted room. Null: none.
    #[schema(example = "Friday release")]
    topic: Option<String>,
    /// How many seconds it lives without activity. Null: the default.
    #[validate(custom(function = check_ttl, use_context))]
    #[schema(example = 86400)]
    ttl: Option<u64>,
    /// Its maximum number of members. Null: the default.
    #[validate(custom(function = check_members, use_context))]
    #[schema(example = 50)]
    max_members: Option<usize>,
    /// Whether it accepts no new users.
    #[serde(default, deserialize_with = "or_default")]
    #[schema(value_type = Option<bool>)]
    locked: bool,
}

/// Changes of a room by its creator. A field that is left out or null stays; a topic of null
/// removes it.
#[derive(Deserialize, Validate, ToSchema)]
#[serde(rename_all = "camelCase")]
#[validate(context = Settings)]
pub struct RoomPatch {
    /// Whether it accepts no new users.
    locked: Option<bool>,
    /// The room's topic, with the rules of `createRoom`. Null: none.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>, example = "Friday release")]
    topic: Option<Option<String>>,
    /// How many seconds it lives without activity.
    #[validate(custom(function = check_ttl, use_context))]
    #[schema(example = 86400)]
    ttl: Option<u64>,
    /// Its maximum number of members. A value below the present number removes nobody.
    #[validate(custom(function = check_members, use_context))]
    #[schema(example = 50)]
    max_members: Option<usize>,
}

/// Validator function for `ttl`.
fn check_ttl(ttl: u64, settings: &Settings) -> Result<(), ValidationError> {
    check_range(usize::try_from(ttl).unwrap_or(usize::MAX), settings.room_ttls())
}

/// Validator function for `maxMembers`.
fn check_members(max: usize, settings: &Settings) -> Result<(), ValidationError> {
    check_range(max, settings.room_sizes())
}

/// Validator function for a topic; an encrypted room has other rules.
fn check_topic(body: &NewRoom, settings: &Settings) -> Result<(), ValidationError> {
    let checked = body.topic.as_deref().map(|raw| Rooms::topic(settings, raw, body.e2e));
    checked.transpose().map(drop).map_err(|problem| carry_for("topic", problem))
}

/// A new room.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CreatedRoom {
    /// The room's id; everybody who knows it may join.
    #[schema(value_type = String, example = "k7M2x9Q4tW8b")]
    room_id: RoomId,
    /// The creator's token; null if the creator has a JWT.
    #[schema(required = true, example = "lr_7ZmN6ri464-Z.V1StGXR8_Z5jdHi6B-myT")]
    token: Option<String>,
    /// The link to share.
    #[schema(example = "https://rooms.example/r/k7M2x9Q4tW8b")]
    link: String,
}

/// Whether a room has members.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Activity {
    /// It has members.
    Active,
    /// It has none.
    Idle,
}

/// The present state of a room.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RoomData {
    /// The room's id.
    #[schema(value_type = String, example = "k7M2x9Q4tW8b")]
    room_id: RoomId,
    /// Whether it has members.
    status: Activity,
    /// The number of members.
    member_count: u64,
    /// Their names in code point order; in a large room only the first of them.
    members: Vec<String>,
    /// The creator's name.
    creator: String,
    /// Present and true while another user has that name.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    #[schema(required = false)]
    creator_name_taken: bool,
    /// When it was created: RFC 3339, UTC, milliseconds.
    created_at: String,
    /// How long it lives without activity, in seconds.
    ttl: u64,
    /// Its maximum number of members.
    max_members: usize,
    /// Whether it refuses new guests.
    locked: bool,
    /// Its topic; null without one.
    #[schema(required = true)]
    topic: Option<String>,
    /// Present and true if texts are end-to-end encrypted.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    #[schema(required = false)]
    e2e: bool,
    /// Number of banned addresses; only for the room's creator.
    #[serde(skip_serializing_if = "Option::is_none")]
    bans: Option<usize>,
}

impl RoomData {
    fn new(settings: &Settings, room_id: RoomId, state: RoomState) -> Self {
        let facts = state.facts;
        let ttl = facts.options.ttl.unwrap_or(settings.room_ttl.as_secs());
        let max = settings.room_max_members;
        Self {
            room_id,
            status: if state.member_count == 0 { Activity::Idle } else { Activity::Active },
            member_count: state.member_count,
            members: state.members,
            creator: facts.creator,
            creator_name_taken: facts.creator_name_taken,
            created_at: timestamp(facts.created_at_ms),
            ttl,
            max_members: facts.options.max_members.map_or(max, |chosen| chosen.min(max)),
            locked: facts.options.locked,
            topic: facts.options.topic,
            e2e: facts.options.e2e,
            bans: state.bans,
        }
    }
}

/// A request for a session without a socket.
#[derive(Deserialize, Validate, ToSchema)]
#[validate(context = Settings)]
pub struct NewSession {
    /// The name in the room; a JWT provides it instead.
    #[validate(required, custom(function = check_name, use_context))]
    #[schema(value_type = String, required = true, example = "deploy-bot")]
    name: Option<String>,
}

/// A new session.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CreatedSession {
    /// The name as stored: trimmed and NFC.
    #[schema(example = "deploy-bot")]
    user_id: String,
    /// The user's token; null if the user has a JWT.
    #[schema(required = true, example = "lr_ZGVwbG95LWJvdA.V1StGXR8_Z5jdHi6B-myT")]
    token: Option<String>,
}

/// Make a room
///
/// The creator is a member, online for one presence TTL, until it connects. With a JWT for all rooms (`room` is `*`)
/// the creator is the JWT's user, and `creatorName` is not needed. If guests are not allowed, a JWT is required.
#[utoipa::path(
    post,
    path = "/api/rooms",
    operation_id = "createRoom",
    tag = "rooms",
    params(RequestKey),
    request_body = NewRoom,
    security((), ("token" = [])),
    responses(
        (status = 201, description = "The room", body = Envelope<CreatedRoom>),
        BadBody,
        Unproven,
        NoGuests,
        Always
    )
)]
pub async fn create(
    State(app): State<App>,
    headers: HeaderMap,
    ClientIp(ip): ClientIp,
    Repeatable(body, once): Repeatable<NewRoom>,
) -> Result<Success<CreatedRoom>, Error> {
    app.charge(ip, storage::ROOM + storage::topic(body.topic.as_deref()))?;
    let name = body.creator_name.unwrap_or_default();
    let creator = app.rooms.new_creator(presented(&headers).as_deref(), &name).await?;
    let NewRoom { e2e, topic, locked, ttl, max_members, .. } = body;
    let options = RoomOptions { e2e, topic, locked, ttl, max_members };
    let made = app.rooms.create(creator, options, ip, once.as_ref()).await?;
    Ok(Success::Created(CreatedRoom {
        link: format!("{}/r/{}", base_url(&app.settings, &headers), made.room),
        token: made.token.secret().map(str::to_owned),
        room_id: made.room,
    }))
}

/// Look at a room
///
/// With the creator's token, the answer includes the number of banned addresses.
#[utoipa::path(
    get,
    path = "/api/rooms/{id}",
    operation_id = "getRoom",
    tag = "rooms",
    params(("id" = String, Path, description = "The room")),
    security((), ("token" = [])),
    responses(
        (status = 200, description = "The room", body = Envelope<RoomData>),
        Unproven,
        NoSuchRoom,
        Always
    )
)]
pub async fn look(
    State(app): State<App>,
    RoomPath(room): RoomPath,
    headers: HeaderMap,
) -> Result<Success<RoomData>, Error> {
    let state = app.rooms.look(&room, presented(&headers).as_deref()).await?;
    Ok(Success::Found(RoomData::new(&app.settings, room, state)))
}

/// Change a room
///
/// Needs the creator's token. A locked room accepts no new guests and no new sessions; users with a
/// session may leave and join again.
#[utoipa::path(
    patch,
    path = "/api/rooms/{id}",
    operation_id = "updateRoom",
    tag = "rooms",
    params(("id" = String, Path, description = "The room")),
    request_body = RoomPatch,
    security(("token" = [])),
    responses(
        (status = 200, description = "The room as it is now", body = Envelope<RoomData>),
        BadBody,
        Unproven,
        NotAllowed,
        NameTaken,
        NoSuchRoom,
        Always
    )
)]
pub async fn update(
    State(app): State<App>,
    RoomPath(room): RoomPath,
    Bearer(caller): Bearer,
    Checked(body): Checked<RoomPatch>,
) -> Result<Success<RoomData>, Error> {
    let RoomPatch { locked, topic, ttl, max_members } = body;
    app.charge(caller.address, storage::topic(topic.as_ref().and_then(Option::as_deref)))?;
    let change = RoomChange { locked, topic, ttl, max_members };
    let state = app.rooms.update(&room, &caller, change).await?;
    Ok(Success::Found(RoomData::new(&app.settings, room, state)))
}

/// End a room
///
/// With the creator's token. The room and all its data are deleted at once, for everybody.
#[utoipa::path(
    delete,
    path = "/api/rooms/{id}",
    operation_id = "deleteRoom",
    tag = "rooms",
    params(("id" = String, Path, description = "The room")),
    security(("token" = [])),
    responses(
        (status = 200, description = "It is gone", body = Envelope<Nothing>),
        Unproven,
        NotAllowed,
        NameTaken,
        NoSuchRoom,
        Always
    )
)]
pub async fn close(
    State(app): State<App>,
    RoomPath(room): RoomPath,
    Bearer(caller): Bearer,
) -> Result<Success<Nothing>, Error> {
    let rooms = app.rooms.clone();
    // Not given up where the client is gone.
    let closes = app.tasks.spawn(async move { rooms.close(&room, &caller).await });
    closes.await.map_err(|_| Error::internal("closing a room failed"))??;
    Ok(Success::Found(Nothing))
}

/// Get a session without a socket
///
/// For bots and scripts: a guest that may post messages, but is not a member until it joins. With a JWT the session
/// is that of the JWT's user, and `name` is not needed. If guests are not allowed, a JWT is required.
#[utoipa::path(
    post,
    path = "/api/rooms/{id}/sessions",
    operation_id = "createSession",
    tag = "rooms",
    params(("id" = String, Path, description = "The room"), RequestKey),
    request_body = NewSession,
    security((), ("token" = [])),
    responses(
        (status = 201, description = "The session", body = Envelope<CreatedSession>),
        BadBody,
        Unproven,
        NoSuchRoom,
        NameTaken,
        NotAllowed,
        Always
    )
)]
pub async fn add_session(
    State(app): State<App>,
    RoomPath(room): RoomPath,
    headers: HeaderMap,
    ClientIp(ip): ClientIp,
    Repeatable(body, once): Repeatable<NewSession>,
) -> Result<Success<CreatedSession>, Error> {
    app.charge(ip, storage::SESSION)?;
    let (token, name) = (presented(&headers), body.name.unwrap_or_default());
    let added = app.rooms.add_session(&room, token.as_deref(), &name, ip, once.as_ref()).await?;
    Ok(Success::Created(CreatedSession {
        user_id: added.user.as_str().to_owned(),
        token: added.token.secret().map(str::to_owned),
    }))
}
