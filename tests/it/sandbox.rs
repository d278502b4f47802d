//! The privileges that the process drops before it serves, as seen from outside.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt as _, lchown, symlink};
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use nix::sys::signal::Signal;

use crate::support::client::{Client, Tls, greeted, logged_in};
use crate::support::{IMPLICIT, OFF, PROGRAM, Place, Server, default_user, eventually};

const CLEARTEXT: &str = "allow-cleartext = true\n";

/// A Maildir with one message.
fn place(rest: &str) -> Place {
    let place = Place::new();
    place.configure(&[OFF], &format!("{CLEARTEXT}{rest}"));
    place.deliver(1, b"Subject: one\n\nfirst\n");
    place
}

/// A field in the status of a process, say `NoNewPrivs`.
fn status(server: &Server, name: &str) -> String {
    let text = fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.unwrap_or_default().trim().to_owned()
}

/// Whether this kernel has Landlock: the server says so.
fn has_landlock(server: &Server) -> bool {
    server.logged(&["sandbox", "landlock="]).contains("landlock=on")
}

#[test]
fn the_process_holds_little() {
    let place = place("");
    let server = place.serve();
    let line = server.logged(&["sandbox", "seccomp=on", "no_new_privileges=on"]);
    assert!(line.contains("core_dumps=off"), "{line}");
    logged_in(&server);
    assert_eq!(status(&server, "NoNewPrivs"), "1");
    assert_eq!(status(&server, "Seccomp"), "2");
    for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
        assert_eq!(status(&server, set), "0000000000000000", "{set}");
    }
    if default_user().is_some() {
        assert_eq!(status(&server, "CapBnd"), "0000000000000000");
    }
    let limits = fs::read_to_string(format!("/proc/{}/limits", server.pid())).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().skip(4).take(2).collect::<Vec<_>>(), ["0", "0"]);
    for thread in fs::read_dir(format!("/proc/{}/task", server.pid())).unwrap() {
        let text = fs::read_to_string(thread.unwrap().path().join("status")).unwrap();
        assert!(text.contains("Seccomp:\t2") && text.contains("NoNewPrivs:\t1"), "{text}");
    }
}

#[test]
fn each_part_has_a_switch() {
    let place = place(
        "[sandbox]\nlandlock = false\nseccomp = false\nno-new-privileges = false\n\
         core-dumps = true\n",
    );
    let server = place.serve();
    server.logged(&["sandbox: landlock is not restricted: landlock = false"]);
    server.logged(&["sandbox: seccomp is not restricted: seccomp = false"]);
    logged_in(&server);
    assert_eq!(status(&server, "NoNewPrivs"), "0");
    assert_eq!(status(&server, "Seccomp"), "0");
}

#[test]
fn without_no_new_privileges_the_log_says_why_landlock_and_seccomp_are_off() {
    let place = place("[sandbox]\nno-new-privileges = false\n");
    let server = place.serve();
    for part in ["landlock", "seccomp"] {
        server.logged(&[&format!(
            "sandbox: {part} is not restricted: it requires no-new-privileges (no-new-privileges = \
             false in [sandbox])"
        )]);
    }
}

/// The files in /proc of a process that can be dumped belong to its user, and other processes of that
/// user can read its memory. Those of any other process belong to root (proc(5)).
#[test]
fn no_process_of_the_same_user_looks_into_its_memory() {
    for (sandbox, is_open) in [("", false), ("[sandbox]\ncore-dumps = true\n", true)] {
        let place = place("");
        place.configure_as(None, &[OFF], &format!("{CLEARTEXT}{sandbox}"));
        let server = Server::start(as_ordinary_user(&place));
        server.address(0);
        let user = fs::metadata(place.path("mrose")).unwrap().uid();
        let owner = fs::metadata(format!("/proc/{}/mem", server.pid())).unwrap().uid();
        assert_eq!(owner, if is_open { user } else { 0 }, "{sandbox}");
    }
}

/// The server as a process that has never run as root: a process that has changed its user cannot be
/// dumped in any case.
fn as_ordinary_user(place: &Place) -> Command {
    if default_user().is_none() {
        return place.command();
    }
    let program = place.path("restante");
    fs::copy(PROGRAM, &program).unwrap();
    let owner = fs::metadata(place.path("mrose")).unwrap();
    let mut command = Command::new(program);
    command.arg("serve").arg("--config").arg(place.path("restante.toml"));
    command.uid(owner.uid()).gid(owner.gid());
    command
}

#[test]
fn a_session_goes_from_login_to_removal() {
    let place = place("");
    let mut server = place.serve();
    let mut client = logged_in(&server);
    assert!(client.ask("RETR 1").starts_with("+OK"));
    assert_eq!(client.body(), b"Subject: one\r\n\r\nfirst\r\n");
    assert!(client.ask("DELE 1").starts_with("+OK"));
    assert!(client.ask("QUIT").starts_with("+OK"));
    assert_eq!(place.messages(), 0);
    server.signal(Signal::SIGTERM);
    assert_eq!(server.exit(), Some(0));
}

/// A user has replaced a Maildir by a link to another user's mail, which the server may read.
#[test]
fn a_link_that_leads_out_of_the_mail_root_opens_nothing() {
    let place = place("");
    let outside = Place::new();
    outside.deliver(1, b"Subject: not yours\n\nsecret\n");
    let server = place.serve();
    server.address(0);
    fs::remove_dir_all(place.path("mrose/Maildir")).unwrap();
    let link = place.path("mrose/Maildir");
    symlink(outside.path("mrose/Maildir"), &link).unwrap();
    let owner = fs::metadata(place.path("mrose")).unwrap();
    lchown(&link, Some(owner.uid()), Some(owner.gid())).unwrap();
    if has_landlock(&server) {
        assert!(greeted(&server).log_in().starts_with("-ERR [SYS/TEMP]"));
        server.logged(&["ERROR", "Maildir", "Permission denied"]);
        server.kill();
        // The sandbox refuses it; after the next start the directory is known.
        let server = place.serve();
        assert!(logged_in(&server).ask("STAT").starts_with("+OK 1 "));
    }
}

/// A link that existed at the start is the operator's.
#[test]
fn a_link_of_root_is_followed() {
    if default_user().is_none() {
        return;
    }
    let place = place("");
    let outside = Place::new();
    outside.deliver(1, b"Subject: elsewhere\n\nhere\n");
    fs::remove_dir_all(place.path("mrose")).unwrap();
    symlink(outside.path("mrose"), place.path("mrose")).unwrap();
    let server = place.serve();
    assert!(logged_in(&server).ask("STAT").starts_with("+OK 1 "));
}

/// As certbot does: `live/NAME` has links into `archive/NAME`, where each renewal adds a file.
#[test]
fn a_certificate_behind_links_is_renewed() {
    let place = Place::new();
    for folder in ["certbot", "certbot/live", "certbot/archive"] {
        fs::create_dir(place.path(folder)).unwrap();
        place.hand_over(&place.path(folder));
    }
    let renew = |number: u32| {
        let made = place.pair(&format!("certbot/archive/{number}"), &["localhost"]);
        for kind in ["crt", "key"] {
            let link = place.path(&format!("certbot/live/pair.{kind}"));
            fs::remove_file(&link).ok();
            symlink(format!("../archive/{number}.{kind}"), link).unwrap();
        }
        made
    };
    renew(1);
    place.configure(&[IMPLICIT], "");
    let text = fs::read_to_string(place.path("restante.toml")).unwrap();
    place.write("restante.toml", text.replace("default.", "certbot/live/pair."));
    let server = place.serve();
    let address = server.address(0);
    let second = renew(2);
    server.signal(Signal::SIGHUP);
    server.logged(&["SIGHUP: the configuration is in use"]);
    let client = Client::tls(address, &Tls::new());
    assert_eq!(client.agreed().certificate, second);
}

#[test]
fn a_reload_that_needs_more_files_is_refused_and_says_what_to_do() {
    let place = place("");
    let outside = Place::new();
    let server = place.serve();
    if !has_landlock(&server) {
        return;
    }
    let text = fs::read_to_string(place.path("restante.toml")).unwrap();
    // In a directory that was configured before.
    place.write("more-users", "jon:{PLAIN}tanstaaf\n");
    place.write("restante.toml", text.replace("\"users\"", "\"more-users\""));
    server.signal(Signal::SIGHUP);
    server.logged(&["SIGHUP: the configuration is in use"]);
    let beyond = outside.path("users").display().to_string();
    place.write("restante.toml", text.replace("\"users\"", &format!("{beyond:?}")));
    server.signal(Signal::SIGHUP);
    server.logged(&["SIGHUP: the old configuration stays in use", "cannot be reached", "restart"]);
    let checkpassword =
        format!("{text}\n[[credentials]]\nkind = \"checkpassword\"\ncommand = [\"/bin/false\"]\n");
    place.write("restante.toml", checkpassword);
    server.signal(Signal::SIGHUP);
    server.logged(&["SIGHUP: the old configuration stays in use", "checkpassword", "restart"]);
}

/// Directories with Dovecot's list of the first message, and a list of the operator's own of the
/// second one.
fn lists_elsewhere() -> Place {
    let place = Place::new();
    for folder in ["control", "control/mrose", "control/mrose/.INBOX", "ids"] {
        fs::create_dir(place.path(folder)).unwrap();
    }
    let list = "3 V1700000000 N8 G0123456789abcdef0123456789abcdef\n7 :1.M1P1.localhost\n";
    place.write("control/mrose/.INBOX/dovecot-uidlist", list);
    place.write("ids/mrose", "2.M1P1.localhost\town-id-of-2\n");
    for path in ["", "control", "control/mrose", "control/mrose/.INBOX", "ids"] {
        fs::set_permissions(place.path(path), fs::Permissions::from_mode(0o755)).unwrap();
    }
    place
}

#[test]
fn lists_of_another_server_can_be_read_where_they_were_at_the_start() {
    let (inside, outside) = (lists_elsewhere(), lists_elsewhere());
    let place = place("");
    place.deliver(2, b"Subject: two\n\nsecond\n");
    let text = fs::read_to_string(place.path("restante.toml")).unwrap();
    let with_lists = |lists: &Place| {
        let keys = format!(
            "[maildir]\nuidl = [\"map\", \"dovecot\"]\nmap.path = \"{0}ids/{{user}}\"\n\
             dovecot.control = \"{0}control/{{user}}/.INBOX\"\n",
            lists.path("").display()
        );
        text.replace("[maildir]\n", &keys)
    };
    place.write("restante.toml", with_lists(&inside));
    let server = place.serve();
    let mut client = logged_in(&server);
    assert_eq!(client.ask("UIDL 1"), "+OK 1 000000076553f100");
    assert_eq!(client.ask("UIDL 2"), "+OK 2 own-id-of-2");
    if !has_landlock(&server) {
        return;
    }
    server.signal(Signal::SIGHUP);
    server.logged(&["SIGHUP: the configuration is in use"]);
    place.write("restante.toml", with_lists(&outside));
    server.signal(Signal::SIGHUP);
    server.logged(&["SIGHUP: the old configuration stays in use", "cannot be reached", "restart"]);
}

/// A Maildir that the credential file names only after the start.
#[test]
fn mail_outside_of_the_sandbox_is_refused_and_the_log_says_what_to_do() {
    let place = place("");
    let outside = Place::new();
    outside.deliver(1, b"Subject: elsewhere\n\nhere\n");
    let server = place.serve();
    if !has_landlock(&server) {
        return;
    }
    assert!(logged_in(&server).ask("STAT").starts_with("+OK 1 "));
    let mail = outside.path("mrose/Maildir").display().to_string();
    place.write("users", format!("mrose:{{PLAIN}}tanstaaf::::::userdb_mail={mail}\n"));
    assert!(greeted(&server).log_in().starts_with("-ERR [SYS/TEMP]"));
    server.logged(&["ERROR", &mail, "restart the server", "sandbox.mail-directories"]);
    server.kill();
    let server = place.serve();
    assert!(logged_in(&server).ask("STAT").starts_with("+OK 1 "));
}

#[test]
fn programs_of_others_are_not_restricted() {
    let place = place("[[credentials]]\nkind = \"checkpassword\"\ncommand = [\"/bin/false\"]\n");
    let server = place.serve();
    server.logged(&["sandbox: landlock is not restricted", "checkpassword"]);
    server.logged(&["sandbox: seccomp is not restricted", "checkpassword"]);
    assert!(greeted(&server).ask("USER jon").starts_with("+OK"));
    assert_eq!(status(&server, "NoNewPrivs"), "1");
}

/// Weaker hashes are replaced in a new file next to the old one.
#[test]
fn the_credential_file_can_be_rewritten_where_it_has_to_be() {
    let place = place("");
    let text = fs::read_to_string(place.path("restante.toml")).unwrap();
    place.write(
        "restante.toml",
        text.replace("path = \"users\"", "path = \"users\"\nrehash = true"),
    );
    place.write("users", "mrose:{SHA512-CRYPT}$6$saltsaltsalt$ustkQWljEg3A8gphQxjLGe1GnAKmsc/naML9ZNlaxCMzQL3LEi1Guwi7OswNzpTCE3p7cpw/peLRUnKJMJ61R0\n");
    let server = place.serve();
    logged_in(&server);
    eventually("the hash is replaced", || {
        fs::read_to_string(place.path("users")).unwrap().contains("{ARGON2ID}")
    });
}
