//! The web client in real browsers: two people talk, reload, open a second tab, lose the network.

use serde_json::json;

use crate::support::{Browser, ChromeDriver, Client, Proxy, Stage};

/// Makes a room on the first page and returns its link.
async fn make_room(browser: &Browser, base: &str, name: &str) -> String {
    browser.goto(base).await;
    browser.fill("name", name).await;
    browser.click("create").await;
    browser.see_attribute("room", "data-me", name).await;
    browser.url().await
}

async fn enter(browser: &Browser, link: &str, name: &str) {
    browser.goto(link).await;
    browser.fill("nickname", name).await;
    browser.click("enter").await;
    browser.see_attribute("room", "data-me", name).await;
}

/// The room's id at the end of its link.
fn room_of(link: &str) -> &str {
    let path = link.split(['#', '?']).next().unwrap();
    path.rsplit('/').next().unwrap()
}

#[tokio::test]
async fn two_browsers_talk_and_a_reload_and_a_second_tab_change_nothing() {
    let stage = Stage::new(2, &[]).await;
    let chrome = ChromeDriver::start();
    let alice = Browser::open(&chrome, &stage.env, "en-US").await;
    let bob = Browser::open(&chrome, &stage.env, "ko-KR").await;

    let link = make_room(&alice, stage.http().base(), "Alice").await;
    let elsewhere = link.replace(stage.http().base(), stage.nodes[1].http().base());
    enter(&bob, &elsewhere, "밥").await;
    alice.see_members(&["Alice", "밥"]).await;
    bob.see_members(&["Alice", "밥"]).await;

    alice.say("hello").await;
    bob.see_messages(&[("Alice", "hello")]).await;
    bob.say("안녕하세요 <b>👋</b>").await;
    let talk = [("Alice", "hello"), ("밥", "안녕하세요 <b>👋</b>")];
    alice.see_messages(&talk).await;

    let mut watcher = stage.nodes[1].client().await;
    watcher.join(room_of(&link), "watcher").await;
    alice.reload().await;
    alice.see_attribute("room", "data-me", "Alice").await;
    alice.see_messages(&talk).await;

    let first = alice.new_tab().await;
    alice.goto(&link).await;
    alice.see_attribute("room", "data-me", "Alice").await;
    alice.see_messages(&talk).await;
    alice.say("from the second tab").await;
    bob.see_messages(&[talk[0], talk[1], ("Alice", "from the second tab")]).await;
    alice.close_tab(first).await;
    alice.see_messages(&[talk[0], talk[1], ("Alice", "from the second tab")]).await;
    alice.say("and the first").await;

    watcher.wait_for("the last message", |frame| frame["text"] == "and the first").await;
    assert_eq!(watcher.comings_and_goings(), [], "neither reload nor tabs are news");
}

#[tokio::test]
async fn the_client_speaks_the_readers_language() {
    let stage = Stage::new(1, &[]).await;
    let chrome = ChromeDriver::start();
    let has_hangul = |text: &str| text.chars().any(|c| ('가'..='힣').contains(&c));
    for (language, korean) in [("ko-KR", true), ("en-US", false)] {
        let browser = Browser::open(&chrome, &stage.env, language).await;
        browser.goto(stage.http().base()).await;
        assert_eq!(has_hangul(&browser.text("create").await), korean, "{language}");
        assert_eq!(browser.eval("return document.documentElement.lang").await, language[..2]);
        browser.goto(&format!("{}/r/zzzzzzzzzzzz", stage.http().base())).await;
        assert_eq!(has_hangul(&browser.text("room-gone").await), korean, "{language}");
    }
}

#[tokio::test]
async fn a_taken_name_offers_a_free_one() {
    let stage = Stage::new(1, &[]).await;
    let chrome = ChromeDriver::start();
    let browser = Browser::open(&chrome, &stage.env, "en-US").await;
    let room = stage.room("Alice").await;
    browser.goto(&format!("{}/r/{}", stage.http().base(), room.id)).await;
    browser.fill("nickname", "Alice").await;
    browser.click("enter").await;
    browser.see("form-error").await;
    let offered = browser.see("suggest-name").await.attr("data-name").await.unwrap().unwrap();
    assert_ne!(offered, "Alice");
    browser.click("suggest-name").await;
    browser.see_attribute("room", "data-me", &offered).await;
    browser.see_members(&["Alice", &offered]).await;
}

#[tokio::test]
async fn what_is_written_while_the_network_is_away_is_sent_once_when_it_is_back() {
    let stage = Stage::new(1, &[]).await;
    let proxy = Proxy::to(stage.nodes[0].addr()).await;
    let chrome = ChromeDriver::start();
    let browser = Browser::open(&chrome, &stage.env, "en-US").await;
    let link = make_room(&browser, &format!("http://{}", proxy.addr()), "Alice").await;
    let room = room_of(&link);
    let mut bob = Client::connect(stage.nodes[0].addr()).await;
    bob.join(room, "Bob").await;
    browser.say("before").await;
    browser.see_messages(&[("Alice", "before")]).await;

    proxy.cut();
    bob.wait_for_kind("msg").await;
    bob.say(room, "missed").await;
    browser.say("meanwhile").await;
    proxy.resume();
    let said = bob.wait_for("the message", |frame| frame["text"] == "meanwhile").await;
    assert_eq!(said["from"], "Alice");
    let all = [("Alice", "before"), ("Bob", "missed"), ("Alice", "meanwhile")];
    browser.see_messages(&all).await;
    assert_eq!(stage.redis.stream_ids(room).len(), 3);
    assert_eq!(bob.comings_and_goings(), []);
}

#[tokio::test]
async fn nothing_comes_from_another_host() {
    let stage = Stage::new(1, &[]).await;
    let chrome = ChromeDriver::start();
    let browser = Browser::open(&chrome, &stage.env, "en-US").await;
    browser.goto(stage.http().base()).await;
    browser.see("create").await;
    let foreign = "return performance.getEntriesByType('resource') \
                      .filter(entry => !entry.name.startsWith(location.origin)).length";
    assert_eq!(browser.eval(foreign).await, json!(0));
}
