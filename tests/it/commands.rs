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
fn shells_complete_commands_and_options() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = said(&["completions", shell]);
        for word in ["set-password", "directory", "non-default"] {
            assert!(script.contains(word), "{shell}: {word}");
        }
    }
    assert_eq!(restante(&["completions", "cmd.exe"]).status.code(), Some(2));
}
