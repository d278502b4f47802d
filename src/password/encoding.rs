//! The encodings of password fields: none, hex, base64, and the variants of base64 in crypt(3).
//! Base64 is decoded in constant time, because it encodes digests and passwords.

use base64ct::{Base64, Base64Bcrypt, Base64ShaCrypt, Base64Unpadded, Encoding as _};
use zeroize::Zeroizing;

use super::FieldError;

/// An encoding that Dovecot knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    None,
    Hex,
    Base64,
}

/// The text after a scheme, with the encoding that the scheme names.
pub(super) struct Field<'a> {
    text: &'a str,
    encoding: Option<Encoding>,
}

impl<'a> Field<'a> {
    /// Splits `SSHA.HEX` and the like; any other suffix stays a part of the scheme.
    pub(super) fn new<'s>(scheme: &'s str, text: &'a str) -> (&'s str, Self) {
        let (name, encoding) = match scheme.rsplit_once('.') {
            Some((name, "HEX")) => (name, Some(Encoding::Hex)),
            Some((name, "B64" | "BASE64")) => (name, Some(Encoding::Base64)),
            Some(_) | None => (scheme, None),
        };
        (name, Self { text, encoding })
    }

    /// The decoded octets. The encoding is `usual` unless the scheme names one.
    pub(super) fn octets(&self, usual: Encoding) -> Result<Zeroizing<Vec<u8>>, FieldError> {
        let octets = match self.encoding.unwrap_or(usual) {
            Encoding::None => self.text.as_bytes().to_vec(),
            Encoding::Hex => hex(self.text).ok_or(FieldError::NotHex)?,
            Encoding::Base64 => base64(self.text).ok_or(FieldError::NotBase64)?,
        };
        Ok(Zeroizing::new(octets))
    }

    /// The octets as text, for schemes whose hash is text.
    pub(super) fn text(&self) -> Result<Zeroizing<String>, FieldError> {
        let octets = self.octets(Encoding::None)?;
        str::from_utf8(&octets)
            .map(|text| Zeroizing::new(text.to_owned()))
            .map_err(|_| FieldError::NotText)
    }
}

pub(super) fn hex(text: &str) -> Option<Vec<u8>> {
    let digit =
        |octet: u8| char::from(octet).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let octets = pairs.iter().map(|&[high, low]| Some(digit(high)? << 4 | digit(low)?));
    if rest.is_empty() { octets.collect() } else { None }
}

/// Ordinary base64, with or without padding.
pub(super) fn base64(text: &str) -> Option<Vec<u8>> {
    Base64::decode_vec(text).or_else(|_| Base64Unpadded::decode_vec(text)).ok()
}

/// Passlib's: a dot in place of the plus sign, no padding.
pub(super) fn passlib64(text: &str) -> Option<Vec<u8>> {
    base64(&text.replace('.', "+"))
}

/// Bcrypt's: the ordinary order of bits, with another alphabet.
pub(super) fn bcrypt64(text: &str) -> Option<Vec<u8>> {
    Base64Bcrypt::decode_vec(text).ok()
}

/// Crypt(3)'s: six bits a character, the lowest first.
pub(super) fn crypt64(text: &str) -> Option<Vec<u8>> {
    Base64ShaCrypt::decode_vec(text).ok()
}
