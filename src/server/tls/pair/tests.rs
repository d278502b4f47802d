//! Certificate chains and keys that match, and those that do not.

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
        (dir.path().join("none.pem"), good.private_key.clone(), "correct the path, or create"),
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
fn the_error_for_another_format_names_it() {
    for (certificate, expected) in [
        ("version-1.crt", "certificate of X.509 version 1"),
        ("request.csr", "but a certificate request (send it to a certificate authority"),
        ("public.key", "no certificate in it, but a public key"),
        ("leaf-der.crt", "openssl x509 -inform DER"),
        ("leaf.p12", "with openssl pkcs12 -in FILE -nodes -out NEW"),
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
        ("openssh.key", "but an OpenSSH key"),
        ("dsa-traditional.key", "but a DSA key"),
    ] {
        let error = error(made("leaf.crt"), made(key));
        assert!(error.contains(expected), "{expected}: {error}");
        assert!(error.contains(key), "{error}");
    }
}

#[test]
fn the_error_for_an_unsuitable_key_names_its_kind() {
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
fn the_chain_is_sent_in_order_and_a_missing_issuer_is_found() {
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
        let expected: Vec<_> = sent
            .iter()
            .flat_map(|name| pem::certificates(&made(&format!("{name}.crt"))).unwrap())
            .collect();
        assert!(loaded.certified.cert == expected, "{file:?}");
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
