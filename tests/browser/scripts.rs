//! Writing systems: where characters are placed, and where lines break.

use serde_json::json;

use crate::{
    page::{DESKTOP, PHONE, Page},
    scene::{come_in, companion, enter, inside, link_to},
    support::Stage,
};

/// `at(n, 'text')`: the position of the middle of the last character of the first `text` in message
/// `n`.
const AT: &str = r#"
  window.at = (n, text) => {
    const bubble = all('message-text')[n];
    const walker = document.createTreeWalker(bubble, NodeFilter.SHOW_TEXT);
    for (let node = walker.nextNode(); node; node = walker.nextNode()) {
      const index = node.data.indexOf(text);
      if (index < 0) continue;
      const range = document.createRange();
      range.setStart(node, index + text.length - 1);
      range.setEnd(node, index + text.length);
      const { left, right, top } = range.getBoundingClientRect();
      return { x: (left + right) / 2, top };
    }
  };
"#;

#[tokio::test]
async fn each_line_has_its_own_direction_and_links_keep_theirs() {
    let stage = Stage::new(1, &[]).await;
    let room = stage.room("Ann").await;
    let mut ann = companion(&stage, &room, &room.token).await;
    for text in [
        "hello!\nשלום, world!\nbye?",
        "ראו https://example.com/a/b?q=1 עכשיו!",
        "https://example.com/x שלום.",
        "مرحبا (Ann) https://example.com/a.\nok.",
    ] {
        ann.say(&room.id, text).await;
    }
    let page = Page::open(&stage.env, DESKTOP).await;
    page.run_first(AT).await;
    enter(&page, &link_to(&stage, &room), "Eve").await;
    page.until("all('message').length === 4").await;
    let orders = [
        "at(0, 'hello').x < at(0, 'hello!').x",
        "at(0, 'world!').x < at(0, 'world').x && at(0, 'world!').x < at(0, 'ש').x",
        "at(0, 'bye').x < at(0, 'bye?').x",
        "at(1, 'https').x < at(1, 'example').x && at(1, 'example').x < at(1, '/a/b').x && at(1, '/a/b').x < at(1, '?q=1').x",
        "at(1, 'עכשיו').x < at(1, 'https').x && at(1, '!').x < at(1, 'עכשיו').x && at(1, '?q=1').x < at(1, 'ר').x",
        "at(2, 'https').x < at(2, '/x').x && at(2, 'שלום').x < at(2, 'https').x",
        "at(3, 'https').x < at(3, '/a').x && at(3, 'ok').x < at(3, 'ok.').x",
    ];
    for order in orders {
        assert_eq!(page.eval(order).await, true, "{order}");
    }
}

#[tokio::test]
async fn names_from_right_to_left_leave_the_list_around_them_alone() {
    let stage = Stage::new(1, &[]).await;
    let room = stage.room("אבי").await;
    let _avi = companion(&stage, &room, &room.token).await;
    let _dana = companion(&stage, &room, "דנה").await;
    let _gil = companion(&stage, &room, "גיל").await;
    let _ron = companion(&stage, &room, "רון").await;
    let page = inside(&stage, &room, "Eve").await;
    page.until("/\\+1/.test(document.querySelector('.room-name').textContent)").await;
    let ends = "(() => {
      const node = document.querySelector('.room-name bdi').firstChild;
      const left = (i) => { const range = document.createRange(); range.setStart(node, i); range.setEnd(node, i + 1); return range.getBoundingClientRect().left; };
      const letters = [...node.data].flatMap((letter, i) => /\\p{L}/u.test(letter) ? [left(i)] : []);
      return Math.max(...letters) < left(node.data.indexOf('+'));
    })()";
    page.until(ends).await;
}

#[tokio::test]
async fn korean_breaks_between_words_and_an_indent_stays() {
    let stage = Stage::new(1, &[]).await;
    let room = stage.room("Ann").await;
    let mut ann = companion(&stage, &room, &room.token).await;
    let korean = "오늘 회의에서는 다음 분기 출시 일정과 담당자를 정하고 남은 문제들을 하나씩 살펴보겠습니다 여러분";
    ann.say(&room.id, korean).await;
    ann.say(&room.id, &"가".repeat(120)).await;
    let link = "일정은 여기에 모두 적어 두었으니 링크 https://example.com을 꼭 보세요";
    ann.say(&room.id, &"今日は天気がいいから散歩しましょう。".repeat(6)).await;
    ann.say(&room.id, link).await;
    let page = Page::open(&stage.env, PHONE).await;
    page.run_first(AT).await;
    enter(&page, &link_to(&stage, &room), "Eve").await;
    page.until("all('message').length === 4").await;
    let broken = "(() => {
      const node = all('message-text')[0].firstChild;
      return [...node.data.matchAll(/\\S+/g)].filter(({ 0: word, index }) => {
        const range = document.createRange(); range.setStart(node, index); range.setEnd(node, index + word.length);
        return new Set([...range.getClientRects()].map(({ top }) => top)).size > 1;
      }).map(([word]) => word);
    })()";
    assert_eq!(page.eval(broken).await, json!([]));
    assert_eq!(page.eval("all('message-text')[0].getClientRects()[0].height > 60").await, true);
    page.until("document.documentElement.scrollWidth <= innerWidth").await;
    // Japanese has no spaces: its lines are full.
    let full = "(() => {
      const range = document.createRange(); range.selectNodeContents(all('message-text')[2]);
      const rows = [...range.getClientRects()].map(({ width }) => width);
      return Math.min(...rows.slice(0, -1)) > Math.max(...rows) - 40;
    })()";
    assert_eq!(page.eval(full).await, true);

    // A particle stays with the link before it. All of a narrow screen is for the text, whatever the hour.
    page.eval("all('message')[3].querySelector('time').textContent = '오전 12시 34분 56초'").await;
    let fills = "all('message-text')[3].getBoundingClientRect().width > innerWidth - 80";
    for width in [300, 320, 340, 360, 380] {
        page.cdp(
            "Emulation.setDeviceMetricsOverride",
            json!({ "width": width, "height": 780, "deviceScaleFactor": 1, "mobile": true }),
        )
        .await;
        page.until(&format!("innerWidth === {width}")).await;
        assert_eq!(page.eval("at(3, 'com').top === at(3, '을').top").await, true, "{width}");
        assert_eq!(page.eval(fills).await, true, "{width}");
    }

    page.fill("composer", "\n  indented\n    more  ").await;
    page.click("send").await;
    page.until_is("all('message-text')[4]?.textContent", &json!("  indented\n    more")).await;
    page.until("all('message')[4].dataset.state === 'sent'").await;
}

/// The name of a quoted author may have another direction than the quoted text: it does not set
/// that of the draft.
#[tokio::test]
async fn an_answer_goes_the_way_of_what_is_said_and_a_name_in_it_goes_its_own() {
    let stage = Stage::new(1, &[]).await;
    let room = stage.room("Ann").await;
    let mut ann = companion(&stage, &room, &room.token).await;
    let page = inside(&stage, &room, "Eve").await;
    let rows = [
        ("דנה", "hello there", "ltr", "sure", "ltr"),
        ("Dan", "שלום לכולם", "rtl", "בסדר", "rtl"),
        ("دانا", "12:30?", "auto", "ok", "ltr"),
        ("רון", "hello, שלום", "ltr", "שלום", "rtl"),
    ];
    for (name, text, before, answer, after) in rows {
        let mut other = companion(&stage, &room, name).await;
        other.say(&room.id, text).await;
        page.until(&format!("all('message').at(-1).dataset.from === '{name}'")).await;
        page.click("composer").await;
        page.press("ArrowUp").await;
        page.press("Enter").await;
        page.click("reply").await;
        page.until("one('composer').value.endsWith('\\n')").await;
        page.until_is("one('composer').dir", &json!(before)).await;
        page.type_text(answer).await;
        page.until_is("one('composer').dir", &json!(after)).await;
        page.press("Enter").await;
        let said = format!("> {name}: {text}\n{answer}");
        ann.wait_for("the answer", |frame| frame["text"] == said.as_str()).await;
        page.until_is("one('composer').value", &json!("")).await;
    }
    let bidi = "getComputedStyle(one('composer')).unicodeBidi";
    assert_eq!(page.eval(bidi).await, "plaintext", "each line by its own script");
}

#[tokio::test]
async fn a_name_from_right_to_left_turns_no_title() {
    let stage = Stage::new(1, &[]).await;
    let wish = json!({ "creatorName": "אבי", "topic": "ערב (1)" });
    let made = stage.http().post("/api/rooms", wish).await.data(201);
    let id = made["roomId"].as_str().unwrap();
    let page = Page::open(&stage.env, DESKTOP).await;
    page.goto(&format!("{}/r/{id}", stage.http().base())).await;
    let title = json!("\u{2068}ערב (1)\u{2069} · linkroom");
    page.until_is("document.title", &title).await;
    come_in(&page, "Eve").await;
    page.until_is("document.title", &title).await;
}
