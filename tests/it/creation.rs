//! Missing Maildirs: they are made at login or with the user, but never where the mail may not be
//! mounted.

use std::fs;
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::thread;

use crate::support::client::{greeted_at, logged_in};
use crate::support::{OFF, PROGRAM, Place, Server};

const LISTEN: [(&str, &str); 1] = [OFF];
const TEMPORARY: &str = "-ERR [SYS/TEMP] ";

/// A place with an empty mail root that is not marked, and two users without a Maildir.
fn place() -> Place {
    let place = Place::new();
    place.write("users", "mrose:{PLAIN}tanstaaf\nbob:{PLAIN}tanstaaf\n");
    fs::remove_dir_all(place.path("mrose")).unwrap();
    fs::create_dir(place.path("vmail")).unwrap();
    place.hand_over(&place.path("vmail"));
    place.configure(&LISTEN, "allow-cleartext = true\n");
    let text = fs::read_to_string(place.path("restante.toml")).unwrap();
    let path = "path = \"vmail/{user}/Maildir\"\ncreate = true";
    place.write("restante.toml", text.replace("path = \"{user}/Maildir\"", path));
    place
}

/// Runs the program with these words, and a password if it wants one.
fn run(place: &Place, words: &str) -> Output {
    let config = place.path("restante.toml");
    let words = words.replace("CONFIG", config.to_str().unwrap());
    let words = words.replace("ROOT", place.path("vmail").to_str().unwrap());
    let mut child = Command::new(PROGRAM)
        .args(words.split_ascii_whitespace())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let _unread = child.stdin.take().unwrap().write_all(b"tanstaaf\n");
    child.wait_with_output().unwrap()
}

fn succeed(place: &Place, words: &str) -> String {
    let output = run(place, words);
    let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert_eq!(output.status.code(), Some(0), "{words}: {said}");
    said
}

fn fail(place: &Place, words: &str) -> String {
    let output = run(place, words);
    let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert!(!output.status.success(), "{words}: {said}");
    said
}

fn log_in(server: &Server) -> String {
    log_in_at(server.address(0))
}

fn log_in_at(address: SocketAddr) -> String {
    let mut client = greeted_at(address);
    let reply = client.log_in();
    if reply.starts_with("+OK") {
        assert!(client.ask("QUIT").starts_with("+OK"));
    }
    reply
}

/// The names in a directory, without the mark.
fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.filter(|name| name != "restante.root").collect();
    names.sort();
    names
}

/// Asserts that a Maildir is complete and accessible to the server only.
fn expect_maildir(place: &Place, user: &str) {
    let path = place.path("vmail").join(user);
    assert_eq!(names(&path), ["Maildir"]);
    let made = ["", "Maildir", "Maildir/cur", "Maildir/new", "Maildir/tmp"];
    for made in made.map(|name| path.join(name)) {
        let metadata = fs::metadata(&made).unwrap();
        assert_eq!(metadata.permissions().mode() & 0o777, 0o700, "{}", made.display());
        let root = fs::metadata(place.path("vmail")).unwrap();
        assert_eq!((metadata.uid(), metadata.gid()), (root.uid(), root.gid()));
    }
}

#[test]
fn a_new_user_has_an_empty_maildrop_once_the_root_is_marked() {
    let place = place();
    let server = place.serve();
    assert!(log_in(&server).starts_with(TEMPORARY));
    server.logged(&["restante.root", "restante init-root"]);
    assert_eq!(names(&place.path("vmail")), [""; 0]);
    assert!(succeed(&place, "init-root ROOT").contains("is a mail root now"));
    assert!(succeed(&place, "init-root ROOT").contains("already"));
    let mut client = logged_in(&server);
    assert_eq!(client.ask("STAT"), "+OK 0 0");
    assert!(client.ask("QUIT").starts_with("+OK"));
    server.logged(&["a Maildir is made", "vmail/mrose/Maildir"]);
    expect_maildir(&place, "mrose");
    place.write("vmail/mrose/Maildir/new/1.a", "Subject: first\n\n");
    assert_eq!(logged_in(&server).ask("LIST 1"), "+OK 1 18");
}

#[test]
fn an_unmounted_root_is_never_an_empty_maildrop() {
    let place = place();
    let (root, elsewhere) = (place.path("vmail"), place.path("elsewhere"));
    succeed(&place, "init-root ROOT");
    let server = place.serve();
    assert!(log_in(&server).starts_with("+OK"));
    place.write("vmail/mrose/Maildir/new/1.a", "Subject: first\n\n");
    fs::rename(&root, &elsewhere).unwrap();
    assert!(log_in(&server).starts_with(TEMPORARY));
    fs::create_dir(&root).unwrap();
    place.hand_over(&root);
    assert!(log_in(&server).starts_with(TEMPORARY));
    assert_eq!(names(&root), [""; 0]);
    fs::remove_dir(&root).unwrap();
    fs::rename(&elsewhere, &root).unwrap();
    assert_eq!(logged_in(&server).ask("LIST 1"), "+OK 1 18");
}

#[test]
fn logins_at_once_make_it_once() {
    let place = place();
    succeed(&place, "init-root ROOT");
    let servers = [place.serve(), place.serve()];
    thread::scope(|scope| {
        for address in servers.iter().map(|server| server.address(0)) {
            for _ in 0..3 {
                scope.spawn(move || assert!(log_in_at(address).starts_with("+OK")));
            }
        }
    });
    expect_maildir(&place, "mrose");
}

#[test]
fn a_user_is_added_with_a_maildir_that_belongs_to_the_server() {
    let place = place();
    // It makes neither the Maildir nor the user, so that the command can be repeated.
    let refused = fail(&place, "user add --maildir --stdin --config CONFIG jon");
    assert!(refused.contains("restante init-root "), "{refused}");
    assert_eq!(refused.lines().count(), 1, "{refused}");
    let users = fs::read_to_string(place.path("users")).unwrap();
    assert!(!users.contains("jon"), "{users}");
    succeed(&place, "init-root ROOT");
    let added = succeed(&place, "user add --maildir --stdin --config CONFIG jon");
    assert!(added.contains("vmail/jon/Maildir has been created"), "{added}");
    expect_maildir(&place, "jon");
    succeed(&place, "user test --stdin --config CONFIG jon");
    // A user who has had mail.
    succeed(&place, "user remove --config CONFIG jon");
    place.write("vmail/jon/Maildir/new/1.a", "Subject: first\n\n");
    let added = succeed(&place, "user add --maildir --stdin --config CONFIG jon");
    assert!(added.contains("vmail/jon/Maildir exists already"), "{added}");
    assert!(place.path("vmail/jon/Maildir/new/1.a").exists());
}

#[test]
fn user_test_knows_what_a_login_would_make() {
    let place = place();
    let refused = fail(&place, "user test --stdin --config CONFIG mrose");
    assert!(refused.contains("restante init-root "), "{refused}");
    succeed(&place, "init-root ROOT");
    let said = succeed(&place, "user test --stdin --config CONFIG mrose");
    assert!(said.contains("vmail/mrose/Maildir  created at the first login"), "{said}");
    assert_eq!(names(&place.path("vmail")), [""; 0]);
    succeed(&place, "user add --maildir --stdin --config CONFIG jon");
    fs::remove_dir(place.path("vmail/jon/Maildir/cur")).unwrap();
    let refused = fail(&place, "user test --stdin --config CONFIG jon");
    assert!(refused.contains("without the directory cur"), "{refused}");
}

/// Commands take a Maildir that the login will make for one without mail.
#[test]
fn a_user_without_a_maildir_has_nothing_to_migrate() {
    let place = place();
    place.write("mrose.uidl", "");
    place.write("bob.uidl", "1 a\n");
    let directory = place.path("");
    let capture = format!("--capture {} --config CONFIG", directory.display());
    let commands = [
        "migrate plan --user mrose --config CONFIG",
        "migrate apply --user mrose --config CONFIG",
        "migrate export --format dovecot --user mrose --config CONFIG",
        "guard status mrose --config CONFIG",
        "guard accept mrose --config CONFIG",
        &format!("migrate audit --user mrose {capture}"),
    ];
    // Without a mail root, the login would fail as well.
    for command in commands {
        let said = fail(&place, command);
        assert!(said.contains("No such file or directory"), "{command}: {said}");
    }
    succeed(&place, "init-root ROOT");
    for command in commands {
        let said = succeed(&place, command);
        assert!(said.contains("there is no Maildir yet"), "{command}: {said}");
    }
    let said = fail(&place, &format!("migrate audit --user bob {capture}"));
    assert!(said.starts_with("bob: 0 same, 1 missing; but there is no Maildir yet"), "{said}");
    assert_eq!(fs::read_dir(place.path("vmail")).unwrap().count(), 1);
}
