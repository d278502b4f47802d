//! Users of the machine who replace their Maildirs by symbolic links.

use std::fs;
use std::os::unix::fs::{chown, lchown, symlink};
use std::process::Command;

use nix::unistd::geteuid;

use crate::support::client::{Client, greeted, logged_in};
use crate::support::{OFF, PROGRAM, Place, Server};

const LISTEN: [(&str, &str); 1] = [OFF];

/// mrose and bob have accounts on the machine, and the server has access to their Maildirs by its
/// group.
struct Machine(Place);

impl Machine {
    const MROSE: u32 = 4711;
    const BOB: u32 = 4712;

    fn new() -> Self {
        let place = Place::new();
        place.user("bob");
        place.configure(&LISTEN, "allow-cleartext = true\n");
        place.deliver_to("bob", 1, b"Subject: secret\n\nof bob\n");
        let machine = Self(place);
        machine.give("mrose", Self::MROSE);
        machine.give("bob", Self::BOB);
        machine
    }

    fn give(&self, name: &str, user: u32) {
        for part in ["", "/Maildir", "/Maildir/cur", "/Maildir/new", "/Maildir/tmp"] {
            let path = self.0.path(&format!("{name}{part}"));
            chown(&path, Some(user), None).unwrap();
            let open = std::os::unix::fs::PermissionsExt::from_mode(0o2770);
            fs::set_permissions(&path, open).unwrap();
        }
    }

    fn link(&self, to: &str, name: &str, owner: u32) {
        let path = self.0.path(name);
        let gone = fs::rename(&path, path.with_extension("own"));
        gone.or_else(|_| fs::remove_file(&path)).unwrap();
        symlink(self.0.path(to), &path).unwrap();
        lchown(&path, Some(owner), None).unwrap();
    }

    fn check(&self) -> String {
        let config = self.0.path("restante.toml");
        let output = Command::new(PROGRAM).arg("check").arg("--config").arg(config).output();
        let output = output.unwrap();
        String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
    }

    fn log_in_refused(&self, server: &Server, link: &str) {
        assert!(greeted(server).log_in().starts_with("-ERR [SYS/TEMP]"), "{link}");
        let link = format!("symbolic link {}", self.0.path(link).display());
        server.logged(&["ERROR", &link, "is not followed", "chown -h"]);
        let said = self.check();
        assert!(said.contains(&link) && said.contains("chown -h"), "{said}");
    }
}

fn message(client: &mut Client) -> Vec<u8> {
    assert!(client.ask("RETR 1").starts_with("+OK"));
    client.body()
}

#[test]
fn a_link_to_the_mail_of_another_user_leads_nowhere() {
    if !geteuid().is_root() {
        return; // No other user can make a link; the tests of `resolve` need none.
    }
    for (to, link) in [("bob/Maildir", "mrose/Maildir"), ("bob", "mrose")] {
        let machine = Machine::new();
        let server = machine.0.serve();
        // Reads all of it into memory.
        assert!(logged_in(&server).ask("QUIT").starts_with("+OK"));
        machine.link(to, link, Machine::MROSE);
        machine.log_in_refused(&server, link);
        let bobs = machine.0.path("bob/Maildir/new/1.M1P1.localhost");
        assert!(bobs.exists() && !machine.0.path("bob/Maildir/restante.lock").exists());

        // A link of the operator is followed.
        machine.link(to, link, 0);
        assert!(!machine.check().contains("is not followed"));
        let mut client = logged_in(&server);
        assert_eq!(message(&mut client), b"Subject: secret\r\n\r\nof bob\r\n");
        assert!(client.ask("DELE 1").starts_with("+OK"));
        assert!(client.ask("QUIT").starts_with("+OK"));
        assert!(!bobs.exists());
    }
}

#[test]
fn a_link_to_mail_of_ones_own_is_followed() {
    if !geteuid().is_root() {
        return;
    }
    let machine = Machine::new();
    machine.0.deliver(1, b"Subject: mine\n\n");
    machine.link("mrose/Maildir.own", "mrose/Maildir", Machine::MROSE);
    assert!(!machine.check().contains("is not followed"));
    let server = machine.0.serve();
    for _ in 0..3 {
        let mut client = logged_in(&server);
        assert_eq!(message(&mut client), b"Subject: mine\r\n\r\n");
        assert!(client.ask("QUIT").starts_with("+OK"));
    }
}
