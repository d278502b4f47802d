//! Credential files: users are read, or all that is wrong is named with its line.

#![no_main]

use libfuzzer_sys::fuzz_target;
use restante::credentials::Table;

fuzz_target!(|text: &[u8]| {
    let lines = text.split(|octet| *octet == b'\n').count();
    if let Err(faults) = Table::try_from(text) {
        assert!(!faults.0.is_empty());
        for finding in &faults.0 {
            assert!(finding.line.is_none_or(|line| (1..=lines).contains(&(line as usize))));
            assert!(!finding.what.is_empty());
        }
    }
});
