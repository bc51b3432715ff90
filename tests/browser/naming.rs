//! The name of a room: where it is set, and everywhere that it is shown.

use crate::{
    page::{DESKTOP, Page},
    scene::{enter, room_of, unfold_options},
    support::Stage,
};

#[tokio::test]
async fn a_room_with_a_name_is_called_by_it() {
    let stage = Stage::new(1, &[]).await;
    for encrypted in [false, true] {
        let ann = Page::open(&stage.env, DESKTOP).await;
        ann.goto(stage.http().base()).await;
        ann.fill("name", "Ann").await;
        unfold_options(&ann).await;
        ann.fill("topic", " Friday & Monday ").await;
        if encrypted {
            ann.click("e2e").await;
        }
        ann.click("create").await;
        ann.see_inside("Ann").await;
        let link = ann.url().await;

        let bob = Page::open(&stage.env, DESKTOP).await;
        bob.goto(&link).await;
        bob.until("one('entry-title').textContent === 'Friday & Monday'").await;
        enter(&bob, &link, "Bob").await;
        for page in [&ann, &bob] {
            page.until("document.querySelector('.room-name').textContent === 'Friday & Monday'")
                .await;
            page.until("document.title === 'Friday & Monday · linkroom'").await;
        }
        let kept = stage.redis.cmd(["HGET", &format!("room:{}", room_of(&link)), "topic"]);
        let kept = kept.text();
        assert_eq!(kept == "Friday & Monday", !encrypted, "{kept}");
    }
}
