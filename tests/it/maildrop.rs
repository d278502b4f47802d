//! Mail when clients vanish, servers are killed, and other programs change the Maildir.
//!
//! After every test the same invariants hold: a message that was not removed by an answered QUIT
//! is there, octet for octet; its unique-id is the same; the maildrop is free. Clients that attack
//! are in `hostile.rs`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use crate::support::client::{Client, Tls, greeted, logged_in};
use crate::support::{IMPLICIT, OFF, Place, Server, eventually, pause};

const LISTEN: [(&str, &str); 2] = [OFF, IMPLICIT];
const CLEARTEXT: &str = "allow-cleartext = true\n";

fn place() -> Place {
    let place = Place::new();
    place.configure(&LISTEN, CLEARTEXT);
    place
}

/// A place whose server does not wait for the lock of a maildrop.
fn impatient_place() -> Place {
    let place = Place::new();
    place.configure(&LISTEN, CLEARTEXT);
    let text = fs::read_to_string(place.path("restante.toml")).unwrap();
    place.write("restante.toml", text.replace("[maildir]\n", "[maildir]\nlock-wait = \"0s\"\n"));
    place
}

/// A message with unique contents.
fn message(number: u32) -> Vec<u8> {
    format!("Subject: message {number}\n\n.{}\n", "text ".repeat(number as usize % 50)).into()
}

/// The same message as a client receives it.
fn received(number: u32) -> Vec<u8> {
    String::from_utf8(message(number)).unwrap().replace('\n', "\r\n").into()
}

fn deliver(place: &Place, numbers: std::ops::RangeInclusive<u32>) {
    for number in numbers {
        place.deliver(number, &message(number));
    }
}

/// The numbers at the start of the names of all message files. Asserts that each is complete.
fn stored(place: &Place) -> BTreeSet<u32> {
    let mut found = BTreeSet::new();
    for folder in ["new", "cur"] {
        for entry in fs::read_dir(place.path(&format!("mrose/Maildir/{folder}"))).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            let number = name.split('.').next().unwrap().parse().unwrap();
            assert!(fs::read(&path).unwrap() == message(number), "{} is damaged", path.display());
            assert!(found.insert(number), "message {number} is there twice");
        }
    }
    found
}

fn unique_ids(client: &mut Client) -> Vec<String> {
    lines(client, "UIDL")
}

fn lines(client: &mut Client, command: &str) -> Vec<String> {
    let reply = client.ask(command);
    assert!(reply.starts_with("+OK "), "{reply}");
    String::from_utf8(client.body()).unwrap().lines().map(Into::into).collect()
}

#[test]
fn a_second_session_is_told_since_when_the_maildrop_is_in_use() {
    let place = impatient_place();
    deliver(&place, 1..=2);
    let (first, second) = (place.serve(), place.serve());
    let mut owner = logged_in(&first);
    // Held in the same process, in another one, and by another kind of login.
    for server in [&first, &second] {
        for command in ["PASS", "AUTH"] {
            let mut late = greeted(server);
            let reply = if command == "PASS" {
                late.log_in()
            } else {
                late.ask("AUTH PLAIN AG1yb3NlAHRhbnN0YWFm")
            };
            let since = reply
                .strip_prefix("-ERR [IN-USE] this maildrop is open in another session")
                .and_then(|rest| rest.strip_suffix("; wait and try again"))
                .unwrap_or_else(|| panic!("{reply}"));
            if server.pid() == first.pid() {
                let time = since.strip_prefix(" since ").and_then(|rest| rest.strip_suffix(" UTC"));
                let digits = time.unwrap_or_else(|| panic!("{reply}")).replace(':', "");
                assert!(digits.len() == 6 && digits.parse::<u32>().is_ok(), "{reply}");
            } else {
                // Of another process only the lock is known.
                assert_eq!(since, "");
            }
            assert_eq!(late.ask("STAT"), "-ERR log in first");
            // Only a client that knows the password learns that.
            let mut stranger = greeted(server);
            stranger.ask("USER mrose");
            assert_eq!(stranger.ask("PASS wrong"), "-ERR [AUTH] wrong user name or password");
        }
    }
    assert_eq!(owner.ask("RETR 1").split(' ').next(), Some("+OK"));
    assert_eq!(owner.body(), received(1));
    assert_eq!(owner.ask("QUIT"), "+OK goodbye, 2 messages left");
    // The lock is released before the reply, for all servers.
    for server in [&second, &first, &second] {
        assert_eq!(logged_in(server).ask("QUIT"), "+OK goodbye, 2 messages left");
    }
}

#[test]
fn the_maildrop_is_free_after_every_way_out() {
    type WayOut = fn(Client);
    let ways: [(&str, WayOut); 6] = [
        ("closed", drop),
        ("reset", Client::reset),
        ("half closed", |mut client| {
            client.half_close();
            assert_eq!(client.rest(), b"");
        }),
        ("gone within a command", |mut client| client.send("RETR ")),
        ("gone within a reply", |mut client| client.send("RETR 1\r\nRETR 1\r\nRETR 1\r\n")),
        ("quit without reading", |mut client| client.send("RETR 1\r\nQUIT\r\n")),
    ];
    let place = place();
    deliver(&place, 1..=3);
    let server = place.serve();
    for (what, way_out) in ways {
        for tls in [false, true] {
            let mut client = if tls {
                let mut client = Client::tls(server.address(1), &Tls::new());
                client.line();
                client
            } else {
                greeted(&server)
            };
            assert!(client.log_in().starts_with("+OK 3 "), "before: {what}");
            assert_eq!(client.ask("DELE 2"), "+OK message 2 deleted");
            way_out(client);
            // A login waits until the session has ended.
            let mut next = greeted(&server);
            let reply = next.log_in();
            let left = if what.starts_with("quit") { 2 } else { 3 };
            assert!(reply.starts_with(&format!("+OK {left} ")), "{what}: {reply}");
            next.ask("QUIT");
            deliver(&place, 2..=2);
        }
    }
}

/// RFC 1939 §3: without QUIT there is no UPDATE.
#[test]
fn without_quit_nothing_is_removed() {
    type WayOut = fn(Client);
    let ways: [WayOut; 5] = [
        drop,
        Client::reset,
        |mut client| {
            client.half_close();
            assert_eq!(client.rest(), b"");
        },
        |mut client| {
            client.send("QUIT");
            client.half_close();
            assert_eq!(client.rest(), b"");
        },
        |mut client| client.send("NOOP QUIT\r\nQUITX\r\n QUIT\r\nQUI"),
    ];
    let place = place();
    deliver(&place, 1..=50);
    let server = place.serve();
    for way_out in ways {
        let mut client = logged_in(&server);
        client.send((1..=50).map(|number| format!("DELE {number}\r\n")).collect::<String>());
        for number in 1..=50 {
            assert_eq!(client.line(), format!("+OK message {number} deleted"));
        }
        way_out(client);
        assert_eq!(logged_in(&server).ask("QUIT"), "+OK goodbye, 50 messages left");
        assert_eq!(stored(&place), (1..=50).collect());
    }
}

/// Outlook closes the connection at once after QUIT (tpop3d's `no-commit-on-early-close`).
#[test]
fn once_quit_has_been_sent_the_removal_is_finished_without_the_client() {
    type WayOut = fn(Client);
    let ways: [(&str, WayOut); 2] = [("closed", drop), ("reset", Client::reset)];
    let place = place();
    let server = place.serve();
    for (what, way_out) in ways {
        for marks in [1, 20, 500] {
            for in_one_write in [true, false] {
                deliver(&place, 1..=marks + 1);
                let mut client = logged_in(&server);
                let mut commands: String =
                    (1..=marks).map(|number| format!("DELE {number}\r\n")).collect();
                if !in_one_write {
                    client.send(std::mem::take(&mut commands));
                    for number in 1..=marks {
                        assert_eq!(client.line(), format!("+OK message {number} deleted"));
                    }
                }
                client.send(commands + "QUIT\r\n");
                way_out(client);
                let case = format!("{what}, {marks} marks, in one write: {in_one_write}");
                eventually(&case, || place.messages() == 1);
                assert_eq!(stored(&place), [marks + 1].into());
                let mut client = logged_in(&server);
                client.ask("DELE 1");
                assert_eq!(client.ask("QUIT"), "+OK 1 message removed, 0 left", "{case}");
            }
        }
    }
}

/// While an IMAP server renames files and new mail arrives, the listing of a session stays valid, and
/// no message is ever missing from a listing (a directory that is read while names change).
#[test]
fn delivery_and_flags_go_on_during_sessions() {
    const DELIVERIES: u32 = 200;
    let place = place();
    let server = place.serve();
    let delivered = AtomicU32::new(0);
    let path = |folder: &str, name: &str| place.path(&format!("mrose/Maildir/{folder}/{name}"));
    let finished = || delivered.load(Ordering::Acquire) == DELIVERIES;
    thread::scope(|scope| {
        scope.spawn(|| {
            for number in 1..=DELIVERIES {
                let name = format!("{number}.M1P1.localhost");
                fs::write(path("tmp", &name), message(number)).unwrap();
                place.hand_over(&path("tmp", &name));
                fs::rename(path("tmp", &name), path("new", &name)).unwrap();
                delivered.store(number, Ordering::Release);
                pause(Duration::from_millis(5));
            }
        });
        scope.spawn(|| {
            for flags in ["", "S", "RS", "FRS", "S"].iter().cycle() {
                for number in 1..=delivered.load(Ordering::Acquire) {
                    rename(&place, number, flags);
                }
                if finished() {
                    break;
                }
            }
        });
        let mut known = BTreeSet::new();
        loop {
            let last = finished();
            let expected = delivered.load(Ordering::Acquire);
            let mut client = logged_in(&server);
            let listing = unique_ids(&mut client);
            let ids: BTreeSet<String> =
                listing.iter().map(|line| line.split_once(' ').unwrap().1.to_owned()).collect();
            assert_eq!(ids.len(), listing.len(), "a unique-id comes twice");
            let lost: Vec<&String> = known.difference(&ids).collect();
            assert!(lost.is_empty(), "{lost:?} are not in the listing");
            assert!(ids.len() >= expected as usize, "{} of {expected}", ids.len());
            let sizes = lines(&mut client, "LIST");
            // The whole listing from the newest message on, as a client does that has seen the others.
            for line in listing.iter().rev().take(40) {
                let (number, id) = line.split_once(' ').unwrap();
                let expected = received(id.split('.').next().unwrap().parse().unwrap());
                let octets = expected.len();
                assert!(sizes.contains(&format!("{number} {octets}")), "{id}");
                assert_eq!(client.ask(&format!("RETR {number}")), format!("+OK {octets} octets"));
                assert!(client.body() == expected, "{id}");
            }
            assert_eq!(unique_ids(&mut client), listing, "the snapshot has changed");
            client.ask("QUIT");
            known = ids;
            if last {
                break;
            }
        }
        let all = (1..=DELIVERIES).map(|number| format!("{number}.M1P1.localhost")).collect();
        assert_eq!(known, all, "each exactly once");
    });
    assert_eq!(stored(&place), (1..=DELIVERIES).collect());
}

/// Sets the flags of a message, as an IMAP server does, wherever it is.
fn rename(place: &Place, number: u32, flags: &str) {
    let base = format!("{number}.M1P1.localhost");
    let folder = |name: &str| place.path(&format!("mrose/Maildir/{name}"));
    let with_flags = ["", "S", "RS", "FRS"].iter().map(|flags| format!("{base}:2,{flags}"));
    let mut now: Vec<PathBuf> = vec![folder("new").join(&base)];
    now.extend(with_flags.map(|name| folder("cur").join(name)));
    let wanted = folder("cur").join(format!("{base}:2,{flags}"));
    let from = now.iter().find(|path| path.exists());
    fs::rename(from.expect("only this test renames"), wanted).unwrap();
}

#[test]
fn unique_ids_and_sizes_outlive_the_server_its_index_and_flags() {
    let place = place();
    deliver(&place, 1..=20);
    let odd = ["21.M1,S=3,W=4", "with blank", &"x".repeat(100), "22.caf\u{e9}"];
    for name in odd {
        place.write(&format!("mrose/Maildir/new/{name}"), "odd\n");
    }
    let index = place.path("mrose/Maildir/restante.index");
    let look = |server: &Server| {
        let mut client = logged_in(server);
        let seen = (unique_ids(&mut client), lines(&mut client, "LIST"), client.ask("STAT"));
        client.ask("QUIT");
        seen
    };
    let server = place.serve();
    let first = look(&server);
    assert_eq!(first.0.len(), 24);
    // The index is written after the session.
    eventually("the index is there", || index.exists());
    let sound = fs::read(&index).unwrap();
    // The magic is always the same; the time stamps after it and the checksum may differ.
    let constant = |index: &[u8]| {
        let end = index.len().checked_sub(4)?;
        Some([index.get(..16)?, index.get(72..end)?].concat())
    };
    let is_sound = || fs::read(&index).is_ok_and(|now| constant(&now) == constant(&sound));
    assert_eq!(look(&server), first, "with the index");
    server.kill();

    let server = place.serve();
    assert_eq!(look(&server), first, "after a restart");
    fs::remove_file(&index).unwrap();
    assert_eq!(look(&server), first, "without the index");
    eventually("the index is made anew", is_sound);
    for at in (0..sound.len()).step_by(97) {
        let mut damaged = sound.clone();
        damaged[at] ^= 0x10;
        place.write("mrose/Maildir/restante.index", damaged);
        assert_eq!(look(&server), first, "with octet {at} of the index changed");
        eventually("the index is repaired", is_sound);
        place.write("mrose/Maildir/restante.index", &sound[..at]);
        assert_eq!(look(&server), first, "with the first {at} octets of the index");
        eventually("the index is completed", is_sound);
    }
    fs::remove_file(&index).unwrap();
    fs::create_dir(&index).unwrap();
    assert_eq!(look(&server), first, "with an index that cannot be written");
    fs::remove_dir(&index).unwrap();

    for flags in ["", "S", "RS"] {
        for number in 1..=20 {
            rename(&place, number, flags);
        }
        assert_eq!(look(&server), first, "in cur/ with the flags {flags:?}");
    }
    for name in ["with blank", "22.caf\u{e9}"] {
        let path = |folder: &str, flags: &str| {
            place.path(&format!("mrose/Maildir/{folder}/{name}{flags}"))
        };
        fs::rename(path("new", ""), path("cur", ":2,S")).unwrap();
    }
    assert_eq!(look(&server), first, "odd names in cur/");
    server.kill();
    assert_eq!(look(&place.serve()), first, "after one more restart");
}

/// Whenever the server is killed, the lock is released and all messages are intact.
#[test]
fn a_server_that_is_killed_loses_nothing() {
    const ROUNDS: u32 = 30;
    let place = impatient_place();
    let mut next = 1;
    let mut kept = BTreeMap::new();
    let mut server = place.serve();
    for round in 0..ROUNDS {
        deliver(&place, next..=next + 9);
        next += 10;
        let before = stored(&place);
        // At once, on the first attempt: no lock is left, and no repair is needed.
        let mut client = logged_in(&server);
        let ids: BTreeMap<u32, String> = unique_ids(&mut client)
            .iter()
            .map(|line| line.split_once(' ').unwrap().1)
            .map(|id| (id.split('.').next().unwrap().parse().unwrap(), id.to_owned()))
            .collect();
        assert_eq!(ids.keys().copied().collect::<BTreeSet<_>>(), before);
        for (number, id) in &kept {
            assert!(ids.get(number).is_none_or(|now| now == id), "another unique-id: {id}");
        }
        // Every other message is marked.
        let marked: BTreeSet<u32> = before.iter().copied().step_by(2).collect();
        let commands: String = (1..=before.len())
            .map(|n| if n % 2 == 1 { format!("DELE {n}\r\n") } else { format!("RETR {n}\r\n") })
            .collect();
        let asks_to_quit = round % 3 > 0;
        client.send(commands + if asks_to_quit { "QUIT\r\n" } else { "" });
        // Each round kills the server at another moment.
        pause(Duration::from_micros(u64::from(round * 7919 % ROUNDS) * 400));
        server.kill();

        let said = String::from_utf8(client.rest()).unwrap();
        let removed = said.contains(" removed, ");
        let after = stored(&place);
        assert!(after.is_subset(&before));
        let lost: Vec<u32> = before.difference(&after).copied().collect();
        assert!(lost.iter().all(|number| marked.contains(number)), "{lost:?} were not marked");
        assert!(asks_to_quit || lost.is_empty(), "{lost:?} were removed without QUIT");
        assert!(!removed || after.is_disjoint(&marked), "they are still there after +OK");
        kept = ids;
        server = place.serve();
    }
    let mut client = logged_in(&server);
    let count = stored(&place).len();
    assert_eq!(client.ask("QUIT"), format!("+OK goodbye, {count} messages left"));
}

/// 32-bit sizes and totals (Cyrus, Stalwart), memory for a whole message, TOP that reads all of it.
#[test]
fn messages_of_gigabytes() {
    const GIB: u64 = 1 << 30;
    let place = Place::in_memory();
    // Lets the user of this test read /proc/PID.
    place.configure(&LISTEN, &format!("{CLEARTEXT}[sandbox]\ncore-dumps = true\n"));
    // Holes, which take no space: zeros without any LF.
    for (number, size) in [(1, 3 * GIB), (2, GIB + 17)] {
        place.deliver(number, b"Subject: large\n\n");
        let path = place.path(&format!("mrose/Maildir/new/{number}.M1P1.localhost"));
        fs::File::options().write(true).open(path).unwrap().set_len(size).unwrap();
    }
    let server = place.serve();
    logged_in(&server).ask("QUIT");
    // Two octets for the line ends of the header, two for that of the line of zeros.
    let sizes = [3 * GIB + 4, GIB + 17 + 4];
    let total: u64 = sizes.iter().sum();
    assert!(total > u64::from(u32::MAX));

    let (memory, read) = (server.peak_memory(), server.bytes_read());
    let mut client = greeted(&server);
    assert_eq!(client.log_in(), format!("+OK 2 messages ({total} octets)"));
    assert_eq!(client.ask("STAT"), format!("+OK 2 {total}"));
    let listing = [format!("1 {}", sizes[0]), format!("2 {}", sizes[1])];
    assert_eq!(lines(&mut client, "LIST"), listing);
    for number in [1, 2] {
        assert_eq!(client.ask(&format!("TOP {number} 0")), "+OK top of message follows");
        assert_eq!(client.body(), b"Subject: large\r\n\r\n");
    }
    let by_top = server.bytes_read() - read;
    assert!(by_top < 1 << 20, "{by_top} bytes were read for a login, LIST and TOP");

    assert_eq!(client.ask("RETR 1"), format!("+OK {} octets", sizes[0]));
    client.read_some(1 << 20);
    drop(client);
    // The server notices that the client is gone without reading the rest.
    assert_eq!(logged_in(&server).ask("DELE 1"), "+OK message 1 deleted");
    let read = server.bytes_read() - read;
    assert!(read < 64 << 20, "{read} bytes were read for one of a message");
    let grown = server.peak_memory() - memory;
    assert!(grown < 6 << 10, "memory has grown by {grown} KiB");
}

/// The limit of open files bounds the number of sessions, so each needs few descriptors.
#[test]
fn a_session_that_waits_for_its_client_holds_three_descriptors() {
    const SESSIONS: usize = 10;
    let place = Place::new();
    for number in 0..SESSIONS {
        let name = format!("reader{number}");
        place.user(&name);
        place.deliver_to(&name, 1, &b"Subject: one\n\n.dots\n".repeat(20_000));
    }
    // Lets the user of this test read /proc/PID.
    place.configure(&LISTEN, &format!("{CLEARTEXT}[sandbox]\ncore-dumps = true\n"));
    let server = place.serve();
    let log_in = |number: usize| {
        let mut client = greeted(&server);
        client.ask(&format!("USER reader{number}"));
        assert!(client.ask("PASS tanstaaf").starts_with("+OK 1 message "));
        client
    };
    log_in(0).ask("QUIT");
    server.logged(&["session ended"]);
    // The connection of that session may still be about to be closed, so this is a limit.
    let before = server.descriptors();
    let mut readers: Vec<Client> = (0..SESSIONS).map(log_in).collect();
    eventually("three each", || server.descriptors() <= before + 3 * SESSIONS);
    for reader in &mut readers {
        assert!(reader.ask("RETR 1").starts_with("+OK"));
        reader.body();
        assert!(reader.ask("DELE 1").starts_with("+OK"));
    }
    eventually("three each", || server.descriptors() <= before + 3 * SESSIONS);
    for reader in &mut readers {
        assert!(reader.ask("QUIT").contains(" removed, "));
    }
    eventually("none is left", || server.descriptors() <= before);
}

/// Memory for output that slow clients have not read yet.
#[test]
fn slow_readers_cost_no_memory() {
    const READERS: usize = 8;
    let place = Place::new();
    for number in 0..READERS {
        let name = format!("reader{number}");
        place.user(&name);
        place.deliver_to(&name, 1, b"Subject: large\n\n");
        let path = place.path(&format!("{name}/Maildir/new/1.M1P1.localhost"));
        fs::File::options().write(true).open(path).unwrap().set_len(32 << 20).unwrap();
    }
    place.configure(&LISTEN, CLEARTEXT);
    let server = place.serve();
    let connect = |number: usize| {
        let mut client = if number < READERS / 2 {
            greeted(&server)
        } else {
            let mut client = Client::tls(server.address(1), &Tls::new());
            client.line();
            client
        };
        client.ask(&format!("USER reader{number}"));
        let reply = client.ask("PASS tanstaaf");
        assert_eq!(reply, format!("+OK 1 message ({} octets)", (32 << 20) + 4));
        client
    };
    let mut readers: Vec<Client> = (0..READERS).map(connect).collect();
    let memory = server.peak_memory();
    for reader in &mut readers {
        assert_eq!(reader.ask("RETR 1"), format!("+OK {} octets", (32 << 20) + 4));
    }
    for _ in 0..40 {
        for reader in &mut readers {
            reader.read_some(4 << 10);
        }
    }
    // A client that has been slow still gets the whole message.
    let whole = readers[0].body();
    assert_eq!(whole.len(), (32 << 20) + 4);
    let grown = server.peak_memory() - memory;
    assert!(grown < 8 << 10, "memory has grown by {grown} KiB");
}
