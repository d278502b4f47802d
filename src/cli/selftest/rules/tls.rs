//! TLS: its versions, STLS, and logins without it (RFC 2595, RFC 8314, RFC 8996).

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::cli::selftest::capabilities::Capabilities;
use crate::cli::selftest::dialogue::{Dialogue, Reply};
use crate::cli::selftest::probe::Probe;
use crate::cli::selftest::rule::{Finding, Level, Needs, Rule, require};
use crate::cli::selftest::target::Tls;

pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "rfc8996-old-versions",
        citation: "RFC 8996 §5",
        level: Level::Must,
        text: "TLS 1.0 and 1.1 are refused",
        needs: Needs::Nothing,
        check: |probe| {
            for (version, minor) in [("1.0", 1), ("1.1", 2)] {
                let accepted = accepts_version(probe, minor)?;
                require(!accepted, || format!("TLS {version} is accepted"))?;
            }
            Ok(())
        },
    },
    Rule {
        id: "rfc8314-no-cleartext",
        citation: "RFC 8314 §4.1",
        level: Level::Should,
        text: "no login that sends the password is offered without TLS",
        needs: Needs::Nothing,
        check: |probe| {
            let (mut dialogue, _) = without_tls(probe)?;
            let capabilities = Capabilities::ask(&mut dialogue)?;
            let clear = capabilities.mechanisms().find(|name| name == "PLAIN" || name == "LOGIN");
            require(clear.is_none(), || "CAPA lists SASL PLAIN or LOGIN without TLS".to_owned())?;
            require(!capabilities.has("USER"), || "CAPA lists USER without TLS".to_owned())?;
            let reply = dialogue.ask("USER restante-selftest")?;
            require(reply.is_err(), || "USER is accepted without TLS".to_owned())
        },
    },
    Rule {
        id: "rfc2595-stls",
        citation: "RFC 2595 §4",
        level: Level::Must,
        text: "STLS is accepted where CAPA lists it, and TLS begins",
        needs: Needs::Nothing,
        check: |probe| with_stls(probe).map(drop),
    },
    Rule {
        id: "rfc2595-no-second-greeting",
        citation: "RFC 2595 §4",
        level: Level::Must,
        text: "after STLS there is no second greeting",
        needs: Needs::Nothing,
        check: |probe| with_stls(probe)?.refuses("XYZZY"),
    },
    Rule {
        id: "rfc2595-discard",
        citation: "RFC 2595 §4",
        level: Level::Must,
        text: "commands that came in the clear behind STLS are not executed under TLS",
        needs: Needs::Nothing,
        check: what_came_in_the_clear_is_discarded,
    },
    Rule {
        id: "rfc2595-listed",
        citation: "RFC 2595 §4",
        level: Level::Must,
        text: "under TLS, CAPA does not list STLS where it is refused",
        needs: Needs::Nothing,
        check: |probe| {
            if probe.target.tls == Tls::Off {
                return Err(Finding::not_tested("it needs TLS: --tls"));
            }
            let mut dialogue = probe.fresh()?;
            let is_listed = Capabilities::ask(&mut dialogue)?.has("STLS");
            let reply = dialogue.ask("STLS")?;
            require(reply.is_ok() || !is_listed, || "STLS is listed and refused".to_owned())
        },
    },
];

/// A new connection to a port that does not begin with TLS.
fn without_tls(probe: &mut Probe) -> Result<(Dialogue, Reply), Finding> {
    match probe.target.tls {
        Tls::Implicit => Err(Finding::not_tested("this port begins with TLS: test port 110, too")),
        Tls::Starttls | Tls::Off => probe.plain(),
    }
}

/// A new connection without TLS to a server that lists STLS.
fn before_stls(probe: &mut Probe) -> Result<Dialogue, Finding> {
    let (mut dialogue, _) = without_tls(probe)?;
    Capabilities::ask(&mut dialogue)?.need("STLS")?;
    Ok(dialogue)
}

/// A new connection after STLS.
fn with_stls(probe: &mut Probe) -> Result<Dialogue, Finding> {
    let mut dialogue = before_stls(probe)?;
    dialogue.accepts("STLS")?;
    Ok(probe.handshake(dialogue.into_stream()?)?)
}

/// RFC 2595 §4: the negotiation begins right after the reply to STLS, so what an attacker has sent
/// with it is no part of the session.
fn what_came_in_the_clear_is_discarded(probe: &mut Probe) -> Result<(), Finding> {
    let mut dialogue = before_stls(probe)?;
    dialogue.send(b"STLS\r\nXYZZY\r\n")?;
    // The server may close the connection, or fail the handshake.
    let Ok(reply) = dialogue.reply() else { return Ok(()) };
    if !reply.is_ok() {
        return Ok(());
    }
    let secured = dialogue.into_stream().and_then(|stream| Ok(probe.handshake(stream)?));
    let Ok(mut dialogue) = secured else { return Ok(()) };
    // The unknown command gets -ERR if it is executed.
    let Ok(reply) = dialogue.ask("QUIT") else { return Ok(()) };
    require(reply.is_ok(), || "the command behind STLS is executed under TLS".to_owned())
}

/// Whether the server goes on with a handshake whose highest version is 3.`minor`.
fn accepts_version(probe: &mut Probe, minor: u8) -> Result<bool, Finding> {
    let mut stream = match probe.target.tls {
        Tls::Implicit => probe.connect()?,
        Tls::Starttls | Tls::Off => {
            let mut dialogue = before_stls(probe)?;
            dialogue.accepts("STLS")?;
            dialogue.into_stream()?
        }
    };
    let hello = client_hello(minor);
    probe.record.borrow_mut().note(&format!("C: a ClientHello of TLS 1.{}", minor - 1));
    let mut start = [0; 6];
    let answered = probe.in_time(async {
        stream.write_all(&hello).await?;
        stream.read_exact(&mut start).await
    })?;
    // A record of a handshake, with a ServerHello in it.
    let accepted = answered.is_ok() && matches!(start, [22, 3, _, _, _, 2]);
    let answer = match answered {
        Ok(_) if accepted => "S: a ServerHello",
        Ok(_) => "S: an alert",
        Err(_) => "the server closes the connection",
    };
    probe.record.borrow_mut().note(answer);
    Ok(accepted)
}

/// The first message of a client that knows no version above 3.`minor`, as in RFC 4346.
fn client_hello(minor: u8) -> Vec<u8> {
    // ECDHE and RSA with AES in CBC mode, which all servers with these versions have.
    const SUITES: [u8; 12] =
        [0xc0, 0x09, 0xc0, 0x0a, 0xc0, 0x13, 0xc0, 0x14, 0x00, 0x2f, 0x00, 0x35];
    // Curves x25519, secp256r1 and secp384r1; points that are not compressed.
    const EXTENSIONS: [u8; 18] = [
        0x00, 0x0a, 0x00, 0x08, 0x00, 0x06, 0x00, 0x1d, 0x00, 0x17, 0x00, 0x18, //
        0x00, 0x0b, 0x00, 0x02, 0x01, 0x00,
    ];
    let mut body = vec![3, minor];
    // It protects nothing: the handshake ends here.
    body.extend_from_slice(b"restante selftest, not random.. ");
    body.extend_from_slice(&[0, 0, 12]);
    body.extend_from_slice(&SUITES);
    body.extend_from_slice(&[1, 0, 0, 18]);
    body.extend_from_slice(&EXTENSIONS);
    let length = |octets: usize| u8::try_from(octets).unwrap_or(u8::MAX);
    let handshake = [&[1, 0, 0, length(body.len())], body.as_slice()].concat();
    [&[22, 3, 1, 0, length(handshake.len())], handshake.as_slice()].concat()
}

#[cfg(test)]
mod tests {
    use tokio_rustls::rustls::Error;
    use tokio_rustls::rustls::server::Acceptor;

    use super::*;

    #[test]
    fn the_hello_is_one() {
        for minor in [1, 2] {
            let mut acceptor = Acceptor::default();
            acceptor.read_tls(&mut client_hello(minor).as_slice()).unwrap();
            // rustls reads all of it before it looks for what it needs of later versions.
            match acceptor.accept() {
                Ok(accepted) => {
                    assert_eq!(accepted.unwrap().client_hello().cipher_suites().len(), 6)
                }
                Err((error, _)) => assert!(matches!(error, Error::PeerIncompatible(_)), "{error}"),
            }
        }
    }
}
