//! `restante watch`, with clients whose passwords must not be seen.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStdout, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{CONTROL, objects};
use crate::serve::{large_message, plain_place};
use crate::support::client::{Client, greeted, logged_in};
use crate::support::{PROGRAM, Place, Server, eventually};

/// A running `restante watch`.
struct Watching {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Watching {
    /// Starts it, and waits until the server knows of it.
    fn start(place: &Place, server: &Server, words: &[&str]) -> Self {
        server.logged(&["the control socket is open"]);
        let known = server.count(BEGUN);
        let mut child = Command::new(PROGRAM)
            .arg("watch")
            .args(words)
            .arg("--config")
            .arg(place.path("restante.toml"))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        server.logged_times(BEGUN, known + 1);
        let lines = BufReader::new(child.stdout.take().unwrap());
        Self { child, lines }
    }

    /// The next line, without its time.
    fn line(&mut self) -> String {
        let mut line = String::new();
        assert!(self.lines.read_line(&mut line).unwrap() > 0, "the watch has ended");
        match line.split_once(' ') {
            Some((time, rest)) if time.ends_with('Z') => rest.trim_end().to_owned(),
            _ => line,
        }
    }

    /// All lines until one that contains `word`.
    fn until(&mut self, word: &str) -> Vec<String> {
        let mut lines = vec![self.line()];
        while !lines.last().unwrap().contains(word) {
            lines.push(self.line());
        }
        lines
    }

    /// What is left, after Ctrl-C.
    fn interrupt(mut self) -> String {
        kill(Pid::from_raw(self.child.id().try_into().unwrap()), Signal::SIGINT).unwrap();
        self.child.wait().unwrap();
        let mut rest = String::new();
        self.lines.read_to_string(&mut rest).unwrap();
        rest
    }
}

const BEGUN: &str = "the operator watches sessions";
const ENDED: &str = "the operator watches them no more";

#[test]
fn a_dialogue_is_shown_without_secrets_and_mail() {
    let place = plain_place(CONTROL);
    place.deliver(1, b"Subject: one\r\n\r\nhunter2\r\n");
    let server = place.serve();
    let mut watching = Watching::start(&place, &server, &["127.0.0.1"]);
    let mut client = greeted(&server);
    client
        .send(b"USER mrose\r\nPASS tanstaaf\r\nRETR 1\r\nTOP 1 0\r\nUIDL 1\r\nhunter2\r\nQUIT\r\n");
    client.rest();
    let lines = watching.until("ended");
    let expected = [
        "1 - < +OK pop.example.org POP3 server ready",
        "1 - > USER mrose",
        "1 - < +OK send PASS",
        "1 - > PASS <password>",
        "1 mrose < +OK 1 message (25 octets)",
        "1 mrose > RETR 1",
        "1 mrose < +OK 25 octets",
        "1 mrose < <message, 25 octets>",
        "1 mrose > TOP 1 0",
        "1 mrose < +OK top of message follows",
        "1 mrose < <top of a message, 16 octets>",
        "1 mrose > UIDL 1",
        "1 mrose < +OK 1 1.M1P1.localhost",
        "1 mrose > <no command, 7 octets>",
        "1 mrose < -ERR unknown command",
        "1 mrose > QUIT",
    ];
    assert!(lines[0].starts_with("1 - * connected from 127.0.0.1:"), "{lines:#?}");
    assert_eq!(lines[1..=expected.len()], expected, "{lines:#?}");
    assert_eq!(lines.last().unwrap(), "1 mrose * ended: quit");
    server.logged(&[BEGUN, "uid=", "address=127.0.0.1"]);
    assert_eq!(watching.interrupt(), "");
    server.logged(&[ENDED, "uid=", "address=127.0.0.1", "lines=19", "left_out=0"]);
}

/// Each of these lines has the password, or what it can be found from.
#[test]
fn no_password_is_shown_however_it_is_sent() {
    let place = plain_place(CONTROL);
    let server = place.serve();
    let mut watching = Watching::start(&place, &server, &["127.0.0.1", "--json"]);
    for lines in [
        "PASS tanstaaf",
        "USER mrose\r\nPASSS tanstaaf\r\npass tanstaaf",
        "USER mrose PASS tanstaaf\r\n PASS tanstaaf\r\ntanstaaf\r\nPASS:tanstaaf",
        "AUTH PLAIN tanstaaf\r\nAUTH PLAIN AG1yb3NlAHRhbnN0YWFm",
        "AUTH PLAIN\r\nAG1yb3NlAHRhbnN0YWFm",
        "AUTH PLAIN\r\ntanstaaf\r\nAUTH tanstaaf\r\nAUTH LOGIN\r\nbXJvc2U=\r\ndGFuc3RhYWY=",
        "APOP mrose tanstaaf\r\nSTAT tanstaaf\r\nLIST tanstaaf\r\nTOP 1 tanstaaf\r\nQUIT tanstaaf",
    ] {
        let mut client = greeted(&server);
        client.send(format!("{lines}\r\nQUIT\r\nQUIT\r\nQUIT\r\n").as_bytes());
        client.rest();
        let shown = watching.until("ended: ").concat();
        for secret in ["tanstaaf", "AG1yb3NlAHRhbnN0YWFm", "dGFuc3RhYWY="] {
            assert!(!shown.contains(secret), "{secret}: {shown}");
        }
        assert!(shown.contains("octets>") || shown.contains("<password>"), "{shown}");
    }
}

#[test]
fn a_user_is_watched_from_the_login_on_and_others_are_not() {
    let place = plain_place(CONTROL);
    place.user("other");
    let server = place.serve();
    let mut watching = Watching::start(&place, &server, &["mrose"]);
    let mut other = greeted(&server);
    assert!(other.ask("USER other").starts_with("+OK"));
    assert!(other.ask("PASS tanstaaf").starts_with("+OK"));
    let mut client = logged_in(&server);
    client.ask("NOOP");
    client.ask("QUIT");
    client.rest();
    let lines = watching.until("ended");
    assert!(lines.iter().all(|line| line.starts_with("2 mrose ")), "{lines:#?}");
    assert!(lines[0].starts_with("2 mrose < +OK 0 messages"), "{lines:#?}");
    let id = objects(&place, "sessions")[0]["id"].to_string();
    let mut by_id = Watching::start(&place, &server, &[&id, "--for", "1ms"]);
    assert_eq!(by_id.child.wait().unwrap().code(), Some(0));
    server.logged(&[ENDED, "id=1"]);
    other.ask("QUIT");
}

/// The watch is stopped, as by Ctrl-S. The session goes on, and the watch is told what it has missed.
#[test]
fn a_watch_that_does_not_read_slows_nobody() {
    let place = plain_place(CONTROL);
    place.deliver(1, &large_message(1000));
    let server = place.serve();
    let mut watching = Watching::start(&place, &server, &["mrose"]);
    let pid = Pid::from_raw(watching.child.id().try_into().unwrap());
    kill(pid, Signal::SIGSTOP).unwrap();
    let mut client: Client = logged_in(&server);
    for _ in 0..20 {
        client.send("NOOP\r\n".repeat(500).as_bytes());
        for _ in 0..500 {
            assert_eq!(client.line(), "+OK");
        }
    }
    kill(pid, Signal::SIGCONT).unwrap();
    let (mut told, mut left_out) = (0, 0);
    // What the session says while the queue is full is left out as well.
    while told + left_out < 1 + 2 * 20 * 500 {
        let line = watching.line();
        match line.strip_prefix("… ").and_then(|rest| rest.strip_suffix(" lines left out\n")) {
            Some(lines) => left_out += lines.parse::<usize>().unwrap(),
            None => told += 1,
        }
    }
    assert!(told > 0 && left_out > 0, "{told} lines are told, {left_out} are left out");
    client.ask("QUIT");
    watching.until("ended: quit");
    drop(watching.interrupt());
    eventually("the watch has ended", || server.count(ENDED) == 1);
}

#[test]
fn the_end_of_the_server_ends_a_watch() {
    let place = plain_place(CONTROL);
    let mut server = place.serve();
    server.address(0);
    let mut watching = Watching::start(&place, &server, &["mrose"]);
    server.signal(Signal::SIGTERM);
    assert_eq!(server.exit(), Some(0));
    assert_eq!(watching.child.wait().unwrap().code(), Some(1));
    let mut rest = String::new();
    watching.lines.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "");
}
