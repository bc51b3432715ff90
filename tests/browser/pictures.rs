//! Pictures of the client for people to look at, the README's among them: `make screenshots`.

use std::{fs, path::Path};

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Value, json};

use crate::{
    page::{DESKTOP, Look, PHONE, Page},
    scene::{
        choose, companion, enter, link_through, link_to, redis_now, unfold_options, write_message,
    },
    support::{Client, Proxy, Room, Stage},
};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/screenshots");

/// The name of the room in most pictures, and the user who looks at it.
const EVENING: (&str, &str) = ("Summer evening", "Mina");

/// Seconds ago, author, text.
type Talk = [(u64, &'static str, &'static str)];

const ENGLISH: &Talk = &[
    (87_000, "Jonas", "Who brings the projector on Saturday?"),
    (86_940, "Ada", "I do. And the long cable, after last time :-)"),
    (2_340, "Priya", "The hall is booked: 18:00 to 22:00, chairs for sixty."),
    (2_325, "Priya", "Plan and directions: https://example.org/summer-evening#directions"),
    (2_100, "Mina", "Perfect. I'll be there at five to help with the tables."),
    (1_980, "Jonas", "Same here"),
    (
        720,
        "Ada",
        "Two things left:\n1. someone with a car for the drinks\n2. a name for the evening",
    ),
    (600, "Omar", "I have a car. Give me a list and I'll pick everything up on Friday."),
    (585, "Omar", "For the name: “One link away”?"),
    (
        300,
        "Priya",
        "> Omar: For the name: “One link away”?\nThat's it! 🎉 @Mina, can you print it?",
    ),
    (240, "Mina", "Sure. And the list follows tonight."),
];

/// A conversation of programmers.
const CODE: &Talk = &[
    (900, "דנה", "שלום! Is the node up again?\nאני לא רואה אותו."),
    (
        840,
        "Ada",
        "Not yet. Run this, then `make run`:\n```sh\nexport REDIS_URL=redis://10.0.0.5:6379\ncargo build --release && scp target/release/linkroom deploy@10.0.0.5:/usr/local/bin/\n```",
    ),
    (
        600,
        "דנה",
        "> Ada: Not yet. Run this, then make run:\n> export REDIS_URL=redis://10.0.0.5:6379\n> cargo build --release && scp target/release/linkroom deploy@10.0.0.5:/usr/local…\nעובד, תודה @Ada 👩‍💻",
    ),
    (
        300,
        "Mina",
        "@דנה here is what it says now:\n1 redis: ready\n2 node: ready\n3 subscriptions: 12\n4 rooms: 3\n5\n6\n7\n8\n9\n10\n11\n12\n13\n14\n15\n16\n17\n18\n19\n20\n21\n22\n23\n24",
    ),
    (60, "Ada", "Thank you both."),
];

const KOREAN: &Talk = &[
    (2_400, "지훈", "토요일 모임 장소 정해졌나요?"),
    (2_280, "서연", "네, 도서관 2층 큰 방으로 예약했어요. 오후 두 시부터예요."),
    (2_270, "서연", "오시는 길: https://example.org/library"),
    (1_500, "민아", "감사합니다! 저는 조금 일찍 가서 책상을 옮겨 둘게요."),
    (900, "하준", "마실 것은 제가 챙기겠습니다.\n따뜻한 것도 필요하죠?"),
    (
        300,
        "민아",
        "> 하준: 마실 것은 제가 챙기겠습니다.\n> 따뜻한 것도 필요하죠?\n네, 부탁드려요. @지훈 님도 토요일에 봬요! ☕",
    ),
];

/// A room of this name in which `me` sees a conversation of several people.
async fn room_of_several(
    stage: &Stage,
    look: Look,
    (topic, me): (&str, &str),
    talk: &Talk,
) -> (Room, Page, Vec<Client>) {
    let wish = json!({ "creatorName": me, "topic": topic });
    let made = stage.http().post("/api/rooms", wish).await.data(201);
    let text = |field: &str| made[field].as_str().unwrap().to_owned();
    let room = Room { id: text("roomId"), token: text("token") };
    let now = redis_now(stage);
    let mut last = String::new();
    for (number, (ago, from, text)) in talk.iter().enumerate() {
        last = format!("{}-{number}", now - ago * 1000);
        write_message(stage, &room, &last, from, text);
    }
    let mut others: Vec<&str> = talk.iter().map(|(_, from, _)| *from).collect();
    others.sort_unstable();
    others.dedup();
    others.retain(|name| *name != me);
    let mut clients = Vec::new();
    for (number, name) in others.iter().enumerate() {
        let client = companion(stage, &room, name).await;
        let status = if number == 1 { "away" } else { "online" };
        client.send(json!({ "t": "ping", "status": status, "read": last })).await;
        clients.push(client);
    }
    let page = Page::open(&stage.env, look).await;
    page.goto(&link_to(stage, &room)).await;
    let identity = json!({ "name": me, "token": room.token, "creator": room.token, "at": now });
    let key = format!("linkroom:room:{}", room.id);
    page.eval(&format!("localStorage.setItem({}, JSON.stringify({identity}))", json!(key))).await;
    page.reload().await;
    page.see_inside(me).await;
    page.until(&format!("all('message').length === {}", talk.len())).await;
    page.until("one('read-by')").await;
    (room, page, clients)
}

async fn save(page: &Page, name: &str) {
    // Wait for fade-in animations.
    page.eval(
        "Promise.allSettled(document.getAnimations().map(({ finished }) => finished)).then(() => 0)",
    )
    .await;
    fs::create_dir_all(FOLDER).unwrap();
    let picture = BASE64_STANDARD.decode(page.picture(None).await).unwrap();
    fs::write(Path::new(FOLDER).join(format!("{name}.png")), picture).unwrap();
}

#[tokio::test]
#[ignore = "makes pictures to look at"]
async fn pictures() {
    let stage = Stage::new(1, &[]).await;
    for (name, look) in [("landing", DESKTOP), ("landing-phone", PHONE)] {
        let page = Page::open(&stage.env, look).await;
        page.goto(stage.http().base()).await;
        page.see("create").await;
        save(&page, name).await;
        page.set_colours(true).await;
        save(&page, &format!("{name}-dark")).await;
    }
    let wide = Look { height: 860, ..DESKTOP };
    let (room, page, _others) = room_of_several(&stage, wide, EVENING, ENGLISH).await;
    save(&page, "room").await;
    page.set_colours(true).await;
    save(&page, "room-dark").await;
    save_strong(&page, "room").await;
    let page = Page::open(&stage.env, DESKTOP).await;
    page.goto(&link_to(&stage, &room)).await;
    page.see("nickname").await;
    save(&page, "entry").await;

    let (_, page, _others) = room_of_several(&stage, PHONE, EVENING, ENGLISH).await;
    save(&page, "phone").await;
    page.click("room-menu").await;
    page.until("/24/.test(one('lifetime').innerText)").await;
    save(&page, "phone-menu").await;
    page.press("Escape").await;
    choose(&page, "menu-people").await;
    save(&page, "phone-people").await;
    page.click("members-close").await;
    choose(&page, "menu-share").await;
    page.see("qr").await;
    save(&page, "phone-share").await;

    let look = Look { language: "ko-KR", ..DESKTOP };
    let (_, page, _others) = room_of_several(&stage, look, ("토요일 모임", "민아"), KOREAN).await;
    save(&page, "korean").await;
    page.click("room-menu").await;
    page.until("/24/.test(one('lifetime').innerText)").await;
    save(&page, "korean-menu").await;
}

#[tokio::test]
#[ignore = "makes pictures to look at"]
async fn pictures_of_messages() {
    let stage = Stage::new(1, &[]).await;
    for (name, look) in [("desktop", DESKTOP), ("phone", PHONE)] {
        let (_, page, _others) =
            room_of_several(&stage, look, ("Deployment 🚀", "Ada"), CODE).await;
        save(&page, &format!("code-{name}")).await;
        page.eval("one('log').scrollTop = 0").await;
        save(&page, &format!("code-{name}-top")).await;
        page.set_colours(true).await;
        save(&page, &format!("code-{name}-dark")).await;
        page.set_colours(false).await;
        page.fill("composer", "Hello @").await;
        page.see("mention-list").await;
        save(&page, &format!("mention-{name}")).await;
        page.fill("composer", "").await;
        page.press("ArrowUp").await;
        page.press("ArrowUp").await;
        page.press("Enter").await;
        page.see("menu").await;
        save(&page, &format!("message-menu-{name}")).await;
        page.press("Escape").await;
        save_strong(&page, &format!("code-{name}")).await;
    }
}

/// The page with the user's own colours, and with text twice as large.
async fn save_strong(page: &Page, name: &str) {
    let forced = json!({ "features": [{ "name": "forced-colors", "value": "active" }] });
    page.cdp("Emulation.setEmulatedMedia", forced).await;
    save(page, &format!("{name}-forced")).await;
    page.set_colours(false).await;
    page.cdp("Page.setFontSizes", json!({ "fontSizes": { "standard": 32, "fixed": 26 } })).await;
    page.eval("one('log').scrollTop = 1e9").await;
    save(page, &format!("{name}-large")).await;
    page.cdp("Page.setFontSizes", json!({ "fontSizes": { "standard": 16, "fixed": 13 } })).await;
}

#[tokio::test]
#[ignore = "makes pictures to look at"]
async fn pictures_of_bad_days() {
    let stage = Stage::new(1, &[]).await;
    let room = stage.room("Ada").await;
    let mut ada = companion(&stage, &room, &room.token).await;
    let proxy = Proxy::to(stage.nodes[0].addr()).await;
    let page = Page::open(&stage.env, DESKTOP).await;
    page.run_first("Math.random = () => 0.999").await;
    enter(&page, &link_through(&proxy, &room), "Mina").await;
    ada.say(&room.id, "Are you still on the train?").await;
    page.say("Yes, and there is a tunnel ahead").await;
    page.until("all('message').length === 2").await;
    proxy.cut();
    page.see_attribute("connection", "data-state", "offline").await;
    page.say("See you on the other side").await;
    page.until("one('connection').innerText.includes('4 seconds')").await;
    save(&page, "reconnecting").await;
    proxy.resume();
    page.click("try-now").await;
    page.see_attribute("connection", "data-state", "online").await;
    page.until("all('message').every((li) => li.dataset.state === 'sent')").await;
    stage.redis.freeze();
    page.say("Did this one arrive?").await;
    page.see("retry").await;
    save(&page, "failed").await;
    page.set_colours(true).await;
    save(&page, "failed-dark").await;
    stage.redis.thaw();
}

/// Publishes a frame as a script of the server does.
fn tell(stage: &Stage, room: &Room, frame: &Value) {
    stage.redis.cmd(["PUBLISH", &format!("chan:{}", room.id), &frame.to_string()]);
}

#[tokio::test]
#[ignore = "makes pictures to look at"]
async fn pictures_of_keeping_order() {
    let stage = Stage::new(1, &[]).await;
    let korean = Look { language: "ko-KR", ..PHONE };
    for (name, look) in [("desktop", DESKTOP), ("phone", korean)] {
        let page = Page::open(&stage.env, look).await;
        page.goto(stage.http().base()).await;
        unfold_options(&page).await;
        save_colours(&page, &format!("order-landing-{name}")).await;

        let (talk, called) = match look.touch {
            true => (KOREAN, ("토요일 모임", "민아")),
            false => (ENGLISH, EVENING),
        };
        let (room, page, _others) = room_of_several(&stage, look, called, talk).await;
        choose(&page, "menu-lock").await;
        page.see("locked").await;
        page.click("room-menu").await;
        page.until("/24/.test(one('lifetime').innerText)").await;
        save_colours(&page, &format!("order-menu-{name}")).await;
        page.click("menu-settings").await;
        page.see("settings-save").await;
        save_colours(&page, &format!("order-settings-{name}")).await;
        page.press("Escape").await;
        choose(&page, "menu-creator-link").await;
        page.see("creator-link").await;
        save_colours(&page, &format!("order-link-{name}")).await;
        page.press("Escape").await;
        if look.touch {
            choose(&page, "menu-people").await;
        }
        page.click("member-menu").await;
        page.see("member-ban").await;
        save_colours(&page, &format!("order-member-{name}")).await;
        page.click("member-ban").await;
        page.see("confirm").await;
        save_colours(&page, &format!("order-confirm-{name}")).await;
        page.click("confirm-no").await;
        if look.touch {
            page.click("members-close").await;
        }
        page.click("composer").await;
        page.press("ArrowUp").await;
        page.press("Enter").await;
        page.click("delete-message").await;
        page.click("confirm-yes").await;
        page.see("undo-delete").await;
        save_colours(&page, &format!("order-undo-{name}")).await;
        page.click("undo-delete").await;
        let id = page.eval("all('message').at(-1).dataset.id").await;
        tell(&stage, &room, &json!({ "t": "deleted", "roomId": room.id, "id": id }));
        page.until("one('log').querySelector('[data-problem=deleted]')").await;
        save_colours(&page, &format!("order-deleted-{name}")).await;
        save_strong(&page, &format!("order-{name}")).await;

        let door = Page::open(&stage.env, look).await;
        door.goto(&link_to(&stage, &room)).await;
        door.see("locked").await;
        save_colours(&door, &format!("order-door-{name}")).await;
        for reason in ["removed", "closed"] {
            tell(&stage, &room, &json!({ "t": "removed", "roomId": room.id, "reason": reason }));
            page.see("refused").await;
            save_colours(&page, &format!("order-{reason}-{name}")).await;
            page.goto(&link_to(&stage, &room)).await;
            page.see_inside(called.1).await;
        }
    }
}

/// In light and in dark mode.
async fn save_colours(page: &Page, name: &str) {
    save(page, name).await;
    page.set_colours(true).await;
    save(page, &format!("{name}-dark")).await;
    page.set_colours(false).await;
}
