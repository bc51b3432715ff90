//! The creator moderates the room: options of a new room, its lock, its settings, the link with the
//! creator's powers.

use serde_json::json;

use crate::{
    page::{DESKTOP, PHONE, Page},
    scene::{
        choose, come_in, companion, creator_and, enter, inside, link_to, make_encrypted, make_room,
        room_of, unfold_options,
    },
    support::Stage,
};

#[tokio::test]
async fn what_a_room_may_be_is_folded_away_until_it_is_wanted() {
    let stage = Stage::new(1, &[]).await;
    let page = Page::open(&stage.env, PHONE).await;
    page.goto(stage.http().base()).await;
    page.see("create").await;
    for id in ["topic", "ttl", "e2e"] {
        page.see_none(id).await;
    }
    unfold_options(&page).await;
    page.fill("name", "Ann").await;
    page.fill("topic", "Lunch").await;
    page.eval("one('ttl').value = '3600'").await;
    page.click("create").await;
    page.see_inside("Ann").await;
    let facts = stage.http().get(&format!("/api/rooms/{}", room_of(&page.url().await))).await;
    let facts = facts.data(200);
    assert_eq!((&facts["topic"], &facts["ttl"]), (&json!("Lunch"), &json!(3600)));
}

#[tokio::test]
async fn a_locked_room_shows_it_and_says_so_at_the_door_until_it_is_open() {
    let stage = Stage::new(2, &[]).await;
    let room = stage.room("Ann").await;
    let (ann, bob) = creator_and(&stage, &room, "Bob").await;
    ann.see_none("locked").await;
    choose(&ann, "menu-lock").await;
    for page in [&ann, &bob] {
        page.see("locked").await;
        // Said to whoever does not see the sign.
        page.until("/is locked/.test(one('notice').innerText)").await;
        assert_eq!(page.eval("one('notice').getAttribute('role')").await, "status");
    }

    let eve = Page::open(&stage.env, PHONE).await;
    let elsewhere =
        link_to(&stage, &room).replace(stage.http().base(), stage.nodes[1].http().base());
    eve.goto(&elsewhere).await;
    eve.see("locked").await;
    eve.see_none("nickname").await;
    eve.until_is("document.activeElement.tagName", &json!("H1")).await;
    // A user with a session may leave and join.
    bob.reload().await;
    bob.see_inside("Bob").await;
    bob.see("locked").await;
    bob.say("still here").await;
    bob.see_messages(&[("Bob", "still here")]).await;

    ann.click("room-menu").await;
    ann.see_attribute("menu-lock", "aria-checked", "true").await;
    ann.click("menu-lock").await;
    bob.see_none("locked").await;
    bob.until("/open again/.test(one('notice').innerText)").await;
    eve.click("again").await;
    eve.fill("nickname", "Eve").await;
    // It is locked again before Eve has pressed the button.
    stage
        .http()
        .patch(&format!("/api/rooms/{}", room.id), &room.token, json!({ "locked": true }))
        .await
        .data(200);
    eve.click("enter").await;
    eve.until("/locked/.test(one('form-error')?.innerText)").await;
}

#[tokio::test]
async fn the_creator_sets_name_lifetime_and_people_and_everybody_reads_the_name() {
    let stage = Stage::new(1, &[]).await;
    for encrypted in [false, true] {
        let ann = Page::open(&stage.env, DESKTOP).await;
        let link = match encrypted {
            true => make_encrypted(&ann, stage.http().base()).await,
            false => make_room(&ann, stage.http().base(), "Alice").await,
        };
        let bob = Page::open(&stage.env, DESKTOP).await;
        enter(&bob, &link, "Bob").await;

        choose(&ann, "menu-settings").await;
        ann.fill("settings-topic", &"x".repeat(121)).await;
        ann.press("Enter").await;
        ann.until("/120/.test(one('settings-error').innerText)").await;
        ann.fill("settings-topic", " Friday ").await;
        ann.fill("settings-max", "1").await;
        ann.eval("one('settings-max').form.noValidate = true").await;
        ann.press("Enter").await;
        ann.until("one('settings-error').innerText").await;
        ann.fill("settings-max", "7").await;
        ann.eval("one('settings-ttl').value = '604800'").await;
        ann.click("settings-save").await;
        ann.see_none("room-settings").await;
        for page in [&ann, &bob] {
            page.until("document.querySelector('.room-name').textContent === 'Friday'").await;
        }
        let path = format!("/api/rooms/{}", room_of(&link));
        let facts = stage.http().get(&path).await.data(200);
        assert_eq!((&facts["ttl"], &facts["maxMembers"]), (&json!(604_800), &json!(7)));
        assert_eq!(facts["topic"] == "Friday", !encrypted, "{facts}");

        choose(&ann, "menu-settings").await;
        ann.fill("settings-topic", "").await;
        ann.press("Enter").await;
        bob.until("document.querySelector('.room-name').textContent === 'Alice'").await;
    }
}

#[tokio::test]
async fn who_made_the_room_is_marked_and_nobody_else_has_its_menus() {
    let stage = Stage::new(1, &[]).await;
    let room = stage.room("Ann").await;
    let (ann, bob) = creator_and(&stage, &room, "Bob").await;
    for page in [&ann, &bob] {
        page.until("one('creator')?.closest('[data-testid=member]').dataset.user === 'Ann'").await;
        assert_eq!(page.eval("all('creator').length").await, 1);
    }
    bob.click("room-menu").await;
    bob.see("menu-sound").await;
    for id in ["menu-lock", "menu-settings", "menu-creator-link", "menu-end"] {
        assert_eq!(bob.eval(&format!("one('{id}')")).await, json!(null), "{id}");
    }
}

#[tokio::test]
async fn the_mark_of_the_creator_is_not_for_who_takes_the_name() {
    let stage = Stage::new(1, &[]).await;
    let room = stage.room("Ann").await;
    let (ann, bob) = creator_and(&stage, &room, "Bob").await;
    bob.until("one('creator')").await;
    let path = format!("/api/rooms/{}/members/Ann", room.id);
    stage.http().delete(&path, &room.token).await.data(200);
    ann.see("refused").await;
    let other = companion(&stage, &room, "Ann").await;
    bob.see_status("Ann", "online").await;
    bob.see_none("creator").await;
    let late = inside(&stage, &room, "Eve").await;
    late.see_members(&["Ann", "Bob", "Eve"]).await;
    assert_eq!(late.eval("all('creator').length").await, 0);

    stage.http().delete(&path, &room.token).await.data(200);
    drop(other);
    ann.click("again").await;
    ann.see_inside("Ann").await;
    for page in [&ann, &bob, &late] {
        page.until("one('creator')?.closest('[data-testid=member]').dataset.user === 'Ann'").await;
    }
}

/// The token is only in the page, not in an address that a server, a script or the history gets.
#[tokio::test]
async fn the_creators_link_makes_another_device_the_creator_and_leaves_the_address_at_once() {
    let stage = Stage::new(1, &[]).await;
    let desk = Page::open(&stage.env, DESKTOP).await;
    let room_link = make_encrypted(&desk, stage.http().base()).await;
    desk.say("hello").await;
    desk.until("one('message')?.dataset.state === 'sent'").await;
    let id = desk.eval("one('message').dataset.id").await;
    desk.grant("clipboardReadWrite", stage.http().base()).await;
    choose(&desk, "menu-creator-link").await;
    desk.see("creator-link-warning").await;
    desk.click("creator-link-copy").await;
    let link = desk.until("navigator.clipboard.readText()").await;
    let link = link.as_str().unwrap();
    assert!(link.starts_with(&format!("{room_link}&t=lr_")), "{link}");
    let token = link.split("t=").nth(1).unwrap();

    let phone = Page::open(&stage.env, PHONE).await;
    phone.watch_network().await;
    phone.goto(&format!("{link}&m={}", id.as_str().unwrap())).await;
    phone.see_inside("Alice").await;
    phone
        .until_is("document.activeElement.closest('[data-testid=message]')?.dataset.id", &id)
        .await;
    assert_eq!(phone.url().await, room_link);
    assert_eq!(phone.eval("history.length").await, 2, "about:blank, and the room");
    phone.click("room-menu").await;
    phone.see("menu-lock").await;
    let sent = phone.events("Network.requestWillBeSent");
    let in_address = |event: &&serde_json::Value| {
        format!("{}{}", event["request"]["url"], event["request"]["headers"]["Referer"])
            .contains(token)
    };
    assert_eq!(sent.iter().find(in_address), None);
    assert!(!stage.nodes[0].log().contains(token));
}

#[tokio::test]
async fn who_is_in_the_room_already_becomes_its_creator_by_the_link_and_by_no_other() {
    let stage = Stage::new(1, &[]).await;
    let room = stage.room("Ann").await;
    let page = inside(&stage, &room, "Eve").await;
    page.goto(&format!("{}#t={}", link_to(&stage, &room), room.token)).await;
    page.see_inside("Ann").await;
    assert_eq!(page.url().await, link_to(&stage, &room));
    page.click("room-menu").await;
    page.see("menu-lock").await;

    let other = stage.room("Ann").await;
    let wrong = Page::open(&stage.env, DESKTOP).await;
    wrong.goto(&format!("{}#t={}", link_to(&stage, &room), other.token)).await;
    wrong.until("one('form-error')?.innerText.includes('creator')").await;
    come_in(&wrong, "Bob").await;
    wrong.click("room-menu").await;
    wrong.see("menu-sound").await;
    assert_eq!(wrong.eval("one('menu-lock')").await, json!(null));
}
