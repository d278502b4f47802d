//! What the schemes of crypt(3) have in common.

/// What libxcrypt takes at most, the NUL at the end not counted. With more than that the time for
/// a password would be its sender's to choose: its length counts in every round.
const MAX_PASSWORD: usize = 511;

/// Verifies a password with `hash`, which sees at most 511 octets of it; one that is longer is
/// wrong after the same work.
pub(super) fn verify(password: &[u8], hash: impl FnOnce(&[u8]) -> bool) -> bool {
    let seen = password.get(..MAX_PASSWORD).unwrap_or(password);
    hash(seen) && seen.len() == password.len()
}

/// The fields of `$id$…`, without the id.
pub(super) fn fields(text: &str) -> impl Iterator<Item = &str> {
    text.split('$').skip(2)
}
