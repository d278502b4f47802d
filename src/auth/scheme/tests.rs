//! Tests of all schemes: vectors that other implementations made, and what is refused.

use super::*;
use crate::auth::NewPassword;

fn parse(stored: &str) -> Verifier {
    Verifier::parse(stored, WeakSchemes::Allowed)
}

fn reason(stored: &str) -> String {
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

/// Of each the maker, which is Dovecot 2.3 (`doveadm pw`), crypt(3) of libxcrypt (`mkpasswd`),
/// passlib 1.7, `PostgreSQL` 15.
const STRONG: &[(&str, &str, &str)] = &[
    (
        "doveadm",
        "{ARGON2ID}$argon2id$v=19$m=65536,t=3,p=1$lvfeNuuiFcvuNigmS9CGUQ$VKbk2eR7nMnV2UwCdUH3Lp1Q+sXmZnXBNJmcIBJ2f38",
        TANSTAAF,
    ),
    (
        "doveadm",
        "{ARGON2I}$argon2i$v=19$m=32768,t=4,p=1$niBD3UWnoQ09h00ZJ74F5w$+RKuewPwylPJI+7pjg2loLfy+Iyd/nwAgdpwehBAf0w",
        TANSTAAF,
    ),
    (
        "mkpasswd",
        "$y$j9T$lVsOq2TaFMudHPbQvNyF4.$RQ8WC8Cbf7Xs5m8pDOYMI6MEByah7sllif1I8N5ZHi.",
        TANSTAAF,
    ),
    (
        "mkpasswd",
        "{YESCRYPT}$y$j75$LzQLKIb74mlnbjGNZ.xma/$fksC.o59BfwgtjYeHIW3mD1BBCHvNCzyQArUjbiHCD8",
        TANSTAAF,
    ),
    ("crypt", "{CRYPT}$y$j9T$abcdefgh$9WNEpu8Mx2S4KNGvbVWKM6clOSoY6.YEl7AYF4DGV04", "x"),
    (
        "mkpasswd",
        "$7$BU..../....wc8Ki9IboFw6LbCOPhzjK0$.iBGW0LvKfRkhFRUtuJtxLURcW7ilx9KriqOvkJ4rZ6",
        TANSTAAF,
    ),
    (
        "crypt",
        "{SCRYPT}$7$CU..../....SodiumChloride$xCzWKz99xPj.dJuz4VIRls9rDGbePyAZMz.TynNZ8c/",
        "x",
    ),
    (
        "passlib",
        "$scrypt$ln=10,r=8,p=1$MSYEICSkdE5prbV2TgmhdA$LSrabq/H4A6gL0kNv4GQuE4oKyoLiLVzOT4CxIkq8d4",
        TANSTAAF,
    ),
    (
        "passlib",
        "$scrypt$ln=8,r=4,p=3$9J6z9t67l5ISQsiZE8KY0w$Ct+LaWKD4J+rANVOjhGNkA290gr3aEdGr/+D6L+Jb5M",
        TANSTAAF,
    ),
    (
        "doveadm",
        "{BLF-CRYPT}$2y$05$CsMMocytfCBt1glN0GkuKu3IkMNqU111DTV6ReP6lhKkY67O7wNkS",
        TANSTAAF,
    ),
    ("doveadm", "{CRYPT}$2y$05$966LI/AGzMFZZ9u6/xEmsu52XOM71Vy3ddnJ1MGXOJzzlnM6.ke6y", TANSTAAF),
    (
        "doveadm",
        "{blf-crypt}$2y$06$3pJP/2wE2Vx4eytS/0V5jeiSLWJN10WA2rEillmT7AaDM.1MGsthS",
        TANSTAAF,
    ),
    ("mkpasswd", "$2b$05$BHnfvlbJdGRjngbNGyzQNezoMNuriyNZQOgN0DTwjaUlPc5FIeiCK", TANSTAAF),
    ("mkpasswd", "$2a$05$iUZ.Fqn572pBKLFE.4pupOGqFSoYkioKFd5EClUWGTgA1eIs11P1i", TANSTAAF),
    ("passlib", "$2b$04$szQ/H3QODszPdwsGtgNnJu1JCYf1a6Yx55kXGS1gAiD75HH8VTC76", TANSTAAF),
    (
        "doveadm",
        "{SHA512-CRYPT}$6$4tcSTcfjbQfefVr8$UJWeEia7WLrsjsXO/JtIRjv.Fm39XERr7LmKVbJ5cGuo4ptcus4ABHwQoZeUS.lvtTxyNufUutIXxhWdBx6gF1",
        TANSTAAF,
    ),
    (
        "doveadm",
        "{SHA512-CRYPT.B64}JDYkcXgva2o4bnhnVWZ0S01BayRiSGpkdGFiQzJpaDVkOU9LT1F4c1hZbE5IeXpoSHhRZTFjbWxoblI0b0RuZmEwUzJOdDNmM3Vpc1NEQkw0NzFKa0pIM0gxL2FPWjllRHEyREQ3aS9EMA==",
        TANSTAAF,
    ),
    (
        "doveadm",
        "{SHA512-CRYPT}$6$rounds=20000$TO77g3npqIjnTl7M$tme5qZljz9GRXmex.ei7ysUfNCVvxlmYxAdO3.agCUb9z8LQWQyfeQZmP.CFqF1hDZ4BPlQmUJ4hKA7QkTqaI0",
        UMLAUTS,
    ),
    (
        "mkpasswd",
        "$6$rounds=1000$Z4wzMbsqe1c8E/5i$RYZErx18BgCJvtrYr6u/RypphCJkE3WbvPu5T53OxUiX5Q8H0jK2IYBf4yYcw4EMB901LynidVZ5WpkKyndRZ1",
        TANSTAAF,
    ),
    (
        "passlib",
        "$6$rounds=1000$HGcHZfTvNZgw7F5I$1MLdcPVLaNmCfFTl2gd55g0GKFGCPb7FL8LRIl7qpGVwAVwRsk90T2zpT4liBl.TJWJ/Yn5uUIyhcMlKTcoUz.",
        X80,
    ),
    (
        "passlib",
        "$6$rounds=1000$4rtAHQChYZZga5ct$Z8cfTshkNdMGNPoXztHC1u2jMWKgFN/HG6wqiA4arNZFp/BRpwGMafXdueHNfKE3CfKfiAWnQP.E1/kyZecaI/",
        X64,
    ),
    (
        "doveadm",
        "{SHA256-CRYPT}$5$dCd9A8nhWSRHFRcg$aDtLHsxe0a7dX1sB2TAuC4KTWGt2TnEz4i3IGx2SR20",
        TANSTAAF,
    ),
    (
        "passlib",
        "$5$rounds=1000$lJOYBM.7rtigj/8f$bsuQVLji4VKXg09bOq8wOHQA.W9fIsgH91u7GdQvb35",
        UMLAUTS,
    ),
    ("passlib", "$5$rounds=1000$.KZPsnfSVG.jYzGR$JEPchE8DfXmLZ8zx0WOv5QCKQFcIOarAoUOnnoiw3a9", X80),
    (
        "doveadm",
        "{PBKDF2}$1$9Qbatg3Hnno2u2Ln$5000$77906a17fe598003ea8594c10a53f612367f82c4",
        TANSTAAF,
    ),
    ("passlib", "$pbkdf2$1000$R.idM6bU.t/bO2cMgfB.7w$5cAKfs/lpDMuatF/2cn5a8aPCJU", TANSTAAF),
    (
        "passlib",
        "{PBKDF2}$pbkdf2-sha256$1000$bs2ZE8I4ZyzlXMu5l5JSSg$s168hs2AMZms0ETRRRH6Lp0bG6wS57dupWGMOziP2EE",
        TANSTAAF,
    ),
    (
        "passlib",
        "$pbkdf2-sha512$1000$jFFqzbmXkrK2NqZUqnWutQ$CcXARNY0P8ymb62KuxRA0ABtvQO7rz1lWoDpl27MwqfsonJwZfYSO7fP9usKpCOnGk6aPRd9C69wNB171EyI3g",
        TANSTAAF,
    ),
    ("doveadm", "{SSHA}CyibCMcaOdoIFzGAJQwY+Q3u96o4ISNu", TANSTAAF),
    ("passlib", "{SSHA}qyuBIx59gymctGbXlEcolAPrzxYbA6A0", TANSTAAF),
    ("doveadm", "{SSHA.HEX}fdd993ed58c3598e06d0f26e09061990d0b0aab5497f64eb", TANSTAAF),
    ("doveadm", "{SSHA256}1KV5/p61+beKgGYMRQmgSOpO2BdZGmS9+fVyPu7jYLpqc6iL", TANSTAAF),
    (
        "doveadm",
        "{SSHA256.HEX}6eb70203eaf2cb71fd697f00546e7faa439c9d342c42713ddb3f4510bc13067f966523a3",
        TANSTAAF,
    ),
    (
        "doveadm",
        "{SSHA512}zn7w/YkbKjImojMyFyEzGuknyI9jKfc2GYZghWPjF7b7IaV2XrK+fy4HkcUhLURq0lOwBivKIXVl8ACoUFp1dUBKZ4M=",
        TANSTAAF,
    ),
    (
        "doveadm",
        "{SSHA512.BASE64}ZJxY4MwIu5254gJsv3b5The/GC0sG8hY8CXJYv3giJJad/mU8jH3KfZJbv6j8zWb+XCz18ISEK0Hg/DPergidYQ9O88=",
        TANSTAAF,
    ),
    (
        "doveadm",
        "{SCRAM-SHA-256}4096,u08vIzdaQl9IwUFwLvyyUQ==,pHJ8/0SQW+3jf2H5lCrx3hLFHcgsSh7969ekGRQEFuc=,mnVhlejBVOpHSIMmTkxfCxcNnpjsQw0QZIhfBxJL408=",
        TANSTAAF,
    ),
    (
        "doveadm",
        "{SCRAM-SHA-256}4096,XnXR0aryOI4SzuLtt8djsA==,zvXEnoWWJZDYZwIgm1aCIGDtYS7Re+hA3GeTSH25Lkg=,thbDVw8w4h740BiLiYHYRgB+M8So7XQDv7LorXZi6OM=",
        UMLAUTS,
    ),
    (
        "doveadm",
        "{SCRAM-SHA-1}4096,PslSbpDOe4yka5FZiIvwTA==,CPfQzoRq4qsgW0PfjUT9nxJfvVg=,Pmd6bALaWXaiabMZG3n2mTtdZkw=",
        TANSTAAF,
    ),
    (
        "PostgreSQL",
        "SCRAM-SHA-256$4096:2p3ux/088/QTjT0am078CQ==$7NZPQUyyvMfts292jSaKWTxhCn6S00j/BYj5i9d9sIs=:z6HF3d4BtKVyLASDq1UtrQMINjwX6gVgpBeToVtynXQ=",
        TANSTAAF,
    ),
    // It prepares passwords: that there was a soft hyphen in this one is lost.
    (
        "PostgreSQL",
        "{SCRAM-SHA-256}4096:lM3TOSIUFchasAiAMXLJog==$dkxLqgv7gR1Ti4eYesgCq4vfY03kRCTlo1JausQB+sQ=:EVrZeovszWWC08KpabtyQLPxZLbTZPagxwpT9FF/WWc=",
        "IX",
    ),
    ("doveadm", "{PLAIN.B64}dGFuc3RhYWY=", TANSTAAF),
    ("doveadm", "{PLAIN.HEX}74616e7374616166", TANSTAAF),
];

const WEAK: &[(&str, &str, &str)] = &[
    ("doveadm", "{MD5-CRYPT}$1$VuRevUpe$X/P1TdsEEe3UOqi7LuWLK.", TANSTAAF),
    ("doveadm", "{MD5}$1$mj6FPcgy$BiiUsOZKcXOAPzaFGc0gn0", TANSTAAF),
    ("mkpasswd", "$1$EHjMXKh0$3OGca0DcQwN1aiUSSLpNE.", TANSTAAF),
    ("passlib", "$1$InMMIoaL$ZJNeHmK9ZmT/EA8i5uKzA/", "a"),
    ("passlib", "$1$W/jOjJRL$PPmZYSVbPbR4DLjMKAUC3.", "xxxxxxxxxxxxxxx"),
    ("passlib", "$1$daZ4ZOn7$w/wN9/jR5g8ik/lk/LqjE.", "xxxxxxxxxxxxxxxx"),
    ("passlib", "$1$eK1Ym.BH$vwNdZ.HNIWM6RwBr2xj0C1", X80),
    ("passlib", "{CRYPT}$1$x4Ek/.OK$L0diCb7kEOa4a/AW4zbW11", UMLAUTS),
    ("doveadm", "{DES-CRYPT}PGrGfl1sUeZwQ", TANSTAAF),
    ("mkpasswd", "{CRYPT}PTB32E0H1kq42", TANSTAAF),
    ("passlib", "{CRYPT}jNEmxxr0lU7.w", TANSTAAF),
    ("passlib", "{CRYPT}IdeJ.BphI7caM", "a"),
    ("passlib", "{CRYPT}q1qjC9EADQ1x6", X80),
    ("passlib", "{CRYPT}P/4x9F6yX.sZg", UMLAUTS),
    ("doveadm", "{PLAIN-MD5}b3aa0ba4e1f957e5f3ef356cfc147008", TANSTAAF),
    ("doveadm", "{PLAIN-MD5.B64}s6oLpOH5V+Xz7zVs/BRwCA==", TANSTAAF),
    ("doveadm", "{LDAP-MD5}s6oLpOH5V+Xz7zVs/BRwCA==", TANSTAAF),
    ("passlib", "{MD5}s6oLpOH5V+Xz7zVs/BRwCA==", TANSTAAF),
    ("doveadm", "{SMD5}PBAYjNtq7arSBs6h2NvoKgY8ffY=", TANSTAAF),
    ("doveadm", "{SMD5.HEX}3a35b2dc99221f0f779bd97fd7f769fc5472fdb9", TANSTAAF),
    ("passlib", "{SMD5}W+TCtPRMPWyjKQ8G6Vrdo8IYg/A=", TANSTAAF),
    ("doveadm", "{SHA}60cXn4M+9rlkPiIl1CM8mjjFKYE=", TANSTAAF),
    ("doveadm", "{sha1}60cXn4M+9rlkPiIl1CM8mjjFKYE=", TANSTAAF),
    ("doveadm", "{SHA256}2OZJiX4f3IEocTIetqYiu1a2GovhuIBYRxZR+uXBLKo=", TANSTAAF),
    (
        "doveadm",
        "{SHA256.HEX}d8e649897e1fdc812871321eb6a622bb56b61a8be1b88058471651fae5c12caa",
        TANSTAAF,
    ),
    // Hex is noticed, as by Dovecot.
    (
        "doveadm",
        "{SHA256}d8e649897e1fdc812871321eb6a622bb56b61a8be1b88058471651fae5c12caa",
        TANSTAAF,
    ),
    (
        "doveadm",
        "{SHA512}7k4B2Jp+VfRq9eIRUB9fGp9ZeNyZPWiiDRYSh7oJALW7dmzxjah/z/nf+cj/MOzDknLTjla4zoq4EfWvmjU7oA==",
        TANSTAAF,
    ),
    (
        "doveadm",
        "{SHA512.HEX}ee4e01d89a7e55f46af5e211501f5f1a9f5978dc993d68a20d161287ba0900b5bb766cf18da87fcff9dff9c8ff30ecc39272d38e56b8ce8ab811f5af9a353ba0",
        TANSTAAF,
    ),
];

/// Hashes of nothing, which passlib and crypt(3) make without a word.
const EMPTY: &[&str] = &[
    "$6$rounds=1000$FC5Vyn1bM8rpP3y1$W2RTepNkt4sycNiyfjovvW9TnYQUgR8yRrXi8FgpsncP9CdeMXBR.NSCuWHL4Nku3Xk6SS6crIClRQYlLYwAp1",
    "$5$rounds=1234$bZjFqNq9sTI2s.YK$2JXVk0gcWjuQUL5Veax1bZu2J0UOdM.GKdcSTxlZ5sB",
    "$1$J7yD5JBO$h4e7WwP7D9Sc04583TW/a0",
    "{CRYPT}BECS/j84G0XWw",
    "{SHA}2jmj7l5rSw0yVb/vlWAYkK/YBwk=",
    "{PLAIN-MD5}d41d8cd98f00b204e9800998ecf8427e",
];

const TANSTAAF: &str = "tanstaaf";
const UMLAUTS: &str = "pässwörd mit Leer ";
const X64: &str = "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx";
const X80: &str =
    "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx";

#[test]
fn the_right_password_and_no_other_for_hashes_of_other_implementations() {
    for (maker, stored, password) in STRONG.iter().chain(WEAK) {
        let verifier = parse(stored);
        let password = password.as_bytes();
        assert_eq!(verifier.verify(password), Ok(true), "{maker}: {stored}");
        let mut other = password.to_vec();
        other[0] ^= 1;
        let with_nul = [password, b"\0"].concat();
        // More than a scheme takes of a password has a test of its own.
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
            ("CRYPT", false) => "DES-CRYPT",
            (other, false) => other,
        };
        assert!(why.contains(&format!("the scheme {named} is weak")), "{stored}: {why}");
        assert!(why.contains("weak-schemes") && why.contains("set a new password"), "{why}");
    }
}

/// One octet less, one more, and, wherever it may stand, one that cannot be.
#[test]
fn a_damaged_hash_never_lets_anybody_in_and_upsets_nothing() {
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

#[test]
fn parameters_beyond_the_bounds_are_refused_unread() {
    let bcrypt = "$CsMMocytfCBt1glN0GkuKu3IkMNqU111DTV6ReP6lhKkY67O7wNkS";
    let sha512 = "$4tcSTcfjbQfefVr8$UJWeEia7WLrsjsXO/JtIRjv.Fm39XERr7LmKVbJ5cGuo4ptcus4ABHwQoZeUS.lvtTxyNufUutIXxhWdBx6gF1";
    let phc = "$MSYEICSkdE5prbV2TgmhdA$LSrabq/H4A6gL0kNv4GQuE4oKyoLiLVzOT4CxIkq8d4";
    let crypt = "$lVsOq2TaFMudHPbQvNyF4.$RQ8WC8Cbf7Xs5m8pDOYMI6MEByah7sllif1I8N5ZHi.";
    let keys = ",XnXR0aryOI4SzuLtt8djsA==,zvXEnoWWJZDYZwIgm1aCIGDtYS7Re+hA3GeTSH25Lkg=,thbDVw8w4h740BiLiYHYRgB+M8So7XQDv7LorXZi6OM=";
    let hex = "$77906a17fe598003ea8594c10a53f612367f82c4";
    for (stored, fault) in [
        (format!("$2y$16{bcrypt}"), "cost=16, more than cost=15"),
        (format!("$2y$31{bcrypt}"), "cost=31"),
        (format!("$2y$03{bcrypt}"), "cost=3, less than cost=4"),
        (format!("$2y$4294967296{bcrypt}"), "more than cost=15"),
        (format!("$2y$+5{bcrypt}"), "cost is not a number"),
        (format!("$6$rounds=1000001{sha512}"), "rounds=1000001, more than rounds=1000000"),
        (format!("$6$rounds=999999999{sha512}"), "rounds=999999999"),
        (format!("$6$rounds=99999999999999999999{sha512}"), "more than rounds=1000000"),
        (format!("$6$rounds=999{sha512}"), "rounds=999, less than rounds=1000"),
        (format!("$6$rounds={sha512}"), "rounds is not a number"),
        (format!("$scrypt$ln=21,r=8,p=1{phc}"), "N=2^21, r=8 and p=1, more than N·r·p=2097152"),
        (format!("$scrypt$ln=4294967295,r=8,p=1{phc}"), "N=2^4294967295"),
        (format!("$scrypt$ln=63,r=4294967295,p=4294967295{phc}"), "N=2^63"),
        (format!("$scrypt$ln=10,r=8,p=4294967295{phc}"), "p=4294967295"),
        (format!("$scrypt$ln=0,r=8,p=1{phc}"), "ln=0, less than ln=1"),
        (format!("$scrypt$ln=10,r=0,p=1{phc}"), "r=0, less than r=1"),
        (format!("$scrypt$ln=10,r=8,p=0{phc}"), "p=0, less than p=1"),
        (format!("$scrypt$r=8,ln=10,p=1{phc}"), "not ln, r and p"),
        (format!("$scrypt$ln=10,r=8,p=1,x=1{phc}"), "not ln, r and p"),
        ("$7$zzzzzzzzzzzz$xCzWKz99xPj.dJuz4VIRls9rDGbePyAZMz.TynNZ8c/".into(), "N=2^63"),
        ("$7$C..........x$xCzWKz99xPj.dJuz4VIRls9rDGbePyAZMz.TynNZ8c/".into(), "do not fit"),
        (
            "$7$.U..../....x$xCzWKz99xPj.dJuz4VIRls9rDGbePyAZMz.TynNZ8c/".into(),
            "N=1, less than N=2",
        ),
        (format!("$y$jHT{crypt}"), "N=2^20, r=32 and p=1, more than"),
        (format!("$y$jzzzzzzzzzzzz{crypt}"), "parameters"),
        (format!("$y$jxzzzzzz{crypt}"), "yescrypt"),
        // Three times as long, four at once, an upgraded one, classic scrypt.
        (format!("$y$j9T/0{crypt}"), "not of the kind"),
        (format!("$y$j9T./{crypt}"), "not of the kind"),
        (format!("$y$j9T1.{crypt}"), "not usable"),
        (format!("$y$.9T{crypt}"), "not of the kind"),
        (format!("$y${crypt}"), "not usable"),
        (format!("{{PBKDF2}}$1$salt$2000001{hex}"), "rounds=2000001, more than rounds=2000000"),
        (format!("{{PBKDF2}}$1$salt$0{hex}"), "rounds=0"),
        (format!("{{PBKDF2}}$1$salt$-1{hex}"), "not a number"),
        (format!("{{PBKDF2}}$1${}$1{hex}", "x".repeat(1025)), "damaged"),
        (format!("{{SCRAM-SHA-256}}2000001{keys}"), "iterations=2000001, more than"),
        (format!("{{SCRAM-SHA-256}}0{keys}"), "iterations=0"),
        (format!("{{SCRAM-SHA-1}}4096{keys}"), "damaged"),
        (format!("{{SSHA.HEX}}{}", "00".repeat(20 + 65)), "salt of more than 64"),
        (format!("{{SSHA.HEX}}{}", "00".repeat(20)), "no salt"),
        (format!("{{SSHA.HEX}}{}", "00".repeat(19)), "too short"),
    ] {
        let why = reason(&stored);
        assert!(why.contains(fault) && why.contains("set a new password"), "{stored}: {why}");
    }
    for bounds in [
        format!("$2y$15{bcrypt}"),
        format!("$6$rounds=1000000{sha512}"),
        format!("$scrypt$ln=18,r=8,p=1{phc}"),
        format!("$scrypt$ln=1,r=1,p=1048576{phc}"),
        format!("$y$jDT{crypt}"),
        format!("{{PBKDF2}}$1$salt$2000000{hex}"),
        format!("{{SCRAM-SHA-256}}2000000{keys}"),
    ] {
        assert!(parse(&bounds).cost().is_some(), "{bounds}");
    }
}

/// What crypt(3) does, and so Dovecot: the users could not log in otherwise.
#[test]
fn what_crypt_never_saw_of_a_password_does_not_count() {
    for (stored, reach) in [
        ("{BLF-CRYPT}$2y$04$/AOpYqmPEajin1ouRy/il.pjqCTk5adOym.PfssQDOysEVda9Diya", 72),
        ("{CRYPT}q1qjC9EADQ1x6", 8),
    ] {
        let verifier = parse(stored);
        for (octets, right) in [(80, true), (reach, true), (81, true), (reach - 1, false)] {
            assert_eq!(verifier.verify(&vec![b'x'; octets]), Ok(right), "{stored}: {octets}");
        }
        // An end that counts for nothing must not begin to count.
        assert!(verifier.outdated_by(&vec![b'x'; reach]));
        assert!(!verifier.outdated_by(&vec![b'x'; reach + 1]));
    }
    // To bcrypt, which goes round and round the password, these two are one key.
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
    assert_eq!(costs.len(), 25, "{costs:?}");
    assert_eq!(costs.first(), Some(&Cost::Trifling));
    let cost = |stored| parse(stored).cost().unwrap();
    assert_eq!(cost(STRONG[2].1), Cost::Yescrypt { n: 4096, r: 32 });
    assert_eq!(cost(STRONG[5].1), Cost::Scrypt { log_n: 13, r: 32, p: 1 });
    let keys = "{SCRAM-SHA-256}4096,XnXR0aryOI4SzuLtt8djsA==,zvXEnoWWJZDYZwIgm1aCIGDtYS7Re+hA3GeTSH25Lkg=,thbDVw8w4h740BiLiYHYRgB+M8So7XQDv7LorXZi6OM=";
    assert_eq!(cost(keys), Cost::Pbkdf2 { digest: Digest::Sha256, iterations: 4096 });
}

#[test]
fn scram_has_keys_of_stored_ones_and_of_plain_passwords() {
    let (_, stored, _) =
        STRONG.iter().find(|(_, s, _)| s.starts_with("{SCRAM-SHA-256}4096,u08")).unwrap();
    let verifier = parse(stored);
    let keys = verifier.scram(ScramHash::Sha256, b"ignored").unwrap();
    assert_eq!(keys.iterations, 4096);
    assert_eq!(keys.salt, encoding::base64("u08vIzdaQl9IwUFwLvyyUQ==").unwrap());
    assert!(verifier.scram(ScramHash::Sha1, b"ignored").is_none());
    // The same password and salt give what Dovecot has stored.
    let derived = Verifier::plain(TANSTAAF).scram(ScramHash::Sha256, &keys.salt).unwrap();
    assert_eq!(derived.stored_key.expose(), keys.stored_key.expose());
    assert_eq!(derived.server_key.expose(), keys.server_key.expose());
    assert_eq!((derived.iterations, &derived.salt), (4096, &keys.salt));
    assert!(Verifier::plain("").scram(ScramHash::Sha256, b"salt").is_none());
    assert!(parse(STRONG[0].1).scram(ScramHash::Sha256, b"salt").is_none());
}

#[test]
fn only_weaker_hashes_are_outdated() {
    for (_, stored, password) in STRONG.iter().chain(WEAK) {
        let outdated = parse(stored).outdated_by(password.as_bytes());
        let kept = ["{PLAIN.", "SCRAM-SHA", "$argon2id"].iter().any(|kind| stored.contains(kind));
        let whole = !(stored.contains("CRYPT}q1qj") || stored.contains("CRYPT}P/4x"));
        assert_eq!(outdated, !kept && whole, "{stored}");
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
fn what_the_store_keeps_to_itself_is_not_verified_here() {
    let verifier = Verifier::AtStore("uid=mrose,dc=example,dc=org".into());
    assert!(verifier.verify(b"tanstaaf").unwrap_err().contains("only the store"));
    assert_eq!(verifier.cost(), None);
    assert!(verifier.scram(ScramHash::Sha256, b"salt").is_none());
}

#[test]
fn new_scram_keys_are_for_prepared_passwords() {
    let password = NewPassword::try_from(Secret::new("I\u{ad}X".as_bytes().to_vec())).unwrap();
    let (one, other) =
        (NewScheme::ScramSha256.hash(&password), NewScheme::ScramSha256.field(&password));
    let (one, other) = (one.unwrap(), other.unwrap());
    assert_ne!(one.expose(), other.expose());
    for field in [one, other] {
        assert!(field.expose().starts_with("{SCRAM-SHA-256}15000,"));
        let verifier = parse(field.expose());
        assert_eq!(verifier.verify(b"IX"), Ok(true));
        assert_eq!(verifier.verify("I\u{ad}X".as_bytes()), Ok(true));
        assert_eq!(verifier.verify(b"ix"), Ok(false));
    }
    // In Latin-1 there is nothing to prepare.
    let password = NewPassword::try_from(Secret::new(b"p\xe4ss".to_vec())).unwrap();
    let field = NewScheme::ScramSha256.hash(&password).unwrap();
    assert_eq!(parse(field.expose()).verify(b"p\xe4ss"), Ok(true));
}

/// The hashes were made with argon2-cffi, which wraps the reference implementation.
#[test]
fn argon2_hashes_of_another_implementation() {
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
            let verifier = parse(&format!("{prefix}{stored}"));
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
fn an_empty_password_lets_nobody_in() {
    assert!(reason("{PLAIN}").contains("empty"));
    assert!(reason("").contains("no password"));
    assert_eq!(Verifier::plain("").verify(b""), Ok(false));
    // The hash of nothing.
    let params = ::argon2::Params::new(64, 1, 1, None).unwrap();
    let mut digest = [0; 32];
    ::argon2::Argon2::from(params).hash_password_into(b"", b"somesalt", &mut digest).unwrap();
    let digest = ::argon2::password_hash::phc::Output::new(&digest).unwrap();
    let verifier = parse(&format!("$argon2id$v=19$m=64,t=1,p=1$c29tZXNhbHQ${digest}"));
    assert!(matches!(verifier, Verifier::Hash(..)));
    assert_eq!(verifier.verify(b""), Ok(false));
}

#[test]
fn argon2_parameters_beyond_the_bounds_are_refused_unread() {
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
        let verifier = parse(&format!("$argon2id$v=19${bounds}{digest}"));
        assert!(matches!(verifier, Verifier::Hash(..)), "{bounds}");
    }
}

#[test]
fn what_cannot_be_used_says_why_and_shows_nothing() {
    for (stored, fault) in [
        ("hunter2", "no scheme"),
        ("{hunter2", "no scheme"),
        ("{hunter2}hunter2", "of its password is not supported"),
        ("{SHA512-CRYPT}$6$hunter2$hunter2", "SHA512-CRYPT hash is damaged"),
        ("{cram-md5}hunter2", "CRAM-MD5 is not supported"),
        ("{PLAIN.ROT13}hunter2", "of its password is not supported"),
        ("{PLAIN.B64}hunter2!", "not in base64"),
        ("{PLAIN.HEX}hunter2", "not in hex"),
        ("{PLAIN.HEX}", "empty"),
        ("{CRYPT.HEX}ff", "not text"),
        ("$6$hunter2$hunter2", "SHA512-CRYPT hash is damaged"),
        ("$2y$05$hunter2", "bcrypt hash is damaged"),
        ("$2x$05$hunter2", "no known kind"),
        ("$gy$j9T$hunter2$hunter2", "GOST-YESCRYPT is not supported"),
        ("$1$hunter2", "MD5-CRYPT"),
        ("$hunter2", "damaged"),
        ("{CRYPT}hunter2", "DES-CRYPT hash is damaged"),
        ("{CRYPT}_7C/.FTFvlThZMkH83/Y", "DES-CRYPT hash is damaged"),
        ("{SSHA}hunter2!", "not in base64"),
        ("{SHA}aHVudGVyMg==", "another length"),
        ("{PBKDF2}hunter2", "damaged"),
        ("{PBKDF2}$2$hunter2$1$00", "no known kind"),
        ("{SCRAM-SHA-256}hunter2", "damaged"),
        ("SCRAM-SHA-256$hunter2", "damaged"),
        ("!", "no scheme"),
        ("*", "no scheme"),
        ("x", "no scheme"),
        ("{ARGON2ID}", "damaged"),
        ("{ARGON2ID}hunter2", "damaged"),
        ("$argon2", "damaged"),
        (
            "$argon2x$v=19$m=64,t=1,p=1$c29tZXNhbHQ$Waw5CMYpE0kO719XekarvkwAxsjcHKMv",
            "no known kind",
        ),
        ("$argon2id$v=18$m=64,t=1,p=1$c29tZXNhbHQ$Waw5CMYpE0kO719XekarvkwAxsjcHKMv", "v=18"),
        ("$argon2id$v=19$m=64,t=1,p=1$c29tZXNhbHQ", "no digest"),
        ("$argon2id$v=19$m=64,t=1,p=1", "no salt"),
        ("$argon2id$v=19$m=64,t=1,p=1$c2hvcnQ$Waw5CMYpE0kO719XekarvkwAxsjcHKMv", "damaged"),
        ("$argon2id$v=19$m=64,t=1,p=1$c29tZXNhbHQ$Waw5", "damaged"),
        ("$argon2id$v=19$m=64,t=1,p=1$c29tZXNhbHQ$Waw5CMYpE0kO719XekarvkwAxsjcHKMv$", "damaged"),
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
    let verifier = parse(one.expose());
    assert_eq!(verifier.verify(b"tanstaaf"), Ok(true));
    assert_eq!(verifier.verify(b"tanstaa"), Ok(false));
    assert_eq!(verifier.cost(), Verifier::costly().cost());
}

#[test]
fn nothing_that_is_shown_holds_a_password_or_a_hash() {
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
