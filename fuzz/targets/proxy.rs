//! Headers of the PROXY protocol: what is read does not depend on how the octets arrive, and nothing
//! that follows the header is part of it.

#![no_main]

use libfuzzer_sys::fuzz_target;
use restante::server::proxy::{Header, Progress};

fuzz_target!(|input: (usize, Vec<u8>)| {
    let (given, octets) = input;
    let given = given % (octets.len() + 1);
    let outcome = Header::read(&octets);
    match Header::read(&octets[..given]) {
        Ok(Progress::Incomplete) => {}
        earlier => assert_eq!(earlier, outcome),
    }
    if let Ok(Progress::Whole(header, length)) = outcome {
        assert!(length <= octets.len() && length <= 16 * 1024);
        let alone = Header::read(&octets[..length]);
        assert_eq!(alone, Ok(Progress::Whole(header, length)));
    }
});
