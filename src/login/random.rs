//! Randomness of the operating system.

use rustix::rand::{GetRandomFlags, getrandom};

/// Octets that nobody can guess.
///
/// # Errors
/// Why there are none, in words.
pub(super) fn octets<const N: usize>() -> Result<[u8; N], String> {
    let mut octets = [0; N];
    match getrandom(&mut octets, GetRandomFlags::empty()) {
        // The system gives up to 256 octets at once or none.
        Ok(count) if count == N => Ok(octets),
        Ok(_) => Err("the system has too little randomness".into()),
        Err(error) => Err(format!("the system has no randomness: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_are_alike() {
        let (one, other) = (octets::<32>().unwrap(), octets::<32>().unwrap());
        assert_ne!(one, other);
        assert_ne!(one, [0; 32]);
    }
}
