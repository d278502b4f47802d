//! How many connections there may be: from one network, in all, and who makes room for whom. How many
//! open files a removal takes from them.

use std::fs;
use std::process::Command;

use crate::support::client::{Client, GREETING, Tls, greeted, logged_in};
use crate::support::{PROGRAM, Place, Server, eventually};

const OFF: (&str, &str) = ("127.0.0.1:0", "off");
const IMPLICIT: (&str, &str) = ("127.0.0.1:0", "implicit");
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

/// What a client gets that has to go.
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
    // The log line comes a moment before the place is free.
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
    // At most 10 would be taken at once, and one at a time.
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
    // One says nothing to the socket with TLS; it has been accepted when the next one there is served.
    let mut silent = Client::plain_from(NEIGHBOUR, server.address(1));
    let mut user = Client::tls(server.address(1), &Tls::new());
    assert_eq!(user.line(), GREETING);
    assert_eq!(user.log_in(), "+OK 0 messages (0 octets)");
    // The last of them is in the middle of an exchange.
    let mut flood: Vec<_> = (0..3).map(|_| greeted_from(FLOOD, &server)).collect();
    assert_eq!(flood[2].ask("AUTH LOGIN"), "+ VXNlcm5hbWU6");
    let mut other = greeted_from(HERE, &server);
    assert_eq!(server.count("why=evicted"), 0);
    // From now on each that comes is one too many.
    let mut others = vec![greeted_from(ELSEWHERE, &server)];
    assert_eq!(silent.rest(), b"");
    server.logged(&["many connections, one", "network=127.1.1.0/24", "limit=limits.connections "]);
    server.logged_times("why=evicted", 1);
    others.push(greeted_from(ELSEWHERE, &server));
    is_evicted(&mut flood[0]);
    server.logged_times("why=evicted", 2);
    // Both networks have two each now: the oldest of them goes.
    others.push(greeted_from(ELSEWHERE, &server));
    is_evicted(&mut flood[1]);
    server.logged_times("why=evicted", 3);
    others.push(greeted_from(ELSEWHERE, &server));
    is_evicted(&mut others[0]);
    server.logged_times("why=evicted", 4);
    // Whoever comes from elsewhere is served.
    assert_eq!(other.ask("USER mrose"), "+OK send PASS");
    assert_eq!(user.ask("NOOP"), "+OK");
    assert_eq!(flood[2].ask("*"), "-ERR authentication cancelled");
    assert_eq!(server.count("many connections, one"), 1, "not a line for each");
}

#[test]
fn whoever_is_logging_in_makes_no_room() {
    let place = Place::new();
    // Each verification waits at a gate of its own.
    let gates = place.path("gates");
    fs::create_dir(&gates).unwrap();
    place.hand_over(&gates);
    // The server itself asks about a name that nobody has.
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
    // They hold what they have; of the two others the older one goes.
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

/// Weakness 2: with all files in use, whoever logged in at that time was told that it cannot be done.
#[test]
fn a_removal_leaves_open_files_to_others() {
    const MESSAGES: u32 = 3000;
    // What 8 connections may need, and 32 that a removal may hold.
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
    // The files are held until each has its line in the log, and that takes a few pauses.
    let held = server.descriptors().saturating_sub(before);
    assert!(held <= 40, "{held} descriptors");
    let mut other = greeted(&server);
    assert_eq!(other.ask("USER other"), "+OK send PASS");
    assert_eq!(other.ask("PASS tanstaaf"), "+OK 0 messages (0 octets)");
    server.logged_times("message removed", MESSAGES as usize);
}
