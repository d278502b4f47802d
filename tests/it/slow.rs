//! Clients that read slowly, or not at all.

use std::time::Duration;

use crate::support::client::{Client, GREETING, Tls};
use crate::support::{IMPLICIT, OFF, Place, pause};

/// Much more than both systems buffer for a connection.
const SIZE: usize = 2 << 20;

#[test]
fn a_slow_reader_is_served_and_a_dead_one_is_not() {
    let place = Place::new();
    let listen = [OFF, IMPLICIT];
    place.configure(&listen, "allow-cleartext = true\n[timeouts]\nwrite = \"10s\"\n");
    let message = [b"Subject: large\r\n\r\n".to_vec(), b"x\r\n".repeat(SIZE / 3)].concat();
    for user in ["dead-0", "dead-1", "slow-0", "slow-1"] {
        place.user(user);
        place.deliver_to(user, 1, &message);
    }
    let server = place.serve();
    let retrieving = |who: &str, kind: usize| {
        let mut client = Client::with_little_room(server.address(kind));
        if kind == 1 {
            client = client.handshake(&Tls::new()).unwrap();
        }
        assert_eq!(client.line(), GREETING);
        client.ask(&format!("USER {who}-{kind}"));
        client.ask("PASS tanstaaf");
        client.send("RETR 1\r\n");
        client
    };
    let [mut dead, mut slow] = ["dead", "slow"].map(|who| [0, 1].map(|kind| retrieving(who, kind)));
    // More than twice the time-out, and never enough at a time for the server's socket to be writable.
    for _ in 0..24 {
        for client in &mut slow {
            client.sip(800);
        }
        pause(Duration::from_secs(1));
    }
    for kind in 0..2 {
        let user = format!("user=dead-{kind}");
        server.logged(&["session ended", &user, "retrieved=0", "why=write-timeout"]);
        assert!(!dead[kind].rest().ends_with(b"\r\n.\r\n"));
        assert!(slow[kind].line().starts_with("+OK "));
        assert_eq!(slow[kind].body().len(), message.len());
        assert_eq!(slow[kind].ask("QUIT"), "+OK goodbye, 1 message left");
    }
}
