//! Printing, touch and keyboard.

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::json;

use crate::{
    keyboard::{CONTROL, META},
    page::{DESKTOP, Look, PHONE, Page},
    scene::{come_in, enter, inside, link_to, write_history, write_message},
    support::Stage,
};

#[tokio::test]
async fn printing_gives_the_whole_conversation() {
    let stage = Stage::new(1, &[]).await;
    let room = stage.room("Ann").await;
    write_history(&stage, &room, "Ann", 260, 1000);
    let code = format!("```\n{}\n```", "wider than paper ".repeat(20));
    write_message(&stage, &room, "*", "Ann", &code);
    let page = Page::open(&stage.env, Look { dark: true, ..DESKTOP }).await;
    page.run_first("window.print = () => { window.printed = all('message').length; }").await;
    enter(&page, &link_to(&stage, &room), "Eve").await;
    page.until("all('message').length > 0").await;
    page.press_with("p", CONTROL).await;
    page.until_is("window.printed", &json!(261)).await;
    page.cdp("Emulation.setEmulatedMedia", json!({ "media": "print" })).await;
    page.until("document.documentElement.scrollHeight > 260 * 20").await;
    assert_eq!(page.eval("isSeen(one('composer')) || isSeen(one('copy-link'))").await, false);
    let is_cut = "(({ scrollWidth, clientWidth }) => scrollWidth > clientWidth)(document.querySelector('.code pre'))";
    assert_eq!(page.eval(is_cut).await, false, "code is whole");
    let pdf = page.cdp("Page.printToPDF", json!({})).await;
    let pdf = pdf["data"].as_str().unwrap();
    let pdf = BASE64_STANDARD.decode(pdf).unwrap();
    let pages = pdf.windows(11).filter(|part| part == b"/Type /Page").count();
    assert!(pages > 5, "{pages} pages");
}

#[tokio::test]
async fn the_way_back_closes_what_lies_over_the_room_before_it_leaves_it() {
    let stage = Stage::new(1, &[]).await;
    let room = stage.room("Ann").await;
    let page = Page::open(&stage.env, PHONE).await;
    enter(&page, &link_to(&stage, &room), "Eve").await;
    let link = page.url().await;
    page.eval("one('room').isTheSame = true").await;
    for (open, over) in [("menu-people", "members-close"), ("menu-share", "share-dialog")] {
        page.click("room-menu").await;
        page.click(open).await;
        page.see(over).await;
        page.eval("history.back()").await;
        page.see_none(over).await;
        assert_eq!(page.url().await, link);
        // Closed by hand, it leaves no history entry to go back to.
        let length = page.eval("history.length").await;
        page.click("room-menu").await;
        page.click(open).await;
        page.see(over).await;
        page.press("Escape").await;
        page.see_none(over).await;
        assert_eq!(page.eval("history.length").await, length);
    }
    assert_eq!(page.eval("one('room').isTheSame").await, true, "the room was never left");

    page.click("room-menu").await;
    page.click("menu-people").await;
    page.see("members-close").await;
    page.until("history.state?.over").await;
    page.reload().await;
    page.see_inside("Eve").await;
    page.until("!history.state?.over").await;
    page.see_none("members-close").await;
}

#[tokio::test]
async fn what_is_typed_or_pasted_without_a_focus_is_written_and_ctrl_enter_sends() {
    let stage = Stage::new(1, &[]).await;
    let room = stage.room("Ann").await;
    let page = Page::open(&stage.env, PHONE).await;
    enter(&page, &link_to(&stage, &room), "Eve").await;
    page.eval("document.activeElement.blur()").await;
    page.press("a").await;
    page.until_is("one('composer').value", &json!("a")).await;
    page.press("Enter").await;
    page.type_text("b").await;
    page.until_is("one('composer').value", &json!("a\nb")).await;
    page.eval("document.activeElement.blur()").await;
    let paste = |what: &str| {
        format!(
            "(() => {{ const clipboardData = new DataTransfer(); {what}; \
             document.activeElement.dispatchEvent(new ClipboardEvent('paste', {{ clipboardData, bubbles: true, cancelable: true }})); }})()"
        )
    };
    page.eval("one('room-menu').focus()").await;
    page.eval(&paste("clipboardData.setData('text/plain', ' c')")).await;
    page.until_is("one('composer').value", &json!("a\nb c")).await;
    let book =
        "document.activeElement.blur(); clipboardData.setData('text/plain', '가 '.repeat(250_000))";
    page.eval(&paste(book)).await;
    page.until("one('too-long').textContent.includes('500000')").await;
    page.until_is("one('composer').value", &json!("a\nb c")).await;
    let picture = "clipboardData.items.add(new File(['x'], 'a.png', { type: 'image/png' }))";
    page.eval(&paste(picture)).await;
    page.until("one('notice').innerText.includes('Only text')").await;
    let drop = "(() => { const dataTransfer = new DataTransfer(); dataTransfer.items.add(new File(['x'], 'a.txt')); \
                const drop = new DragEvent('drop', { dataTransfer, bubbles: true, cancelable: true }); \
                one('log').dispatchEvent(drop); return drop.defaultPrevented; })()";
    assert_eq!(page.eval(drop).await, true);
    for modifier in [CONTROL, META] {
        page.press_with("Enter", modifier).await;
        page.until_is("one('composer').value", &json!("")).await;
        page.type_text("again").await;
    }
    page.see_messages(&[("Eve", "a\nb c"), ("Eve", "again")]).await;
}

#[tokio::test]
async fn what_is_dropped_on_the_room_is_written_and_no_page_takes_its_place() {
    let stage = Stage::new(1, &[]).await;
    let room = stage.room("Ann").await;
    let page = inside(&stage, &room, "Eve").await;
    let drop = |kind: &str, text: &str| {
        format!(
            "(() => {{ const dataTransfer = new DataTransfer(); dataTransfer.setData('{kind}', '{text}'); \
             return ['dragover', 'drop'].map((kind) => {{ \
               const event = new DragEvent(kind, {{ dataTransfer, bubbles: true, cancelable: true }}); \
               one('log').dispatchEvent(event); return event.defaultPrevented; }}); }})()"
        )
    };
    let rows = [("text/uri-list", "https://example.com/"), ("text/plain", " and words")];
    for (kind, text) in rows {
        assert_eq!(page.eval(&drop(kind, text)).await, json!([true, true]), "{kind}");
    }
    page.until_is("one('composer').value", &json!("https://example.com/ and words")).await;
    page.click("share").await;
    page.see("share-dialog").await;
    page.eval(&drop("text/plain", "!")).await;
    assert_eq!(page.eval("one('composer').value").await, "https://example.com/ and words");
}

#[tokio::test]
async fn keys_that_belong_to_something_else_stay_with_it() {
    let stage = Stage::new(1, &[]).await;
    let room = stage.room("Ann").await;
    let page = inside(&stage, &room, "Eve").await;
    page.click("share").await;
    page.see("share-dialog").await;
    page.eval("document.activeElement.blur()").await;
    page.press("a").await;
    page.eval("one('share-dialog').close()").await;
    page.see_none("share-dialog").await;
    page.eval("document.activeElement.blur()").await;
    page.press("Space").await;
    page.eval("one('copy-link').focus()").await;
    page.press("Space").await;
    page.fill("people-search", "b").await;
    page.press("a").await;
    assert_eq!(page.eval("one('composer').value").await, "");
    // A button does nothing with a letter.
    page.eval("one('copy-link').focus()").await;
    page.press("b").await;
    page.until_is("one('composer').value", &json!("b")).await;
}

#[tokio::test]
async fn a_keyboard_on_a_phone_on_its_side_leaves_something_to_read() {
    let stage = Stage::new(1, &[]).await;
    let room = stage.room("Ann").await;
    write_history(&stage, &room, "Ann", 20, 1000);
    let page = Page::open(&stage.env, Look { width: 740, height: 170, ..PHONE }).await;
    enter(&page, &link_to(&stage, &room), "Eve").await;
    page.until("one('log').clientHeight > 80").await;
    page.until("one('composer').getBoundingClientRect().bottom <= 170").await;
    let last = "all('message').at(-1).getBoundingClientRect()";
    page.until(&format!("all('message').length === 20 && {last}.bottom <= one('composer').getBoundingClientRect().top")).await;
}

#[tokio::test]
async fn nothing_lies_under_a_notch() {
    let stage = Stage::new(1, &[]).await;
    let room = stage.room("Ann").await;
    let landscape = Look { width: 740, height: 360, ..PHONE };
    let page = Page::open(&stage.env, landscape).await;
    let insets = json!({ "insets": { "top": 0, "left": 47, "bottom": 21, "right": 47 } });
    page.cdp("Emulation.setSafeAreaInsetsOverride", insets).await;
    page.goto(&link_to(&stage, &room)).await;
    page.see("nickname").await;
    let clear = "all('nickname').concat(all('composer'), all('leave'), all('share'), all('send'), [...document.querySelectorAll('.brand, .message-text, .room-title')]) \
                 .filter(isSeen).every((element) => { const { left, right, bottom } = element.getBoundingClientRect(); \
                 return left >= 47 && right <= innerWidth - 47; })";
    page.until(clear).await;
    come_in(&page, "Eve").await;
    page.fill("composer", "hello").await;
    page.click("send").await;
    page.until(clear).await;
}
