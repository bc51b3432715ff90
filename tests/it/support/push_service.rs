//! A push service, and browsers that subscribe there and decrypt their pushes. It answers as a test
//! wants, and checks every push against RFC 8030, 8188, 8291 and 8292.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard},
    time::Instant,
};

use axum::{
    Router,
    body::Bytes,
    http::{HeaderMap, StatusCode, Uri, header},
    response::{IntoResponse, Response},
    serve::Listener,
};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD as BASE64};
use p256::{PublicKey, SecretKey, elliptic_curve::sec1::ToSec1Point};
use ring::{aead, hkdf, signature};
use serde_json::{Value, json};
use tokio::{
    net::{TcpListener, TcpStream},
    task::AbortHandle,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    },
    server::TlsStream,
};

use super::{
    receiver::PostReply,
    time::{DEADLINE, eventually},
};

/// Self-signed, for this machine only; nodes trust it in tests.
const CERTIFICATE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/tls/certificate.pem");
const KEY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/tls/key.pem");

/// A browser that receives pushes.
#[derive(Clone)]
pub struct Browser {
    secret: SecretKey,
    auth: [u8; 16],
    pub endpoint: String,
}

impl Browser {
    /// Its subscription, as a page gets it.
    pub fn subscription(&self) -> Value {
        let key = self.secret.public_key().to_sec1_point(false);
        let keys = json!({ "p256dh": BASE64.encode(key), "auth": BASE64.encode(self.auth) });
        json!({ "endpoint": self.endpoint, "expirationTime": null, "keys": keys })
    }

    /// The contents of a push.
    fn read(&self, body: &[u8]) -> Value {
        let (head, record) = body.split_at(86);
        let (salt, size, length, sender) = (&head[..16], &head[16..20], head[20], &head[21..]);
        assert!(body.len() <= 4096 && length == 65, "{} bytes", body.len());
        assert!(u32::from_be_bytes(size.try_into().unwrap()) as usize >= record.len());
        let mine = self.secret.public_key().to_sec1_point(false);
        let public = PublicKey::from_sec1_bytes(sender).unwrap();
        let shared = public.to_projective() * *self.secret.to_nonzero_scalar();
        let shared = shared.to_affine().to_sec1_point(false);
        let info = [b"WebPush: info\0", mine.as_bytes(), sender].concat();
        let material: [u8; 32] = derive(&self.auth, shared.x().unwrap(), &info);
        let key: [u8; 16] = derive(salt, &material, b"Content-Encoding: aes128gcm\0");
        let nonce: [u8; 12] = derive(salt, &material, b"Content-Encoding: nonce\0");
        let key = aead::UnboundKey::new(&aead::AES_128_GCM, &key).unwrap();
        let mut record = record.to_vec();
        let nonce = aead::Nonce::assume_unique_for_key(nonce);
        let plain = aead::LessSafeKey::new(key)
            .open_in_place(nonce, aead::Aad::empty(), &mut record)
            .expect("encrypted for this browser");
        let end = plain.iter().rposition(|byte| *byte != 0).unwrap();
        assert_eq!(plain[end], 2, "the last record");
        serde_json::from_slice(&plain[..end]).unwrap()
    }
}

fn derive<const N: usize>(salt: &[u8], secret: &[u8], info: &[u8]) -> [u8; N] {
    struct Length(usize);
    impl hkdf::KeyType for Length {
        fn len(&self) -> usize {
            self.0
        }
    }
    let mut derived = [0; N];
    let key = hkdf::Salt::new(hkdf::HKDF_SHA256, salt).extract(secret);
    key.expand(&[info], Length(N)).unwrap().fill(&mut derived).unwrap();
    derived
}

/// One received push.
#[derive(Clone, Debug)]
pub struct Pushed {
    pub endpoint: String,
    pub payload: Value,
    pub topic: String,
    /// The key that signed it.
    pub key: String,
    pub at: Instant,
    /// The status of its answer; `None` if it was not answered.
    pub answered: Option<u16>,
}

type Answer = Box<dyn FnMut(&Pushed, usize) -> PostReply + Send>;

#[derive(Default)]
struct State {
    browsers: Mutex<Vec<Browser>>,
    pushes: Mutex<Vec<Pushed>>,
    answer: Mutex<Option<Answer>>,
}

/// A push service on this machine.
pub struct PushService {
    addr: SocketAddr,
    state: Arc<State>,
    server: AbortHandle,
}

impl PushService {
    /// A push service that accepts everything.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let certificate = CertificateDer::from_pem_file(CERTIFICATE).unwrap();
        let key = PrivateKeyDer::from_pem_file(KEY).unwrap();
        let config = ServerConfig::builder().with_no_client_auth();
        let config = config.with_single_cert(vec![certificate], key).unwrap();
        let listener = TlsListener { listener, acceptor: TlsAcceptor::from(Arc::new(config)) };
        let state = Arc::new(State::default());
        let taking = state.clone();
        let router = Router::new().fallback(move |uri: Uri, headers: HeaderMap, body: Bytes| {
            let state = taking.clone();
            async move { take(&state, &format!("https://{addr}{uri}"), &headers, &body).await }
        });
        let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { addr, state, server: server.abort_handle() }
    }

    /// A browser that receives pushes here.
    pub fn browser(&self) -> Browser {
        self.browser_at(&format!("https://{}", self.addr))
    }

    /// A browser that has another address of this service.
    pub fn browser_at(&self, service: &str) -> Browser {
        let mut browsers = self.state.browsers.lock().unwrap();
        let secret = SecretKey::from_slice(&rand::random::<[u8; 32]>()).unwrap();
        let endpoint = format!("{service}/push/{}?of=a%20test", browsers.len());
        browsers.push(Browser { secret, auth: rand::random(), endpoint });
        browsers.last().unwrap().clone()
    }

    /// The file of the certificate that nodes have to trust.
    pub fn trusted(&self) -> &'static str {
        CERTIFICATE
    }

    pub fn port(&self) -> u16 {
        self.addr.port()
    }

    /// Answers like this from now on, given the push and the number of earlier ones to that
    /// browser.
    pub fn answers(&self, answer: impl FnMut(&Pushed, usize) -> PostReply + Send + 'static) {
        *self.state.answer.lock().unwrap() = Some(Box::new(answer));
    }

    /// Every push so far.
    pub fn pushes(&self) -> MutexGuard<'_, Vec<Pushed>> {
        self.state.pushes.lock().unwrap()
    }

    /// The pushes of a browser.
    pub fn got(&self, browser: &Browser) -> Vec<Pushed> {
        let pushes = self.pushes();
        let of_it = pushes.iter().filter(|push| push.endpoint == browser.endpoint);
        of_it.filter(|push| push.answered.is_some_and(|status| status < 300)).cloned().collect()
    }

    /// The pushes of a browser, once there are this many.
    pub async fn wait_for(&self, browser: &Browser, count: usize) -> Vec<Pushed> {
        let what = format!("{count} pushes");
        eventually(DEADLINE * 2, &what, async || {
            let got = self.got(browser);
            (got.len() >= count).then_some(got)
        })
        .await
    }
}

impl Drop for PushService {
    fn drop(&mut self) {
        self.server.abort();
    }
}

struct TlsListener {
    listener: TcpListener,
    acceptor: TlsAcceptor,
}

impl Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let (stream, addr) = self.listener.accept().await.unwrap();
            if let Ok(stream) = self.acceptor.accept(stream).await {
                return (stream, addr);
            }
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}

async fn take(state: &State, endpoint: &str, headers: &HeaderMap, body: &[u8]) -> Response {
    let text = |name: &str| headers.get(name).unwrap().to_str().unwrap().to_owned();
    let path = |url: &str| url.splitn(4, '/').nth(3).unwrap().to_owned();
    let browsers = state.browsers.lock().unwrap().clone();
    let browser = browsers.iter().find(|it| path(&it.endpoint) == path(endpoint)).unwrap().clone();
    assert_eq!(text("content-encoding"), "aes128gcm");
    assert!(text("ttl").parse::<u32>().unwrap() > 0);
    assert!(["very-low", "low", "normal", "high"].contains(&&*text("urgency")));
    let topic = text("topic");
    assert!(topic.len() <= 32 && BASE64.decode(topic.as_bytes()).is_ok(), "{topic}");
    let service = browser.endpoint.split("/push/").next().unwrap();
    let mut pushed = Pushed {
        endpoint: browser.endpoint.clone(),
        payload: browser.read(body),
        topic,
        key: signed_by(&text("authorization"), service),
        at: Instant::now(),
        answered: None,
    };
    let (reply, place) = {
        let mut pushes = state.pushes.lock().unwrap();
        let before = pushes.iter().filter(|known| known.endpoint == pushed.endpoint).count();
        let mut answer = state.answer.lock().unwrap();
        let reply =
            answer.as_mut().map_or(PostReply::Status(201), |answer| answer(&pushed, before));
        if let PostReply::Status(status) = &reply {
            pushed.answered = Some(*status);
        }
        pushes.push(pushed);
        (reply, pushes.len() - 1)
    };
    match reply {
        PostReply::Status(status) => StatusCode::from_u16(status).unwrap().into_response(),
        PostReply::Late(status, late) => {
            tokio::time::sleep(late).await;
            state.pushes.lock().unwrap()[place].answered = Some(status);
            StatusCode::from_u16(status).unwrap().into_response()
        }
        PostReply::Redirect(to) => (StatusCode::FOUND, [(header::LOCATION, to)]).into_response(),
        PostReply::Hang => std::future::pending().await,
    }
}

/// Checks the sender's identification, its audience and its lifetime, and returns its key.
fn signed_by(authorization: &str, service: &str) -> String {
    let token = authorization.strip_prefix("vapid t=").unwrap();
    let (token, key) = token.split_once(", k=").unwrap();
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let public = BASE64.decode(key).unwrap();
    let public = signature::UnparsedPublicKey::new(&signature::ECDSA_P256_SHA256_FIXED, public);
    public.verify(signed.as_bytes(), &BASE64.decode(signature).unwrap()).unwrap();
    let claims = BASE64.decode(signed.split_once('.').unwrap().1).unwrap();
    let claims: Value = serde_json::from_slice(&claims).unwrap();
    assert_eq!(claims["aud"], service);
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let left = claims["exp"].as_u64().unwrap().saturating_sub(now);
    assert!((1..=24 * 60 * 60).contains(&left), "{left} s");
    assert_eq!(claims["sub"], "mailto:tests@rooms.example");
    key.to_owned()
}
