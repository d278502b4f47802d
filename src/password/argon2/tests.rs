//! Argon2: published vectors, bounds, memory.

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
    // In a separate process, so that the memory of other tests does not count.
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
        // If each thread kept its memory, this would be 760 MiB.
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
        // Without v=, the hash is of the first version.
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
fn argon2_parameters_beyond_the_bounds_are_refused() {
    let digest = "$c29tZXNhbHRzb21lc2FsdA$Waw5CMYpE0kO719XekarvkwAxsjcHKMv";
    for (parameters, error) in [
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
        assert!(why.contains(error) && why.contains("set a new password"), "{why}");
    }
    for bounds in ["m=262144,t=1,p=1", "m=64,t=20,p=1", "m=1024,t=1,p=16"] {
        let verifier = parse(&format!("$argon2id$v=19${bounds}{digest}"));
        assert!(matches!(verifier, Verifier::Hash(..)), "{bounds}");
    }
}
