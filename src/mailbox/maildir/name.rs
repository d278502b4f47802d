//! Parsing the names of files in a Maildir: the unique name, the time of delivery, the unique-id.
//! Names are bytes.
//!
//! Sizes in names (`,S=` and `,W=`) are not used as sizes of messages; `,S=` is used for the quota.

use std::str::FromStr;

use memchr::{memchr, memmem};
use sha2::{Digest, Sha256};

use super::separator::Separator;
use crate::protocol::UniqueId;

/// The part of a file name that stays when flags or sizes in it are rewritten.
///
/// It ends before the flags, and before the first `,S=` or `,W=`, which other servers add.
pub(super) fn unique(file_name: &[u8], separator: Separator) -> &[u8] {
    without_sizes(separator.before_flags(file_name))
}

/// A file name without flags, up to its first `,S=` or `,W=`.
pub(super) fn without_sizes(base: &[u8]) -> &[u8] {
    let sizes = [&b",S="[..], b",W="].into_iter().filter_map(|field| memmem::find(base, field));
    sizes.min().and_then(|at| base.get(..at)).unwrap_or(base)
}

/// The size in the name of a file (`,S=`), as counted at its delivery.
pub(super) fn size(file_name: &[u8], separator: Separator) -> Option<u64> {
    let base = separator.before_flags(file_name);
    let value = base.get(memmem::find(base, b",S=")? + 3..)?;
    let digits = value.get(..memchr(b',', value).unwrap_or(value.len()))?;
    decimal(digits)
}

/// The number that `digits` are; `None` if there are no digits, other octets, or too many digits.
pub(super) fn decimal<T: FromStr>(digits: &[u8]) -> Option<T> {
    // Unlike `parse`, this accepts no sign.
    let digits = Some(digits).filter(|digits| digits.iter().all(u8::is_ascii_digit))?;
    str::from_utf8(digits).ok()?.parse().ok()
}

/// The time of delivery in a unique name: its leading decimal number, by which listings are sorted.
///
/// A name without a number gives the maximum, and a number that does not fit gives one less.
pub(super) fn delivery_time(unique: &[u8]) -> u64 {
    if !unique.first().is_some_and(u8::is_ascii_digit) {
        return u64::MAX;
    }
    let digits = unique.iter().take_while(|byte| byte.is_ascii_digit());
    let value = |number: u64, digit: &u8| {
        number.saturating_mul(10).saturating_add(u64::from(digit.saturating_sub(b'0')))
    };
    digits.fold(0, value).min(u64::MAX - 1)
}

/// Whether a unique name can be used as a unique-id (RFC 1939 §7 UIDL).
///
/// A name that looks like a hash is not: it is hashed itself, so that it never equals the hash of
/// another name.
pub(super) fn is_unique_id(unique: &[u8]) -> bool {
    is_short_id(unique) && !looks_hashed(unique)
}

/// Whether these octets are a unique-id that RFC 1939 §7 UIDL allows.
pub(super) fn is_short_id(octets: &[u8]) -> bool {
    octets.len() <= UniqueId::RECOMMENDED && UniqueId::try_from(octets).is_ok()
}

/// The unique-id for a name that cannot be one: SHA-256 in hexadecimal.
pub(super) fn hash(name: &[u8]) -> [u8; HASH_LENGTH] {
    let mut text = [0; HASH_LENGTH];
    for (pair, byte) in text.chunks_exact_mut(2).zip(Sha256::digest(name)) {
        for (place, nibble) in pair.iter_mut().zip([byte >> 4, byte & 0xf]) {
            *place = if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 };
        }
    }
    text
}

/// The length of a [`hash`].
pub(super) const HASH_LENGTH: usize = 64;

fn looks_hashed(name: &[u8]) -> bool {
    name.len() == HASH_LENGTH && name.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unique_name_outlives_flags_and_sizes() {
        for (file_name, expected) in [
            ("1276528487.M364837P9451.kurkku,S=1355,W=1394:2,RS", "1276528487.M364837P9451.kurkku"),
            ("1276528487.M364837P9451.kurkku,W=1394,S=1355", "1276528487.M364837P9451.kurkku"),
            ("1276528487.M364837P9451.kurkku:2,", "1276528487.M364837P9451.kurkku"),
            ("1276528487.M364837P9451.kurkku", "1276528487.M364837P9451.kurkku"),
            ("1276528487.R1.kurkku,X=1,S=2", "1276528487.R1.kurkku,X=1"),
            ("1.x:1,S=4", "1.x"),
            ("1.x,s=4", "1.x,s=4"),
            (":2,S", ""),
            (",S=1", ""),
        ] {
            assert_eq!(
                unique(file_name.as_bytes(), Separator::Colon).escape_ascii().to_string(),
                expected,
                "{file_name}"
            );
        }
    }

    #[test]
    fn sizes_in_names() {
        for (file_name, expected) in [
            ("1276528487.M364837P9451.kurkku,S=1355,W=1394:2,RS", Some(1355)),
            ("1276528487.M364837P9451.kurkku,W=1394,S=1355", Some(1355)),
            ("1.x,S=0:2,", Some(0)),
            ("1.x,S=18446744073709551615", Some(u64::MAX)),
            ("1.x", None),
            ("1.x,S=", None),
            ("1.x,S=-4", None),
            ("1.x,S=+4", None),
            ("1.x,S=4k", None),
            ("1.x,S=18446744073709551616", None),
            ("1.x:2,S,S=4", None),
            ("1.x,s=4", None),
        ] {
            assert_eq!(size(file_name.as_bytes(), Separator::Colon), expected, "{file_name}");
        }
    }

    #[test]
    fn order_is_by_the_leading_number() {
        for (name, expected) in [
            ("1276528487.M1", 1_276_528_487),
            ("007", 7),
            ("0", 0),
            ("18446744073709551615.x", u64::MAX - 1),
            ("99999999999999999999999.x", u64::MAX - 1),
            ("msg.abcd", u64::MAX),
            ("", u64::MAX),
            ("-1", u64::MAX),
        ] {
            assert_eq!(delivery_time(name.as_bytes()), expected, "{name}");
        }
    }

    #[test]
    fn unique_ids() {
        assert!(is_unique_id(b"1276528487.M364837P9451.kurkku"));
        assert!(is_unique_id(&[b'x'; 70]));
        for bad in [&b""[..], &[b'x'; 71], b"a b", b"a\xff", &hash(b"x"), &[b'0'; 64]] {
            assert!(!is_unique_id(bad), "{}", bad.escape_ascii());
        }
        assert!(is_unique_id(&[b'A'; 64]));
        assert_eq!(
            hash(b"abc").escape_ascii().to_string(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        assert!(UniqueId::try_from(&hash(b"")[..]).is_ok());
    }

    #[test]
    fn decimals_are_digits_only() {
        assert_eq!(decimal::<u32>(b"007"), Some(7));
        for bad in [&b""[..], b"+1", b"-1", b" 1", b"1x", b"4294967296"] {
            assert_eq!(decimal::<u32>(bad), None, "{}", bad.escape_ascii());
        }
    }
}
