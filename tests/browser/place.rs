//! Where one is in the conversation, by geometry: nothing but the reader moves the log, only what was in
//! sight is read, and who comes back begins where reading stopped.

use serde_json::json;

use crate::{
    page::{DESKTOP, Look, PHONE, Page},
    scene::{
        close, companion, enter, link_through, link_to, reader, redis_now, room_of,
        see_unread_from, write_history, write_message,
    },
    support::{Client, Proxy, Room, Stage},
};

/// In the page: positions in the log.
const GEOMETRY: &str = r"
  window.box = () => one('log').getBoundingClientRect();
  window.inSight = () => all('message').filter((li) => {
    const { top, bottom } = li.getBoundingClientRect();
    return top >= box().top && bottom <= box().bottom + 1;
  });
  window.mark = () => { window.marked = inSight()[0]; return marked.getBoundingClientRect().top - box().top; };
  window.moved = (from) => Math.abs(marked.getBoundingClientRect().top - box().top - from);
  window.gap = () => box().bottom - all('message').at(-1).getBoundingClientRect().bottom;
  window.frames = () => new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(() =>
    requestAnimationFrame(() => setTimeout(resolve)))));
";

/// Whether the last message is at the end of the log.
const AT_END: &str = "frames().then(() => gap() >= 0 && gap() < 40)";

/// Whether the browser knows where reading stopped.
const KEPT: &str = "Object.keys(localStorage).some((key) => /^linkroom:read:[^:]+$/.test(key))";

/// Whether nothing is left to read.
const ALL_READ: &str = "one('new-messages').dataset.count === '0'";

async fn number(page: &Page, expression: &str) -> f64 {
    page.eval(expression).await.as_f64().unwrap()
}

/// Texts from one word to a screenful.
fn write_talk(stage: &Stage, room: &Room, count: u64) {
    let now = redis_now(stage);
    for number in 0..count {
        let words = "and then we went on ".repeat((number * number % 11) as usize);
        let id = format!("{}-1", now - 600_000 + number * 1000);
        write_message(stage, room, &id, "Ann", &format!("{number} {words}"));
    }
}

async fn resize(page: &Page, width: u32, height: u32) {
    let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
    page.cdp("Emulation.setDeviceMetricsOverride", size).await;
}

/// Changes the height of the log or of its contents, in a different way for each number.
async fn change(page: &Page, number: usize) -> &'static str {
    match number {
        0 => {
            page.fill("composer", "one\ntwo\nthree\nfour\nfive").await;
            for letter in ["a", "b", "c"] {
                page.type_text(letter).await;
                page.eval("frames()").await;
            }
            "a draft"
        }
        1 => {
            page.eval("document.documentElement.style.fontSize = '150%'").await;
            "larger text"
        }
        2 => {
            resize(page, 1000, 680).await;
            "a keyboard"
        }
        3 => {
            resize(page, 500, 860).await;
            "a narrow window"
        }
        4 => {
            page.eval("one('composer').style.minHeight = '160px'").await;
            "a tall composer"
        }
        5 => {
            page.eval("document.documentElement.style.fontSize = ''").await;
            "smaller text"
        }
        _ => {
            resize(page, 1400, 900).await;
            "a wide window"
        }
    }
}

#[tokio::test]
async fn nothing_but_the_reader_moves_the_log() {
    let stage = Stage::new(1, &[]).await;
    let room = stage.room("Ann").await;
    write_talk(&stage, &room, 150);
    let mut ann = companion(&stage, &room, &room.token).await;
    let page = Page::open(&stage.env, DESKTOP).await;
    page.run_first(GEOMETRY).await;
    enter(&page, &link_to(&stage, &room), "Eve").await;
    page.until(AT_END).await;
    for number in 0..7 {
        let what = change(&page, number).await;
        assert_eq!(page.eval(AT_END).await, true, "following, {what}");
        ann.say(&room.id, &format!("news {number}")).await;
        page.until(&format!("all('message').at(-1).innerText.includes('news {number}')")).await;
        assert_eq!(page.eval(AT_END).await, true, "following on after {what}");
        // Unread messages are not scrolled past.
        page.until(ALL_READ).await;
    }
    page.eval("one('log').scrollTop -= 900").await;
    page.eval("frames()").await;
    for number in 0..7 {
        let before = self::number(&page, "mark()").await;
        let what = change(&page, number).await;
        page.eval("frames()").await;
        let moved = self::number(&page, &format!("moved({before})")).await;
        assert!(moved < 1.5, "reading further up, {what}: {moved} px");
    }
}

/// What changes the measures of the log, or of what is in it, at once.
const LAYOUTS: [(&str, &str); 4] = [
    ("a taller draft", "one('composer').style.minHeight = '160px'"),
    ("larger text", "document.documentElement.style.fontSize = '130%'"),
    ("a narrower room", "one('room').style.width = '1000px'"),
    ("a shorter draft", "one('composer').style.minHeight = ''"),
];

/// In one task, so in one frame, the page is laid out anew, and somebody or something scrolls.
#[tokio::test]
async fn who_scrolls_in_the_frame_of_a_new_layout_is_not_put_back() {
    let stage = Stage::new(1, &[]).await;
    let room = stage.room("Ann").await;
    write_talk(&stage, &room, 150);
    let page = Page::open(&stage.env, DESKTOP).await;
    page.run_first(GEOMETRY).await;
    enter(&page, &link_to(&stage, &room), "Eve").await;
    page.until(AT_END).await;
    page.eval("one('log').scrollTop -= 1500; frames()").await;
    for (what, layout) in LAYOUTS {
        for by in [-240, 170] {
            for both in [
                format!("{layout}; one('log').scrollTop += {by}"),
                format!("one('log').scrollTop += {by}; {layout}"),
            ] {
                let before = number(&page, "mark()").await;
                page.eval(&format!("{both}; frames()")).await;
                let now = number(&page, "marked.getBoundingClientRect().top - box().top").await;
                let moved = before - now;
                assert!((moved - f64::from(by)).abs() < 2.0, "{both}: {moved} px, {what}");
            }
        }
    }

    // Who follows the talk leaves its end, and who goes to the end as it was follows on.
    for (what, layout) in LAYOUTS {
        page.eval("one('log').scrollTop = one('log').scrollHeight; frames()").await;
        assert_eq!(page.eval(AT_END).await, true, "{what}");
        page.eval(&format!("{layout}; one('log').scrollTop -= 240; frames()")).await;
        let up = number(&page, "gap()").await;
        assert!((-241.0..-190.0).contains(&up), "{what}: {up} px");
        page.eval(&format!("one('log').scrollTop += 240; {layout}; frames()")).await;
        assert_eq!(page.eval(AT_END).await, true, "{what}");
    }
}

#[tokio::test]
async fn a_lost_connection_and_its_return_move_nothing() {
    let stage = Stage::new(1, &[("MESSAGES_PER_SECOND", "100")]).await;
    let room = stage.room("Ann").await;
    write_talk(&stage, &room, 40);
    let mut ann = companion(&stage, &room, &room.token).await;
    let proxy = Proxy::to(stage.nodes[0].addr()).await;
    let page = Page::open(&stage.env, PHONE).await;
    page.run_first(GEOMETRY).await;
    enter(&page, &link_through(&proxy, &room), "Eve").await;
    page.until(AT_END).await;
    page.eval("one('log').scrollTop -= 700").await;
    page.eval("frames()").await;
    let before = number(&page, "mark()").await;
    proxy.cut();
    page.see_attribute("connection", "data-state", "offline").await;
    for number in 0..30 {
        ann.say(&room.id, &format!("missed {number}")).await;
    }
    assert!(number(&page, &format!("moved({before})")).await < 1.5);
    proxy.resume();
    page.eval("dispatchEvent(new Event('online'))").await;
    page.until("all('message').length === 70").await;
    page.until("one('new-messages').dataset.count === '30'").await;
    assert!(number(&page, &format!("moved({before})")).await < 1.5);

    // A person who follows the end begins with the missed messages, and none of them counts as read
    // unseen.
    page.click("new-messages").await;
    page.until(AT_END).await;
    proxy.cut();
    page.see_attribute("connection", "data-state", "offline").await;
    for number in 30..70 {
        ann.say(&room.id, &format!("missed {number}")).await;
    }
    proxy.resume();
    page.eval("dispatchEvent(new Event('online'))").await;
    page.until("all('message').length === 110").await;
    see_unread_from(&page, "missed 30").await;
    is_at_the_line(&page).await;
    reading_on_counts_down(&page, 40).await;
}

/// Whether the unread line is in sight, near the top of the log.
async fn is_at_the_line(page: &Page) {
    let place = "frames().then(() => one('unread-line')?.getBoundingClientRect().top - box().top)";
    page.wait("the line stands at the top", async || {
        let place = page.eval(place).await.as_f64()?;
        (-1.0..120.0).contains(&place).then_some(())
    })
    .await;
}

/// Scrolling with the wheel marks exactly what comes into sight as read; `count` are unread at
/// first.
async fn reading_on_counts_down(page: &Page, count: u64) {
    let unread = "Number(/^\\((\\d+)\\)/.exec(document.title)?.[1] ?? 0)";
    let below = "all('message').filter((li) => li.getBoundingClientRect().bottom > box().bottom + 1).length";
    page.until(&format!("{unread} > 0 && {unread} < {count}")).await;
    for _ in 0..3 {
        page.eval("one('log').scrollTop += 160").await;
        page.until(&format!("frames().then(() => {unread} === {below})")).await;
        page.until(&format!("one('new-messages').dataset.count === String({unread})")).await;
    }
    page.eval("one('log').scrollTop = one('log').scrollHeight").await;
    page.until(&format!("{unread} === 0")).await;
}

/// What happens between two visits.
enum Between {
    Nothing,
    /// The session ends, and the server forgets the reader's position.
    SessionOver,
}

async fn comes_back(seen: u64, unread: u64, between: Between, look: Look) {
    let stage = Stage::new(1, &[]).await;
    let room = stage.room("Ann").await;
    write_history(&stage, &room, "Ann", seen, 60_000);
    let page = Page::open(&stage.env, look).await;
    page.run_first(GEOMETRY).await;
    enter(&page, &link_to(&stage, &room), "Eve").await;
    page.until("one('connection').dataset.state === 'online'").await;
    page.until(KEPT).await;
    let stream = stage.redis.stream_ids(room_of(&link_to(&stage, &room)));
    assert_eq!(stream.len() as u64, seen);
    close(&stage, &page).await;
    for number in 1..=unread {
        write_message(&stage, &room, "*", "Ann", &format!("unread {number}"));
    }
    if matches!(between, Between::SessionOver) {
        stage.redis.cmd(["DEL", &format!("user:{}:Eve:session", room.id)]);
    }
    page.goto(&link_to(&stage, &room)).await;
    see_unread_from(&page, "unread 1").await;
    is_at_the_line(&page).await;
    reading_on_counts_down(&page, unread).await;
}

#[tokio::test]
async fn who_comes_back_to_more_than_a_page_begins_where_reading_stopped() {
    comes_back(3, 260, Between::Nothing, DESKTOP).await;
}

#[tokio::test]
async fn who_comes_back_after_the_session_begins_where_reading_stopped() {
    comes_back(20, 120, Between::SessionOver, PHONE).await;
}

#[tokio::test]
async fn who_left_an_empty_room_finds_the_line_before_all_that_came() {
    comes_back(0, 75, Between::Nothing, PHONE).await;
}

/// A reader who was cut off with this many messages in the room, and missed 300, of which one
/// answer has at most 60.
async fn cut_off(seen: u64) -> (Stage, Room, Client, Proxy, Page) {
    let settings = [("RESUME_MAX", "60"), ("MESSAGES_PER_SECOND", "10000")];
    let stage = Stage::new(1, &settings).await;
    let room = stage.room("Ann").await;
    write_history(&stage, &room, "Ann", seen, 60_000);
    let mut ann = companion(&stage, &room, &room.token).await;
    let proxy = Proxy::to(stage.nodes[0].addr()).await;
    let page = Page::open(&stage.env, DESKTOP).await;
    page.run_first(GEOMETRY).await;
    enter(&page, &link_through(&proxy, &room), "Eve").await;
    page.until(&format!("all('message').length === {seen}")).await;
    page.until(KEPT).await;
    proxy.cut();
    page.see_attribute("connection", "data-state", "offline").await;
    for number in 1..=300 {
        ann.say(&room.id, &format!("missed {number}")).await;
    }
    (stage, room, ann, proxy, page)
}

async fn reconnect(proxy: &Proxy, page: &Page) {
    proxy.resume();
    page.eval("dispatchEvent(new Event('online'))").await;
    page.until("all('message').length >= 60").await;
}

#[tokio::test]
async fn who_missed_more_than_an_answer_brings_reads_all_of_it_from_the_line_on() {
    for (seen, kept) in [(20, 320), (0, 300), (20, 100)] {
        let (stage, room, _ann, proxy, page) = cut_off(seen).await;
        let stream = format!("room:{}:messages", room.id);
        stage.redis.cmd(["XTRIM", &stream, "MAXLEN", &kept.to_string()]);
        reconnect(&proxy, &page).await;
        let missed = kept.min(300);
        page.until(&format!("all('message').length === {}", seen + missed)).await;
        assert_eq!(page.eval("all('hole').length").await, 0);
        see_unread_from(&page, &format!("missed {}", 301 - missed)).await;
        is_at_the_line(&page).await;
        reading_on_counts_down(&page, missed).await;
    }
}

/// The history does not come, so what is missing stays so, also for who goes on to the end. What is there is seen then.
#[tokio::test]
async fn what_is_missing_is_not_read_by_who_goes_to_the_end() {
    for (seen, filled_by) in [(20, "hole"), (0, "older-again")] {
        let (_stage, room, mut ann, proxy, page) = cut_off(seen).await;
        page.block(&["*/messages?*"]).await;
        reconnect(&proxy, &page).await;
        page.see(filled_by).await;
        page.eval("one('log').scrollTop = one('log').scrollHeight").await;
        page.until(AT_END).await;
        page.until("!document.title.startsWith('(')").await;
        ann.say(&room.id, "news").await;
        page.until("all('message').at(-1).innerText.includes('news')").await;
        page.until("!document.title.startsWith('(')").await;
        assert_eq!(page.eval(AT_END).await, true);
        page.see("unread-line").await;

        page.block(&[]).await;
        page.goto("about:blank").await;
        page.goto(&link_through(&proxy, &room)).await;
        see_unread_from(&page, "missed 1").await;
        is_at_the_line(&page).await;
        reading_on_counts_down(&page, 301).await;
    }
}

/// A keyboard that covers the page instead of shrinking it, as on iOS.
const KEYBOARD: &str = r"
  (height) => {
    Object.defineProperty(visualViewport, 'height', { value: height, configurable: true });
    visualViewport.dispatchEvent(new Event('resize'));
    return frames();
  }
";

#[tokio::test]
async fn a_keyboard_that_covers_the_page_does_not_cover_the_composer() {
    let stage = Stage::new(1, &[]).await;
    let room = stage.room("Ann").await;
    write_talk(&stage, &room, 30);
    let page = Page::open(&stage.env, PHONE).await;
    page.run_first(GEOMETRY).await;
    enter(&page, &link_to(&stage, &room), "Eve").await;
    page.until(AT_END).await;
    page.eval(&format!("({KEYBOARD})(420)")).await;
    let composer = number(&page, "one('composer').getBoundingClientRect().bottom").await;
    assert!(composer <= 420.0, "the composer ends at {composer}");
    assert_eq!(page.eval(AT_END).await, true);
    page.eval(&format!("({KEYBOARD})(innerHeight)")).await;
    assert_eq!(page.eval("one('room').clientHeight === innerHeight").await, true);
    assert_eq!(page.eval(AT_END).await, true);
}

/// Scrolling a little is enough to stop following.
#[tokio::test]
async fn a_line_further_up_is_not_the_end() {
    let stage = Stage::new(1, &[]).await;
    let room = stage.room("Ann").await;
    write_talk(&stage, &room, 40);
    let mut ann = companion(&stage, &room, &room.token).await;
    let page = reader(&stage, &room, "Eve").await;
    page.eval(GEOMETRY).await;
    page.until(AT_END).await;
    page.eval("one('log').scrollTop -= 24").await;
    page.eval("frames()").await;
    let before = number(&page, "mark()").await;
    ann.say(&room.id, "news").await;
    page.until("one('new-messages').dataset.count === '1'").await;
    assert!(number(&page, &format!("moved({before})")).await < 1.5);
    page.see("unread-line").await;
}
