//! `restante migrate` as an operator runs it: audits of servers and of saved answers, and lists for
//! other servers.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use crate::support::{IMPLICIT, OFF, PROGRAM, Place, STARTTLS};

/// The output and the exit code of a command.
#[derive(Debug)]
struct Said {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

/// Runs `restante migrate` with these words and the configuration of `place`.
fn migrate(place: &Place, words: &[&str]) -> Said {
    let mut command = Command::new(PROGRAM);
    command.arg("migrate").args(words).arg("--config").arg(place.path("restante.toml"));
    let output = command.output().unwrap();
    let text = |octets| String::from_utf8(octets).unwrap();
    Said { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

fn assert_says(said: &Said, code: i32, stdout: &str) {
    assert_eq!((said.code, said.stdout.as_str()), (Some(code), stdout), "{}", said.stderr);
}

/// A place with three messages of the user mrose, and one of the user other.
fn place() -> Place {
    place_with("[\"name\"]")
}

/// The same with other sources of unique-ids.
fn place_with(uidl: &str) -> Place {
    let place = Place::new();
    place.user("other");
    place.configure(&[OFF, STARTTLS, IMPLICIT], "allow-cleartext = true\n");
    let config = fs::read_to_string(place.path("restante.toml")).unwrap();
    let sources = format!("[maildir]\nuidl = {uidl}\n");
    place.write("restante.toml", config.replace("[maildir]\n", &sources));
    for number in 1..=3 {
        place.deliver(number, b"Subject: a message\n\ntext\n");
    }
    place.deliver_to("other", 7, b"Subject: another\n\ntext\n");
    place
}

const ID: &str = "M1P1.localhost";

#[test]
fn a_server_with_the_same_mail() {
    let place = place();
    place.write("old-users", "mrose\ttanstaaf\nother\ttanstaaf\n");
    let server = place.serve();
    let users = place.path("old-users");
    let users = users.to_str().unwrap();
    for (url, options) in [
        (format!("pop3://{}", server.address(0)), &["--cleartext"][..]),
        (format!("pop3://{}", server.address(1)), &["--insecure"]),
        (format!("pop3s://{}", server.address(2)), &["--insecure", "--parallel", "1"]),
    ] {
        let words = [&["audit", "--old", &url, "--users", users], options].concat();
        let said = migrate(&place, &words);
        assert_eq!(said.code, Some(0), "{url}: {said:?}");
        let mut lines = said.stdout.lines().collect::<Vec<_>>();
        lines.sort_unstable();
        assert_eq!(lines, ["all 2 users: 4 same", "mrose: 3 same", "other: 1 same"]);
    }
    assert_eq!(place.messages(), 3);
}

#[test]
fn a_server_that_cannot_be_asked() {
    let place = place();
    place.write("old-users", "mrose\twrong\n");
    let server = place.serve();
    let users = place.path("old-users");
    let ask = |address: &str, options: &[&str]| {
        let words = [&["audit", "--old", address, "--users", users.to_str().unwrap()], options];
        let said = migrate(&place, &words.concat());
        assert_eq!(said.code, Some(2), "{said:?}");
        assert_eq!(said.stderr, "restante: 1 of 1 users could not be compared\n");
        said.stdout
    };
    let plain = format!("pop3://{}", server.address(0));
    let starttls = format!("pop3://{}", server.address(1));
    let implicit = format!("pop3s://{}", server.address(2));
    // STLS is not offered without TLS.
    assert!(ask(&plain, &[]).starts_with("mrose: the server refuses STLS: -ERR "));
    let said = ask(&starttls, &[]);
    assert!(said.starts_with("mrose: invalid peer certificate: "), "{said}");
    let said = ask(&implicit, &["--insecure"]);
    assert!(said.starts_with("mrose: the server refuses AUTH: -ERR [AUTH] "), "{said}");
    // Each speaks another protocol.
    assert!(ask(&plain.replace("pop3", "pop3s"), &[]).contains("TLS handshake failed"));
    drop(server);
    assert!(ask(&plain, &["--cleartext"]).starts_with("mrose: cannot connect: "));
}

#[test]
fn a_server_with_other_mail_and_users_that_are_done() {
    let (old, place) = (place(), place());
    fs::remove_file(place.path(&format!("mrose/Maildir/new/2.{ID}"))).unwrap();
    place.deliver(9, b"Subject: a new one\n\ntext\n");
    old.write("logins", "mrose\ttanstaaf\nother\ttanstaaf\nnew\ttanstaaf\n");
    let server = old.serve();
    let (url, logins) = (format!("pop3://{}", server.address(0)), old.path("logins"));
    let state = old.path("state");
    let words = ["audit", "--old", &url, "--cleartext", "--users", logins.to_str().unwrap()];
    let words = [&words[..], &["--parallel", "1", "--state", state.to_str().unwrap()]].concat();
    let said = migrate(&place, &words);
    let refused = "new: the server refuses AUTH: -ERR [AUTH] wrong user name or password\n";
    let compared = "mrose: 2 same, 1 missing, 1 added\nother: 1 same\n";
    let total = "all 3 users: 3 same, 1 missing, 1 added\n";
    assert_says(&said, 2, &format!("{compared}{refused}{total}"));
    // Only the user that failed is asked again.
    let logged_in = server.count("logged in");
    let said = migrate(&place, &words);
    assert_says(&said, 2, &format!("{compared}{refused}{total}"));
    assert_eq!(server.count("logged in"), logged_in);
    old.write("logins", "mrose\ttanstaaf\n");
    let said = migrate(&place, &words);
    assert_says(&said, 1, "mrose: 2 same, 1 missing, 1 added\n");
    assert!(said.stderr.contains("the listings of 1 of 1 users differ"), "{}", said.stderr);
    let config = fs::read_to_string(place.path("restante.toml")).unwrap();
    place.write("restante.toml", config.replace("[\"name\"]", "[\"base-name\"]"));
    let said = migrate(&place, &words);
    assert_says(&said, 2, "");
    assert!(said.stderr.contains("is of an audit with other settings"), "{}", said.stderr);
}

#[test]
fn saved_answers() {
    let place = place();
    let capture = place.path("capture");
    fs::create_dir(&capture).unwrap();
    fs::set_permissions(&capture, fs::Permissions::from_mode(0o700)).unwrap();
    let save = |name: &str, text: &str| fs::write(capture.join(name), text).unwrap();
    let directory = capture.to_str().unwrap();
    let one = ["audit", "--capture", directory, "--user", "mrose"];
    save("mrose.uidl", &format!("1 1.{ID}\r\n2 2.{ID}\r\n3 3.{ID}\r\n"));
    assert_says(&migrate(&place, &one), 0, "mrose: 3 same\n");
    save("mrose.list", "+OK 3 messages\n1 28\n2 28\n3 30\n.\n");
    assert_says(&migrate(&place, &one), 0, "mrose: 3 same, 1 with other octets\n");
    save("mrose.uidl", &format!("1 3.{ID}\n2 1.{ID}\n3 1.{ID}\n4 a b\n5 gone\n"));
    let differs = "mrose: 2 same, 1 missing, 1 added, 1 in another order, 1 doubled, 1 \
                   illegal\n";
    let said = migrate(&place, &one);
    assert_eq!((said.code, said.stdout.as_str()), (Some(1), differs), "{said:?}");
    // The other user has no file.
    let all = ["audit", "--capture", directory, "--all", "--json"];
    let said = migrate(&place, &all);
    assert_eq!(said.code, Some(2));
    let report: serde_json::Value = serde_json::from_str(&said.stdout).unwrap();
    assert_eq!(report["users"]["mrose"]["missing"], 1);
    assert!(report["users"]["other"]["error"].as_str().unwrap().contains("other.uidl: No such"));
    assert_eq!((&report["users-different"], &report["users-failed"]), (&1.into(), &1.into()));
    // A report that cannot be written is not one that says that users differ.
    let mut unwritten = Command::new(PROGRAM);
    unwritten.args(["migrate", "audit", "--json", "--capture", directory, "--user", "mrose"]);
    unwritten.arg("--config").arg(place.path("restante.toml"));
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    assert_eq!(unwritten.stdout(full).status().unwrap().code(), Some(2));
    save("mrose.uidl", "1 a\n3 b\n");
    let said = migrate(&place, &one);
    let expected = format!("mrose: {directory}/mrose.uidl: \"3 b\" is not \"2 unique-id\"\n");
    assert_says(&said, 2, &expected);
}

#[test]
fn a_list_for_dovecot() {
    let place = place();
    let path = place.path("mrose/Maildir/dovecot-uidlist");
    let export = ["export", "--format", "dovecot", "--all"];
    place.write("mrose/Maildir/dovecot-uidlist", format!("3 V7 N5\n2 :3.{ID}\n4 :1.{ID}\n"));
    let said = migrate(&place, &export);
    let lists =
        ["mrose", "other"].map(|user| place.path(&format!("{user}/Maildir/dovecot-uidlist")));
    let [mrose, other] = lists.each_ref().map(|path| path.display());
    let kept = ", the old list is dovecot-uidlist.before-restante";
    let expected = format!("mrose: 3 messages: {mrose}{kept}\nother: 1 messages: {other}\n");
    assert_says(&said, 0, &expected);
    let list = format!("3 V7 N6\n2 P :3.{ID}\n4 P O1 :1.{ID}\n5 P O2 :2.{ID}\n");
    assert_eq!(fs::read_to_string(&path).unwrap(), list);
    let said = migrate(&place, &export);
    let unchanged = format!("mrose: 3 messages, unchanged: {mrose}\n");
    assert!(said.stdout.starts_with(&unchanged), "{said:?}");
    // What cannot be read is not left out in silence.
    place.deliver(4, b"Subject: a message\n\ntext\n");
    let unreadable = place.path(&format!("mrose/Maildir/new/4.{ID}"));
    fs::set_permissions(&unreadable, fs::Permissions::from_mode(0o000)).unwrap();
    let said = migrate(&place, &["export", "--format", "dovecot", "--user", "mrose"]);
    let why = "the message cannot be read; correct that, and export again";
    assert_says(&said, 1, &format!("mrose: 3 messages, unchanged: {mrose}\n  4.{ID}: {why}\n"));
    fs::remove_file(unreadable).unwrap();
    // Neither a list that cannot be understood nor one that Dovecot writes is replaced.
    fs::write(&path, "9 nonsense\n").unwrap();
    let said = migrate(&place, &["export", "--format", "dovecot", "--user", "mrose"]);
    let why = "line 1: version 9 is not supported; versions 1 and 3 are; restore the file from a \
               backup, or remove it: then IMAP clients download the mail again";
    assert_says(&said, 1, &format!("mrose: read {mrose}: {why}\n"));
    place.write("mrose/Maildir/dovecot-uidlist.lock", "");
    let said = migrate(&place, &["export", "--format", "dovecot", "--user", "mrose"]);
    assert_eq!(said.code, Some(1));
    assert!(said.stdout.contains("because Dovecot writes its list now"), "{said:?}");
    assert_eq!(fs::read_to_string(&path).unwrap(), "9 nonsense\n");
}

#[test]
fn a_list_for_courier() {
    let place = place();
    let said = migrate(&place, &["export", "--format", "courier", "--user", "mrose"]);
    let path = place.path("mrose/Maildir/courierpop3dsizelist");
    assert_says(&said, 0, &format!("mrose: 3 messages: {}\n", path.display()));
    let list = fs::read_to_string(path).unwrap();
    let (header, records) = list.split_once('\n').unwrap();
    let time = header.strip_prefix("/3 1 ").unwrap();
    let expected = [1, 2, 3].map(|number| format!("{number}.{ID}:2, 28 0:{time}:0\n"));
    assert_eq!(records, expected.concat());
    // A name with a size is longer than the unique-id.
    place.write(&format!("mrose/Maildir/new/4.{ID},S=26"), "Subject: a message\n\ntext\n");
    let said = migrate(&place, &["export", "--format", "courier", "--user", "mrose"]);
    assert_eq!(said.code, Some(1));
    let why = "Courier's unique-ids are UIDn-UIDVALIDITY or the file name";
    assert!(said.stdout.ends_with(&format!("\n  4.{ID}: {why}\n")), "{said:?}");
    assert!(said.stderr.contains("do not have all messages"), "{said:?}");
}

/// From Dovecot and back, with the list and without it.
#[test]
fn unique_ids_go_there_and_back() {
    let place = place_with("[\"dovecot\", \"base-name\"]");
    let list = format!("3 V7 N9\n2 :3.{ID}\n4 PX :1.{ID}\n");
    place.write("mrose/Maildir/dovecot-uidlist", &list);
    let capture = place.path("mrose.uidl");
    fs::write(capture, format!("1 0000000200000007\n2 X\n3 2.{ID}\n")).unwrap();
    let directory = place.path("");
    let audit = ["audit", "--capture", directory.to_str().unwrap(), "--user", "mrose"];
    assert_says(&migrate(&place, &audit), 0, "mrose: 3 same\n");
    let said = migrate(&place, &["apply", "--all"]);
    assert_says(&said, 0, "4 messages of 2 users\n");
    let export = ["export", "--format", "dovecot", "--user", "mrose"];
    let said = migrate(&place, &export);
    assert_eq!(said.code, Some(0), "{said:?}");
    let path = place.path("mrose/Maildir/dovecot-uidlist");
    let list = list.replace("N9", "N10").replace("2 :", "2 P0000000200000007 :");
    let list = list + &format!("9 P :2.{ID}\n");
    assert_eq!(fs::read_to_string(&path).unwrap(), list);
    // Without the list, all that clients know is in the state of Restante.
    fs::remove_file(&path).unwrap();
    fs::remove_file(place.path(&format!("mrose/Maildir/new/1.{ID}"))).unwrap();
    assert_says(&migrate(&place, &["apply", "--user", "mrose"]), 0, "2 messages of 1 users\n");
    let said = migrate(&place, &export);
    assert_eq!(said.code, Some(0), "{said:?}");
    let list = fs::read_to_string(&path).unwrap();
    let (header, records) = list.split_once('\n').unwrap();
    assert!(header.starts_with("3 V1") && header.ends_with(" N3"), "{header}");
    assert_eq!(records, format!("1 P0000000200000007 :3.{ID}\n2 P :2.{ID}\n"));
    // A login of these users would be refused now.
    let config = fs::read_to_string(place.path("restante.toml")).unwrap();
    let config = config.lines().filter(|line| !line.starts_with("uidl"));
    place.write("restante.toml", config.map(|line| format!("{line}\n")).collect::<String>());
    place.write("other/Maildir/dovecot-uidlist", "3 V7 N9\n");
    fs::remove_file(place.path("other/Maildir/restante.uids")).unwrap();
    fs::remove_file(place.path("other/Maildir/restante.index")).unwrap();
    for words in [&["apply", "--all"][..], &["export", "--format", "dovecot", "--all"]] {
        let said = migrate(&place, words);
        assert_eq!(said.code, Some(1));
        assert!(said.stdout.contains("maildir.uidl is not set: write uidl = "), "{said:?}");
    }
}

#[test]
fn what_users_would_see() {
    let place = place_with("[\"dovecot\", \"base-name\"]");
    let write = |records: &str| {
        place.write("mrose/Maildir/dovecot-uidlist", format!("3 V7 N9\n{records}"));
    };
    write(&format!("2 :3.{ID}\n4 PX :1.{ID}\n"));
    let plan = ["plan", "--all"];
    let other = "other: 0 same, 1 new (1 base-name)\n";
    assert_says(
        &migrate(&place, &plan),
        0,
        &format!("mrose: 2 same, 1 new (1 base-name, 2 dovecot)\n{other}"),
    );
    write(&format!("2 PX :3.{ID}\n4 PX :1.{ID}\n5 Pk\u{e4}se :2.{ID}\n"));
    let expected = format!("mrose: 1 same, 1 doubled, 1 illegal (2 base-name, 1 dovecot)\n{other}");
    assert_says(&migrate(&place, &plan), 1, &expected);
    write(&format!("2 :3.{ID}\nnonsense\n4 PX :1.{ID}\n"));
    let damage = "line 3: it does not begin with a UID in dovecot-uidlist; the messages after it \
                  count as new";
    let expected = format!("mrose: 1 same, 2 new (2 base-name, 1 dovecot)\n  {damage}\n{other}");
    assert_says(&migrate(&place, &plan), 1, &expected);
    write(&format!("2 PX :3.{ID}\n4 PX :1.{ID}\n5 Pk\u{e4}se :2.{ID}\n"));
    let in_maildir = place.path("mrose/Maildir");
    assert!(!in_maildir.join("restante.uids").exists());
    // What has been listed once stays, whatever the list says later.
    write(&format!("2 :3.{ID}\n4 PX :1.{ID}\n5 :2.{ID}\n"));
    assert_eq!(migrate(&place, &["apply", "--all"]).code, Some(0));
    write(&format!("1 :1.{ID}\n2 :3.{ID}\n5 :2.{ID}\n"));
    place.write(&format!("mrose/Maildir/new/4.{ID},S=9"), "Subject: a message\n\ntext\n");
    let said = migrate(&place, &["plan", "--user", "mrose"]);
    let expected = "mrose: 2 same, 1 new, 1 with another unique-id, 1 in another order, 1 with a \
                    wrong size in the name (1 base-name, 3 restante.uids)\n";
    assert_says(&said, 1, expected);
    assert!(said.stderr.contains("1 of 1 users would notice the move"), "{said:?}");
    assert_eq!(migrate(&place, &["plan"]).code, Some(1));
}

/// Nobody is left out in silence.
#[test]
fn users_that_cannot_be_listed() {
    let place = place();
    let config = fs::read_to_string(place.path("restante.toml")).unwrap();
    let program = "[[credentials]]\nkind = \"checkpassword\"\ncommand = [\"/bin/false\"]\n[auth]\n";
    let both = config.replace("[auth]\n", program);
    place.write("restante.toml", &both);
    let plan = ["plan", "--all"];
    let said = migrate(&place, &plan);
    assert_says(&said, 1, "mrose: 0 same, 3 new (3 name)\nother: 0 same, 1 new (1 name)\n");
    let unlisted = "the users of the store of kind \"checkpassword\" cannot be listed";
    assert!(said.stderr.contains(unlisted), "{said:?}");
    // Such a store does not say where mail is.
    let said = migrate(&place, &["apply", "--user", "other"]);
    assert_says(&said, 0, "1 messages of 1 users\n");
    place.write(
        "restante.toml",
        both.replace("kind = \"file\"\npath = \"users\"\n[[credentials]]\n", ""),
    );
    let said = migrate(&place, &plan);
    assert_says(&said, 1, "");
    assert!(said.stderr.contains(unlisted), "{said:?}");
    // Users who cannot log in have mail all the same, if it is known where.
    place.write("restante.toml", &config);
    let users = fs::read_to_string(place.path("users")).unwrap();
    place.write("users", format!("{users}nologin:x::::::nologin\nlost:x::::::mail=mbox:~/mail\n"));
    let said = migrate(&place, &["apply", "--all"]);
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.stdout.contains("lost: ") && said.stdout.contains("nologin: "), "{said:?}");
}

/// Only a login would tell where the mail of other users is.
#[cfg(feature = "sql")]
#[test]
fn a_database_that_says_where_mail_is() {
    let place = place();
    let config = fs::read_to_string(place.path("restante.toml")).unwrap();
    let store = "[[credentials]]\nkind = \"sql\"\nurl = \"postgres://restante@127.0.0.1:1/mail\"\n\
                 query = \"SELECT password, mail FROM users WHERE name = {user}\"\n[auth]\n";
    place.write("restante.toml", config.replace("[auth]\n", store));
    let said = migrate(&place, &["apply", "--user", "third"]);
    assert_says(&said, 1, "");
    let why = "the location of third's mail comes from the store of kind \"sql\", which cannot be \
               asked without a login";
    assert!(said.stderr.contains(why), "{said:?}");
    assert_says(&migrate(&place, &["apply", "--user", "other"]), 0, "1 messages of 1 users\n");
}

/// What the guard would only log is a warning.
#[test]
fn a_guard_that_warns() {
    let place = place();
    let config = fs::read_to_string(place.path("restante.toml")).unwrap();
    let config = config.replace("uidl = [\"name\"]\n", "");
    place.write("restante.toml", config.replace("[auth]\n", "[guard]\nmode = \"warn\"\n[auth]\n"));
    place.write("mrose/Maildir/dovecot-uidlist", "3 V7 N9\n");
    let said = migrate(&place, &["plan", "--user", "mrose"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(
        said.stdout.starts_with("mrose: 0 same, 3 new (3 name); but dovecot-uidlist has"),
        "{said:?}"
    );
    place.write("mrose.uidl", format!("1 1.{ID}\n2 2.{ID}\n3 3.{ID}\n"));
    let directory = place.path("");
    let audit = ["audit", "--capture", directory.to_str().unwrap(), "--user", "mrose"];
    let said = migrate(&place, &audit);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(said.stdout.starts_with("mrose: 3 same; but dovecot-uidlist has"), "{said:?}");
    let said = migrate(&place, &["export", "--format", "dovecot", "--user", "mrose"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(said.stdout.contains("\n  a login shows these messages, but dovecot-uid"), "{said:?}");
}

/// Mail that was copied with other file names, of which one message was there twice.
#[test]
fn copied_mail_is_found_again() {
    let (old, place) = (Place::new(), place_with("[\"map\", \"base-name\"]"));
    old.configure(&[OFF], "allow-cleartext = true\n");
    let config = fs::read_to_string(place.path("restante.toml")).unwrap();
    let map = "[maildir.map]\npath = \"maps/{user}\"\n[tls]\n";
    let config = config.replace("[tls]\n", map);
    place.write(
        "restante.toml",
        config.replace("[maildir]\n", "[maildir]\nflag-separator = \";\"\n"),
    );
    fs::create_dir(place.path("maps")).unwrap();
    for number in 1..=3 {
        fs::remove_file(place.path(&format!("mrose/Maildir/new/{number}.{ID}"))).unwrap();
    }
    let mail = |number: u32| format!("From: a@b.c\nMessage-ID: <{number}@b.c>\n\ntext\n");
    for number in 1..=60 {
        old.deliver(number, mail(number).as_bytes());
        let copied = format!("Received: by x\nX-UIDL: 7\n{}", mail(number)).replace('\n', "\r\n");
        place.deliver(100 + number, copied.as_bytes());
    }
    // Two copies of one message, of which one was copied. Its file has flags.
    for number in [61, 62] {
        old.deliver(number, mail(61).as_bytes());
    }
    place.write(&format!("mrose/Maildir/cur/261.{ID};2,S"), mail(61));
    // Two messages without a header, of which one was copied.
    old.deliver(64, b"\none");
    old.deliver(65, b"\nother");
    place.deliver(265, b"\nother");
    old.deliver(63, b"Subject: only there\n\n");
    place.deliver(999, b"Subject: only here\n\n");
    let server = old.serve();
    place.write("logins", "mrose\ttanstaaf\n");
    let (url, logins) = (format!("pop3://{}", server.address(0)), place.path("logins"));
    let asking = ["--old", &url, "--cleartext", "--users", logins.to_str().unwrap()];
    let maps = place.path("maps");
    let words = [&["adopt", "--output", maps.to_str().unwrap()], &asking[..]].concat();
    let said = migrate(&place, &words);
    let found = "mrose: 61 of 65 messages found, 63 are here; 2 not identified: no field of their \
                 headers counts\n";
    assert_says(&said, 1, found);
    let map = fs::read_to_string(maps.join("mrose")).unwrap();
    assert_eq!(map.lines().next(), Some(&*format!("101.{ID}\t1.{ID}")));
    assert_eq!(map.lines().last(), Some(&*format!("261.{ID}\t61.{ID}")));
    let said = migrate(&place, &[&["audit"], &asking[..]].concat());
    assert_says(&said, 1, "mrose: 61 same, 4 missing, 2 added, 60 with other octets\n");
    // Users who have a map are skipped, unless it is to be replaced.
    let path = maps.join("mrose");
    let skipped =
        format!("mrose: skipped, because {} exists; --replace makes it again\n", path.display());
    assert_says(&migrate(&place, &words), 0, &skipped);
    fs::write(&path, "").unwrap();
    assert_says(&migrate(&place, &[&words[..], &["--replace"]].concat()), 1, found);
    assert_eq!(fs::read_to_string(&path).unwrap(), map);
}
