//! Links that other apps changed: escaped, wrapped, with text attached.

use serde_json::{Value, json};

use crate::{
    deployment::Deployment,
    page::{DESKTOP, Page},
    scene::{make_encrypted, room_of},
    support::Stage,
};

#[tokio::test]
async fn a_damaged_link_opens_its_room_and_is_mended_and_its_key_stays_in_the_page() {
    let stage = Stage::new(1, &[]).await;
    let alice = Page::open(&stage.env, DESKTOP).await;
    let link = make_encrypted(&alice, stage.http().base()).await;
    let (plain, key) = link.split_once("#k=").unwrap();
    let damages = [
        ("/r/", "/%20#k=KEY%EB%A1%9C"),
        ("/r/", "%2523k%253DKEY)"),
        ("/R/", "#k=KEY"),
        ("/%72%2F", "%23k=KEY"),
    ];
    for (fixed, damage) in damages {
        let plain = plain.replace("/r/", fixed);
        let page = Page::open(&stage.env, DESKTOP).await;
        page.watch_network().await;
        page.goto(&format!("{plain}{}", damage.replace("KEY", key))).await;
        page.see("nickname").await;
        assert_eq!(page.url().await, link, "{damage}");
        page.fill("nickname", &format!("Bob{}", damage.len())).await;
        page.click("enter").await;
        page.see("room").await;
        let sent = page.events("Network.requestWillBeSent");
        let with_key = |event: &&Value| {
            let request = &event["request"];
            event["type"] != "Document"
                && format!("{}{}", request["url"], request["headers"]).contains(key)
        };
        assert_eq!(sent.iter().find(with_key), None, "{damage}");
    }
    assert!(!stage.nodes[0].log().contains(key));
}

/// The first request of a first visit cannot be prevented: the link was damaged before.
#[tokio::test]
async fn where_the_client_is_installed_an_escaped_key_is_not_sent_at_all() {
    let stage = Stage::new(1, &[]).await;
    let deployment = Deployment::of(stage.http()).await;
    let page = Page::open(&stage.env, DESKTOP).await;
    page.installs().await;
    let base = format!("http://{}", deployment.addr());
    page.goto(&base).await;
    page.until("navigator.serviceWorker.controller && caches.match('/').then(Boolean)").await;
    let key = "k".repeat(43);
    for escaped in ["%23", "%2523"] {
        page.goto(&format!("{base}/r/zzzzzzzzzzzz{escaped}k={key}")).await;
        page.see("room-gone").await;
        assert_eq!(page.url().await, format!("{base}/r/zzzzzzzzzzzz#k={key}"));
    }
    let asked = deployment.asked();
    assert!(asked.iter().any(|path| path == "/r/zzzzzzzzzzzz"), "{asked:?}");
    assert!(!asked.iter().any(|path| path.contains(&key)), "{asked:?}");
}

#[tokio::test]
async fn a_key_is_found_in_a_whole_message_and_never_is_another_rooms() {
    let stage = Stage::new(1, &[]).await;
    let alice = Page::open(&stage.env, DESKTOP).await;
    let other = make_encrypted(&alice, stage.http().base()).await;
    let link = make_encrypted(&alice, stage.http().base()).await;
    let (plain, _) = link.split_once('#').unwrap();

    let page = Page::open(&stage.env, DESKTOP).await;
    page.goto(plain).await;
    page.fill("key-input", &format!("여기로 와 {other} 에서 봐")).await;
    page.click("key-apply").await;
    page.see("open-other").await;
    assert_eq!(page.url().await, plain, "not with a foreign key");
    page.fill("key-input", &format!("not {other} but\n{link}을 열어")).await;
    page.click("key-apply").await;
    page.see("nickname").await;
    assert_eq!(page.url().await, link);

    page.goto(plain).await;
    page.fill("key-input", &other).await;
    page.press("Enter").await;
    page.click("open-other").await;
    page.see("nickname").await;
    assert_eq!(page.url().await, other);
    assert_ne!(room_of(&other), room_of(&link));
}

#[tokio::test]
async fn what_is_shared_is_the_room_and_its_key_and_nothing_else() {
    let stage = Stage::new(1, &[]).await;
    let page = Page::open(&stage.env, DESKTOP).await;
    let link = make_encrypted(&page, stage.http().base()).await;
    page.goto(&link.replace('#', "?utm_source=app#x=1&m=1-2&")).await;
    page.see("room").await;
    page.click("share").await;
    page.until_is("one('share-link').value", &json!(link)).await;
}
