//! Tests for all schemes, with hashes that other implementations made.

use self::vectors::{DES, EMPTY, STRONG, WEAK, X80};
use super::*;

pub(super) mod vectors;

pub(super) fn parse(stored: &str) -> Verifier {
    Verifier::parse(stored, WeakSchemes::Allowed)
}

pub(super) fn reason(stored: &str) -> String {
    reason_with(stored, WeakSchemes::Allowed)
}

fn reason_with(stored: &str, weak: WeakSchemes) -> String {
    match Verifier::parse(stored, weak) {
        Verifier::Unusable(why) => why.to_string(),
        usable @ (Verifier::Plain(_)
        | Verifier::Hash(..)
        | Verifier::Scram(_)
        | Verifier::AtStore(_)) => panic!("{stored}: {usable:?}"),
    }
}

#[test]
fn a_hash_of_another_implementation_accepts_the_right_password_only() {
    for (maker, stored, password) in STRONG.iter().chain(WEAK) {
        let verifier = parse(stored);
        let password = password.as_bytes();
        assert_eq!(verifier.verify(password), Ok(true), "{maker}: {stored}");
        let mut other = password.to_vec();
        other[0] ^= 1;
        let with_nul = [password, b"\0"].concat();
        // Another test is for passwords that are longer than a scheme uses.
        let cut = if *password == *X80.as_bytes() { b"x" } else { &password[1..] };
        for wrong in [other.as_slice(), &with_nul, cut, b"", b"\0"] {
            assert_eq!(verifier.verify(wrong), Ok(false), "{maker}: {stored}");
        }
        assert!(verifier.cost().is_some());
    }
    for stored in EMPTY {
        assert_eq!(parse(stored).verify(b""), Ok(false), "{stored}");
    }
}

#[test]
fn a_weak_scheme_is_refused_by_name_unless_it_is_allowed() {
    for (_, stored, _) in STRONG {
        assert!(Verifier::parse(stored, WeakSchemes::Refused).cost().is_some(), "{stored}");
    }
    for (_, stored, _) in WEAK {
        let why = reason_with(stored, WeakSchemes::Refused);
        let scheme = stored.trim_start_matches('{').split(['}', '.']).next().unwrap();
        let scheme = scheme.to_ascii_uppercase();
        let named = match (scheme.as_str(), stored.contains("$1$")) {
            (_, true) => "MD5-CRYPT",
            (other, false) => other,
        };
        assert!(why.contains(&format!("the scheme {named} is weak")), "{stored}: {why}");
        assert!(why.contains("weak-schemes") && why.contains("set a new password"), "{why}");
    }
}

#[test]
fn a_hash_of_the_traditional_crypt_is_refused_with_the_way_out() {
    let (weak, strong) = (WeakSchemes::Allowed, WeakSchemes::Refused);
    for (_, stored, _) in DES {
        for why in [reason_with(stored, weak), reason_with(stored, strong)] {
            assert!(why.starts_with("the scheme DES-CRYPT is not supported: "), "{stored}: {why}");
            assert!(
                why.ends_with(
                    "; set a new password (restante user set-password, or restante hash)"
                ),
                "{stored}: {why}"
            );
        }
    }
}

/// At every place: cut off, one character less, and an invalid one more.
#[test]
fn a_damaged_hash_accepts_no_password_and_does_not_panic() {
    for (_, stored, password) in STRONG.iter().chain(WEAK) {
        if stored.contains("PLAIN.") || stored.contains("argon2") || stored.contains("m=65536") {
            continue;
        }
        let cheap = |verifier: &Verifier| match verifier.cost() {
            Some(Cost::Yescrypt { n, .. }) => n < 8192,
            Some(Cost::Scrypt { log_n, .. }) => log_n < 12,
            Some(_) | None => true,
        };
        for cut in stored.find('}').map_or(0, |end| end + 1)..stored.len() {
            let (head, tail) = stored.split_at(cut);
            let shorter = tail.chars().skip(1).collect::<String>();
            for damaged in [head.to_owned(), format!("{head}{shorter}"), format!("{head}!{tail}")] {
                // Padding may be left out.
                if damaged.replace('=', "") == stored.replace('=', "") {
                    continue;
                }
                let verifier = parse(&damaged);
                if cheap(&verifier) {
                    let outcome = verifier.verify(password.as_bytes());
                    assert!(outcome.is_err() || outcome == Ok(false), "{damaged}");
                }
            }
        }
    }
}

/// As in crypt(3), and so in Dovecot: otherwise these users could not log in.
#[test]
fn the_end_of_a_password_that_crypt_ignores_does_not_count() {
    for (stored, reach) in
        [("{BLF-CRYPT}$2y$04$/AOpYqmPEajin1ouRy/il.pjqCTk5adOym.PfssQDOysEVda9Diya", 72)]
    {
        let verifier = parse(stored);
        for (octets, right) in [(80, true), (reach, true), (81, true), (reach - 1, false)] {
            assert_eq!(verifier.verify(&vec![b'x'; octets]), Ok(right), "{stored}: {octets}");
        }
        // An end that does not count must not begin to count.
        assert!(verifier.outdated_by(&vec![b'x'; reach]));
        assert!(!verifier.outdated_by(&vec![b'x'; reach + 1]));
    }
    // To bcrypt, which repeats the password, these two are the same key.
    let verifier = parse("$2b$04$szQ/H3QODszPdwsGtgNnJu1JCYf1a6Yx55kXGS1gAiD75HH8VTC76");
    assert_eq!(verifier.verify(b"tanstaaf"), Ok(true));
    assert_eq!(verifier.verify(b"tanstaaf\0tanstaaf"), Ok(false));
}

#[test]
fn crypt_takes_no_more_than_511_octets() {
    let text = "$1$eK1Ym.BH$vwNdZ.HNIWM6RwBr2xj0C1";
    let Ok(Hash::Md5Crypt(hash)) = Hash::parse(text, WeakSchemes::Allowed) else { panic!() };
    assert!(hash.verify(X80.as_bytes()));
    let seen = |octets: usize| {
        let mut seen = 0;
        let right = crypt::verify(&vec![b'x'; octets], |password| {
            seen = password.len();
            true
        });
        (seen, right)
    };
    assert_eq!(seen(511), (511, true));
    assert_eq!(seen(512), (511, false));
    assert_eq!(seen(4096), (511, false));
}

#[test]
fn costs_tell_schemes_and_parameters_apart() {
    let costs: std::collections::BTreeSet<Cost> =
        STRONG.iter().chain(WEAK).filter_map(|(_, stored, _)| parse(stored).cost()).collect();
    assert_eq!(costs.len(), 24, "{costs:?}");
    assert_eq!(costs.first(), Some(&Cost::Negligible));
    let cost = |stored| parse(stored).cost().unwrap();
    assert_eq!(cost(STRONG[2].1), Cost::Yescrypt { n: 4096, r: 32 });
    assert_eq!(cost(STRONG[5].1), Cost::Scrypt { log_n: 13, r: 32, p: 1 });
    let keys = "{SCRAM-SHA-256}4096,XnXR0aryOI4SzuLtt8djsA==,zvXEnoWWJZDYZwIgm1aCIGDtYS7Re+hA3GeTSH25Lkg=,thbDVw8w4h740BiLiYHYRgB+M8So7XQDv7LorXZi6OM=";
    assert_eq!(cost(keys), Cost::Pbkdf2 { digest: Digest::Sha256, iterations: 4096 });
}

#[test]
fn only_weaker_hashes_are_outdated() {
    for (_, stored, password) in STRONG.iter().chain(WEAK) {
        let outdated = parse(stored).outdated_by(password.as_bytes());
        let kept = ["{PLAIN.", "SCRAM-SHA", "$argon2id"].iter().any(|kind| stored.contains(kind));
        assert_eq!(outdated, !kept, "{stored}");
    }
    let digest = "$c29tZXNhbHRzb21lc2FsdA$Waw5CMYpE0kO719XekarvkwAxsjcHKMv";
    for (parameters, outdated) in [
        ("id$v=19$m=19456,t=2,p=1", false),
        ("id$v=19$m=65536,t=3,p=4", false),
        ("id$v=19$m=19455,t=2,p=1", true),
        ("id$v=19$m=65536,t=1,p=1", true),
        ("id$v=16$m=19456,t=2,p=1", true),
        ("i$v=19$m=19456,t=2,p=1", true),
    ] {
        let verifier = parse(&format!("$argon2{parameters}{digest}"));
        assert_eq!(verifier.outdated_by(b"x"), outdated, "{parameters}");
    }
    assert!(!Verifier::AtStore("cn=mrose".into()).outdated_by(b"x"));
}

#[test]
fn a_verifier_at_the_store_is_not_verified_here() {
    let verifier = Verifier::AtStore("uid=mrose,dc=example,dc=org".into());
    let why = verifier.verify(b"tanstaaf").unwrap_err();
    assert!(why.to_string().contains("only the store"), "{why}");
    assert_eq!(verifier.cost(), None);
    assert!(verifier.scram(ScramHash::Sha256, b"salt").is_none());
}

#[test]
fn a_plain_password_is_compared_octet_for_octet() {
    for scheme in ["{PLAIN}", "{plain}", "{CLEARTEXT}", "{Clear}"] {
        let verifier = parse(&format!("{scheme}tan staaf "));
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
    let braces = parse("{PLAIN}{PLAIN}x");
    assert_eq!(braces.verify(b"{PLAIN}x"), Ok(true));
}

#[test]
fn an_empty_password_is_never_right() {
    assert!(reason("{PLAIN}").contains("empty"));
    assert!(reason("").contains("no password"));
    assert_eq!(Verifier::plain("").verify(b""), Ok(false));
    // The hash of an empty password.
    let params = ::argon2::Params::new(64, 1, 1, None).unwrap();
    let mut digest = [0; 32];
    ::argon2::Argon2::from(params).hash_password_into(b"", b"somesalt", &mut digest).unwrap();
    let digest = ::argon2::password_hash::phc::Output::new(&digest).unwrap();
    let verifier = parse(&format!("$argon2id$v=19$m=64,t=1,p=1$c29tZXNhbHQ${digest}"));
    assert!(matches!(verifier, Verifier::Hash(..)));
    assert_eq!(verifier.verify(b""), Ok(false));
}

#[test]
fn an_unusable_field_says_why_and_shows_no_secret() {
    for (stored, error) in [
        ("hunter2", "no scheme"),
        ("{hunter2", "no scheme"),
        ("{hunter2}hunter2", "of its password is not supported"),
        ("{SHA512-CRYPT}$6$hunter2$hunter2", "SHA512-CRYPT hash is damaged"),
        ("{cram-md5}hunter2", "CRAM-MD5 is not supported"),
        ("{SHA3}hunter2", "SHA3 is not supported"),
        ("{PLAIN.ROT13}hunter2", "of its password is not supported"),
        ("{PLAIN.B64}hunter2!", "not in base64"),
        ("{PLAIN.HEX}hunter2", "not in hex"),
        ("{PLAIN.HEX}", "empty"),
        ("{CRYPT.HEX}ff", "not text"),
        ("$6$hunter2$hunter2", "SHA512-CRYPT hash is damaged"),
        ("SCRAM-SHA-256$4096", "end at a colon"),
        ("{SCRAM-SHA-1}4096", "end at a colon"),
        ("$2y$05$hunter2", "bcrypt hash is damaged"),
        ("$2x$05$hunter2", "no known kind"),
        ("$gy$j9T$hunter2$hunter2", "GOST-YESCRYPT is not supported"),
        ("$1$hunter2", "MD5-CRYPT"),
        ("$hunter2", "damaged"),
        ("{CRYPT}hunter2", "hash is damaged"),
        ("{CRYPT}_7C/.FTFvlThZMkH83/Y", "DES-CRYPT is not supported"),
        ("{SSHA}hunter2!", "not in base64"),
        ("{SHA}aHVudGVyMg==", "another length"),
        ("{PBKDF2}hunter2", "damaged"),
        ("{PBKDF2}$2$hunter2$1$00", "its PBKDF2 hash is of no known kind"),
        ("{SCRAM-SHA-256}hunter2", "damaged"),
        ("SCRAM-SHA-256$hunter2", "damaged"),
        ("!", "its password is locked; to unlock it, remove the !"),
        ("*", "locked"),
        ("!{PLAIN}hunter2", "locked"),
        ("x", "no scheme"),
        ("{ARGON2ID}", "damaged"),
        ("{ARGON2ID}hunter2", "damaged"),
        ("$argon2", "damaged"),
        (
            "$argon2x$v=19$m=64,t=1,p=1$c29tZXNhbHQ$Waw5CMYpE0kO719XekarvkwAxsjcHKMv",
            "its argon2 hash is of no known kind",
        ),
        ("$argon2id$v=18$m=64,t=1,p=1$c29tZXNhbHQ$Waw5CMYpE0kO719XekarvkwAxsjcHKMv", "v=18"),
        ("$argon2id$v=19$m=64,t=1,p=1$c29tZXNhbHQ", "no digest"),
        ("$argon2id$v=19$m=64,t=1,p=1", "no salt"),
        ("$argon2id$v=19$m=64,t=1,p=1$c2hvcnQ$Waw5CMYpE0kO719XekarvkwAxsjcHKMv", "damaged"),
        ("$argon2id$v=19$m=64,t=1,p=1$c29tZXNhbHQ$Waw5", "damaged"),
        ("$argon2id$v=19$m=64,t=1,p=1$c29tZXNhbHQ$Waw5CMYpE0kO719XekarvkwAxsjcHKMv$", "damaged"),
    ] {
        let why = reason(stored);
        assert!(why.contains(error), "{stored}: {why}");
        assert!(!why.contains("hunter2") && !why.contains("Waw5"), "{why}");
    }
}

#[test]
fn debug_shows_neither_a_password_nor_a_hash() {
    let shown = format!(
        "{:?} {:?}",
        Verifier::plain("tanstaaf"),
        parse("$argon2id$v=19$m=64,t=1,p=1$c29tZXNhbHQ$Waw5CMYpE0kO719XekarvkwAxsjcHKMv")
    );
    assert!(shown.contains("Secret(…)"), "{shown}");
    assert!(!shown.contains("tanstaaf") && !shown.contains("116, 97"), "{shown}");
    // The first octets of the digest as numbers.
    assert!(!shown.contains("89, 172, 57"), "{shown}");
}
