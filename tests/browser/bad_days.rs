//! Bad days: networks, nodes and Redis that go away, and nothing that was written is lost.

use crate::{
    page::{DESKTOP, Page},
    scene::{enter, link_to, make_room, room_of},
    support::{Client, Proxy, Stage},
};

#[tokio::test]
async fn what_is_written_while_the_network_is_away_is_sent_once_when_it_is_back() {
    let stage = Stage::new(1, &[]).await;
    let proxy = Proxy::to(stage.nodes[0].addr()).await;
    let page = Page::open(&stage.env, DESKTOP).await;
    let link = make_room(&page, &format!("http://{}", proxy.addr()), "Alice").await;
    let room = room_of(&link);
    let mut bob = Client::connect(stage.nodes[0].addr()).await;
    bob.join(room, "Bob").await;
    page.say("before").await;
    page.see_messages(&[("Alice", "before")]).await;

    proxy.cut();
    bob.wait_for_kind("msg").await;
    bob.say(room, "missed").await;
    page.say("meanwhile").await;
    page.reload().await;
    proxy.resume();
    let said = bob.wait_for("the message", |frame| frame["text"] == "meanwhile").await;
    assert_eq!(said["from"], "Alice");
    page.see_messages(&[("Alice", "before"), ("Bob", "missed"), ("Alice", "meanwhile")]).await;
    assert_eq!(stage.redis.stream_ids(room).len(), 3);
}

#[tokio::test]
async fn offline_is_said_in_words() {
    let stage = Stage::new(1, &[]).await;
    let room = stage.room("Ann").await;
    let page = Page::open(&stage.env, DESKTOP).await;
    enter(&page, &link_to(&stage, &room), "Eve").await;
    page.see_attribute("connection", "data-state", "online").await;
    page.set_network(true, 0, 0).await;
    page.until("one('connection').dataset.state !== 'online'").await;
    assert!(!page.text("connection").await.is_empty());
    page.set_network(false, 0, -1).await;
    page.see_attribute("connection", "data-state", "online").await;
}

#[tokio::test]
async fn a_message_that_redis_does_not_take_fails_and_is_sent_later() {
    let stage = Stage::new(1, &[]).await;
    let room = stage.room("Ann").await;
    let page = Page::open(&stage.env, DESKTOP).await;
    enter(&page, &link_to(&stage, &room), "Eve").await;
    stage.redis.freeze();
    page.say("patience").await;
    page.until("['sending', 'failed'].includes(one('message')?.dataset.state)").await;
    stage.redis.thaw();
    page.see_messages(&[("Eve", "patience")]).await;
    assert_eq!(stage.redis.stream_ids(&room.id).len(), 1);
}
