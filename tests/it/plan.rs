//! `restante migrate plan --messages` prints what a login then lists: for each Maildir that another
//! server has served (`tests/fixtures/continuity`), and for several sources at once.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use crate::support::client::Client;
use crate::support::{LENIENT, OFF, PROGRAM, Place};

/// A place with these lines in `[maildir]`.
fn place(lines: &str) -> Place {
    let place = Place::new();
    place.configure(&[OFF], LENIENT);
    let text = fs::read_to_string(place.path("restante.toml")).unwrap();
    place.write("restante.toml", text.replace("[maildir]\n", &format!("[maildir]\n{lines}\n")));
    place
}

/// The same with the files and lists of a fixture.
fn fixture(folder: &str, lines: &str) -> Place {
    let place = place(lines);
    let from = fixtures().join(folder);
    let start = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    for (number, name) in (1..).zip(fs::read_to_string(from.join("names")).unwrap().lines()) {
        let name = format!("mrose/Maildir/cur/{name}");
        place.write(&name, "x".repeat(number) + "\n");
        let file = File::options().write(true).open(place.path(&name)).unwrap();
        file.set_modified(start + Duration::from_secs(60 * number as u64)).unwrap();
    }
    for list in ["dovecot-uidlist", "courierpop3dsizelist"] {
        if let Ok(list_of_fixture) = fs::read(from.join(list)) {
            place.write(&format!("mrose/Maildir/{list}"), list_of_fixture);
        }
    }
    place
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/continuity")
}

/// The first line of the plan, and the other lines.
fn plan(place: &Place) -> (String, Vec<String>) {
    let mut command = Command::new(PROGRAM);
    command.args(["migrate", "plan", "--messages", "--user", "mrose", "--config"]);
    let output = command.arg(place.path("restante.toml")).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let mut lines = text.lines().map(str::to_owned);
    (lines.next().unwrap(), lines.collect())
}

/// The message-numbers and unique-ids of a plan.
fn planned(place: &Place) -> Vec<String> {
    let (_, messages) = plan(place);
    let id = |line: &String| line.trim().split(' ').take(2).collect::<Vec<_>>().join(" ");
    messages.iter().map(id).collect()
}

/// Those that a login lists.
fn listed(place: &Place) -> Vec<String> {
    let server = place.serve();
    let mut client = Client::plain(server.address(0));
    client.line();
    assert!(client.log_in().starts_with("+OK"));
    assert!(client.ask("UIDL").starts_with("+OK"));
    let body = String::from_utf8(client.body()).unwrap();
    client.ask("QUIT");
    body.lines().map(str::to_owned).collect()
}

fn assert_planned_as_listed(place: &Place, what: &str) -> Vec<String> {
    let planned = planned(place);
    assert!(!planned.is_empty(), "{what}");
    assert!(!place.path("mrose/Maildir/restante.uids").exists(), "{what}");
    assert_eq!(planned, listed(place), "{what}");
    // All of them are remembered now.
    assert_eq!(self::planned(place), planned, "{what}");
    planned
}

#[test]
fn mail_of_other_servers() {
    let dovecot = |format: &str| {
        format!("uidl = [\"dovecot\", \"base-name\"]\ndovecot.format = \"{format}\"")
    };
    let courier = || "uidl = [\"courier\", \"base-name\"]".to_owned();
    for (folder, answer, lines) in [
        ("dovecot-small", Some("2.3-default"), dovecot("%08Xu%08Xv")),
        ("dovecot-small", Some("2.3-v-u"), dovecot("%v-%u")),
        ("dovecot-small", Some("2.3-f"), dovecot("%f")),
        ("dovecot-small", None, dovecot("%g")),
        ("dovecot-small", Some("2.4-f"), dovecot("%{filename}")),
        ("dovecot-P-and-O", Some("2.3-default"), dovecot("%08Xu%08Xv")),
        ("dovecot-P-and-O", Some("2.3-f"), dovecot("%f")),
        ("dovecot-v1", Some("2.3-default"), dovecot("%08Xu%08Xv")),
        ("courier-v3", Some("courier"), courier()),
        ("courier-v2", Some("courier"), courier()),
        ("courier-n0", Some("courier"), courier()),
        ("qmail-pop3d", Some("qmail"), "uidl = [\"base-name\"]\norder = \"modified\"".to_owned()),
    ] {
        let planned = assert_planned_as_listed(&fixture(folder, &lines), folder);
        if let Some(answer) = answer {
            let answer = fixtures().join(folder).join(format!("{answer}.uidl"));
            let answer = fs::read_to_string(answer).unwrap();
            assert_eq!(planned, answer.lines().collect::<Vec<_>>(), "{folder} {lines}");
        }
    }
}

/// The map decides before the lists, and Courier's list before Dovecot's.
#[test]
fn several_sources_in_their_order() {
    let place = place(
        "uidl = [\"map\", \"courier\", \"dovecot\", \"base-name\"]\nmap.path = \"{user}/map\"\n\
         flag-separator = \";\"\ndovecot = { format = \"%u\", reuse-xuidl = true }",
    );
    for (name, message) in [
        ("cur/1.a;2,S", "Subject: in the map\n\n"),
        ("cur/2.b;2,", "Subject: in both lists\n\n"),
        ("cur/3.c;2,", "Subject: of Dovecot\n\n"),
        ("cur/4.d;2,", "Subject: with a header field\nX-UIDL: in-header\n\n"),
        ("cur/5.e;2,", "Subject: with the unique-id of another\n\n"),
        ("cur/6.f;2,", "Subject: with one that cannot be listed\n\n"),
        ("new/7.g", "Subject: new\n\n"),
    ] {
        place.write(&format!("mrose/Maildir/{name}"), message);
    }
    place.write("mrose/map", "1.a;2,\tmapped\n");
    place.write("mrose/Maildir/courierpop3dsizelist", "/3 9 7\n2.b:2, 27 3:7:0\n");
    place.write(
        "mrose/Maildir/dovecot-uidlist",
        "3 V7 N9\n1 :1.a\n2 :2.b\n3 :3.c\n4 :4.d\n5 Pmapped :5.e\n6 Pk\u{e4}se :6.f\n",
    );
    let (counts, messages) = plan(&place);
    let sources = "3 base-name, 1 courier, 2 dovecot, 1 map";
    assert_eq!(counts, format!("mrose: 4 same, 1 new, 1 doubled, 1 illegal ({sources})"));
    let expected = [
        "  1 UID3-7 (courier, same) 2.b;2,",
        "  2 mapped (map, same) 1.a;2,S",
        "  3 3 (dovecot, same) 3.c;2,",
        "  4 in-header (dovecot, same) 4.d;2,",
        "  5 5.e (base-name, doubled) 5.e;2,",
        "  6 6.f (base-name, illegal) 6.f;2,",
        "  7 7.g (base-name, new) 7.g",
    ];
    assert_eq!(messages, expected);
    assert_planned_as_listed(&place, "several");
    let (counts, messages) = plan(&place);
    assert_eq!(counts, "mrose: 4 same, 1 new, 1 doubled, 1 illegal (7 restante.uids)");
    assert_eq!(messages[1], "  2 mapped (restante.uids, same) 1.a;2,S");
}

/// What a login refuses is not planned.
#[test]
fn a_list_that_a_login_refuses() {
    let place = place("uidl = [\"map\", \"base-name\"]\nmap.path = \"{user}/map\"");
    place.deliver(1, b"Subject: a message\n\ntext\n");
    place.write("mrose/map", "1.M1P1.localhost\tone\n2.b\tone\n");
    let (line, _) = plan(&place);
    assert!(line.contains("mrose/map: line 2: the unique-id is the same as in line 1"), "{line}");
}
