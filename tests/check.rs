//! `restante check` as a person runs it: what goes where, and the exit code.

#![expect(clippy::expect_used, reason = "a test that cannot go on fails, its helpers too")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

fn check(config: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_restante"))
        .args(["check", "--config"])
        .arg(config)
        .output()
        .expect("the program runs")
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).expect("a report is UTF-8")
}

#[test]
fn all_errors_go_to_standard_error_and_the_exit_code_is_1() {
    let case = Path::new("tests/configs/bad/several-faults");
    let file = case.join("restante.toml");
    let output = check(&file);
    let expected = fs::read_to_string(case.join("expected-error")).unwrap();
    let expected = expected.replace("restante.toml", &file.display().to_string());
    let count = expected.lines().count();
    let last =
        format!("restante: {} has {count} errors; the server would not start\n", file.display());
    assert_eq!(text(output.stderr), expected + &last);
    assert_eq!(text(output.stdout), "");
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn the_summary_goes_to_standard_output_and_the_exit_code_is_0() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("mail")).unwrap();
    fs::write(dir.path().join("users"), "mrose:{PLAIN}tanstaaf\n").unwrap();
    let config = dir.path().join("restante.toml");
    fs::copy("tests/configs/good/cleartext-without-tls/restante.toml", &config).unwrap();
    let output = check(&config);
    let (stdout, stderr) = (text(output.stdout), text(output.stderr));
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    assert!(stdout.contains("127.0.0.1:1110  no TLS, passwords in the clear\n"), "{stdout}");
    assert!(stdout.contains("mail/mrose  for mrose\n"), "{stdout}");
    // A file in clear that all can read is worth a word, and nothing else is.
    let words: Vec<&str> = stderr.lines().collect();
    assert!(words.iter().all(|line| line.starts_with("warning: ")), "{stderr}");
}

#[test]
fn wrong_usage_is_exit_code_2() {
    let output = Command::new(env!("CARGO_BIN_EXE_restante"))
        .args(["check", "--confg", "x"])
        .output()
        .expect("the program runs");
    assert_eq!(output.status.code(), Some(2));
}
