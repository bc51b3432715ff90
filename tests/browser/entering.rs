//! Entering: a name, a link, and what can prevent it.

use serde_json::json;

use crate::{
    page::{DESKTOP, Look, PHONE, Page},
    pretend::{prepare, skip},
    scene::{choose, companion, enter, link_through, link_to, make_encrypted, make_room},
    support::{Proxy, Stage},
};

#[tokio::test]
async fn a_taken_name_offers_a_free_one() {
    let stage = Stage::new(1, &[]).await;
    let room = stage.room("Alice").await;
    let page = Page::open(&stage.env, PHONE).await;
    page.goto(&link_to(&stage, &room)).await;
    page.fill("nickname", "Alice").await;
    page.click("enter").await;
    page.see("form-error").await;
    let offered = page.until("one('suggest-name')?.dataset.name").await;
    let offered = offered.as_str().unwrap();
    assert_ne!(offered, "Alice");
    page.click("suggest-name").await;
    page.see_inside(offered).await;
    choose(&page, "menu-people").await;
    page.see_members(&["Alice", offered]).await;
}

/// The server knows the name already, and the browser got no answer: because a connection was cut,
/// and because the page was reloaded meanwhile.
#[tokio::test]
async fn a_lost_answer_does_not_make_ones_own_name_somebody_elses() {
    let stage = Stage::new(1, &[]).await;
    let room = stage.room("Alice").await;
    let proxy = Proxy::to(stage.nodes[0].addr()).await;
    let link = link_through(&proxy, &room);
    let page = Page::open(&stage.env, DESKTOP).await;
    proxy.cut_before("{\"t\":\"joined\"");
    enter(&page, &link, "Bob").await;

    // The state left by a page that sent a join and was closed.
    let secret = "of-eve-0123456789012345678901234";
    let mut lost = stage.client().await;
    let join = json!({ "t": "join", "roomId": room.id, "token": "Eve", "secret": secret });
    assert_eq!(lost.try_join(join).await["t"], "joined");
    let kept = json!({ "name": "Eve", "token": null, "secret": secret, "at": 4e15 });
    let key = format!("linkroom:room:{}", room.id);
    page.eval(&format!("localStorage.setItem('{key}', JSON.stringify({kept}))")).await;
    enter(&page, &link, "Eve").await;
    let members = stage.members_in_redis(&room);
    assert!(members.contains(&"Eve".to_owned()), "{members:?}");
}

#[tokio::test]
async fn who_is_inside_is_shown_before_entering() {
    let stage = Stage::new(1, &[]).await;
    let room = stage.room("Alice").await;
    let page = Page::open(&stage.env, PHONE).await;
    let _alice = companion(&stage, &room, &room.token).await;
    let _bob = companion(&stage, &room, "밥").await;
    page.goto(&link_to(&stage, &room)).await;
    page.see("entry-members").await;
    let names = "all('entry-member').map((li) => li.querySelector('bdi').innerText).sort()";
    let names = page.eval(names).await;
    assert_eq!(names, json!(["Alice", "밥"]));
}

#[tokio::test]
async fn a_name_is_asked_for_once() {
    let stage = Stage::new(1, &[]).await;
    let page = Page::open(&stage.env, DESKTOP).await;
    make_room(&page, stage.http().base(), "Alice").await;
    page.goto(stage.http().base()).await;
    page.until_is("one('name').value", &json!("Alice")).await;
    page.click("create").await;
    page.see_inside("Alice").await;
    let other = stage.room("Bob").await;
    page.goto(&link_to(&stage, &other)).await;
    page.until_is("one('nickname').value", &json!("Alice")).await;
}

#[tokio::test]
async fn the_client_speaks_the_readers_language() {
    let stage = Stage::new(1, &[]).await;
    let has_hangul = |text: &str| text.chars().any(|c| ('가'..='힣').contains(&c));
    for (language, korean) in [("ko-KR", true), ("en-US", false)] {
        let page = Page::open(&stage.env, Look { language, ..DESKTOP }).await;
        page.goto(stage.http().base()).await;
        assert_eq!(has_hangul(&page.text("create").await), korean, "{language}");
        assert_eq!(page.eval("document.documentElement.lang").await, language[..2]);
        page.goto(&format!("{}/r/zzzzzzzzzzzz", stage.http().base())).await;
        assert_eq!(has_hangul(&page.text("room-gone").await), korean, "{language}");
    }
}

#[tokio::test]
async fn a_room_that_is_gone_says_so_and_offers_a_new_one() {
    let stage = Stage::new(1, &[]).await;
    let page = Page::open(&stage.env, DESKTOP).await;
    page.goto(&format!("{}/r/zzzzzzzzzzzz", stage.http().base())).await;
    page.see("room-gone").await;
    page.click("new-room").await;
    page.see("landing").await;
}

#[tokio::test]
async fn the_link_can_be_shared_as_a_code() {
    let stage = Stage::new(1, &[]).await;
    let page = Page::open(&stage.env, DESKTOP).await;
    let link = make_room(&page, stage.http().base(), "Alice").await;
    page.click("share").await;
    page.see("qr").await;
    assert!(page.picture(Some("qr")).await.len() > 1000, "something is drawn");
    page.until_is("one('share-link').value ?? one('share-link').textContent", &json!(link)).await;
    page.press("Escape").await;
    page.see_none("share-dialog").await;
}

#[tokio::test]
async fn the_link_can_be_copied_and_handed_to_the_system() {
    let stage = Stage::new(1, &[]).await;
    let page = Page::open(&stage.env, PHONE).await;
    page.grant("clipboardReadWrite", stage.http().base()).await;
    // A function that phones have, and a headless desktop browser does not.
    page.run_first("navigator.share = async (what) => { window.shared = what; }").await;
    let link = make_room(&page, stage.http().base(), "Alice").await;
    choose(&page, "menu-share").await;
    page.click("share-copy").await;
    page.until_is("navigator.clipboard.readText()", &json!(link)).await;
    page.click("share-native").await;
    page.until_is("window.shared?.url", &json!(link)).await;
}

#[tokio::test]
async fn the_shared_link_of_an_encrypted_room_has_its_key() {
    let stage = Stage::new(1, &[]).await;
    let page = Page::open(&stage.env, DESKTOP).await;
    let link = make_encrypted(&page, stage.http().base()).await;
    assert!(link.contains("#k="), "{link}");
    page.grant("clipboardReadWrite", stage.http().base()).await;
    page.click("share").await;
    page.until_is("one('share-link').value", &json!(link)).await;
    page.click("share-copy").await;
    page.until_is("navigator.clipboard.readText()", &json!(link)).await;
}

#[tokio::test]
async fn a_room_that_goes_while_somebody_is_inside_says_so() {
    let stage = Stage::new(1, &[]).await;
    let room = stage.room("Ann").await;
    let proxy = Proxy::to(stage.nodes[0].addr()).await;
    let page = Page::open(&stage.env, DESKTOP).await;
    enter(&page, &link_through(&proxy, &room), "Eve").await;
    page.see_attribute("connection", "data-state", "online").await;
    proxy.cut();
    stage.redis.cmd(["FLUSHALL"]);
    proxy.resume();
    page.see("room-gone").await;
    page.until_is("document.activeElement.tagName", &json!("H1")).await;
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_asked_again_until_it_does() {
    let stage = Stage::new(1, &[]).await;
    let room = stage.room("Ann").await;
    let page = Page::open(&stage.env, DESKTOP).await;
    page.block(&["*/api/rooms/*"]).await;
    page.goto(&link_to(&stage, &room)).await;
    page.see("unreachable").await;
    page.until_is("document.activeElement.tagName", &json!("H1")).await;
    let tries = || page.events("Network.loadingFailed").len();
    page.eval("window.before = one('unreachable'); 0").await;
    let before = tries();
    page.click("try-now").await;
    page.wait("another try", async || (tries() > before).then_some(())).await;
    page.wait("and one by itself", async || (tries() > before + 1).then_some(())).await;
    assert_eq!(page.eval("one('unreachable') === before").await, true, "nothing flickers");
    page.block(&[]).await;
    page.see("nickname").await;
}

/// The first request about a room is one too many.
const LIMITED: &str = r#"
  const ask = fetch;
  window.asked = 0;
  window.fetch = async (path, ...rest) => (String(path).startsWith('/api/rooms/') && ++asked === 1
    ? new Response('{"success":false,"error":{"code":"RATE_LIMITED"}}', { status: 429, headers: { 'retry-after': '60' } })
    : ask(path, ...rest));
"#;

#[tokio::test]
async fn a_server_that_says_when_to_come_again_is_not_asked_before() {
    let stage = Stage::new(1, &[]).await;
    let room = stage.room("Ann").await;
    let page = Page::open(&stage.env, DESKTOP).await;
    prepare(&page).await;
    page.run_first(LIMITED).await;
    page.goto(&link_to(&stage, &room)).await;
    page.see("unreachable").await;
    skip(&page, 50_000).await;
    assert_eq!(page.eval("asked").await, 1);
    skip(&page, 20_000).await;
    page.see("nickname").await;
}

#[tokio::test]
async fn a_room_speaks_korean_when_the_connection_goes_too() {
    let stage = Stage::new(1, &[]).await;
    let room = stage.room("Ann").await;
    let proxy = Proxy::to(stage.nodes[0].addr()).await;
    let page = Page::open(&stage.env, Look { language: "ko-KR", ..DESKTOP }).await;
    enter(&page, &link_through(&proxy, &room), "민아").await;
    page.until("one('log').innerText.includes('아직 조용하네요')").await;
    proxy.cut();
    page.until("/연결이 끊겼어요[^]*초 뒤에 다시 시도합니다/.test(one('connection').innerText)")
        .await;
    assert_eq!(page.text("try-now").await, "지금 시도");
    proxy.resume();
    page.until("one('notice').innerText === '다시 연결됐어요'").await;
}

#[tokio::test]
async fn a_connection_that_takes_long_can_be_tried_anew() {
    let stage = Stage::new(1, &[]).await;
    let room = stage.room("Ann").await;
    let proxy = Proxy::to(stage.nodes[0].addr()).await;
    let page = Page::open(&stage.env, DESKTOP).await;
    enter(&page, &link_through(&proxy, &room), "Eve").await;
    page.click("leave").await;
    page.see("left").await;
    // New connections are taken, and then nothing comes.
    proxy.freeze();
    proxy.cut_once();
    page.click("rejoin").await;
    page.see_attribute("connection", "data-state", "connecting").await;
    page.click("try-now").await;
    page.see("try-now").await;
    proxy.resume();
    page.see_attribute("connection", "data-state", "online").await;
    page.see_none("try-now").await;
}

/// Types and sends a message at the moment the room is shown.
const AT_ONCE: &str = r#"
  new MutationObserver((_, observer) => {
    if (!document.querySelector('[data-testid="room"][data-me]')) return;
    observer.disconnect();
    one('composer').value = `at once, ${performance.now()}`;
    one('composer').dispatchEvent(new Event('input'));
    one('send').click();
  }).observe(document, { childList: true, subtree: true, attributes: true });
"#;

/// `make measure` uses `data-me` as the sign of it.
#[tokio::test]
async fn a_room_that_is_shown_can_be_written_in_at_once() {
    let stage = Stage::new(1, &[]).await;
    let room = stage.room("Ann").await;
    let mut ann = companion(&stage, &room, &room.token).await;
    let page = Page::open(&stage.env, DESKTOP).await;
    page.run_first(AT_ONCE).await;
    enter(&page, &link_to(&stage, &room), "Eve").await;
    let is_it = |frame: &serde_json::Value| frame["text"].as_str().unwrap_or("").starts_with("at");
    ann.wait_for("what a newcomer writes", is_it).await;
    page.reload().await;
    ann.wait_for("what somebody writes who was here", is_it).await;
    page.until(
        "all('message').length === 2 && all('message').every((li) => li.dataset.state === 'sent')",
    )
    .await;
}
