//! TLS: certificates that can be replaced while the server runs.
//!
//! - TLS 1.2 and 1.3 with aws-lc-rs. The key of session tickets stays the same until a reload changes
//!   the CA certificates for client certificates.
//! - ALPN `pop3`: a client that offers only other protocols is refused; a client without ALPN is served.
//! - The certificate is chosen by the name that the client requests; otherwise it is the default one.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::SystemTime;

use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::aws_lc_rs;
#[cfg(feature = "http")]
use tokio_rustls::rustls::server::NoServerSessionStorage;
use tokio_rustls::rustls::server::{ClientHello, ResolvesServerCert};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::{self, ConfigBuilder, ServerConfig, WantsVerifier, version};
use tracing::warn;

use crate::config::{self, KeyPair};

mod clients;
mod handshake_failure;
mod hello;
mod inspect;
mod invalid_name;
mod key_kind;
mod pair;
mod peeked;
pub(super) mod peer;
mod pem;
mod watch;

pub use clients::Clients;
pub use inspect::{Inspection, inspect};
pub(super) use peeked::PeekedStream;
pub use pem::PemError;
pub(super) use watch::watch;

/// The certificates of a server, which can be replaced while it runs.
#[derive(Debug)]
pub(super) struct Certificates {
    /// Replaced as a whole, so that a handshake uses either the old or the new one.
    config: RwLock<Arc<TlsConfig>>,
    files: Mutex<Files>,
}

/// The certificate files, their state at the last attempt to read them, and their last known state.
#[derive(Debug)]
struct Files {
    section: config::Tls,
    tried: watch::Stamp,
    seen: watch::Stamp,
}

impl Certificates {
    /// Reads all certificates. Logs warnings, such as for one that expires soon.
    pub(super) fn new(section: config::Tls) -> Result<Self, TlsError> {
        // Taken before the files are read, so that a change in between is detected.
        let stamp = watch::Stamp::of(&section);
        let config = TlsConfig::load(&section)?;
        let files = Mutex::new(Files { section, seen: stamp.clone(), tried: stamp });
        Ok(Self { config: RwLock::new(Arc::new(config)), files })
    }

    /// The configuration of the next handshake.
    pub(super) fn config(&self) -> Arc<TlsConfig> {
        Arc::clone(&self.config.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Reads the certificates of `section`. If one is invalid, all old ones stay in use.
    pub(super) fn reload(&self, section: config::Tls) -> Result<(), TlsError> {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        let stamp = watch::Stamp::of(&section);
        self.renew(&section)?;
        *files = Files { section, seen: stamp.clone(), tried: stamp };
        Ok(())
    }

    fn renew(&self, section: &config::Tls) -> Result<(), TlsError> {
        let config = self.config().renewed(section)?;
        *self.config.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(config);
        Ok(())
    }

    /// Logs the warnings about all certificates.
    fn warn(&self) {
        let files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        for pair in pairs(&files.section) {
            // An invalid one was reported when it changed.
            let Ok(seen) = inspect(pair, SystemTime::now()) else { continue };
            for warning in seen.all_warnings() {
                warn!("{warning}");
            }
        }
    }

    /// The certificates that are in use. Does not wait for `files`, which is locked while files are
    /// read.
    pub(super) fn in_use(&self) -> Vec<InUse> {
        self.config().table.in_use.clone()
    }

    /// The path of one file.
    fn path(&self) -> PathBuf {
        let files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        files.section.default.certificate.clone()
    }

    /// Reads the files again if they have changed, once they have stayed the same between two
    /// calls, because they may still be written. `None`: they were not read.
    pub(super) fn poll(&self) -> Option<Result<(), TlsError>> {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        let stamp = watch::Stamp::of(&files.section);
        let still = stamp == files.seen;
        files.seen = stamp.clone();
        if !still || stamp == files.tried {
            return None;
        }
        files.tried = stamp;
        Some(self.renew(&files.section))
    }
}

/// The configuration of a handshake.
#[derive(Debug)]
pub(super) struct TlsConfig {
    server: Arc<ServerConfig>,
    #[cfg(feature = "http")]
    https: Arc<ServerConfig>,
    table: Arc<CertificateTable>,
    clients: Clients,
}

impl TlsConfig {
    fn load(section: &config::Tls) -> Result<Self, TlsError> {
        let (table, clients) = read(section)?;
        Self::new(table, clients)
    }

    /// The configuration of `section`, which accepts tickets of this one.
    ///
    /// - If the CA certificates for client certificates change, there is a new ticket key: a resumed
    ///   session has the client certificate of the first one, which is not verified again.
    fn renewed(&self, section: &config::Tls) -> Result<Self, TlsError> {
        let (table, clients) = read(section)?;
        if clients != self.clients {
            return Self::new(table, clients);
        }
        let mut server = ServerConfig::clone(&self.server);
        server.cert_resolver = Arc::<CertificateTable>::clone(&table);
        Self::of(server, table, clients)
    }

    fn new(table: Arc<CertificateTable>, clients: Clients) -> Result<Self, TlsError> {
        let resolver = Arc::<CertificateTable>::clone(&table);
        let verifier = clients.verifier()?;
        let mut server =
            builder()?.with_client_cert_verifier(verifier).with_cert_resolver(resolver);
        server.ticketer = aws_lc_rs::Ticketer::new()?;
        server.alpn_protocols = vec![b"pop3".to_vec()];
        Self::of(server, table, clients)
    }

    fn of(
        server: ServerConfig,
        table: Arc<CertificateTable>,
        clients: Clients,
    ) -> Result<Self, TlsError> {
        Ok(Self {
            server: Arc::new(server),
            #[cfg(feature = "http")]
            https: Arc::new(https(&table)?),
            table,
            clients,
        })
    }

    /// The default domain of the host that the client requests, if it has one.
    pub(super) fn default_domain(&self, server_name: Option<&str>) -> Option<Arc<str>> {
        self.table.choose(server_name).default_domain.clone()
    }

    /// For the handshake.
    pub(super) fn acceptor(&self) -> TlsAcceptor {
        Arc::clone(&self.server).into()
    }

    /// For the handshake of an HTTP client.
    #[cfg(feature = "http")]
    pub(super) fn https_acceptor(&self) -> TlsAcceptor {
        Arc::clone(&self.https).into()
    }

    /// How many octets a client may send before the end of the handshake. Only a client with a
    /// certificate needs to send more than a few thousand.
    pub(super) fn longest_handshake(&self) -> usize {
        if self.clients.count() > 0 { 64 * 1024 } else { 16 * 1024 }
    }
}

fn builder() -> Result<ConfigBuilder<ServerConfig, WantsVerifier>, rustls::Error> {
    ServerConfig::builder_with_provider(invalid_name::provider().into())
        .with_protocol_versions(&[&version::TLS13, &version::TLS12])
}

/// For HTTP clients, which are not asked for a certificate and get no tickets.
#[cfg(feature = "http")]
fn https(table: &Arc<CertificateTable>) -> Result<ServerConfig, rustls::Error> {
    let resolver = Arc::<CertificateTable>::clone(table);
    let mut server = builder()?.with_no_client_auth().with_cert_resolver(resolver);
    server.session_storage = Arc::new(NoServerSessionStorage {});
    server.send_tls13_tickets = 0;
    server.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(server)
}

fn read(section: &config::Tls) -> Result<(Arc<CertificateTable>, Clients), PemError> {
    Ok((Arc::new(CertificateTable::load(section)?), Clients::load(section.client_ca.as_deref())?))
}

/// Why TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A certificate file or a private key cannot be used.
    #[error(transparent)]
    File(#[from] PemError),
    /// The TLS library refuses.
    #[error("TLS cannot be set up: {0}")]
    Library(#[from] rustls::Error),
}

/// Certificates by host name.
#[derive(Debug)]
struct CertificateTable {
    default: Arc<Certificate>,
    by_name: HashMap<String, Arc<Certificate>>,
    /// All of them, the default one first.
    in_use: Vec<InUse>,
}

/// A certificate that is in use, for the operator.
#[derive(Clone, Debug)]
pub(super) struct InUse {
    /// Its files, as they were when it was read.
    pub(super) pair: KeyPair,
    pub(super) inspection: Inspection,
}

/// A certificate with its key.
#[derive(Debug)]
struct Certificate {
    key: Arc<CertifiedKey>,
    /// For `tls-server-end-point`. Computed once, not for every connection.
    end_point: Option<Vec<u8>>,
    /// The domain for user names without one.
    default_domain: Option<Arc<str>>,
}

impl ResolvesServerCert for CertificateTable {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.choose(hello.server_name()).key))
    }
}

impl CertificateTable {
    fn load(section: &config::Tls) -> Result<Self, PemError> {
        let (default, first) = load_with_warnings(&section.default, None)?;
        let (mut by_name, mut in_use) = (HashMap::new(), vec![first]);
        for host in &section.hosts {
            let (certified, next) = load_with_warnings(&host.pair, host.default_domain.clone())?;
            in_use.push(next);
            for name in &host.names {
                by_name.insert(name.to_ascii_lowercase(), Arc::clone(&certified));
            }
        }
        Ok(Self { default, by_name, in_use })
    }

    /// The certificate of the exact name, otherwise of a wildcard for its first label, otherwise the
    /// default one. A missing or unknown name is not refused, since some clients send none.
    fn choose(&self, name: Option<&str>) -> &Arc<Certificate> {
        let Some(name) = name else { return &self.default };
        let name = name.to_ascii_lowercase();
        let wildcard = || name.split_once('.').map(|(_, rest)| format!("*.{rest}"));
        self.by_name
            .get(&name)
            .or_else(|| wildcard().and_then(|pattern| self.by_name.get(&pattern)))
            .unwrap_or(&self.default)
    }
}

/// All pairs of a section, the default one first.
fn pairs(section: &config::Tls) -> impl Iterator<Item = &KeyPair> {
    std::iter::once(&section.default).chain(section.hosts.iter().map(|host| &host.pair))
}

fn load_with_warnings(
    pair: &KeyPair,
    default_domain: Option<Arc<str>>,
) -> Result<(Arc<Certificate>, InUse), PemError> {
    let loaded = pair::load(pair)?;
    let inspection = inspect::look_at(pair, &loaded, SystemTime::now());
    for warning in inspection.all_warnings() {
        warn!("{warning}");
    }
    let end_point = loaded.certified.cert.first().and_then(peer::end_point);
    let certificate = Certificate { key: loaded.certified, end_point, default_domain };
    Ok((Arc::new(certificate), InUse { pair: pair.clone(), inspection }))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;
    use crate::config::TlsHost;
    use crate::server::fixture;

    fn section(dir: &Path) -> config::Tls {
        let host = |file: &str, names: &[&str]| TlsHost {
            names: names.iter().map(|&name| name.into()).collect(),
            pair: fixture::key_pair(dir, file, names),
            default_domain: None,
        };
        config::Tls {
            default: fixture::key_pair(dir, "default", &["localhost"]),
            client_ca: None,
            hosts: vec![host("exact", &["pop.example.org"]), host("wild", &["*.example.org"])],
        }
    }

    fn replace_by(pair: &KeyPair, other: &KeyPair) {
        fs::rename(&other.certificate, &pair.certificate).unwrap();
        fs::rename(&other.private_key, &pair.private_key).unwrap();
    }

    fn default_certificate(certificates: &Certificates) -> Vec<u8> {
        certificates.config().table.default.key.cert[0].to_vec()
    }

    #[test]
    fn the_certificate_is_chosen_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let table = CertificateTable::load(&section(dir.path())).unwrap();
        let file = |name: Option<&str>| {
            let chosen = table.choose(name);
            ["pop.example.org", "*.example.org"]
                .into_iter()
                .find(|&known| Arc::ptr_eq(&table.by_name[known], chosen))
                .unwrap_or("default")
        };
        for (asked, expected) in [
            (Some("pop.example.org"), "pop.example.org"),
            (Some("POP.Example.ORG"), "pop.example.org"),
            (Some("mail.example.org"), "*.example.org"),
            (Some("a.b.example.org"), "default"),
            (Some("example.org"), "default"),
            (Some("elsewhere.example.net"), "default"),
            (None, "default"),
        ] {
            assert_eq!(file(asked), expected, "{asked:?}");
        }
    }

    #[test]
    fn a_change_is_read_once_it_is_complete() {
        let dir = tempfile::tempdir().unwrap();
        let section = section(dir.path());
        let certificates = Certificates::new(section.clone()).unwrap();
        let first = default_certificate(&certificates);
        assert!(certificates.poll().is_none(), "no file has changed");
        replace_by(&section.default, &fixture::key_pair(dir.path(), "next", &["localhost"]));
        assert!(certificates.poll().is_none(), "it may still be written");
        assert_eq!(default_certificate(&certificates), first);
        certificates.poll().unwrap().unwrap();
        assert_ne!(default_certificate(&certificates), first);
        assert!(certificates.poll().is_none(), "read once");
    }

    #[test]
    fn a_broken_change_leaves_the_old_one_and_is_reported_once() {
        let dir = tempfile::tempdir().unwrap();
        let section = section(dir.path());
        let certificates = Certificates::new(section.clone()).unwrap();
        let first = default_certificate(&certificates);
        fs::write(&section.default.certificate, "garbage").unwrap();
        assert!(certificates.poll().is_none());
        assert!(certificates.poll().unwrap().is_err());
        assert!(certificates.poll().is_none(), "reported once a change");
        assert!(certificates.reload(section.clone()).is_err());
        assert_eq!(default_certificate(&certificates), first);
        replace_by(&section.default, &fixture::key_pair(dir.path(), "next", &["localhost"]));
        assert!(certificates.poll().is_none());
        certificates.poll().unwrap().unwrap();
        assert_ne!(default_certificate(&certificates), first);
    }

    #[test]
    fn tickets_hold_until_other_clients_are_trusted() {
        let dir = tempfile::tempdir().unwrap();
        let authority = |stem: &str| fixture::key_pair(dir.path(), stem, &["clients"]).certificate;
        let clients = authority("clients");
        let section = config::Tls { client_ca: Some(clients.clone()), ..section(dir.path()) };
        let certificates = Certificates::new(section.clone()).unwrap();
        let ticketer = || Arc::clone(&certificates.config().server.ticketer);
        let first = ticketer();
        replace_by(&section.default, &fixture::key_pair(dir.path(), "next", &["localhost"]));
        certificates.reload(section.clone()).unwrap();
        assert!(Arc::ptr_eq(&ticketer(), &first), "a renewal of the server's own");

        fs::write(&clients, "garbage").unwrap();
        assert!(certificates.poll().is_none(), "it may still be written");
        let error = certificates.poll().unwrap().unwrap_err().to_string();
        assert!(error.contains("clients.crt: has no certificate in it"), "{error}");
        assert!(certificates.reload(section.clone()).is_err());
        assert!(Arc::ptr_eq(&ticketer(), &first), "the old ones stay");

        fs::rename(authority("others"), &clients).unwrap();
        assert!(certificates.poll().is_none());
        certificates.poll().unwrap().unwrap();
        let second = ticketer();
        assert!(!Arc::ptr_eq(&second, &first));

        certificates.reload(config::Tls { client_ca: None, ..section }).unwrap();
        assert!(!Arc::ptr_eq(&ticketer(), &second));
    }
}
