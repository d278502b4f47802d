//! Marks and the removal of messages (RFC 1939 §5 DELE, RSET; §6 QUIT). Only these rules send DELE.

use std::collections::HashSet;

use super::listing::{scan, stat, too_few, unique_ids};
use crate::cli::selftest::dialogue::Dialogue;
use crate::cli::selftest::probe::Probe;
use crate::cli::selftest::rule::{Finding, Level, Needs, Rule, require};

pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "rfc1939-disconnect",
        citation: "RFC 1939 §6 QUIT",
        level: Level::Must,
        text: "a session that ends without QUIT removes nothing",
        needs: Needs::Removal,
        check: |probe| {
            let (mut session, before) = with_ids(probe)?;
            session.accepts("DELE 1")?;
            session.note("the client closes the connection");
            drop(session);
            let (session, after) = with_ids(probe)?;
            probe.keep_session(session);
            let lost = before.difference(&after).count();
            require(lost == 0, || format!("{lost} of {} messages are gone", before.len()))
        },
    },
    Rule {
        id: "rfc1939-dele-absent",
        citation: "RFC 1939 §5 DELE",
        level: Level::Must,
        text: "DELE with the number of no message gets -ERR, and marks none",
        needs: Needs::Removal,
        check: |probe| {
            marking(probe, |session, before| {
                let number = before.len() + 1;
                for number in ["0", "-1", "4294967297", "x", &number.to_string()] {
                    session.refuses(&format!("DELE {number}"))?;
                }
                require(scan(session)? == before, || "a message is marked".to_owned())
            })
        },
    },
    Rule {
        id: "rfc1939-dele",
        citation: "RFC 1939 §5 DELE",
        level: Level::Must,
        text: "a marked message cannot be referred to: DELE, LIST, RETR, TOP and UIDL get -ERR",
        needs: Needs::Removal,
        check: |probe| {
            marking(probe, |session, _| {
                session.accepts("DELE 1")?;
                for command in ["DELE 1", "LIST 1", "RETR 1", "TOP 1 0", "UIDL 1"] {
                    session.refuses(command)?;
                }
                Ok(())
            })
        },
    },
    Rule {
        id: "rfc1939-marked-list",
        citation: "RFC 1939 §5 LIST",
        level: Level::Must,
        text: "LIST leaves a marked message out, and the others keep their numbers",
        needs: Needs::Removal,
        check: |probe| {
            marking(probe, |session, before| {
                session.accepts("DELE 1")?;
                require(before.get(1..) == Some(&scan(session)?), || {
                    "LIST is not the same without message 1".to_owned()
                })
            })
        },
    },
    Rule {
        id: "rfc1939-marked-uidl",
        citation: "RFC 1939 §7 UIDL",
        level: Level::Must,
        text: "UIDL leaves a marked message out, and the others keep their numbers",
        needs: Needs::Removal,
        check: |probe| {
            marking(probe, |session, _| {
                let before = unique_ids(session)?;
                session.accepts("DELE 1")?;
                require(before.get(1..) == Some(&unique_ids(session)?), || {
                    "UIDL is not the same without message 1".to_owned()
                })
            })
        },
    },
    Rule {
        id: "rfc1939-marked-stat",
        citation: "RFC 1939 §5 STAT",
        level: Level::Must,
        text: "STAT does not count a marked message",
        needs: Needs::Removal,
        check: |probe| {
            marking(probe, |session, before| {
                let rest = before.get(1..).unwrap_or_default();
                session.accepts("DELE 1")?;
                let octets = rest.iter().map(|(_, octets)| octets).sum::<u64>();
                let said = stat(session)?;
                require(said == (rest.len() as u64, octets), || {
                    format!("STAT has {} messages and {} octets", said.0, said.1)
                })
            })
        },
    },
    Rule {
        id: "rfc1939-rset",
        citation: "RFC 1939 §5 RSET",
        level: Level::Must,
        text: "RSET removes all marks",
        needs: Needs::Removal,
        check: |probe| {
            marking(probe, |session, before| {
                session.accepts("DELE 1")?;
                session.accepts("RSET")?;
                require(scan(session)? == before, || "LIST is not as before".to_owned())
            })
        },
    },
    Rule {
        id: "rfc1939-update",
        citation: "RFC 1939 §6 QUIT",
        level: Level::Must,
        text: "QUIT removes the marked message and no other, and the others keep their unique-ids",
        needs: Needs::Removal,
        check: |probe| {
            let (mut session, before) = with_ids(probe)?;
            let marked = unique_ids(&mut session)?.into_iter().next().map(|(_, id)| id);
            session.accepts("DELE 1")?;
            session.accepts("QUIT")?;
            let closed = session.is_closed()?;
            drop(session);
            let mut session = probe.new_session()?;
            let after = ids(&mut session)?;
            probe.keep_session(session);
            let lost = before.difference(&after).cloned().collect::<Vec<_>>();
            require(lost.iter().eq(&marked), || match lost.as_slice() {
                [] => "the marked message is still there".to_owned(),
                lost => format!("{} messages are gone", lost.len()),
            })?;
            require(closed, || "the connection stays open after QUIT".to_owned())
        },
    },
];

/// Tests with the marks of a new session, which ends with RSET and without QUIT.
fn marking(
    probe: &mut Probe,
    check: impl FnOnce(&mut Dialogue, &[(u64, u64)]) -> Result<(), Finding>,
) -> Result<(), Finding> {
    let mut session = probe.new_session()?;
    let before = scan(&mut session)?;
    if before.len() < 2 {
        return Err(too_few());
    }
    check(&mut session, &before)?;
    session.ask("RSET").map(drop)
}

/// A new session with at least two messages, and their unique-ids.
fn with_ids(probe: &mut Probe) -> Result<(Dialogue, HashSet<Vec<u8>>), Finding> {
    let mut session = probe.new_session()?;
    let ids = ids(&mut session)?;
    if ids.len() < 2 {
        return Err(too_few());
    }
    Ok((session, ids))
}

fn ids(session: &mut Dialogue) -> Result<HashSet<Vec<u8>>, Finding> {
    Ok(unique_ids(session)?.into_iter().map(|(_, id)| id).collect())
}
