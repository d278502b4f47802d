//! The one type in which a password may exist.

use std::fmt;

use zeroize::{Zeroize, Zeroizing};

/// Bytes or text that must never be shown: a password, or a message that carries one.
///
/// - `Debug` prints `Secret(…)` in every build; there is no `Display`, `Clone` or `Serialize`.
/// - The memory is overwritten with zeros when the value is dropped.
/// - [`expose`](Self::expose) is the only access, so that `grep expose` finds every use.
pub struct Secret<T: Zeroize>(Zeroizing<T>);

impl<T: Zeroize> Secret<T> {
    /// Wraps a value.
    pub fn new(value: T) -> Self {
        Self(Zeroizing::new(value))
    }

    /// The value.
    pub fn expose(&self) -> &T {
        &self.0
    }
}

impl<T: Zeroize> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_never_shows_the_value() {
        assert_eq!(format!("{:?}", Secret::new(b"tanstaaf".to_vec())), "Secret(…)");
        assert_eq!(
            format!("{:#?}", Some(Secret::new("tanstaaf".to_owned()))),
            "Some(\n    Secret(…),\n)"
        );
    }
}
