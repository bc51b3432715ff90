//! Networks, nodes and Redis that fail, without losing anything that was written.

use serde_json::{Value, json};

use crate::{
    page::{DESKTOP, PHONE, Page},
    pretend::{hide, prepare, show, skip},
    scene::{
        close, come_in, companion, enter, inside, link_through, link_to, make_room, room_of,
        see_unread_from,
    },
    support::{Client, Proxy, Stage},
};

#[tokio::test]
async fn what_is_written_while_the_network_is_away_is_sent_once_when_it_is_back() {
    let stage = Stage::new(1, &[]).await;
    let proxy = Proxy::to(stage.nodes[0].addr()).await;
    let page = Page::open(&stage.env, DESKTOP).await;
    page.installs().await;
    let link = make_room(&page, &format!("http://{}", proxy.addr()), "Alice").await;
    page.until("caches.match('/static/js/room/view.js').then(Boolean)").await;
    let room = room_of(&link);
    let mut bob = Client::connect(stage.nodes[0].addr()).await;
    bob.join(room, "Bob").await;
    page.say("before").await;
    page.see_messages(&[("Alice", "before")]).await;

    proxy.cut();
    bob.wait_for_kind("msg").await;
    bob.say(room, "missed").await;
    page.say("meanwhile").await;
    page.reload().await;
    proxy.resume();
    let said = bob.wait_for("the message", |frame| frame["text"] == "meanwhile").await;
    assert_eq!(said["from"], "Alice");
    page.see_messages(&[("Alice", "before"), ("Bob", "missed"), ("Alice", "meanwhile")]).await;
    assert_eq!(stage.redis.stream_ids(room).len(), 3);
}

#[tokio::test]
async fn what_a_tab_could_not_send_before_it_was_closed_another_one_sends_once() {
    let stage = Stage::new(1, &[]).await;
    let room = stage.room("Ann").await;
    let proxy = Proxy::to(stage.nodes[0].addr()).await;
    let link = link_through(&proxy, &room);
    let page = Page::open(&stage.env, DESKTOP).await;
    enter(&page, &link, "Eve").await;
    let tab = page.new_tab().await;
    tab.goto(&link).await;
    tab.see_attribute("connection", "data-state", "online").await;
    proxy.cut();
    tab.say("left behind").await;
    tab.close().await;
    proxy.resume();
    page.see_messages(&[("Eve", "left behind")]).await;
    page.until("Object.keys(localStorage).every((key) => !key.startsWith('linkroom:out:'))").await;
    assert_eq!(stage.redis.stream_ids(&room.id).len(), 1);
}

#[tokio::test]
async fn what_was_said_since_the_room_was_empty_is_all_there_after_an_absence() {
    let stage = Stage::new(1, &[("MESSAGES_PER_SECOND", "100")]).await;
    let room = stage.room("Ann").await;
    let mut ann = companion(&stage, &room, &room.token).await;
    let proxy = Proxy::to(stage.nodes[0].addr()).await;
    let page = Page::open(&stage.env, PHONE).await;
    enter(&page, &link_through(&proxy, &room), "Eve").await;
    proxy.cut();
    let talk: Vec<_> = (1..=60).map(|number| number.to_string()).collect();
    for text in &talk {
        ann.say(&room.id, text).await;
    }
    proxy.resume();
    let talk: Vec<_> = talk.iter().map(|text| ("Ann", text.as_str())).collect();
    page.see_messages(&talk).await;
}

#[tokio::test]
async fn offline_is_said_in_words() {
    let stage = Stage::new(1, &[]).await;
    let room = stage.room("Ann").await;
    let page = inside(&stage, &room, "Eve").await;
    page.see_attribute("connection", "data-state", "online").await;
    page.set_network(true, 0, 0).await;
    page.until("one('connection').dataset.state !== 'online'").await;
    assert!(!page.text("connection").await.is_empty());
    page.set_network(false, 0, -1).await;
    page.see_attribute("connection", "data-state", "online").await;
}

#[tokio::test]
async fn a_connection_that_opens_and_then_says_nothing_is_given_up_for_another() {
    let stage = Stage::new(1, &[]).await;
    let room = stage.room("Ann").await;
    let page = Page::open(&stage.env, DESKTOP).await;
    prepare(&page).await;
    // Frames that are sent while `lost` is set are lost.
    page.run_first(
        "const { send } = WebSocket.prototype; window.lost = 0; \
         WebSocket.prototype.send = function (text) { window.lost ? window.lost++ : send.call(this, text); }",
    )
    .await;
    enter(&page, &link_to(&stage, &room), "Eve").await;
    page.eval("window.lost = 1; dispatchEvent(new Event('offline'))").await;
    page.until("lost > 1").await;
    page.see_attribute("connection", "data-state", "connecting").await;
    page.eval("window.lost = 0").await;
    skip(&page, 10_000).await;
    page.see_attribute("connection", "data-state", "online").await;
    page.say("heard").await;
    page.see_messages(&[("Eve", "heard")]).await;
}

#[tokio::test]
async fn a_message_that_redis_does_not_take_fails_and_is_sent_later() {
    let stage = Stage::new(1, &[]).await;
    let room = stage.room("Ann").await;
    let page = inside(&stage, &room, "Eve").await;
    stage.redis.freeze();
    page.say("patience").await;
    page.until("['sending', 'failed'].includes(one('message')?.dataset.state)").await;
    stage.redis.thaw();
    page.see_messages(&[("Eve", "patience")]).await;
    assert_eq!(stage.redis.stream_ids(&room.id).len(), 1);
}

#[tokio::test]
async fn what_is_said_shows_at_once_however_slow_the_network_is() {
    let stage = Stage::new(1, &[]).await;
    let room = stage.room("Ann").await;
    let proxy = Proxy::to(stage.nodes[0].addr()).await;
    let page = Page::open(&stage.env, DESKTOP).await;
    enter(&page, &link_through(&proxy, &room), "Eve").await;
    proxy.freeze();
    for text in ["one", "two"] {
        page.say(text).await;
    }
    let states = "all('message').map((li) => li.dataset.state)";
    page.until_is(states, &json!(["sending", "sending"])).await;
    assert_eq!(stage.redis.stream_ids(&room.id).len(), 0);
    proxy.resume();
    page.until_is(states, &json!(["sent", "sent"])).await;
    page.see_messages(&[("Eve", "one"), ("Eve", "two")]).await;
}

#[tokio::test]
async fn a_message_that_failed_can_be_dropped_or_tried_again_at_once() {
    let stage = Stage::new(1, &[]).await;
    let room = stage.room("Ann").await;
    let page = inside(&stage, &room, "Eve").await;
    page.watch_network().await;
    stage.redis.freeze();
    for text in ["drop me", "keep me"] {
        page.say(text).await;
    }
    page.click("discard").await;
    page.until_is("all('message').map((li) => li.dataset.state)", &json!(["failed"])).await;
    let tries = || {
        let sent = page.events("Network.webSocketFrameSent");
        sent.iter().filter(|frame| frame.to_string().contains("keep me")).count()
    };
    let before = tries();
    page.click("retry").await;
    page.wait("another try", async || (tries() > before).then_some(())).await;
    stage.redis.thaw();
    page.until_is("all('message').map((li) => li.dataset.state)", &json!(["sent"])).await;
    page.see_messages(&[("Eve", "keep me")]).await;
    assert_eq!(stage.redis.stream_ids(&room.id).len(), 1);
}

#[tokio::test]
async fn while_there_is_no_connection_the_next_try_is_counted_down_and_can_be_now() {
    let stage = Stage::new(1, &[]).await;
    let room = stage.room("Ann").await;
    let proxy = Proxy::to(stage.nodes[0].addr()).await;
    let page = Page::open(&stage.env, DESKTOP).await;
    prepare(&page).await;
    // The wait is any time below a ceiling that doubles: always the longest.
    page.run_first("Math.random = () => 0.999").await;
    enter(&page, &link_through(&proxy, &room), "Eve").await;
    proxy.cut();
    let seconds = "Number(one('connection').dataset.state === 'offline' && \
                   /Next try in (\\d+) seconds/.exec(one('connection').innerText)?.[1])";
    while page.eval(&format!("{seconds} >= 25")).await != true {
        skip(&page, 60_000).await;
        page.see_attribute("connection", "data-state", "offline").await;
    }
    let before = page.eval(seconds).await.as_f64().unwrap();
    skip(&page, 5_000).await;
    // The countdown is not shown while a connection is tried.
    page.until(&format!("0 < {seconds} && {seconds} <= {before} - 5")).await;
    proxy.resume();
    page.click("try-now").await;
    page.see_attribute("connection", "data-state", "online").await;
    page.see_none("try-now").await;
    page.say("here again").await;
    page.see_messages(&[("Eve", "here again")]).await;
}

#[tokio::test]
async fn whoever_turns_out_not_to_be_in_the_room_joins_again() {
    let stage = Stage::new(1, &[]).await;
    let room = stage.room("Ann").await;
    let page = inside(&stage, &room, "Eve").await;
    page.watch_network().await;
    let channel = format!("chan:{}", room.id);
    stage.redis.cmd(["PUBLISH", &channel, r#"{"t":"error","code":"NOT_IN_ROOM"}"#]);
    page.wait("another join", async || (sent(&page, "join") == 1).then_some(())).await;
    page.say("in again").await;
    page.see_messages(&[("Eve", "in again")]).await;
}

#[tokio::test]
async fn what_is_published_by_hand_under_an_id_of_the_future_passes_by() {
    let stage = Stage::new(1, &[]).await;
    let room = stage.room("Ann").await;
    let page = Page::open(&stage.env, DESKTOP).await;
    // With a slow clock, every message is from the future.
    page.run_first("const { now } = Date; Date.now = () => now() - 3_600_000").await;
    enter(&page, &link_to(&stage, &room), "Eve").await;
    let channel = format!("chan:{}", room.id);
    let foreign = r#"{"t":"msg","id":"9999999999999-0","from":"ops","text":"restart at noon"}"#;
    stage.redis.cmd(["PUBLISH", &channel, foreign]);
    page.until("one('notice').innerText.includes('restart at noon')").await;
    page.say("fine").await;
    page.see_messages(&[("Eve", "fine")]).await;
    let session = format!("user:{}:Eve:session", room.id);
    let last = stage.redis.stream_ids(&room.id).pop().unwrap();
    page.wait("the read position", async || {
        format!("{:?}", stage.redis.cmd(["HGET", &session, "read"])).contains(&last).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_heartbeat_needs_no_worker() {
    let stage = Stage::new(1, &[("HEARTBEAT_INTERVAL", "300ms")]).await;
    let room = stage.room("Ann").await;
    let page = Page::open(&stage.env, DESKTOP).await;
    page.watch_network().await;
    page.run_first(
        "const Real = Worker; \
         window.Worker = class extends Real { constructor() { super('/static/js/none.js'); } }",
    )
    .await;
    enter(&page, &link_to(&stage, &room), "Eve").await;
    page.wait("some heartbeats", async || (sent(&page, "ping") > 4).then_some(())).await;
}

#[tokio::test]
async fn where_one_had_read_to_is_asked_for_until_it_is_known() {
    let stage = Stage::new(1, &[]).await;
    let room = stage.room("Ann").await;
    let mut ann = companion(&stage, &room, &room.token).await;
    let page = inside(&stage, &room, "Eve").await;
    ann.say(&room.id, "seen").await;
    ann.wait_for_kind("read").await;
    close(&stage, &page).await;
    ann.say(&room.id, "missed").await;
    page.run_first(
        "const ask = fetch; window.asked = 0; window.fetch = (path, ...rest) => \
         path.endsWith('/members') && ++asked === 1 ? Promise.reject(new TypeError()) : ask(path, ...rest)",
    )
    .await;
    page.goto(&link_to(&stage, &room)).await;
    see_unread_from(&page, "missed").await;
    page.until("asked === 2").await;
}

/// Browsers keep a page for the back button. A person who went to another page is not in the room
/// meanwhile.
#[tokio::test]
async fn whoever_goes_on_is_gone_and_the_way_back_brings_what_came() {
    let stage = Stage::new(1, &[("LEAVE_GRACE", "500ms")]).await;
    let room = stage.room("Ann").await;
    let mut ann = companion(&stage, &room, &room.token).await;
    let page = inside(&stage, &room, "Eve").await;
    ann.say(&room.id, "seen").await;
    ann.wait_for_kind("read").await;
    // A page that a service worker takes over while it is kept is not kept.
    page.installs().await;
    page.until("navigator.serviceWorker.controller").await;
    page.eval("window.kept = true").await;
    close(&stage, &page).await;
    ann.wait_for_kind("user_left").await;
    ann.say(&room.id, "missed").await;
    // The page may be back before an answer is.
    page.eval("setTimeout(() => history.back()); 0").await;
    page.see_attribute("connection", "data-state", "online").await;
    see_unread_from(&page, "missed").await;
    assert_eq!(page.eval("window.kept").await, true);
}

/// The phone sleeps: its page stops and its connection dies silently. Presence expires, and even
/// the session. Afterwards it is as if nobody had been away.
#[tokio::test]
async fn after_ten_minutes_in_the_background_the_room_is_as_if_one_had_never_left() {
    let settings = [
        ("PRESENCE_TTL", "2s"),
        ("SESSION_TTL", "4s"),
        ("LEAVE_GRACE", "1s"),
        ("MESSAGES_PER_SECOND", "100"),
    ];
    let stage = Stage::new(1, &settings).await;
    let room = stage.room("Ann").await;
    let mut ann = companion(&stage, &room, &room.token).await;
    let proxy = Proxy::to(stage.nodes[0].addr()).await;
    let page = Page::open(&stage.env, PHONE).await;
    prepare(&page).await;
    enter(&page, &link_through(&proxy, &room), "Eve").await;
    ann.say(&room.id, "before").await;
    page.see_messages(&[("Ann", "before")]).await;
    ann.wait_for_kind("read").await;

    hide(&page).await;
    page.cdp("Page.setWebLifecycleState", json!({ "state": "frozen" })).await;
    proxy.freeze();
    ann.wait_for_kind("user_left").await;
    let session = format!("user:{}:Eve:session", room.id);
    page.wait("Eve's session is over", async || {
        (stage.redis.cmd(["EXISTS", &session]).int() == 0).then_some(())
    })
    .await;
    let mut talk = vec![("Ann", "before".to_owned())];
    for number in 1..=60 {
        talk.push(("Ann", number.to_string()));
        ann.say(&room.id, &number.to_string()).await;
    }

    proxy.cut_once();
    proxy.resume();
    page.cdp("Page.setWebLifecycleState", json!({ "state": "active" })).await;
    skip(&page, 600_000).await;
    show(&page).await;
    assert_eq!(ann.wait_for_kind("user_joined").await["userId"], "Eve");
    let talk: Vec<_> = talk.iter().map(|(from, text)| (*from, text.as_str())).collect();
    page.see_messages(&talk).await;
    page.see_attribute("connection", "data-state", "online").await;
    page.see_inside("Eve").await;
    page.see_members(&["Ann", "Eve"]).await;
    // Reading continues where it stopped.
    let behind = "one('unread-line')?.nextElementSibling";
    page.until_is(&format!("all('message-text', {behind})[0].innerText"), &json!("1")).await;
    page.until(&format!("{behind}.getBoundingClientRect().top < innerHeight / 2")).await;
    page.see("new-messages").await;
}

/// Number of frames with this `t` that the page has sent.
fn sent(page: &Page, t: &str) -> usize {
    let frames = page.events("Network.webSocketFrameSent");
    let of_kind = |frame: &&Value| {
        let data = frame["response"]["payloadData"].as_str().unwrap_or_default();
        serde_json::from_str::<Value>(data).is_ok_and(|sent| sent["t"] == t)
    };
    frames.iter().filter(of_kind).count()
}

/// While `isAway` is true, the server does not answer the check whether it is reachable.
const AWAY: &str = "window.isAway = true; { const { fetch } = window; window.fetch = (...asked) => \
                    isAway && asked[1]?.method === 'HEAD' ? Promise.reject(new TypeError()) : fetch(...asked); }";

/// Files that are loaded after the room itself, including one that others need.
const LATER: [&str; 3] = ["*/room/extras.js", "*/room/menu.js", "*/room/shorten.js"];

#[tokio::test]
async fn what_comes_later_comes_when_the_network_is_back() {
    let stage = Stage::new(1, &[]).await;
    let room = stage.room("Ann").await;
    let mut ann = companion(&stage, &room, &room.token).await;
    for (number, file) in LATER.into_iter().enumerate() {
        let page = Page::open(&stage.env, DESKTOP).await;
        prepare(&page).await;
        page.run_first(AWAY).await;
        page.block(&[file]).await;
        let name = format!("Eve{number}");
        page.goto(&link_to(&stage, &room)).await;
        page.fill("nickname", &name).await;
        page.click("enter").await;
        page.see_attribute("room", "data-me", &name).await;
        page.eval("one('room').isTheSame = true").await;
        page.click("room-menu").await;
        page.until("one('notice').innerText.includes('No connection')").await;
        page.block(&[]).await;
        page.eval("window.isAway = false").await;
        match number {
            0 => page.click("room-menu").await,
            1 => drop(page.eval("dispatchEvent(new Event('online'))").await),
            _ => skip(&page, 60_000).await,
        }
        page.see_inside(&name).await;
        if number > 0 {
            page.click("room-menu").await;
        }
        page.see("lifetime").await;
        page.press("Escape").await;
        page.fill("composer", "@An").await;
        page.see("mention-list").await;
        page.press("Enter").await;
        page.press("Enter").await;
        ann.wait_for("the message", |frame| frame["text"] == "@Ann").await;
        assert_eq!(page.eval("one('room').isTheSame").await, true, "nothing was loaded anew");
    }
}

#[tokio::test]
async fn what_the_door_loads_may_come_late_and_the_server_judges_a_name_meanwhile() {
    let stage = Stage::new(1, &[]).await;
    let room = stage.room("Ann").await;
    let page = Page::open(&stage.env, DESKTOP).await;
    page.run_first(AWAY).await;
    page.block(&["*/pages/entry.js", "*/visible.js"]).await;
    page.goto(&link_to(&stage, &room)).await;
    page.see("unreachable").await;
    page.block(&["*/visible.js"]).await;
    page.click("try-now").await;
    page.fill("nickname", "a\u{2060}b").await;
    page.click("enter").await;
    let error = "one('form-error')?.innerText";
    page.until(&format!("{error}?.includes('nvisible characters')")).await;
    let ours = json!("Please leave out characters that nobody can see.");
    assert_ne!(page.eval(error).await, ours);
    page.block(&[]).await;
    page.eval("window.isAway = false").await;
    page.click("enter").await;
    page.until_is(error, &ours).await;
    // One that is spelled with a joiner is let in.
    come_in(&page, "नेप\u{200d}ाल").await;
}
