//! Browsers that say no: to storage, to workers, to whatever is newer than they are.

use crate::{
    page::{DESKTOP, PHONE, Page},
    pretend::{hide, prepare, show},
    scene::{companion, enter, link_to, make_room},
    support::Stage,
};

/// What people get who block cookies: each of these throws as soon as it is touched.
pub const FORBIDDEN: &str = "
  const refuse = { get() { throw new DOMException('', 'SecurityError'); } };
  for (const name of ['localStorage', 'sessionStorage', 'indexedDB', 'caches']) Object.defineProperty(window, name, refuse);
  Object.defineProperty(navigator, 'serviceWorker', refuse);
  navigator.locks.request = () => Promise.reject(new DOMException('', 'SecurityError'));
  window.Worker = window.SharedWorker = window.BroadcastChannel = class { constructor() { throw new DOMException('', 'SecurityError'); } };
";

/// The oldest supported browsers have none of these; some have less than they claim.
const OLDEST: &str = "
  for (const name of ['Worker', 'SharedWorker', 'BroadcastChannel', 'Notification', 'structuredClone', 'Navigation', 'navigation', 'scheduler']) delete window[name];
  for (const name of ['timeout', 'any']) delete AbortSignal[name];
  for (const name of ['ListFormat', 'Segmenter', 'PluralRules', 'RelativeTimeFormat', 'DisplayNames', 'DurationFormat', 'Locale']) delete Intl[name];
  for (const name of ['findLast', 'findLastIndex', 'toSorted', 'toSpliced', 'toReversed', 'with']) delete Array.prototype[name];
  for (const name of ['isWellFormed', 'toWellFormed']) delete String.prototype[name];
  for (const name of ['union', 'intersection', 'difference', 'isSubsetOf']) delete Set.prototype[name];
  for (const [of, name] of [[Promise, 'withResolvers'], [Promise, 'try'], [Object, 'groupBy'], [Map, 'groupBy'], [URL, 'canParse'], [URL, 'parse'],
    [Array, 'fromAsync'], [HTMLFormElement.prototype, 'requestSubmit'], [Element.prototype, 'scrollIntoViewIfNeeded'], [HTMLElement.prototype, 'togglePopover'],
    [crypto, 'randomUUID'], [Crypto.prototype, 'randomUUID'], [Navigator.prototype, 'locks'], [Navigator.prototype, 'serviceWorker'], [Navigator.prototype, 'clipboard'],
    [Navigator.prototype, 'setAppBadge'], [Navigator.prototype, 'userAgentData'], [Navigator.prototype, 'storage'], [Navigator.prototype, 'share'], [Document.prototype, 'startViewTransition']]) delete of[name];
  Object.defineProperty(navigator, 'languages', { value: ['en-US@posix', 'en_US.UTF-8', 'en-US'] });
";

#[tokio::test]
async fn a_browser_that_forbids_everything_it_can_is_enough_to_make_a_room_and_talk() {
    let stage = Stage::new(1, &[]).await;
    let page = Page::open(&stage.env, DESKTOP).await;
    page.run_first(FORBIDDEN).await;
    page.goto(stage.http().base()).await;
    page.see("nothing-kept").await;
    let link = make_room(&page, stage.http().base(), "Eve").await;
    page.say("nobody remembers me").await;
    page.see_messages(&[("Eve", "nobody remembers me")]).await;

    let other = Page::open(&stage.env, DESKTOP).await;
    other.run_first(FORBIDDEN).await;
    enter(&other, &link, "Bob").await;
    page.see_members(&["Bob", "Eve"]).await;
}

#[tokio::test]
async fn the_oldest_browsers_that_are_meant_to_work_do() {
    let stage = Stage::new(1, &[]).await;
    let room = stage.room("Ann").await;
    let mut ann = companion(&stage, &room, &room.token).await;
    let page = Page::open(&stage.env, PHONE).await;
    page.run_first(OLDEST).await;
    enter(&page, &link_to(&stage, &room), "Eve").await;
    ann.say(&room.id, "👩‍👩‍👧 hello").await;
    page.fill("composer", "https://example.com 을 보세요").await;
    page.click("send").await;
    let said = [("Ann", "👩‍👩‍👧 hello"), ("Eve", "https://example.com 을 보세요")];
    page.see_messages(&said).await;
    page.until("one('log').clientHeight > 300").await;
    page.reload().await;
    page.see_messages(&said).await;
    page.until(
        "all('message-text').every((text) => text.parentElement.querySelector('time').innerText)",
    )
    .await;
}

/// What a room does without: each of these is there, and throws.
const FAILING: &str = "
  const fail = () => { throw new DOMException('', 'NotAllowedError'); };
  Object.defineProperty(Notification, 'permission', { get: fail });
  Object.defineProperty(navigator, 'clipboard', { value: undefined });
  document.execCommand = navigator.setAppBadge = history.pushState = fail;
";

#[tokio::test]
async fn what_a_room_does_without_may_fail() {
    let stage = Stage::new(1, &[]).await;
    let room = stage.room("Ann").await;
    let mut ann = companion(&stage, &room, &room.token).await;
    let page = Page::open(&stage.env, DESKTOP).await;
    prepare(&page).await;
    page.run_first(FAILING).await;
    enter(&page, &link_to(&stage, &room), "Eve").await;
    page.see_none("notify").await;
    hide(&page).await;
    ann.say(&room.id, "unread").await;
    page.until("document.title.startsWith('(1)')").await;
    show(&page).await;
    page.click("copy-link").await;
    page.until("one('notice').innerText.includes('did not work')").await;
    for _ in 0..2 {
        page.click("room-menu").await;
        page.see("lifetime").await;
        page.press("Escape").await;
        page.see_none("menu").await;
    }
    page.say("still here").await;
    ann.wait_for("it", |frame| frame["text"] == "still here").await;
}

/// Another tab that does not run any more keeps nobody out.
#[tokio::test]
async fn a_lock_that_another_tab_keeps_is_waited_for_only_so_long() {
    let stage = Stage::new(1, &[]).await;
    let room = stage.room("Ann").await;
    let page = Page::open(&stage.env, DESKTOP).await;
    page.goto(stage.http().base()).await;
    let lock = format!("linkroom:room:{}", room.id);
    page.eval(&format!("navigator.locks.request('{lock}', () => new Promise(() => {{}})); 0"))
        .await;
    let tab = page.new_tab().await;
    enter(&tab, &link_to(&stage, &room), "Eve").await;
}

#[tokio::test]
async fn what_goes_wrong_while_entering_is_said_and_can_be_tried_again() {
    let stage = Stage::new(1, &[]).await;
    let room = stage.room("Ann").await;
    let faults = [
        "window.WebSocket = class { constructor() { throw new Error('no sockets'); } }",
        "window.requestAnimationFrame = () => { throw new TypeError('none'); }",
    ];
    for fault in faults {
        let page = Page::open(&stage.env, DESKTOP).await;
        page.expect_faults();
        let fault = format!("if (!window.name) {{ {fault} }}");
        page.run_first(&fault).await;
        page.goto(&link_to(&stage, &room)).await;
        page.fill("nickname", "Eve").await;
        page.click("enter").await;
        page.see("broken").await;
        // The next attempt succeeds.
        page.eval("window.name = 'mended'").await;
        page.click("again").await;
        page.until("one('nickname') || one('room')").await;
    }
}

#[tokio::test]
async fn a_page_whose_scripts_do_not_come_says_what_it_needs() {
    let stage = Stage::new(1, &[]).await;
    let page = Page::open(&stage.env, DESKTOP).await;
    for blocked in ["*/main.js", "*/i18n.js"] {
        page.block(&[blocked]).await;
        page.goto(stage.http().base()).await;
        page.until(
            "document.querySelector('.late')?.getAnimations().map((late) => late.finish()).length",
        )
        .await;
        page.until("document.querySelector('.late').checkVisibility({ visibilityProperty: true })")
            .await;
    }
    page.block(&[]).await;
    // The page may be reloading itself just now, which a reload from outside could not interrupt.
    page.goto(stage.http().base()).await;
    page.see("landing").await;
}
