//! Signatures according to the Standard Webhooks specification.

use base64::{Engine, prelude::BASE64_STANDARD};
use ring::hmac::{self, HMAC_SHA256, Key};

use crate::settings::WebhookSecret;

/// Signs events.
pub(super) struct Signer(Key);

impl Signer {
    pub fn new(secret: &WebhookSecret) -> Self {
        Self(Key::new(HMAC_SHA256, secret.expose()))
    }

    /// The header `webhook-signature` of an event that is sent at `timestamp`, in seconds since
    /// 1970.
    pub fn sign(&self, id: &str, timestamp: u64, body: &str) -> String {
        let tag = hmac::sign(&self.0, format!("{id}.{timestamp}.{body}").as_bytes());
        format!("v1,{}", BASE64_STANDARD.encode(tag))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_that_of_the_specification() {
        let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".parse().unwrap();
        let id = "msg_p5jXN8AQM9LWM0D4loKWxJek";
        let signature = Signer::new(&secret).sign(id, 1_614_265_330, r#"{"test": 2432232314}"#);
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }
}
