//! TLS: one `ServerConfig` for the life of the process, with certificates that can be replaced.
//!
//! - TLS 1.2 and 1.3 with aws-lc-rs; the key of session tickets outlives every reload.
//! - ALPN `pop3`: a client that offers only other protocols is refused, one that offers none is
//!   served.
//! - The certificate is chosen by the name that the client asks for, else the default one.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::SystemTime;

use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::server::danger::ClientCertVerifier;
use tokio_rustls::rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::{self, RootCertStore, ServerConfig, version};
use tracing::warn;

use crate::config::{self, KeyPair};

mod inspect;
mod pair;
pub(super) mod peer;
mod watch;

pub use inspect::{Inspection, inspect};
pub use pair::PairError;
pub(super) use watch::watch;

/// The TLS side of a server.
#[derive(Debug)]
pub(super) struct Front {
    config: Arc<ServerConfig>,
    certificates: Arc<Certificates>,
    files: Mutex<Files>,
}

/// Where the certificates come from, and which state of the files was last tried.
#[derive(Debug)]
struct Files {
    section: config::Tls,
    tried: watch::Stamp,
    seen: watch::Stamp,
}

impl Front {
    /// Reads all certificates; each that needs a look is a warning in the log.
    pub(super) fn new(section: config::Tls) -> Result<Self, FrontError> {
        // Taken before reading: a change in between is then seen as one.
        let stamp = watch::Stamp::of(&section);
        let certificates = Arc::new(Certificates(RwLock::new(Table::load(&section)?)));
        let resolver = Arc::<Certificates>::clone(&certificates);
        let mut config = ServerConfig::builder_with_provider(aws_lc_rs::default_provider().into())
            .with_protocol_versions(&[&version::TLS13, &version::TLS12])?
            .with_client_cert_verifier(verifier(section.client_ca.as_deref())?)
            .with_cert_resolver(resolver);
        config.ticketer = aws_lc_rs::Ticketer::new()?;
        config.alpn_protocols = vec![b"pop3".to_vec()];
        let files = Mutex::new(Files { section, seen: stamp.clone(), tried: stamp });
        Ok(Self { config: Arc::new(config), certificates, files })
    }

    /// What SASL binds to on a connection whose client asked for `name` (RFC 5929 §4).
    fn end_point(&self, name: Option<&str>) -> Option<Vec<u8>> {
        let table = self.certificates.0.read().unwrap_or_else(PoisonError::into_inner);
        table.choose(name).end_point.clone()
    }

    /// What turns a stream into a TLS stream.
    pub(super) fn acceptor(&self) -> TlsAcceptor {
        Arc::clone(&self.config).into()
    }

    /// Reads the certificates that `section` names; when one is broken, the old ones all stay.
    pub(super) fn reload(&self, section: config::Tls) -> Result<(), PairError> {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        let stamp = watch::Stamp::of(&section);
        let table = Table::load(&section)?;
        *files = Files { section, seen: stamp.clone(), tried: stamp };
        self.certificates.replace(table);
        Ok(())
    }

    /// Logs what there is to warn of, say that a certificate expires soon.
    fn warn(&self) {
        let files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        for pair in pairs(&files.section) {
            // One that is broken by now has been reported when it changed.
            let seen = inspect(pair, SystemTime::now());
            for warning in seen.map(|seen| seen.warnings).unwrap_or_default() {
                warn!("{warning}");
            }
        }
    }

    /// Looks at the files, and reads them again when they have changed and are still since the
    /// last look: a pair that is being written is left alone. `None` when there is nothing new.
    pub(super) fn look(&self) -> Option<Result<(), PairError>> {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        let stamp = watch::Stamp::of(&files.section);
        let still = stamp == files.seen;
        files.seen = stamp.clone();
        if !still || stamp == files.tried {
            return None;
        }
        files.tried = stamp;
        Some(Table::load(&files.section).map(|table| self.certificates.replace(table)))
    }
}

/// Why there is no TLS.
#[derive(Debug)]
pub enum FrontError {
    /// A certificate or key cannot be used.
    Pair(PairError),
    /// The certificates of `client-ca` cannot be used.
    ClientCa(String),
    /// The TLS library refuses.
    Library(rustls::Error),
}

impl From<PairError> for FrontError {
    fn from(error: PairError) -> Self {
        Self::Pair(error)
    }
}

impl From<rustls::Error> for FrontError {
    fn from(error: rustls::Error) -> Self {
        Self::Library(error)
    }
}

impl std::fmt::Display for FrontError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Pair(error) => error.fmt(f),
            Self::ClientCa(why) => f.write_str(why),
            Self::Library(error) => write!(f, "TLS cannot be set up: {error}"),
        }
    }
}

impl std::error::Error for FrontError {}

/// Clients are asked for a certificate when there is somebody whom it could come from; they need
/// not have one.
fn verifier(ca: Option<&Path>) -> Result<Arc<dyn ClientCertVerifier>, FrontError> {
    let Some(path) = ca else { return Ok(WebPkiClientVerifier::no_client_auth()) };
    let unusable = |why: &dyn std::fmt::Display| {
        FrontError::ClientCa(format!("{}: {why}; name a PEM file of certificates", path.display()))
    };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(|error| unusable(&error))? {
        let certificate = certificate.map_err(|error| unusable(&error))?;
        roots.add(certificate).map_err(|error| unusable(&error))?;
    }
    let provider = Arc::new(aws_lc_rs::default_provider());
    WebPkiClientVerifier::builder_with_provider(roots.into(), provider)
        .allow_unauthenticated()
        .build()
        .map_err(|error| unusable(&error))
}

/// The certificates in use; replaced as a whole, so that no handshake sees a mixture.
#[derive(Debug)]
struct Certificates(RwLock<Table>);

impl Certificates {
    fn replace(&self, table: Table) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = table;
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let table = self.0.read().unwrap_or_else(PoisonError::into_inner);
        Some(Arc::clone(&table.choose(hello.server_name()).key))
    }
}

/// Certificates by host name.
#[derive(Debug)]
struct Table {
    default: Arc<Certificate>,
    by_name: HashMap<String, Arc<Certificate>>,
}

/// A certificate with its key.
#[derive(Debug)]
struct Certificate {
    key: Arc<CertifiedKey>,
    /// Made once, and not for every connection.
    end_point: Option<Vec<u8>>,
}

impl Table {
    fn load(section: &config::Tls) -> Result<Self, PairError> {
        let default = load_with_warnings(&section.default)?;
        let mut by_name = HashMap::new();
        for host in &section.hosts {
            let certified = load_with_warnings(&host.pair)?;
            for name in &host.names {
                by_name.insert(name.to_ascii_lowercase(), Arc::clone(&certified));
            }
        }
        Ok(Self { default, by_name })
    }

    /// The exact name, else a wildcard for its first label, else the default. Not every client
    /// sends a name, so a missing or an unknown one is never refused.
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

fn load_with_warnings(pair: &KeyPair) -> Result<Arc<Certificate>, PairError> {
    let key = pair::load(pair)?;
    for warning in inspect::look_at(pair, SystemTime::now())?.warnings {
        warn!("{warning}");
    }
    let end_point = key.cert.first().and_then(peer::end_point);
    Ok(Arc::new(Certificate { key, end_point }))
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

    fn default_certificate(front: &Front) -> Vec<u8> {
        front.certificates.0.read().unwrap().default.key.cert[0].to_vec()
    }

    #[test]
    fn the_certificate_is_chosen_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let table = Table::load(&section(dir.path())).unwrap();
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
    fn a_change_is_read_once_it_is_still() {
        let dir = tempfile::tempdir().unwrap();
        let section = section(dir.path());
        let front = Front::new(section.clone()).unwrap();
        let first = default_certificate(&front);
        assert!(front.look().is_none(), "nothing has changed");
        replace_by(&section.default, &fixture::key_pair(dir.path(), "next", &["localhost"]));
        assert!(front.look().is_none(), "it may still be written");
        assert_eq!(default_certificate(&front), first);
        front.look().unwrap().unwrap();
        assert_ne!(default_certificate(&front), first);
        assert!(front.look().is_none(), "read once");
    }

    #[test]
    fn a_broken_change_leaves_the_old_one_and_is_reported_once() {
        let dir = tempfile::tempdir().unwrap();
        let section = section(dir.path());
        let front = Front::new(section.clone()).unwrap();
        let first = default_certificate(&front);
        fs::write(&section.default.certificate, "garbage").unwrap();
        assert!(front.look().is_none());
        assert!(front.look().unwrap().is_err());
        assert!(front.look().is_none(), "reported once a change");
        assert!(front.reload(section.clone()).is_err());
        assert_eq!(default_certificate(&front), first);
        replace_by(&section.default, &fixture::key_pair(dir.path(), "next", &["localhost"]));
        assert!(front.look().is_none());
        front.look().unwrap().unwrap();
        assert_ne!(default_certificate(&front), first);
    }
}
