//! The claims of a JWT with a valid signature.

use jsonwebtoken::{Validation, decode, errors::ErrorKind};
use serde::Deserialize;
use serde_json::error::Category;

use super::Visitor;
use crate::{
    names::{RoomId, Token, UserId},
    problem::Problem,
    settings::JwtKey,
};

/// Tolerance for differing clocks, in seconds.
const LEEWAY: u64 = 60;
/// The value of `room` that stands for every room.
const ANY_ROOM: &str = "*";

/// The claims that are used here.
#[derive(Deserialize)]
pub(super) struct Claims {
    sub: String,
    /// Seconds since 1970.
    exp: f64,
    room: String,
    name: Option<String>,
    creator: Option<bool>,
}

/// Verifies the signature and the times of a JWT, and returns its claims.
///
/// # Errors
/// What is wrong with it.
pub(super) fn read(raw: &str, key: &JwtKey) -> Result<Claims, Problem> {
    let mut wanted = Validation::new(key.algorithm);
    wanted.set_required_spec_claims(&["exp", "sub"]);
    (wanted.leeway, wanted.validate_nbf, wanted.validate_aud) = (LEEWAY, true, false);
    decode(raw, &key.key, &wanted).map(|data| data.claims).map_err(|error| match error.kind() {
        ErrorKind::InvalidSignature => Problem::JwtSignature,
        ErrorKind::ExpiredSignature => Problem::JwtExpired,
        ErrorKind::ImmatureSignature => Problem::JwtNotYetValid,
        ErrorKind::MissingRequiredClaim(_) | ErrorKind::InvalidClaimFormat(_) => Problem::JwtClaims,
        ErrorKind::Json(error) if error.classify() == Category::Data => Problem::JwtClaims,
        _ => Problem::JwtMalformed,
    })
}

impl Claims {
    /// The user that they name, if they are valid for this room; without a room, they must be valid
    /// for all rooms.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn visitor(self, room: Option<&RoomId>, name_max: usize) -> Result<Visitor, Problem> {
        if self.sub.is_empty() {
            return Err(Problem::JwtClaims);
        }
        if self.room != ANY_ROOM && room.is_none_or(|room| room.as_str() != self.room) {
            return Err(Problem::JwtRoom);
        }
        let name = self.name.as_deref().unwrap_or(&self.sub);
        let name = UserId::parse(name, name_max).map_err(|_| Problem::JwtName)?;
        // A value beyond the range of `u64` becomes its maximum.
        let ends_at = (self.exp.ceil() as u64).saturating_add(LEEWAY);
        let token = Token::subject(&self.sub, self.creator.unwrap_or_default(), ends_at);
        Ok(Visitor { name, token })
    }
}
