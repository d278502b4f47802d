//! Versions, manual pages and completions.

use std::fs;
use std::process::{Command, Output};

fn restante(words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_restante")).args(words).output().expect("the program runs")
}

fn said(words: &[&str]) -> String {
    let output = restante(words);
    assert!(output.status.success(), "{words:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_long_version_names_what_is_compiled_in() {
    let short = format!("restante {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(said(&["-V"]), short);
    let long = said(&["--version"]);
    assert!(long.starts_with(&short), "{long}");
    let line = |start: &str| {
        let line = long.lines().find_map(|line| line.strip_prefix(start)).expect("a line");
        line.split(", ").map(str::to_owned).collect::<Vec<_>>()
    };
    for (feature, built) in [
        ("ldap", cfg!(feature = "ldap")),
        ("oauth2", cfg!(feature = "oauth2")),
        ("pam", cfg!(feature = "pam")),
        ("sql", cfg!(feature = "sql")),
        ("web", cfg!(feature = "web")),
    ] {
        assert_eq!(line("features: ").contains(&feature.to_owned()), built, "{long}");
        assert_eq!(line("not built: ").contains(&feature.to_owned()), !built, "{long}");
    }
}

#[test]
fn each_command_has_a_manual_page() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    said(&["man", "--directory", path.to_str().unwrap()]);
    let page = |name: &str| fs::read_to_string(path.join(format!("{name}.1"))).expect(name);
    for (name, words) in [
        ("restante", "POP3"),
        ("restante-serve", "SIGHUP"),
        ("restante-check", "exit code"),
        ("restante-user", "restante\\-user\\-add(1)"),
        ("restante-user-add", "\\-\\-stdin"),
        ("restante-user-test", "wrong password"),
        ("restante-man", "\\-\\-directory"),
        ("restante-migrate-plan", "\\-\\-doveconf"),
        ("restante-guard-accept", "unique\\-id"),
    ] {
        let page = page(name);
        assert!(page.starts_with(".ie \\n(.g") && page.contains(words), "{name}: {page}");
        assert!(!page.contains("\\-\\-password"), "{name}");
    }
    assert_eq!(said(&["man"]), page("restante"));
    let output = restante(&["man", "--directory", "/no/such/directory"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        said.starts_with("restante: /no/such/directory/restante.1 cannot be written"),
        "{said}"
    );
}

#[test]
fn client_settings_are_printed_in_each_form() {
    let file = "tests/configs/good/everything/restante.toml";
    let settings = |of: &str, format: &str| {
        said(&["client-settings", "--config", file, of, "--format", format])
    };
    let table = settings("mrose@example.org", "table");
    let line = table.lines().find(|line| line.starts_with("POP3")).expect("a line");
    let cells: Vec<_> = line.split_whitespace().collect();
    assert_eq!(cells, ["POP3", "pop3.example.org", "2110", "STARTTLS", "mrose"]);
    let records = settings("example.org", "dns");
    assert!(records.starts_with("_pop3._tcp.example.org. IN SRV 0 1 2110 pop3.example.org.\n"));
    let json: serde_json::Value =
        serde_json::from_str(&settings("mrose@example.org", "json")).unwrap();
    assert_eq!(json["user_name"], "mrose");
    assert_eq!(json["servers"][0]["tls"], "starttls");
    assert!(settings("example.org", "autoconfig").contains("<port>2110</port>"));
    assert!(settings("example.org", "mobileconfig").contains("<integer>2110</integer>"));

    for (of, file, why) in [
        ("example.com", file, "example.com is not among the domains of [client-settings]"),
        ("b\u{fc}cher", file, "is neither a domain nor an e-mail address"),
        ("example.org", "config/restante.toml", "has no section [client-settings]; write one"),
    ] {
        let output = restante(&["client-settings", of, "--config", file]);
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(1) && said.contains(why), "{said}");
    }
}

#[test]
fn shells_complete_commands_and_options() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = said(&["completions", shell]);
        for word in ["set-password", "directory", "non-default"] {
            assert!(script.contains(word), "{shell}: {word}");
        }
    }
    assert_eq!(restante(&["completions", "cmd.exe"]).status.code(), Some(2));
}
