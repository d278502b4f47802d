//! Why a handshake failed, as text for the operator: what the client offers, and what it needs.

use tokio_rustls::rustls::{
    Error, InvalidMessage, NamedGroup, ProtocolVersion, SignatureAlgorithm, SupportedCipherSuite,
};

use super::TlsConfig;
use super::hello::{Hello, is_ssl2};
use crate::protocol::WrongProtocol;

/// Why a handshake failed: a word, and details.
pub(in crate::server) type HandshakeFailure = (&'static str, String);

impl TlsConfig {
    /// Why a handshake failed, with a client whose first octets were `first`.
    #[expect(clippy::wildcard_enum_match_arm, reason = "the library describes the others")]
    pub(in crate::server) fn handshake_failure(
        &self,
        error: &Error,
        first: &[u8],
    ) -> HandshakeFailure {
        let hello = Hello::read(first);
        if let Some(hello) = hello.as_ref().filter(|hello| hello.version < TLS_1_2) {
            return too_old(hello.version);
        }
        if is_ssl2(first) {
            let detail = "the client sends a hello of SSL 2.0; it needs one of TLS 1.2 or newer";
            return ("tls-too-old", detail.into());
        }
        match error {
            Error::InvalidMessage(
                InvalidMessage::InvalidContentType | InvalidMessage::UnknownProtocolVersion,
            ) => ("plaintext-on-tls-port", plaintext(first)),
            Error::NoApplicationProtocol => ("wrong-protocol", error.to_string()),
            Error::PeerIncompatible(_) => hello
                .and_then(|hello| self.nothing_in_common(&hello))
                .unwrap_or_else(|| ("tls-handshake-failed", error.to_string())),
            // Usually the client does not accept the certificate.
            Error::AlertReceived(_) => ("tls-refused-by-client", error.to_string()),
            _ => ("tls-handshake-failed", error.to_string()),
        }
    }

    /// What a client with TLS 1.2 or newer lacks. `None` if nothing is missing.
    fn nothing_in_common(&self, hello: &Hello) -> Option<HandshakeFailure> {
        let provider = self.server.crypto_provider();
        let common: Vec<SupportedCipherSuite> = provider
            .cipher_suites
            .iter()
            .filter(|suite| hello.cipher_suites.contains(&suite.suite()))
            .filter(|suite| suite.version().version != ProtocolVersion::TLSv1_3 || hello.is_1_3())
            .copied()
            .collect();
        let key = self.table.choose(hello.host.as_deref()).key.key.algorithm();
        if !common.iter().any(|suite| suite.usable_for_signature_algorithm(key)) {
            return Some(no_common_cipher(&common, key));
        }
        let ours: Vec<NamedGroup> = provider.kx_groups.iter().map(|group| group.name()).collect();
        if !hello.groups.iter().any(|group| ours.contains(group)) {
            return Some(("no-common-group", no_common_group(&hello.groups, &ours)));
        }
        let detail = format!(
            "no common signature: the client supports none of the {} key of the certificate; all \
             clients support those of a P-256 key",
            name_of(key)
        );
        Some(("no-common-signature", detail))
    }
}

impl Hello {
    fn is_1_3(&self) -> bool {
        self.version > TLS_1_2
    }
}

fn too_old(version: u16) -> HandshakeFailure {
    let name = match version {
        0x0302 => "TLS 1.1",
        0x0301 => "TLS 1.0",
        0x0300 => "SSL 3.0",
        _ => "SSL 2.0",
    };
    ("tls-too-old", format!("the client offers {name} at most; it needs TLS 1.2"))
}

fn plaintext(first: &[u8]) -> String {
    match WrongProtocol::recognise(first) {
        Some(protocol) => format!("the client speaks {protocol}"),
        None => "the client does not begin TLS: its port or its security setting is wrong".into(),
    }
}

fn no_common_cipher(common: &[SupportedCipherSuite], key: SignatureAlgorithm) -> HandshakeFailure {
    let others = [SignatureAlgorithm::RSA, SignatureAlgorithm::ECDSA]
        .into_iter()
        .find(|other| common.iter().any(|suite| suite.usable_for_signature_algorithm(*other)));
    let detail = match others {
        Some(other) => format!(
            "no common cipher suite: the client offers only suites for {} certificates, and the \
             certificate has an {} key",
            name_of(other),
            name_of(key)
        ),
        None => "no common cipher suite: the client offers none with ECDHE and AES-GCM or \
                 ChaCha20-Poly1305"
            .into(),
    };
    ("no-common-cipher", detail)
}

fn no_common_group(theirs: &[NamedGroup], ours: &[NamedGroup]) -> String {
    let list = |groups: &[NamedGroup]| {
        let names: Vec<_> = groups.iter().take(8).map(|group| format!("{group:?}")).collect();
        if names.is_empty() { "none".to_owned() } else { names.join(", ") }
    };
    format!(
        "no common key exchange group: the client offers {}; it needs one of {}",
        list(theirs),
        list(ours)
    )
}

fn name_of(key: SignatureAlgorithm) -> &'static str {
    if key == SignatureAlgorithm::RSA {
        "RSA"
    } else if key == SignatureAlgorithm::ECDSA {
        "ECDSA"
    } else {
        "Ed25519"
    }
}

const TLS_1_2: u16 = 0x0303;

#[cfg(test)]
mod tests {
    use std::path::Path;

    use tokio_rustls::rustls::PeerIncompatible;

    use super::super::hello::tests::record_of;
    use super::*;
    use crate::config;
    use crate::server::fixture;

    fn tls_config(dir: &Path) -> TlsConfig {
        let default = fixture::key_pair(dir, "default", &["localhost"]);
        TlsConfig::load(&config::Tls { default, client_ca: None, hosts: Vec::new() }).unwrap()
    }

    #[test]
    fn the_reason_is_what_the_client_lacks() {
        const ECDSA: u16 = 0xc02b;
        const ECDHE_RSA: u16 = 0xc02f;
        const RSA_CBC: u16 = 0x002f;
        const TLS_1_3_SUITE: u16 = 0x1301;
        let dir = tempfile::tempdir().unwrap();
        let config = tls_config(dir.path());
        let (p256, brainpool) = ([0, 2, 0, 23], [0, 4, 0, 26, 0, 27]);
        let none: &[(u16, &[u8])] = &[];
        for (version, suites, extensions, why, detail) in [
            (0x0300, &[RSA_CBC][..], none, "tls-too-old", "SSL 3.0 at most; it needs TLS 1.2"),
            (0x0301, &[RSA_CBC, ECDSA], none, "tls-too-old", "TLS 1.0 at most"),
            (0x0302, &[RSA_CBC], none, "tls-too-old", "TLS 1.1 at most"),
            (0x0303, &[ECDSA], &[(43, &[2, 3, 2])], "tls-too-old", "TLS 1.1 at most"),
            (0x0303, &[RSA_CBC], none, "no-common-cipher", "offers none with ECDHE"),
            (
                0x0303,
                &[ECDHE_RSA, RSA_CBC],
                &[(10, &p256)],
                "no-common-cipher",
                "only suites for RSA certificates, and the certificate has an ECDSA key",
            ),
            (0x0303, &[TLS_1_3_SUITE], &[(10, &p256)], "no-common-cipher", "offers none"),
            (0x0303, &[ECDSA], none, "no-common-group", "the client offers none; it needs one of"),
            (0x0303, &[ECDSA], &[(10, &brainpool)], "no-common-group", "X25519"),
            (0x0303, &[ECDSA], &[(10, &p256)], "no-common-signature", "the ECDSA key"),
        ] {
            let first = record_of(version, suites, extensions);
            let error = Error::PeerIncompatible(PeerIncompatible::NoCipherSuitesInCommon);
            let (word, said) = config.handshake_failure(&error, &first);
            assert_eq!(word, why, "{version:x} {suites:x?}: {said}");
            assert!(said.contains(detail), "{detail}: {said}");
        }
    }

    #[test]
    fn other_protocols_are_recognised_by_their_first_octets() {
        let dir = tempfile::tempdir().unwrap();
        let config = tls_config(dir.path());
        let error = Error::InvalidMessage(InvalidMessage::InvalidContentType);
        for (first, why, detail) in [
            (&b"CAPA\r\n"[..], "plaintext-on-tls-port", "does not begin TLS"),
            (b"GET / HTTP/1.1\r\n", "plaintext-on-tls-port", "speaks HTTP"),
            (&[0x80, 0x2e, 1, 3, 1, 0, 0x15], "tls-too-old", "TLS 1.0 at most"),
            (&[0x80, 0x2e, 1, 0, 2, 0, 0x15], "tls-too-old", "SSL 2.0 at most"),
            (&[0x80, 0x2e, 1, 3, 3, 0, 0x15], "tls-too-old", "sends a hello of SSL 2.0"),
        ] {
            let (word, said) = config.handshake_failure(&error, first);
            assert_eq!(word, why, "{said}");
            assert!(said.contains(detail), "{detail}: {said}");
        }
    }
}
