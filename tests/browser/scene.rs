//! How browser tests begin: creating a room, entering one, a room with history.

use std::time::Duration;

use crate::{
    page::{DESKTOP, Page},
    pretend::prepare,
    support::{Client, Proxy, Reading, Room, Stage},
};

/// Creates a room on the first page and returns its link.
pub async fn make_room(page: &Page, base: &str, name: &str) -> String {
    page.goto(base).await;
    page.fill("name", name).await;
    page.click("create").await;
    page.see_inside(name).await;
    page.url().await
}

/// Creates an encrypted room and returns its link, including the key.
pub async fn make_encrypted(page: &Page, base: &str) -> String {
    page.goto(base).await;
    page.fill("name", "Alice").await;
    unfold_options(page).await;
    page.click("e2e").await;
    page.click("create").await;
    page.see_inside("Alice").await;
    page.url().await
}

/// Unfolds the room options on the first page.
pub async fn unfold_options(page: &Page) {
    page.click("more-options").await;
    page.see("e2e").await;
}

/// Opens a room's link and enters.
pub async fn enter(page: &Page, link: &str, name: &str) {
    page.goto(link).await;
    come_in(page, name).await;
}

/// Enters at the door.
pub async fn come_in(page: &Page, name: &str) {
    page.fill("nickname", name).await;
    page.click("enter").await;
    page.see_inside(name).await;
}

/// Chooses from the room menu, which on a phone also has what does not fit into the header.
pub async fn choose(page: &Page, item: &str) {
    page.click("room-menu").await;
    page.click(item).await;
}

/// A person at a desktop computer, in the room.
pub async fn inside(stage: &Stage, room: &Room, name: &str) -> Page {
    let page = Page::open(&stage.env, DESKTOP).await;
    enter(&page, &link_to(stage, room), name).await;
    page
}

/// The creator of a room that was made elsewhere, at a desk.
pub async fn creator(stage: &Stage, room: &Room) -> Page {
    let page = Page::open(&stage.env, DESKTOP).await;
    page.goto(&format!("{}#t={}", link_to(stage, room), room.token)).await;
    page.until("one('room')?.dataset.complete").await;
    page
}

/// The room's creator and somebody else, each at a desk.
pub async fn creator_and(stage: &Stage, room: &Room, name: &str) -> (Page, Page) {
    (creator(stage, room).await, inside(stage, room, name).await)
}

/// Somebody in the room, whose tab can be hidden and whose clock can be set forward.
pub async fn reader(stage: &Stage, room: &Room, name: &str) -> Page {
    let page = Page::open(&stage.env, DESKTOP).await;
    prepare(&page).await;
    enter(&page, &link_to(stage, room), name).await;
    page.see_attribute("connection", "data-state", "online").await;
    page
}

/// Ann's room; Ann in it, without a browser; and Eve, a [`reader`].
pub async fn ann_and_reader() -> (Stage, Room, Client, Page) {
    let stage = Stage::new(1, &[]).await;
    let room = stage.room("Ann").await;
    let ann = companion(&stage, &room, &room.token).await;
    let eve = reader(&stage, &room, "Eve").await;
    (stage, room, ann, eve)
}

/// Waits until the unread line is right before the message with this text.
pub async fn see_unread_from(page: &Page, text: &str) {
    let next = "one('unread-line')?.nextElementSibling.innerText";
    page.until(&format!("{next}.includes('{text}')")).await;
}

/// A client without a browser that stays, however long a browser takes to start.
pub async fn companion(stage: &Stage, room: &Room, token: &str) -> Client {
    let mut client = stage.member(0, room, token).await;
    client.keep_alive(Duration::from_millis(500));
    client
}

/// Closes the only page in the room, and waits. A reload can finish before the node sees the old
/// connection close, and until then the old page still counts as a reader.
pub async fn close(stage: &Stage, page: &Page) {
    let connections = async || Reading::of(&stage.nodes[0]).await.value("linkroom_connections");
    let before = connections().await;
    page.goto("about:blank").await;
    page.wait("the connection is gone", async || (connections().await < before).then_some(()))
        .await;
}

/// The room's id at the end of its link.
pub fn room_of(link: &str) -> &str {
    let path = link.split(['#', '?']).next().unwrap();
    path.rsplit('/').next().unwrap()
}

/// The link of a room, on the first node.
pub fn link_to(stage: &Stage, room: &Room) -> String {
    format!("{}/r/{}", stage.http().base(), room.id)
}

/// The same link through a proxy.
pub fn link_through(proxy: &Proxy, room: &Room) -> String {
    format!("http://{}/r/{}", proxy.addr(), room.id)
}

/// Puts messages `1`, `2`… of one person into a room's stream, a second apart, the last of them
/// `ago_ms` before now.
pub fn write_history(stage: &Stage, room: &Room, from: &str, count: u64, ago_ms: u64) {
    let start = redis_now(stage) - ago_ms - count * 1000;
    for number in 1..=count {
        let id = format!("{}-1", start + number * 1000);
        write_message(stage, room, &id, from, &number.to_string());
    }
}

/// Puts one message into a room's stream.
pub fn write_message(stage: &Stage, room: &Room, id: &str, from: &str, text: &str) {
    let stream = format!("room:{}:messages", room.id);
    stage.redis.cmd(["XADD", &stream, id, "from", from, "text", text]);
}

/// Redis's clock in ms.
pub fn redis_now(stage: &Stage) -> u64 {
    let time = stage.redis.cmd(["TIME"]);
    time.list()[0].text().parse::<u64>().unwrap() * 1000
}
