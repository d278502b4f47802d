//! Message-numbers and line counts, as a client writes them.

use std::fmt;
use std::num::NonZeroU32;

/// A message-number: from 1, in the order of the listing (RFC 1939 §4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MessageNumber(NonZeroU32);

impl MessageNumber {
    /// The number of the message at `position`, counted from 0.
    pub fn from_position(position: u32) -> Self {
        Self(NonZeroU32::MIN.saturating_add(position))
    }

    /// The position in the listing, counted from 0.
    pub fn position(self) -> u32 {
        self.0.get() - 1
    }

    /// Appends the digits.
    pub(super) fn encode(self, out: &mut Vec<u8>) {
        encode_decimal(self.0.get().into(), out);
    }
}

impl fmt::Display for MessageNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Why an argument is not a message-number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NumberError {
    /// Not decimal digits without sign and leading zeros.
    NotANumber,
    /// A number that is larger than any message-number.
    TooLarge,
}

impl TryFrom<&[u8]> for MessageNumber {
    type Error = NumberError;

    // DEVIATION: RFC 1939 §5 LIST — leading zeros are refused: no mail client sends them, only
    // programs that probe the parser.
    fn try_from(digits: &[u8]) -> Result<Self, NumberError> {
        if digits.first() == Some(&b'0') {
            return Err(NumberError::NotANumber);
        }
        let number = decimal(digits).ok_or(NumberError::NotANumber)?;
        u32::try_from(number).ok().and_then(NonZeroU32::new).map(Self).ok_or(NumberError::TooLarge)
    }
}

/// Appends a number in decimal digits; `write!` takes three times as long.
pub(super) fn encode_decimal(number: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// The number of body lines in a TOP command (RFC 1939 §7 TOP).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BodyLines(pub u64);

impl BodyLines {
    /// Reads decimal digits. A number beyond 64 bits stands for all lines.
    pub fn parse(digits: &[u8]) -> Option<Self> {
        decimal(digits).map(Self)
    }
}

/// Decimal digits as a number, saturating.
fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0u64, |number, digit| {
        let value = u64::from(digit.checked_sub(b'0').filter(|value| *value <= 9)?);
        Some(number.saturating_mul(10).saturating_add(value))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn message_numbers() {
        for (text, position) in [("1", 0), ("10", 9), ("4294967295", u32::MAX - 1)] {
            let number = MessageNumber::try_from(text.as_bytes()).unwrap();
            assert_eq!(number.position(), position);
            assert_eq!(number, MessageNumber::from_position(position));
            assert_eq!(number.to_string(), text);
        }
        for text in ["", "0", "-1", "+1", "01", "00", "1x", "x", "1.0", "1 ", "\u{661}"] {
            let number = MessageNumber::try_from(text.as_bytes());
            assert_eq!(number, Err(NumberError::NotANumber), "{text:?}");
        }
        for text in ["4294967296", "4294967297", "18446744073709551617", &"9".repeat(200)] {
            let number = MessageNumber::try_from(text.as_bytes());
            assert_eq!(number, Err(NumberError::TooLarge), "{text:?}");
        }
    }

    #[test]
    fn decimal_digits() {
        for number in [0, 1, 9, 10, 99, 100, 4_294_967_295, 1 << 63, u64::MAX] {
            let mut out = b"before ".to_vec();
            encode_decimal(number, &mut out);
            assert_eq!(out, format!("before {number}").into_bytes());
        }
    }

    #[test]
    fn body_lines() {
        for (text, lines) in [("0", 0), ("99999999", 99_999_999), ("00", 0)] {
            assert_eq!(BodyLines::parse(text.as_bytes()), Some(BodyLines(lines)));
        }
        assert_eq!(BodyLines::parse("9".repeat(40).as_bytes()), Some(BodyLines(u64::MAX)));
        for text in ["", "-1", "+1", "1x", " "] {
            assert_eq!(BodyLines::parse(text.as_bytes()), None, "{text:?}");
        }
    }
}
