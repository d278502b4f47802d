//! TLS of `restante serve`: versions, certificates, and clients with errors.

use std::io::{Read, Write};
use std::net::TcpStream;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use nix::sys::signal::Signal;
use rcgen::{CertificateParams, KeyPair, SanType};
use sha2::{Digest, Sha256};
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::rustls::{HandshakeKind, ProtocolVersion, version};

use crate::support::client::{Agreed, Client, Tls};
use crate::support::{IMPLICIT, OFF, PATIENCE, Place, STARTTLS, Server};

const LISTEN: [(&str, &str); 2] = [STARTTLS, IMPLICIT];

fn place() -> Place {
    let place = Place::new();
    place.configure(&LISTEN, "");
    place
}

/// Shakes hands on the TLS port, and runs the session to its end.
fn agreed(server: &Server, tls: &Tls) -> Agreed {
    let mut client = Client::tls(server.address(1), tls);
    assert_eq!(client.line(), "+OK pop.example.org POP3 server ready");
    assert_eq!(client.ask("QUIT"), "+OK goodbye");
    let agreed = client.agreed();
    assert!(client.is_closed_in_order());
    agreed
}

#[test]
fn both_versions_are_served_and_sessions_are_resumed() {
    let place = place();
    let server = place.serve();
    for (only, protocol, word) in [
        (&version::TLS12, ProtocolVersion::TLSv1_2, "tls=1.2"),
        (&version::TLS13, ProtocolVersion::TLSv1_3, "tls=1.3"),
    ] {
        let tls = Tls::with_versions(&[only]);
        let first = agreed(&server, &tls);
        assert_eq!((first.version, first.kind), (protocol, HandshakeKind::Full));
        assert_eq!(agreed(&server, &tls).kind, HandshakeKind::Resumed);
        server.logged(&["session ended", word, "why=quit"]);
    }
}

#[test]
fn alpn_pop3_or_none_is_served_and_others_are_refused() {
    let place = place();
    let server = place.serve();
    assert_eq!(agreed(&server, &Tls::new()).alpn, None);
    assert_eq!(agreed(&server, &Tls::new().alpn("pop3")).alpn, Some(b"pop3".to_vec()));
    let other = Tls::new().alpn("http/1.1");
    let refused = Client::plain(server.address(1)).handshake(&other).err().unwrap();
    assert!(refused.to_string().contains("NoApplicationProtocol"), "{refused}");
    server.logged(&["session ended", "why=wrong-protocol"]);

    let mut client = Client::plain(server.address(0));
    client.line();
    let mut client = client.upgrade(&Tls::new().alpn("pop3"));
    assert_eq!(client.agreed().alpn, Some(b"pop3".to_vec()));
    assert_eq!(client.ask("STLS").split(' ').next(), Some("-ERR"));
    let mut client = Client::plain(server.address(0));
    client.line();
    assert_eq!(client.ask("STLS"), "+OK begin TLS now");
    assert!(client.handshake(&other).is_err());
}

#[test]
fn scram_is_bound_by_the_exporter_with_tls_1_3_and_by_the_certificate_with_any() {
    let place = Place::new();
    place.configure(&LISTEN, WITH_BINDING);
    let server = place.serve();
    let begin = |version, binding: &str| {
        let mut client = Client::tls(server.address(1), &Tls::with_versions(&[version]));
        client.line();
        let first = STANDARD.encode(format!("p={binding},,n=mrose,r=nonce"));
        let reply = client.ask(&format!("AUTH SCRAM-SHA-256-PLUS {first}"));
        (client, reply)
    };
    for (version, binding, taken) in [
        (&version::TLS13, "tls-exporter", true),
        (&version::TLS13, "tls-server-end-point", true),
        (&version::TLS12, "tls-exporter", false),
        (&version::TLS12, "tls-server-end-point", true),
        (&version::TLS12, "tls-unique", false),
    ] {
        let (_client, reply) = begin(version, binding);
        let wanted = if taken { "+ " } else { "-ERR the channel binding " };
        assert!(reply.starts_with(wanted), "{version:?} {binding}: {reply}");
    }
    let (mut one, challenge) = begin(&version::TLS13, "tls-exporter");
    let (mut another, another_challenge) = begin(&version::TLS13, "tls-exporter");
    let header = "p=tls-exporter,,";
    let reply = another.ask(&scram_final(header, &another_challenge, &one.exporter()));
    assert!(reply.starts_with("-ERR "), "bound to another connection: {reply}");
    let reply = one.ask(&scram_final(header, &challenge, &one.exporter()));
    assert!(reply.starts_with("+ "), "{reply}");
}

const WITH_BINDING: &str =
    "mechanisms = [\"LOGIN\", \"PLAIN\", \"SCRAM-SHA-256\", \"SCRAM-SHA-256-PLUS\", \"PLAIN\"]\n";

/// mutt and neomutt of Debian 12 choose -PLUS, cannot bind, and try no other mechanism.
#[test]
fn channel_binding_is_offered_when_the_operator_names_it_only() {
    let place = Place::new();
    for (mechanisms, listed) in [
        ("", "SASL SCRAM-SHA-256 SCRAM-SHA-1 PLAIN LOGIN"),
        (WITH_BINDING, "SASL SCRAM-SHA-256-PLUS SCRAM-SHA-256 PLAIN LOGIN"),
    ] {
        place.configure(&LISTEN, mechanisms);
        let server = place.serve();
        let greeted = || {
            let mut client = Client::tls(server.address(1), &Tls::new());
            client.line();
            client
        };
        let mut client = greeted();
        client.send("CAPA\r\n");
        let capabilities = String::from_utf8(client.body()).unwrap();
        assert!(capabilities.lines().any(|line| line == listed), "{capabilities}");

        let binds = listed.contains("-PLUS");
        for (flag, bare, plus) in [
            ("n", true, false),
            // "I could bind, and you cannot": true, or an attacker has removed -PLUS from the list.
            ("y", !binds, false),
            ("p=tls-exporter", false, binds),
        ] {
            let first = STANDARD.encode(format!("{flag},,n=mrose,r=nonce"));
            for (mechanism, taken) in [("SCRAM-SHA-256", bare), ("SCRAM-SHA-256-PLUS", plus)] {
                let reply = greeted().ask(&format!("AUTH {mechanism} {first}"));
                let wanted = if taken { "+ " } else { "-ERR " };
                assert!(reply.starts_with(wanted), "{listed}, {mechanism} {flag}: {reply}");
            }
        }
    }
}

#[test]
fn a_client_that_could_bind_logs_in_where_binding_is_not_offered() {
    let place = place();
    let server = place.serve();
    let mut client = Client::tls(server.address(1), &Tls::new());
    client.line();
    let first = STANDARD.encode("y,,n=mrose,r=nonce");
    let challenge = client.ask(&format!("AUTH SCRAM-SHA-256 {first}"));
    let proof = client.ask(&scram_final("y,,", &challenge, b""));
    assert!(proof.starts_with("+ "), "{proof}");
    let reply = client.ask("");
    assert!(reply.starts_with("+OK "), "{reply}");
}

/// The reply is the same with the right password and with a wrong one, and both are refused.
#[test]
fn a_user_of_another_network_is_refused_as_with_a_wrong_password() {
    let place = Place::new();
    place.configure(&LISTEN, WITH_BINDING);
    place.write("users", "mrose:{PLAIN}tanstaaf::::::allow_nets=192.0.2.0/24,local\n");
    let server = place.serve();
    let greeted = || {
        let mut client = Client::tls(server.address(1), &Tls::new());
        client.line();
        client
    };
    const REFUSED: &str = "-ERR [AUTH] wrong user name or password";
    for password in ["tanstaaf", "wrong"] {
        let mut client = greeted();
        let response = STANDARD.encode(format!("\0mrose\0{password}"));
        assert_eq!(client.ask(&format!("AUTH PLAIN {response}")), REFUSED);
        assert_eq!(client.ask("USER mrose"), "+OK send PASS");
        assert_eq!(client.ask(&format!("PASS {password}")), REFUSED);
    }
    let mut client = greeted();
    let first = STANDARD.encode("p=tls-exporter,,n=mrose,r=nonce");
    let challenge = client.ask(&format!("AUTH SCRAM-SHA-256-PLUS {first}"));
    let proof = scram_final("p=tls-exporter,,", &challenge, &client.exporter());
    assert_eq!(client.ask(&proof), REFUSED);
    server.logged_times("refused: the password is right, and the user may not log in from", 3);
    // An edit of the file takes effect at once.
    place.write("users", "mrose:{PLAIN}tanstaaf::::::allow_nets=127.0.0.0/8,::1\n");
    assert!(greeted().log_in().starts_with("+OK 0 messages"));
}

#[test]
fn a_name_without_a_domain_is_one_of_the_listener_or_of_the_certificate_name() {
    let place = Place::new();
    place.pair("other", &["pop.c.example"]);
    for (messages, domain) in [(1, "a.example"), (2, "b.example"), (3, "c.example")] {
        let user = format!("mrose@{domain}");
        place.user(&user);
        for number in 1..=messages {
            place.deliver_to(&user, number, b"\n");
        }
    }
    place.configure(
        &[STARTTLS, IMPLICIT, OFF],
        "allow-cleartext = true\ndefault-domain = \"A.Example\"\n\
         mechanisms = [\"PLAIN\", \"SCRAM-SHA-256-PLUS\"]\n\
         [[tls.host]]\nnames = [\"pop.c.example\"]\ndefault-domain = \"c.example\"\n\
         certificate = \"other.crt\"\nprivate-key = \"other.key\"\n",
    );
    let text = std::fs::read_to_string(place.path("restante.toml")).unwrap();
    let implicit = "tls = \"implicit\"\n";
    let with_domain = format!("{implicit}default-domain = \"b.example\"\n");
    place.write("restante.toml", text.replace(implicit, &with_domain));
    let server = place.serve();
    let c = Tls::new().name("pop.c.example");
    let upgraded = |tls| {
        let mut client = Client::plain(server.address(0));
        client.line();
        client.upgrade(tls)
    };
    let greeted = |mut client: Client| {
        client.line();
        client
    };
    for (mut client, messages) in [
        (greeted(Client::plain(server.address(2))), 1),
        (greeted(Client::plain(server.address(0))), 1),
        (upgraded(&Tls::new()), 1),
        (upgraded(&c), 3),
        (greeted(Client::tls(server.address(1), &Tls::new())), 2),
        (greeted(Client::tls(server.address(1), &c)), 3),
    ] {
        assert!(client.log_in().starts_with(&format!("+OK {messages} message")), "{messages}");
        client.ask("QUIT");
    }
    // The proof of SCRAM includes the name as the client sent it.
    let mut client = greeted(Client::tls(server.address(1), &c));
    let first = STANDARD.encode("p=tls-exporter,,n=mrose,r=nonce");
    let challenge = client.ask(&format!("AUTH SCRAM-SHA-256-PLUS {first}"));
    let proved = client.ask(&scram_final("p=tls-exporter,,", &challenge, &client.exporter()));
    assert!(proved.starts_with("+ "), "{proved}");
    assert!(client.ask("").starts_with("+OK 3 messages"));
    client.ask("QUIT");
    server.logged(&["session ended", "user=mrose@c.example", "why=quit"]);
}

/// The final message of a SCRAM client with the password `tanstaaf` and the nonce `nonce`.
fn scram_final(header: &str, challenge: &str, binding: &[u8]) -> String {
    let hmac = |key: &[u8], text: &[u8]| -> [u8; 32] {
        Hmac::<Sha256>::new_from_slice(key)
            .unwrap()
            .chain_update(text)
            .finalize()
            .into_bytes()
            .into()
    };
    let challenge = STANDARD.decode(challenge.strip_prefix("+ ").unwrap()).unwrap();
    let challenge = String::from_utf8(challenge).unwrap();
    let field = |nth| challenge.split(',').nth(nth).unwrap().split_at(2).1;
    let (nonce, salt, iterations) = (field(0), STANDARD.decode(field(1)).unwrap(), field(2));
    let mut salted = [0; 32];
    let iterations = iterations.parse().unwrap();
    pbkdf2::pbkdf2_hmac::<Sha256>(b"tanstaaf", &salt, iterations, &mut salted);
    let key = hmac(&salted, b"Client Key");
    let binding = STANDARD.encode([header.as_bytes(), binding].concat());
    let unproven = format!("c={binding},r={nonce}");
    let exchange = format!("n=mrose,r=nonce,{challenge},{unproven}");
    let signature = hmac(&Sha256::digest(key), exchange.as_bytes());
    let proof: Vec<u8> =
        key.iter().zip(signature).map(|(key, signature)| key ^ signature).collect();
    STANDARD.encode(format!("{unproven},p={}", STANDARD.encode(proof)))
}

#[test]
fn the_certificate_is_chosen_by_name() {
    let place = Place::new();
    let default = place.pair("default", &["localhost"]);
    let exact = place.pair("exact", &["pop.example.org"]);
    let wild = place.pair("wild", &["*.example.net"]);
    let hosts = "[[tls.host]]\nnames = [\"pop.example.org\"]\n\
                 certificate = \"exact.crt\"\nprivate-key = \"exact.key\"\n\
                 [[tls.host]]\nnames = [\"*.example.net\"]\n\
                 certificate = \"wild.crt\"\nprivate-key = \"wild.key\"\n";
    place.configure(&LISTEN, hosts);
    let server = place.serve();
    for (name, expected) in [
        ("localhost", &default),
        ("pop.example.org", &exact),
        ("POP.Example.Org", &exact),
        ("mail.example.net", &wild),
        ("a.b.example.net", &default),
        ("127.0.0.1", &default),
    ] {
        let served = agreed(&server, &Tls::new().name(name)).certificate;
        assert!(served == *expected, "{name}");
    }
}

#[test]
fn a_renewed_certificate_is_served_without_being_asked_to() {
    let place = Place::new();
    let first = place.pair("default", &["localhost"]);
    place.configure(&LISTEN, "");
    let server = place.serve();
    let mut across = Client::tls(server.address(1), &Tls::new());
    across.line();
    assert!(agreed(&server, &Tls::new()).certificate == first);

    place.write("default.crt", "garbage");
    server.logged(&["ERROR", "the old ones stay in use", "default.crt"]);
    assert!(agreed(&server, &Tls::new()).certificate == first);

    let second = place.pair("default", &["localhost"]);
    server.logged(&["INFO", "certificates have changed and are in use"]);
    assert!(agreed(&server, &Tls::new()).certificate == second);
    assert_eq!(server.count("the old ones stay in use"), 1, "once a change");
    assert_eq!(across.ask("QUIT"), "+OK goodbye", "sessions go on");
}

#[test]
fn sighup_reads_certificates_at_once_and_tickets_live_on() {
    let place = place();
    let server = place.serve();
    let tls = Tls::new();
    agreed(&server, &tls);
    let second = place.pair("default", &["localhost"]);
    server.signal(Signal::SIGHUP);
    server.logged(&["the configuration is in use"]);
    assert!(agreed(&server, &Tls::new()).certificate == second);
    assert_eq!(agreed(&server, &tls).kind, HandshakeKind::Resumed);
}

#[test]
fn a_client_cannot_come_back_once_its_authority_is_removed() {
    let place = place();
    let text = std::fs::read_to_string(place.path("restante.toml")).unwrap();
    let with_ca = text.replace("[tls]\n", "[tls]\nclient-ca = \"clients.pem\"\n");
    place.write("restante.toml", with_ca);
    // A certificate that is its own authority.
    let mut params = CertificateParams::default();
    params.subject_alt_names = vec![SanType::Rfc822Name("mrose@example.org".try_into().unwrap())];
    let key = KeyPair::generate().unwrap();
    let own = params.self_signed(&key).unwrap();
    place.write("clients.pem", own.pem());
    let server = place.serve();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let is_known = |tls: &Tls| {
        let mut client = Client::tls(server.address(1), tls);
        client.line();
        client.send("CAPA\r\n");
        let known = String::from_utf8(client.body()).unwrap().contains("EXTERNAL");
        client.ask("QUIT");
        (client.agreed().kind, known)
    };
    let clients = [&version::TLS12, &version::TLS13]
        .map(|only| Tls::with_versions(&[only]).certificate(own.der(), &key));
    for tls in &clients {
        assert_eq!(is_known(tls), (HandshakeKind::Full, true));
        assert_eq!(is_known(tls), (HandshakeKind::Resumed, true));
    }
    assert_eq!(is_known(&Tls::new()), (HandshakeKind::Full, false), "no certificate is needed");

    place.write("clients.pem", "garbage");
    server.signal(Signal::SIGHUP);
    server.logged(&["ERROR", "the old configuration stays in use", "clients.pem: has no"]);
    for tls in &clients {
        assert_eq!(is_known(tls), (HandshakeKind::Resumed, true));
    }

    place.pair("other", &["localhost"]);
    place.write("clients.pem", std::fs::read(place.path("other.crt")).unwrap());
    server.signal(Signal::SIGHUP);
    server.logged(&["INFO", "the configuration is in use"]);
    for tls in &clients {
        // With TLS 1.3 the client finishes before the server has checked the certificate.
        let refused = Client::plain(server.address(1)).handshake(tls).map(|mut c| c.rest());
        assert!(refused.map_or(true, |said| said.is_empty()));
    }
    server.logged_times("invalid peer certificate", 2);
    assert_eq!(is_known(&Tls::new()), (HandshakeKind::Full, false));
}

#[test]
fn a_wrong_key_is_refused_at_start() {
    let place = place();
    place.pair("other", &["localhost"]);
    let other = std::fs::read(place.path("other.key")).unwrap();
    place.write("default.key", other);
    let said = place.refuse();
    assert!(said.contains("default.key: is not the key of the certificate in"), "{said}");
}

#[test]
fn tls_on_the_plain_port_is_called_by_its_name() {
    let place = place();
    let server = place.serve();
    let client = Client::plain(server.address(0));
    assert!(client.handshake(&Tls::new()).is_err());
    server.logged(&["session ended", "why=tls-on-plain-port"]);
}

#[test]
fn plain_text_on_the_tls_port_is_called_by_its_name() {
    let place = place();
    let server = place.serve();
    for text in ["CAPA\r\n", "GET / HTTP/1.1\r\n\r\n", "SSH-2.0-client\r\n", "EHLO example.org\r\n"]
    {
        let before = server.count("why=plaintext-on-tls-port");
        let mut client = Client::plain(server.address(1));
        client.send(text);
        let said = client.rest();
        assert!(!said.starts_with(b"+OK") && !said.starts_with(b"-ERR"), "{said:?}");
        server.logged_times("why=plaintext-on-tls-port", before + 1);
    }
}

#[test]
fn the_proxy_protocol_on_the_tls_port_is_called_by_its_name() {
    let place = place();
    let server = place.serve();
    for (times, text) in
        [(1, &b"PROXY TCP4 192.0.2.7 192.0.2.1 4711 995\r\n"[..]), (2, b"\r\n\r\n\0\r\nQUIT\n")]
    {
        let mut client = Client::plain(server.address(1));
        client.send(text);
        assert_eq!(client.rest(), b"", "no alert either");
        server.logged_times("why=proxy-protocol", times);
    }
    let mut client = Client::plain(server.address(0));
    client.send("PROXY TCP4 192.0.2.7 192.0.2.1 4711 110\r\n");
    assert!(client.rest().iter().filter(|&&octet| octet == b'\n').count() <= 1);
    server.logged_times("why=proxy-protocol", 3);
    server.logged(&["why=proxy-protocol", "write proxy-protocol = true and proxies"]);
}

#[test]
fn a_client_that_is_too_old_is_called_so() {
    let place = place();
    let server = place.serve();
    // TLS 1.0 with AES-128-CBC, without extensions; the same from a client that begins as for
    // SSL 2.0.
    let mut hello = vec![22, 3, 1, 0, 45, 1, 0, 0, 41, 3, 1];
    hello.extend_from_slice(&[7; 32]);
    hello.extend_from_slice(&[0, 0, 2, 0, 0x2f, 1, 0]);
    let ssl2 = [&[0x80, 28, 1, 3, 1, 0, 3, 0, 0, 0, 16, 0, 0, 0x2f][..], &[7; 16]].concat();
    for (times, hello) in [(1, hello), (2, ssl2)] {
        let mut client = Client::plain(server.address(1));
        client.send(hello);
        client.rest();
        server.logged_times("why=tls-too-old", times);
    }
    server.logged(&["why=tls-too-old", "the client offers TLS 1.0 at most; it needs TLS 1.2"]);
}

#[test]
fn a_client_for_certificates_of_another_kind_is_called_so() {
    let place = place();
    let server = place.serve();
    let mut provider = aws_lc_rs::default_provider();
    provider.cipher_suites = vec![aws_lc_rs::cipher_suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256];
    let tls = Tls::with_provider(provider, &[&version::TLS12]);
    assert!(Client::plain(server.address(1)).handshake(&tls).is_err());
    server.logged(&["why=no-common-cipher", "only suites for RSA certificates"]);
}

#[test]
fn a_client_that_falls_silent_is_closed_at_the_login_deadline() {
    let place = Place::new();
    place.configure(&LISTEN, "[timeouts]\nlogin = \"10s\"\n");
    let server = place.serve();
    let mut silent: Vec<TcpStream> = [0, 1, 1]
        .into_iter()
        .map(|number| {
            let stream = TcpStream::connect(server.address(number)).unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            stream
        })
        .collect();
    // Only the beginning of a ClientHello.
    silent[2].write_all(&[0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00]).unwrap();
    for stream in &mut silent {
        let mut said = Vec::new();
        stream.read_to_end(&mut said).unwrap();
    }
    server.logged_times("why=login-timeout", 3);
}

#[test]
fn a_client_that_vanishes_leaves_nothing_behind() {
    let place = Place::new();
    // Lets the user of this test read /proc/PID.
    place.configure(&LISTEN, "[sandbox]\ncore-dumps = true\n");
    let server = place.serve();
    agreed(&server, &Tls::new());
    let descriptors =
        || std::fs::read_dir(format!("/proc/{}/fd", server.pid())).map_or(0, Iterator::count);
    let before = descriptors();
    for _ in 0..40 {
        let mut stream = TcpStream::connect(server.address(1)).unwrap();
        stream.write_all(&[0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00]).unwrap();
    }
    server.logged_times("why=peer-closed", 40);
    let settled = (0..1_000_000).any(|_| {
        std::thread::yield_now();
        descriptors() <= before
    });
    assert!(settled, "{} descriptors, {before} before", descriptors());
}
