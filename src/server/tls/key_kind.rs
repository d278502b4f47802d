//! The kind of a private key, to explain why it cannot be used.

use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use x509_cert::der::asn1::{ObjectIdentifier, OctetStringRef, UintRef};
use x509_cert::der::{Decode as _, Header, Result, SliceReader};
use x509_cert::spki::AlgorithmIdentifierRef;

/// A key that TLS cannot use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum UnsuitableKey {
    #[error("an RSA key of {0} bits (at least 2048 are needed)")]
    ShortRsa(usize),
    #[error("an RSA key of {0} bits (at most 8192 are allowed)")]
    LongRsa(usize),
    #[error(
        "a key for RSA-PSS signatures only (an RSA key without that restriction would be suitable)"
    )]
    RsaPss,
    #[error("a key on another curve than P-256, P-384 or P-521")]
    Curve,
    #[error("a DSA key")]
    Dsa,
    #[error("an Ed448 key")]
    Ed448,
    #[error("an X25519 key (it cannot sign)")]
    X25519,
    #[error("a key of an unknown kind ({0})")]
    Unknown(ObjectIdentifier),
}

/// Why TLS cannot use a key. `None` if its kind is suitable.
pub(super) fn unsuitable(key: &PrivateKeyDer<'_>) -> Option<UnsuitableKey> {
    match key {
        PrivateKeyDer::Pkcs1(key) => rsa(key.secret_pkcs1_der()).ok()?,
        PrivateKeyDer::Pkcs8(key) => pkcs8(key.secret_pkcs8_der()).ok()?,
        PrivateKeyDer::Sec1(_) => Some(UnsuitableKey::Curve),
        _ => None,
    }
}

/// RFC 5958:
/// ```text
/// SEQUENCE { version INTEGER, algorithm AlgorithmIdentifier, key OCTET STRING, … }
/// ```
fn pkcs8(octets: &[u8]) -> Result<Option<UnsuitableKey>> {
    let mut reader = SliceReader::new(octets)?;
    Header::decode(&mut reader)?;
    u8::decode(&mut reader)?;
    let algorithm = AlgorithmIdentifierRef::decode(&mut reader)?;
    let key = <&OctetStringRef>::decode(&mut reader)?;
    Ok(match algorithm.oid {
        RSA => return rsa(key.as_bytes()),
        RSA_PSS => Some(UnsuitableKey::RsaPss),
        EC => Some(UnsuitableKey::Curve),
        DSA => Some(UnsuitableKey::Dsa),
        ED448 => Some(UnsuitableKey::Ed448),
        X25519 => Some(UnsuitableKey::X25519),
        ED25519 => None,
        other => Some(UnsuitableKey::Unknown(other)),
    })
}

/// RFC 8017:
/// ```text
/// SEQUENCE { version INTEGER, modulus INTEGER, … }
/// ```
fn rsa(octets: &[u8]) -> Result<Option<UnsuitableKey>> {
    let mut reader = SliceReader::new(octets)?;
    Header::decode(&mut reader)?;
    u8::decode(&mut reader)?;
    let modulus = UintRef::decode(&mut reader)?;
    let [first, rest @ ..] = modulus.as_bytes() else { return Ok(None) };
    let bits = rest.len() * 8 + usize::try_from(first.ilog2() + 1).unwrap_or_default();
    Ok(match bits {
        ..2048 => Some(UnsuitableKey::ShortRsa(bits)),
        8193.. => Some(UnsuitableKey::LongRsa(bits)),
        _ => None,
    })
}

const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const RSA_PSS: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.10");
const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const DSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10040.4.1");
const X25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.110");
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
const ED448: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.113");
