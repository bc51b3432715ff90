//! Web Push over HTTP: the key to subscribe with, and the subscription of a user's browser.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use validator::Validate;

use super::{
    envelope::{Envelope, Nothing, Success},
    extract::{Bearer, Checked, RoomPath},
    openapi::{Always, BadBody, NoPush, Nowhere, TooMany, Unproven},
};
use crate::{
    app::App,
    error::{Code, Error},
    limits::storage,
    problem::Problem,
    push::Push,
    settings::Settings,
    webpush::{Flaw, Subscription},
};

/// The key of this deployment.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PushKey {
    /// The `applicationServerKey` of a subscription: base64url.
    #[schema(
        example = "BP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A8"
    )]
    public_key: String,
}

/// A browser's `PushSubscription`, as its `toJSON` returns it. Other fields are ignored.
#[derive(Deserialize, Validate, ToSchema)]
#[validate(context = Settings)]
pub struct PushSubscription {
    /// The URL to which pushes are posted: https, on the public Internet.
    #[validate(required)]
    #[schema(value_type = String, required = true, example = "https://push.example/JzLQ3raZJfFB")]
    endpoint: Option<String>,
    /// The keys that encrypt pushes.
    #[validate(required)]
    #[schema(value_type = PushKeys, required = true)]
    keys: Option<PushKeys>,
}

/// The keys of a subscription, in base64url.
#[derive(Deserialize, Serialize, ToSchema)]
pub struct PushKeys {
    /// The browser's public key: a point of P-256.
    #[schema(
        example = "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4"
    )]
    p256dh: String,
    /// The secret that the browser created with it: 16 bytes.
    #[schema(example = "BTBZMqHH6r4Tts7J_aSIgg")]
    auth: String,
}

impl PushSubscription {
    fn read(self, settings: &Settings) -> Result<Subscription, Error> {
        let (endpoint, keys) = self.endpoint.zip(self.keys).ok_or(Code::ValidationFailed)?;
        let PushKeys { p256dh, auth } = keys;
        let read =
            Subscription::parse(&endpoint, &p256dh, &auth, settings.webhooks.allow_private());
        read.map_err(|flaw| match flaw {
            Flaw::Endpoint => Error::invalid("endpoint", Problem::PushEndpoint),
            Flaw::P256dh => Error::invalid("keys.p256dh", Problem::PushKey),
            Flaw::Auth => Error::invalid("keys.auth", Problem::PushKey),
        })
    }
}

/// Web Push, unless this deployment has none.
fn push(app: &App) -> Result<&Push, Error> {
    app.push.as_ref().ok_or(Code::NotFound.into())
}

/// Get the key for Web Push
///
/// A browser subscribes with it. `NOT_FOUND` if this deployment cannot push.
#[utoipa::path(
    get,
    path = "/api/push",
    operation_id = "getPushKey",
    tag = "push",
    responses(
        (status = 200, description = "The key", body = Envelope<PushKey>),
        Nowhere,
        Always
    )
)]
pub async fn key(State(app): State<App>) -> Result<Success<PushKey>, Error> {
    let public_key = push(&app)?.key().await?.public().to_owned();
    Ok(Success::Found(PushKey { public_key }))
}

/// Be told by Web Push
///
/// With the token of a live session. From then on its user is notified of messages while it is not a member or is away,
/// until the room ends, the user is removed, or somebody else has its name. Only the last subscription of a user
/// counts.
#[utoipa::path(
    put,
    path = "/api/rooms/{id}/push",
    operation_id = "subscribe",
    tag = "push",
    params(("id" = String, Path, description = "The room")),
    request_body = PushSubscription,
    security(("token" = [])),
    responses(
        (status = 200, description = "The user will be told", body = Envelope<Nothing>),
        BadBody,
        Unproven,
        NoPush,
        TooMany,
        Always
    )
)]
pub async fn subscribe(
    State(app): State<App>,
    RoomPath(room): RoomPath,
    Bearer(caller): Bearer,
    Checked(body): Checked<PushSubscription>,
) -> Result<Success<Nothing>, Error> {
    let key = push(&app)?.key().await?;
    let subscription = body.read(&app.settings)?;
    app.charge(caller.address, storage::SUBSCRIPTION)?;
    app.rooms.subscribe(&room, &caller, &subscription, &key).await?;
    Ok(Success::Found(Nothing))
}

/// Be told no longer
///
/// With the token of the user's session, or the one that subscribed. Without a subscription nothing changes.
#[utoipa::path(
    delete,
    path = "/api/rooms/{id}/push",
    operation_id = "unsubscribe",
    tag = "push",
    params(("id" = String, Path, description = "The room")),
    security(("token" = [])),
    responses(
        (status = 200, description = "The user is told no longer", body = Envelope<Nothing>),
        Unproven,
        NoPush,
        Always
    )
)]
pub async fn unsubscribe(
    State(app): State<App>,
    RoomPath(room): RoomPath,
    Bearer(caller): Bearer,
) -> Result<Success<Nothing>, Error> {
    push(&app)?;
    app.rooms.unsubscribe(&room, &caller).await?;
    Ok(Success::Found(Nothing))
}
