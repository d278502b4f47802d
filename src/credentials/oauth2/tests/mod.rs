//! Tokens against a provider on this host: which are good, and what happens when the provider fails.

use std::io::Write;
use std::num::NonZeroU32;
use std::path::Path;
use std::sync::LazyLock;

use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{Instant, advance, pause, resume, timeout};

use self::provider::{DISCOVERY, Page, Server, SigningKey, encoded};
use super::*;
use crate::config::{Asking, Introspection};

mod provider;

const DEADLINE: Duration = Duration::from_secs(1);

/// A certificate to trust in place of those of the system.
static CA: LazyLock<tempfile::NamedTempFile> = LazyLock::new(|| {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(made.cert.pem().as_bytes()).unwrap();
    file
});

fn section(server: &Server) -> Oauth2Section {
    Oauth2Section {
        terms: TokenTerms {
            issuer: server.issuer(),
            audience: "restante".into(),
            scope: Some("mail".into()),
            user_claim: "email".into(),
        },
        introspection: None,
        ca: Some(CA.path().to_owned()),
        asking: Asking { deadline: DEADLINE, at_once: NonZeroU32::new(4).unwrap() },
    }
}

fn open(server: &Server) -> Oauth2Provider {
    Oauth2Provider::open(&section(server)).unwrap()
}

/// A store whose first probe has ended, so that no request is under way when time passes.
async fn open_and_settle(server: &Server) -> Oauth2Provider {
    let store = open(server);
    let Way::Keys(keys) = &store.shared.provider.way else { panic!() };
    until(|| keys.has_keys()).await;
    store
}

fn asking(server: &Server) -> Oauth2Provider {
    let mut secret = tempfile::NamedTempFile::new().unwrap();
    secret.write_all(b"to:p%").unwrap();
    let introspection = Some(Introspection {
        url: server.url("/introspection"),
        client_id: "restante 1".into(),
        client_secret_file: secret.path().to_owned(),
    });
    Oauth2Provider::open(&Oauth2Section { introspection, ..section(server) }).unwrap()
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

/// The outcome for a token, in a line.
async fn redeem(store: &Oauth2Provider, token: &str) -> String {
    match store.redeem(&Secret::new(token.as_bytes().to_vec())).await {
        Redeemed::For(name) => format!("for {name}"),
        Redeemed::Foreign => "foreign".into(),
        Redeemed::Bad(why) => format!("bad: {why}"),
        Redeemed::Unavailable(why) => format!("unavailable: {why}"),
    }
}

/// Lets time pass for the store, and not for the provider.
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
    assert!(store.down().is_none());
    let hint = store.guidance();
    assert_eq!(hint.openid_configuration, Some(server.url(DISCOVERY)));
    assert_eq!(hint.scope.as_deref(), Some("mail"));
    let reached = store.probe().await.unwrap();
    assert_eq!(reached, format!("{} has 3 keys to verify tokens with", server.issuer()));
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
    // None of this opened the breaker or loaded the provider.
    assert!(store.down().is_none());
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
    // Deeply nested JSON does not overflow the stack.
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
    // A key that the provider has withdrawn is not accepted any more.
    assert_eq!(redeem(&store, &old.sign(&claims)).await, unknown);

    server.publish(&[&old]);
    later(Duration::from_secs(59 * 60)).await;
    assert_eq!(redeem(&store, &new.sign(&claims)).await, GOOD);
    later(Duration::from_secs(61)).await;
    assert_eq!(redeem(&store, &new.sign(&claims)).await, unknown);
    assert_eq!(server.discoveries(), seen + 2);
}

#[tokio::test]
async fn logins_that_wait_for_the_same_keys_share_one_fetch() {
    let key = SigningKey::ec("e");
    let server = Server::start(&[&key]);
    let store = Arc::new(open(&server));
    let token = key.sign(&claims(&server));
    let mut logins = JoinSet::new();
    for _ in 0..20 {
        let (store, token) = (Arc::clone(&store), token.clone());
        logins.spawn(async move { redeem(&store, &token).await });
    }
    while let Some(outcome) = logins.join_next().await {
        assert_eq!(outcome.unwrap(), GOOD);
    }
    // One for the first probe, one for the logins.
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
    assert!(store.down().is_none());

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
        // By now the probe has timed out as well.
        let begun = Instant::now();
        let why = redeem(&store, &token).await;
        assert!(why.starts_with("unavailable: "), "{why}");
        assert!(begun.elapsed() < DEADLINE / 2, "{:?}", begun.elapsed());
        assert!(store.down().is_some());
    }
    // The keys are an hour old, so they are fetched again, which fails. The old keys are still used.
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
    let moved = |to: String| Page::Answers {
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
        assert!(store.probe().await.unwrap_err().to_string().contains(hint));
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
    let trusting = |ca: &Path| Oauth2Section { ca: Some(ca.to_owned()), ..section(&server) };
    let store = Oauth2Provider::open(&trusting(ca.path())).unwrap();
    assert_eq!(redeem(&store, &token).await, GOOD);
    let stranger = Oauth2Provider::open(&trusting(CA.path())).unwrap();
    let why = redeem(&stranger, &token).await;
    assert!(why.starts_with("unavailable: ") && why.contains("certificate"), "{why}");
    let error = Oauth2Provider::open(&trusting(Path::new("/nonexistent"))).unwrap_err();
    assert!(error.to_string().contains("/nonexistent cannot be read"), "{error}");
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
    // This probe, and that of the breaker.
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
    // The provider vouches for the claims that its answer does not have.
    for name in ["iss", "exp"] {
        good.as_object_mut().unwrap().remove(name);
    }
    answer(&good);
    assert_eq!(redeem(&store, "opaque").await, GOOD);
    // A token of another provider is not sent to this one.
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
    let why = asking(&server).probe().await.unwrap_err().to_string();
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
async fn until_up(store: &Oauth2Provider) {
    until(|| store.down().is_none()).await;
}

async fn until(condition: impl Fn() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < Duration::from_secs(15));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
