//! Plays every dialogue in `tests/transcripts/` against a session in memory, with the real states, a
//! real Maildir and a real credential file. The clock is paused and advances only as the script says.
//!
//! `BLESS=1 cargo test --test it transcripts` rewrites the `S:` lines to the output of the server;
//! review the difference. `TRANSCRIPT=part-of-a-path` plays the files with that in their path.
//! Transcripts with a provider of tokens need the feature `oauth2`.

mod log;
mod player;
mod script;

use std::path::{Path, PathBuf};

#[test]
fn every_transcript_is_true() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts");
    let mut files = Vec::new();
    collect(&directory, &mut files);
    files.sort();
    let wanted = std::env::var("TRANSCRIPT").unwrap_or_default();
    files.retain(|file| file.to_string_lossy().contains(&wanted));
    assert!(!files.is_empty(), "no transcript has {wanted:?} in its path");

    let bless = std::env::var_os("BLESS").is_some();
    let log = log::capture();
    let mut untrue = Vec::new();
    for file in &files {
        let text = std::fs::read_to_string(file).unwrap();
        if text.contains("\nprovider ") && !cfg!(feature = "oauth2") {
            continue;
        }
        let name = file.strip_prefix(&directory).unwrap().display().to_string();
        match script::parse(&text).and_then(|script| player::perform(&script, &log, bless)) {
            Ok(blessed) if bless && blessed != text => std::fs::write(file, blessed).unwrap(),
            Ok(_) => {}
            Err(fault) => untrue.push(format!("tests/transcripts/{name}:{fault}")),
        }
    }
    assert!(untrue.is_empty(), "{} of {}:\n{}", untrue.len(), files.len(), untrue.join("\n"));
}

fn collect(directory: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "txt") {
            files.push(path);
        }
    }
}
