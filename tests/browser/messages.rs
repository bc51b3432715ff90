//! Actions on a message: answer, copy, link, fold.

use serde_json::json;

use crate::{
    page::{DESKTOP, PHONE, Page},
    scene::{companion, enter, inside, link_to, write_history},
    support::Stage,
};

/// Presses the last message for this many ms, and moves the finger this many px to the right.
async fn touch_last(page: &Page, hold: u64, right: u64) {
    let middle = "(({ x, y, width, height }) => [x + width / 2, y + height / 2])\
                  (all('message-text').at(-1).getBoundingClientRect())";
    let point = page.eval(middle).await;
    let (x, y) = (point[0].as_f64().unwrap(), &point[1]);
    let event = async |kind: &str, points| {
        page.cdp("Input.dispatchTouchEvent", json!({ "type": kind, "touchPoints": points })).await;
    };
    event("touchStart", json!([{ "x": x, "y": y }])).await;
    for step in 1..=right / 10 {
        event("touchMove", json!([{ "x": x + step as f64 * 10.0, "y": y }])).await;
    }
    if hold > 0 {
        page.see("menu").await;
    }
    event("touchEnd", json!([])).await;
}

#[tokio::test]
async fn a_message_is_answered_by_mouse_keyboard_and_finger() {
    let stage = Stage::new(1, &[]).await;
    let room = stage.room("Ann").await;
    let mut ann = companion(&stage, &room, &room.token).await;
    let page = inside(&stage, &room, "Eve").await;
    ann.say(&room.id, "shall we?\n\nsoon").await;
    page.until("all('message').length === 1").await;
    let draft = json!("> Ann: shall we?\n> soon\n");

    let right = json!({ "button": "right", "clickCount": 1, "x": 120, "y": 0 });
    let at = page.eval("one('message-text').getBoundingClientRect().y + 5").await;
    for kind in ["mousePressed", "mouseReleased"] {
        let mut event = right.clone();
        (event["type"], event["y"]) = (json!(kind), at.clone());
        page.cdp("Input.dispatchMouseEvent", event).await;
    }
    page.click("reply").await;
    page.until_is("one('composer').value", &draft).await;
    page.fill("composer", "").await;

    page.press("ArrowUp").await;
    page.until("document.activeElement === one('message')").await;
    page.press("Enter").await;
    page.see("menu").await;
    assert_ne!(page.eval("one('exact-time').dateTime").await, "");
    page.press("Escape").await;
    page.until("document.activeElement === one('message')").await;
    page.press("Enter").await;
    page.see("menu").await;
    page.press("Enter").await;
    page.until_is("one('composer').value", &draft).await;
    page.type_text("yes").await;
    page.press("Enter").await;
    page.until("all('message').length === 2").await;
    let words = "all('message-text')[1].innerText.replace(/\\s+/g, ' ')";
    page.until_is(words, &json!("Ann shall we? soon yes")).await;
    page.click("quote").await;
    page.until("document.activeElement === all('message')[0]").await;

    let phone = Page::open(&stage.env, PHONE).await;
    enter(&phone, &link_to(&stage, &room), "Pho").await;
    phone.until("all('message').length === 2").await;
    touch_last(&phone, 700, 0).await;
    phone.click("reply").await;
    phone.until_is("one('composer').value", &json!("> Eve: yes\n")).await;
    phone.fill("composer", "").await;
    touch_last(&phone, 0, 90).await;
    phone.until_is("one('composer').value", &json!("> Eve: yes\n")).await;
}

#[tokio::test]
async fn the_link_of_a_message_leads_to_it_however_far_back_it_is() {
    let stage = Stage::new(1, &[]).await;
    let room = stage.room("Ann").await;
    write_history(&stage, &room, "Ann", 300, 1000);
    let ids = stage.redis.stream_ids(&room.id);
    let link = format!("{}#m={}", link_to(&stage, &room), ids[40]);
    let page = Page::open(&stage.env, DESKTOP).await;
    enter(&page, &link, "Eve").await;
    let target = "document.activeElement.closest('[data-testid=message]')?.dataset.id";
    page.until_is(target, &json!(ids[40])).await;
    page.until(&format!("location.href === '{}'", link_to(&stage, &room))).await;
    let seen = "(({ top, bottom }) => top > 0 && bottom < innerHeight)(document.activeElement.getBoundingClientRect())";
    page.until(seen).await;

    page.goto(&format!("{}#m={}", link_to(&stage, &room), ids[250])).await;
    page.until_is(target, &json!(ids[250])).await;
    page.goto(&format!("{}#m=1-1", link_to(&stage, &room))).await;
    page.until("one('notice').innerText.includes('not here any more')").await;

    page.grant("clipboardReadWrite", stage.http().base()).await;
    page.press("ArrowUp").await;
    page.until_is(target, &json!(ids[249])).await;
    page.press("Enter").await;
    page.click("copy-message-link").await;
    let copied = format!("{}#m={}", link_to(&stage, &room), ids[249]);
    page.until_is("navigator.clipboard.readText()", &json!(copied)).await;
}

#[tokio::test]
async fn code_can_be_copied_and_long_texts_are_folded() {
    let stage = Stage::new(1, &[]).await;
    let room = stage.room("Ann").await;
    let mut ann = companion(&stage, &room, &room.token).await;
    let page = inside(&stage, &room, "Eve").await;
    page.grant("clipboardReadWrite", stage.http().base()).await;
    let code = "let a = '<b>';\n\nlet b;";
    ann.say(&room.id, &format!("see `a` @Eve:\n```js\n{code}\n```")).await;
    page.click("copy-code").await;
    page.until_is("navigator.clipboard.readText()", &json!(code)).await;
    page.until("one('mention').textContent === '@Eve'").await;

    ann.say(&room.id, &"row\n".repeat(60)).await;
    page.see("fold").await;
    let height = "all('message-text')[1].clientHeight";
    assert!(page.eval(height).await.as_u64().unwrap() < 600);
    page.click("fold").await;
    page.see_attribute("fold", "aria-expanded", "true").await;
    assert!(page.eval(height).await.as_u64().unwrap() > 1200);
    let begins = "all('message-text')[1].getBoundingClientRect().top >= one('log').getBoundingClientRect().top";
    let settled = format!(
        "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done({begins}))))"
    );
    assert_eq!(page.eval(&settled).await, true, "it is read from its beginning");
}
