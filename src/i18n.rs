//! The sentences that people read, in Korean and in English.
//!
//! Each sentence says what to do next. Codes and field names stay the same in every language.

use crate::{error::Code, problem::Problem};

/// A language of the sentences.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Language {
    /// English, also for all other languages.
    #[default]
    En,
    /// Korean.
    Ko,
}

impl Language {
    /// The preferred language of an `Accept-Language` header among ours.
    ///
    /// Weights as in RFC 9110, section 12.4.2; of equal weights the first wins.
    pub fn from_accept(header: &str) -> Self {
        let mut best = (0.0, Language::default());
        for (language, weight) in header.split(',').filter_map(preference) {
            if weight > best.0 {
                best = (weight, language);
            }
        }
        best.1
    }
}

/// One item of `Accept-Language`: `ko-KR;q=0.8`. `None` for other languages.
fn preference(item: &str) -> Option<(Language, f32)> {
    let mut parts = item.split(';').map(str::trim);
    let tag = parts.next()?;
    let weight = match parts.next() {
        Some(parameter) => parameter.strip_prefix("q=")?.trim().parse().ok()?,
        None => 1.0,
    };
    let language = match tag.split('-').next()?.to_ascii_lowercase().as_str() {
        "ko" => Language::Ko,
        "en" | "*" => Language::En,
        _ => return None,
    };
    Some((language, weight))
}

/// A reason why the node cannot serve, for `/readyz`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outage {
    /// Redis cannot be reached, with the reason.
    Away(String),
    /// Redis answers but refuses to write, with its error.
    Refuses(String),
    /// The user lacks rights, with the missing ones.
    Lacks(String),
    /// Publications do not reach this node.
    NoPublications,
    /// The node drains.
    Node,
}

/// The sentence of an error code.
pub const fn message(code: Code, language: Language) -> &'static str {
    let (en, ko) = match code {
        Code::ValidationFailed => (
            "Something in this request is not right. Correct it and try again.",
            "요청에 올바르지 않은 내용이 있습니다. 고친 뒤 다시 시도해 주세요.",
        ),
        Code::InvalidToken => (
            "This token is missing, wrong, or its session has ended. Join again with a name.",
            "토큰이 없거나 올바르지 않거나 세션이 끝났습니다. 이름으로 다시 입장해 주세요.",
        ),
        Code::NotInRoom => (
            "You are not in this room. Join it first.",
            "이 방에 들어와 있지 않습니다. 먼저 입장해 주세요.",
        ),
        Code::Forbidden => (
            "Only the creator of this room may do this. Use the token that you got when you made it.",
            "방을 만든 사람만 할 수 있습니다. 방을 만들 때 받은 토큰을 써 주세요.",
        ),
        Code::RoomLocked => (
            "This room is locked and accepts no new users. Ask its creator to unlock it.",
            "잠긴 방이라 새로 들어올 수 없습니다. 방을 만든 사람에게 열어 달라고 해 주세요.",
        ),
        Code::Banned => (
            "This room takes nobody new from where you are. Ask who made it to let you in.",
            "지금 접속한 곳에서는 이 방에 새로 들어올 수 없습니다. 방을 만든 사람에게 요청해 주세요.",
        ),
        Code::RoomNotFound => (
            "There is no such room, or it has expired. Check the link or make a new room.",
            "방이 없거나 만료되었습니다. 링크를 확인하거나 새 방을 만들어 주세요.",
        ),
        Code::NotFound => (
            "There is nothing at this address. Check the path.",
            "이 주소에는 아무것도 없습니다. 경로를 확인해 주세요.",
        ),
        Code::MethodNotAllowed => (
            "This path does not allow this method. The Allow header lists those that it allows.",
            "이 주소에서는 쓸 수 없는 메서드입니다. 쓸 수 있는 메서드는 Allow 헤더에 있습니다.",
        ),
        Code::NameTaken => (
            "Somebody in this room already has this name. Choose another one.",
            "이 방에서 이미 쓰고 있는 이름입니다. 다른 이름을 골라 주세요.",
        ),
        Code::RoomFull => (
            "This room is full. Try again when somebody has left.",
            "방이 가득 찼습니다. 누군가 나간 뒤에 다시 시도해 주세요.",
        ),
        Code::PayloadTooLarge => (
            "This is too large. Send less at once.",
            "보낸 내용이 너무 큽니다. 줄여서 다시 보내 주세요.",
        ),
        Code::UnsupportedMediaType => (
            "Send JSON in UTF-8, as it is, with the header Content-Type: application/json.",
            "Content-Type: application/json 헤더와 함께 UTF-8 JSON을 그대로 보내 주세요.",
        ),
        Code::UpgradeRequired => (
            "This address speaks WebSocket only. Connect with a WebSocket client.",
            "WebSocket 전용 주소입니다. WebSocket 클라이언트로 연결해 주세요.",
        ),
        Code::RateLimited => (
            "Too much at once. Wait a moment and try again.",
            "요청이 너무 많습니다. 잠시 기다렸다가 다시 시도해 주세요.",
        ),
        Code::Internal => (
            "Something went wrong on our side. Try again; if it persists, tell the operator.",
            "서버에 문제가 생겼습니다. 다시 시도하고, 계속되면 운영자에게 알려 주세요.",
        ),
        Code::ServiceUnavailable => (
            "The service is out of reach for a moment. Try again shortly.",
            "잠시 서비스를 이용할 수 없습니다. 조금 뒤에 다시 시도해 주세요.",
        ),
    };
    choose(language, en, ko)
}

/// The sentence of a problem of one field: what is wrong, and how to correct it.
pub fn problem(problem: Problem, language: Language) -> String {
    let (en, ko) = problem_sentences(problem);
    let (min, max) = bounds(problem);
    let sentence = choose(language, en, ko);
    sentence.replace("{min}", &min.to_string()).replace("{max}", &max.to_string())
}

/// The numbers in a problem's sentence; zero if it has none.
const fn bounds(problem: Problem) -> (usize, usize) {
    match problem {
        Problem::OutOfRange { min, max }
        | Problem::SecretShape { min, max }
        | Problem::RequestKeyShape { min, max } => (min, max),
        Problem::NameTooLong { max }
        | Problem::TextTooLong { max }
        | Problem::KeyLength { max }
        | Problem::TopicLength { max }
        | Problem::TooManyFrames { max }
        | Problem::TooManyConnections { max }
        | Problem::TooManyRooms { max } => (0, max),
        _ => (0, 0),
    }
}

/// Sentences with the placeholders `{min}` and `{max}`.
const fn problem_sentences(problem: Problem) -> (&'static str, &'static str) {
    match problem {
        Problem::Required => ("This field is needed.", "꼭 필요한 항목입니다."),
        Problem::WrongType => (
            "This value has the wrong type. See /openapi.json for the right one.",
            "값의 형식이 맞지 않습니다. /openapi.json에서 형식을 확인해 주세요.",
        ),
        Problem::NameEmpty => ("Enter a name.", "이름을 적어 주세요."),
        Problem::NameTooLong { .. } => {
            ("Use at most {max} characters.", "{max}자 이하로 적어 주세요.")
        }
        Problem::NameCharacters => (
            "Remove invisible characters: control characters, direction marks, fillers, joiners and \
             accents without a letter.",
            "보이지 않는 문자를 빼 주세요. 제어 문자, 글자 방향 문자, 채움 문자, 글자 없는 결합 문자가 그렇습니다.",
        ),
        Problem::NameReserved => (
            "A name may not begin with lr_. Choose another one.",
            "이름은 lr_로 시작할 수 없습니다. 다른 이름을 골라 주세요.",
        ),
        Problem::TextEmpty => {
            ("Write something that people can see.", "눈에 보이는 내용을 적어 주세요.")
        }
        Problem::TextTooLong { .. } => (
            "Write at most {max} characters, or send it in parts.",
            "{max}자 이하로 쓰거나 나누어 보내 주세요.",
        ),
        Problem::KeyLength { .. } => {
            ("Use 1 to {max} characters.", "1자에서 {max}자 사이로 적어 주세요.")
        }
        Problem::SecretShape { .. } => (
            "Use {min} to {max} characters of A-Z, a-z, 0-9, - and _, chosen at random.",
            "A-Z, a-z, 0-9, -, _ 가운데서 무작위로 {min}자에서 {max}자를 골라 주세요.",
        ),
        Problem::RequestKeyShape { .. } => (
            "Use {min} to {max} printable ASCII characters, such as a random UUID.",
            "무작위 UUID처럼 출력 가능한 ASCII 문자 {min}자에서 {max}자를 적어 주세요.",
        ),
        Problem::RequestKeyReused => (
            "This key was already used for another request. Use a new one for each request.",
            "다른 요청에 쓴 키입니다. 요청마다 새 키를 써 주세요.",
        ),
        Problem::TopicLength { .. } => (
            "Use 1 to {max} characters, or leave the topic out.",
            "1자에서 {max}자 사이로 적거나 주제를 빼 주세요.",
        ),
        Problem::NotAMessageId => (
            "Use the id of a message, such as 1763683200123-0.",
            "1763683200123-0 같은 메시지 id를 적어 주세요.",
        ),
        Problem::OutOfRange { .. } => (
            "Use a whole number from {min} to {max}.",
            "{min} 이상 {max} 이하의 정수를 적어 주세요.",
        ),
        Problem::BeforeAndAfter => {
            ("Use either before or after, not both.", "before와 after 가운데 하나만 써 주세요.")
        }
        Problem::NotJson => ("Send one JSON object.", "JSON 객체 하나를 보내 주세요."),
        Problem::HalfCharacter => (
            "A \\u escape here is half of a surrogate pair. Send both, or the character itself.",
            "여기의 \\u 이스케이프는 글자의 반쪽입니다. 두 쪽을 모두 보내거나 글자를 그대로 보내 주세요.",
        ),
        Problem::Binary => (
            "Send UTF-8 text frames, not binary ones.",
            "바이너리가 아니라 UTF-8 텍스트 프레임으로 보내 주세요.",
        ),
        Problem::UnknownVerb => {
            ("Use join, msg, ping or leave.", "join, msg, ping, leave 가운데 하나를 써 주세요.")
        }
        Problem::UnknownStatus => ("Use online or away.", "online이나 away를 써 주세요."),
        Problem::RoomIdNeeded => {
            ("Say which room this is for.", "어느 방에 대한 것인지 roomId를 적어 주세요.")
        }
        Problem::AlreadyJoined => (
            "This connection is in the room under another name. Leave first.",
            "이 연결은 이미 다른 이름으로 이 방에 있습니다. 먼저 나가 주세요.",
        ),
        Problem::ForeignOrigin => (
            "Pages of this site may not connect. The operator of the service can allow it with \
             ALLOWED_ORIGINS.",
            "이 사이트의 페이지는 연결할 수 없습니다. 운영자가 ALLOWED_ORIGINS로 허용할 수 있습니다.",
        ),
        Problem::TooManyFrames { .. } => (
            "You send more than {max} frames a second: the rest has to wait. Slow down, or the \
             connection is closed.",
            "1초에 {max}개가 넘는 프레임을 보내고 있어, 넘치는 것은 기다립니다. 천천히 보내지 않으면 \
             연결이 끊어집니다.",
        ),
        Problem::TooManyConnections { .. } => (
            "This user has {max} connections in this room, which is the maximum. Close one of them.",
            "이 사용자는 이 방에 이미 연결이 {max}개 있고, 더 만들 수 없습니다. 연결 하나를 닫아 주세요.",
        ),
        Problem::TooManyRooms { .. } => (
            "One connection may be in {max} rooms. Leave one, or open another connection.",
            "연결 하나로 방 {max}개까지 들어갈 수 있습니다. 방에서 나가거나 새로 연결해 주세요.",
        ),
        Problem::NotUtf8 => (
            "Send the body in UTF-8, and leave charset out or say utf-8.",
            "본문을 UTF-8로 보내 주세요. charset은 빼거나 utf-8로 적어 주세요.",
        ),
        Problem::Encoded => (
            "Send the body as it is, without this header, or with Transfer-Encoding: chunked.",
            "본문을 압축하지 말고 이 헤더 없이, 또는 Transfer-Encoding: chunked로만 보내 주세요.",
        ),
        Problem::BodyCut => (
            "The body broke off, or has invalid chunks. Send all of it again.",
            "본문이 중간에 끊겼거나 청크 형식이 잘못되었습니다. 전체를 다시 보내 주세요.",
        ),
        Problem::BodyLate => (
            "The body did not arrive in time. Send it again without pauses.",
            "본문이 제시간에 다 오지 않았습니다. 쉬지 말고 다시 보내 주세요.",
        ),
        Problem::Target => (
            "Begin the target with a slash, as in GET /healthz.",
            "요청 경로를 GET /healthz처럼 슬래시로 시작해 주세요.",
        ),
        Problem::Precondition => (
            "What this is about does not have that tag. Read it again, or leave If-Match out.",
            "대상의 태그가 이 값과 다릅니다. 다시 읽어 오거나 If-Match를 빼고 보내 주세요.",
        ),
        Problem::OneHost => (
            "Send exactly one Host header with a host and an optional port, as HTTP/1.1 requires.",
            "HTTP/1.1에 따라 Host 헤더를 하나만, 호스트와 포트(생략 가능)로 적어 보내 주세요.",
        ),
        Problem::BodyOfUpgrade => (
            "Send no body with this request. WebSocket frames follow it.",
            "이 요청에는 본문을 넣지 마세요. 뒤에 오는 것은 WebSocket 프레임이어야 합니다.",
        ),
        Problem::WebSocketKey => (
            "Send one Sec-WebSocket-Key: 16 random bytes in base64.",
            "Sec-WebSocket-Key 헤더를 하나만, 임의의 16바이트를 base64로 적어 보내 주세요.",
        ),
        Problem::NoGuests => (
            "Guests cannot enter here. Come through the application that this room belongs to.",
            "손님은 들어올 수 없습니다. 이 방이 있는 애플리케이션을 통해 들어와 주세요.",
        ),
        Problem::JwtMalformed => (
            "This JWT cannot be read. Send all of it, as the application made it.",
            "JWT를 읽을 수 없습니다. 애플리케이션이 만든 그대로 전부 보내 주세요.",
        ),
        Problem::JwtAlgorithm => (
            "This JWT is signed with another algorithm than the one that the operator has set.",
            "운영자가 설정한 것과 다른 알고리즘으로 서명된 JWT입니다.",
        ),
        Problem::JwtKey => (
            "This JWT names a key (kid) that is not known. Sign it with one that is published.",
            "알 수 없는 키(kid)로 서명된 JWT입니다. 공개된 키로 서명해 주세요.",
        ),
        Problem::JwtSignature => (
            "The signature of this JWT is wrong. Sign it with the key that the operator has set.",
            "JWT의 서명이 올바르지 않습니다. 운영자가 설정한 키로 서명해 주세요.",
        ),
        Problem::JwtExpired => (
            "This JWT has expired. Get a new one from the application, and join again.",
            "JWT가 만료되었습니다. 애플리케이션에서 새로 받아 다시 입장해 주세요.",
        ),
        Problem::JwtNotYetValid => (
            "This JWT is not valid yet. Check the clocks, or wait until then.",
            "아직 유효하지 않은 JWT입니다. 시계를 확인하거나 그때까지 기다려 주세요.",
        ),
        Problem::JwtClaims => (
            "This JWT needs sub, a text, exp, a number, and room, a room's id or *; name is a text, \
             creator true or false.",
            "JWT에는 문자열 sub, 숫자 exp, 방 id나 *인 room이 있어야 합니다. name은 문자열, creator는 \
             true나 false입니다.",
        ),
        Problem::JwtName => (
            "The name in this JWT is not one that a room can show. Give it another name.",
            "JWT에 있는 이름은 방에서 쓸 수 없습니다. name을 바꾸어 주세요.",
        ),
        Problem::JwtRoom => (
            "This JWT is for another room. Get one for this room from the application.",
            "다른 방을 위한 JWT입니다. 애플리케이션에서 이 방의 JWT를 받아 주세요.",
        ),
        Problem::PushEndpoint => (
            "Send the endpoint of a push subscription: an https address on the public Internet.",
            "푸시 구독의 endpoint를 보내 주세요. 공개 인터넷의 https 주소여야 합니다.",
        ),
        Problem::PushKey => (
            "Send the keys of a push subscription as the browser gives them, in base64url.",
            "푸시 구독의 키를 브라우저가 준 그대로, base64url로 보내 주세요.",
        ),
    }
}

/// The sentence of an outage.
pub fn outage(outage: &Outage, language: Language) -> String {
    let (en, ko, why) = match outage {
        Outage::Away(why) => (
            "Redis is out of reach ({why}). The node takes traffic again once it is back.",
            "Redis에 연결할 수 없습니다({why}). 다시 연결되면 트래픽을 받습니다.",
            &**why,
        ),
        Outage::Refuses(why) => (
            "Redis answers, but refuses to write: {why}. What was stored can be read; the node takes \
             traffic again once Redis writes.",
            "Redis가 응답하지만 쓰기를 거부합니다: {why}. 저장된 내용은 읽을 수 있으며, 쓰기가 다시 \
             되면 트래픽을 받습니다.",
            &**why,
        ),
        Outage::Lacks(missing) => (
            "The user of REDIS_URL may not do all that a node needs. Allow it with ACL SETUSER: {why}",
            "REDIS_URL의 사용자에게 필요한 권한이 없습니다. ACL SETUSER로 허용해 주세요: {why}",
            &**missing,
        ),
        Outage::NoPublications => (
            "Redis accepts writes, but its publications do not reach this node. It is subscribing, or \
             something on the way drops them.",
            "Redis에 쓸 수 있지만 발행된 내용이 이 노드로 돌아오지 않습니다. 구독하는 중이거나 \
             중간에서 막고 있습니다.",
            "",
        ),
        Outage::Node => (
            "This node is shutting down. Use another one.",
            "이 노드는 종료하는 중입니다. 다른 노드를 이용해 주세요.",
            "",
        ),
    };
    choose(language, en, ko).replace("{why}", why)
}

/// The kind of a link preview.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Invitation {
    /// To the service.
    Service,
    /// Into a room.
    Room,
}

/// The title of a preview of a room without a topic, and its description.
pub const fn invitation(to: Invitation, language: Language) -> (&'static str, &'static str) {
    match to {
        Invitation::Service => (
            choose(language, "A room, one link away", "링크 하나로 열리는 대화방"),
            choose(
                language,
                "Make a room, share its link, talk. No account, no app.",
                "방을 만들고, 링크를 보내고, 이야기하세요. 가입도 설치도 없습니다.",
            ),
        ),
        Invitation::Room => (
            choose(language, "You are invited to a room", "대화방에 초대합니다"),
            choose(
                language,
                "Open the link to come in. No account, no app.",
                "링크를 열면 들어올 수 있어요. 가입도 설치도 없습니다.",
            ),
        ),
    }
}

const fn choose(language: Language, en: &'static str, ko: &'static str) -> &'static str {
    match language {
        Language::En => en,
        Language::Ko => ko,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROBLEMS: [Problem; 48] = [
        Problem::Required,
        Problem::WrongType,
        Problem::NameEmpty,
        Problem::NameTooLong { max: 7 },
        Problem::NameCharacters,
        Problem::NameReserved,
        Problem::TextEmpty,
        Problem::TextTooLong { max: 7 },
        Problem::KeyLength { max: 7 },
        Problem::SecretShape { min: 3, max: 7 },
        Problem::RequestKeyShape { min: 3, max: 7 },
        Problem::RequestKeyReused,
        Problem::TopicLength { max: 7 },
        Problem::NotAMessageId,
        Problem::OutOfRange { min: 3, max: 7 },
        Problem::BeforeAndAfter,
        Problem::NotJson,
        Problem::HalfCharacter,
        Problem::Binary,
        Problem::UnknownVerb,
        Problem::UnknownStatus,
        Problem::RoomIdNeeded,
        Problem::AlreadyJoined,
        Problem::ForeignOrigin,
        Problem::TooManyRooms { max: 7 },
        Problem::TooManyFrames { max: 7 },
        Problem::TooManyConnections { max: 7 },
        Problem::NotUtf8,
        Problem::Encoded,
        Problem::BodyCut,
        Problem::BodyLate,
        Problem::Target,
        Problem::Precondition,
        Problem::OneHost,
        Problem::BodyOfUpgrade,
        Problem::WebSocketKey,
        Problem::NoGuests,
        Problem::JwtMalformed,
        Problem::JwtAlgorithm,
        Problem::JwtKey,
        Problem::JwtSignature,
        Problem::JwtExpired,
        Problem::JwtNotYetValid,
        Problem::JwtClaims,
        Problem::JwtName,
        Problem::JwtRoom,
        Problem::PushEndpoint,
        Problem::PushKey,
    ];

    fn has_hangul(text: &str) -> bool {
        text.chars().any(|c| ('가'..='힣').contains(&c))
    }

    #[test]
    fn the_best_liked_of_our_languages_wins() {
        let cases = [
            ("", Language::En),
            ("ko", Language::Ko),
            ("KO-kr", Language::Ko),
            ("ko-KR,ko;q=0.9,en-US;q=0.8,en;q=0.7", Language::Ko),
            ("en-US,en;q=0.9,ko;q=0.8", Language::En),
            ("en;q=0.5, ko;q=0.7", Language::Ko),
            ("fr, ko;q=0.2", Language::Ko),
            ("fr, de", Language::En),
            ("ko;q=0", Language::En),
            ("*, ko;q=0.5", Language::En),
            ("ko;q=much, en;q=0.1", Language::En),
            ("kok", Language::En),
        ];
        for (header, language) in cases {
            assert_eq!(Language::from_accept(header), language, "{header}");
        }
    }

    #[test]
    fn every_code_has_a_sentence_in_both_languages() {
        for code in Code::ALL {
            assert!(message(code, Language::En).is_ascii(), "{code:?}");
            assert!(has_hangul(message(code, Language::Ko)), "{code:?}");
        }
    }

    #[test]
    fn every_problem_has_a_sentence_with_its_numbers_in_both_languages() {
        for case in PROBLEMS {
            let (en, ko) = (problem(case, Language::En), problem(case, Language::Ko));
            assert!(en.is_ascii() && has_hangul(&ko), "{case:?}");
            for text in [en, ko] {
                assert!(!text.contains(['{', '}']), "{text}");
                let number = bounds(case).1;
                assert!(number == 0 || text.contains(&number.to_string()), "{text}");
            }
        }
    }

    #[test]
    fn every_invitation_has_its_words_in_both_languages() {
        for to in [Invitation::Service, Invitation::Room] {
            let (title, text) = invitation(to, Language::En);
            assert!(title.is_ascii() && text.is_ascii(), "{to:?}");
            let (title, text) = invitation(to, Language::Ko);
            assert!(has_hangul(title) && has_hangul(text), "{to:?}");
        }
    }

    #[test]
    fn every_outage_has_a_sentence_in_both_languages() {
        let why = || "OOM".to_owned();
        let of_redis = [Outage::Away(why()), Outage::Refuses(why()), Outage::Lacks(why())];
        for case in of_redis.iter().chain(&[Outage::NoPublications, Outage::Node]) {
            let (en, ko) = (outage(case, Language::En), outage(case, Language::Ko));
            assert!(en.is_ascii() && has_hangul(&ko), "{case:?}");
            assert_eq!(en.contains("OOM") && ko.contains("OOM"), of_redis.contains(case));
            assert!(!en.contains('{') && !ko.contains('{'), "{case:?}");
        }
    }
}
