//! What Dovecot does to a variable in `pop3_uidl_format`: filters of 2.4, modifiers and widths of 2.3.

use md5::{Digest as _, Md5};
use sha1::Sha1;
use sha2::{Sha256, Sha512};

use super::lines::decimal;

/// A change to the value of a variable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Filter {
    /// `lower`, `L`.
    Lower,
    /// `upper`, `U`.
    Upper,
    /// `reverse`, `R`.
    Reverse,
    /// `T`: removes white space at the end.
    Trim,
    /// `E`: a backslash before quotation marks and backslashes.
    Escape,
    /// `ldap_dn`, `D`: `.` becomes `,dc=`.
    LdapDn,
    /// `X`: a number in hexadecimal; 0 if it is no number.
    Hexadecimal,
    /// `hex(width)`: a number in hexadecimal. A negative width fills and cuts at the end.
    HexadecimalOfWidth(i32),
    /// `md5` and others; the result is binary.
    Digest(Algorithm),
    /// `hexlify`: binary octets in hexadecimal.
    Hexlify,
    /// `H` and `N`: a small number made of the value.
    Bucket(Bucket),
    /// The offset and width of 2.3.
    Cut(Cut),
}

/// A hash function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Algorithm {
    Md5,
    Sha1,
    Sha256,
    Sha512,
}

/// A number modulo `modulus`, if that is not 0, in hexadecimal with at least `digits` digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bucket {
    /// `N`, not `H`.
    pub(super) is_md5: bool,
    pub(super) modulus: u32,
    pub(super) digits: usize,
}

/// `[OFFSET.]WIDTH`, where 0 as a width is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Cut {
    /// How many octets are skipped; if negative, how many remain.
    pub(super) offset: isize,
    /// How many octets remain; if negative, how many are cut off at the end.
    pub(super) width: isize,
    /// The width fills with zeros, and cuts nothing off.
    pub(super) fill: bool,
}

impl Filter {
    pub(super) fn apply(self, value: Vec<u8>) -> Vec<u8> {
        match self {
            Self::Lower => value.to_ascii_lowercase(),
            Self::Upper => value.to_ascii_uppercase(),
            Self::Reverse => value.into_iter().rev().collect(),
            Self::Trim => value.trim_ascii_end().to_vec(),
            Self::Escape => value.into_iter().flat_map(escaped).collect(),
            Self::LdapDn => {
                value.split(|octet| *octet == b'.').collect::<Vec<_>>().join(&b",dc="[..])
            }
            Self::Hexadecimal => hexadecimal(&value),
            Self::HexadecimalOfWidth(width) => of_width(hexadecimal(&value), width),
            Self::Digest(algorithm) => algorithm.digest(&value),
            Self::Hexlify => hexlify(&value),
            Self::Bucket(bucket) => bucket.of(&value),
            Self::Cut(cut) => cut.apply(value),
        }
    }

    /// Whether the result is binary; Dovecot makes hexadecimal digits of it at the end.
    pub(super) fn is_binary(self) -> bool {
        matches!(self, Self::Digest(_))
    }
}

impl Algorithm {
    fn digest(self, value: &[u8]) -> Vec<u8> {
        match self {
            Self::Md5 => Md5::digest(value).to_vec(),
            Self::Sha1 => Sha1::digest(value).to_vec(),
            Self::Sha256 => Sha256::digest(value).to_vec(),
            Self::Sha512 => Sha512::digest(value).to_vec(),
        }
    }
}

impl Bucket {
    fn of(self, value: &[u8]) -> Vec<u8> {
        let number = if self.is_md5 { first_of_md5(value) } else { u64::from(elf_hash(value)) };
        let number = number.checked_rem(u64::from(self.modulus)).unwrap_or(number);
        // Dovecot prints the lower 32 bits.
        filled(format!("{:x}", number & u64::from(u32::MAX)).into_bytes(), self.digits)
    }
}

fn first_of_md5(value: &[u8]) -> u64 {
    let first = Md5::digest(value).into_iter().take(8);
    first.fold(0, |number, octet| number << 8 | u64::from(octet))
}

fn elf_hash(value: &[u8]) -> u32 {
    value.iter().fold(0, |hash: u32, octet| {
        let hash = (hash << 4).wrapping_add(u32::from(*octet));
        let high = hash & 0xf000_0000;
        hash ^ high >> 24 ^ high
    })
}

impl Cut {
    fn apply(self, mut value: Vec<u8>) -> Vec<u8> {
        let skipped = match self.offset.unsigned_abs() {
            remaining if self.offset < 0 => value.len().saturating_sub(remaining),
            skipped => skipped.min(value.len()),
        };
        value.drain(..skipped);
        match self.width.unsigned_abs() {
            0 => value,
            width if self.fill => filled(value, if self.width < 0 { 0 } else { width }),
            width if self.width > 0 => {
                value.truncate(width);
                value
            }
            // More than there is: Dovecot cuts nothing off.
            cut_off => {
                value.truncate(value.len().checked_sub(cut_off).unwrap_or(value.len()));
                value
            }
        }
    }
}

fn escaped(octet: u8) -> impl Iterator<Item = u8> {
    let backslash = matches!(octet, b'"' | b'\'' | b'\\').then_some(b'\\');
    backslash.into_iter().chain([octet])
}

fn hexadecimal(value: &[u8]) -> Vec<u8> {
    let number = decimal::<u64>(value).unwrap_or(0);
    format!("{number:x}").into_bytes()
}

fn of_width(mut digits: Vec<u8>, width: i32) -> Vec<u8> {
    match usize::try_from(width.unsigned_abs()).unwrap_or(usize::MAX) {
        0 => digits,
        width_at_end if width < 0 => {
            digits.resize(width_at_end, b'0');
            digits
        }
        width => {
            let mut digits = filled(digits, width);
            digits.drain(..digits.len().saturating_sub(width));
            digits
        }
    }
}

fn filled(digits: Vec<u8>, width: usize) -> Vec<u8> {
    let missing = width.saturating_sub(digits.len());
    [vec![b'0'; missing], digits].concat()
}

/// Octets as hexadecimal digits.
pub(super) fn hexlify(octets: &[u8]) -> Vec<u8> {
    octets.iter().flat_map(|octet| format!("{octet:02x}").into_bytes()).collect()
}
