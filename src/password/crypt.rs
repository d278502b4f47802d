//! Common parts of the schemes of crypt(3).

/// The longest password that libxcrypt takes, without the NUL at its end. Without a bound the
/// sender of a password could choose how long it takes, because its length counts in every round.
const MAX_PASSWORD: usize = 511;

/// Verifies a password with `hash`, which sees at most 511 octets of it. A longer password is
/// wrong, after the same work.
pub(super) fn verify(password: &[u8], hash: impl FnOnce(&[u8]) -> bool) -> bool {
    let seen = password.get(..MAX_PASSWORD).unwrap_or(password);
    hash(seen) && seen.len() == password.len()
}

/// The fields of `$id$…`, without the id.
pub(super) fn fields(text: &str) -> impl Iterator<Item = &str> {
    text.split('$').skip(2)
}

/// All of the fields, if there are exactly `N`.
pub(super) fn exactly<'a, const N: usize>(
    mut fields: impl Iterator<Item = &'a str>,
) -> Option<[&'a str; N]> {
    let mut all = [""; N];
    for field in &mut all {
        *field = fields.next()?;
    }
    fields.next().is_none().then_some(all)
}
