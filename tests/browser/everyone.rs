//! Accessibility and limits: keyboards, screen readers, small screens, long histories, other
//! scripts.

use serde_json::json;

use crate::{
    page::{DESKTOP, Look, PHONE, Page},
    pretend::{hide, prepare, show},
    scene::{choose, companion, enter, inside, link_to, redis_now, unfold_options, write_history},
    support::{Client, Room, Stage},
};

const AXE: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/tests/web/node_modules/axe-core/axe.min.js");

/// Displays for the checks of the client's states. Not every state is checked in every display, but
/// each is checked in light and dark, wide and narrow, English and Korean at least once.
pub const WIDE: Look = Look { reduced_motion: true, ..DESKTOP };
pub const NARROW: Look = Look { reduced_motion: true, language: "ko-KR", dark: true, ..PHONE };

/// Fails if axe-core reports anything, in light or dark mode.
pub async fn check_with_axe(page: &Page, state: &str) {
    let axe = std::fs::read_to_string(AXE).expect("axe-core is missing; install it with: make web");
    page.eval(&format!("if (!window.axe) {{ {axe} }} 0")).await;
    // Wait for fade-in animations.
    let settle = "Promise.allSettled(document.getAnimations().map(({ finished }) => finished)).then(() => 0)";
    page.eval(settle).await;
    // In other colours only these can find anything else.
    for (dark, rules) in [(false, "undefined"), (true, "['color-contrast', 'link-in-text-block']")]
    {
        page.set_colours(dark).await;
        let found = format!(
            "axe.run({{ resultTypes: ['violations'], runOnly: {rules} }}).then((found) => found.violations.map((v) => \
             v.id + ': ' + v.nodes.map((node) => node.target.join(' ')).join(', ')))"
        );
        assert_eq!(page.eval(&found).await, json!([]), "{state}, dark: {dark}");
    }
}

/// Eve, who reads in the middle of a room with this many messages of Ann, and Ann.
async fn in_a_long_room(stage: &Stage, room: &Room, messages: u64) -> (Client, Page) {
    write_history(stage, room, "Ann", messages, 60_000);
    let mut ann = companion(stage, room, &room.token).await;
    let page = inside(stage, room, "Eve").await;
    page.until("all('message').length >= 50").await;
    // From now on the client reacts to scrolling.
    ann.wait_for_kind("read").await;
    (ann, page)
}

/// An expression: whether the element, or a descendant, has the focus.
pub fn is_focused(id: &str) -> String {
    format!("Boolean(one('{id}')?.contains(document.activeElement))")
}

/// Presses Tab until the element has the focus.
async fn tab_to(page: &Page, id: &str) {
    let is_there = is_focused(id);
    for _ in 0..30 {
        if page.eval(&is_there).await == true {
            return;
        }
        page.press("Tab").await;
    }
    panic!("Tab does not lead to {id}");
}

/// Presses Shift+Tab until the element has the focus.
async fn tab_back_to(page: &Page, id: &str) {
    let is_there = is_focused(id);
    for _ in 0..10 {
        page.press_shift("Tab").await;
        if page.eval(&is_there).await == true {
            return;
        }
    }
    panic!("Shift and Tab do not lead to {id}");
}

#[tokio::test]
async fn axe_finds_nothing_outside_a_room() {
    let stage = Stage::new(1, &[]).await;
    let room = stage.room("Ann").await;
    let sealed =
        stage.http().post("/api/rooms", json!({ "creatorName": "Ann", "e2e": true })).await;
    let sealed = sealed.data(201)["roomId"].as_str().unwrap().to_owned();
    let _ann = companion(&stage, &room, &room.token).await;
    let base = stage.http().base().to_owned();
    for look in [WIDE, NARROW] {
        let page = Page::open(&stage.env, look).await;
        for (address, id) in [
            (String::new(), "landing"),
            (format!("/r/{}", room.id), "entry"),
            (format!("/r/{sealed}"), "key-missing"),
            ("/r/zzzzzzzzzzzz".to_owned(), "room-gone"),
        ] {
            page.goto(&format!("{base}{address}")).await;
            page.see(id).await;
            if id == "entry" {
                page.fill("nickname", "Ann").await;
                page.click("enter").await;
                page.see("suggest-name").await;
            }
            check_with_axe(&page, id).await;
        }
    }
}

#[tokio::test]
async fn axe_finds_nothing_in_a_room() {
    for look in [WIDE, NARROW] {
        let stage = Stage::new(1, &[("MESSAGES_PER_SECOND", "100")]).await;
        let room = stage.room("Ann").await;
        write_history(&stage, &room, "Ann", 40, 60_000);
        let mut ann = companion(&stage, &room, &room.token).await;
        let page = Page::open(&stage.env, look).await;
        prepare(&page).await;
        enter(&page, &link_to(&stage, &room), "Eve").await;
        page.until("all('message').length === 40").await;
        page.fill("composer", "https://example.org/").await;
        page.click("send").await;
        page.until("all('message').at(-1).dataset.state === 'sent'").await;
        check_with_axe(&page, "messages").await;

        page.click("room-menu").await;
        page.until("/24/.test(one('lifetime').innerText)").await;
        check_with_axe(&page, "room menu").await;
        page.press("Escape").await;
        if look.touch {
            choose(&page, "menu-share").await;
        } else {
            page.click("share").await;
        }
        page.see("qr").await;
        check_with_axe(&page, "share dialog").await;
        page.press("Escape").await;
        if look.touch {
            choose(&page, "menu-people").await;
            page.see("members-close").await;
            check_with_axe(&page, "people").await;
            page.click("members-close").await;
        }

        hide(&page).await;
        for number in 1..=30 {
            ann.say(&room.id, &format!("unread {number}")).await;
        }
        page.until("all('message').length === 71").await;
        show(&page).await;
        page.see("unread-line").await;
        page.see("new-messages").await;
        check_with_axe(&page, "unread messages").await;

        stage.redis.freeze();
        page.fill("composer", "not now").await;
        page.click("send").await;
        page.see("retry").await;
        page.set_network(true, 0, 0).await;
        page.see("try-now").await;
        check_with_axe(&page, "a failed message, no connection").await;
        if look.touch {
            choose(&page, "menu-leave").await;
        } else {
            page.click("leave").await;
        }
        page.see("left").await;
        check_with_axe(&page, "left").await;
        stage.redis.thaw();
    }
}

#[tokio::test]
async fn new_messages_are_announced_and_keys_are_enough() {
    let stage = Stage::new(1, &[]).await;
    let room = stage.room("Ann").await;
    let page = Page::open(&stage.env, DESKTOP).await;
    page.goto(&link_to(&stage, &room)).await;
    page.see("nickname").await;
    tab_to(&page, "nickname").await;
    page.type_text("Eve").await;
    page.press("Enter").await;
    page.see_inside("Eve").await;
    tab_to(&page, "composer").await;
    page.type_text("no mouse").await;
    page.press("Enter").await;
    page.see_messages(&[("Eve", "no mouse")]).await;
    assert_eq!(page.eval("one('log').getAttribute('role')").await, "log");
    page.see_attribute("log", "aria-live", "polite").await;
}

/// Activates a control with the keyboard alone.
async fn press_control(page: &Page, id: &str) {
    page.see(id).await;
    tab_to(page, id).await;
    page.press("Enter").await;
}

#[tokio::test]
async fn dialogs_and_sheets_give_the_focus_back_and_pages_take_it() {
    let stage = Stage::new(1, &[]).await;
    let room = stage.room("Ann").await;
    let page = Page::open(&stage.env, Look { touch: false, ..PHONE }).await;
    enter(&page, &link_to(&stage, &room), "Eve").await;
    for (steps, within) in [(0, "members-close"), (1, "share-dialog")] {
        press_control(&page, "room-menu").await;
        page.until(&is_focused("menu-people")).await;
        for _ in 0..steps {
            page.press("ArrowDown").await;
        }
        page.press("Enter").await;
        page.until(&is_focused(within)).await;
        page.press("Escape").await;
        page.until(&is_focused("room-menu")).await;
    }
    let heading = "document.activeElement.tagName";
    press_control(&page, "room-menu").await;
    page.until(&is_focused("menu-people")).await;
    page.press("ArrowUp").await;
    page.press("Enter").await;
    page.see("left").await;
    page.until_is(heading, &json!("H1")).await;
    press_control(&page, "rejoin").await;
    page.see_inside("Eve").await;
    page.goto(&format!("{}/r/zzzzzzzzzzzz", stage.http().base())).await;
    page.see("room-gone").await;
    page.until_is(heading, &json!("H1")).await;
    press_control(&page, "new-room").await;
    page.see("landing").await;
}

#[tokio::test]
async fn what_disappears_leaves_the_focus_in_the_log_and_a_failure_is_said() {
    let stage = Stage::new(1, &[]).await;
    let room = stage.room("Ann").await;
    let (mut ann, page) = in_a_long_room(&stage, &room, 60).await;
    tab_to(&page, "log").await;
    page.eval("one('log').scrollTop = 0").await;
    page.see_attribute("older", "data-state", "end").await;
    page.see("new-messages").await;
    ann.say(&room.id, "news").await;
    page.see_attribute("new-messages", "data-count", "1").await;
    press_control(&page, "new-messages").await;
    page.see_none("new-messages").await;
    assert_eq!(page.eval(&is_focused("log")).await, true);

    stage.redis.freeze();
    tab_to(&page, "composer").await;
    for text in ["drop me", "keep me"] {
        page.type_text(text).await;
        page.press("Enter").await;
    }
    page.until("one('notice').innerText.includes('Not sent: \u{2068}drop me')").await;
    assert_eq!(page.eval("one('notice').getAttribute('role')").await, "status");
    tab_back_to(&page, "discard").await;
    page.press("Enter").await;
    page.until("one('notice').innerText.includes('Not sent: \u{2068}keep me')").await;
    assert_eq!(page.eval(&is_focused("log")).await, true);
    press_control(&page, "retry").await;
    page.until("one('log') === document.activeElement").await;
    stage.redis.thaw();
    page.until("all('message').at(-1).dataset.state === 'sent'").await;
    assert_eq!(page.eval("document.activeElement === one('log')").await, true);
}

#[tokio::test]
async fn nothing_scrolls_sideways_on_a_small_phone() {
    let stage = Stage::new(1, &[]).await;
    let room = stage.room("Ann").await;
    let mut ann = companion(&stage, &room, &room.token).await;
    ann.say(&room.id, &"unbroken".repeat(40)).await;
    ann.say(&room.id, "مرحبا بالعالم, hello, שלום").await;
    let _long = companion(&stage, &room, &"W".repeat(32)).await;
    let page = Page::open(&stage.env, Look { width: 320, ..PHONE }).await;
    page.goto(stage.http().base()).await;
    page.see("create").await;
    unfold_options(&page).await;
    fits(&page).await;
    page.eval("document.documentElement.style.fontSize = '200%'").await;
    fits(&page).await;
    page.goto(&link_to(&stage, &room)).await;
    page.see("nickname").await;
    fits(&page).await;
    enter(&page, &link_to(&stage, &room), "Eve").await;
    page.until("all('message').length === 2").await;
    fits(&page).await;
    choose(&page, "menu-people").await;
    page.see("members").await;
    fits(&page).await;
    page.press("Escape").await;
    choose(&page, "menu-share").await;
    page.see("qr").await;
    fits(&page).await;
    page.press("Escape").await;
    page.eval("document.documentElement.style.fontSize = '200%'").await;
    page.click("room-menu").await;
    page.see("menu-leave").await;
    fits(&page).await;
    page.click("menu-share").await;
    page.see("qr").await;
    fits(&page).await;
    page.until("one('share-dialog').scrollWidth <= one('share-dialog').clientWidth").await;
    page.press("Escape").await;
    page.eval("document.documentElement.style.fontSize = ''").await;
    stage.redis.freeze();
    page.fill("composer", "not now").await;
    page.click("send").await;
    page.see("discard").await;
    fits(&page).await;
    stage.redis.thaw();
}

/// Nothing is wider than the screen, and no control is outside it. A phone shows a page that is wider as a whole, and
/// then `innerWidth` is wider too.
async fn fits(page: &Page) {
    let widths = "[document.documentElement.scrollWidth, document.documentElement.clientWidth]";
    page.until(&format!("(([all, screen]) => all <= screen)({widths})")).await;
    let outside = "[...document.querySelectorAll('button, input, textarea, a')].filter(isSeen)\
                   .filter((control) => { const { left, right } = control.getBoundingClientRect(); \
                   return left < 0 || right > document.documentElement.clientWidth; }).map((control) => control.outerHTML)";
    assert_eq!(page.eval(outside).await, json!([]));
}

#[tokio::test]
async fn text_from_right_to_left_keeps_to_its_own_place() {
    let stage = Stage::new(1, &[]).await;
    let room = stage.room("Ann").await;
    let mut ann = companion(&stage, &room, &room.token).await;
    let mut dana = companion(&stage, &room, "דנה (1)").await;
    ann.say(&room.id, "plain").await;
    dana.say(&room.id, "שלום, world (2).").await;
    let page = inside(&stage, &room, "Eve").await;
    page.until("all('message').length === 2").await;
    let directions = "all('message-text').map((text) => getComputedStyle(text).direction)";
    assert_eq!(page.eval(directions).await, json!(["ltr", "rtl"]));
    // Bubble, author and time, and the members' lines, have the same positions as for everybody.
    let sides = |what: &str| {
        format!(
            "all('message').map((li) => li.querySelector('{what}').getBoundingClientRect())\
             .every(({{ left }}, _, [first]) => left === first.left)"
        )
    };
    assert_eq!(page.eval(&sides(".author")).await, true);
    assert_eq!(page.eval(&sides(".bubble")).await, true);
    let time_is_behind = "all('message').every((li) => li.querySelector('time').getBoundingClientRect().left \
                          >= li.querySelector('.bubble').getBoundingClientRect().right)";
    assert_eq!(page.eval(time_is_behind).await, true);
    let statuses = "new Set(all('member').map((li) => \
                    li.querySelector('.status').getBoundingClientRect().left)).size";
    assert_eq!(page.eval(statuses).await, 1);
    let title = "\u{2068}Ann, \u{2068}דנה (1)\u{2069}\u{2069} · linkroom";
    page.until_is("document.title", &json!(title)).await;
}

#[tokio::test]
async fn who_wants_no_motion_sees_none() {
    let stage = Stage::new(1, &[]).await;
    let room = stage.room("Ann").await;
    // Seconds of the longest animation or transition on the page.
    let longest = "Math.max(...[...document.querySelectorAll('*')].flatMap((element) => {
                     const { animationDuration, transitionDuration, transitionProperty, animationName }
                       = getComputedStyle(element);
                     return [animationName === 'none' ? 0 : parseFloat(animationDuration),
                             transitionProperty === 'none' ? 0 : parseFloat(transitionDuration)];
                   }))";
    for (reduced_motion, moves) in [(false, true), (true, false)] {
        let page = Page::open(&stage.env, Look { reduced_motion, ..DESKTOP }).await;
        enter(&page, &link_to(&stage, &room), if moves { "Eve" } else { "Bob" }).await;
        page.set_network(true, 0, 0).await;
        page.see_attribute("connection", "data-state", "offline").await;
        page.say("waits").await;
        let seconds = page.eval(longest).await.as_f64().unwrap();
        assert_eq!(seconds > 0.01, moves, "{seconds} s");
    }
}

/// Scrolls the log from its end to its beginning in a hundred frames; returns the maximum number of
/// messages rendered at once.
const SCROLL: &str = "new Promise((resolve) => {
    const log = one('log');
    const step = log.scrollHeight / 100;
    const drawn = () => all('message').filter((message) =>
      message.checkVisibility({ contentVisibilityAuto: true })).length;
    let most = drawn();
    requestAnimationFrame(function frame() {
      most = Math.max(most, drawn());
      log.scrollTop -= step;
      if (log.scrollTop > 0) requestAnimationFrame(frame);
      else resolve(most);
    });
  })";

#[tokio::test]
async fn five_thousand_messages_scroll_and_a_new_one_arrives() {
    // On a slow machine, two browsers may leave Redis little CPU time for a while.
    let settings = [
        ("HISTORY_MAX", "8000"),
        ("JOIN_HISTORY", "5000"),
        ("OUTBOX_BYTES", "8388608"),
        ("JOINED_BYTES", "8388608"),
        ("REDIS_TIMEOUT", "10s"),
    ];
    let stage = Stage::new(1, &settings).await;
    let room = stage.room("Ann").await;
    let write = "for n = 1, 5000 do redis.call('XADD', KEYS[1], ARGV[1] + n * 1000 .. '-1', \
                 'from', 'Ann', 'text', 'message ' .. n) end";
    let start = (redis_now(&stage) - 5_100_000).to_string();
    stage.redis.cmd(["EVAL", write, "1", &format!("room:{}:messages", room.id), &start]);
    let mut ann = companion(&stage, &room, &room.token).await;
    let page = inside(&stage, &room, "Eve").await;
    page.until("all('message').length === 5000").await;
    let last = "all('message-text').at(-1)";
    page.until(&format!("{last}.getBoundingClientRect().bottom < innerHeight")).await;
    // Rendering all messages takes a second; `make measure` reports the time of a frame.
    let most = page.eval(SCROLL).await.as_u64().unwrap();
    assert!((10..1_000).contains(&most), "{most} messages drawn at once");
    page.until("all('message-text')[0].getBoundingClientRect().top > 0").await;
    ann.say(&room.id, "news").await;
    page.see_attribute("new-messages", "data-count", "1").await;
    page.until("all('message-text')[0].getBoundingClientRect().top > 0").await;
    page.click("new-messages").await;
    page.until(&format!("{last}.innerText === 'news'")).await;
    page.until(&format!("{last}.getBoundingClientRect().bottom < innerHeight")).await;
    page.see_none("new-messages").await;
}

#[tokio::test]
async fn reading_upwards_loads_older_messages_and_is_not_disturbed() {
    let stage = Stage::new(1, &[]).await;
    let room = stage.room("Ann").await;
    let (mut ann, page) = in_a_long_room(&stage, &room, 150).await;
    // The message that is read, and its position; loading the ones above it is slow.
    stage.redis.freeze();
    let read = "window.read ??= all('message')[2]; read.getBoundingClientRect().top";
    page.eval(&format!(
        "one('log').scrollTop = 0; new Promise(requestAnimationFrame).then(() => {{ {read} }})"
    ))
    .await;
    page.see_attribute("older", "data-state", "loading").await;
    let before = page.eval(read).await.as_f64().unwrap();
    stage.redis.thaw();
    page.until("all('message').length === 150").await;
    stands_still(&page, read, before).await;

    // In the middle, with more above and below than fits on the screen.
    page.eval("window.read = all('message')[75]; read.scrollIntoView({ block: 'center' })").await;
    let is_still = format!(
        "(async () => {{ const last = read.getBoundingClientRect().top; await {FRAMES}; \
         return last > 0 && read.getBoundingClientRect().top === last; }})()"
    );
    page.until(&is_still).await;
    let before = page.eval(read).await.as_f64().unwrap();
    for (text, count) in [("news", "1"), ("and more", "2"), ("and again", "3")] {
        ann.say(&room.id, text).await;
        page.see_attribute("new-messages", "data-count", count).await;
    }
    assert_eq!(page.text("new-messages").await, "3 new");
    stands_still(&page, read, before).await;
    page.click("new-messages").await;
    page.see_none("new-messages").await;
    page.until("all('message').at(-1).getBoundingClientRect().bottom < innerHeight").await;
}

/// Waits for some frames, after which the layout is final.
const FRAMES: &str = "new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(() => \
                      requestAnimationFrame(() => resolve(0)))))";

/// The message is at its position, to the pixel.
async fn stands_still(page: &Page, read: &str, before: f64) {
    page.eval(FRAMES).await;
    let now = page.eval(read).await.as_f64().unwrap();
    assert!((now - before).abs() < 1.0, "from {before} to {now}");
}

#[tokio::test]
async fn nothing_comes_from_another_host() {
    let stage = Stage::new(1, &[]).await;
    let room = stage.room("Ann").await;
    let page = inside(&stage, &room, "Eve").await;
    let urls = "performance.getEntriesByType('resource').map((entry) => entry.name)";
    let foreign = format!("{urls}.filter((name) => !name.startsWith(location.origin))");
    assert_eq!(page.eval(&foreign).await, json!([]));
    let token = page.eval("Object.values(localStorage).join()").await;
    assert!(token.as_str().unwrap().contains("lr_"), "the token is kept in the page");
    assert_eq!(page.eval(&format!("{urls}.some((name) => name.includes('lr_'))")).await, false);
}
