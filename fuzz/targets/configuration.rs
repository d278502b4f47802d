//! Configurations: a text is a configuration, or has a list of errors.

#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use restante::config::Config;

fuzz_target!(|text: &str| {
    if let Err(faults) = Config::parse(text, Path::new("/etc/restante/restante.toml")) {
        assert!(!faults.to_string().is_empty());
    }
});
