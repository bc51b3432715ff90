//! The HTTP layer: the routes, and the middleware of every request.
//!
//! Knows the room service, but no Redis.

pub mod envelope;

mod assets;
mod base_url;
mod events;
mod extract;
mod guard;
mod headers;
mod health;
mod members;
mod messages;
mod observe;
mod openapi;
mod order;
mod pages;
mod precondition;
mod push;
mod rooms;
mod target;

use axum::{
    Router,
    body::Bytes,
    handler::Handler,
    http::{HeaderValue, header},
    middleware::{from_fn, from_fn_with_state},
    routing::get,
};
use tower_http::catch_panic::CatchPanicLayer;
use utoipa::OpenApi as _;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::app::App;

/// All routes of the service.
pub fn router(app: App) -> Router {
    let limit = from_fn_with_state(app.clone(), guard::limit);
    let precondition = from_fn_with_state(app.clone(), precondition::check);
    let (routes, description) = OpenApiRouter::with_openapi(openapi::Description::openapi())
        .merge(api(&app).layer(limit.clone()))
        .merge(client().layer(precondition.clone()).layer(limit.clone()))
        .merge(
            node().layer(precondition.clone()).layer(from_fn_with_state(app.clone(), guard::pace)),
        )
        .split_for_parts();
    // Written once: it is long, and repeated requests would delay all other clients.
    let description = Bytes::from(openapi::bounds::apply(&description, &app.settings).to_string());
    let json = [(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))];
    routes
        .route(
            "/openapi.json",
            get(async || (json, description)).layer(precondition).layer(limit.clone()),
        )
        .fallback(pages::elsewhere.layer(limit))
        // The last layer is the outermost: it observes complete answers, panics included.
        .layer(from_fn(target::check))
        .layer(CatchPanicLayer::custom(envelope::panicked))
        .layer(from_fn(envelope::render))
        .layer(from_fn(guard::allow_any_origin))
        .layer(from_fn_with_state(app.clone(), observe::observe))
        .with_state(app)
}

/// The routes that use Redis.
fn api(app: &App) -> OpenApiRouter<App> {
    let precondition = from_fn_with_state(app.clone(), precondition::check);
    let create = OpenApiRouter::new()
        .routes(routes!(rooms::create))
        .layer(precondition.clone())
        .layer(from_fn_with_state(app.clone(), guard::limit_rooms));
    let room = OpenApiRouter::new()
        .routes(routes!(rooms::look, rooms::update, rooms::close))
        .routes(routes!(members::page))
        .routes(routes!(order::remove))
        .routes(routes!(order::lift_bans))
        .routes(routes!(rooms::add_session))
        .routes(routes!(messages::page, messages::post))
        .routes(routes!(messages::delete))
        .routes(routes!(events::listen))
        .routes(routes!(push::subscribe, push::unsubscribe))
        .layer(precondition)
        .layer(from_fn_with_state(app.clone(), guard::limit_guesses));
    create.merge(room).routes(routes!(push::key)).route("/ws", get(crate::ws::upgrade))
}

/// Health checks and metrics.
fn node() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(health::live))
        .routes(routes!(health::ready))
        .routes(routes!(health::metrics))
}

/// The web client.
fn client() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(pages::start))
        .routes(routes!(pages::room))
        // Apps may have changed a link; the page corrects it.
        .route("/r", get(pages::room))
        .route("/r/", get(pages::room))
        .route("/r/{id}/", get(pages::room))
        .route("/r/{id}/{*rest}", get(pages::room))
        .route("/r//{*rest}", get(pages::room))
        .route("/static/{*path}", get(assets::nested))
        .route("/sw.js", get(assets::at_root))
        .route("/manifest.webmanifest", get(assets::at_root))
        .route("/favicon.ico", get(assets::at_root))
}

#[cfg(test)]
mod tests {
    use std::{net::SocketAddr, sync::Arc};

    use axum::{
        body::{Body, to_bytes},
        extract::{ConnectInfo, Request},
    };
    use tower::ServiceExt;

    use super::*;
    use crate::{background::Background, metrics::Metrics, node, settings::Settings};

    #[tokio::test]
    async fn the_description_is_written_once_however_often_it_is_asked_for() {
        let words = ["linkroom", "--redis-url=redis://127.0.0.1:1"].map(Into::into);
        let settings = Settings::read(words).unwrap();
        let app = node::build(settings, Arc::new(Metrics::new()), &Background::new()).unwrap();
        let router = router(app);
        let ask = async || {
            let request = Request::get("/openapi.json").header("host", "x");
            let peer = ConnectInfo(SocketAddr::from(([127, 0, 0, 1], 1)));
            let request = request.extension(peer).body(Body::empty()).unwrap();
            let response = router.clone().oneshot(request).await.unwrap();
            to_bytes(response.into_body(), usize::MAX).await.unwrap()
        };
        let (first, second) = (ask().await, ask().await);
        assert!(first.starts_with(b"{"));
        assert_eq!(first.as_ptr(), second.as_ptr());
    }
}
