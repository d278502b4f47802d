//! What kind a private key is of, to say why it cannot be used.

use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use x509_cert::der::asn1::{ObjectIdentifier, OctetStringRef, UintRef};
use x509_cert::der::{Decode as _, Header, Result, SliceReader};
use x509_cert::spki::AlgorithmIdentifierRef;

/// What a key is that there is no TLS with here, in words; nothing when its kind would do.
pub(super) fn unsuitable(key: &PrivateKeyDer<'_>) -> Option<String> {
    let what = match key {
        PrivateKeyDer::Pkcs1(key) => rsa(key.secret_pkcs1_der()).ok()?,
        PrivateKeyDer::Pkcs8(key) => pkcs8(key.secret_pkcs8_der()).ok()?,
        PrivateKeyDer::Sec1(_) => Some(OTHER_CURVE.to_owned()),
        _ => None,
    }?;
    Some(format!(
        "is {what}, with which there is no TLS here; make one on the curve P-256, which all clients \
         take, and a certificate for it: openssl genpkey -algorithm EC -pkeyopt \
         ec_paramgen_curve:P-256"
    ))
}

/// RFC 5958:
/// ```text
/// SEQUENCE { version INTEGER, algorithm AlgorithmIdentifier, key OCTET STRING, … }
/// ```
fn pkcs8(octets: &[u8]) -> Result<Option<String>> {
    let mut reader = SliceReader::new(octets)?;
    Header::decode(&mut reader)?;
    u8::decode(&mut reader)?;
    let algorithm = AlgorithmIdentifierRef::decode(&mut reader)?;
    let key = <&OctetStringRef>::decode(&mut reader)?;
    Ok(match algorithm.oid {
        RSA => return rsa(key.as_bytes()),
        RSA_PSS => Some(
            "a key for RSA-PSS signatures only (an RSA key without that restriction would do)"
                .into(),
        ),
        EC => Some(OTHER_CURVE.into()),
        DSA => Some("a DSA key".into()),
        ED448 => Some("an Ed448 key".into()),
        X25519 => Some("an X25519 key, which cannot sign".into()),
        ED25519 => None,
        other => Some(format!("a key of an unknown kind ({other})")),
    })
}

/// RFC 8017:
/// ```text
/// SEQUENCE { version INTEGER, modulus INTEGER, … }
/// ```
fn rsa(octets: &[u8]) -> Result<Option<String>> {
    let mut reader = SliceReader::new(octets)?;
    Header::decode(&mut reader)?;
    u8::decode(&mut reader)?;
    let modulus = UintRef::decode(&mut reader)?;
    let [first, rest @ ..] = modulus.as_bytes() else { return Ok(None) };
    let bits = rest.len() * 8 + usize::try_from(first.ilog2() + 1).unwrap_or_default();
    Ok(match bits {
        ..2048 => Some(format!("an RSA key of {bits} bits, of which there have to be 2048")),
        8193.. => Some(format!("an RSA key of {bits} bits, of which there may be 8192")),
        _ => None,
    })
}

const OTHER_CURVE: &str = "a key on another curve than P-256, P-384 or P-521";

const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const RSA_PSS: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.10");
const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const DSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10040.4.1");
const X25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.110");
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
const ED448: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.113");
