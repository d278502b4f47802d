//! Parsing the names of files in a Maildir: the unique name, the time of delivery, the size.
//! Names are bytes.
//!
//! Sizes in names (`,S=` and `,W=`) are not used as sizes of messages; `,S=` is used for the quota.

use memchr::{memchr, memmem};

use super::separator::Separator;
use crate::uidl::by_name::without_sizes;
use crate::uidl::decimal;

/// The part of a file name that stays when flags or sizes in it are rewritten.
///
/// It ends before the flags, and before the first `,S=` or `,W=`, which other servers add.
pub(super) fn unique(file_name: &[u8], separator: Separator) -> &[u8] {
    without_sizes(separator.before_flags(file_name))
}

/// The size in the name of a file (`,S=`), as counted at its delivery.
pub(super) fn size(file_name: &[u8], separator: Separator) -> Option<u64> {
    let base = separator.before_flags(file_name);
    let value = base.get(memmem::find(base, b",S=")? + 3..)?;
    let digits = value.get(..memchr(b',', value).unwrap_or(value.len()))?;
    decimal(digits)
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
}
