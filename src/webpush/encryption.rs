//! Encryption of a push for one browser: RFC 8291, in one record of RFC 8188.

use ring::{
    aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey},
    agreement::{ECDH_P256, EphemeralPrivateKey, UnparsedPublicKey, agree_ephemeral},
    error::Unspecified,
    hkdf::{HKDF_SHA256, KeyType, Salt},
    rand::SystemRandom,
};

use super::{Subscription, random, subscription::POINT};

/// Bytes of a record: the maximum body that every push service accepts.
const RECORD: u32 = 4096;
const SALT: usize = 16;
const KEY: usize = 16;
const NONCE: usize = 12;
const SECRET: usize = 32;
/// The delimiter of the last record.
const LAST: u8 = 2;
/// Bytes of the header before the record: the salt, the record's size, the length of the key, the
/// key.
const HEAD: usize = SALT + 4 + 1 + POINT;
/// Overhead of a record in bytes.
const OVERHEAD: usize = 1 + 16;
/// Maximum bytes of a push's contents.
pub const PAYLOAD_MAX: usize = RECORD as usize - HEAD - OVERHEAD;

/// The shared secret that only both sides can compute.
struct Agreed {
    /// The sender's public key, for this push alone.
    public: Vec<u8>,
    secret: Vec<u8>,
}

/// Encrypts the contents of a push, so that only this browser can read them.
///
/// # Errors
/// The browser's key is invalid, or the payload is too long.
pub fn encrypt(payload: &[u8], to: &Subscription) -> Result<Vec<u8>, Unspecified> {
    if payload.len() > PAYLOAD_MAX {
        return Err(Unspecified);
    }
    let mine = EphemeralPrivateKey::generate(&ECDH_P256, &SystemRandom::new())?;
    let public = mine.compute_public_key()?.as_ref().to_vec();
    let theirs = UnparsedPublicKey::new(&ECDH_P256, to.p256dh());
    let secret = agree_ephemeral(mine, &theirs, <[u8]>::to_vec)?;
    seal(payload, to, &Agreed { public, secret }, random())
}

fn seal(
    payload: &[u8],
    to: &Subscription,
    agreed: &Agreed,
    salt: [u8; SALT],
) -> Result<Vec<u8>, Unspecified> {
    let info = [b"WebPush: info\0", &to.p256dh()[..], &agreed.public].concat();
    let material: [u8; SECRET] = derive(to.auth(), &agreed.secret, &info)?;
    let key: [u8; KEY] = derive(&salt, &material, b"Content-Encoding: aes128gcm\0")?;
    let nonce: [u8; NONCE] = derive(&salt, &material, b"Content-Encoding: nonce\0")?;

    let mut record = [payload, &[LAST]].concat();
    let key = LessSafeKey::new(UnboundKey::new(&AES_128_GCM, &key)?);
    key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::empty(), &mut record)?;

    let length = u8::try_from(agreed.public.len()).map_err(|_| Unspecified)?;
    Ok([&salt[..], &RECORD.to_be_bytes(), &[length], &agreed.public, &record].concat())
}

/// HKDF: extracts and expands to `N` bytes.
fn derive<const N: usize>(salt: &[u8], secret: &[u8], info: &[u8]) -> Result<[u8; N], Unspecified> {
    struct Length(usize);
    impl KeyType for Length {
        fn len(&self) -> usize {
            self.0
        }
    }
    let mut derived = [0; N];
    let key = Salt::new(HKDF_SHA256, salt).extract(secret);
    key.expand(&[info], Length(N))?.fill(&mut derived)?;
    Ok(derived)
}

#[cfg(test)]
mod tests {
    use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD as BASE64};

    use super::*;

    fn bytes(text: &str) -> Vec<u8> {
        BASE64.decode(text).unwrap()
    }

    /// RFC 8291, section 5 and appendix A.
    #[test]
    fn a_push_is_encrypted_as_in_the_example_of_the_rfc() {
        let to = Subscription::parse(
            "https://push.example.net/push/JzLQ3raZJfFBR0aqvOMsLrt54w4rJUsV",
            "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4",
            "BTBZMqHH6r4Tts7J_aSIgg",
            false,
        );
        let agreed = Agreed {
            public: bytes(
                "BP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A8",
            ),
            secret: bytes("kyrL1jIIOHEzg3sM2ZWRHDRB62YACZhhSlknJ672kSs"),
        };
        let salt = bytes("DGv6ra1nlYgDCS1FRnbzlw").try_into().unwrap();
        let sealed =
            seal(b"When I grow up, I want to be a watermelon", &to.unwrap(), &agreed, salt);
        let expected = "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIg\
                        Dll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A_yl95bQpu6cVPTpK4Mqgkf1CXztLVB\
                        St2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN";
        assert_eq!(BASE64.encode(sealed.unwrap()), expected);
    }

    #[test]
    fn no_push_is_larger_than_a_push_service_takes() {
        let to = Subscription::parse(
            "https://push.example.net/x",
            "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4",
            "BTBZMqHH6r4Tts7J_aSIgg",
            false,
        );
        let to = to.unwrap();
        assert_eq!(encrypt(&[0; PAYLOAD_MAX], &to).unwrap().len(), RECORD as usize);
        assert!(encrypt(&[0; PAYLOAD_MAX + 1], &to).is_err());
    }
}
