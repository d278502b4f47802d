//! The PROXY protocol, between a proxy that these tests play and the real server.

use std::fs;
use std::net::SocketAddr;

use crate::support::client::{Client, GREETING, Tls};
use crate::support::{IMPLICIT, OFF, Place, STARTTLS, Server};

/// The proxies of the server: the first of them is what `Client::plain` connects from.
const PROXIES: &str = "[\"127.0.0.1\", \"127.1.1.0/24\"]";
const STRANGER: [u8; 4] = [127, 2, 2, 2];

/// A place whose sockets without TLS, with STLS and with TLS are for proxies only.
fn place(rest: &str) -> Place {
    let place = Place::new();
    place.pair("default", &["localhost"]);
    place.pair("domain", &["pop.example.net"]);
    let host = "[[tls.host]]\nnames = [\"pop.example.net\"]\ncertificate = \"domain.crt\"\n\
                private-key = \"domain.key\"\ndefault-domain = \"example.net\"\n";
    place.configure(&[OFF, STARTTLS, IMPLICIT], &format!("{rest}{host}"));
    let text = fs::read_to_string(place.path("restante.toml")).unwrap();
    let proxied = format!("proxy-protocol = true\nproxies = {PROXIES}\ntls =");
    place.write("restante.toml", text.replace("tls =", &proxied));
    place
}

/// Connects as a proxy, and sends this.
fn connect(address: SocketAddr, header: impl AsRef<[u8]>) -> Client {
    let mut client = Client::plain(address);
    client.send(header);
    client
}

/// A header of version 1.
fn text(client: &str) -> String {
    format!("PROXY TCP4 {client} 198.51.100.1 4711 110\r\n")
}

/// A header of version 2 with these fields, about 192.0.2.7.
fn binary(fields: &[u8]) -> Vec<u8> {
    let length = u16::try_from(12 + fields.len()).unwrap().to_be_bytes();
    let addresses = [192, 0, 2, 7, 198, 51, 100, 1, 0x12, 0x67, 0, 110];
    [&b"\r\n\r\n\0\r\nQUIT\n\x21\x11"[..], &length, &addresses, fields].concat()
}

/// A header of a proxy that speaks for itself.
const LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";

/// A field of version 2.
fn field(kind: u8, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(value.len()).unwrap().to_be_bytes();
    [&[kind][..], &length, value].concat()
}

/// The field for TLS, of a client that has a certificate.
fn tls() -> Vec<u8> {
    field(0x20, &[&[7, 0, 0, 0, 0][..], &field(0x21, b"TLSv1.3")].concat())
}

fn capabilities(client: &mut Client) -> String {
    assert_eq!(client.ask("CAPA"), "+OK capabilities follow");
    String::from_utf8(client.body()).unwrap()
}

fn quit(client: &mut Client) {
    assert!(client.ask("QUIT").starts_with("+OK"));
    assert_eq!(client.rest(), b"");
}

#[test]
fn the_client_of_the_header_is_the_client_of_the_session() {
    let place = place("allow-cleartext = true\n");
    let server = place.serve();
    for (times, header) in [text("192.0.2.7").into_bytes(), binary(&[])].into_iter().enumerate() {
        // The commands come with the header, and none of them is lost.
        let commands = b"USER mrose\r\nPASS tanstaaf\r\nQUIT\r\n";
        let mut client = connect(server.address(0), [&header[..], commands].concat());
        assert_eq!(client.line(), GREETING);
        assert_eq!(client.line(), "+OK send PASS");
        assert_eq!(client.line(), "+OK 0 messages (0 octets)");
        assert!(client.line().starts_with("+OK goodbye"));
        let ended = "peer=192.0.2.7:4711}: session ended user=mrose proxy=127.0.0.1 retrieved=0";
        server.logged_times(ended, times + 1);
    }
}

#[test]
fn tls_begins_right_behind_the_header() {
    let place = place("");
    let server = place.serve();
    let mut client = connect(server.address(2), binary(&[])).handshake(&Tls::new()).unwrap();
    assert_eq!(client.line(), GREETING);
    assert_eq!(client.log_in(), "+OK 0 messages (0 octets)");
    quit(&mut client);
    let mut client = connect(server.address(1), text("192.0.2.7"));
    assert_eq!(client.line(), GREETING);
    let mut client = client.upgrade(&Tls::new());
    assert_eq!(client.log_in(), "+OK 0 messages (0 octets)");
    quit(&mut client);
    server.logged_times("peer=192.0.2.7:4711}: session ended", 2);
    server.logged_times(" user=mrose proxy=127.0.0.1 tls=1.3 cipher_suite=TLS13_", 2);
}

#[test]
fn tls_that_ends_at_the_proxy_protects_the_session() {
    let place = place("");
    let server = place.serve();
    for number in [0, 1] {
        let fields = [field(2, b"pop.example.net"), tls()].concat();
        let mut client = connect(server.address(number), binary(&fields));
        assert_eq!(client.line(), GREETING);
        let offered = capabilities(&mut client);
        assert!(offered.contains(" PLAIN LOGIN") && offered.contains("USER\r\n"), "{offered}");
        assert!(!offered.contains("STLS") && !offered.contains("EXTERNAL"), "{offered}");
        assert!(client.ask("STLS").starts_with("-ERR"));
        assert_eq!(client.log_in(), "-ERR [AUTH] wrong user name or password");
        server.logged_times("login failed", number + 1);
        server.logged(&["login failed", "user=mrose@example.net"]);
        quit(&mut client);
        let mut client = connect(server.address(number), binary(&tls()));
        assert_eq!(client.line(), GREETING);
        assert_eq!(client.log_in(), "+OK 0 messages (0 octets)");
        quit(&mut client);
        server.logged_times(" user=mrose proxy=127.0.0.1 tls=1.3 retrieved=0", number + 1);
    }
    // Without this field, or with the field for a client without TLS, it does not.
    for fields in [Vec::new(), field(0x20, &[0, 0, 0, 0, 0])] {
        let mut client = connect(server.address(0), binary(&fields));
        assert_eq!(client.line(), GREETING);
        assert!(!capabilities(&mut client).contains("SASL"));
        assert!(client.ask("USER mrose").starts_with("-ERR [AUTH] "));
    }
    let mut client = connect(server.address(1), binary(&[]));
    assert_eq!(client.line(), GREETING);
    assert!(capabilities(&mut client).contains("STLS"));
}

#[test]
fn only_proxies_may_connect() {
    let place = place("allow-cleartext = true\n");
    let server = place.serve();
    for number in [0, 1, 2] {
        let mut client = Client::plain_from(STRANGER, server.address(number));
        // The server may be faster.
        let _sent = client.try_send(text("192.0.2.7"));
        assert_eq!(received(&mut client), b"");
    }
    server.logged_times("peer=127.2.2.2:", 4);
    server.logged_times("session ended why=not-a-proxy", 3);
    server.logged(&["WARN", "only proxies may connect here", "peer=127.2.2.2:", "passed_over=0"]);
    let mut neighbour = Client::plain_from([127, 1, 1, 9], server.address(0));
    neighbour.send(text("192.0.2.7"));
    assert_eq!(neighbour.line(), GREETING);
}

/// What the server sends until it closes the connection, in order or not.
fn received(client: &mut Client) -> Vec<u8> {
    while client.more().is_ok() {}
    client.unread().to_vec()
}

#[test]
fn a_proxy_without_a_usable_header_is_told_in_the_log() {
    let place = place("allow-cleartext = true\n");
    let server = place.serve();
    for (octets, why, detail) in [
        (b"CAPA\r\n".to_vec(), "no-proxy-header", "it begins with something else"),
        (b"\x16\x03\x01\x02\x00\x01".to_vec(), "no-proxy-header", "it begins with something else"),
        (b"PROXY TCP4 mrose ::1 1 1\r\n".to_vec(), "bad-proxy-header", "it is malformed"),
        (binary(&field(3, &[0; 4])), "bad-proxy-header", "its checksum is wrong"),
    ] {
        let mut client = connect(server.address(0), octets);
        assert_eq!(received(&mut client), b"");
        server.logged(&["session ended", why, detail]);
    }
    server.logged(&["WARN", "a proxy sent no usable header", "peer=127.0.0.1:"]);
    assert_eq!(server.count("a proxy sent no usable header"), 1, "the others follow in 10 seconds");
    // The server goes on.
    assert_eq!(connect(server.address(0), text("192.0.2.7")).line(), GREETING);
}

#[test]
fn clients_are_limited_by_their_own_addresses() {
    let place = place("allow-cleartext = true\n[limits]\nconnections-per-address = 2\n");
    trust_nobody(&place);
    let server = place.serve();
    let greeted = |header: &[u8]| {
        let mut client = connect(server.address(0), header);
        assert_eq!(client.line(), GREETING);
        client
    };
    let _clients: Vec<_> =
        (1..=8).map(|n| greeted(text(&format!("192.0.{n}.7")).as_bytes())).collect();
    // Health checks are of the proxy itself: without a client, or with its own address.
    let own = text("127.0.0.1");
    let _checks: Vec<_> = [LOCAL, b"PROXY UNKNOWN\r\n", own.as_bytes()]
        .into_iter()
        .flat_map(|header| [greeted(header), greeted(header), greeted(header)])
        .collect();
    let _second = greeted(text("192.0.1.7").as_bytes());
    let mut third = connect(server.address(0), text("192.0.1.7"));
    assert_eq!(
        third.line(),
        "-ERR [SYS/TEMP] too many connections from your address; wait and try again"
    );
    server.logged(&["WARN", "too many connections", "peer=192.0.1.7:4711"]);
}

/// So that the loopback is limited like any other network.
fn trust_nobody(place: &Place) {
    let text = fs::read_to_string(place.path("restante.toml")).unwrap();
    place
        .write("restante.toml", text.replace("trusted = [\"127.0.0.1\", \"::1\"]", "trusted = []"));
}

#[test]
fn a_connection_without_a_header_yet_counts_and_delays_nobody() {
    let place = place("allow-cleartext = true\n[limits]\nconnections = 3\n");
    let server = place.serve();
    let _silent = [Client::plain(server.address(0)), connect(server.address(0), "PROXY ")];
    let mut client = connect(server.address(0), text("192.0.2.7"));
    assert_eq!(client.line(), GREETING);
    let mut refused = connect(server.address(0), text("192.0.2.8"));
    assert_eq!(refused.line(), "-ERR [SYS/TEMP] too many connections; wait and try again");
}

#[test]
fn health_checks_are_served_and_leave_no_line() {
    let place = place("allow-cleartext = true\n");
    let server = place.serve();
    let own = text("127.0.0.1");
    for header in [LOCAL, b"PROXY UNKNOWN\r\n", own.as_bytes()] {
        let mut check = connect(server.address(0), header);
        assert_eq!(check.line(), GREETING);
        quit(&mut check);
    }
    // One that only connects.
    assert_eq!(received_after_half_close(&server), b"");
    // A login is a login, whoever makes it.
    let mut client = connect(server.address(0), LOCAL);
    assert_eq!(client.line(), GREETING);
    assert_eq!(client.log_in(), "+OK 0 messages (0 octets)");
    quit(&mut client);
    server.logged(&["session ended", "user=mrose", "proxy=127.0.0.1", "peer=127.0.0.1:"]);
    assert_eq!(server.count("session ended"), 1, "{:?}", server.log());
    assert_eq!(server.count("WARN"), 0, "{:?}", server.log());
}

fn received_after_half_close(server: &Server) -> Vec<u8> {
    let mut client = Client::plain(server.address(0));
    client.half_close();
    received(&mut client)
}
