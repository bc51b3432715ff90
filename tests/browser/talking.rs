//! Sending: messages arrive, look right, and show their state.

use serde_json::json;

use crate::{
    page::{DESKTOP, Look, Page},
    pretend::{hide, prepare, show, skip},
    scene::{companion, enter, inside, link_to, make_room, redis_now, room_of, write_message},
    support::Stage,
};

#[tokio::test]
async fn two_browsers_talk_and_a_reload_and_a_second_tab_change_nothing() {
    let stage = Stage::new(2, &[]).await;
    let alice = Page::open(&stage.env, DESKTOP).await;
    let bob = Page::open(&stage.env, Look { language: "ko-KR", ..DESKTOP }).await;

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
    alice.see_inside("Alice").await;
    alice.see_messages(&talk).await;

    let tab = alice.new_tab().await;
    tab.goto(&link).await;
    tab.see_inside("Alice").await;
    tab.see_messages(&talk).await;
    tab.say("from the second tab").await;
    let talk = [talk[0], talk[1], ("Alice", "from the second tab")];
    bob.see_messages(&talk).await;
    tab.close().await;
    alice.see_messages(&talk).await;
    alice.say("and the first").await;

    watcher.wait_for("the last message", |frame| frame["text"] == "and the first").await;
    assert_eq!(watcher.comings_and_goings(), [], "neither reload nor tabs are news");
}

#[tokio::test]
async fn messages_stand_together_by_author_and_day() {
    let stage = Stage::new(1, &[]).await;
    let room = stage.room("Ann").await;
    let (now, day) = (redis_now(&stage), 24 * 60 * 60 * 1000);
    let said = [
        (3 * day, "Ann", "three days ago"),
        (day, "Ann", "yesterday"),
        (day - 1, "Ann", "at once"),
        (day - 2, "Bob", "another"),
    ];
    for (ago, from, text) in said {
        write_message(&stage, &room, &format!("{}-1", now - ago), from, text);
    }
    let page = inside(&stage, &room, "Eve").await;
    page.say("today").await;

    page.until_is("all('day').length", &json!(3)).await;
    let days = page.eval("all('day').map((line) => line.innerText)").await;
    assert_eq!((&days[1], &days[2]), (&json!("Yesterday"), &json!("Today")));
    // Consecutive messages of one author show the name and the face once.
    let heads = page
        .eval(
            "all('message').filter((li) => getComputedStyle(li, '::before').content !== 'none' \
             || li.classList.contains('mine')).map((li) => all('message-text', li)[0].innerText)",
        )
        .await;
    assert_eq!(heads, json!(["three days ago", "yesterday", "another", "today"]));
}

#[tokio::test]
async fn days_are_the_readers_and_today_is_yesterday_after_midnight() {
    let stage = Stage::new(1, &[]).await;
    let room = stage.room("Ann").await;
    let day = 24 * 60 * 60 * 1000;
    // In Seoul, eight in the evening UTC is five in the morning of the next day.
    let evening = redis_now(&stage) / day * day - 2 * day + day / 24 * 20;
    write_message(&stage, &room, &format!("{evening}-1"), "Ann", "good morning");
    let page = Page::open(&stage.env, DESKTOP).await;
    prepare(&page).await;
    page.cdp("Emulation.setTimezoneOverride", json!({ "timezoneId": "Asia/Seoul" })).await;
    enter(&page, &link_to(&stage, &room), "Eve").await;
    page.until("all('day').length === 1").await;
    let dates = page.eval("one('day').firstChild.dateTime").await;
    let next = page.eval(&format!("new Date({evening} + {day}).toISOString().slice(0, 10)")).await;
    assert_eq!(dates, next);

    page.say("today").await;
    let last = "all('day').at(-1).innerText";
    page.until_is(last, &json!("Today")).await;
    skip(&page, day).await;
    page.until_is(last, &json!("Yesterday")).await;
    // The machine sleeps over the next midnight, and no timer runs.
    hide(&page).await;
    page.eval(&format!("const {{ now }} = Date; Date.now = () => now() + {day}; 0")).await;
    show(&page).await;
    page.until(&format!("/day, /.test({last})")).await;
    // The reader flies across the date line.
    let time = "document.querySelector('.message time').textContent";
    let before = page.eval(time).await;
    page.cdp("Emulation.setTimezoneOverride", json!({ "timezoneId": "Pacific/Honolulu" })).await;
    page.eval("dispatchEvent(new Event('focus'))").await;
    page.until(&format!("{time} !== '{}'", before.as_str().unwrap())).await;
    let date = page.eval("one('day').firstChild.dateTime").await;
    assert_eq!(date, page.eval(&format!("new Date({evening}).toISOString().slice(0, 10)")).await);
}

#[tokio::test]
async fn links_can_be_clicked_and_nothing_else_can() {
    let stage = Stage::new(1, &[]).await;
    let room = stage.room("Ann").await;
    let mut ann = companion(&stage, &room, &room.token).await;
    let page = inside(&stage, &room, "Eve").await;
    ann.say(&room.id, "see https://example.org/a?b=1#c, and http://example.org/(d).").await;
    ann.say(&room.id, "javascript:alert(1) data:text/html,x <img src=x onerror=alert(1)>").await;

    page.until_is("all('message').length", &json!(2)).await;
    let links = page
        .eval("[...one('log').querySelectorAll('a')].map((a) => [a.href, a.rel, a.target])")
        .await;
    let rel = "noopener noreferrer nofollow";
    let wanted = json!([
        ["https://example.org/a?b=1#c", rel, "_blank"],
        ["http://example.org/(d)", rel, "_blank"],
    ]);
    assert_eq!(links, wanted);
    let text = page.eval("all('message-text')[1].innerText").await;
    assert_eq!(text, "javascript:alert(1) data:text/html,x <img src=x onerror=alert(1)>");
}

#[tokio::test]
async fn a_message_may_have_several_lines() {
    let stage = Stage::new(1, &[]).await;
    let room = stage.room("Ann").await;
    let page = inside(&stage, &room, "Eve").await;
    page.click("composer").await;
    page.type_text("first").await;
    page.press_shift("Enter").await;
    page.press_shift("Enter").await;
    page.type_text("third").await;
    page.until_is("one('composer').value", &json!("first\n\nthird")).await;
    page.press("Enter").await;
    page.see_messages(&[("Eve", "first\n\nthird")]).await;
    let lines = "one('message-text').clientHeight / parseFloat(getComputedStyle(one('message-text')).lineHeight)";
    assert!(page.eval(lines).await.as_f64().unwrap() >= 3.0, "three lines are drawn");
}
