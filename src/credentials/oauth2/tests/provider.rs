//! A provider that speaks HTTP on this host, and the keys that it signs tokens with.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::{JoinHandle, park_timeout, spawn};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Value, json};
use tokio_rustls::rustls;
use tokio_rustls::rustls::pki_types::PrivatePkcs8KeyDer;

/// A key pair and the way to sign with it.
pub(super) struct SigningKey {
    pub(super) kid: &'static str,
    pub(super) name: &'static str,
    pub(super) algorithm: Algorithm,
    pub(super) private: EncodingKey,
    pub(super) public: Value,
}

impl SigningKey {
    pub(super) fn rsa(kid: &'static str) -> Self {
        let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).unwrap();
        // PKCS #8 puts 26 octets before an RSA key of 2048 bits.
        let private = EncodingKey::from_rsa_der(&pair.serialized_der()[26..]);
        let jwk = Jwk::from_encoding_key(&private, Algorithm::RS256).unwrap();
        let public = json!({ "kty": "RSA", "kid": kid, "use": "sig", "alg": "RS256",
            "n": serde_json::to_value(&jwk).unwrap()["n"], "e": "AQAB" });
        Self { kid, name: "RS256", algorithm: Algorithm::RS256, private, public }
    }

    pub(super) fn ec(kid: &'static str) -> Self {
        let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        let (x, y) = pair.public_key_raw()[1..].split_at(32);
        let public = json!({ "kty": "EC", "kid": kid, "crv": "P-256",
            "x": encoded(x), "y": encoded(y) });
        let private = EncodingKey::from_ec_der(pair.serialized_der());
        Self { kid, name: "ES256", algorithm: Algorithm::ES256, private, public }
    }

    pub(super) fn ed(kid: &'static str) -> Self {
        let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        let public = json!({ "kty": "OKP", "kid": kid, "crv": "Ed25519",
            "x": encoded(pair.public_key_raw()) });
        let private = EncodingKey::from_ed_der(pair.serialized_der());
        Self { kid, name: "EdDSA", algorithm: Algorithm::EdDSA, private, public }
    }

    pub(super) fn sign(&self, claims: &Value) -> String {
        let header = json!({"typ": "at+jwt", "alg": self.name, "kid": self.kid});
        self.sign_as(&header, claims)
    }

    pub(super) fn sign_as(&self, header: &Value, claims: &Value) -> String {
        let signed = format!("{}.{}", encoded(header.to_string()), encoded(claims.to_string()));
        let signature =
            jsonwebtoken::crypto::sign(signed.as_bytes(), &self.private, self.algorithm).unwrap();
        format!("{signed}.{signature}")
    }
}

pub(super) fn encoded(octets: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(octets)
}

/// A provider whose answers can be replaced.
pub(super) struct Server {
    address: SocketAddr,
    tls: Option<Arc<rustls::ServerConfig>>,
    pub(super) shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
pub(super) struct Shared {
    /// The responses, by path.
    pages: Mutex<HashMap<String, Page>>,
    pub(super) requests: Mutex<Vec<String>>,
    discoveries: AtomicU32,
    ends: AtomicBool,
}

#[derive(Clone)]
pub(super) enum Page {
    Answers {
        status: &'static str,
        header: String,
        body: Vec<u8>,
    },
    /// Reads the request and never answers.
    Hangs,
    /// Sends an octet now and then.
    Trickles,
}

impl Page {
    pub(super) fn json(body: &Value) -> Self {
        Self::text("200 OK", &body.to_string())
    }

    pub(super) fn text(status: &'static str, body: &str) -> Self {
        Self::Answers { status, header: String::new(), body: body.as_bytes().to_vec() }
    }
}

pub(super) const DISCOVERY: &str = "/.well-known/openid-configuration";

impl Server {
    pub(super) fn start(keys: &[&SigningKey]) -> Self {
        Self::start_with(keys, None)
    }

    pub(super) fn start_tls(
        keys: &[&SigningKey],
        made: &rcgen::CertifiedKey<rcgen::KeyPair>,
    ) -> Self {
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

    pub(super) fn publish(&self, keys: &[&SigningKey]) {
        let keys: Vec<&Value> = keys.iter().map(|key| &key.public).collect();
        self.page("/jwks", Page::json(&json!({ "keys": keys })));
    }

    pub(super) fn page(&self, path: &str, page: Page) {
        self.pages().insert(path.to_owned(), page);
    }

    pub(super) fn pages(&self) -> MutexGuard<'_, HashMap<String, Page>> {
        self.shared.pages.lock().unwrap()
    }

    pub(super) fn issuer(&self) -> String {
        self.url("")
    }

    pub(super) fn url(&self, path: &str) -> String {
        match self.tls {
            None => format!("http://{}{path}", self.address),
            Some(_) => format!("https://localhost:{}{path}", self.address.port()),
        }
    }

    pub(super) fn discoveries(&self) -> u32 {
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
                // An error only means that the client has given up.
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

    pub(super) fn stop(&mut self) {
        if let Some(thread) = self.thread.take() {
            self.shared.ends.store(true, Ordering::SeqCst);
            // Wakes the thread, unless another connection has done so.
            drop(TcpStream::connect(self.address));
            thread.join().unwrap();
        }
    }

    pub(super) fn start_again(&mut self) {
        self.listen(TcpListener::bind(self.address).unwrap());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Shared {
    fn serve(&self, mut connection: impl Read + Write) -> std::io::Result<()> {
        let request = read_request(&mut connection)?;
        let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
        let page = self.pages.lock().unwrap().get(&path).cloned();
        self.requests.lock().unwrap().push(request);
        if path == DISCOVERY {
            self.discoveries.fetch_add(1, Ordering::SeqCst);
        }
        match page.unwrap_or_else(|| Page::text("404 Not Found", "{}")) {
            Page::Answers { status, header, body } => {
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
