//! `restante check` as a person runs it: what goes where, and the exit code.

#![expect(clippy::expect_used, reason = "a test that cannot go on fails, its helpers too")]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
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
fn stores_are_asked_as_the_user_of_run_as() {
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let program = dir.path().join("whoami");
    fs::write(&program, "#!/bin/sh\nid -un >&2; exit 111\n").unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let ours = Command::new("id").arg("-un").output().expect("the program runs").stdout;
    // Only root can become somebody else.
    let name = match text(ours).trim() {
        "root" => "daemon".to_owned(),
        other => other.to_owned(),
    };
    let good =
        fs::read_to_string("tests/configs/good/cleartext-without-tls/restante.toml").unwrap();
    let store = format!("[[credentials]]\nkind = \"checkpassword\"\ncommand = [{program:?}]\n");
    let config = dir.path().join("restante.toml");
    fs::write(dir.path().join("users"), "").unwrap();
    fs::write(&config, format!("run-as = {name:?}\n{good}{store}")).unwrap();
    let output = check(&config);
    let stderr = text(output.stderr);
    assert!(stderr.contains(&format!("it cannot tell now (111): {name}")), "{stderr}");
    assert!(stderr.ends_with("the server would start, and refuse log-ins that need the store\n"));
    assert_eq!(output.status.code(), Some(1));
}

/// What `restante config` prints, with these options.
fn printed(config: &Path, options: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_restante"))
        .args(["config", "--config"])
        .arg(config)
        .args(options)
        .output()
        .expect("the program runs")
}

#[test]
fn the_configuration_in_force_is_printed_and_can_be_read_back() {
    let dir = tempfile::tempdir().unwrap();
    let example = Path::new("tests/configs/good/cleartext-without-tls/restante.toml");
    let whole = text(printed(example, &[]).stdout);
    assert!(whole.contains("\n[timeouts]\nidle = \"10m\"\n"), "{whole}");
    let copy = dir.path().join("copy.toml");
    fs::write(&copy, &whole).unwrap();
    // Paths are whole: the copy means the same files.
    assert_eq!(text(printed(&copy, &[]).stdout), whole);
    let shorter = text(printed(example, &["--non-default"]).stdout);
    assert!(shorter.contains("[maildir]\npath = ") && !shorter.contains("idle"), "{shorter}");
    let json: serde_json::Value =
        serde_json::from_slice(&printed(example, &["--json"]).stdout).unwrap();
    assert_eq!(json["timeouts"]["idle"], "10m", "{json}");
    assert_eq!(json["listen"][0]["tls"], "off", "{json}");
    let faulty = printed(Path::new("tests/configs/bad/several-faults/restante.toml"), &[]);
    assert_eq!((faulty.status.code(), text(faulty.stdout)), (Some(1), String::new()));
    assert!(text(faulty.stderr).contains("is not a host name"));
}

#[test]
fn wrong_usage_is_exit_code_2() {
    let output = Command::new(env!("CARGO_BIN_EXE_restante"))
        .args(["check", "--confg", "x"])
        .output()
        .expect("the program runs");
    assert_eq!(output.status.code(), Some(2));
}
