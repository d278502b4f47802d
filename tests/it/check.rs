//! `restante check` as a person runs it: its output and exit code.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::support::eventually;

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
    let shown = file.display().to_string();
    let (stdout, stderr) = (text(output.stdout), text(output.stderr));
    let expected = fs::read_to_string(case.join("expected-error")).unwrap();
    for line in expected.lines() {
        let line = format!("error: {}\n", line.replace("restante.toml", &shown));
        assert!(stderr.contains(&line), "{line} is not in {stderr}");
    }
    // Errors in the file do not hide errors outside of it.
    assert!(stderr.contains(&format!("error: {shown}:13:15: tls.certificate: ")), "{stderr}");
    let count = stderr.lines().filter(|line| line.starts_with("error: ")).count();
    let last = format!("restante: {shown} has {count} errors; the server would not start\n");
    assert!(count > expected.lines().count() && stderr.ends_with(&last), "{stderr}");
    assert_eq!((stdout, output.status.code()), (String::new(), Some(1)));
}

/// A directory with a usable configuration that has one warning, and the path of the configuration.
fn usable() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("mail")).unwrap();
    fs::write(dir.path().join("users"), "mrose:{PLAIN}tanstaaf\n").unwrap();
    fs::set_permissions(dir.path().join("users"), fs::Permissions::from_mode(0o600)).unwrap();
    let good = fs::read_to_string("tests/configs/good/cleartext-without-tls/restante.toml");
    let config = dir.path().join("restante.toml");
    fs::write(&config, good.unwrap().replace("127.0.0.1:1110", "127.0.0.1:0")).unwrap();
    (dir, config)
}

fn check_with(config: &Path, options: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_restante"))
        .args(["check", "--config"])
        .arg(config)
        .args(options)
        .output()
        .expect("the program runs")
}

/// Sections of the optional kinds, each with the name of its feature.
const FEATURES: [(&str, &str, bool); 4] = [
    (
        "ldap",
        "url = \"ldap://localhost\"\nbase = \"o=a\"\nfilter = \"(a={user})\"",
        cfg!(feature = "ldap"),
    ),
    (
        "oauth2",
        "issuer = \"https://id.example.org\"\naudience = \"mail\"",
        cfg!(feature = "oauth2"),
    ),
    ("pam", "service = \"pop3\"", cfg!(feature = "pam")),
    ("sql", "url = \"sqlite:///a\"\nquery = \"SELECT {user}\"", cfg!(feature = "sql")),
];

#[test]
fn a_kind_that_is_not_built_is_told_with_its_feature() {
    for (feature, keys, _) in FEATURES.into_iter().filter(|(_, _, built)| !built) {
        let (_dir, config) = usable();
        let run_as = if nix::unistd::geteuid().is_root() { "run-as = \"daemon\"\n" } else { "" };
        let usable = fs::read_to_string(&config).unwrap();
        let (usable, _) = usable.split_once("[[credentials]]").unwrap();
        let store = format!("[[credentials]]\nkind = \"{feature}\"\n{keys}\n");
        fs::write(&config, format!("{run_as}{usable}{store}")).unwrap();
        let serve = Command::new(env!("CARGO_BIN_EXE_restante"))
            .args(["serve", "--config"])
            .arg(&config)
            .output()
            .expect("the program runs");
        for output in [check(&config), serve] {
            let stderr = text(output.stderr);
            let told = format!("this restante was built without {feature}; ");
            let way_out = format!("--features {feature} ");
            assert!(stderr.contains(&told) && stderr.contains(&way_out), "{stderr}");
            assert_eq!(output.status.code(), Some(1), "{stderr}");
        }
    }
}

#[test]
fn a_wrong_format_of_unique_ids_is_told_with_its_place() {
    let (_dir, config) = usable();
    let run_as = if nix::unistd::geteuid().is_root() { "run-as = \"daemon\"\n" } else { "" };
    let usable = fs::read_to_string(&config).unwrap();
    let wrong = "[maildir]\ndovecot.format = \"%08Xk\"\nuidl = [\"dovecot\"]";
    let wrong = run_as.to_owned() + &usable.replace("[maildir]", wrong);
    fs::write(&config, &wrong).unwrap();
    for (path, mode) in [("", 0o755), ("users", 0o644)] {
        let path = config.parent().unwrap().join(path);
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }
    let serve = Command::new(env!("CARGO_BIN_EXE_restante"))
        .args(["serve", "--config"])
        .arg(&config)
        .output()
        .expect("the program runs");
    let line = 1 + wrong.lines().position(|line| line.starts_with("dovecot.format")).unwrap();
    let place = format!("{}:{line}:18", config.display());
    let told = format!("{place}: maildir.dovecot.format: there is no variable %k; ");
    for output in [check(&config), serve] {
        let stderr = text(output.stderr);
        assert!(stderr.contains(&told), "{told} is not in {stderr}");
        assert_eq!(output.status.code(), Some(1), "{stderr}");
    }
}

#[test]
fn programs_get_an_object() {
    let (_dir, config) = usable();
    let output = check_with(&config, &["--json"]);
    assert_eq!(text(output.stderr), "");
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["file"], config.to_str().unwrap());
    assert_eq!((&report["errors"], &report["warnings"]), (&0.into(), &1.into()), "{report}");
    let finding = &report["findings"][0];
    assert_eq!(finding["severity"], "warning");
    assert_eq!(finding["key"], "maildir.path");
    assert_eq!(finding["file"], config.to_str().unwrap());
    assert!(finding["line"].as_u64() > Some(1) && finding["column"] == 8, "{report}");
    assert!(finding["message"].as_str().unwrap().starts_with("there is no Maildir yet"));
    assert_eq!(report["summary"][0]["about"], "greets as");
    let bad = Path::new("tests/configs/bad/several-faults/restante.toml");
    let output = check_with(bad, &["--json"]);
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&report["starts"], output.status.code()), (&false.into(), Some(1)));
    assert_eq!(report["findings"][0]["severity"], "error");
    assert_eq!(check_with(bad, &["--json", "--quiet"]).status.code(), Some(2));
}

#[test]
fn a_quiet_check_says_errors_alone() {
    let (_dir, config) = usable();
    let output = check_with(&config, &["--quiet"]);
    assert_eq!((text(output.stdout), text(output.stderr)), (String::new(), String::new()));
    let bad = Path::new("tests/configs/bad/several-faults/restante.toml");
    let stderr = text(check_with(bad, &["--quiet"]).stderr);
    assert!(stderr.starts_with("error: ") && !stderr.contains("warning: "), "{stderr}");
}

#[test]
fn colours_are_for_terminals() {
    let (_dir, config) = usable();
    let check = |variables: &[(&str, &str)]| {
        let output = Command::new(env!("CARGO_BIN_EXE_restante"))
            .args(["check", "--config"])
            .arg(&config)
            .env_remove("NO_COLOR")
            .envs(variables.iter().copied())
            .output();
        text(output.expect("the program runs").stderr)
    };
    assert!(check(&[]).starts_with("warning: "));
    assert!(check(&[("CLICOLOR_FORCE", "1")]).starts_with("\u{1b}[1m\u{1b}[33mwarning:\u{1b}[0m "));
    assert!(check(&[("NO_COLOR", "1"), ("CLICOLOR_FORCE", "1")]).starts_with("warning: "));
}

/// As in a unit whose `ReadWritePaths=` lacks the mail: the permission bits do not show that.
#[test]
fn mail_on_a_mount_that_is_read_only_cannot_be_removed() {
    let (dir, config) = usable();
    for folder in ["cur", "new", "tmp"] {
        fs::create_dir_all(dir.path().join("mail/mrose").join(folder)).unwrap();
    }
    let script = "mount --bind \"$0\" \"$0\" && mount -o remount,bind,ro \"$0\" || exit 77\n\
                  exec \"$1\" check --config \"$2\"";
    let mail = dir.path().join("mail");
    let output = Command::new("unshare")
        .args(["--map-root-user", "--mount", "sh", "-c", script])
        .arg(&mail)
        .args([Path::new(env!("CARGO_BIN_EXE_restante")), &config])
        .output();
    let Ok(output) = output else { return }; // There is no unshare here.
    let stderr = text(output.stderr);
    if !stderr.contains("restante.toml") {
        return; // No namespaces are allowed here.
    }
    let words = format!("messages cannot be removed: {} is read-only", mail.display());
    let advice = format!("write ReadWritePaths={} into the unit", mail.display());
    assert!(stderr.contains(&words) && stderr.contains(&advice), "{stderr}");
    assert_eq!((stderr.lines().count(), output.status.code()), (1, Some(0)), "{stderr}");
    let writable = text(check(&config).stderr);
    assert_eq!(writable, "");
}

#[test]
fn a_server_that_runs_does_not_make_its_own_port_a_fault() {
    let (dir, config) = usable();
    // For the check, the port belongs to another program. No other test uses this address.
    let other = TcpListener::bind("127.22.1.1:0").unwrap();
    let address = other.local_addr().unwrap().to_string();
    let good = fs::read_to_string(&config).unwrap();
    fs::write(&config, good.replace("127.0.0.1:0", &address)).unwrap();
    let output = check(&config);
    let stderr = text(output.stderr);
    let pid = std::process::id();
    assert!(stderr.contains(&format!(" (pid {pid}) has this port\n")), "{stderr}");
    assert_eq!(output.status.code(), Some(1));
    drop(other);
    // A child of another test may hold the socket until it calls exec.
    eventually("the port is free", || TcpListener::bind(&address).is_ok());
    let text_of = |output: Output| (text(output.stdout), text(output.stderr));
    assert!(text_of(check(&config)).0.contains("passwords in cleartext\n"));
    // The demo is the same program, and needs no `run-as`.
    let mut demo = Command::new(env!("CARGO_BIN_EXE_restante"))
        .args(["demo", "--pop3s", "127.0.0.1:0", "--pop3", &address])
        .env("TMPDIR", dir.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program runs");
    let mut lines = BufReader::new(demo.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains("Restante serves")));
    let (stdout, stderr) = text_of(check(&config));
    demo.kill().unwrap();
    let pid = demo.id();
    demo.wait().unwrap();
    let note = format!("passwords in cleartext; in use by restante (pid {pid})\n");
    assert!(stdout.contains(&note), "{stdout}{stderr}");
}

#[test]
fn the_summary_goes_to_standard_output_and_the_exit_code_is_0() {
    let (_dir, config) = usable();
    let output = check(&config);
    let (stdout, stderr) = (text(output.stdout), text(output.stderr));
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    assert!(stdout.contains("127.0.0.1:0  no TLS, passwords in cleartext\n"), "{stdout}");
    assert!(stdout.contains("mail/mrose  for mrose\n"), "{stdout}");
    // The only warning is about a user without a Maildir.
    let words: Vec<&str> = stderr.lines().collect();
    assert!(words.iter().all(|line| line.starts_with("warning: ")), "{stderr}");
}

#[test]
fn stores_are_asked_as_the_user_of_run_as() {
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let (text_file, program) = (dir.path().join("text"), dir.path().join("whoami"));
    fs::write(&text_file, "#!/bin/sh\nid -un >&2; exit 111\n").unwrap();
    // A child of another test may hold open a file that this process writes; then it cannot be run.
    let install = Command::new("install").args(["-m", "755"]).args([&text_file, &program]).status();
    assert!(install.unwrap().success());
    let ours = Command::new("id").arg("-un").output().expect("the program runs").stdout;
    // Only root can change its user.
    let name = match text(ours).trim() {
        "root" => "daemon".to_owned(),
        other => other.to_owned(),
    };
    let good =
        fs::read_to_string("tests/configs/good/cleartext-without-tls/restante.toml").unwrap();
    let good = good.replace("127.0.0.1:1110", "127.0.0.1:0");
    fs::create_dir(dir.path().join("mail")).unwrap();
    let store = format!("[[credentials]]\nkind = \"checkpassword\"\ncommand = [{program:?}]\n");
    let config = dir.path().join("restante.toml");
    fs::write(dir.path().join("users"), "").unwrap();
    fs::write(&config, format!("run-as = {name:?}\n{good}{store}")).unwrap();
    let output = check(&config);
    let stderr = text(output.stderr);
    assert!(stderr.contains(&format!("it cannot tell now (111): {name}")), "{stderr}");
    assert!(stderr.ends_with("the server would start, but fail logins that need the store\n"));
    assert_eq!(output.status.code(), Some(1));
}

/// The output of `restante config` with these options.
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
    // Paths are absolute: the copy refers to the same files.
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
