//! People of a large room, of whom the page is told how many there are: who they are it asks for, in pages.

use std::time::Duration;

use serde_json::{Value, json};

use crate::{
    everyone::{NARROW, WIDE, check_with_axe},
    page::{Look, Page},
    pretend::{prepare, skip},
    scene::{choose, companion, enter, inside, link_to},
    support::{Client, Room, Stage},
};

const SETTINGS: [(&str, &str); 2] = [("ROSTER_MAX", "4"), ("LEAVE_GRACE", "100ms")];
/// Guests in the room: more than one answer to a search names.
const GUESTS: usize = 33;
/// After which a list that is looked at is asked for again.
const FRESH_MS: u64 = 10_000;

/// An expression: the names in the list.
const LISTED: &str = "all('member').map((li) => li.dataset.user)";

/// An expression: asks for more until there is none.
const ALL_SHOWN: &str = "isSeen(one('people-more')) && one('people-more').click(); \
                         /found|찾았/.test(one('people-words').innerText || 'found') && !isSeen(one('people-more'))";

/// Ann, the guests, and somebody with this look; no more of them than are in the list come in from now on.
async fn crowd(stage: &Stage, look: Look) -> (Room, Vec<Client>, Page) {
    let room = stage.room("Ann").await;
    let mut members = stage.guests(&room, GUESTS).await;
    members.iter_mut().for_each(|guest| guest.keep_alive(Duration::from_secs(5)));
    members.push(companion(stage, &room, &room.token).await);
    let page = Page::open(&stage.env, look).await;
    prepare(&page).await;
    enter(&page, &link_to(stage, &room), "민아").await;
    page.until_is("one('people-count').textContent", &json!((GUESTS + 2).to_string())).await;
    page.until("one('people-more')").await;
    // Who has a session is told in a locked room too.
    let path = format!("/api/rooms/{}", room.id);
    stage.http().patch(&path, &room.token, json!({ "locked": true })).await.data(200);
    (room, members, page)
}

fn everybody() -> Vec<String> {
    let mut names: Vec<_> = (0..GUESTS).map(|number| format!("guest {number}")).collect();
    names.extend(["Ann", "민아"].map(str::to_owned));
    names.sort_unstable();
    names
}

async fn found(page: &Page, sought: &str) -> Value {
    page.fill("people-search", sought).await;
    page.until("/found|Nobody/.test(one('people-words').innerText)").await;
    page.eval(LISTED).await
}

#[tokio::test]
async fn people_of_a_large_room_are_listed_page_by_page_and_found_by_a_part_of_their_name() {
    let stage = Stage::new(1, &SETTINGS).await;
    let (_room, _members, page) = crowd(&stage, WIDE).await;
    let listed = page.eval(LISTED).await;
    assert!(listed.as_array().unwrap().len() <= 5, "nothing is asked for unasked: {listed}");
    assert_eq!(listed[0], "민아");
    assert_eq!(
        found(&page, "UEST 3").await,
        json!(["guest 3", "guest 30", "guest 31", "guest 32"])
    );
    page.until("one('people-words').innerText === '4 people found'").await;
    page.see_none("people-more").await;
    assert_eq!(found(&page, "\u{1106}\u{1175}\u{11ab}").await, json!(["민아"]), "decomposed");
    assert_eq!(found(&page, "nobody").await, json!([]));
    check_with_axe(&page, "a search among many").await;

    page.reload().await;
    page.see_inside("민아").await;
    page.until("one('people-more')").await;
    // By keyboard, and the focus stays.
    page.eval("one('people-more').focus()").await;
    page.press("Enter").await;
    page.until("all('member').length === 8").await;
    page.until("document.activeElement === one('people-more')").await;
    page.until(ALL_SHOWN).await;
    let mut names: Vec<String> = serde_json::from_value(page.eval(LISTED).await).unwrap();
    names.sort_unstable();
    assert_eq!(names, everybody());
    let places = "all('member').map((li) => [li.getAttribute('aria-posinset'), li.getAttribute('aria-setsize')].join())";
    let of = GUESTS + 2;
    let wanted: Vec<_> = (1..=of).map(|place| format!("{place},{of}")).collect();
    assert_eq!(page.eval(places).await, json!(wanted));
    check_with_axe(&page, "many people").await;
}

#[tokio::test]
async fn who_comes_and_goes_while_somebody_looks_is_there_and_gone() {
    let stage = Stage::new(1, &SETTINGS).await;
    let (room, mut members, page) = crowd(&stage, NARROW).await;
    choose(&page, "menu-people").await;
    page.see("members-close").await;
    page.fill("people-search", "guest 2").await;
    page.until(ALL_SHOWN).await;
    assert_eq!(page.eval("all('member').length").await, 11);
    check_with_axe(&page, "a crowd on a phone").await;
    let path = format!("/api/rooms/{}", room.id);
    stage.http().patch(&path, &room.token, json!({ "locked": false })).await.data(200);
    members.remove(20).send(json!({ "t": "leave" })).await;
    members.push(companion(&stage, &room, "guest 2b").await);
    members.push(companion(&stage, &room, "zoe").await);
    page.until_is("one('people-count').textContent", &json!((GUESTS + 3).to_string())).await;
    skip(&page, FRESH_MS).await;
    page.until(&format!("{LISTED}.includes('guest 2b') && !{LISTED}.includes('guest 20')")).await;
    assert_eq!(page.eval("all('member').length").await, 11);

    // What does not come is said, and comes when it is wanted again.
    page.block(&["*/members?*"]).await;
    skip(&page, FRESH_MS).await;
    page.until("/못했/.test(one('people-words').innerText)").await;
    page.block(&[]).await;
    page.fill("people-search", "zo").await;
    skip(&page, FRESH_MS).await;
    page.until(&format!("{LISTED}.join() === 'zoe'")).await;
    page.until("!/못했/.test(one('people-words').innerText)").await;

    // A small room names everybody by itself.
    let zoe = members.pop();
    for member in members {
        member.send(json!({ "t": "leave" })).await;
    }
    page.fill("people-search", "").await;
    page.until(&format!("{LISTED}.join() === '민아,zoe'")).await;
    page.see_none("people-more").await;
    drop(zoe);
}

/// The list has only some of the names. Others are known from what they said, or not at all.
#[tokio::test]
async fn whoever_is_mentioned_in_a_large_room_is_highlighted_for_everybody() {
    let stage = Stage::new(1, &SETTINGS).await;
    let room = stage.room("Ann").await;
    let mut ann = companion(&stage, &room, &room.token).await;
    let mut others = Vec::new();
    for name in ["Ben", "Cid", "Dan", "zed zero", "zoe"] {
        others.push(companion(&stage, &room, name).await);
    }
    others[3].say(&room.id, "hello").await;
    let page = inside(&stage, &room, "Eve").await;
    page.until("all('message').length === 1").await;
    let is_listed = format!("{LISTED}.some((name) => name.startsWith('z'))");
    assert_eq!(page.eval(&is_listed).await, false);
    ann.say(&room.id, "@zed zero, @zoe and @Ben: see a@zoe").await;
    page.until("all('message').length === 2").await;
    let mentioned = page.eval("all('mention').map((name) => name.innerText)").await;
    assert_eq!(mentioned, json!(["@zed zero", "@zoe", "@Ben"]));
}

/// Where somebody had read to is known however many names come before that one.
#[tokio::test]
async fn who_comes_back_to_a_large_room_goes_on_where_reading_stopped() {
    let stage = Stage::new(1, &SETTINGS).await;
    let (room, mut members, page) = crowd(&stage, WIDE).await;
    let ann = members.last_mut().unwrap();
    ann.say(&room.id, "seen").await;
    page.until("all('message').length === 1").await;
    page.until("Object.keys(localStorage).some((key) => /^linkroom:read:[^:]+$/.test(key))").await;
    // The server alone remembers it.
    page.goto(stage.http().base()).await;
    page.see("landing").await;
    let forget = "Object.keys(localStorage).filter((key) => key.startsWith('linkroom:read:')).forEach((key) => localStorage.removeItem(key))";
    page.eval(&format!("{forget}; 0")).await;
    for text in ["one", "two"] {
        ann.say(&room.id, text).await;
    }
    page.goto(&link_to(&stage, &room)).await;
    page.until("one('unread-line')?.nextElementSibling.innerText.includes('one')").await;
}
