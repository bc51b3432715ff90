//! The web client inside a page of another application, which says who its users are.

use std::{net::SocketAddr, sync::Arc};

use axum::{Router, response::Html};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::AbortHandle};

use crate::{
    page::{DESKTOP, Page},
    refusing::FORBIDDEN,
    scene::{companion, link_to},
    support::{JWT_SECRET, Room, Stage, claims, jwt, now},
};

/// An application with one page, which has a frame in it.
struct Application {
    addr: SocketAddr,
    frame: Arc<Mutex<String>>,
    server: AbortHandle,
}

impl Application {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let frame = Arc::<Mutex<String>>::default();
        let shown = frame.clone();
        let router = Router::new().fallback(async move || {
            let frame = shown.lock();
            Html(format!(
                "<!doctype html><title>App</title><iframe id='chat' src='{frame}' \
                 style='width: 100%; height: 90vh' allow='clipboard-write'></iframe>"
            ))
        });
        let server = tokio::spawn(async move { axum::serve(listener, router).await });
        Self { addr, frame, server: server.abort_handle() }
    }

    /// Another site than that of the nodes, which are asked for by number.
    fn origin(&self) -> String {
        format!("http://localhost:{}", self.addr.port())
    }

    fn shows(&self, address: &str) {
        *self.frame.lock() = address.to_owned();
    }
}

impl Drop for Application {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn stage(settings: &[(&str, &str)]) -> (Stage, Room) {
    let mut stage = Stage::new(0, &[]).await;
    stage.add_node(&[settings, &[("JWT_SECRET", JWT_SECRET)]].concat()).await;
    let room = stage.room("Ann").await;
    (stage, room)
}

/// The address with which the application sends somebody.
fn sent(stage: &Stage, room: &Room, changes: Value) -> String {
    let jwt = jwt(&claims("u-1", &room.id, changes));
    format!("{}#t={jwt}", link_to(stage, room))
}

async fn say(frame: &Page, text: &str) {
    let text = json!(text);
    frame.eval(&format!("one('composer').value = {text}, one('composer').dispatchEvent(new Event('input', {{ bubbles: true }})), one('send').click()")).await;
}

#[tokio::test]
async fn a_frame_of_another_site_is_in_the_room_as_whom_the_application_says() {
    let application = Application::start().await;
    let (stage, room) = stage(&[("ALLOWED_FRAMES", &application.origin())]).await;
    let mut ann = companion(&stage, &room, &room.token).await;
    application.shows(&sent(&stage, &room, json!({ "name": "Zo\u{eb}" })));
    let page = Page::open(&stage.env, DESKTOP).await;
    page.goto(&application.origin()).await;
    let frame = page.frame(stage.http().base()).await;
    frame.see_inside("Zo\u{eb}").await;
    assert_eq!(frame.eval("location.hash").await, "", "the JWT has left the address");
    say(&frame, "from inside").await;
    frame.see_messages(&[("Zo\u{eb}", "from inside")]).await;
    ann.wait_for("message", |told| told["text"] == "from inside").await;
    assert_eq!(
        frame
            .eval("Object.keys(localStorage).filter((key) => localStorage[key].includes('eyJ'))")
            .await,
        json!([])
    );

    // The application sends a new one before the old one ends.
    let renewed =
        sent(&stage, &room, json!({ "name": "Zo\u{eb}", "creator": true, "exp": now() + 3600 }));
    page.eval(&format!("document.getElementById('chat').src = {}", json!(renewed))).await;
    frame.until("sessionStorage.length && Object.values(sessionStorage).some((jwt) => jwt.split('.')[1] && atob(jwt.split('.')[1].replaceAll('-', '+').replaceAll('_', '/')).includes('creator'))").await;
    frame.see_inside("Zo\u{eb}").await;
    frame.until("!all('message').some((li) => li.dataset.state !== 'sent') && all('message').length === 1").await;
    assert!(ann.comings_and_goings().iter().filter(|(what, _)| what == "user_left").count() == 0);
}

#[tokio::test]
async fn whose_time_is_over_is_told_and_is_nobody_else_then() {
    let (stage, room) = stage(&[]).await;
    let page = Page::open(&stage.env, DESKTOP).await;
    page.goto(&sent(&stage, &room, json!({ "name": "Bo", "exp": now() - 50 }))).await;
    page.see_inside("Bo").await;
    page.see_attribute("refused", "data-reason", "expired").await;
    page.click("again").await;
    page.see_attribute("refused", "data-reason", "expired").await;
    // A link with a new one is enough.
    page.goto(&sent(&stage, &room, json!({ "name": "Bo" }))).await;
    page.see_inside("Bo").await;
    // A reload of this tab is the same user; another tab is somebody who has to say a name.
    page.reload().await;
    page.see_inside("Bo").await;
    let other = page.new_tab().await;
    other.goto(&link_to(&stage, &room)).await;
    other.see("nickname").await;
}

#[tokio::test]
async fn a_frame_without_any_storage_is_in_the_room() {
    let application = Application::start().await;
    // Of the same site the frame shares what the test does to the tab.
    let origin = format!("http://{}", application.addr);
    let (stage, room) = stage(&[("ALLOWED_FRAMES", &origin)]).await;
    let mut ann = companion(&stage, &room, &room.token).await;
    application.shows(&sent(&stage, &room, json!({ "name": "Cy" })));
    let page = Page::open(&stage.env, DESKTOP).await;
    page.run_first(FORBIDDEN).await;
    page.goto(&origin).await;
    let came = ann.wait_for_kind("user_joined").await;
    assert_eq!(came["userId"], "Cy");
}

#[tokio::test]
async fn nobody_else_frames_it() {
    let application = Application::start().await;
    let (stage, room) = stage(&[("ALLOWED_FRAMES", "https://app.example")]).await;
    application.shows(&sent(&stage, &room, json!({})));
    let page = Page::open(&stage.env, DESKTOP).await;
    page.expect_faults();
    page.goto(&application.origin()).await;
    page.wait("the refusal", async || {
        let logged = page.events("Log.entryAdded");
        logged.iter().any(|event| event.to_string().contains("frame-ancestors")).then_some(())
    })
    .await;
    assert!(stage.members_in_redis(&room).iter().all(|member| member == "Ann"));
}
