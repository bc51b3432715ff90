//! Wrong or changed clocks, full storage, texts that are far too long.

use serde_json::json;

use crate::{
    page::{DESKTOP, Page},
    pretend::{prepare, skip},
    scene::{companion, enter, inside, link_through, link_to, redis_now, write_message},
    support::{Proxy, Stage},
};

/// Whether the browser asks before the page closes.
const ASKS: &str = "(() => { const closing = new Event('beforeunload', { cancelable: true }); \
                    dispatchEvent(closing); return closing.defaultPrevented; })()";

#[tokio::test]
async fn what_is_written_offline_where_storage_is_full_is_said_to_end_with_the_page() {
    let stage = Stage::new(1, &[]).await;
    let room = stage.room("Ann").await;
    let proxy = Proxy::to(stage.nodes[0].addr()).await;
    let page = Page::open(&stage.env, DESKTOP).await;
    page.run_first(
        "const { setItem } = Storage.prototype; Storage.prototype.setItem = function (...item) { \
         if (window.full) throw new DOMException('', 'QuotaExceededError'); \
         return setItem.apply(this, item); }",
    )
    .await;
    enter(&page, &link_through(&proxy, &room), "Eve").await;
    page.see_attribute("connection", "data-state", "online").await;
    proxy.cut();
    page.see_attribute("connection", "data-state", "offline").await;
    page.say("kept").await;
    assert_eq!(page.eval(ASKS).await, false);
    page.eval("window.full = true").await;
    page.say("not kept").await;
    page.until("one('notice').innerText.includes('storage of this browser is full')").await;
    page.until("all('message').at(-1).innerText.includes('Keep this page open')").await;
    assert_eq!(page.eval(ASKS).await, true);
    proxy.resume();
    page.eval("dispatchEvent(new Event('online'))").await;
    page.see_messages(&[("Eve", "kept"), ("Eve", "not kept")]).await;
    assert_eq!(page.eval(ASKS).await, false);
    assert_eq!(stage.redis.stream_ids(&room.id).len(), 2);
}

#[tokio::test]
async fn a_slow_clock_and_a_request_that_fails_lose_no_message() {
    let stage = Stage::new(1, &[]).await;
    let room = stage.room("Ann").await;
    let mut ann = companion(&stage, &room, &room.token).await;
    let page = Page::open(&stage.env, DESKTOP).await;
    page.run_first("const { now } = Date; Date.now = () => now() - 1_200_000").await;
    page.run_first(
        "const ask = fetch; window.asked = 0; window.fetch = (path, ...rest) => \
         /limit=1$/.test(path) && ++asked === 1 ? Promise.reject(new TypeError()) : ask(path, ...rest)",
    )
    .await;
    enter(&page, &link_to(&stage, &room), "Eve").await;
    for text in ["one", "two", "three"] {
        ann.say(&room.id, text).await;
    }
    page.see_messages(&[("Ann", "one"), ("Ann", "two"), ("Ann", "three")]).await;
    let asked = page.eval("asked").await.as_u64().unwrap();
    ann.say(&room.id, "by the server's clock").await;
    page.until("all('message').length === 4").await;
    assert_eq!(page.eval("asked").await.as_u64().unwrap(), asked, "its time is known now");
}

#[tokio::test]
async fn what_was_not_sent_before_the_clock_was_set_waits_for_the_person() {
    let stage = Stage::new(1, &[]).await;
    let room = stage.room("Ann").await;
    let page = inside(&stage, &room, "Eve").await;
    let at = redis_now(&stage) - 9 * 24 * 60 * 60 * 1000;
    let waiting = json!({ "text": "from another week", "from": "Eve", "at": at }).to_string();
    let key = json!(format!("linkroom:out:{}:0123456789abcdef", room.id));
    page.eval(&format!("localStorage.setItem({key}, {})", json!(waiting))).await;
    page.reload().await;
    page.until_is("all('message').map((li) => li.dataset.state)", &json!(["failed"])).await;
    page.until("one('message').innerText.includes('Not sent')").await;
    page.see_attribute("connection", "data-state", "online").await;
    assert_eq!(stage.redis.stream_ids(&room.id).len(), 0);
    page.click("retry").await;
    page.see_messages(&[("Eve", "from another week")]).await;
    page.until("Object.keys(localStorage).every((key) => !key.startsWith('linkroom:out:'))").await;
}

#[tokio::test]
async fn a_clock_that_is_set_back_hides_no_dead_connection_and_stretches_no_wait() {
    let stage = Stage::new(1, &[("HEARTBEAT_INTERVAL", "300ms")]).await;
    let room = stage.room("Ann").await;
    let proxy = Proxy::to(stage.nodes[0].addr()).await;
    let page = Page::open(&stage.env, DESKTOP).await;
    page.run_first("Math.random = () => 0.999").await;
    enter(&page, &link_through(&proxy, &room), "Eve").await;
    page.see_attribute("connection", "data-state", "online").await;
    page.eval("window.before = Date.now; Date.now = () => before() - 3_600_000; 0").await;
    proxy.freeze();
    page.until("one('connection').dataset.state !== 'online'").await;
    let seconds = "Number(/Next try in (\\d+) second/.exec(one('connection').innerText)?.[1] ?? 0)";
    page.eval("Date.now = () => before() - 7_200_000; 0").await;
    page.until("one('connection').dataset.state === 'offline'").await;
    assert!(page.eval(seconds).await.as_u64().unwrap() <= 30);
    proxy.cut_once();
    proxy.resume();
    page.see_attribute("connection", "data-state", "online").await;
}

/// The machine sleeps overnight while the page stays visible.
#[tokio::test]
async fn today_is_yesterday_after_a_night_in_which_no_timer_ran() {
    let stage = Stage::new(1, &[]).await;
    let room = stage.room("Ann").await;
    write_message(&stage, &room, "*", "Ann", "good night");
    let page = Page::open(&stage.env, DESKTOP).await;
    prepare(&page).await;
    enter(&page, &link_to(&stage, &room), "Eve").await;
    page.until("one('day')?.innerText === 'Today'").await;
    let day = 24 * 60 * 60 * 1000;
    page.eval(&format!("const {{ now }} = Date; Date.now = () => now() + {day}; 0")).await;
    skip(&page, 60_000).await;
    page.until("one('day').innerText === 'Yesterday'").await;
}

#[tokio::test]
async fn half_a_million_characters_are_refused_and_typing_stays_quick() {
    let stage = Stage::new(1, &[]).await;
    let room = stage.room("Ann").await;
    let page = inside(&stage, &room, "Eve").await;
    page.fill("composer", "a draft ").await;
    for letters in ["가 ", "word ", "👍", "line\n"] {
        page.type_text(&letters.repeat(200_000)).await;
        page.until("one('too-long')?.innerText.includes('at most 4000')").await;
        assert_eq!(page.eval("one('composer').value").await, "a draft ");
    }
    page.eval("document.execCommand('insertText', false, 'word '.repeat(784))").await;
    page.until_is("one('left').textContent", &json!("73")).await;
    let key = "(() => { const start = performance.now(); document.execCommand('insertText', false, 'a'); \
               one('log').scrollHeight; return performance.now() - start; })()";
    let mut times = Vec::new();
    for _ in 0..9 {
        times.push(page.eval(key).await.as_f64().unwrap());
    }
    times.sort_by(f64::total_cmp);
    assert!(times[0] < 8.0, "{times:?} ms for a letter");
    page.eval("document.execCommand('insertText', false, 'a'.repeat(80))").await;
    page.until("one('too-long').innerText === '17 characters too long'").await;
}
