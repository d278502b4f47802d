//! `restante user` as a person or a script runs it: the file that it changes, its output, and its
//! exit codes.

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use tempfile::TempDir;

/// A directory with a configuration. Commands do not change their user there.
struct Place(TempDir);

/// The output and the exit code of a command.
struct Said {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

const MROSE: &str = "mrose:{PLAIN}tanstaaf\n";
const ONE_FILE: &str = "[[credentials]]\nkind = \"file\"\npath = \"users\"\n";
const DATABASE: &str = "[[credentials]]\nkind = \"sql\"\nurl = \"postgres://restante@127.0.0.1:1/mail\"\n\
                        query = \"SELECT password FROM users WHERE name = {user}\"\n";

impl Place {
    fn new(credentials: &str) -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        place.configure(credentials);
        place
    }

    fn configure(&self, credentials: &str) {
        // Root tries a login as the user of run-as, which may be any user.
        let run_as = if nix::unistd::geteuid().is_root() { "run-as = \"daemon\"\n" } else { "" };
        self.write(
            "restante.toml",
            &format!(
                "hostname = \"pop.example.org\"\n{run_as}\
                 [[listen]]\naddress = \"127.0.0.1:1110\"\ntls = \"off\"\n\
                 [maildir]\npath = \"mail/{{user}}\"\n\
                 [auth]\nallow-cleartext = true\n{credentials}"
            ),
        );
        // That user needs access to this directory.
        let open =
            |path| fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o755));
        open(self.0.path()).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    /// Runs `restante user` with these words, the configuration, and a password on standard input.
    fn run(&self, words: &str, password: &str) -> Said {
        let config = self.path("restante.toml");
        let config = format!("--config {}", config.display());
        restante(&format!("user {words} {config}"), password)
    }
}

fn restante(words: &str, input: &str) -> Said {
    let mut child = Command::new(env!("CARGO_BIN_EXE_restante"))
        .args(words.split_ascii_whitespace())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program runs");
    // Commands that fail early do not read the input.
    let _unread = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    Said {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

#[test]
fn the_configuration_names_the_credential_file() {
    let place = Place::new(ONE_FILE);
    let added = place.run("add --stdin mrose", "tanstaaf\n");
    assert_eq!(added.code, Some(0), "{}", added.stderr);
    let users = place.path("users");
    assert!(
        added.stderr.starts_with(&format!("{} was created", users.display())),
        "{}",
        added.stderr
    );
    assert!(place.read("users").starts_with("mrose:{ARGON2ID}"));
    place.write("users", MROSE);
    assert_eq!(place.run("set-password --stdin mrose", "another\n").code, Some(0));
    assert!(place.read("users").starts_with("mrose:{ARGON2ID}"));
    assert_eq!(place.run("list", "").stdout, "mrose\n");
    assert_eq!(place.run("remove mrose", "").code, Some(0));
    assert_eq!(place.read("users"), "# one line per user\n");
    // Another file, whatever the configuration says, even if it has errors.
    place.write("others", MROSE);
    place.configure("nonsense");
    let file = format!("--file {}", place.path("others").display());
    assert_eq!(place.run(&format!("list {file}"), "").stdout, "mrose\n");
    assert_eq!(place.run(&format!("remove {file} mrose"), "").code, Some(0));
    assert_eq!(place.read("others"), "# one line per user\n");
}

#[test]
fn weak_schemes_of_the_configuration_hold_for_the_list() {
    let place = Place::new(ONE_FILE);
    place.write("users", "mrose:{SHA}qvTGHdzF6KLavt4PO0gs2a6pQ00=\n");
    assert!(place.run("list", "").stdout.contains("weak-schemes"));
    place.configure(&format!("weak-schemes = true\n{ONE_FILE}"));
    assert_eq!(place.run("list", "").stdout, "mrose\n");
}

#[test]
fn which_file_is_meant_is_not_guessed() {
    let others = ONE_FILE.replace("users", "others");
    for (credentials, wanted) in [
        (DATABASE.to_owned(), vec!["has no credentials of kind \"file\"", "kind sql", "--file"]),
        (
            format!("{ONE_FILE}{DATABASE}{others}"),
            vec!["several credential files", "--file", "/users, ", "/others"],
        ),
        ("nonsense".to_owned(), vec!["/restante.toml:", ": invalid TOML"]),
    ] {
        let place = Place::new(&credentials);
        place.write("users", MROSE);
        for command in ["add --stdin new", "set-password --stdin mrose", "remove mrose", "list"] {
            let said = place.run(command, "tanstaaf\n");
            assert_eq!(said.code, Some(1), "{command}: {}", said.stderr);
            assert_eq!(said.stderr.lines().count(), 1, "{command}: {}", said.stderr);
            for word in &wanted {
                assert!(said.stderr.contains(word), "{command}: {word}: {}", said.stderr);
            }
        }
        assert_eq!(place.read("users"), MROSE);
    }
    // The same file twice counts once, and a database does not count.
    let place = Place::new(&format!("{ONE_FILE}{DATABASE}{ONE_FILE}"));
    place.write("users", MROSE);
    assert_eq!(place.run("list", "").stdout, "mrose\n");
    let said = restante("user list --config /no/such/restante.toml", "");
    assert_eq!(said.code, Some(1));
    assert_eq!(
        said.stderr,
        "restante: /no/such/restante.toml does not exist; name the configuration with --config, or \
         the credential file with --file\n"
    );
}

#[test]
fn each_outcome_of_a_login_has_an_exit_code() {
    let place = Place::new(ONE_FILE);
    let open = |path: PathBuf, mode| {
        fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
    };
    let users = format!(
        "{MROSE}homeless:{{PLAIN}}tanstaaf\naway:{{PLAIN}}tanstaaf::::::pop3=no\n\
         barred:{{PLAIN}}tanstaaf::::::nologin\nold:{{SHA3}}tanstaaf\n\
         near:{{PLAIN}}tanstaaf::::::allow_nets=192.0.2.0/24\n\
         broken:{{PLAIN}}tanstaaf::::::allow_nets=192.0.2.0/33\n"
    );
    place.write("users", &users);
    open(place.path("users"), 0o644);
    for folder in ["mail", "mail/mrose", "mail/mrose/cur", "mail/mrose/new", "mail/mrose/tmp"] {
        fs::create_dir(place.path(folder)).unwrap();
        open(place.path(folder), 0o777);
    }
    for (name, password, code, words) in [
        ("mrose", "tanstaaf", 0, "the password is right"),
        ("MROSE", "tanstaaf", 0, "the password is right"),
        ("mrose", "tanstaafl", 3, "mrose: wrong password; file "),
        ("nobody", "tanstaaf", 4, "nobody: unknown user; asked: file "),
        ("../mrose", "tanstaaf", 4, "no user can have this name"),
        ("away", "tanstaaf", 5, "the user may not use POP3"),
        ("away", "tanstaafl", 3, "wrong password"),
        ("barred", "tanstaaf", 6, "nologin"),
        ("old", "tanstaaf", 6, "the scheme SHA3 is not supported"),
        ("near --address 192.0.2.9", "tanstaaf", 7, "/mail/near"),
        ("near --address 192.0.3.9", "tanstaaf", 9, "may not log in from this address"),
        ("near --address 192.0.3.9", "tanstaafl", 3, "wrong password"),
        ("near", "tanstaaf", 7, "/mail/near"),
        ("broken", "tanstaaf", 6, "its allow_nets has something that is no network"),
        ("homeless", "tanstaaf", 7, "/mail/homeless"),
    ] {
        let said = place.run(&format!("test --stdin {name}"), &format!("{password}\n"));
        let text = said.stdout + &said.stderr;
        assert_eq!(said.code, Some(code), "{name}: {text}");
        assert!(text.contains(words), "{name}: {text}");
        assert!(!text.contains("tanstaaf"), "{text}");
    }
    // Another file in the place of the stores, and stores that do not answer.
    place.write("others", "mrose:{PLAIN}other\n");
    open(place.path("others"), 0o644);
    let others = place.path("others");
    let test = format!("test --stdin --file {} mrose", others.display());
    assert_eq!(place.run(&test, "other\n").code, Some(0));
    assert_eq!(place.run(&test, "tanstaaf\n").code, Some(3));
    place.configure(DATABASE);
    let cannot_tell = if cfg!(feature = "sql") { 6 } else { 8 };
    assert_eq!(place.run("test --stdin mrose", "tanstaaf\n").code, Some(cannot_tell));
    for faulty in ["nonsense", &ONE_FILE.replace("users", "no-such-file")] {
        place.configure(faulty);
        let said = place.run("test --stdin mrose", "tanstaaf\n");
        assert_eq!(said.code, Some(8), "{}", said.stderr);
    }
    let said = restante("user test --config /no/such/restante.toml --stdin mrose", "tanstaaf\n");
    assert_eq!(said.code, Some(8), "{}", said.stderr);
    assert_eq!(place.run("test --stdin", "tanstaaf\n").code, Some(2));
}

#[test]
fn a_login_is_tried_with_the_default_domain() {
    let place = Place::new(&format!("default-domain = \"example.org\"\n{ONE_FILE}"));
    place.write("users", "mrose:{PLAIN}bare\nmrose@example.org:{PLAIN}whole\n");
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    fs::set_permissions(place.path("users"), open).unwrap();
    let test = |password: &str| place.run("test --stdin mrose", password);
    assert!(test("whole\n").stdout.starts_with("mrose@example.org: the password is right"));
    let said = test("bare\n");
    assert_eq!(said.code, Some(3));
    assert!(said.stderr.contains("mrose@example.org: wrong password"), "{}", said.stderr);
    let config = place.path("restante.toml");
    let said = restante(&format!("check --config {}", config.display()), "").stderr;
    let warning = "auth.default-domain: 1 user (mrose) without a domain cannot log in, ";
    assert!(said.contains(warning), "{said}");
}

#[test]
fn the_exit_codes_are_documented_as_they_are() {
    let help = restante("user test --help", "").stdout;
    let page = fs::read_to_string("docs/CREDENTIALS.md").unwrap();
    for code in 0..=9 {
        let line = help.lines().find(|line| line.starts_with(&format!("  {code}  ")));
        let meaning = line.unwrap_or_else(|| panic!("{code} is not in {help}")).trim_start();
        let meaning = meaning.trim_start_matches(char::is_numeric).trim();
        assert!(page.contains(&format!("| {code} | {meaning} |")), "{code}: {meaning}");
    }
}

#[test]
fn a_password_on_the_command_line_is_refused_and_not_repeated() {
    for words in [
        "user add --file users --password hunter2 mrose",
        "user set-password --file users mrose --password=hunter2",
        "user test --password hunter2 mrose",
        "hash --password hunter2",
        "hash --password",
    ] {
        let said = restante(words, "");
        assert_eq!(said.code, Some(2), "{words}");
        assert!(
            said.stderr.contains("passwords are not accepted on the command line"),
            "{}",
            said.stderr
        );
        assert!(said.stderr.contains("--stdin"), "{}", said.stderr);
        assert!(
            !said.stderr.contains("hunter2") && !said.stderr.contains("tip:"),
            "{}",
            said.stderr
        );
    }
    assert!(!restante("user add --help", "").stdout.contains("--password"));
}

#[test]
fn a_name_with_a_character_that_is_not_seen_is_refused() {
    let place = Place::new(ONE_FILE);
    // The tags of U+E0000 among them: names have no characters that the log escapes.
    for invisible in ['\u{200b}', '\u{202e}', '\u{feff}', '\u{e0041}'] {
        let said = place.run(&format!("add --stdin mrose{invisible}"), "tanstaaf\n");
        assert_eq!(said.code, Some(2), "{invisible:?}: {}", said.stderr);
        assert!(said.stderr.contains("invisible character"), "{}", said.stderr);
    }
    assert!(!place.path("users").exists());
}
