//! Unique-ids that are made of the names of files: the source `name`.

use memchr::memmem;
use sha2::{Digest, Sha256};

use crate::protocol::UniqueId;

/// A file name without flags, up to its first `,S=` or `,W=`.
pub fn without_sizes(base: &[u8]) -> &[u8] {
    let sizes = [&b",S="[..], b",W="].into_iter().filter_map(|field| memmem::find(base, field));
    sizes.min().and_then(|at| base.get(..at)).unwrap_or(base)
}

/// Whether a unique name can be used as a unique-id (RFC 1939 §7 UIDL).
///
/// A name that looks like a hash is not: it is hashed itself, so that it never equals the hash of
/// another name.
pub fn is_unique_id(unique: &[u8]) -> bool {
    is_short_id(unique) && !looks_hashed(unique)
}

/// Whether these octets are a unique-id that RFC 1939 §7 UIDL allows.
pub fn is_short_id(octets: &[u8]) -> bool {
    octets.len() <= UniqueId::RECOMMENDED && UniqueId::is_valid(octets)
}

/// The unique-id for a name that cannot be one: SHA-256 in hexadecimal.
pub fn hash(name: &[u8]) -> [u8; HASH_LENGTH] {
    let mut text = [0; HASH_LENGTH];
    for (pair, byte) in text.chunks_exact_mut(2).zip(Sha256::digest(name)) {
        for (place, nibble) in pair.iter_mut().zip([byte >> 4, byte & 0xf]) {
            *place = if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 };
        }
    }
    text
}

/// The length of a [`hash`].
pub const HASH_LENGTH: usize = 64;

fn looks_hashed(name: &[u8]) -> bool {
    name.len() == HASH_LENGTH && name.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
