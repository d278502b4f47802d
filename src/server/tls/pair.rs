//! A certificate chain and its key: read, put in order, and checked to fit.

use std::sync::Arc;

use tokio_rustls::rustls;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::sign::{CertifiedKey, SigningKey};
use x509_cert::certificate::Version;
use x509_cert::der::Decode as _;
use x509_cert::{Certificate, name::Name};

use super::key_kind;
use super::pem::{self, Fault, PemError};
use crate::config::KeyPair;

/// A pair that can be served.
pub(super) struct Loaded {
    pub(super) certified: Arc<CertifiedKey>,
    /// The server's own certificate.
    pub(super) leaf: Certificate,
    /// Whether the certificates of the file are in another order than they are sent in.
    pub(super) reordered: bool,
    /// Who has issued the leaf, when that certificate is not in the file.
    pub(super) unverified: Option<Name>,
}

/// Reads a pair and checks that the key belongs to the certificate.
pub(super) fn load(pair: &KeyPair) -> Result<Loaded, PemError> {
    let chain = pem::certificates(&pair.certificate)?;
    let fault = |fault| PemError::new(&pair.private_key, fault);
    let der = pem::private_key(&pair.private_key)?;
    let key = aws_lc_rs::sign::any_supported_type(&der).map_err(|error| {
        fault(key_kind::unsuitable(&der).map_or(Fault::Unsupported(error), Fault::Kind))
    })?;
    let chain = Chain::of(pair, chain)?;
    let (leaf, fits) = chain.leaf(pair, &key)?;
    if !fits {
        return Err(fault(Fault::Mismatch(pair.certificate.clone())));
    }
    let order = chain.order(leaf);
    let reordered = !order.is_sorted();
    let unverified = chain.absent_issuer(leaf);
    let Chain { octets, mut parsed } = chain;
    let sent = order.into_iter().filter_map(|at| octets.get(at).cloned()).collect();
    Ok(Loaded {
        certified: Arc::new(CertifiedKey::new(sent, key)),
        leaf: parsed.swap_remove(leaf),
        reordered,
        unverified,
    })
}

/// All that keeps a pair from being used; nothing when [`load`] takes it.
pub(super) fn faults(pair: &KeyPair) -> Vec<PemError> {
    let alone =
        [pem::certificates(&pair.certificate).err(), pem::private_key(&pair.private_key).err()];
    let alone: Vec<PemError> = alone.into_iter().flatten().collect();
    if alone.is_empty() { load(pair).err().into_iter().collect() } else { alone }
}

/// The certificates of a file, at least one.
struct Chain {
    octets: Vec<CertificateDer<'static>>,
    parsed: Vec<Certificate>,
}

impl Chain {
    fn of(pair: &KeyPair, octets: Vec<CertificateDer<'static>>) -> Result<Self, PemError> {
        let parsed = octets.iter().map(|der| Certificate::from_der(der)).collect::<Result<_, _>>();
        let not_x509 = |error| PemError::new(&pair.certificate, Fault::NotX509(error));
        Ok(Self { parsed: parsed.map_err(not_x509)?, octets })
    }

    /// The certificate that the key is for, wherever it stands; the first one, and `false`, when
    /// there is none.
    fn leaf(&self, pair: &KeyPair, key: &Arc<dyn SigningKey>) -> Result<(usize, bool), PemError> {
        for (at, (der, parsed)) in self.octets.iter().zip(&self.parsed).enumerate() {
            let certified = CertifiedKey::new(vec![der.clone()], Arc::clone(key));
            match certified.keys_match() {
                // "Unknown" is a key that cannot tell its public half: nothing speaks against it.
                Ok(())
                | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => {
                    return Ok((at, true));
                }
                Err(rustls::Error::InconsistentKeys(_)) => {}
                Err(error) => {
                    let fault = match parsed.tbs_certificate().version() {
                        Version::V1 => Fault::Version1,
                        Version::V2 | Version::V3 => Fault::Unsupported(error),
                    };
                    return Err(PemError::new(&pair.certificate, fault));
                }
            }
        }
        Ok((0, false))
    }

    /// The order in which they are sent: the leaf, its issuer, and so on. One in
    /// which the leaf and its issuer come first is left alone: what follows may be another way to
    /// another root.
    fn order(&self, leaf: usize) -> Vec<usize> {
        let mut rest: Vec<usize> = (0..self.parsed.len()).filter(|&at| at != leaf).collect();
        let is_issuer = |at: &usize, of: usize| {
            let issuer = self.parsed.get(of).map(|one| one.tbs_certificate().issuer());
            issuer == self.parsed.get(*at).map(|one| one.tbs_certificate().subject())
        };
        let mut order = vec![leaf];
        let second_is_right = rest.first().is_none_or(|second| is_issuer(second, leaf));
        if leaf == 0 && second_is_right {
            order.append(&mut rest);
            return order;
        }
        let mut last = leaf;
        while let Some(found) = rest.iter().position(|at| is_issuer(at, last)) {
            last = rest.remove(found);
            order.push(last);
        }
        order.append(&mut rest);
        order
    }

    /// Who has issued the leaf, when it is neither the leaf itself nor in the file.
    fn absent_issuer(&self, leaf: usize) -> Option<Name> {
        let issuer = self.parsed.get(leaf)?.tbs_certificate().issuer();
        let mut subjects = self.parsed.iter().map(|one| one.tbs_certificate().subject());
        let absent = subjects.all(|subject| subject != issuer);
        absent.then(|| issuer.clone())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::{Path, PathBuf};

    use super::*;
    use crate::server::fixture;

    #[test]
    fn each_fault_is_named_with_its_file() {
        let dir = tempfile::tempdir().unwrap();
        let good = fixture::key_pair(dir.path(), "good", &["localhost"]);
        let other = fixture::key_pair(dir.path(), "other", &["localhost"]);
        let path = |name: &str, text: &[u8]| {
            let path = dir.path().join(name);
            fs::write(&path, text).unwrap();
            path
        };
        let half = fs::read(&good.certificate).unwrap();
        for (certificate, private_key, expected) in [
            (dir.path().join("none.pem"), good.private_key.clone(), "cannot be read"),
            (path("empty.pem", b""), good.private_key.clone(), "no certificate in it; it needs"),
            (path("half.pem", &half[..half.len() / 2]), good.private_key.clone(), "PEM"),
            (good.private_key.clone(), good.private_key.clone(), "in it, but a private key;"),
            (good.certificate.clone(), good.certificate.clone(), "in it, but a certificate;"),
            (good.certificate.clone(), other.private_key, "is not the key of the certificate in"),
        ] {
            let error = error(certificate, private_key);
            assert!(error.contains(expected), "{expected}: {error}");
            assert!(error.starts_with(&dir.path().display().to_string()), "{error}");
        }
        assert!(load(&good).is_ok());
    }

    #[test]
    fn files_of_another_form_are_called_by_their_names() {
        for (certificate, expected) in [
            ("version-1.crt", "certificate of X.509 version 1"),
            ("request.csr", "but a certificate request, which is sent to the authority"),
            ("public.key", "no certificate in it, but a public key"),
            ("leaf-der.crt", "openssl x509 -inform DER"),
            ("leaf.p12", "is a PKCS #12 file: openssl pkcs12 -in"),
        ] {
            let key = if certificate.starts_with("version") { "version-1.key" } else { "leaf.key" };
            let error = error(made(certificate), made(key));
            assert!(error.contains(expected), "{expected}: {error}");
            assert!(error.contains(certificate), "{error}");
        }
        for (key, expected) in [
            ("encrypted-pkcs-1.key", "is encrypted"),
            ("encrypted-pkcs-8.key", "is encrypted"),
            ("encrypted-sec-1.key", "is encrypted"),
            ("leaf-der.key", "openssl pkey -inform DER"),
            ("leaf.p12", "is a PKCS #12 file"),
            ("public.key", "no private key in it, but a public key"),
            ("openssh.key", "but a key of OpenSSH"),
            ("dsa-traditional.key", "but a DSA key"),
        ] {
            let error = error(made("leaf.crt"), made(key));
            assert!(error.contains(expected), "{expected}: {error}");
            assert!(error.contains(key), "{error}");
        }
    }

    #[test]
    fn keys_that_there_is_no_tls_with_are_called_by_their_kind() {
        for (certificate, key, expected) in [
            ("rsa-pss", "rsa-pss", "is a key for RSA-PSS signatures only"),
            ("rsa-1024", "rsa-1024", "is an RSA key of 1024 bits"),
            ("rsa-1024", "rsa-1024-pkcs-1", "is an RSA key of 1024 bits"),
            ("dsa", "dsa", "is a DSA key"),
            ("ed448", "ed448", "is an Ed448 key"),
            ("secp256k1", "secp256k1", "is a key on another curve"),
            ("secp256k1", "secp256k1-sec-1", "is a key on another curve"),
        ] {
            let key = made(&format!("{key}.key"));
            let error = error(made(&format!("{certificate}.crt")), key.clone());
            assert!(error.starts_with(&key.display().to_string()), "{error}");
            assert!(error.contains(expected), "{expected}: {error}");
            assert!(error.contains("P-256"), "{error}");
        }
        let pair = KeyPair { certificate: made("p-521.crt"), private_key: made("p-521.key") };
        assert!(load(&pair).is_ok());
    }

    #[test]
    fn the_chain_is_sent_in_order_and_a_gap_is_seen() {
        let dir = tempfile::tempdir().unwrap();
        let certificate = dir.path().join("chain.pem");
        let pair = KeyPair { certificate: certificate.clone(), private_key: made("leaf.key") };
        for (file, sent, reordered, has_issuer) in [
            (&["leaf", "intermediate"][..], &["leaf", "intermediate"][..], false, true),
            (&["intermediate", "leaf"], &["leaf", "intermediate"], true, true),
            (&["root", "intermediate", "leaf"], &["leaf", "intermediate", "root"], true, true),
            (&["leaf", "root", "intermediate"], &["leaf", "intermediate", "root"], true, true),
            (
                &["leaf", "intermediate", "p-521", "root"],
                &["leaf", "intermediate", "p-521", "root"],
                false,
                true,
            ),
            (&["leaf"], &["leaf"], false, false),
            (&["root", "leaf"], &["leaf", "root"], true, false),
        ] {
            let pem = |name: &&str| fs::read(made(&format!("{name}.crt"))).unwrap();
            fs::write(&certificate, file.iter().flat_map(pem).collect::<Vec<_>>()).unwrap();
            let loaded = load(&pair).unwrap();
            let wanted: Vec<_> = sent
                .iter()
                .flat_map(|name| pem::certificates(&made(&format!("{name}.crt"))).unwrap())
                .collect();
            assert!(loaded.certified.cert == wanted, "{file:?}");
            assert_eq!(loaded.reordered, reordered, "{file:?}");
            assert_eq!(loaded.unverified.is_none(), has_issuer, "{file:?}");
            assert_eq!(loaded.leaf.tbs_certificate().subject().to_string(), "CN=leaf");
        }
    }

    fn error(certificate: PathBuf, private_key: PathBuf) -> String {
        load(&KeyPair { certificate, private_key }).err().unwrap().to_string()
    }

    fn made(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/certificates").join(name)
    }
}
