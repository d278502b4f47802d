//! The orders in which Dovecot and Courier list base names, and how far two orders differ.
//!
//! Both compare octets as signed, and the `:` that ends a base name takes part in the comparison.

use std::cmp::Ordering;

use memchr::memchr;

/// Dovecot's order of names that it lists for the first time: by time, microseconds and name.
///
/// Dovecot compares the microseconds of two names only if both have them, which is no total order.
/// Here, the names of a second that have microseconds come first.
pub(super) fn dovecot(a: &[u8], b: &[u8]) -> Ordering {
    let ((time_a, rest_a), (time_b, rest_b)) = (dovecot_time(a), dovecot_time(b));
    let microseconds = |rest| microseconds(rest).unwrap_or(u64::MAX);
    time_a
        .cmp(&time_b)
        .then_with(|| microseconds(rest_a).cmp(&microseconds(rest_b)))
        .then_with(|| signed(rest_a).cmp(signed(rest_b)))
        .then_with(|| a.cmp(b))
}

/// Courier's order: by the number at the beginning, which may have a sign, then by name.
pub(super) fn courier(a: &[u8], b: &[u8]) -> Ordering {
    courier_number(a).cmp(&courier_number(b)).then_with(|| signed(a).cmp(signed(b)))
}

/// How many of the messages must move to bring all into ascending order.
pub fn displaced(positions: impl IntoIterator<Item = usize>) -> usize {
    // The last position of the best ascending sequence of each length.
    let (mut ends, mut count) = (Vec::new(), 0);
    for position in positions {
        count += 1;
        let longer_than = ends.partition_point(|end| *end < position);
        match ends.get_mut(longer_than) {
            Some(end) => *end = position,
            None => ends.push(position),
        }
    }
    count - ends.len()
}

/// The number at the beginning of a name, and the rest of the name.
///
/// Dovecot compares the lower 32 bits, and 0 if there is no number.
fn dovecot_time(name: &[u8]) -> (u32, &[u8]) {
    let digits = name.iter().take_while(|octet| octet.is_ascii_digit()).count();
    let (digits, rest) = name.split_at(digits);
    let time = digits.iter().fold(0_u32, |time, digit| {
        time.wrapping_mul(10).wrapping_add(u32::from(digit.wrapping_sub(b'0')))
    });
    (time, rest)
}

/// The number after the first `M` between the first two dots.
fn microseconds(rest: &[u8]) -> Option<u64> {
    let unique = rest.strip_prefix(b".")?.split(|octet| *octet == b'.').next()?;
    let digits = unique.iter().skip_while(|octet| **octet != b'M').skip(1);
    memchr(b'M', unique).map(|_| saturating_number(digits))
}

/// The number at the beginning of a name as C's `atol` reads it.
fn courier_number(name: &[u8]) -> i64 {
    let name = name.trim_ascii_start();
    let (is_negative, digits) = match name {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    let number = i64::try_from(saturating_number(digits.iter())).unwrap_or(i64::MAX);
    if is_negative { number.saturating_neg() } else { number }
}

fn saturating_number<'a>(octets: impl Iterator<Item = &'a u8>) -> u64 {
    let digits = octets.take_while(|octet| octet.is_ascii_digit());
    digits.fold(0, |number: u64, digit| {
        number.saturating_mul(10).saturating_add(u64::from(digit.wrapping_sub(b'0')))
    })
}

fn signed(name: &[u8]) -> impl Iterator<Item = i8> {
    name.iter().chain(b":").map(|octet| octet.cast_signed())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assert_order(compare: fn(&[u8], &[u8]) -> Ordering, names: &[&str]) {
        let mut sorted = names.to_vec();
        sorted.reverse();
        sorted.sort_by(|a, b| compare(a.as_bytes(), b.as_bytes()));
        assert_eq!(sorted, names);
    }

    /// The order of the UIDs that Dovecot 2.3.19 and 2.4.1 gave to these names.
    #[test]
    fn dovecot_new_names() {
        let names = [
            "+1700000001.g",
            "-5.b.host",
            "NN",
            "a,S=bad",
            "käse.host",
            "msg.Ab",
            "q'uo\"te+.host",
            "x y.host",
            "99999999999999999999.e.host",
            "1700000000.M.h",
            "1700000000.M9P1.host",
            "1700000000.M10P1.host",
            "0001700000000.a.host",
            "1700000000.d.host",
            "1700000000.f.host;2,S",
            "1700000000",
        ];
        assert_order(dovecot, &names);
    }

    /// The order of the messages that Courier 1.0.16 and 1.4.1 list.
    #[test]
    fn courier_names() {
        let names = [
            "-5.neg.h",
            "msg.x",
            "q'uo\"te+.h",
            "0001700000000.z.h",
            "1700000000.A.h",
            "1700000000.a.h-2",
            "1700000000.a.h",
            "1700000001.b.h,S=10",
            "1700000002.c d.h",
            "1700000003.käse.h",
            "1700000003.kzse.h",
            "99999999999999999999.big.h",
        ];
        assert_order(courier, &names);
    }

    #[test]
    fn messages_that_must_move() {
        for (positions, expected) in
            [(&[][..], 0), (&[3, 5, 9], 0), (&[9, 3, 5], 1), (&[3, 2, 1], 2), (&[2, 3, 0, 1, 4], 2)]
        {
            assert_eq!(displaced(positions.iter().copied()), expected, "{positions:?}");
        }
    }
}
