//! JWTs: an unsigned one lets nobody in, and anything that is not a JWT is a nickname or a token.

use std::{
    pin::pin,
    sync::{Arc, LazyLock},
    task::{Context, Poll, Waker},
};

use linkroom::{
    background::Background, error::Code, jwt::Verifier, metrics::Metrics, settings::Settings,
};

static VERIFIER: LazyLock<Verifier> = LazyLock::new(|| {
    let words = ["linkroom", "--jwt-secret=a secret of more than thirty-two bytes"];
    let settings = Settings::read(words.map(Into::into)).unwrap();
    Verifier::new(&settings, Arc::new(Metrics::new()), &Background::new()).unwrap()
});

pub fn check(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let mut visitor = pin!(VERIFIER.visitor(&text, None));
    let Poll::Ready(answer) = visitor.as_mut().poll(&mut Context::from_waker(Waker::noop())) else {
        panic!("a key of the settings is there at once");
    };
    assert_eq!(VERIFIER.is_jwt(&text), answer.is_err(), "{text:?}");
    match answer {
        Ok(visitor) => assert!(visitor.is_none(), "{text:?}"),
        Err(error) => assert_eq!(error.code, Code::InvalidToken, "{text:?}"),
    }
}
