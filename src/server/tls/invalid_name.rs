//! Clients that send an invalid server name: `[::1]`, `pop.example.org:995`.
//!
//! The TLS library aborts such a handshake (rustls 0.23; 0.24 has `InvalidSniPolicy`, which replaces
//! this file). A server may ignore the extension (RFC 6066 §3), as other servers do. The library ignores
//! extensions of unknown types. So:
//!
//! - [`mark`] changes the type of that extension, and nothing else, before the library reads it.
//! - Both sides hash the messages of the client, so [`Transcript`] restores the type for the hash.
//!   Client and server still agree on exactly what was sent, and an attacker on the network cannot
//!   change it unnoticed: the type is restored only where `mark` would have changed it.
//!
//! This does not cover messages that the library reads without `mark`: the second `ClientHello` of a
//! client that is asked for another key exchange group, and the signature of a client certificate in
//! TLS 1.2. Those handshakes fail as they would without this file.

use std::sync::LazyLock;

use tokio_rustls::rustls::crypto::hash::{Context, Hash, HashAlgorithm, Output};
use tokio_rustls::rustls::crypto::{CryptoProvider, aws_lc_rs};
use tokio_rustls::rustls::{
    CipherSuiteCommon, SupportedCipherSuite, Tls12CipherSuite, Tls13CipherSuite,
};
use tracing::debug;

use super::hello::{RECORD_HEADER, SERVER_NAME, alleged_name, invalid_server_name, octets_needed};

/// Hides an invalid server name from the TLS library. `first` is what the client has sent.
pub(super) fn mark(first: &mut [u8]) {
    // The octets after the first record may be another record with a header.
    let Some(message) = first.get_mut(RECORD_HEADER..octets_needed(first)) else { return };
    let Some(at) = invalid_server_name(message, SERVER_NAME) else { return };
    debug!(
        name = %alleged_name(message, at).escape_ascii(),
        "the client sends an invalid server name; it gets the default certificate"
    );
    if let Some(kind) = message.get_mut(at..at + 2) {
        kind.copy_from_slice(&MARK.to_be_bytes());
    }
}

/// aws-lc-rs, with transcripts from which marks are removed.
pub(super) fn provider() -> CryptoProvider {
    CryptoProvider { cipher_suites: CIPHER_SUITES.clone(), ..aws_lc_rs::default_provider() }
}

/// The library requires suites with a static lifetime.
static CIPHER_SUITES: LazyLock<Vec<SupportedCipherSuite>> =
    LazyLock::new(|| aws_lc_rs::default_provider().cipher_suites.into_iter().map(suite).collect());

fn suite(suite: SupportedCipherSuite) -> SupportedCipherSuite {
    match suite {
        SupportedCipherSuite::Tls12(suite) => {
            SupportedCipherSuite::Tls12(Box::leak(Box::new(Tls12CipherSuite {
                common: common(&suite.common),
                prf_provider: suite.prf_provider,
                kx: suite.kx,
                sign: suite.sign,
                aead_alg: suite.aead_alg,
            })))
        }
        SupportedCipherSuite::Tls13(suite) => {
            SupportedCipherSuite::Tls13(Box::leak(Box::new(Tls13CipherSuite {
                common: common(&suite.common),
                hkdf_provider: suite.hkdf_provider,
                aead_alg: suite.aead_alg,
                quic: suite.quic,
            })))
        }
    }
}

fn common(common: &CipherSuiteCommon) -> CipherSuiteCommon {
    CipherSuiteCommon {
        suite: common.suite,
        hash_provider: Box::leak(Box::new(Transcript(common.hash_provider))),
        confidentiality_limit: common.confidentiality_limit,
    }
}

/// The hash function of a suite for the messages of a handshake.
struct Transcript(&'static dyn Hash);

impl Hash for Transcript {
    fn start(&self) -> Box<dyn Context> {
        Box::new(Unmarked(self.0.start()))
    }

    fn hash(&self, data: &[u8]) -> Output {
        self.0.hash(data)
    }

    fn output_len(&self) -> usize {
        self.0.output_len()
    }

    fn algorithm(&self) -> HashAlgorithm {
        self.0.algorithm()
    }

    fn fips(&self) -> bool {
        self.0.fips()
    }
}

/// A hash of whole messages that removes the mark from a `ClientHello`.
struct Unmarked(Box<dyn Context>);

impl Context for Unmarked {
    fn fork_finish(&self) -> Output {
        self.0.fork_finish()
    }

    fn fork(&self) -> Box<dyn Context> {
        Box::new(Self(self.0.fork()))
    }

    fn finish(self: Box<Self>) -> Output {
        self.0.finish()
    }

    fn update(&mut self, data: &[u8]) {
        let parts = invalid_server_name(data, MARK).and_then(|at| {
            let (before, rest) = data.split_at_checked(at)?;
            Some((before, rest.get(2..)?))
        });
        match parts {
            Some((before, after)) => {
                self.0.update(before);
                self.0.update(&SERVER_NAME.to_be_bytes());
                self.0.update(after);
            }
            None => self.0.update(data),
        }
    }
}

/// A type that IANA reserves for private use. If a client itself sends it with an invalid name, the
/// hashes differ, and the handshake fails.
const MARK: u16 = 0xff4e;

#[cfg(test)]
mod tests {
    use super::super::hello::tests::{names, record};
    use super::*;

    #[test]
    fn a_marked_hello_is_hashed_as_it_was_sent() {
        for suite in CIPHER_SUITES.iter() {
            let hash = match suite {
                SupportedCipherSuite::Tls12(suite) => suite.common.hash_provider,
                SupportedCipherSuite::Tls13(suite) => suite.common.hash_provider,
            };
            for (name, is_marked) in [(&b"[::1]"[..], true), (b"pop.example.org", false)] {
                let name = names(name);
                let sent = record(&[(SERVER_NAME, &name), (10, &[0, 2, 0, 29]), (41, b"binders")]);
                let mut read = sent.clone();
                mark(&mut read);
                assert_eq!(read != sent, is_marked);
                // Binders are verified against a message that is cut off before them.
                for end in [sent.len(), sent.len() - 7] {
                    let mut context = hash.start();
                    context.update(b"");
                    context.update(&read[RECORD_HEADER..end]);
                    let wanted = hash.hash(&sent[RECORD_HEADER..end]);
                    assert_eq!(context.fork_finish().as_ref(), wanted.as_ref());
                    assert_eq!(context.fork().finish().as_ref(), wanted.as_ref());
                }
            }
        }
    }

    #[test]
    fn a_name_that_continues_in_another_record_is_not_marked() {
        let name = names(b"pop.example.org");
        let whole = record(&[(SERVER_NAME, &name)]);
        for first in RECORD_HEADER + 1..whole.len() {
            let mut sent = Vec::new();
            for part in [&whole[RECORD_HEADER..first], &whole[first..]] {
                let length = u16::try_from(part.len()).unwrap().to_be_bytes();
                sent.extend([&whole[..3], &length, part].concat());
            }
            let mut read = sent.clone();
            mark(&mut read);
            assert_eq!(read, sent, "the first record ends before octet {first}");
        }
    }

    /// An attacker on the network who marks a valid name changes the hash.
    #[test]
    fn a_valid_name_cannot_be_marked_on_the_network() {
        let name = names(b"pop.example.org");
        let sent = record(&[(SERVER_NAME, &name)]);
        let changed = record(&[(MARK, &name)]);
        let SupportedCipherSuite::Tls13(suite) = CIPHER_SUITES[0] else { panic!("TLS 1.3 first") };
        let hash = suite.common.hash_provider;
        let mut context = hash.start();
        context.update(&changed[RECORD_HEADER..]);
        assert_ne!(context.finish().as_ref(), hash.hash(&sent[RECORD_HEADER..]).as_ref());
    }
}
