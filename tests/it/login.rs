//! Hostile logins: who gets in, what the replies reveal, and what is logged.
//!
//! Each test names the class of bugs that it guards against, with servers that had them. Lines,
//! memory and other protocols are in `hostile.rs`.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use nix::sys::signal::Signal;

use crate::support::client::{Client, Tls, expect_in_sync, greeted, greeted_at};
use crate::support::{IMPLICIT, LENIENT, OFF, Place, STARTTLS, Server, eventually, lenient_place};

const REFUSED: &str = "-ERR [AUTH] wrong user name or password";

/// Many guesses and connections fill the disk with log lines, or displace others from the log.
#[test]
fn a_flood_of_failures_is_summed_up_in_the_log() {
    let place = lenient_place();
    let text = fs::read_to_string(place.path("restante.toml")).unwrap();
    let untrusted = text.replace("trusted = [\"127.0.0.1\", \"::1\"]", "first-delay = \"0s\"");
    place.write("restante.toml", untrusted);
    let mut server = place.serve();
    for connection in 0..6 {
        let mut client = greeted(&server);
        for number in 0..100 {
            assert!(client.ask("USER mrose").starts_with("+OK"));
            let guess = client.ask(&format!("PASS {connection}-{number}"));
            assert!(guess.starts_with(REFUSED), "{guess}");
        }
    }
    for _ in 0..300 {
        drop(greeted(&server));
    }
    let mut owner = greeted(&server);
    assert!(owner.log_in().starts_with("+OK"));
    owner.ask("QUIT");
    server.logged(&["session ended", "user=mrose", "why=quit"]);
    server.signal(Signal::SIGTERM);
    assert_eq!(server.exit(), Some(0));
    let log = server.log();
    let lines = |word: &str| log.iter().filter(|line| line.contains(word)).count();
    let left_out = |field: &str| -> usize {
        let values = log.iter().filter_map(|line| {
            let (_, value) = line.split_once("network=127.0.0.1/32 ")?.1.split_once(field)?;
            value.split(' ').next()?.parse::<usize>().ok()
        });
        values.sum()
    };
    // On a slow machine, not only the first ones.
    for (word, field, all) in [
        ("login failed", "wrong_passwords=", 600),
        ("session ended retrieved", "connections=", 306),
    ] {
        let written = lines(word);
        assert!(written >= 200 && written < all, "{written} {word}");
        assert_eq!(written + left_out(field), all, "{word}");
    }
}

/// Garbage of one client ends the logins of others (Dovecot CVE-2025-59028).
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
                        // A session never belongs to another user (Dovecot CVE-2025-30189).
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

/// Passwords that are truncated at a space, or read as ASCII (mailpit, inbucket, twisted).
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

/// The reply to a login. When this returns, the session is over and the maildrop is free.
fn end_of(mut client: Client) -> String {
    let reply = client.line();
    client.ask("QUIT");
    reply
}

/// User names as paths (James CVE-2021-40525), and replies that reveal which users exist
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
    assert_eq!(everything(), before, "no file was made");
    assert!(log_in_by_pass(&server, "mrose", b"tanstaaf").starts_with("+OK 0 "));
}

/// Passwords in the log, above all those after a misspelt command (WildDuck).
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
            // Within a response, after other text, at each of three offsets.
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

/// Log lines that are forged or control a terminal (Courier CVE-2004-0777 and similar).
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
