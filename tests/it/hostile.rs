//! Clients that attack or are broken: lines, memory, time, other protocols, STLS.
//!
//! Each test names the class of bugs that it guards against, with servers that had them. Tests of
//! mail are in `maildrop.rs`, those of logins in `login.rs`.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use crate::support::client::{Client, Tls, expect_in_sync, greeted, logged_in};
use crate::support::{
    IMPLICIT, LENIENT, OFF, PATIENCE, Place, STARTTLS, Server, eventually, lenient_place, pause,
};

const COMMANDS: [&str; 17] = [
    "USER ",
    "PASS ",
    "AUTH PLAIN ",
    "AUTH LOGIN ",
    "AUTH ",
    "STLS ",
    "CAPA ",
    "QUIT ",
    "NOOP ",
    "STAT ",
    "LIST ",
    "RETR ",
    "DELE ",
    "TOP 1 ",
    "RSET ",
    "UIDL ",
    "XYZZY ",
];

/// The memory that a server may use meanwhile: pages of the program, pools of the allocator.
const NOISE_KIB: u64 = 6 << 10;

/// Runs `what`, which must not make the memory of a server grow.
fn expect_flat_memory<T>(server: &Server, what: impl FnOnce() -> T) -> T {
    let before = server.peak_memory();
    let outcome = what();
    let grown = server.peak_memory() - before;
    assert!(grown < NOISE_KIB, "memory has grown by {grown} KiB from {before} KiB");
    outcome
}

/// Overflows (Cyrus CVE-2006-2502, qpopper CVE-2003-0143, endless loop CVE-2002-0454), and lines
/// that get many replies or whose tail is obeyed (popa3d's DESIGN lists such servers).
#[test]
fn an_overlong_line_gets_one_reply_and_its_tail_is_not_obeyed() {
    let place = lenient_place();
    place.deliver(1, b"Subject: stays\n\n");
    let server = place.serve();
    let mut at_home = logged_in(&server);
    for command in COMMANDS {
        // A connection without a login ends after 200 commands.
        for client in [&mut greeted(&server), &mut at_home] {
            for length in [254, 255, 256, 257, 512, 8192, 1 << 20] {
                let tail = "DELE 1\r\n";
                let filler = "!".repeat(length - command.len() - tail.len());
                client.send(format!("{command}{filler}{tail}"));
                let reply = client.line();
                // AUTH may have a token, and PASS a password of any length.
                let has_secret = command.starts_with("AUTH ") || command.starts_with("PASS ");
                let longest = if has_secret { 16 * 1024 } else { 255 };
                let fits = length <= longest;
                assert_eq!(reply == "-ERR line too long", !fits, "{command}{length}: {reply}");
                assert!(fits && command == "USER " || reply.starts_with("-ERR "), "{reply}");
                expect_in_sync(client);
            }
        }
    }
    assert_eq!(at_home.ask("STAT"), "+OK 1 18");
    assert_eq!(at_home.ask("QUIT"), "+OK goodbye, 1 message left");
}

/// A line without an end: memory that grows with the input.
#[test]
fn a_line_without_an_end_costs_no_memory() {
    let place = lenient_place();
    let server = place.serve();
    logged_in(&server).ask("QUIT");
    for mut client in [greeted(&server), logged_in(&server)] {
        expect_flat_memory(&server, || {
            let part = "x".repeat(1 << 20);
            for _ in 0..32 {
                client.send(&part);
            }
        });
        client.send("DELE 1\r\n");
        assert_eq!(client.line(), "-ERR line too long");
        expect_in_sync(&mut client);
    }
    // A response in an AUTH exchange may be long, but not that long.
    let mut client = greeted(&server);
    expect_flat_memory(&server, || {
        for length in [16 << 10, 1 << 20, 16 << 20] {
            assert_eq!(client.ask("AUTH PLAIN"), "+ ");
            client.send("A".repeat(length));
            client.send("\r\n");
            assert_eq!(client.line(), "-ERR line too long");
            expect_in_sync(&mut client);
        }
    });
}

/// Replies out of order or lost (WildDuck #950).
#[test]
fn ten_thousand_commands_in_one_write_are_answered_in_order() {
    let place = lenient_place();
    place.deliver(1, b"Subject: one\n\n.\n");
    let server = place.serve();
    let mut client = logged_in(&server);
    let round = "NOOP\r\nSTAT\nLIST 1\r\nUIDL 1\r\nRETR 1\r\nTOP 1 0\r\nRETR 2\r\nDELE 1\r\n\
                 DELE 1\r\nRSET\r\n";
    client.send(round.repeat(1000));
    let replies = "+OK\r\n+OK 1 19\r\n+OK 1 19\r\n+OK 1 1.M1P1.localhost\r\n\
                   +OK 19 octets\r\nSubject: one\r\n\r\n..\r\n.\r\n\
                   +OK top of message follows\r\nSubject: one\r\n\r\n.\r\n\
                   -ERR no such message\r\n+OK message 1 deleted\r\n\
                   -ERR message is already deleted\r\n+OK 1 message (19 octets)\r\n";
    for round in 0..1000 {
        for expected in replies.split_terminator("\r\n") {
            assert_eq!(client.line(), expected, "round {round}");
        }
    }
    assert_eq!(client.ask("QUIT"), "+OK goodbye, 1 message left");
    assert_eq!(client.rest(), b"");
}

/// Output that is buffered for a client that sends and does not read.
#[test]
fn unread_replies_cost_no_memory() {
    let place = lenient_place();
    place.deliver(1, &[&b"Subject: one\n\n"[..], &b"text\n".repeat(20_000)].concat());
    let server = place.serve();
    let mut client = logged_in(&server);
    client.ask("RETR 1");
    client.body();
    expect_flat_memory(&server, || {
        client.send("RETR 1\r\n".repeat(500));
        for _ in 0..500 {
            assert_eq!(client.line(), "+OK 120016 octets");
            client.stuffed_body();
        }
    });
}

/// Slowloris, and handshakes that are never finished (Dovecot before 2.2.13).
#[test]
fn slow_and_silent_clients_are_closed_at_the_login_deadline() {
    let place = Place::new();
    // Lets the user of this test read /proc/PID.
    let rest = format!("{LENIENT}[timeouts]\nlogin = \"10s\"\n[sandbox]\ncore-dumps = true\n");
    place.configure(&[OFF, STARTTLS, IMPLICIT], &rest);
    let server = place.serve();
    logged_in(&server).ask("QUIT");
    eventually("the first session has ended", || server.count("session ended") == 1);
    let descriptors = server.descriptors();
    let hello = client_hello();
    // (listener, what is sent at once, what is sent octet by octet)
    let kinds: [(usize, &[u8], &[u8]); 8] = [
        (0, b"", b"x"),
        (0, b"USER mrose\r\n", b"x"),
        (0, b"AUTH PLAIN\r\n", b"A"),
        (0, b"", b""),
        (1, b"STLS\r\n", b""),
        (1, b"CAPA\r\n", b"x"),
        (2, &hello[..hello.len() / 2], b""),
        // A complete ClientHello: the server has answered and waits for the rest of the handshake.
        (2, &hello, b""),
    ];
    let mut crowd: Vec<(TcpStream, &[u8])> = Vec::new();
    for _ in 0..25 {
        for (listener, first, drip) in kinds {
            let mut stream = TcpStream::connect(server.address(listener)).unwrap();
            stream.write_all(first).unwrap();
            crowd.push((stream, drip));
        }
    }
    eventually("all of them are closed", || {
        for (stream, drip) in &mut crowd {
            // Some are closed already.
            let _closed = stream.write_all(drip);
        }
        pause(Duration::from_millis(100));
        server.count("why=login-timeout") == 200
    });
    for (stream, _) in &mut crowd {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut said = Vec::new();
        // A reset counts as closed: octets of the client have crossed with the end.
        let _end = stream.read_to_end(&mut said);
        assert!(!String::from_utf8_lossy(&said).contains("-ERR"), "closed without a word");
    }
    eventually("no descriptor is left", || server.descriptors() <= descriptors);
}

/// The first flight of a TLS client.
fn client_hello() -> Vec<u8> {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = Client::plain(listener.local_addr().unwrap());
    let (mut server, _) = listener.accept().unwrap();
    let shaking = thread::spawn(move || client.handshake(&Tls::new()).is_err());
    let mut head = [0; 5];
    server.read_exact(&mut head).unwrap();
    let mut body = vec![0; usize::from(u16::from_be_bytes([head[3], head[4]]))];
    server.read_exact(&mut body).unwrap();
    drop(server);
    assert!(shaking.join().unwrap());
    [&head[..], &body].concat()
}

/// Memory that aborted exchanges leave behind (Dovecot CVE-2017-15132).
#[test]
fn aborted_exchanges_leave_no_memory_behind() {
    let place = lenient_place();
    let server = place.serve();
    let abort = "AUTH PLAIN\r\n*\r\nAUTH LOGIN bXJvc2U=\r\n*\r\nUSER mrose\r\n";
    let abort_often = |times| {
        let mut client = greeted(&server);
        client.send(abort.repeat(times));
        for _ in 0..times {
            assert_eq!(client.line(), "+ ");
            assert_eq!(client.line(), "-ERR authentication cancelled");
            assert_eq!(client.line(), "+ UGFzc3dvcmQ6");
            assert_eq!(client.line(), "-ERR authentication cancelled");
            assert_eq!(client.line(), "+OK send PASS");
        }
        // The connection is closed in the middle of another exchange.
        assert_eq!(client.ask("AUTH LOGIN"), "+ VXNlcm5hbWU6");
    };
    // A connection without a login ends after 200 commands.
    for _ in 0..4 {
        abort_often(25);
    }
    expect_flat_memory(&server, || {
        for _ in 0..100 {
            abort_often(25);
        }
    });
}

/// Cross-protocol attacks (ALPACA): commands of a browser or a mail transport are not obeyed.
#[test]
fn other_protocols_are_closed_before_they_do_anything() {
    let place = Place::new();
    place.configure(&[OFF, STARTTLS, IMPLICIT], LENIENT);
    let server = place.serve();
    let login = "USER mrose\r\nPASS tanstaaf\r\nSTAT\r\n";
    for (listener, tls) in [(0, false), (1, false), (2, true)] {
        for opening in [
            "GET / HTTP/1.1\r\nHost: pop.example.org\r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length: 99\r\n\r\n",
            "OPTIONS * HTTP/1.1\r\n\r\n",
            "SSH-2.0-OpenSSH_9.2\r\n",
            "EHLO mail.example.org\r\n",
            "HELO mail.example.org\r\n",
        ] {
            let before = server.count("why=wrong-protocol");
            let mut client = Client::plain(server.address(listener));
            if tls {
                client = client.handshake(&Tls::new()).unwrap();
            }
            client.try_send(format!("{opening}{login}")).unwrap();
            let said = String::from_utf8(client.rest()).unwrap();
            assert_eq!(said, "+OK pop.example.org POP3 server ready\r\n", "{opening}");
            server.logged_times("why=wrong-protocol", before + 1);
        }
    }
}

/// Commands that are injected before TLS (Courier CVE-2021-38084, James CVE-2021-38542 and
/// CVE-2022-28220, Cyrus CVE-2011-1926).
#[test]
fn nothing_from_before_the_handshake_lives_on_after_it() {
    let place = Place::new();
    place.configure(&[STARTTLS], LENIENT);
    let server = place.serve();

    for attack in [
        "STLS\r\nCAPA\r\n",
        "STLS\r\nUSER mrose\r\nPASS tanstaaf\r\n",
        "STLS\r\nUSER mro",
        "STLS\r\n\r\n",
        "STLS\nCAPA\n",
        "stls  \r\nx",
    ] {
        let before = server.count("why=plaintext-after-stls");
        let mut client = greeted(&server);
        client.send(attack);
        assert_eq!(client.rest().escape_ascii().to_string(), "", "{attack:?}");
        server.logged_times("why=plaintext-after-stls", before + 1);
    }

    // In a separate segment it is only a broken handshake.
    for attack in ["CAPA\r\n", "USER mrose\r\n", "x", "\r\n"] {
        let mut client = greeted(&server);
        assert_eq!(client.ask("STLS"), "+OK begin TLS now");
        client.send(attack);
        client.half_close();
        let said = client.rest();
        assert!(!said.starts_with(b"+OK") && !said.starts_with(b"-ERR"), "{attack:?}");
        let mut client = greeted(&server);
        assert_eq!(client.ask("STLS"), "+OK begin TLS now");
        client.send(attack);
        assert!(client.handshake(&Tls::new()).is_err(), "{attack:?}");
    }

    // Earlier commands are forgotten, and an incomplete line is not a command.
    let mut client = greeted(&server);
    assert_eq!(client.ask("USER mrose"), "+OK send PASS");
    let mut client = client.upgrade(&Tls::new());
    assert_eq!(client.ask("PASS tanstaaf"), "-ERR send USER first");
    assert!(client.log_in().starts_with("+OK "));
    assert_eq!(client.ask("STLS"), "-ERR already logged in");

    let mut client = greeted(&server);
    assert_eq!(client.ask("AUTH PLAIN"), "+ ");
    assert_eq!(client.ask("STLS"), "-ERR malformed response");
    let mut client = client.upgrade(&Tls::new());
    assert_eq!(client.ask("AG1yb3NlAHRhbnN0YWFm"), "-ERR unknown command");
    assert_eq!(client.ask("STLS"), "-ERR TLS is already active");
    assert_eq!(client.ask("QUIT"), "+OK goodbye");
}
