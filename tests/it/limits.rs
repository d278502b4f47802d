//! Limits of connections, by network and in all; eviction; and the open files that a removal may use.

use std::fs;
use std::process::Command;

use crate::support::client::{Client, GREETING, Tls, greeted, logged_in};
use crate::support::{IMPLICIT, OFF, PROGRAM, Place, Server, eventually};

/// Addresses of different networks, none of which the server trusts.
const FLOOD: [u8; 4] = [127, 1, 1, 1];
const NEIGHBOUR: [u8; 4] = [127, 1, 1, 2];
const HERE: [u8; 4] = [127, 2, 2, 2];
const ELSEWHERE: [u8; 4] = [127, 3, 3, 3];

/// A place with a plain socket and one with TLS.
fn place(rest: &str) -> Place {
    let place = Place::new();
    place.configure(&[OFF, IMPLICIT], &format!("allow-cleartext = true\n{rest}"));
    place
}

/// A client that has been greeted, without TLS.
fn greeted_from(source: [u8; 4], server: &Server) -> Client {
    let mut client = Client::plain_from(source, server.address(0));
    assert_eq!(client.line(), GREETING);
    client
}

/// Asserts that a client is evicted.
fn is_evicted(client: &mut Client) {
    let evicted = "-ERR [SYS/TEMP] too many connections, and this one has not logged in; try again";
    assert_eq!(String::from_utf8(client.rest()).unwrap(), format!("{evicted}\r\n"));
}

#[test]
fn connections_are_limited_by_address() {
    let place = place("[limits]\nconnections-per-address = 2\n");
    let server = place.serve();
    let (first, _second) = (greeted_from(HERE, &server), greeted_from(HERE, &server));
    let mut third = Client::plain_from(HERE, server.address(0));
    assert_eq!(
        String::from_utf8(third.rest()).unwrap(),
        "-ERR [SYS/TEMP] too many connections from your address; wait and try again\r\n"
    );
    assert!(Client::plain_from(HERE, server.address(1)).handshake(&Tls::new()).is_err());
    server.logged(&["WARN", "too many connections", "limit=limits.connections-per-address"]);
    drop(first);
    server.logged(&["session ended", "why=peer-closed"]);
    // The connection is logged a moment before it is no longer counted.
    let served = (0..1000).any(|_| {
        let mut client = Client::plain_from(HERE, server.address(0));
        client.line() == GREETING
    });
    assert!(served);
}

#[test]
fn trusted_networks_have_no_limit_of_their_own() {
    let place = place("[limits]\nconnections-per-address = 1\n");
    let server = place.serve();
    // Without trust at most 10 would be accepted at once, and then one at a time.
    let _clients: Vec<_> = (0..12).map(|_| greeted(&server)).collect();
    let _first = greeted_from(HERE, &server);
    assert!(Client::plain_from(HERE, server.address(0)).line().starts_with("-ERR [SYS/TEMP]"));
}

#[test]
fn connections_are_limited_in_all() {
    let place = place("[limits]\nconnections = 1\n");
    let server = place.serve();
    let _first = greeted(&server);
    let mut second = Client::plain(server.address(0));
    assert_eq!(second.line(), "-ERR [SYS/TEMP] too many connections; wait and try again");
    server.logged(&["WARN", "too many connections", "limit=limits.connections "]);
}

#[test]
fn silent_connections_make_room_for_others() {
    let place = place("[limits]\nconnections = 8\n");
    let server = place.serve();
    // One is silent on the socket with TLS. It has been accepted when the next one there is served.
    let mut silent = Client::plain_from(NEIGHBOUR, server.address(1));
    let mut user = Client::tls(server.address(1), &Tls::new());
    assert_eq!(user.line(), GREETING);
    assert_eq!(user.log_in(), "+OK 0 messages (0 octets)");
    // The last of them is in the middle of an exchange.
    let mut flood: Vec<_> = (0..3).map(|_| greeted_from(FLOOD, &server)).collect();
    assert_eq!(flood[2].ask("AUTH LOGIN"), "+ VXNlcm5hbWU6");
    let mut other = greeted_from(HERE, &server);
    assert_eq!(server.count("why=evicted"), 0);
    // Each further connection exceeds the limit.
    let mut others = vec![greeted_from(ELSEWHERE, &server)];
    assert_eq!(silent.rest(), b"");
    server.logged(&["many connections, one", "network=127.1.1.0/24", "limit=limits.connections "]);
    server.logged_times("why=evicted", 1);
    others.push(greeted_from(ELSEWHERE, &server));
    is_evicted(&mut flood[0]);
    server.logged_times("why=evicted", 2);
    // Both networks have two now: the oldest connection is evicted.
    others.push(greeted_from(ELSEWHERE, &server));
    is_evicted(&mut flood[1]);
    server.logged_times("why=evicted", 3);
    others.push(greeted_from(ELSEWHERE, &server));
    is_evicted(&mut others[0]);
    server.logged_times("why=evicted", 4);
    // A client of another network is served.
    assert_eq!(other.ask("USER mrose"), "+OK send PASS");
    assert_eq!(user.ask("NOOP"), "+OK");
    assert_eq!(flood[2].ask("*"), "-ERR authentication cancelled");
    assert_eq!(server.count("many connections, one"), 1, "not a line for each");
}

#[test]
fn a_login_in_progress_is_not_evicted() {
    let place = Place::new();
    // Each verification waits for its own file.
    let gates = place.path("gates");
    fs::create_dir(&gates).unwrap();
    place.hand_over(&gates);
    // The server itself looks up an unknown name.
    let program = format!(
        "cd {}; name=$(tr '\\0' '\\n' <&3 | sed -n 1p); case $name in one|another) ;; *) exit 1;; esac; \
         mkfifo $name; read line < $name; exec \"$@\"",
        gates.display()
    );
    place.configure(
        &[OFF],
        &format!(
            "allow-cleartext = true\n[limits]\nconnections = 4\n\
             [[credentials]]\nkind = \"checkpassword\"\ndeadline = \"1m\"\n\
             command = [\"/bin/sh\", \"-c\", {program:?}, \"sh\"]\n"
        ),
    );
    let server = place.serve();
    let mut busy = [FLOOD, NEIGHBOUR].map(|source| greeted_from(source, &server));
    for (name, client) in ["one", "another"].iter().zip(&mut busy) {
        assert_eq!(client.ask(&format!("USER {name}")), "+OK send PASS");
        client.send("PASS x\r\n");
    }
    eventually("both are verified", || fs::read_dir(&gates).unwrap().count() == 2);
    let mut silent = greeted_from(HERE, &server);
    // They are protected; of the two others the older one is evicted.
    let mut last = greeted_from(ELSEWHERE, &server);
    is_evicted(&mut silent);
    for gate in fs::read_dir(&gates).unwrap() {
        fs::write(gate.unwrap().path(), "go on\n").unwrap();
    }
    for client in &mut busy {
        assert!(client.line().starts_with("-ERR "));
    }
    assert_eq!(last.ask("USER mrose"), "+OK send PASS");
    server.logged_times("why=evicted", 1);
    assert_eq!(server.count("why=evicted"), 1);
}

/// With all descriptors in use by a removal, logins at that time would fail.
#[test]
fn a_removal_leaves_open_files_to_others() {
    const MESSAGES: u32 = 3000;
    // The descriptors of 8 connections, and 32 for removals.
    const LIMIT: usize = 240;
    let place = place("[limits]\nconnections = 8\n");
    place.user("other");
    for message in 0..MESSAGES {
        place.deliver(message, b"x\n");
    }
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -n $2; exec \"$0\" serve --config \"$1\"", PROGRAM]);
    command.arg(place.path("restante.toml")).arg(LIMIT.to_string());
    let server = Server::start(command);
    let mut user = logged_in(&server);
    for message in 1..=MESSAGES {
        user.send(format!("DELE {message}\r\n"));
        assert!(user.line().starts_with("+OK"));
    }
    let before = server.descriptors();
    assert_eq!(user.ask("QUIT"), format!("+OK {MESSAGES} messages removed, 0 left"));
    // The files are held until each removal is logged, which takes a few pauses.
    let held = server.descriptors().saturating_sub(before);
    assert!(held <= 40, "{held} descriptors");
    let mut other = greeted(&server);
    assert_eq!(other.ask("USER other"), "+OK send PASS");
    assert_eq!(other.ask("PASS tanstaaf"), "+OK 0 messages (0 octets)");
    server.logged_times("message removed", MESSAGES as usize);
}
