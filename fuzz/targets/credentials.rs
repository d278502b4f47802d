//! Credential files: they have users, or errors with line numbers.

#![no_main]

use std::hash::RandomState;

use libfuzzer_sys::fuzz_target;
use restante::credentials::{Diagnostic, Table};
use restante::password::WeakSchemes;

fuzz_target!(|text: &[u8]| {
    let lines = text.split(|octet| *octet == b'\n').count();
    let (table, report) = Table::read(text, WeakSchemes::Refused, &RandomState::new());
    if table.is_none() {
        assert!(!report.errors.is_empty());
        for error in &report.errors {
            match error {
                Diagnostic::Line(line, problem) => {
                    assert!((1..=lines).contains(&(*line as usize)));
                    assert!(!problem.to_string().is_empty());
                }
                Diagnostic::File(problem) => assert!(!problem.to_string().is_empty()),
            }
        }
    }
});
