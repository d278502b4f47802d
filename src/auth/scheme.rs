//! Password schemes: what a password is checked against, as Dovecot writes it, `{SCHEME}text`.

use std::sync::Arc;

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::phc::Argon2Hash;
use crate::protocol::Secret;

/// What a password is checked against. Cheap to clone.
#[derive(Clone, Debug)]
pub enum Verifier {
    /// `{ARGON2ID}`, `{ARGON2I}`, `{ARGON2D}`, or a PHC string by itself.
    Argon2(Arc<Argon2Hash>),
    /// `{PLAIN}`: the password itself.
    Plain(Arc<Secret<Box<[u8]>>>),
    /// The user exists and cannot log in, and why; shows nothing secret.
    Unusable(Arc<str>),
}

/// The work of verifying a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Cost {
    /// As good as none.
    Trifling,
    /// Argon2 with these parameters.
    Argon2 {
        /// Memory in KiB.
        memory: u32,
        /// Passes over the memory.
        passes: u32,
        /// Lanes.
        lanes: u32,
    },
}

impl Verifier {
    /// Reads the password field of a credential file.
    ///
    /// - The name of the scheme may be in either case. `{CLEAR}` and `{CLEARTEXT}` are `{PLAIN}`.
    /// - Never fails: what cannot be used is [`Verifier::Unusable`] and says why.
    pub fn parse(stored: &str) -> Self {
        let (scheme, text) = match stored.strip_prefix('{').and_then(|rest| rest.split_once('}')) {
            Some((scheme, text)) => (scheme.to_ascii_uppercase(), text),
            None if stored.starts_with("$argon2") => ("ARGON2ID".to_owned(), stored),
            None if stored.is_empty() => return Self::unusable("it has no password; set one"),
            None => return Self::unusable(no_scheme(stored)),
        };
        match scheme.as_str() {
            // The string itself says which of the three it is, as for Dovecot.
            "ARGON2ID" | "ARGON2I" | "ARGON2D" => match Argon2Hash::parse(text) {
                Ok(hash) => Self::Argon2(Arc::new(hash)),
                Err(why) => Self::unusable(why),
            },
            "PLAIN" | "CLEAR" | "CLEARTEXT" if text.is_empty() => {
                Self::unusable("its password is empty; set a password")
            }
            "PLAIN" | "CLEAR" | "CLEARTEXT" => Self::plain(text),
            scheme => Self::unusable(unsupported(scheme)),
        }
    }

    /// A password that is kept as it is. An empty one lets nobody in.
    pub fn plain(password: impl Into<Box<str>>) -> Self {
        let password: Box<str> = password.into();
        Self::Plain(Arc::new(Secret::new(password.into_boxed_bytes())))
    }

    /// A user who cannot log in. `why` is for the log and for `restante check`.
    pub fn unusable(why: impl Into<Arc<str>>) -> Self {
        Self::Unusable(why.into())
    }

    /// A verifier that costs what a new user's does and that no password is right for: the decoy
    /// where there are no users.
    pub(super) fn costly() -> Self {
        Self::Argon2(Arc::new(Argon2Hash::costly()))
    }

    /// Whether `password` is right. Takes as long as its [`Cost`] says: not for an async thread.
    pub(super) fn verify(&self, password: &[u8]) -> Result<bool, String> {
        let right = match self {
            Self::Argon2(hash) => hash.verify(password)?,
            Self::Plain(stored) => same(stored.expose(), password),
            Self::Unusable(why) => return Err(why.to_string()),
        };
        Ok(right && !password.is_empty())
    }

    /// The work of one verification; `None` where there can be none.
    pub fn cost(&self) -> Option<Cost> {
        match self {
            Self::Argon2(hash) => {
                let (memory, passes, lanes) = hash.parameters();
                Some(Cost::Argon2 { memory, passes, lanes })
            }
            Self::Plain(_) => Some(Cost::Trifling),
            Self::Unusable(_) => None,
        }
    }
}

/// Compares digests: the time tells neither where the two differ nor whether their lengths do.
fn same(one: &[u8], other: &[u8]) -> bool {
    let one = Zeroizing::new(<[u8; 32]>::from(Sha256::digest(one)));
    let other = Zeroizing::new(<[u8; 32]>::from(Sha256::digest(other)));
    one.ct_eq(&*other).into()
}

/// What is wrong with a password field that names no scheme.
fn no_scheme(stored: &str) -> String {
    let crypt = CRYPT_PREFIXES.iter().find(|(prefix, _)| stored.starts_with(prefix));
    match crypt {
        Some((_, scheme)) => unsupported(scheme),
        None => "its password has no scheme; write {PLAIN} before it, or set a new password".into(),
    }
}

/// Shows a scheme only if it is one: something else in braces may be part of a password.
fn unsupported(scheme: &str) -> String {
    let shown = if UNSUPPORTED.split(' ').any(|known| known == scheme) {
        scheme
    } else {
        "of its password"
    };
    format!("the scheme {shown} is not supported; set a new password")
}

/// How crypt(3) marks its kinds where no scheme is written.
const CRYPT_PREFIXES: [(&str, &str); 7] = [
    ("$1$", "MD5-CRYPT"),
    ("$2", "BLF-CRYPT"),
    ("$5$", "SHA256-CRYPT"),
    ("$6$", "SHA512-CRYPT"),
    ("$7$", "SCRYPT"),
    ("$y$", "YESCRYPT"),
    ("$gy$", "GOST-YESCRYPT"),
];

/// Schemes that other servers have.
const UNSUPPORTED: &str = "BLF-CRYPT CRAM-MD5 CRYPT DES-CRYPT DIGEST-MD5 GOST-YESCRYPT HMAC-MD5 \
    LANMAN LDAP-MD5 MD5 MD5-CRYPT NTLM OTP PBKDF2 PLAIN-MD5 PLAIN-TRUNC RPA SCRAM-SHA-1 \
    SCRAM-SHA-256 SCRYPT SHA SHA1 SHA256 SHA256-CRYPT SHA512 SHA512-CRYPT SMD5 SSHA SSHA256 \
    SSHA512 YESCRYPT";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::{NewPassword, hash};

    fn reason(stored: &str) -> String {
        match Verifier::parse(stored) {
            Verifier::Unusable(why) => why.to_string(),
            usable @ (Verifier::Argon2(_) | Verifier::Plain(_)) => panic!("{stored}: {usable:?}"),
        }
    }

    /// The hashes were made with argon2-cffi, which wraps the reference implementation.
    #[test]
    fn hashes_of_another_implementation() {
        for (stored, password) in [
            (
                "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA\
                 $Tg0u8KMA3i5wHtgz+LAFb6ClXKGtCbCnIkiBviPwQqw",
                &b"tanstaaf"[..],
            ),
            (
                "$argon2i$v=19$m=64,t=1,p=1$c29tZXNhbHRzb21lc2FsdA\
                 $TGTm4KsFZQIATNn3c+0OJuAU//WBzX+WiWsv1QgEn8Q",
                b"tanstaaf",
            ),
            (
                "$argon2d$v=19$m=64,t=1,p=2$c29tZXNhbHRzb21lc2FsdA\
                 $RY2/pXQNgmYvrSgkiDUJYZjm23GE1ndKEk0bCMpaPvc",
                b"tanstaaf",
            ),
            (
                "$argon2id$v=19$m=64,t=3,p=4$c29tZXNhbHRzb21lc2FsdA\
                 $PEciMSZVBDJn9YudNYyziKB5CUo0CL+RQa1j2iQFCDI",
                b"tanstaaf",
            ),
            (
                "$argon2i$v=16$m=64,t=2,p=1$c29tZXNhbHRzb21lc2FsdA\
                 $OgMzwuWJFkqtO7rumDyFVjgFf9/OV2VXdM9Meja7fDM",
                b"tanstaaf",
            ),
            // Without v= it is of the first version.
            (
                "$argon2i$m=64,t=2,p=1$c29tZXNhbHRzb21lc2FsdA\
                 $OgMzwuWJFkqtO7rumDyFVjgFf9/OV2VXdM9Meja7fDM",
                b"tanstaaf",
            ),
            (
                "$argon2id$v=19$m=64,t=1,p=1$c29tZXNhbHRzb21lc2FsdA\
                 $Waw5CMYpE0kO719XekarvkwAxsjcHKMv",
                "pässwörd mit Leer ".as_bytes(),
            ),
            (
                "$argon2id$v=19$m=64,t=1,p=1$c29tZXNhbHQ\
                 $p5RiyxfTqgYXlDiMk9UBuHsQiDuWxbFEQCqc94wK/NnXt1d56O85xFU1TKBKga5rXlhzVr0I+fKR89AA3aZtjA",
                b"\x80\xff\xfe",
            ),
        ] {
            for prefix in ["", "{ARGON2ID}", "{argon2i}", "{Argon2d}"] {
                let verifier = Verifier::parse(&format!("{prefix}{stored}"));
                assert_eq!(verifier.verify(password), Ok(true), "{prefix}{stored}");
                let mut other = password.to_vec();
                other[0] ^= 1;
                assert_eq!(verifier.verify(&other), Ok(false), "{prefix}{stored}");
            }
        }
    }

    #[test]
    fn a_plain_password_is_compared_octet_for_octet() {
        for scheme in ["{PLAIN}", "{plain}", "{CLEARTEXT}", "{Clear}"] {
            let verifier = Verifier::parse(&format!("{scheme}tan staaf "));
            for (password, right) in [
                (&b"tan staaf "[..], true),
                (b"tan staaf", false),
                (b"tan staaf  ", false),
                (b"Tan staaf ", false),
                (b"tan staaf \0", false),
                (b"", false),
            ] {
                assert_eq!(verifier.verify(password), Ok(right), "{}", password.escape_ascii());
            }
        }
        let braces = Verifier::parse("{PLAIN}{PLAIN}x");
        assert_eq!(braces.verify(b"{PLAIN}x"), Ok(true));
    }

    #[test]
    fn an_empty_password_lets_nobody_in() {
        assert!(reason("{PLAIN}").contains("empty"));
        assert!(reason("").contains("no password"));
        assert_eq!(Verifier::plain("").verify(b""), Ok(false));
        // The hash of nothing.
        let params = argon2::Params::new(64, 1, 1, None).unwrap();
        let mut digest = [0; 32];
        argon2::Argon2::from(params).hash_password_into(b"", b"somesalt", &mut digest).unwrap();
        let digest = argon2::password_hash::phc::Output::new(&digest).unwrap();
        let verifier =
            Verifier::parse(&format!("$argon2id$v=19$m=64,t=1,p=1$c29tZXNhbHQ${digest}"));
        assert!(matches!(verifier, Verifier::Argon2(_)));
        assert_eq!(verifier.verify(b""), Ok(false));
    }

    #[test]
    fn parameters_beyond_the_bounds_are_refused_unread() {
        let digest = "$c29tZXNhbHRzb21lc2FsdA$Waw5CMYpE0kO719XekarvkwAxsjcHKMv";
        for (parameters, fault) in [
            ("m=262145,t=1,p=1", "m=262145"),
            ("m=4294967295,t=1,p=1", "m=4294967295"),
            ("m=4294967296,t=1,p=1", "parameters"),
            ("m=64,t=21,p=1", "t=21"),
            ("m=64,t=4294967295,p=1", "t=4294967295"),
            ("m=1024,t=1,p=17", "p=17"),
            ("m=64,t=1,p=16777215", "p=16777215"),
            ("m=64,t=0,p=1", "parameters"),
            ("m=64,t=1,p=0", "parameters"),
            ("m=7,t=1,p=1", "parameters"),
            ("m=64,t=1,p=16", "parameters"),
            ("m=64,t=1", "parameters"),
            ("t=1,p=1", "parameters"),
            ("m=64,t=1,p=1,keyid=AAAA", "parameters"),
            ("m=-1,t=1,p=1", "parameters"),
            ("m=64,m=64,t=1,p=1", "parameters"),
        ] {
            let why = reason(&format!("$argon2id$v=19${parameters}{digest}"));
            assert!(why.contains(fault) && why.contains("set a new password"), "{why}");
        }
        for bounds in ["m=262144,t=1,p=1", "m=64,t=20,p=1", "m=1024,t=1,p=16"] {
            let verifier = Verifier::parse(&format!("$argon2id$v=19${bounds}{digest}"));
            assert!(matches!(verifier, Verifier::Argon2(_)), "{bounds}");
        }
    }

    #[test]
    fn what_cannot_be_used_says_why_and_shows_nothing() {
        for (stored, fault) in [
            ("hunter2", "no scheme"),
            ("{hunter2", "no scheme"),
            ("{hunter2}hunter2", "of its password is not supported"),
            ("{SHA512-CRYPT}$6$hunter2$hunter2", "SHA512-CRYPT is not supported"),
            ("{sha512-crypt}$6$hunter2$hunter2", "SHA512-CRYPT is not supported"),
            ("{PLAIN.B64}aHVudGVyMg==", "of its password is not supported"),
            ("$6$hunter2$hunter2", "SHA512-CRYPT"),
            ("$2y$05$hunter2", "BLF-CRYPT"),
            ("$1$hunter2", "MD5-CRYPT"),
            ("!", "no scheme"),
            ("*", "no scheme"),
            ("x", "no scheme"),
            ("{ARGON2ID}", "damaged"),
            ("{ARGON2ID}hunter2", "damaged"),
            ("$argon2", "no known kind"),
            (
                "$argon2x$v=19$m=64,t=1,p=1$c29tZXNhbHQ$Waw5CMYpE0kO719XekarvkwAxsjcHKMv",
                "no known kind",
            ),
            ("$argon2id$v=18$m=64,t=1,p=1$c29tZXNhbHQ$Waw5CMYpE0kO719XekarvkwAxsjcHKMv", "v=18"),
            ("$argon2id$v=19$m=64,t=1,p=1$c29tZXNhbHQ", "no digest"),
            ("$argon2id$v=19$m=64,t=1,p=1", "no salt"),
            ("$argon2id$v=19$m=64,t=1,p=1$c2hvcnQ$Waw5CMYpE0kO719XekarvkwAxsjcHKMv", "damaged"),
            ("$argon2id$v=19$m=64,t=1,p=1$c29tZXNhbHQ$Waw5", "damaged"),
            (
                "$argon2id$v=19$m=64,t=1,p=1$c29tZXNhbHQ$Waw5CMYpE0kO719XekarvkwAxsjcHKMv$",
                "damaged",
            ),
        ] {
            let why = reason(stored);
            assert!(why.contains(fault), "{stored}: {why}");
            assert!(!why.contains("hunter2") && !why.contains("Waw5"), "{why}");
        }
    }

    #[test]
    fn a_new_hash_is_argon2id_with_a_salt_of_its_own() {
        let password = || NewPassword::try_from(Secret::new(b"tanstaaf".to_vec())).unwrap();
        let (one, other) = (hash(&password()).unwrap(), hash(&password()).unwrap());
        assert_ne!(one.expose(), other.expose());
        assert!(one.expose().starts_with("$argon2id$v=19$m=19456,t=2,p=1$"));
        let verifier = Verifier::parse(one.expose());
        assert_eq!(verifier.verify(b"tanstaaf"), Ok(true));
        assert_eq!(verifier.verify(b"tanstaa"), Ok(false));
        assert_eq!(verifier.cost(), Verifier::costly().cost());
    }

    #[test]
    fn nothing_that_is_shown_holds_a_password_or_a_hash() {
        let shown = format!(
            "{:?} {:?}",
            Verifier::plain("tanstaaf"),
            Verifier::parse(
                "$argon2id$v=19$m=64,t=1,p=1$c29tZXNhbHQ$Waw5CMYpE0kO719XekarvkwAxsjcHKMv"
            )
        );
        assert!(shown.contains("Secret(…)"), "{shown}");
        assert!(!shown.contains("tanstaaf") && !shown.contains("116, 97"), "{shown}");
        // The first octets of the digest as numbers.
        assert!(!shown.contains("89, 172, 57"), "{shown}");
    }
}
