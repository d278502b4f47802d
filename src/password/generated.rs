//! Passwords that nobody chooses: so random that a single digest protects them.

use super::{HashError, NewPassword, salt};
use crate::protocol::Secret;

/// A new random password: 24 letters in groups of four, such as `xkcd-bfqz-mnry-twae-hgsp-vuju`.
///
/// - It has 110 bits, more than anybody can try, whatever the hash.
/// - It has no letters that look like others, and no capitals, so that it is typed easily.
///
/// # Errors
/// [`HashError`] if the system gives no randomness.
pub fn generate() -> Result<NewPassword, HashError> {
    let mut number = u128::from_be_bytes(salt::new()?);
    let mut password = Vec::with_capacity(GROUPS * (GROUP + 1));
    for nth in 0..GROUPS * GROUP {
        if nth > 0 && nth % GROUP == 0 {
            password.push(b'-');
        }
        // 24^24 is less than 2^128 by a factor of 2^17, so no letter is noticeably more frequent.
        let letter = usize::try_from(number % LETTERS.len() as u128).unwrap_or_default();
        password.extend(LETTERS.get(letter));
        number /= LETTERS.len() as u128;
    }
    Ok(NewPassword::from_ours(Secret::new(password)))
}

/// Accepts a password that another program has made, if it can be a random one of enough length.
///
/// # Errors
/// [`GivenPasswordError`]: it is shorter, or too long to be compared without effort.
pub fn accept_given(password: NewPassword) -> Result<NewPassword, GivenPasswordError> {
    match password.expose().len() {
        octets if octets < LEAST_GIVEN => Err(GivenPasswordError::TooShort),
        octets if octets > MOST_OCTETS => Err(GivenPasswordError::TooLong),
        _ => Ok(password),
    }
}

/// Why a password is not accepted in the place of a random one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GivenPasswordError {
    /// It may be guessed.
    #[error(
        "the password has less than {LEAST_GIVEN} characters; give a random one, or let restante \
         make one: leave --stdin out"
    )]
    TooShort,
    /// It would take time to compare.
    #[error("the password is longer than {MOST_OCTETS} octets; shorten it")]
    TooLong,
}

const LETTERS: &[u8; 24] = b"abcdefghijkmnpqrstuvwxyz";
const GROUPS: usize = 6;
const GROUP: usize = 4;

/// In octets. A random password in base64 of this length has 120 bits, in hex 80.
const LEAST_GIVEN: usize = 20;

/// The longest password that is compared with a single digest for its own sake.
pub(crate) const MOST_OCTETS: usize = 128;

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::password::tests::parse;
    use crate::password::{NewScheme, Verifier};

    #[test]
    fn a_random_password_is_typed_easily_and_no_two_are_the_same() {
        let mut all = HashSet::new();
        let mut letters = HashSet::new();
        for _ in 0..100 {
            let password = generate().unwrap();
            let text = str::from_utf8(password.expose()).unwrap().to_owned();
            let groups: Vec<_> = text.split('-').collect();
            assert!(groups.len() == 6 && groups.iter().all(|group| group.len() == 4), "{text}");
            letters.extend(text.bytes().filter(|letter| *letter != b'-'));
            assert!(all.insert(text));
        }
        assert_eq!(letters, LETTERS.iter().copied().collect());
    }

    #[test]
    fn its_hash_is_a_salted_digest_and_accepts_no_other_password() {
        let password = generate().unwrap();
        let field = || NewScheme::SaltedSha256.field(&password).unwrap();
        let (one, other) = (field(), field());
        assert_ne!(one.expose(), other.expose());
        let verifier = parse(one.expose());
        assert!(verifier.is_salted_digest() && one.expose().starts_with("{SSHA256}"));
        assert_eq!(verifier.verify(password.expose()), Ok(true));
        assert_eq!(verifier.verify(&password.expose()[1..]), Ok(false));
        let nothing = Verifier::salted_digest_of_nothing();
        assert_eq!(nothing.verify(password.expose()), Ok(false));
        assert_eq!(nothing.cost(), verifier.cost());
    }

    #[test]
    fn a_given_password_that_may_be_guessed_is_refused() {
        for (octets, accepted) in [(1, false), (19, false), (20, true), (128, true), (129, false)] {
            let given = NewPassword::try_from(Secret::new(vec![b'x'; octets])).unwrap();
            assert_eq!(accept_given(given).is_ok(), accepted, "{octets}");
        }
    }
}
