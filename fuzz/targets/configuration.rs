//! Configurations: one comes of a text, or a list of what is wrong in it.

#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use restante::config::Config;

fuzz_target!(|text: &str| {
    if let Err(faults) = Config::parse(text, Path::new("/etc/restante/restante.toml")) {
        assert!(!faults.to_string().is_empty());
    }
});
