//! Properties of a TLS connection: the channel bindings for SASL, and the users in the client
//! certificate.

use std::time::SystemTime;

use sha2::{Digest as _, Sha256, Sha384, Sha512};
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::{ProtocolVersion, ServerConnection};
use x509_cert::Certificate;
use x509_cert::der::Decode as _;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

use super::TlsConfig;
use crate::protocol::Username;
use crate::protocol::sasl::Channel;

/// The channel bindings of this connection.
///
/// - `tls-exporter` only with TLS 1.3: with older versions it is safe only with an extension that the
///   library does not report (RFC 9266 §3).
pub(in crate::server) fn channel(config: &TlsConfig, connection: &ServerConnection) -> Channel {
    let exporter = match connection.protocol_version() {
        Some(ProtocolVersion::TLSv1_3) => {
            connection.export_keying_material([0; 32], b"EXPORTER-Channel-Binding", None).ok()
        }
        _ => None,
    };
    let end_point = config.table.choose(connection.server_name()).end_point.clone();
    Channel { exporter, end_point }
}

/// The hash of a certificate, with the hash function of its signature (RFC 5929 §4.1).
///
/// - `None` for signatures without a hash function, or with one that is chosen by parameters.
pub(super) fn end_point(certificate: &CertificateDer<'_>) -> Option<Vec<u8>> {
    let parsed = Certificate::from_der(certificate).ok()?;
    match parsed.signature_algorithm().oid.to_string().as_str() {
        // MD5, SHA-1 and SHA-256 with RSA, and SHA-1 and SHA-256 with ECDSA, all use SHA-256.
        "1.2.840.113549.1.1.4"
        | "1.2.840.113549.1.1.5"
        | "1.2.840.113549.1.1.11"
        | "1.2.840.10045.4.1"
        | "1.2.840.10045.4.3.2" => Some(Sha256::digest(certificate).to_vec()),
        "1.2.840.113549.1.1.12" | "1.2.840.10045.4.3.3" => {
            Some(Sha384::digest(certificate).to_vec())
        }
        "1.2.840.113549.1.1.13" | "1.2.840.10045.4.3.4" => {
            Some(Sha512::digest(certificate).to_vec())
        }
        _ => None,
    }
}

/// The users in the client certificate: its mail addresses. TLS has verified the certificate.
///
/// - A certificate without an address is for no user.
pub(in crate::server) fn users(connection: &ServerConnection) -> Vec<Username> {
    let certificate = connection.peer_certificates().and_then(<[_]>::first);
    certificate.map_or_else(Vec::new, |certificate| named(certificate, SystemTime::now()))
}

/// The users in a certificate, if it is valid as of `now`.
fn named(certificate: &CertificateDer<'_>, now: SystemTime) -> Vec<Username> {
    let Ok(parsed) = Certificate::from_der(certificate) else { return Vec::new() };
    // A resumed session has the certificate of the first one, which may have expired since.
    if parsed.tbs_certificate().validity().not_after.to_system_time() < now {
        return Vec::new();
    }
    let extension = parsed.tbs_certificate().get_extension::<SubjectAltName>();
    let Ok(Some((_, SubjectAltName(names)))) = extension else { return Vec::new() };
    names.iter().filter_map(address).collect()
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the other kinds name no user")]
fn address(name: &GeneralName) -> Option<Username> {
    match name {
        GeneralName::Rfc822Name(address) => Username::try_from(address.as_str()).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// A certificate of each kind; `openssl dgst` of its DER form says the same.
    #[test]
    fn the_hash_is_that_of_the_signature_and_sha_256_at_the_least() {
        use rcgen::{
            CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384,
            PKCS_ED25519,
        };
        for (algorithm, octets) in [
            (&PKCS_ECDSA_P256_SHA256, Some(32)),
            (&PKCS_ECDSA_P384_SHA384, Some(48)),
            (&PKCS_ED25519, None),
        ] {
            let key = KeyPair::generate_for(algorithm).unwrap();
            let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
            let certificate = params.self_signed(&key).unwrap();
            let hash = end_point(certificate.der());
            assert_eq!(hash.map(|hash| hash.len()), octets, "{algorithm:?}");
        }
        assert_eq!(end_point(&CertificateDer::from(vec![0, 1, 2])), None);
    }

    #[test]
    fn a_certificate_is_for_its_addresses_until_it_expires() {
        let mut params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        for address in ["mrose@example.org", "../etc", "jdoe@example.org"] {
            let address = rcgen::SanType::Rfc822Name(address.try_into().unwrap());
            params.subject_alt_names.push(address);
        }
        params.not_after = rcgen::date_time_ymd(2030, 1, 1);
        let certificate = params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap();
        let end = SystemTime::from(params.not_after);
        let users = |now| {
            let named = named(certificate.der(), now);
            named.iter().map(|user| user.as_str().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(users(end), ["mrose@example.org", "jdoe@example.org"]);
        assert_eq!(users(end + Duration::from_secs(1)), [""; 0]);
    }
}
