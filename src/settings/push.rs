//! The settings of Web Push.

use std::{str::FromStr, sync::Arc, time::Duration};

use clap::Args;
use url::Url;

use super::parse::{at_least_one, duration};
use crate::webpush::VapidKey;

/// Maximum characters of a contact: it is part of every push.
const SUBJECT_MAX: usize = 200;

/// The contact that push services can write to about this deployment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contact(String);

impl Contact {
    /// The address.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Contact {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let url = Url::parse(text.trim()).ok();
        let url = url.filter(|url| match url.scheme() {
            "mailto" => url.path().contains('@'),
            scheme => scheme == "https" && url.has_host(),
        });
        url.map(|url| Self(url.into())).filter(|contact| contact.0.len() <= SUBJECT_MAX).ok_or_else(
            || "write it as mailto:admin@rooms.example or https://rooms.example".to_owned(),
        )
    }
}

/// The settings of Web Push.
#[derive(Args, Clone, Debug)]
pub struct PushSettings {
    /// The private key that signs Web Push requests, as 43 characters of base64url; without it, the nodes create one
    /// and store it in Redis
    #[arg(long, env, hide_env_values = true, value_parser = vapid_key)]
    pub vapid_private_key: Option<Arc<VapidKey>>,

    /// The contact address for push services, mailto: or https:; without it, PUBLIC_URL if it is https
    #[arg(
        long,
        env,
        value_parser = str::parse::<Contact>,
        help = "The contact address for push services, such as mailto:admin@rooms.example; without it, \
                PUBLIC_URL if it is https"
    )]
    pub vapid_subject: Option<Contact>,

    /// The minimum time between two pushes to a user about the same room; the next one counts the messages in between
    #[arg(long, env, default_value = "30s", value_parser = duration)]
    pub push_interval: Duration,

    /// Maximum number of users of a room who have a push subscription
    #[arg(long, env, default_value_t = 1000, value_parser = at_least_one)]
    pub push_subscriptions_max: usize,
}

fn vapid_key(raw: &str) -> Result<Arc<VapidKey>, String> {
    let key = VapidKey::parse(raw.trim());
    key.map(Arc::new).ok_or_else(|| {
        "write the private key as 43 characters of base64url, as web-push generate-vapid-keys prints it".to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_contact_is_an_address_that_somebody_reads() {
        for text in ["mailto:a@rooms.example", " https://rooms.example/contact "] {
            assert!(text.parse::<Contact>().is_ok(), "{text}");
        }
        let long = format!("https://rooms.example/{}", "x".repeat(SUBJECT_MAX));
        for text in ["a@rooms.example", "mailto:a", "http://rooms.example", &long, ""] {
            assert!(text.parse::<Contact>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_key_is_never_shown() {
        let key = vapid_key(&VapidKey::generate().private()).unwrap();
        assert_eq!(format!("{key:?}"), "(secret)");
        let refusal = vapid_key("pa55").unwrap_err();
        assert!(!refusal.contains("pa55"), "{refusal}");
    }
}
