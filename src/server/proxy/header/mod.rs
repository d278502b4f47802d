//! The header of the PROXY protocol, both versions, as text in and values out.
//!
//! The package `proxy-header` reads it. Here is what a receiver has to add: where the header ends,
//! bounds, the checksum, and what of it is used.

use std::net::SocketAddr;

use proxy_header::{ParseConfig, Protocol, ProxiedAddress, ProxyHeader, SslInfo, Tlv};

use crate::server::canonical;

/// What a proxy says about a connection.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// The client. `None`: the proxy speaks for itself (`LOCAL`), or does not know (`UNKNOWN`).
    pub client: Option<SocketAddr>,
    /// The version of TLS between the client and the proxy. `None`: no TLS.
    pub tls: Option<&'static str>,
    /// The host that the client requested by SNI.
    pub host: Option<String>,
}

/// The first octets of a connection, as far as they are a header.
#[derive(Debug, PartialEq, Eq)]
pub enum Progress {
    /// All of them are, and more have to follow.
    Incomplete,
    /// This many of them are.
    Whole(Header, usize),
}

/// Why the first octets of a connection are not a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// They are something else.
    #[error("it begins with something else")]
    Missing,
    /// The form of version 1 or 2 is not kept.
    #[error("it is malformed")]
    Malformed,
    /// It has more octets than a header may have.
    #[error("it is too long")]
    TooLong,
    /// It is about UDP.
    #[error("it is about another protocol than TCP")]
    NotTcp,
    /// It was changed on the way.
    #[error("its checksum is wrong")]
    Checksum,
}

impl Header {
    /// Reads a header from the first octets of a connection.
    ///
    /// # Errors
    /// As soon as they cannot become a header.
    pub fn read(octets: &[u8]) -> Result<Progress, HeaderError> {
        let end = if begins(octets, TEXT) {
            end_of_line(octets)?
        } else if begins(octets, BINARY) {
            end_of_binary(octets)?
        } else {
            return Err(HeaderError::Missing);
        };
        match end.and_then(|end| octets.get(..end)) {
            Some(octets) => Ok(Progress::Whole(Self::of(octets)?, octets.len())),
            None => Ok(Progress::Incomplete),
        }
    }

    /// Parses a whole header.
    fn of(octets: &[u8]) -> Result<Self, HeaderError> {
        // Whatever else it contains does not count.
        if octets.starts_with(LOCAL) || octets.starts_with(UNKNOWN) {
            return Ok(Self::default());
        }
        let (header, length) = ProxyHeader::parse(octets, ParseConfig::default())
            .map_err(|_| HeaderError::Malformed)?;
        let fields: Result<Vec<_>, _> = header.tlvs().collect();
        let fields = fields.map_err(|_| HeaderError::Malformed)?;
        if length != octets.len() {
            return Err(HeaderError::Malformed);
        }
        if !is_intact(octets, &fields) {
            return Err(HeaderError::Checksum);
        }
        let client = match header.proxied_address() {
            Some(ProxiedAddress { protocol: Protocol::Datagram, .. }) => {
                return Err(HeaderError::NotTcp);
            }
            Some(address) => Some(canonical(address.source)),
            None => None,
        };
        let tls = header.ssl().filter(SslInfo::client_ssl);
        let tls = tls.map(|tls| version(tls.version().unwrap_or_default()));
        Ok(Self { client, tls, host: header.authority().map(str::to_owned) })
    }
}

fn begins(octets: &[u8], with: &[u8]) -> bool {
    octets.starts_with(with) || with.starts_with(octets)
}

/// Where a header of version 1 ends, if that is known.
fn end_of_line(octets: &[u8]) -> Result<Option<usize>, HeaderError> {
    let end = memchr::memchr(b'\n', octets).map(|at| at + 1);
    match end.unwrap_or(octets.len()) > LONGEST_LINE {
        true => Err(HeaderError::TooLong),
        false => Ok(end),
    }
}

/// Where a header of version 2 ends, if that is known.
fn end_of_binary(octets: &[u8]) -> Result<Option<usize>, HeaderError> {
    let Some([high, low]) = octets.get(BINARY.len() + 2..FIXED) else { return Ok(None) };
    let end = FIXED + usize::from(u16::from_be_bytes([*high, *low]));
    match end > LONGEST_BINARY {
        true => Err(HeaderError::TooLong),
        false => Ok(Some(end)),
    }
}

/// The name that other lines of the log have for a version of TLS.
fn version(name: &str) -> &'static str {
    match name {
        "TLSv1.3" => "1.3",
        "TLSv1.2" => "1.2",
        "TLSv1.1" => "1.1",
        "TLSv1" => "1.0",
        _ => "unknown",
    }
}

/// Whether the checksum is right, if there is one.
fn is_intact(octets: &[u8], fields: &[Tlv<'_>]) -> bool {
    let at = fields.iter().position(|field| matches!(field, Tlv::Crc32c(_)));
    let from_checksum = at.and_then(|at| fields.get(at..)).unwrap_or_default();
    let [Tlv::Crc32c(checksum), ..] = from_checksum else { return true };
    // The fields are at the end of the header.
    let mut tail = Vec::new();
    from_checksum.iter().for_each(|field| field.encode(&mut tail));
    let at = octets.len().saturating_sub(tail.len()) + FIELD;
    let is_of_checksum = |nth: usize| (at..at + size_of::<u32>()).contains(&nth);
    let octets = octets.iter().enumerate();
    let zeroed = octets.map(|(nth, &octet)| if is_of_checksum(nth) { 0 } else { octet });
    crc32c(zeroed) == *checksum
}

/// CRC-32C, bit by bit: a header is short, and few have a checksum.
fn crc32c(octets: impl Iterator<Item = u8>) -> u32 {
    let shifted = |crc: u32| (crc >> 1) ^ (0x82f6_3b78 * (crc & 1));
    !octets.fold(u32::MAX, |crc, octet| {
        (0..u8::BITS).fold(crc ^ u32::from(octet), |crc, _| shifted(crc))
    })
}

/// The beginning of version 1.
const TEXT: &[u8] = b"PROXY ";
/// The beginning of version 2.
const BINARY: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// A proxy that speaks for itself, in version 2.
const LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20";
/// A proxy that does not know the client, in version 1.
const UNKNOWN: &[u8] = b"PROXY UNKNOWN";
/// The part of version 2 with a fixed length.
const FIXED: usize = 16;
/// The type and the length of a field.
const FIELD: usize = 3;
/// The specification needs no longer ones.
const LONGEST_LINE: usize = 107;
/// A header with the certificate of a client takes some kilobytes.
const LONGEST_BINARY: usize = 16 << 10;

#[cfg(test)]
mod tests;
