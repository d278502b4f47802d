//! A certificate chain and its key: reads them, puts the chain in order, and checks that they match.

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
    /// Whether the certificates are sent in another order than in the file.
    pub(super) reordered: bool,
    /// The issuer of the leaf, if its certificate is not in the file.
    pub(super) unverified: Option<Name>,
}

/// Reads a pair and checks that the key belongs to the certificate.
pub(super) fn load(pair: &KeyPair) -> Result<Loaded, PemError> {
    let chain = pem::certificates(&pair.certificate)?;
    let fault = |fault| PemError::new(&pair.private_key, fault);
    let der = pem::private_key(&pair.private_key)?;
    let key = aws_lc_rs::sign::any_supported_type(&der).map_err(|error| {
        fault(key_kind::unsuitable(&der).map_or(Fault::Unsupported(error), Fault::Key))
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

/// Why a pair cannot be used, an error for each file. Empty if [`load`] succeeds.
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

    /// The certificate that the key is for. If there is none, the first one and `false`.
    fn leaf(&self, pair: &KeyPair, key: &Arc<dyn SigningKey>) -> Result<(usize, bool), PemError> {
        for (at, (der, parsed)) in self.octets.iter().zip(&self.parsed).enumerate() {
            let certified = CertifiedKey::new(vec![der.clone()], Arc::clone(key));
            match certified.keys_match() {
                // "Unknown": the key does not know its public half, so they may match.
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

    /// The order in which they are sent: the leaf, its issuer, and so on. If the leaf and its issuer
    /// come first, the order is kept: the others may be a path to another root.
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

    /// The issuer of the leaf, if it is neither the leaf itself nor in the file.
    fn absent_issuer(&self, leaf: usize) -> Option<Name> {
        let issuer = self.parsed.get(leaf)?.tbs_certificate().issuer();
        let mut subjects = self.parsed.iter().map(|one| one.tbs_certificate().subject());
        let absent = subjects.all(|subject| subject != issuer);
        absent.then(|| issuer.clone())
    }
}

#[cfg(test)]
mod tests;
