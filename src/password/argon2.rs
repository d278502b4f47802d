//! Argon2 hashes in the PHC string form, `$argon2id$v=19$m=19456,t=2,p=1$salt$digest` (RFC 9106).
//!
//! What the string asks for is capped before anything is allocated: a hash that was damaged, or
//! inserted by an attacker, cannot make the server use gigabytes or minutes.
//!
//! Not by the crate's `PasswordVerifier`: it allocates the memory itself, see [`memory`].

use ::argon2::password_hash::PasswordHasher;
use ::argon2::password_hash::phc::{PasswordHash, Salt};
use ::argon2::{Algorithm, Argon2, Block, Params, Version};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::Cost;
use super::new::{self, Unhashed};
use crate::protocol::Secret;

/// An argon2 hash whose parameters are within bounds.
///
/// - At most 256 MiB (`m=262144`), 20 passes (`t=20`), 16 lanes (`p=16`).
/// - Salt of 8 to 48 octets, digest of 10 to 64.
#[derive(Debug)]
pub struct Argon2Hash {
    algorithm: Algorithm,
    version: Version,
    /// In KiB.
    memory: u32,
    passes: u32,
    lanes: u32,
    salt: Box<[u8]>,
    digest: Secret<Box<[u8]>>,
}

/// The PHC string of a password, with a salt of its own.
pub(super) fn hash(password: &[u8]) -> Result<Secret<String>, Unhashed> {
    let salt = Salt::new(&new::salt()?).map_err(|error| Unhashed(error.to_string()))?;
    recommended()
        .and_then(|argon2| {
            argon2.hash_password_with_salt(password, &salt).map_err(|error| error.to_string())
        })
        .map(|hash| Secret::new(hash.to_string()))
        .map_err(Unhashed)
}

impl Argon2Hash {
    const MAX_MEMORY_KIB: u32 = 256 * 1024;
    const MAX_PASSES: u32 = 20;
    const MAX_LANES: u32 = 16;

    /// Reads a PHC string that begins with `$argon2`. The reason for refusing one is for people
    /// and shows nothing of the salt or the digest.
    pub(super) fn parse(phc: &str) -> Result<Self, String> {
        let hash = PasswordHash::new(phc)
            .map_err(|error| format!("its argon2 hash is damaged ({error})"))?;
        let algorithm = Algorithm::new(hash.algorithm)
            .map_err(|_| "its hash is of no known kind of argon2".to_owned())?;
        let version = match hash.version {
            // The strings of the first version of argon2 did not yet carry the field.
            None => Version::V0x10,
            Some(version) => Version::try_from(version)
                .map_err(|_| format!("its hash is of an unknown argon2 version, v={version}"))?,
        };
        let cost = |name: &str| hash.params.get_decimal(name);
        let (Some(memory), Some(passes), Some(lanes), 3) =
            (cost("m"), cost("t"), cost("p"), hash.params.iter().count())
        else {
            return Err(
                "the parameters of its argon2 hash are not m, t and p with a number each".into()
            );
        };
        for (name, value, most) in [
            ("m", memory, Self::MAX_MEMORY_KIB),
            ("t", passes, Self::MAX_PASSES),
            ("p", lanes, Self::MAX_LANES),
        ] {
            if value > most {
                return Err(format!(
                    "its argon2 hash asks for {name}={value}, more than {name}={most}"
                ));
            }
        }
        let (Some(salt), Some(digest)) = (hash.salt, hash.hash) else {
            return Err("its argon2 hash has no salt or no digest".into());
        };
        let hash = Self {
            algorithm,
            version,
            memory,
            passes,
            lanes,
            salt: (*salt).into(),
            digest: Secret::new(digest.as_bytes().into()),
        };
        hash.params()
            .map_err(|error| format!("its argon2 parameters do not fit together ({error})"))?;
        Ok(hash)
    }

    /// A hash with the parameters of [`hash`], to spend time on when there is no other.
    pub(super) fn costly() -> Self {
        Self {
            algorithm: Algorithm::Argon2id,
            version: Version::V0x13,
            memory: RECOMMENDED_MEMORY_KIB,
            passes: RECOMMENDED_PASSES,
            lanes: RECOMMENDED_LANES,
            salt: [0; Salt::RECOMMENDED_LENGTH].into(),
            digest: Secret::new([0; Params::DEFAULT_OUTPUT_LEN].into()),
        }
    }

    /// Whether this is the hash of `password`; compares in constant time.
    pub(super) fn verify(&self, password: &[u8]) -> Result<bool, String> {
        let argon2 = |error: argon2::Error| format!("argon2: {error}");
        let params = self.params().map_err(argon2)?;
        let mut memory = memory(params.block_count())?;
        let mut digest = Zeroizing::new(vec![0; self.digest.expose().len()]);
        Argon2::new(self.algorithm, self.version, params)
            .hash_password_into_with_memory(password, &self.salt, &mut digest, &mut memory)
            .map_err(argon2)?;
        Ok(digest.ct_eq(self.digest.expose()).into())
    }

    pub(super) fn cost(&self) -> Cost {
        Cost::Argon2 { memory: self.memory, passes: self.passes, lanes: self.lanes }
    }

    /// Whether it is of another kind than [`hash`] makes, or takes less memory or time.
    pub(super) fn is_weaker_than_new(&self) -> bool {
        self.algorithm != Algorithm::Argon2id
            || self.version != Version::V0x13
            || self.memory < RECOMMENDED_MEMORY_KIB
            || self.passes < RECOMMENDED_PASSES
    }

    fn params(&self) -> Result<Params, argon2::Error> {
        Params::new(self.memory, self.passes, self.lanes, Some(self.digest.expose().len()))
    }
}

/// Memory for one hash.
///
/// More than 32 MiB are reserved, though only `blocks` are used: memory of that size goes back to
/// the system as soon as it is freed. Of smaller pieces glibc makes a heap in each thread, and
/// keeps it; 600 logins at 19 MiB, two at a time, left 7 GiB behind.
fn memory(blocks: usize) -> Result<Vec<Block>, String> {
    const RETURNED_AT_ONCE: usize = 33 * 1024 * 1024 / Block::SIZE;
    let mut memory = Vec::new();
    memory
        .try_reserve_exact(blocks.max(RETURNED_AT_ONCE))
        .map_err(|error| format!("no memory to verify a password with: {error}"))?;
    memory.resize(blocks, Block::default());
    Ok(memory)
}

/// What new passwords are hashed with.
fn recommended() -> Result<Argon2<'static>, String> {
    let params = Params::new(RECOMMENDED_MEMORY_KIB, RECOMMENDED_PASSES, RECOMMENDED_LANES, None)
        .map_err(|error| error.to_string())?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

// OWASP's recommendation with the least memory that is not a compromise (Password Storage Cheat
// Sheet).
const RECOMMENDED_MEMORY_KIB: u32 = 19 * 1024;
const RECOMMENDED_PASSES: u32 = 2;
const RECOMMENDED_LANES: u32 = 1;

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::sync::{Barrier, mpsc};
    use std::{env, fs};

    use super::*;
    use crate::password::Verifier;
    use crate::password::tests::{parse, reason};

    fn resident_kib() -> u64 {
        let status = fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_ascii_whitespace().nth(1).unwrap().parse().unwrap()
    }

    #[test]
    fn memory_goes_back_to_the_system_whichever_thread_used_it() {
        // In a process of its own: what other tests use meanwhile must not count.
        const ALONE: &str = "RESTANTE_TEST_ALONE";
        if env::var_os(ALONE).is_none() {
            let name = "memory_goes_back_to_the_system_whichever_thread_used_it";
            let child = Command::new(env::current_exe().unwrap())
                .args([&format!("password::argon2::tests::{name}"), "--exact"])
                .env(ALONE, "1")
                .output()
                .unwrap();
            let said = String::from_utf8_lossy(&child.stdout);
            assert!(child.status.success() && said.contains("1 passed"), "{said}");
            return;
        }
        let threads = 40;
        let hash = Argon2Hash { passes: 1, ..Argon2Hash::costly() };
        let before = resident_kib();
        let (verified, outcomes) = mpsc::channel();
        let end = Barrier::new(threads + 1);
        std::thread::scope(|scope| {
            let mut right = 0;
            for _ in 0..threads {
                let (verified, hash, end) = (verified.clone(), &hash, &end);
                scope.spawn(move || {
                    verified.send(hash.verify(b"tanstaaf")).unwrap();
                    // It lives on, as the threads of the blocking pool do.
                    end.wait();
                });
                // One at a time: never more than the memory of one hash is in use.
                right += u32::from(outcomes.recv().unwrap().unwrap());
            }
            let kept = resident_kib().saturating_sub(before);
            end.wait();
            assert_eq!(right, 0);
            // Kept by each thread it would be 760 MiB.
            assert!(kept < 190 * 1024, "{kept} KiB");
        });
    }

    /// The hashes were made with argon2-cffi, which wraps the reference implementation.
    #[test]
    fn argon2_hashes_of_another_implementation() {
        for (stored, password) in [
            (
                "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA\
                 $Tg0u8KMA3i5wHtgz+LAFb6ClXKGtCbCnIkiBviPwQqw",
                &b"tanstaaf"[..],
            ),
            (
                "$argon2i$v=19$m=64,t=1,p=1$c29tZXNhbHRzb21lc2FsdA\
                 $TGTm4KsFZQIATNn3c+0OJuAU//WBzX+WiWsv1QgEn8Q",
                b"tanstaaf",
            ),
            (
                "$argon2d$v=19$m=64,t=1,p=2$c29tZXNhbHRzb21lc2FsdA\
                 $RY2/pXQNgmYvrSgkiDUJYZjm23GE1ndKEk0bCMpaPvc",
                b"tanstaaf",
            ),
            (
                "$argon2id$v=19$m=64,t=3,p=4$c29tZXNhbHRzb21lc2FsdA\
                 $PEciMSZVBDJn9YudNYyziKB5CUo0CL+RQa1j2iQFCDI",
                b"tanstaaf",
            ),
            (
                "$argon2i$v=16$m=64,t=2,p=1$c29tZXNhbHRzb21lc2FsdA\
                 $OgMzwuWJFkqtO7rumDyFVjgFf9/OV2VXdM9Meja7fDM",
                b"tanstaaf",
            ),
            // Without v= it is of the first version.
            (
                "$argon2i$m=64,t=2,p=1$c29tZXNhbHRzb21lc2FsdA\
                 $OgMzwuWJFkqtO7rumDyFVjgFf9/OV2VXdM9Meja7fDM",
                b"tanstaaf",
            ),
            (
                "$argon2id$v=19$m=64,t=1,p=1$c29tZXNhbHRzb21lc2FsdA\
                 $Waw5CMYpE0kO719XekarvkwAxsjcHKMv",
                "pässwörd mit Leer ".as_bytes(),
            ),
            (
                "$argon2id$v=19$m=64,t=1,p=1$c29tZXNhbHQ\
                 $p5RiyxfTqgYXlDiMk9UBuHsQiDuWxbFEQCqc94wK/NnXt1d56O85xFU1TKBKga5rXlhzVr0I+fKR89AA3aZtjA",
                b"\x80\xff\xfe",
            ),
        ] {
            for prefix in ["", "{ARGON2ID}", "{argon2i}", "{Argon2d}"] {
                let verifier = parse(&format!("{prefix}{stored}"));
                assert_eq!(verifier.verify(password), Ok(true), "{prefix}{stored}");
                let mut other = password.to_vec();
                other[0] ^= 1;
                assert_eq!(verifier.verify(&other), Ok(false), "{prefix}{stored}");
            }
        }
    }

    #[test]
    fn argon2_parameters_beyond_the_bounds_are_refused_unread() {
        let digest = "$c29tZXNhbHRzb21lc2FsdA$Waw5CMYpE0kO719XekarvkwAxsjcHKMv";
        for (parameters, fault) in [
            ("m=262145,t=1,p=1", "m=262145"),
            ("m=4294967295,t=1,p=1", "m=4294967295"),
            ("m=4294967296,t=1,p=1", "parameters"),
            ("m=64,t=21,p=1", "t=21"),
            ("m=64,t=4294967295,p=1", "t=4294967295"),
            ("m=1024,t=1,p=17", "p=17"),
            ("m=64,t=1,p=16777215", "p=16777215"),
            ("m=64,t=0,p=1", "parameters"),
            ("m=64,t=1,p=0", "parameters"),
            ("m=7,t=1,p=1", "parameters"),
            ("m=64,t=1,p=16", "parameters"),
            ("m=64,t=1", "parameters"),
            ("t=1,p=1", "parameters"),
            ("m=64,t=1,p=1,keyid=AAAA", "parameters"),
            ("m=-1,t=1,p=1", "parameters"),
            ("m=64,m=64,t=1,p=1", "parameters"),
        ] {
            let why = reason(&format!("$argon2id$v=19${parameters}{digest}"));
            assert!(why.contains(fault) && why.contains("set a new password"), "{why}");
        }
        for bounds in ["m=262144,t=1,p=1", "m=64,t=20,p=1", "m=1024,t=1,p=16"] {
            let verifier = parse(&format!("$argon2id$v=19${bounds}{digest}"));
            assert!(matches!(verifier, Verifier::Hash(..)), "{bounds}");
        }
    }
}
