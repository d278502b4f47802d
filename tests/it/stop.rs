//! SIGTERM and SIGINT: which sessions may go on, for how long, and what is always finished.

use std::net::TcpStream;

use nix::sys::signal::Signal;

use crate::serve::{large_message, plain_place};
use crate::support::client::{greeted, logged_in};
use crate::support::eventually;

#[test]
fn sigterm_ends_who_has_not_logged_in_and_refuses_new_connections() {
    let place = plain_place("");
    let mut server = place.serve();
    let address = server.address(0);
    let mut waiting = greeted(&server);
    waiting.ask("USER mrose");
    server.signal(Signal::SIGTERM);
    assert_eq!(waiting.rest(), b"", "closed without a word");
    assert_eq!(server.exit(), Some(0));
    server.logged(&["session ended", "why=shutdown"]);
    server.logged(&["stopped"]);
    assert!(TcpStream::connect(address).is_err());
}

#[test]
fn sigterm_lets_a_session_go_on_to_its_quit() {
    let place = plain_place("[timeouts]\nshutdown-grace = \"10m\"\n");
    let large = large_message(12 << 20);
    place.deliver(1, &large);
    place.deliver(2, b"Subject: two\n\n");
    place.deliver(3, b"Subject: three\n\n");
    let mut server = place.serve();
    let address = server.address(0);
    let mut client = logged_in(&server);
    client.ask("DELE 2");
    assert_eq!(client.ask("RETR 1"), format!("+OK {} octets", large.len()));
    server.signal(Signal::SIGTERM);
    server.logged(&["no more connections"]);
    eventually("new clients are refused", || TcpStream::connect(address).is_err());
    assert_eq!(client.body().len(), large.len());
    assert_eq!(client.ask("DELE 1"), "+OK message 1 deleted");
    assert_eq!(client.ask("QUIT"), "+OK 2 messages removed, 1 left");
    assert!(client.is_closed_in_order());
    assert_eq!(server.exit(), Some(0));
    assert_eq!(place.messages(), 1);
    server.logged(&["session ended", "retrieved=1 removed=2 left=1", "why=quit"]);
}

#[test]
fn sigterm_waits_for_no_client_that_does_nothing() {
    let place = plain_place("[timeouts]\nshutdown-grace = \"10m\"\n");
    let mut server = place.serve();
    let mut idle = logged_in(&server);
    server.signal(Signal::SIGTERM);
    assert_eq!(idle.rest(), b"", "closed without a word");
    assert_eq!(server.exit(), Some(0));
    server.logged(&["session ended user=mrose", "why=shutdown"]);
}

#[test]
fn at_the_end_of_the_grace_time_sessions_end_between_commands() {
    let place = plain_place("[timeouts]\nshutdown-grace = \"200ms\"\n");
    place.deliver(1, b"Subject: one\n\n");
    let mut server = place.serve();
    let mut client = logged_in(&server);
    client.ask("DELE 1");
    server.signal(Signal::SIGTERM);
    assert_eq!(client.rest(), b"", "closed without a word");
    assert_eq!(server.exit(), Some(0));
    server.logged(&["session ended user=mrose", "removed=0 left=1", "why=shutdown"]);
    assert_eq!(place.messages(), 1);
}

#[test]
fn the_grace_time_and_a_second_signal_cut_off_who_does_not_read() {
    for (grace, signals, expected) in [
        ("200ms", &[Signal::SIGTERM][..], "the grace time is over"),
        ("10m", &[Signal::SIGTERM, Signal::SIGTERM], "SIGTERM again"),
        ("10m", &[Signal::SIGTERM, Signal::SIGINT], "SIGINT again"),
    ] {
        let place = plain_place(&format!("[timeouts]\nshutdown-grace = \"{grace}\"\n"));
        place.deliver(1, &large_message(12 << 20));
        let mut server = place.serve();
        let mut client = logged_in(&server);
        client.ask("RETR 1");
        for (nth, signal) in signals.iter().enumerate() {
            server.signal(*signal);
            if nth == 0 {
                server.logged(&["no more connections"]);
            }
        }
        server.logged(&["WARN", expected, "cut off"]);
        assert_eq!(server.exit(), Some(0));
        server.logged(&["session ended", "user=mrose", "why=cut-off"]);
        assert_eq!(place.messages(), 1);
        assert!(!client.rest().ends_with(b"\r\n.\r\n"), "a message that is cut off has no end");
    }
}

#[test]
fn a_removal_is_finished_whatever_signals_come() {
    let place = plain_place("[timeouts]\nshutdown-grace = \"0s\"\n");
    for number in 1..=3000 {
        place.deliver(number, b"Subject: short\n\n");
    }
    let mut server = place.serve();
    let mut client = logged_in(&server);
    let marks: String = (1..=3000).map(|number| format!("DELE {number}\r\n")).collect();
    client.send(marks);
    for _ in 1..=3000 {
        assert!(client.line().starts_with("+OK "));
    }
    client.send("QUIT\r\n");
    while place.messages() == 3000 {
        std::thread::yield_now();
    }
    server.signal(Signal::SIGTERM);
    server.signal(Signal::SIGINT);
    assert_eq!(server.exit(), Some(0));
    assert_eq!(place.messages(), 0);
}
