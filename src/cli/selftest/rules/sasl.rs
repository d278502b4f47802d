//! AUTH (RFC 5034 §4), without and with a login.

use super::listing::with;
use crate::cli::selftest::capabilities::Capabilities;
use crate::cli::selftest::dialogue::Dialogue;
use crate::cli::selftest::login::Way;
use crate::cli::selftest::probe::Probe;
use crate::cli::selftest::rule::{Finding, Level, Needs, Rule, require};

pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "rfc5034-unknown-mechanism",
        citation: "RFC 5034 §4",
        level: Level::Must,
        text: "a mechanism that is not offered gets -ERR",
        needs: Needs::Nothing,
        check: |probe| offered(probe)?.0.refuses("AUTH X-RESTANTE-SELFTEST"),
    },
    Rule {
        id: "rfc5034-challenge",
        citation: "RFC 5034 §4",
        level: Level::Must,
        text: "AUTH PLAIN without a response gets an empty challenge",
        needs: Needs::Nothing,
        check: |probe| challenged(probe).map(drop),
    },
    Rule {
        id: "rfc5034-cancel",
        citation: "RFC 5034 §4",
        level: Level::Must,
        text: "* in place of a response gets -ERR, and the session goes on",
        needs: Needs::Nothing,
        check: |probe| {
            let mut dialogue = challenged(probe)?;
            dialogue.refuses("*")?;
            dialogue.accepts("QUIT")?;
            Ok(())
        },
    },
    Rule {
        id: "rfc5034-base64",
        citation: "RFC 5034 §4",
        level: Level::Must,
        text: "a response that is not base64 gets -ERR, and the session goes on",
        needs: Needs::Nothing,
        check: |probe| {
            let mut dialogue = challenged(probe)?;
            dialogue.refuses("!!!!")?;
            dialogue.accepts("QUIT")?;
            Ok(())
        },
    },
    Rule {
        id: "rfc5034-initial-response",
        citation: "RFC 5034 §4",
        level: Level::Must,
        text: "AUTH PLAIN with an initial response logs in",
        needs: Needs::Login,
        check: |probe| logs_in(probe, Way::Plain),
    },
    Rule {
        id: "rfc5034-response",
        citation: "RFC 5034 §4",
        level: Level::Must,
        text: "AUTH PLAIN with a response to the challenge logs in",
        needs: Needs::Login,
        check: |probe| logs_in(probe, Way::PlainInTwo),
    },
    Rule {
        id: "rfc5034-once",
        citation: "RFC 5034 §4",
        level: Level::Must,
        text: "AUTH after a login gets -ERR",
        needs: Needs::Login,
        check: |probe| with(probe, |session| session.refuses("AUTH PLAIN")),
    },
];

/// A new connection that offers SASL, and what else it offers.
fn offered(probe: &mut Probe) -> Result<(Dialogue, Capabilities), Finding> {
    let mut dialogue = probe.fresh()?;
    let capabilities = Capabilities::ask(&mut dialogue)?;
    capabilities.need("SASL")?;
    Ok((dialogue, capabilities))
}

/// A new connection that offers PLAIN.
fn plain(probe: &mut Probe) -> Result<Dialogue, Finding> {
    let (dialogue, capabilities) = offered(probe)?;
    match capabilities.mechanisms().any(|name| name == "PLAIN") {
        true => Ok(dialogue),
        false => Err(Finding::not_offered("CAPA does not list SASL PLAIN")),
    }
}

/// A new connection that waits for the response of PLAIN.
fn challenged(probe: &mut Probe) -> Result<Dialogue, Finding> {
    let mut dialogue = plain(probe)?;
    let reply = dialogue.ask("AUTH PLAIN")?;
    require(reply.is_empty_challenge(), || {
        "AUTH PLAIN does not get an empty challenge".to_owned()
    })?;
    Ok(dialogue)
}

/// Logs in on a new connection.
fn logs_in(probe: &mut Probe, way: Way) -> Result<(), Finding> {
    drop(plain(probe)?);
    probe.admitted()?;
    let (mut dialogue, reply) = probe.attempt(way)?;
    require(reply.is_ok(), || format!("the login is refused: {}", reply.text()))?;
    dialogue.accepts("STAT")?;
    dialogue.accepts("QUIT")?;
    Ok(())
}
