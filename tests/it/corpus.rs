//! Awkward messages, fetched over real sockets and compared octet for octet.
//!
//! `reference` says what a client should get, independently of the code under test, and decodes as
//! the strictest of clients does. The bugs that this guards against: a body that ends its reply early
//! (POP3Lite, CVE-2001-0996; GreenMail three times), sizes that are two octets short, a client that
//! waits for ever for an end (James), TOP that counts lines of the header (Stalwart).

use std::fs;

use self::reference::{decoded, normalised};
use crate::support::client::{Client, Tls};
use crate::support::{Place, Server};

#[path = "../../src/protocol/body/tests/reference.rs"]
mod reference;

const HEADER: &str = "From: mrose@example.org\nSubject: awkward\n\n";

#[test]
fn every_message_arrives_as_it_should_in_the_clear() {
    fetch_all("off", |server| Client::plain(server.address(0)));
}

#[test]
fn every_message_arrives_as_it_should_after_stls() {
    fetch_all("starttls", |server| {
        let mut client = Client::plain(server.address(0));
        client.line();
        client.upgrade(&Tls::new())
    });
}

#[test]
fn every_message_arrives_as_it_should_under_tls() {
    fetch_all("implicit", |server| Client::tls(server.address(0), &Tls::new()));
}

fn fetch_all(kind: &str, connect: impl Fn(&Server) -> Client) {
    let messages = corpus();
    let place = Place::new();
    for (number, stored) in (1..).zip(&messages) {
        place.deliver(number, stored);
    }
    let cleartext = if kind == "off" { "allow-cleartext = true\n" } else { "" };
    place.configure(&[("127.0.0.1:0", kind)], cleartext);
    let server = place.serve();
    let mut client = connect(&server);
    if kind != "starttls" {
        client.line();
    }
    let expected: Vec<Vec<u8>> = messages.iter().map(|stored| normalised(stored)).collect();
    let total: usize = expected.iter().map(Vec::len).sum();
    let count = messages.len();
    assert_eq!(client.log_in(), format!("+OK {count} messages ({total} octets)"));
    assert_eq!(client.ask("STAT"), format!("+OK {count} {total}"));
    assert_eq!(client.ask("LIST"), format!("+OK {count} messages ({total} octets)"));
    let listing: String =
        (1..).zip(&expected).map(|(n, message)| format!("{n} {}\r\n", message.len())).collect();
    assert_eq!(String::from_utf8(client.body()).unwrap(), listing);

    for (number, message) in (1..).zip(&expected) {
        client.send(format!("RETR {number}\r\n"));
        expect_whole(&mut client, message, "RETR");
    }
    // As mpop does.
    for (group, messages) in expected.chunks(16).enumerate() {
        let numbers = (group * 16 + 1..).take(messages.len());
        client.send(numbers.map(|number| format!("RETR {number}\r\n")).collect::<String>());
        for message in messages {
            expect_whole(&mut client, message, "RETR of many at once");
        }
    }
    for lines in [0, 1, 5, u64::MAX] {
        for (group, messages) in expected.chunks(16).enumerate() {
            let numbers = (group * 16 + 1..).take(messages.len());
            let commands = numbers.map(|number| format!("TOP {number} {lines}\r\n"));
            client.send(commands.collect::<String>());
            for message in messages {
                assert_eq!(client.line(), "+OK top of message follows");
                let top = decoded(&client.stuffed_body());
                expect_same(&top, top_of(message, lines), &format!("TOP n {lines}"));
            }
        }
    }
    assert_eq!(client.ask("QUIT"), format!("+OK goodbye, {count} messages left"));
    assert!(client.is_closed_in_order());

    for (number, stored) in (1..).zip(&messages) {
        let path = place.path(&format!("mrose/Maildir/new/{number}.M1P1.localhost"));
        assert!(fs::read(path).unwrap() == *stored, "message {number} is not what was delivered");
    }
}

/// Reads a reply to RETR.
fn expect_whole(client: &mut Client, message: &[u8], what: &str) {
    assert_eq!(client.line(), format!("+OK {} octets", message.len()), "{}", shown(message));
    expect_same(&decoded(&client.stuffed_body()), message, what);
}

fn expect_same(got: &[u8], expected: &[u8], what: &str) {
    assert!(got == expected, "{what}: {}, not {}", shown(got), shown(expected));
}

fn shown(message: &[u8]) -> String {
    let part = &message[message.len().saturating_sub(300)..];
    format!("{} octets that end in \"{}\"", message.len(), part.escape_ascii())
}

/// The header, the blank line and this number of lines of the body (RFC 1939 §7 TOP).
fn top_of(message: &[u8], lines: u64) -> &[u8] {
    let mut end = 0;
    let mut left = None;
    for line in message.split_inclusive(|&octet| octet == b'\n') {
        left = match left {
            Some(0) => break,
            Some(left) => Some(left - 1),
            None => (line == b"\r\n").then_some(lines),
        };
        end += line.len();
    }
    &message[..end]
}

/// The messages as they are stored.
fn corpus() -> Vec<Vec<u8>> {
    let mut messages: Vec<Vec<u8>> = Vec::new();
    // All ends of a header and of a body.
    for end in [
        "",
        "\n",
        "\r\n",
        "\r",
        "\r\r\n",
        "\n\n",
        "\r\n\r\n",
        "\n\r",
        "\r\n\r",
        ".",
        ".\n",
        ".\r\n",
        ".\r",
        "\n.",
        "\n.\n",
        "\r\n.\r\n",
        "\n.\r",
        "\r.\r",
        "\r.\r\n",
        "\n..",
        "\n..\n",
        "\0",
        "\0\n",
        "\n\0",
    ] {
        messages.push(format!("Subject: only a header{end}").into());
        messages.push(format!("{HEADER}body{end}").into());
        messages.push(format!("{}body{end}", HEADER.replace('\n', "\r\n")).into());
    }
    for odd in [
        &b"."[..],
        b"..\n",
        b".\n.\n.\n",
        b".Subject: a dot at the very first octet\n\n.\n..\n...\n. .\n.a\n",
        b"\n.\n",
        b"\n.\r\n",
        b"\r.\r",
        b"\n\nthe header is empty\n",
        b"\r\r\r\r",
        b"\n\n\n\n",
        b"a\rlone CR\r in the\r\rmiddle\n",
        b"Subject: a\0NUL\n\n\0\0\n\0.\n.\0\n",
        b"Subject: stored with CRLF\r\n\r\none\r\n.\r\n..\r\n\r\ntwo\r\n",
        b"Subject: mixed\r\n\none\r\ntwo\nthree\rfour\n\r\n.\nfive\r\n.\r\n",
        b"Subject: the blank line is blanks\n \nbody\n\nreal body\n",
        b"+OK not a reply\n-ERR not one either\n\n+OK\n.\n-ERR\n",
    ] {
        messages.push(odd.into());
    }
    // All octets, and text in other encodings than ASCII.
    messages.push((0..=u8::MAX).collect());
    messages.push((0..=u8::MAX).flat_map(|octet| [octet, b'\n']).collect());
    messages.push([HEADER.as_bytes(), b"caf\xe9 \xff\xfe \xf0\x28\x8c\x28\n"].concat());
    messages.push(format!("{HEADER}Gr\u{fc}\u{df}e, \u{202e}\u{1f4ee}\n").into());
    // Line ends and dots at likely ends of buffers.
    for buffer in [4 << 10, 8 << 10, 16 << 10, 32 << 10, 64 << 10] {
        for before in 0..4 {
            let start = [HEADER.as_bytes(), &vec![b'x'; buffer - HEADER.len() - before]].concat();
            messages.push([&start, &b"\r\n.\r\n..\n.\ny"[..]].concat());
            messages.push([&start, &b"\n.\n"[..]].concat());
        }
    }
    messages.push([HEADER.as_bytes(), &b"x".repeat(10_000_000)].concat());
    messages.push([HEADER.as_bytes(), &b".".repeat(100_000), &b".\n".repeat(50_000)].concat());
    messages.push(b"\r".repeat(70_000));
    // All short strings of the octets that matter, as a message and at both ends of a body.
    for odd in strings(b"\r\n.\0a", 4) {
        messages.push([HEADER.as_bytes(), &odd, b"middle", &odd].concat());
        messages.push(odd);
    }
    messages
}

/// All strings of these octets up to a length, the empty one too.
fn strings(octets: &[u8], length: usize) -> Vec<Vec<u8>> {
    let mut all = vec![Vec::new()];
    let mut from = 0;
    for _ in 0..length {
        let to = all.len();
        for at in from..to {
            all.extend(
                octets.iter().map(|&octet| [&all[at], &[octet][..]].concat()).collect::<Vec<_>>(),
            );
        }
        from = to;
    }
    all
}
