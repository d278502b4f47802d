//! The names, dates and warnings of a certificate.

use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, SystemTime};

use x509_cert::Certificate;
use x509_cert::der::DateTime;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

use super::pair::{self, Loaded};
use super::pem::PemError;
use crate::config::KeyPair;

/// A pair that can be served, as `restante check` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspection {
    /// The names that the certificate is for.
    pub names: Vec<String>,
    /// When its validity begins.
    pub not_before: SystemTime,
    /// When its validity ends.
    pub not_after: SystemTime,
    /// Warnings for the operator.
    pub warnings: Vec<String>,
    /// Warnings about the private key.
    pub key_warnings: Vec<String>,
}

impl Inspection {
    pub(super) fn all_warnings(&self) -> impl Iterator<Item = &String> {
        self.warnings.iter().chain(&self.key_warnings)
    }

    /// How long the certificate is still valid as of `now`, as text.
    pub fn time_left(&self, now: SystemTime) -> String {
        match self.not_after.duration_since(now) {
            Ok(left) => format!("{} left", days(left)),
            Err(_) => "expired".to_owned(),
        }
    }
}

/// Reads a pair as the server would, and inspects it as of `now`.
///
/// # Errors
/// A [`PemError`] for each file with a fault, when the server could not use the pair.
pub fn inspect(pair: &KeyPair, now: SystemTime) -> Result<Inspection, Vec<PemError>> {
    match pair::load(pair) {
        Ok(loaded) => Ok(look_at(pair, &loaded, now)),
        Err(_) => Err(pair::faults(pair)),
    }
}

/// Inspects a loaded pair.
pub(super) fn look_at(pair: &KeyPair, loaded: &Loaded, now: SystemTime) -> Inspection {
    let validity = loaded.leaf.tbs_certificate().validity();
    let (not_before, not_after) =
        (validity.not_before.to_system_time(), validity.not_after.to_system_time());
    let mut warnings = Vec::new();
    warnings.extend(expiry(pair, not_before, not_after, now));
    warnings.extend(chain(pair, loaded));
    let key_warnings = exposure(pair).into_iter().collect();
    Inspection { names: names(&loaded.leaf), not_before, not_after, warnings, key_warnings }
}

fn chain(pair: &KeyPair, loaded: &Loaded) -> Vec<String> {
    let path = pair.certificate.display();
    let order = loaded.reordered.then(|| {
        format!(
            "{path}: the certificates are not in order, so they are sent in another one; put the \
             server's own first, and that of its issuer next"
        )
    });
    let issuer = loaded.unverified.as_ref().map(|issuer| {
        format!(
            "{path}: the certificate of its issuer ({issuer}) is not in the file, so clients that do \
             not have it cannot verify the server; use fullchain.pem, or append it"
        )
    });
    order.into_iter().chain(issuer).collect()
}

fn expiry(
    pair: &KeyPair,
    not_before: SystemTime,
    not_after: SystemTime,
    now: SystemTime,
) -> Option<String> {
    let path = pair.certificate.display();
    if now < not_before {
        return Some(format!(
            "{path}: the certificate is not valid before {}, so clients will refuse it; check the clock",
            date(not_before)
        ));
    }
    match not_after.duration_since(now) {
        Err(_) => Some(format!(
            "{path}: the certificate expired on {}, so clients will refuse it; renew it",
            date(not_after)
        )),
        Ok(left) if left < SOON => Some(format!(
            "{path}: the certificate expires in {}, on {}; renew it",
            days(left),
            date(not_after)
        )),
        Ok(_) => None,
    }
}

fn exposure(pair: &KeyPair) -> Option<String> {
    let mode = fs::metadata(&pair.private_key).ok()?.permissions().mode();
    (mode & 0o004 != 0).then(|| {
        let path = pair.private_key.display();
        format!("{path}: every user of this machine can read the private key; run chmod o= on it")
    })
}

fn names(certificate: &Certificate) -> Vec<String> {
    let alternative = certificate.tbs_certificate().get_extension::<SubjectAltName>();
    let Ok(Some((_, SubjectAltName(names)))) = alternative else {
        return Vec::new();
    };
    names.iter().filter_map(readable).collect()
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the other kinds name no host")]
fn readable(name: &GeneralName) -> Option<String> {
    match name {
        GeneralName::DnsName(name) => Some(name.as_str().to_owned()),
        GeneralName::IpAddress(octets) => {
            let octets = octets.as_bytes();
            let v4 = <[u8; 4]>::try_from(octets).map(IpAddr::from);
            let v6 = <[u8; 16]>::try_from(octets).map(IpAddr::from);
            v4.or(v6).ok().map(|address| address.to_string())
        }
        _ => None,
    }
}

fn days(left: Duration) -> String {
    match left.as_secs() / 86_400 {
        0 => "less than a day".to_owned(),
        1 => "1 day".to_owned(),
        days => format!("{days} days"),
    }
}

fn date(time: SystemTime) -> String {
    DateTime::from_system_time(time).map_or_else(
        |_| "an unknown date".into(),
        |date| format!("{:04}-{:02}-{:02}", date.year(), date.month(), date.day()),
    )
}

/// Renewal by ACME happens 30 days ahead, so this is when it has been failing for a while.
const SOON: Duration = Duration::from_secs(21 * 86_400);

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::server::fixture;

    const DAY: Duration = Duration::from_secs(86_400);

    #[test]
    fn names_and_dates_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let pair = fixture::key_pair(dir.path(), "host", &["pop.example.org", "127.0.0.1", "::1"]);
        let seen = inspect(&pair, SystemTime::now()).unwrap();
        assert_eq!(seen.names, ["pop.example.org", "127.0.0.1", "::1"]);
        assert_eq!(seen.warnings, [""; 0]);
        assert!(seen.not_before < SystemTime::now() && SystemTime::now() < seen.not_after);
    }

    #[test]
    fn dates_that_are_warned_about() {
        let dir = tempfile::tempdir().unwrap();
        let pair = fixture::key_pair(dir.path(), "host", &["localhost"]);
        let seen = inspect(&pair, SystemTime::now()).unwrap();
        for (now, expected) in [
            (seen.not_before - DAY, "is not valid before"),
            (seen.not_after + DAY, "expired on"),
            (seen.not_after - 20 * DAY, "expires in 20 days"),
            (seen.not_after - DAY, "expires in 1 day,"),
            (seen.not_after - DAY / 2, "expires in less than a day,"),
        ] {
            let warnings = inspect(&pair, now).unwrap().warnings;
            assert_eq!(warnings.len(), 1, "{warnings:?}");
            assert!(warnings[0].contains(expected), "{warnings:?}");
        }
        assert_eq!(inspect(&pair, seen.not_after - 22 * DAY).unwrap().warnings.len(), 0);
        for (now, expected) in [
            (seen.not_after + DAY, "expired"),
            (seen.not_after - DAY / 2, "less than a day left"),
            (seen.not_after - 22 * DAY, "22 days left"),
        ] {
            assert_eq!(seen.time_left(now), expected);
        }
    }

    #[test]
    fn a_key_that_all_users_can_read_is_warned_about() {
        let dir = tempfile::tempdir().unwrap();
        let pair = fixture::key_pair(dir.path(), "host", &["localhost"]);
        fs::set_permissions(&pair.private_key, fs::Permissions::from_mode(0o644)).unwrap();
        let warnings = inspect(&pair, SystemTime::now()).unwrap().key_warnings;
        assert!(warnings[0].contains("can read the private key"), "{warnings:?}");
    }

    #[test]
    fn an_incomplete_or_unordered_chain_is_warned_about() {
        let made = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/certificates");
        let dir = tempfile::tempdir().unwrap();
        let certificate = dir.path().join("chain.pem");
        let pair = KeyPair { certificate: certificate.clone(), private_key: made.join("leaf.key") };
        for (file, expected) in [
            (&["leaf.crt"][..], Some("the certificate of its issuer (CN=intermediate) is not in")),
            (&["leaf.crt", "intermediate.crt"], None),
            (&["intermediate.crt", "leaf.crt"], Some("the certificates are not in order")),
        ] {
            let pem = |name: &&str| fs::read(made.join(name)).unwrap();
            fs::write(&certificate, file.iter().flat_map(pem).collect::<Vec<_>>()).unwrap();
            let warnings = inspect(&pair, SystemTime::now()).unwrap().warnings;
            assert_eq!(warnings.len(), usize::from(expected.is_some()), "{warnings:?}");
            assert!(expected.is_none_or(|text| warnings[0].contains(text)), "{warnings:?}");
        }
    }
}
