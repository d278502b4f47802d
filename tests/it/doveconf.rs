//! `restante migrate plan --doveconf` with the output of Dovecot 2.3 and 2.4.
//!
//! `BLESS=1 cargo test --test it doveconf` rewrites the expected sections; review the difference.

use std::env;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use restante::config::{Config, Duplicates, Maildir, UidlSource};

/// The output of `doveconf -n` in a file of the fixtures.
fn fixture(name: &str) -> PathBuf {
    format!("tests/fixtures/doveconf/{name}.txt").into()
}

/// The sections for it.
fn expected(name: &str) -> PathBuf {
    format!("tests/fixtures/doveconf/{name}.toml").into()
}

fn plan(file: &Path, input: &str) -> Output {
    let mut program = Command::new(env!("CARGO_BIN_EXE_restante"))
        .args(["migrate", "plan", "--doveconf"])
        .arg(file)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program runs");
    program.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    program.wait_with_output().unwrap()
}

/// What it prints on success.
fn printed(file: &Path) -> String {
    let output = plan(file, "");
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && stderr.is_empty(), "{}: {stderr}", file.display());
    String::from_utf8(output.stdout).unwrap()
}

/// The message of a failure.
fn failure(file: &Path, input: &str) -> String {
    let output = plan(file, input);
    assert_eq!((output.status.code(), output.stdout), (Some(1), Vec::new()), "{}", file.display());
    String::from_utf8(output.stderr).unwrap()
}

const TRANSLATED: &[&str] = &[
    "2.3-home-directories",
    "2.3-namespaces",
    "2.3-not-set",
    "2.3-virtual-users",
    "2.3-without-equivalents",
    "2.4-home-directories",
    "2.4-virtual-users",
    "2.4-without-equivalents",
];

#[test]
fn settings_of_dovecot_are_translated() {
    for name in TRANSLATED {
        let (expected, found) = (expected(name), printed(&fixture(name)));
        if env::var_os("BLESS").is_some() {
            fs::write(&expected, &found).unwrap();
        }
        assert_eq!(fs::read_to_string(&expected).unwrap(), found, "{name}");
        assert!(found.lines().all(|line| line.chars().count() <= 100), "{found}");
    }
}

/// The section of a whole configuration with what is printed.
fn maildir(name: &str) -> Maildir {
    let sections = printed(&fixture(name));
    let text = format!(
        "hostname = \"pop.example.org\"\n\
         [[listen]]\naddress = \"[::]:110\"\ntls = \"off\"\n\
         [auth]\nallow-cleartext = true\n\
         [[credentials]]\nkind = \"file\"\npath = \"users\"\n{sections}"
    );
    let config = Config::parse(&text, Path::new("/etc/restante/restante.toml"));
    config.unwrap_or_else(|faults| panic!("{faults}\n{text}")).maildir
}

#[test]
fn what_is_printed_is_valid() {
    let found = maildir("2.3-virtual-users");
    assert_eq!(found.path, Path::new("/var/vmail/{domain}/{local}/Maildir"));
    assert_eq!(found.uidl, Some(vec![UidlSource::Dovecot]));
    let control = Path::new("/var/control/{domain}/{local}/INBOX");
    assert_eq!(found.dovecot.control.as_deref(), Some(control));
    // The block of POP3 overrides the setting before it.
    assert_eq!(found.dovecot.format, "%08Xu%08Xv");
    assert_eq!(found.dovecot.duplicates, Duplicates::Rename);
    assert_eq!(found.dovecot.deleted_flag.as_deref(), Some("$POP3Deleted"));
    assert!(found.dovecot.reuse_xuidl);
    let found = maildir("2.4-home-directories");
    assert_eq!(found.path, Path::new("{home}/Maildir"));
    assert_eq!(found.uidl, Some(vec![UidlSource::Dovecot, UidlSource::BaseName]));
    assert_eq!(found.dovecot.control.as_deref(), Some(Path::new("/var/control/{user}/.INBOX")));
    for name in TRANSLATED {
        if !name.ends_with("-equivalents") && !name.ends_with("not-set") {
            maildir(name);
        }
    }
}

#[test]
fn mail_that_is_not_in_maildirs_is_refused_with_the_way_out() {
    for (name, what) in [
        ("2.3-debian", "the mail is in the format \"mbox\" (mail_location)"),
        ("2.4-debian", "the mail is in the format \"mbox\" (mail_path)"),
        ("2.4-index-layout", "the mailboxes have the layout \"index\" (mail_path)"),
    ] {
        let file = fixture(name);
        let expected = format!(
            "restante: {}: {what}, but only Maildirs can be served; copy the mail of each user to a \
             Maildir first: doveadm backup -u USER maildir:DIRECTORY\n",
            file.display()
        );
        assert_eq!(failure(&file, ""), expected);
    }
}

#[test]
fn standard_input_is_read_as_well() {
    let text = fs::read_to_string(fixture("2.3-home-directories")).unwrap();
    let output = plan(Path::new("-"), &text);
    let expected = fs::read(expected("2.3-home-directories")).unwrap();
    assert_eq!(output.stdout, expected);
    let unclosed = failure(Path::new("-"), "protocol pop3 {\n");
    assert!(unclosed.starts_with("restante: standard input: ends inside a block; "), "{unclosed}");
}

#[test]
fn a_file_that_doveconf_did_not_write_is_refused() {
    let absent = failure(Path::new("/no/such/file"), "");
    assert!(absent.starts_with("restante: /no/such/file: cannot be read: "), "{absent}");
    let other = failure(Path::new("Cargo.lock"), "");
    assert!(other.contains(" is not a setting of Dovecot; pass the output of"), "{other}");
}
