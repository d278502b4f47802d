//! Schemes that are not supported.

/// A scheme that is not supported.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnsupportedScheme {
    /// The traditional crypt(3).
    #[error(
        "the scheme DES-CRYPT is not supported: such a hash is soon guessed, and stands for 8 \
         octets of the password only"
    )]
    DesCrypt,
    /// A name that looks like that of a scheme.
    #[error("the scheme {0} is not supported")]
    Named(Box<str>),
    /// Something else in braces, which may be part of a password and is not shown.
    #[error("the scheme of its password is not supported")]
    Unnamed,
}

impl UnsupportedScheme {
    /// The error for the text that stands in place of a scheme.
    pub(super) fn new(scheme: &str) -> Self {
        match is_named_like_one(scheme) {
            true if scheme == "DES-CRYPT" => Self::DesCrypt,
            true => Self::Named(scheme.into()),
            false => Self::Unnamed,
        }
    }
}

/// Whether a name, in upper case, consists of short numbers and of words that occur in the names of
/// schemes.
fn is_named_like_one(scheme: &str) -> bool {
    let words = scheme.split(|c: char| !c.is_ascii_uppercase()).filter(|word| !word.is_empty());
    let numbers = scheme.split(|c: char| !c.is_ascii_digit());
    let is_word = |word| WORDS.split_ascii_whitespace().any(|known| known == word);
    scheme.starts_with(|c: char| c.is_ascii_uppercase())
        && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "-_./".contains(c))
        && numbers.into_iter().all(|number| number.len() <= 4)
        && words.into_iter().all(is_word)
}

/// From the names that other servers use, and from common mistakes.
const WORDS: &str = "APR ARGON B BASE BCRYPT BLAKE BLF BLOWFISH CLEAR CLEARTEXT CRAM CRYPT D DES \
    DIGEST GOST HASH HEX HMAC I ID KECCAK KERBEROS LANMAN LDAP LM MD MYSQL NT NTHASH NTLM OTP PASS \
    PBKDF PHPASS PLAIN PLUS RIPEMD RMD RPA S SASL SCRAM SCRYPT SHA SHACRYPT SHAKE SMD SSHA SUNMD \
    TRUNC UNIX WHIRLPOOL X Y YESCRYPT";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schemes_are_named_and_passwords_are_not() {
        for scheme in [
            "SHA3",
            "SHA3-256",
            "SHA-512",
            "SSHA3",
            "ARGON2",
            "BCRYPT",
            "CRAM-MD5",
            "DIGEST-MD5",
            "GOST-YESCRYPT",
            "LANMAN",
            "NTLM",
            "OTP",
            "PLAIN-MD4",
            "PLAIN-TRUNC",
            "RPA",
            "SASL",
            "PBKDF2_SHA256",
            "PBKDF2-SHA512",
            "SCRAM-SHA-512",
            "SHA512.HEX",
            "MD5/CRYPT",
        ] {
            let said = UnsupportedScheme::new(scheme).to_string();
            assert_eq!(said, format!("the scheme {scheme} is not supported"));
        }
        for text in [
            "",
            "-",
            "3",
            "HUNTER2",
            "SHA3HUNTER",
            "SHA HUNTER",
            "SHA3-19701231",
            "sha3",
            "SHA\u{f6}",
            "HUNTER2-SHA",
            "2SHA",
            "SHA\n",
        ] {
            let said = UnsupportedScheme::new(text).to_string();
            assert_eq!(said, "the scheme of its password is not supported", "{text:?}");
        }
    }
}
