//! Names, tokens, room ids, message ids and texts, as somebody may type them.

use linkroom::{
    chain,
    names::{MessageId, RoomId, TOKEN_PREFIX, Token, UserId, check_key, check_text},
    visible,
};

const MAX: usize = 32;

pub fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    check_name(text);
    check_token(text);
    check_id(text);
    if let Some(room) = RoomId::parse(text) {
        assert_eq!(room.as_str(), text);
        assert!(!text.contains([':', '{', '}', '*', ' ', '\n']), "a key of Redis: {text:?}");
    }
    let length = text.chars().count();
    assert_eq!(
        check_text(text, MAX).is_ok(),
        length <= MAX && visible::has_visible_character(text)
    );
    assert_eq!(check_key(text, MAX).is_ok(), (1..=MAX).contains(&length));
}

/// A parsed name is in its final form: nothing is left to trim, to compose or to reject.
fn check_name(text: &str) {
    let Ok(name) = UserId::parse(text, MAX) else { return };
    let kept = name.as_str();
    assert_eq!(UserId::parse(kept, MAX), Ok(name.clone()), "{text:?}");
    assert_eq!(UserId::parse(&format!(" {text}\t"), MAX), Ok(name.clone()), "{text:?}");
    assert!((1..=MAX).contains(&kept.chars().count()), "{text:?}");
    assert!(kept.trim() == kept && !kept.starts_with(TOKEN_PREFIX), "{text:?}");
    assert!(!kept.contains(['\u{200B}', '\u{202E}', '\u{FEFF}', '\n', '\0']), "{text:?}");
    let token = Token::random(&name);
    let secret = token.secret().unwrap_or_default().to_owned();
    assert!(Token::parse(&secret) == Some((token, name)), "{text:?}");
}

/// A token contains its user, and has only one spelling.
fn check_token(text: &str) {
    let Some((token, user)) = Token::parse(text) else { return };
    assert!(token.secret() == Some(text) && text.starts_with(TOKEN_PREFIX), "{text:?}");
    assert!(!user.as_str().is_empty() && token.hash().len() == 64, "{text:?}");
}

/// An id has only one spelling, and is ordered like its numbers.
fn check_id(text: &str) {
    let Ok(id) = text.parse::<MessageId>() else { return };
    assert_eq!(id.to_string().parse(), Ok(id), "{text:?}");
    assert!(id >= MessageId::ZERO);
    assert!(!chain::follows("secret", id, id), "nothing follows itself: {text:?}");
}
