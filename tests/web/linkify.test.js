import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { linkify } from '../../static/js/linkify.js';

describe('links in a message', () => {
  // Each case is a text with its links in ⟦ ⟧.
  const table = `
    see ⟦https://a.example/b⟧.
    ⟦https://example.com⟧을 보세요
    ⟦https://example.com⟧에서 만나요
    ⟦https://example.com⟧입니다.
    ⟦https://example.com:8080⟧으로 접속
    ⟦https://example.com/page⟧를 보세요
    ⟦https://example.com/page⟧에서는요?
    ⟦https://example.com/⟧을 보세요
    ⟦https://example.com/?q=1⟧은 안 돼요
    ⟦https://example.com/#top⟧까지만
    ⟦https://example.com/wiki/대한민국⟧ 문서
    ⟦https://example.com/w/K팝⟧ 좋아
    ⟦https://example.com/?q=한국어⟧ 검색
    ⟦https://example.com/%EA%B0%80⟧가 맞아요
    ⟦https://한국인터넷정보센터.한국⟧을 보세요
    ⟦https://네이버.com⟧이에요
    ⟦http://localhost:3000⟧에서
    ⟦http://192.168.0.1⟧로
    (⟦https://example.com/a⟧)을 보세요
    ⟦https://example.com/a⟧(공식 사이트)
    여기⟦https://example.com/a⟧
    ⟦https://example.com⟧, ⟦https://example.org⟧
    ⟦https://example.com⟧,⟦https://example.org⟧
    ⟦https://en.wikipedia.org/wiki/Devil's_advocate⟧
    ⟦https://en.wikipedia.org/wiki/McDonald's⟧!
    '⟦https://example.com/a⟧'
    "⟦https://example.com/a⟧"
    ‘⟦https://example.com/a⟧’
    “⟦https://example.com/a⟧”라고
    <⟦https://example.com/a⟧>
    ⟦https://example.com⟧'s page
    ⟦https://en.wikipedia.org/wiki/A_(B)⟧
    (⟦https://en.wikipedia.org/wiki/A_(B)⟧)
    (see ⟦https://en.wikipedia.org/wiki/A_(B)⟧).
    ⟦https://en.wikipedia.org/wiki/A_(B)⟧을 보세요
    [text](⟦https://example.com/a⟧)
    [⟦https://example.com/a⟧](⟦https://example.com/a⟧)
    ⟦https://example.com/a⟧...
    ⟦https://example.com/a⟧…
    ⟦https://example.com/a⟧?!
    ⟦https://example.com/a?b=c&d=e,f;g⟧;
    ⟦https://example.com/a⟧。次
    ⟦https://example.com⟧。次
    ⟦https://example.com/a⟧、⟦https://example.com/b⟧、
    「⟦https://example.com/a⟧」を見て
    ⟦https://example.com⟧を見て
    ⟦https://example.com/page⟧を見てください。
    ⟦https://example.com/page⟧です
    ⟦https://ja.wikipedia.org/wiki/日本語⟧
    ⟦https://ja.wikipedia.org/wiki/ひらがな⟧
    ⟦https://日本語.jp⟧を
    ⟦https://例え.テスト⟧です
    ⟦https://example.中国⟧を
    ⟦https://example.com/a⟧（公式）
    ⟦https://example.com/a⟧！
    ⟦https://münchen.de/ä⟧
    ⟦https://пример.рф/а⟧.
    ⟦https://xn--bcher-kva.example⟧
    ⟦HTTPS://EXAMPLE.COM/A⟧
    ⟦http://[::1]:8080/a⟧
    ⟦https://example.com:8443/a⟧:
    ⟦https://youtu.be/abc_⟧
    _⟦https://example.com/a⟧_
    **⟦https://example.com/a⟧**
    ⟦https://example.com/a⟧🎉
    ⟦https://medium.com/@me/a⟧
    ⟦https://web.archive.org/web/2020/https://example.com/⟧
    ⟦https://example.com/a⟧ — and
    ⟦https://example.com/a⟧—and
    ⟦https://api.example/{id}/x⟧
    me@example.com mailto:me@example.com
    https://me@example.com https://me:secret@example.com
    xhttps://example.com
    https:// https://. https://,
    javascript:alert(1) ftp://example.com file:///etc
  `.trim().split('\n').map((line) => line.trim());
  for (const line of table) {
    test(line, () => {
      const text = line.replace(/[⟦⟧]/g, '');
      const pieces = linkify(text);
      assert.equal(pieces.map((piece) => (piece.href ? `⟦${piece.text}⟧` : piece.text)).join(''), line);
      for (const { text: shown, href } of pieces) if (href) assert.equal(href, new URL(shown).href);
    });
  }

  test('cost no more than their length', () => {
    const before = process.cpuUsage().user;
    for (const part of ['https://', 'https://a.example/', 'https://a.example/을', '(', '](', 'を', '/', 'a.', '-', '.)', '에서', ':a@', 'https://a:']) linkify(`https://a.example/${part.repeat(50_000)} https://${part.repeat(50_000)}`);
    assert.ok(process.cpuUsage().user - before < 5_000_000, 'in microseconds');
  });
});
