//! A store of tokens against a provider that speaks HTTP on this host, with keys made here.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{LazyLock, Mutex, MutexGuard};
use std::thread::{JoinHandle, park_timeout, spawn};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{Instant, advance, pause, resume};
use tokio_rustls::rustls;
use tokio_rustls::rustls::pki_types::PrivatePkcs8KeyDer;

use super::*;

const DEADLINE: Duration = Duration::from_secs(1);

/// Somebody to trust: the certificates of the system are not for tests.
static CA: LazyLock<tempfile::NamedTempFile> = LazyLock::new(|| {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(made.cert.pem().as_bytes()).unwrap();
    file
});

/// A key pair and the way to sign with it.
struct SigningKey {
    kid: &'static str,
    name: &'static str,
    algorithm: Algorithm,
    private: EncodingKey,
    public: Value,
}

impl SigningKey {
    fn rsa(kid: &'static str) -> Self {
        let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).unwrap();
        // The key itself, in the wrapping that has 26 octets for RSA keys of 2048 bits.
        let private = EncodingKey::from_rsa_der(&pair.serialized_der()[26..]);
        let jwk = Jwk::from_encoding_key(&private, Algorithm::RS256).unwrap();
        let public = json!({ "kty": "RSA", "kid": kid, "use": "sig", "alg": "RS256",
            "n": serde_json::to_value(&jwk).unwrap()["n"], "e": "AQAB" });
        Self { kid, name: "RS256", algorithm: Algorithm::RS256, private, public }
    }

    fn ec(kid: &'static str) -> Self {
        let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        let (x, y) = pair.public_key_raw()[1..].split_at(32);
        let public = json!({ "kty": "EC", "kid": kid, "crv": "P-256",
            "x": encoded(x), "y": encoded(y) });
        let private = EncodingKey::from_ec_der(pair.serialized_der());
        Self { kid, name: "ES256", algorithm: Algorithm::ES256, private, public }
    }

    fn ed(kid: &'static str) -> Self {
        let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        let public = json!({ "kty": "OKP", "kid": kid, "crv": "Ed25519",
            "x": encoded(pair.public_key_raw()) });
        let private = EncodingKey::from_ed_der(pair.serialized_der());
        Self { kid, name: "EdDSA", algorithm: Algorithm::EdDSA, private, public }
    }

    fn sign(&self, claims: &Value) -> String {
        let header = json!({"typ": "at+jwt", "alg": self.name, "kid": self.kid});
        self.sign_as(&header, claims)
    }

    fn sign_as(&self, header: &Value, claims: &Value) -> String {
        let signed = format!("{}.{}", encoded(header.to_string()), encoded(claims.to_string()));
        let signature =
            jsonwebtoken::crypto::sign(signed.as_bytes(), &self.private, self.algorithm).unwrap();
        format!("{signed}.{signature}")
    }
}

fn encoded(octets: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(octets)
}

/// A provider; each answer may be replaced.
struct Server {
    address: SocketAddr,
    tls: Option<Arc<rustls::ServerConfig>>,
    shared: Arc<Conduct>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Conduct {
    /// Responses by their paths, without the status line's version.
    pages: Mutex<HashMap<String, Page>>,
    requests: Mutex<Vec<String>>,
    discoveries: AtomicU32,
    ends: AtomicBool,
}

#[derive(Clone)]
enum Page {
    Says {
        status: &'static str,
        header: String,
        body: Vec<u8>,
    },
    /// Takes the request and says nothing.
    Hangs,
    /// Says an octet every now and then.
    Trickles,
}

impl Page {
    fn json(body: &Value) -> Self {
        Self::text("200 OK", &body.to_string())
    }

    fn text(status: &'static str, body: &str) -> Self {
        Self::Says { status, header: String::new(), body: body.as_bytes().to_vec() }
    }
}

const DISCOVERY: &str = "/.well-known/openid-configuration";

impl Server {
    fn start(keys: &[&SigningKey]) -> Self {
        Self::start_with(keys, None)
    }

    fn start_tls(keys: &[&SigningKey], made: &rcgen::CertifiedKey<rcgen::KeyPair>) -> Self {
        let private = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()).into();
        let config = rustls::ServerConfig::builder_with_provider(
            rustls::crypto::aws_lc_rs::default_provider().into(),
        );
        let config = config.with_safe_default_protocol_versions().unwrap();
        let config = config.with_no_client_auth();
        let chain = vec![made.cert.der().clone()];
        Self::start_with(keys, Some(config.with_single_cert(chain, private).unwrap().into()))
    }

    fn start_with(keys: &[&SigningKey], tls: Option<Arc<rustls::ServerConfig>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let mut server = Self { address, tls, shared: Arc::default(), thread: None };
        server.listen(listener);
        let (issuer, jwks_uri) = (server.issuer(), server.url("/jwks"));
        server.page(DISCOVERY, Page::json(&json!({"issuer": issuer, "jwks_uri": jwks_uri})));
        server.publish(keys);
        server
    }

    fn publish(&self, keys: &[&SigningKey]) {
        let keys: Vec<&Value> = keys.iter().map(|key| &key.public).collect();
        self.page("/jwks", Page::json(&json!({ "keys": keys })));
    }

    fn page(&self, path: &str, page: Page) {
        self.pages().insert(path.to_owned(), page);
    }

    fn pages(&self) -> MutexGuard<'_, HashMap<String, Page>> {
        self.shared.pages.lock().unwrap()
    }

    fn issuer(&self) -> String {
        self.url("")
    }

    fn url(&self, path: &str) -> String {
        match self.tls {
            None => format!("http://{}{path}", self.address),
            Some(_) => format!("https://localhost:{}{path}", self.address.port()),
        }
    }

    fn discoveries(&self) -> u32 {
        self.shared.discoveries.load(Ordering::SeqCst)
    }

    fn listen(&mut self, listener: TcpListener) {
        let (shared, tls) = (Arc::clone(&self.shared), self.tls.clone());
        shared.ends.store(false, Ordering::SeqCst);
        self.thread = Some(spawn(move || {
            for connection in listener.incoming() {
                if shared.ends.load(Ordering::SeqCst) {
                    return;
                }
                let (shared, tls) = (Arc::clone(&shared), tls.clone());
                let connection = connection.unwrap();
                connection.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
                // A client that gives up early is none of the provider's concern.
                spawn(move || match tls {
                    None => shared.serve(connection).ok(),
                    Some(config) => {
                        let tls = rustls::ServerConnection::new(config).unwrap();
                        shared.serve(rustls::StreamOwned::new(tls, connection)).ok()
                    }
                });
            }
        }));
    }

    fn stop(&mut self) {
        if let Some(thread) = self.thread.take() {
            self.shared.ends.store(true, Ordering::SeqCst);
            drop(TcpStream::connect(self.address).unwrap());
            thread.join().unwrap();
        }
    }

    fn start_again(&mut self) {
        self.listen(TcpListener::bind(self.address).unwrap());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Conduct {
    fn serve(&self, mut connection: impl Read + Write) -> std::io::Result<()> {
        let request = read_request(&mut connection)?;
        let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
        let page = self.pages.lock().unwrap().get(&path).cloned();
        self.requests.lock().unwrap().push(request);
        if path == DISCOVERY {
            self.discoveries.fetch_add(1, Ordering::SeqCst);
        }
        match page.unwrap_or_else(|| Page::text("404 Not Found", "{}")) {
            Page::Says { status, header, body } => {
                let length = body.len();
                write!(
                    connection,
                    "HTTP/1.1 {status}\r\nContent-Length: {length}\r\n{header}\r\n"
                )?;
                connection.write_all(&body)
            }
            // Until the client gives up.
            Page::Hangs => connection.read_to_end(&mut Vec::new()).map(drop),
            Page::Trickles => {
                write!(connection, "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")?;
                loop {
                    connection.write_all(b" ")?;
                    park_timeout(Duration::from_millis(100));
                }
            }
        }
    }
}

fn read_request(connection: &mut impl Read) -> std::io::Result<String> {
    let mut request = Vec::new();
    let mut octets = [0; 4096];
    loop {
        let text = String::from_utf8_lossy(&request);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let head = head.to_ascii_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            if body.len() >= length.map_or(0, |length| length.parse().unwrap()) {
                return Ok(text.into_owned());
            }
        }
        match connection.read(&mut octets)? {
            0 => return Ok(String::new()),
            count => request.extend_from_slice(&octets[..count]),
        }
    }
}

fn settings(server: &Server) -> Oauth2Settings {
    Oauth2Settings {
        issuer: server.issuer(),
        audience: "restante".into(),
        scope: Some("mail".into()),
        user_claim: "email".into(),
        introspection: None,
        ca: Some(CA.path().to_owned()),
        deadline: DEADLINE,
        at_once: NonZeroU32::new(4).unwrap(),
    }
}

fn open(server: &Server) -> Oauth2Store {
    Oauth2Store::open(settings(server)).unwrap()
}

/// A store whose first probe is done, so that nothing is under way when time passes.
async fn open_and_settle(server: &Server) -> Oauth2Store {
    let store = open(server);
    let Way::Keys(keys) = &store.shared.provider.way else { panic!() };
    until(|| keys.is_in_force()).await;
    store
}

fn asking(server: &Server) -> Oauth2Store {
    let introspection = Oauth2Introspection {
        url: server.url("/introspection"),
        client_id: "restante 1".into(),
        client_secret: Secret::new("to:p%".into()),
    };
    let introspection = Some(introspection);
    Oauth2Store::open(Oauth2Settings { introspection, ..settings(server) }).unwrap()
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn claims(server: &Server) -> Value {
    json!({
        "iss": server.issuer(), "aud": "restante", "exp": now() + 600, "iat": now(),
        "scope": "openid mail", "sub": "2718", "email": "mrose@example.org",
    })
}

fn with(mut claims: Value, name: &str, value: Value) -> Value {
    claims[name] = value;
    claims
}

/// What becomes of a token, in a line.
async fn redeem(store: &Oauth2Store, token: &str) -> String {
    match store.redeem(&Secret::new(token.as_bytes().to_vec())).await {
        Redeemed::For(name, attributes) => {
            assert_eq!(attributes, Attributes::default());
            format!("for {name}")
        }
        Redeemed::Foreign => "foreign".into(),
        Redeemed::Bad(why) => format!("bad: {why}"),
        Redeemed::Unavailable(why) => format!("unavailable: {why}"),
    }
}

/// Lets time pass for the program, and no time for the provider.
async fn later(time: Duration) {
    pause();
    advance(time).await;
    resume();
}

const GOOD: &str = "for mrose@example.org";

#[tokio::test]
async fn tokens_that_the_provider_has_signed() {
    let keys = [SigningKey::rsa("r"), SigningKey::ec("e"), SigningKey::ed("d")];
    let server = Server::start(&[&keys[0], &keys[1], &keys[2]]);
    let store = open(&server);
    let claims = claims(&server);
    for key in &keys {
        assert_eq!(redeem(&store, &key.sign(&claims)).await, GOOD, "{}", key.name);
        for header in [
            json!({"alg": key.name}),
            json!({"alg": key.name, "typ": "JWT", "kid": key.kid, "jku": "https://example.net"}),
            json!({"alg": key.name, "typ": "application/AT+JWT"}),
        ] {
            assert_eq!(redeem(&store, &key.sign_as(&header, &claims)).await, GOOD, "{header}");
        }
    }
    assert_eq!(store.down(), None);
    let hint = store.token_hint().unwrap();
    assert_eq!(hint.openid_configuration, Some(server.url(DISCOVERY)));
    assert_eq!(hint.scope.as_deref(), Some("mail"));
    let reached = store.probe().await.unwrap();
    assert_eq!(reached, format!("{} has 3 keys to verify tokens with", server.issuer()));
    assert!(store.offers().tokens && !store.offers().passwords);
}

#[tokio::test]
async fn each_fault_by_itself_keeps_a_token_out() {
    let (key, other) = (SigningKey::rsa("r"), SigningKey::rsa("r"));
    let server = Server::start(&[&key]);
    let store = open(&server);
    let good = claims(&server);
    assert_eq!(redeem(&store, &key.sign(&good)).await, GOOD);
    for (name, value, outcome) in [
        ("iss", json!("https://login.example.org"), "foreign"),
        ("iss", json!(null), "foreign"),
        ("aud", json!("calendar"), "bad: the token is not meant for restante"),
        ("exp", json!(now() - 61), "bad: the token has expired"),
        ("nbf", json!(now() + 120), "bad: the token is not valid yet"),
        ("scope", json!("openid"), "bad: the token does not have the scope mail"),
        ("email", json!(null), "bad: the token has no text email"),
        (
            "email",
            json!("../m"),
            "bad: the token's email, ../m, is not a user name: it has a slash, a control character or an invisible character",
        ),
        ("email_verified", json!(false), "bad: the provider has not verified the token's email"),
    ] {
        let token = key.sign(&with(good.clone(), name, value));
        assert_eq!(redeem(&store, &token).await, outcome);
    }
    let mut endless = good.clone();
    endless.as_object_mut().unwrap().remove("exp");
    assert_eq!(redeem(&store, &key.sign(&endless)).await, "bad: the token has no exp");

    let signature = "bad: the token's signature is not the provider's";
    assert_eq!(redeem(&store, &other.sign(&good)).await, signature);
    let token = key.sign(&good);
    let (unsigned, _) = token.rsplit_once('.').unwrap();
    for bad in [format!("{unsigned}."), format!("{unsigned}.AAAA"), format!("{unsigned}.====")] {
        assert_eq!(redeem(&store, &bad).await, signature, "{bad}");
    }
    let changed = with(good.clone(), "email", json!("admin@example.org")).to_string();
    let parts: Vec<&str> = token.split('.').collect();
    let forged = format!("{}.{}.{}", parts[0], encoded(changed), parts[2]);
    assert_eq!(redeem(&store, &forged).await, signature);

    for (header, hint) in [
        (json!({"alg": "none"}), "the algorithm none, which is not accepted"),
        (json!({"alg": "RS256", "kid": "x"}), "not signed with one key that the provider has"),
        (json!({"alg": "RS512", "kid": "r"}), "not signed with one key that the provider has"),
        (json!({"alg": "RS256", "kid": "r", "crit": ["exp"]}), "critical extensions"),
        (json!({"alg": "RS256", "kid": "r", "typ": "dpop+jwt"}), "no access token but dpop+jwt"),
    ] {
        let why = redeem(&store, &key.sign_as(&header, &good)).await;
        assert!(why.starts_with("bad: ") && why.contains(hint), "{header}: {why}");
    }
    // Nothing of this was the provider's fault, or its load.
    assert_eq!(store.down(), None);
    assert!(server.discoveries() <= 2, "{}", server.discoveries());
}

#[tokio::test]
async fn a_public_key_is_no_shared_secret() {
    let key = SigningKey::rsa("r");
    let server = Server::start(&[&key]);
    let store = open(&server);
    for secret in [key.public["n"].to_string(), key.public.to_string()] {
        let hmac = SigningKey {
            kid: "r",
            name: "HS256",
            algorithm: Algorithm::HS256,
            private: EncodingKey::from_secret(secret.as_bytes()),
            public: Value::Null,
        };
        let why = redeem(&store, &hmac.sign(&claims(&server))).await;
        assert!(why.contains("the algorithm HS256, which is not accepted"), "{why}");
    }
}

#[tokio::test]
async fn what_is_no_token_of_this_kind() {
    let key = SigningKey::ec("e");
    let server = Server::start(&[&key]);
    let store = open(&server);
    for opaque in ["vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==", "a.b.c", "..", "a.b.c.d.e"] {
        assert_eq!(redeem(&store, opaque).await, "foreign", "{opaque}");
    }
    let huge = key.sign(&with(claims(&server), "x", json!("x".repeat(16 * 1024))));
    assert_eq!(redeem(&store, &huge).await, "bad: the token is longer than 16 KiB");
    for odd in ["", "a b", "ey!.e30.AAAA"] {
        let outcome = redeem(&store, odd).await;
        assert_eq!(outcome, "bad: the token has octets that no bearer token has", "{odd:?}");
    }
    // As deep as it may be, JSON is no way to fill the stack.
    let deep = format!("{}.{}.AAAA", encoded("{}"), encoded("[".repeat(8000)));
    assert_eq!(redeem(&store, &deep).await, "foreign");
}

#[tokio::test]
async fn keys_change_and_invented_ones_are_no_load() {
    let (old, new) = (SigningKey::ec("old"), SigningKey::ec("new"));
    let server = Server::start(&[&old]);
    let store = open_and_settle(&server).await;
    let claims = claims(&server);
    assert_eq!(redeem(&store, &old.sign(&claims)).await, GOOD);
    let seen = server.discoveries();
    server.publish(&[&new]);
    let unknown = "bad: the token is not signed with one key that the provider has";
    for _ in 0..20 {
        assert_eq!(redeem(&store, &new.sign(&claims)).await, unknown);
    }
    assert_eq!(server.discoveries(), seen);
    assert_eq!(redeem(&store, &old.sign(&claims)).await, GOOD);

    later(Duration::from_secs(11)).await;
    assert_eq!(redeem(&store, &new.sign(&claims)).await, GOOD);
    assert_eq!(server.discoveries(), seen + 1);
    // What the provider has withdrawn is not in force any more.
    assert_eq!(redeem(&store, &old.sign(&claims)).await, unknown);

    server.publish(&[&old]);
    later(Duration::from_secs(59 * 60)).await;
    assert_eq!(redeem(&store, &new.sign(&claims)).await, GOOD);
    later(Duration::from_secs(61)).await;
    assert_eq!(redeem(&store, &new.sign(&claims)).await, unknown);
    assert_eq!(server.discoveries(), seen + 2);
}

#[tokio::test]
async fn whoever_waits_for_the_same_keys_shares_one_fetch() {
    let key = SigningKey::ec("e");
    let server = Server::start(&[&key]);
    let store = Arc::new(open(&server));
    let token = key.sign(&claims(&server));
    let mut log_ins = JoinSet::new();
    for _ in 0..20 {
        let (store, token) = (Arc::clone(&store), token.clone());
        log_ins.spawn(async move { redeem(&store, &token).await });
    }
    while let Some(outcome) = log_ins.join_next().await {
        assert_eq!(outcome.unwrap(), GOOD);
    }
    // One by the first probe, one by the log-ins.
    assert!(server.discoveries() <= 2, "{}", server.discoveries());
}

#[tokio::test]
async fn clients_that_hang_up_cannot_have_more_fetches_under_way() {
    let key = SigningKey::ec("e");
    let server = Server::start(&[&key]);
    server.page(DISCOVERY, Page::Hangs);
    let store = open(&server);
    let token = key.sign(&claims(&server));
    for _ in 0..20 {
        let hung_up = timeout(Duration::from_millis(10), redeem(&store, &token)).await;
        assert!(hung_up.is_err());
    }
    assert!(server.discoveries() <= 2, "{}", server.discoveries());
}

#[tokio::test]
async fn a_provider_that_goes_away_leaves_its_keys_in_force_for_a_day() {
    let (key, new) = (SigningKey::ec("e"), SigningKey::ec("new"));
    let mut server = Server::start(&[&key]);
    let store = open_and_settle(&server).await;
    let (good, unknown) = (key.sign(&claims(&server)), new.sign(&claims(&server)));
    assert_eq!(redeem(&store, &good).await, GOOD);
    server.stop();
    later(Duration::from_secs(2 * 60 * 60)).await;
    assert_eq!(redeem(&store, &good).await, GOOD);
    let why = redeem(&store, &unknown).await;
    assert!(why.starts_with("unavailable: ") && why.contains("refused"), "{why}");
    assert_eq!(store.down(), None);

    later(Duration::from_secs(22 * 60 * 60)).await;
    let why = redeem(&store, &good).await;
    assert!(why.starts_with("unavailable: "), "{why}");
    until(|| store.down().is_some()).await;

    server.start_again();
    until_up(&store).await;
    assert_eq!(redeem(&store, &good).await, GOOD);
}

#[tokio::test]
async fn a_provider_that_is_down_from_the_start_is_waited_for() {
    let key = SigningKey::ec("e");
    let mut server = Server::start(&[&key]);
    server.stop();
    let store = open(&server);
    let token = key.sign(&claims(&server));
    let why = redeem(&store, &token).await;
    assert!(why.starts_with("unavailable: ") && why.contains("refused"), "{why}");
    assert!(store.probe().await.is_err());
    assert_eq!(redeem(&store, "opaque").await, "foreign");
    server.start_again();
    until_up(&store).await;
    assert_eq!(redeem(&store, &token).await, GOOD);
}

#[tokio::test]
async fn a_provider_that_hangs_costs_a_deadline_and_no_more() {
    let key = SigningKey::ec("e");
    let server = Server::start(&[&key]);
    let store = open(&server);
    let token = key.sign(&claims(&server));
    for page in [Page::Hangs, Page::Trickles] {
        server.page(DISCOVERY, page);
        let store = open(&server);
        let begun = Instant::now();
        let why = redeem(&store, &token).await;
        assert!(why.starts_with("unavailable: "), "{why}");
        assert!(begun.elapsed() < 2 * DEADLINE, "{:?}", begun.elapsed());
        assert!(store.probe().await.is_err());
        // The probe has run out of time as well by now.
        let begun = Instant::now();
        let why = redeem(&store, &token).await;
        assert!(why.starts_with("unavailable: "), "{why}");
        assert!(begun.elapsed() < DEADLINE / 2, "{:?}", begun.elapsed());
        assert!(store.down().is_some());
    }
    // It is found out when the keys are an hour old, and old keys go on meanwhile.
    drop(server);
    let server = Server::start(&[&key]);
    let token = key.sign(&claims(&server));
    let known = open_and_settle(&server).await;
    assert_eq!(redeem(&known, &token).await, GOOD);
    server.page(DISCOVERY, Page::Hangs);
    later(Duration::from_secs(2 * 60 * 60)).await;
    assert_eq!(redeem(&known, &token).await, GOOD);
    drop(store);
}

#[tokio::test]
async fn documents_that_are_not_the_providers() {
    let key = SigningKey::ec("e");
    let server = Server::start(&[&key]);
    let elsewhere = Server::start(&[&key]);
    let moved = |to: String| Page::Says {
        status: "302 Found",
        header: format!("Location: {to}\r\n"),
        body: Vec::new(),
    };
    let token = key.sign(&claims(&server));
    let (issuer, jwks) = (server.issuer(), server.url("/jwks"));
    let discovery = |issuer: &str, jwks: &str| json!({"issuer": issuer, "jwks_uri": jwks});
    let big = format!("{{\"x\":\"{}\"}}", "x".repeat(1024 * 1024));
    for (path, page, hint) in [
        (DISCOVERY, moved(elsewhere.url(DISCOVERY)), "the answer is 302"),
        (DISCOVERY, Page::text("500 Oops", "\u{1b}[2J"), "the answer is 500"),
        (DISCOVERY, Page::text("200 OK", "<html>"), "is not what it should be, at line 1"),
        (DISCOVERY, Page::text("200 OK", &big), "limit"),
        (DISCOVERY, Page::json(&discovery(&elsewhere.issuer(), &jwks)), "about the issuer"),
        (DISCOVERY, Page::json(&discovery(&format!("{issuer}/"), &jwks)), "about the issuer"),
        (DISCOVERY, Page::json(&discovery(&issuer, "http://example.org/")), "not https"),
        (DISCOVERY, Page::json(&json!({"issuer": issuer})), "is not what it should be"),
        ("/jwks", moved(elsewhere.url("/jwks")), "the answer is 302"),
        ("/jwks", Page::text("404 Gone", "{}"), "the answer is 404"),
        ("/jwks", Page::json(&json!({"keys": []})), "no key for signatures"),
        ("/jwks", Page::json(&json!({"keys": vec![&key.public; 101]})), "101 keys are too many"),
        ("/jwks", Page::text("200 OK", &big), "limit"),
    ] {
        let right = server.pages().get(path).cloned().unwrap();
        server.page(path, page);
        let store = open(&server);
        let why = redeem(&store, &token).await;
        assert!(why.starts_with("unavailable: ") && why.contains(hint), "{path}: {why}");
        assert!(!why.contains('\u{1b}'), "{why:?}");
        assert!(store.probe().await.unwrap_err().contains(hint));
        server.page(path, right);
    }
    assert_eq!(elsewhere.discoveries(), 0);
    assert_eq!(redeem(&open(&server), &token).await, GOOD);
}

#[tokio::test]
async fn the_provider_has_to_prove_who_it_is() {
    let key = SigningKey::ec("e");
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let mut ca = tempfile::NamedTempFile::new().unwrap();
    ca.write_all(made.cert.pem().as_bytes()).unwrap();
    let server = Server::start_tls(&[&key], &made);
    let token = key.sign(&claims(&server));
    let trusting = |ca: &Path| Oauth2Settings { ca: Some(ca.to_owned()), ..settings(&server) };
    let store = Oauth2Store::open(trusting(ca.path())).unwrap();
    assert_eq!(redeem(&store, &token).await, GOOD);
    let stranger = Oauth2Store::open(trusting(CA.path())).unwrap();
    let why = redeem(&stranger, &token).await;
    assert!(why.starts_with("unavailable: ") && why.contains("certificate"), "{why}");
    let why = Oauth2Store::open(trusting(Path::new("/nonexistent"))).unwrap_err();
    assert!(why.contains("/nonexistent cannot be read"), "{why}");
}

#[tokio::test]
async fn the_provider_is_asked_about_tokens() {
    let key = SigningKey::ec("e");
    let server = Server::start(&[&key]);
    let answer = |value: &Value| server.page("/introspection", Page::json(value));
    answer(&json!({"active": false}));
    let store = asking(&server);
    let reached = store.probe().await.unwrap();
    assert!(reached.ends_with("/introspection answers questions about tokens"), "{reached}");
    // That, and the first one by itself.
    until(|| server.shared.requests.lock().unwrap().len() == 2).await;

    let mut good = with(claims(&server), "active", json!(true));
    for (token, form) in [
        ("mF_9.B5f-4.1JqM~+/==".to_owned(), "token=mF_9.B5f-4.1JqM%7E%2B%2F%3D%3D".to_owned()),
        (key.sign(&claims(&server)), "token=ey".to_owned()),
    ] {
        answer(&good);
        assert_eq!(redeem(&store, &token).await, GOOD);
        let request = server.shared.requests.lock().unwrap().last().unwrap().clone();
        assert!(request.starts_with("POST /introspection HTTP/1.1\r\n"), "{request}");
        // restante+1:to%3Ap%25
        let basic = "\r\nauthorization: Basic cmVzdGFudGUrMTp0byUzQXAlMjU=\r\n";
        assert!(request.contains(basic), "{request}");
        assert!(request.contains(&format!("\r\n\r\n{form}")), "{request}");
        assert!(request.ends_with("&token_type_hint=access_token"), "{request}");
        answer(&json!({"active": false}));
        let outcome = redeem(&store, &token).await;
        assert_eq!(outcome, "bad: the provider says that the token is not good");
    }

    for (name, value, hint) in [
        ("iss", json!("https://login.example.org"), "not of"),
        ("aud", json!(["calendar"]), "not meant for restante"),
        ("exp", json!(now() - 61), "has expired"),
        ("scope", json!(""), "does not have the scope"),
        ("email", json!(null), "has no text email"),
    ] {
        answer(&with(good.clone(), name, value));
        let why = redeem(&store, "opaque").await;
        assert!(why.starts_with("bad: ") && why.contains(hint), "{name}: {why}");
    }
    // What a provider leaves out, it vouches for by its answer.
    for name in ["iss", "exp"] {
        good.as_object_mut().unwrap().remove(name);
    }
    answer(&good);
    assert_eq!(redeem(&store, "opaque").await, GOOD);
    // Another provider's token is not shown to this one.
    let asked = server.shared.requests.lock().unwrap().len();
    let foreign = with(claims(&server), "iss", json!("https://login.example.org"));
    assert_eq!(redeem(&store, &key.sign(&foreign)).await, "foreign");
    assert_eq!(server.shared.requests.lock().unwrap().len(), asked);
}

#[tokio::test]
async fn a_provider_that_cannot_be_asked_is_never_a_bad_token() {
    let mut server = Server::start(&[]);
    for (page, hint) in [
        (Page::text("401 Unauthorized", "{}"), "401, check client-id and client-secret-file"),
        (Page::text("403 Forbidden", "{}"), "403, check client-id"),
        (Page::text("400 Bad Request", r#"{"active":false}"#), "the answer is 400"),
        (Page::text("429 Slow down", r#"{"active":false}"#), "the answer is 429"),
        (Page::text("503 Later", r#"{"active":false}"#), "the answer is 503"),
        (Page::text("200 OK", "{}"), "does not say whether the token is active"),
        (Page::text("200 OK", r#"{"active":"true"}"#), "does not say whether"),
        (Page::text("200 OK", "<html>"), "is not what it should be"),
        (Page::Hangs, "no answer within 1s"),
        (Page::Trickles, "no answer within 1s"),
    ] {
        server.page("/introspection", page);
        let store = asking(&server);
        let why = redeem(&store, "opaque").await;
        let late = why.contains("timeout") && hint.contains("no answer");
        assert!(why.starts_with("unavailable: ") && (why.contains(hint) || late), "{why}");
        assert!(!why.contains("opaque"), "{why}");
    }
    server.page("/introspection", Page::json(&json!({"active": true})));
    let why = asking(&server).probe().await.unwrap_err();
    assert!(why.contains("takes any token"), "{why}");

    server.page("/introspection", Page::json(&json!({"active": false})));
    let store = asking(&server);
    assert!(redeem(&store, "opaque").await.starts_with("bad: "));
    server.stop();
    let why = redeem(&store, "opaque").await;
    assert!(why.starts_with("unavailable: ") && why.contains("refused"), "{why}");
    server.start_again();
    until_up(&store).await;
    assert!(redeem(&store, "opaque").await.starts_with("bad: "));
}

/// Waits for the breaker to close.
async fn until_up(store: &Oauth2Store) {
    until(|| store.down().is_none()).await;
}

async fn until(condition: impl Fn() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < Duration::from_secs(15));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
