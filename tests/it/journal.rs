//! Standard error if it is the journal: each line has its priority.

use std::fs::{self, File};
use std::net::TcpListener;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use crate::support::{OFF, PROGRAM, Place};

/// The lines for the journal on standard error, and the exit code.
fn said(directory: &Path, arguments: &[&str]) -> (String, Option<i32>) {
    let path = directory.join("journal");
    let journal = File::create(&path).unwrap();
    let stream = journal.metadata().unwrap();
    let status = Command::new(PROGRAM)
        .args(arguments)
        .env("JOURNAL_STREAM", format!("{}:{}", stream.dev(), stream.ino()))
        .stderr(journal)
        .status()
        .unwrap();
    (fs::read_to_string(path).unwrap(), status.code())
}

#[test]
fn an_error_at_start_has_the_priority_of_an_error() {
    let place = Place::new();
    let directory = tempfile::tempdir().unwrap();
    let config = place.path("restante.toml");
    let serve = ["serve", "--config", config.to_str().unwrap()];
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = holder.local_addr().unwrap().to_string();
    for (listen, rest, code, arguments) in [
        ((address.as_str(), "off"), "allow-cleartext = true\n", 1, &serve[..]),
        (OFF, "surprise = 1\n[more]\nof = \"them\"\n", 1, &serve[..]),
        (OFF, "", 2, &["serve", "--surprise"][..]),
    ] {
        place.configure(&[listen], rest);
        let (text, status) = said(directory.path(), arguments);
        assert_eq!(status, Some(code), "{text}");
        assert!(!text.is_empty());
        for line in text.lines() {
            assert!(line.starts_with("<3>"), "{line}");
        }
    }
}

#[test]
fn check_tells_errors_from_warnings() {
    let place = Place::new();
    let directory = tempfile::tempdir().unwrap();
    place.configure(&[OFF], "allow-cleartext = true\n");
    let config = place.path("restante.toml");
    let check = ["check", "--offline", "--config", config.to_str().unwrap()];
    fs::remove_dir_all(place.path("mrose/Maildir")).unwrap();
    let (text, status) = said(directory.path(), &check);
    assert_eq!(status, Some(0), "{text}");
    assert!(text.lines().any(|line| line.contains("Maildir")), "{text}");
    assert!(text.lines().all(|line| line.starts_with("<4>warning: ")), "{text}");
    fs::remove_file(place.path("default.crt")).unwrap();
    let (text, status) = said(directory.path(), &check);
    assert_eq!(status, Some(1), "{text}");
    assert!(text.lines().any(|line| line.starts_with("<3>") && line.contains("default.crt")));
    assert!(text.lines().all(|line| line.starts_with("<3>") || line.starts_with("<4>")), "{text}");
    assert!(text.lines().last().unwrap().starts_with("<3>restante: "), "{text}");
}
