//! The identity of a user: a guest with a nickname, the holder of a session's token, or the user of
//! a JWT.

use std::net::IpAddr;

use super::{Reader, Rooms};
use crate::{
    error::{Code, Error},
    idempotency::IdempotentRequest,
    jwt::Visitor,
    names::{self, RoomId, Token, UserId},
    problem::Problem,
};

/// A user of a room and its token.
#[derive(Clone)]
pub struct Identity {
    /// The user.
    pub user: UserId,
    /// Its token.
    pub token: Token,
    /// Whether it is a new guest: the name must be free, and Redis does not know the token yet.
    pub guest: bool,
}

/// A client that makes an HTTP request with a token.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The token that it presents.
    pub token: String,
    /// Its address.
    pub address: IpAddr,
}

impl Rooms {
    /// Parses a nickname.
    ///
    /// # Errors
    /// `VALIDATION_FAILED` about `field`.
    pub fn name(&self, field: &'static str, raw: &str) -> Result<UserId, Error> {
        UserId::parse(raw, self.settings.name_max).map_err(|problem| Error::invalid(field, problem))
    }

    /// Whether this is a JWT, if JWTs are configured.
    pub fn is_jwt(&self, raw: &str) -> bool {
        self.jwt.as_ref().is_some_and(|jwt| jwt.is_jwt(raw))
    }

    /// Parses the `token` of a join: a token, a JWT, or the nickname of a new guest, which may
    /// choose the random part of its token with `secret`. The user of a JWT gets a session.
    ///
    /// # Errors
    /// `INVALID_TOKEN` for a token that is none of ours and a JWT that is not right, `VALIDATION_FAILED` for a bad
    /// nickname or secret, `FORBIDDEN` where there are no guests, `ROOM_NOT_FOUND`, `BANNED`, `ROOM_LOCKED` or
    /// `NAME_TAKEN` for whom a JWT names, or Redis is out of reach.
    pub async fn identity(
        &self,
        room: &RoomId,
        raw: &str,
        secret: Option<&str>,
        address: IpAddr,
    ) -> Result<Identity, Error> {
        if let Some(visitor) = self.visitor(raw, Some(room)).await? {
            return self.begin(room, visitor, address).await;
        }
        self.check_guests()?;
        if raw.starts_with(names::TOKEN_PREFIX) {
            let (token, user) = self.parsed(room, raw).await?;
            return Ok(Identity { user, token, guest: false });
        }
        let user = self.name("token", raw)?;
        let token = match secret {
            Some(secret) => {
                Token::with_secret(&user, secret).map_err(|p| Error::invalid("secret", p))?
            }
            None => Token::random(&user),
        };
        Ok(Identity { token, user, guest: true })
    }

    /// The creator of a new room: the user of a JWT for all rooms, or a guest with this name.
    ///
    /// # Errors
    /// `INVALID_TOKEN` for a JWT that is not right, `FORBIDDEN` where there are no guests, `VALIDATION_FAILED` about
    /// `creatorName`.
    pub async fn new_creator(
        &self,
        presented: Option<&str>,
        name: &str,
    ) -> Result<Identity, Error> {
        if let Some(Visitor { name: user, token }) = self.presented(presented, None).await? {
            return Ok(Identity { user, token, guest: false });
        }
        self.check_guests()?;
        let user = self.name("creatorName", name)?;
        Ok(Identity { token: Token::random(&user), user, guest: true })
    }

    /// Gives a name in a room to a guest or the user of a JWT without a socket.
    ///
    /// # Errors
    /// `ROOM_NOT_FOUND`, `BANNED`, `ROOM_LOCKED`, `NAME_TAKEN`, `VALIDATION_FAILED` about `name` and where the same
    /// key had another body, `INVALID_TOKEN` for a JWT that is not right, `FORBIDDEN` where there are no guests, or
    /// Redis is out of reach.
    pub async fn add_session(
        &self,
        room: &RoomId,
        presented: Option<&str>,
        name: &str,
        address: IpAddr,
        once: Option<&IdempotentRequest>,
    ) -> Result<Identity, Error> {
        if let Some(visitor) = self.presented(presented, Some(room)).await? {
            return self.begin(room, visitor, address).await;
        }
        self.check_guests()?;
        let user = self.name("name", name)?;
        let fresh = super::Created { room: room.clone(), token: Token::random(&user) };
        let promise = self.promise(once, fresh).await?;
        if !promise.is_kept {
            self.scripts.add_session(room, &user, &promise.made.token, address).await?;
        }
        let token = self.kept(once, promise).await?.token;
        Ok(Identity { user, token, guest: false })
    }

    /// The reader with the presented token, if any. Anything that is neither a token nor a JWT is
    /// ignored.
    ///
    /// # Errors
    /// `INVALID_TOKEN` for a JWT that is not right, `ROOM_NOT_FOUND` with one, or Redis is out of reach.
    pub async fn reader(
        &self,
        room: &RoomId,
        presented: Option<&str>,
        address: IpAddr,
    ) -> Result<Reader, Error> {
        let token = match self.presented(presented, Some(room)).await? {
            Some(Visitor { name, token }) => {
                let running = self.scripts.read_subject(room, &token).await?;
                Some((token, running.unwrap_or(name)))
            }
            None => presented.and_then(Token::parse),
        };
        Ok(Reader { token, address })
    }

    /// The presented token, if any. Anything that is neither a token nor a JWT is ignored.
    ///
    /// # Errors
    /// `INVALID_TOKEN` for a JWT that is not right.
    pub(super) async fn token(
        &self,
        room: &RoomId,
        presented: Option<&str>,
    ) -> Result<Option<Token>, Error> {
        match self.presented(presented, Some(room)).await? {
            Some(visitor) => Ok(Some(visitor.token)),
            None => Ok(presented.and_then(Token::parse).map(|(token, _)| token)),
        }
    }

    /// A caller's token and its user. The user of a JWT gets a session. An invalid token is refused
    /// as such, unless the room does not exist.
    pub(super) async fn proven(
        &self,
        room: &RoomId,
        caller: &Caller,
    ) -> Result<(Token, UserId), Error> {
        if let Some(visitor) = self.visitor(&caller.token, Some(room)).await? {
            let Identity { user, token, .. } = self.begin(room, visitor, caller.address).await?;
            return Ok((token, user));
        }
        self.parsed(room, &caller.token).await
    }

    async fn parsed(&self, room: &RoomId, raw: &str) -> Result<(Token, UserId), Error> {
        match Token::parse(raw) {
            Some(proven) => Ok(proven),
            None => {
                self.scripts.read_facts(room).await?;
                Err(Code::InvalidToken.into())
            }
        }
    }

    /// Begins the session of a JWT's user, unless it has one.
    async fn begin(
        &self,
        room: &RoomId,
        Visitor { name, token }: Visitor,
        address: IpAddr,
    ) -> Result<Identity, Error> {
        let user = self.scripts.add_session(room, &name, &token, address).await?;
        Ok(Identity { user, token, guest: false })
    }

    async fn presented(
        &self,
        presented: Option<&str>,
        room: Option<&RoomId>,
    ) -> Result<Option<Visitor>, Error> {
        match presented {
            Some(raw) => self.visitor(raw, room).await,
            None => Ok(None),
        }
    }

    async fn visitor(&self, raw: &str, room: Option<&RoomId>) -> Result<Option<Visitor>, Error> {
        match &self.jwt {
            Some(jwt) => jwt.visitor(raw, room).await,
            None => Ok(None),
        }
    }

    fn check_guests(&self) -> Result<(), Error> {
        if self.settings.identity.has_guests() {
            return Ok(());
        }
        let problems = [("token".into(), Problem::NoGuests)].into();
        Err(Error { problems, ..Code::Forbidden.into() })
    }
}
