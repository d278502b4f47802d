//! Randomness of the operating system.

use rustix::io::Errno;
use rustix::rand::{GetRandomFlags, getrandom};

/// Why the operating system gave no random octets.
#[derive(Debug, thiserror::Error)]
pub enum NoRandomness {
    /// It gave fewer octets than were asked for.
    #[error("the system has too little randomness")]
    Short,
    /// The system call failed.
    #[error("the system has no randomness: {0}")]
    System(#[from] Errno),
}

/// Random octets.
pub(super) fn octets<const N: usize>() -> Result<[u8; N], NoRandomness> {
    let mut octets = [0; N];
    // The system gives up to 256 octets at once or none.
    match getrandom(&mut octets, GetRandomFlags::empty())? {
        count if count == N => Ok(octets),
        _ => Err(NoRandomness::Short),
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
