//! Clients that attack, or that are broken: lines, log-ins, names, logs, memory, other protocols.
//!
//! Each test names the class of bugs that it guards against, with those who had them. What
//! happens to mail is in `maildrop.rs`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on fails"
)]

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use support::client::{Client, Tls};
use support::{PATIENCE, Place, Server, eventually, pause};

mod support;

const OFF: (&str, &str) = ("127.0.0.1:0", "off");
const STARTTLS: (&str, &str) = ("127.0.0.1:0", "starttls");
const IMPLICIT: (&str, &str) = ("127.0.0.1:0", "implicit");

/// For those who are wrong a thousand times in a test.
const LENIENT: &str = "allow-cleartext = true\n[limits]\nbad-commands = 1000\n\
                       failed-logins = 100\nconnections-per-address = 1000\n";

const REFUSED: &str = "-ERR [AUTH] wrong user name or password";

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

/// A server for passwords in the clear that takes a lot.
fn lenient_place() -> Place {
    let place = Place::new();
    place.configure(&[OFF], LENIENT);
    place
}

fn greeted(server: &Server) -> Client {
    greeted_at(server.address(0))
}

fn greeted_at(address: SocketAddr) -> Client {
    let mut client = Client::plain(address);
    assert_eq!(client.line(), "+OK pop.example.org POP3 server ready");
    client
}

fn logged_in(server: &Server) -> Client {
    let mut client = greeted(server);
    let reply = client.log_in();
    assert!(reply.starts_with("+OK "), "{reply}");
    client
}

/// Asserts that the reply before this was the only one.
fn expect_in_sync(client: &mut Client) {
    assert_eq!(client.ask("CAPA"), "+OK capabilities follow");
    client.body();
}

/// Memory that is used by the way: pages of the program, pools of the allocator.
const NOISE_KIB: u64 = 6 << 10;

/// Runs something that should cost a server no memory.
fn expect_flat_memory<T>(server: &Server, what: impl FnOnce() -> T) -> T {
    let before = server.peak_memory();
    let outcome = what();
    let grown = server.peak_memory() - before;
    assert!(grown < NOISE_KIB, "memory has grown by {grown} KiB from {before} KiB");
    outcome
}

/// Overflows (Cyrus CVE-2006-2502, qpopper CVE-2003-0143, endless loop CVE-2002-0454), and lines
/// that are answered many times or whose tail is obeyed (popa3d's DESIGN lists who does that).
#[test]
fn an_overlong_line_gets_one_reply_and_its_tail_is_not_obeyed() {
    let place = lenient_place();
    place.deliver(1, b"Subject: stays\n\n");
    let server = place.serve();
    let mut clients = [greeted(&server), logged_in(&server)];
    for client in &mut clients {
        for command in COMMANDS {
            for length in [254, 255, 256, 257, 512, 8192, 1 << 20] {
                let tail = "DELE 1\r\n";
                let filler = "!".repeat(length - command.len() - tail.len());
                client.send(format!("{command}{filler}{tail}"));
                let reply = client.line();
                let fits = length <= 255;
                assert_eq!(reply == "-ERR line too long", !fits, "{command}{length}: {reply}");
                assert!(fits && command == "USER " || reply.starts_with("-ERR "), "{reply}");
                expect_in_sync(client);
            }
        }
    }
    assert_eq!(clients[1].ask("STAT"), "+OK 1 18");
    assert_eq!(clients[1].ask("QUIT"), "+OK goodbye, 1 message left");
}

/// The same without an end: memory that grows with what the peer sends.
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

/// Output that is kept for a client which sends and does not read.
#[test]
fn replies_that_nobody_reads_cost_no_memory() {
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

/// Slow-loris, and handshakes that are never finished (Dovecot before 2.2.13).
#[test]
fn whoever_drips_or_is_silent_is_closed_at_the_login_deadline() {
    let place = Place::new();
    let rest = format!("{LENIENT}[timeouts]\nlogin = \"10s\"\n");
    place.configure(&[OFF, STARTTLS, IMPLICIT], &rest);
    let server = place.serve();
    logged_in(&server).ask("QUIT");
    eventually("the first session has ended", || server.count("session ended") == 1);
    let descriptors = server.descriptors();
    let hello = client_hello();
    // (listener, what is sent at once, what drips)
    let kinds: [(usize, &[u8], &[u8]); 8] = [
        (0, b"", b"x"),
        (0, b"USER mrose\r\n", b"x"),
        (0, b"AUTH PLAIN\r\n", b"A"),
        (0, b"", b""),
        (1, b"STLS\r\n", b""),
        (1, b"CAPA\r\n", b"x"),
        (2, &hello[..hello.len() / 2], b""),
        // All of it: the server has answered and waits for the rest of the handshake.
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
            // Who has been closed is told so, in time.
            let _closed = stream.write_all(drip);
        }
        pause(Duration::from_millis(100));
        server.count("why=login-timeout") == 200
    });
    for (stream, _) in &mut crowd {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut said = Vec::new();
        // A reset is an end as well: the drips crossed with it.
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
        // And away, in the middle of one more.
        assert_eq!(client.ask("AUTH LOGIN"), "+ VXNlcm5hbWU6");
    };
    abort_often(100);
    expect_flat_memory(&server, || {
        for _ in 0..50 {
            abort_often(50);
        }
    });
}

/// One client's garbage that ends the log-ins of others (Dovecot CVE-2025-59028).
#[test]
fn garbage_of_one_client_does_not_disturb_others() {
    let place = lenient_place();
    let names: Vec<String> = (0..20).map(|number| format!("user{number}")).collect();
    for (messages, name) in names.iter().enumerate() {
        place.user(name);
        for number in 1..=messages {
            place.deliver_to(name, u32::try_from(number).unwrap(), b"\n");
        }
    }
    let server = place.serve();
    let address = server.address(0);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let garbage = scope.spawn(|| {
            let mut replies = 0;
            while !done.load(Ordering::Relaxed) {
                let mut client = greeted_at(address);
                for _ in 0..20 {
                    client.send("AUTH PLAIN\r\n\u{fffd}!=!\r\nAUTH LOGIN =A=\r\nAUTH PLAIN A\r\n");
                    assert_eq!(client.line(), "+ ");
                    for _ in 0..3 {
                        assert_eq!(client.line(), "-ERR the response is not base64");
                        replies += 1;
                    }
                    expect_in_sync(&mut client);
                }
            }
            replies
        });
        let others: Vec<_> = names
            .iter()
            .enumerate()
            .map(|(messages, name)| {
                scope.spawn(move || {
                    for _ in 0..5 {
                        let mut client = greeted_at(address);
                        let plain = STANDARD.encode(format!("\0{name}\0tanstaaf"));
                        let reply = client.ask(&format!("AUTH PLAIN {plain}"));
                        // One user's session is never another's (Dovecot CVE-2025-30189).
                        assert!(reply.starts_with(&format!("+OK {messages} message")), "{reply}");
                        let left = client.ask("QUIT");
                        assert!(left.starts_with(&format!("+OK goodbye, {messages} ")), "{left}");
                    }
                })
            })
            .collect();
        let outcomes: Vec<_> = others.into_iter().map(thread::ScopedJoinHandle::join).collect();
        done.store(true, Ordering::Relaxed);
        assert!(outcomes.iter().all(Result::is_ok));
        assert!(garbage.join().unwrap() > 0);
    });
}

/// Passwords that are cut at a blank, or taken as ASCII (mailpit, inbucket, twisted).
#[test]
fn passwords_have_blanks_and_any_script() {
    let place = lenient_place();
    let passwords =
        ["two words", " around ", "  ", "gr\u{fc}\u{df}e \u{1f511}", "a\\b\"c", "$&;%s"];
    let mut users = String::new();
    for (number, password) in passwords.iter().enumerate() {
        place.user(&format!("user{number}"));
        users.push_str(&format!("user{number}:{{PLAIN}}{password}\n"));
    }
    place.write("users", users);
    let server = place.serve();
    for (number, password) in passwords.iter().enumerate() {
        let name = format!("user{number}");
        for wrong in [password.trim(), &format!("{password} "), &format!("{password}x")] {
            if wrong != *password && !wrong.is_empty() {
                assert_eq!(log_in_by_pass(&server, &name, wrong.as_bytes()), REFUSED, "{wrong:?}");
            }
        }
        for log_in in [log_in_by_pass, log_in_by_plain, log_in_by_login] {
            let reply = log_in(&server, &name, password.as_bytes());
            assert_eq!(reply, "+OK 0 messages (0 octets)", "{password:?}");
        }
    }
}

fn log_in_by_pass(server: &Server, name: &str, password: &[u8]) -> String {
    let mut client = greeted(server);
    client.send([b"USER ", name.as_bytes(), b"\r\nPASS ", password, b"\r\n"].concat());
    assert_eq!(client.line(), "+OK send PASS");
    end_of(client)
}

fn log_in_by_plain(server: &Server, name: &str, password: &[u8]) -> String {
    let response = STANDARD.encode([b"\0", name.as_bytes(), b"\0", password].concat());
    let mut client = greeted(server);
    client.send(format!("AUTH PLAIN\r\n{response}\r\n"));
    assert_eq!(client.line(), "+ ");
    end_of(client)
}

fn log_in_by_login(server: &Server, name: &str, password: &[u8]) -> String {
    let (name, password) = (STANDARD.encode(name), STANDARD.encode(password));
    let mut client = greeted(server);
    client.send(format!("AUTH LOGIN\r\n{name}\r\n{password}\r\n"));
    assert_eq!(client.line(), "+ VXNlcm5hbWU6");
    assert_eq!(client.line(), "+ UGFzc3dvcmQ6");
    end_of(client)
}

/// The reply to a log-in; the session is over and the maildrop free when this returns.
fn end_of(mut client: Client) -> String {
    let reply = client.line();
    client.ask("QUIT");
    reply
}

/// User names as paths (James CVE-2021-40525), and what tells users from others
/// (WebEasyMail CVE-2002-1416, GreenMail).
#[test]
fn a_name_that_leads_out_of_the_mail_root_is_just_unknown() {
    let place = Place::new();
    place.user("outside");
    fs::create_dir(place.path("mail")).unwrap();
    fs::rename(place.path("mrose"), place.path("mail/mrose")).unwrap();
    place.hand_over(&place.path("mail"));
    place.configure(&[OFF], LENIENT);
    let text = fs::read_to_string(place.path("restante.toml")).unwrap();
    place.write("restante.toml", text.replace("{user}/Maildir", "mail/{user}/Maildir"));
    let server = place.serve();
    let everything = || {
        let mut found = Vec::new();
        let mut open = vec![place.path("")];
        while let Some(folder) = open.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    open.push(path.clone());
                }
                found.push(path);
            }
        }
        found.sort();
        found
    };
    let before = everything();
    let long = "x".repeat(300);
    for name in [
        "nobody-has-this-name",
        "outside",
        "../outside",
        "..",
        ".",
        "./mrose",
        "mrose/../../outside",
        "mrose/",
        "/",
        "a/b",
        "/etc",
        ".hidden",
        "~root",
        "~",
        "@",
        "mrose@",
        "@mrose",
        "a@..",
        "a@../b",
        "%u",
        "%{user}",
        "{user}",
        "' OR 1=1 --",
        "*)(uid=*",
        "mrose\\",
        "..\\outside",
        "mrose\0",
        "mrose\0/../outside",
        "\0",
        "\r",
        "mrose\n",
        "\u{1b}[2J",
        "\u{202e}mrose",
        "",
        " ",
        &long,
    ] {
        let password = if name == "outside" { "wrong" } else { "tanstaaf" };
        assert_eq!(log_in_by_login(&server, name, password.as_bytes()), REFUSED, "{name:?}");
        if !name.is_empty() && !name.contains('\0') {
            let reply = log_in_by_plain(&server, name, password.as_bytes());
            assert_eq!(reply, REFUSED, "{name:?}");
        }
        let fits_a_line = !name.contains(['\0', '\r', '\n', ' ']) && name.len() < 250;
        if fits_a_line && !name.is_empty() {
            assert_eq!(log_in_by_pass(&server, name, password.as_bytes()), REFUSED, "{name:?}");
        }
    }
    for (name, password) in [("mrose", "wrong"), ("mrose", ""), ("unknown", "tanstaaf")] {
        assert_eq!(log_in_by_login(&server, name, password.as_bytes()), REFUSED);
        assert_eq!(log_in_by_pass(&server, name, password.as_bytes()), REFUSED);
    }
    for invalid in [&b"\0\xff\xfe\0tanstaaf"[..], b"\0mrose\xc0\xaf\0tanstaaf"] {
        let mut client = greeted(&server);
        assert_eq!(client.ask(&format!("AUTH PLAIN {}", STANDARD.encode(invalid))), REFUSED);
    }
    assert_eq!(everything(), before, "nothing was made on the way");
    assert!(log_in_by_pass(&server, "mrose", b"tanstaaf").starts_with("+OK 0 "));
}

/// Passwords in the log, of those above all who misspell the command (WildDuck).
#[test]
fn no_secret_reaches_the_log() {
    for (format, plain, taken) in
        [("text", OFF, true), ("json", STARTTLS, false), ("journald", OFF, true)]
    {
        let place = Place::new();
        let rest = format!("{LENIENT}[log]\nlevel = \"debug\"\nformat = \"{format}\"\n");
        let taking = format!("allow-cleartext = {taken}");
        place.configure(&[plain, IMPLICIT], &rest.replace("allow-cleartext = true", &taking));
        place.write("users", "mrose:{PLAIN}sesame\n");
        let server = place.serve();
        let encoded = |text: &str| STANDARD.encode(text);
        let lines = [
            "PASS sesame".into(),
            "USER mrose".into(),
            "PASS wrong-sesame".into(),
            "PAS sesame".into(),
            " PASS sesame".into(),
            "\tPASS\tsesame".into(),
            "PASSsesame".into(),
            "PASS\tsesame".into(),
            "USER mrose PASS sesame".into(),
            "USER mrose sesame".into(),
            "LOGIN mrose sesame".into(),
            "sesame".into(),
            "APOP mrose sesame".into(),
            "AUTH sesame".into(),
            "AUTH PLAIN sesame sesame".into(),
            "AUTH PLAIN !sesame".into(),
            format!("AUTH PLAIN {}", encoded("sesame")),
            format!("AUTH PLAIN {}", encoded("\0mrose\0sesame\0")),
            format!("AUTH PLAIN {}", encoded("other\0mrose\0sesame")),
            format!("AUTH PLAIN {}", encoded("\0mrose\0sesame!")),
            format!("AUTH LOGIN {}\r\n{}", encoded("mrose"), encoded("sesame!")),
            format!("AUTH LOGIN {}\r\nsesame", encoded("mrose")),
            format!("AUTH GSSAPI {}", encoded("sesame")),
            format!("PASS {}", "sesame".repeat(100)),
            "PASS sesame\0".into(),
            "PASS sesame\rSTAT".into(),
        ];
        for tls in [false, true] {
            let mut client = Client::plain(server.address(usize::from(tls)));
            if tls {
                client = client.handshake(&Tls::new()).unwrap();
            }
            client.line();
            for line in &lines {
                client.send(format!("{line}\r\n"));
                let reply = client.line();
                assert!(!reply.contains("sesame"), "input is echoed: {reply}");
            }
            client
                .send("\r\nSTAT\r\nUSER mrose\r\nPASS sesame\r\nPASS sesame\r\nsesame\r\nQUIT\r\n");
            let said = String::from_utf8(client.rest()).unwrap();
            assert!(!said.contains("sesame"), "input is echoed: {said}");
            assert_eq!(said.contains("+OK 0 messages"), taken || tls, "{said}");
        }
        eventually("all sessions have ended", || server.count("session ended") == 2);
        let log = server.log().join("\n");
        let secrets = [
            "sesame".to_owned(),
            encoded("sesame"),
            encoded("sesame!"),
            // Inside of a response that has other text before it, at each of three offsets.
            encoded("sesame").chars().take(7).collect(),
            encoded("-sesame").chars().skip(2).take(7).collect(),
            encoded("--sesame").chars().skip(3).take(7).collect(),
        ];
        for secret in secrets {
            assert!(!log.contains(&secret), "{secret} is in the log:\n{log}");
        }
        assert!(log.contains("mrose"), "the log is there: {log}");
    }
}

/// Log lines that are forged or that take over a terminal (Courier CVE-2004-0777 and kin).
#[test]
fn hostile_octets_never_reach_the_log_as_they_are() {
    for format in ["text", "json", "journald"] {
        let place = Place::new();
        let log = format!("{LENIENT}[log]\nlevel = \"debug\"\nformat = \"{format}\"\n");
        place.configure(&[OFF], &log);
        let server = place.serve();
        let names = [
            "\u{1b}]0;owned\u{7}\u{1b}[2J",
            "x\r\nFORGED INFO user=root",
            "x\nFORGED\n<0>FORGED",
            "\u{202e}esor\u{2066}m",
            "\u{9b}31m\u{85}FORGED",
            "\u{2028}FORGED\u{2029}",
            "a\u{200b}b\u{feff}c\u{7f}",
            "\",\"level\":\"FORGED",
        ];
        for name in names {
            log_in_by_login(&server, name, b"wrong");
            if !name.contains(['\r', '\n']) {
                log_in_by_pass(&server, name, b"wrong");
            }
            let mut client = greeted(&server);
            client.send([name.as_bytes(), b"\x1b[31m\xff\xfe\r\n"].concat());
            client.send("QUIT\r\n");
            client.rest();
        }
        let ended = names.len() * 3 - 2;
        eventually("all sessions have ended", || server.count("session ended") == ended);
        for line in server.log() {
            let raw = line.chars().find(|c| {
                c.is_control()
                    || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
                        | '\u{2060}'..='\u{206f}' | '\u{feff}')
            });
            assert_eq!(raw, None, "{}", line.escape_unicode());
            assert!(!line.starts_with("FORGED") && !line.starts_with("<0>"), "{line}");
            if format == "json" {
                let line: serde_json::Value = serde_json::from_str(&line).unwrap();
                assert_ne!(line["level"], "FORGED");
            }
        }
    }
}

/// Cross-protocol attacks (ALPACA): what a browser or a mail transport sends is not obeyed.
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

/// Commands that are smuggled in front of TLS (Courier CVE-2021-38084, James CVE-2021-38542 and
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

    // In a segment of its own it is no more than a broken handshake.
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

    // What was said before it is forgotten, what is half said is no command.
    let mut client = greeted(&server);
    assert_eq!(client.ask("USER mrose"), "+OK send PASS");
    let mut client = client.upgrade(&Tls::new());
    assert_eq!(client.ask("PASS tanstaaf"), "-ERR send USER first");
    assert!(client.log_in().starts_with("+OK "));
    assert_eq!(client.ask("STLS"), "-ERR already logged in");

    let mut client = greeted(&server);
    assert_eq!(client.ask("AUTH PLAIN"), "+ ");
    assert_eq!(client.ask("STLS"), "-ERR the response does not fit the mechanism");
    let mut client = client.upgrade(&Tls::new());
    assert_eq!(client.ask("AG1yb3NlAHRhbnN0YWFm"), "-ERR unknown command");
    assert_eq!(client.ask("STLS"), "-ERR TLS is already active");
    assert_eq!(client.ask("QUIT"), "+OK goodbye");
}
