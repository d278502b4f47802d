//! STAT, LIST and UIDL (RFC 1939 §5, §7).

use std::collections::HashSet;

use crate::cli::selftest::dialogue::Dialogue;
use crate::cli::selftest::probe::Probe;
use crate::cli::selftest::rule::{Finding, Level, Needs, Rule, require};
use crate::uidl::decimal;

pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "rfc1939-stat",
        citation: "RFC 1939 §5 STAT",
        level: Level::Must,
        text: "STAT gets +OK, the number of messages and their octets, with single spaces",
        needs: Needs::Login,
        check: |probe| with(probe, |session| stat(session).map(drop)),
    },
    Rule {
        id: "rfc1939-list",
        citation: "RFC 1939 §5 LIST",
        level: Level::Must,
        text: "LIST has a line with number and octets for each message, numbered from 1",
        needs: Needs::Login,
        check: |probe| {
            with(probe, |session| {
                let numbers = scan(session)?.into_iter().map(|(number, _)| number);
                require(numbers.eq(1..=stat(session)?.0), || {
                    "the messages are not numbered from 1 to the number in STAT".to_owned()
                })
            })
        },
    },
    Rule {
        id: "rfc1939-totals",
        citation: "RFC 1939 §5 STAT",
        level: Level::Must,
        text: "STAT has the sums of LIST",
        needs: Needs::Login,
        check: |probe| {
            with(probe, |session| {
                let listed = scan(session)?;
                let octets = listed.iter().map(|(_, octets)| octets).sum::<u64>();
                let counted = (listed.len() as u64, octets);
                let said = stat(session)?;
                require(counted == said, || {
                    format!("STAT has {} {}, LIST {} {}", said.0, said.1, counted.0, counted.1)
                })
            })
        },
    },
    Rule {
        id: "rfc1939-list-one",
        citation: "RFC 1939 §5 LIST",
        level: Level::Must,
        text: "LIST with a number gets the same number and octets in one line",
        needs: Needs::Login,
        check: |probe| {
            with(probe, |session| {
                let listed = scan(session)?;
                for (number, octets) in ends(&listed)? {
                    let reply = session.accepts(&format!("LIST {number}"))?;
                    let words = reply.words();
                    let same = words.first().copied().and_then(decimal) == Some(*number)
                        && words.get(1).copied().and_then(decimal) == Some(*octets);
                    require(same, || format!("LIST has {number} {octets}: {}", reply.text()))?;
                }
                // Another line would be read as the reply to this.
                session.refuses("XYZZY")
            })
        },
    },
    Rule {
        id: "rfc1939-list-absent",
        citation: "RFC 1939 §5 LIST",
        level: Level::Must,
        text: "LIST with the number of no message gets -ERR",
        needs: Needs::Login,
        check: |probe| with(probe, |session| absent(session, "LIST")),
    },
    Rule {
        id: "rfc1939-uidl",
        citation: "RFC 1939 §7 UIDL",
        level: Level::Must,
        text: "UIDL has a unique-id for each message of LIST",
        needs: Needs::Login,
        check: |probe| {
            with(probe, |session| {
                let numbers = scan(session)?.into_iter().map(|(number, _)| number);
                let numbers = numbers.collect::<Vec<_>>();
                let ids = unique_ids(session)?;
                let same = ids.iter().map(|(number, _)| *number).eq(numbers);
                require(same, || "LIST and UIDL have other messages".to_owned())
            })
        },
    },
    Rule {
        id: "rfc1939-uidl-one",
        citation: "RFC 1939 §7 UIDL",
        level: Level::Must,
        text: "UIDL with a number gets the same unique-id in one line",
        needs: Needs::Login,
        check: |probe| {
            with(probe, |session| {
                let listed = unique_ids(session)?;
                for (number, id) in ends(&listed)? {
                    let reply = session.accepts(&format!("UIDL {number}"))?;
                    let words = reply.words();
                    let same = words.first().copied().and_then(decimal) == Some(*number)
                        && words.get(1).copied() == Some(id.as_slice());
                    require(same, || {
                        format!("UIDL has {number} {}: {}", session.shown(id), reply.text())
                    })?;
                }
                session.refuses("XYZZY")
            })
        },
    },
    Rule {
        id: "rfc1939-uidl-absent",
        citation: "RFC 1939 §7 UIDL",
        level: Level::Must,
        text: "UIDL with the number of no message gets -ERR",
        needs: Needs::Login,
        check: |probe| {
            with(probe, |session| {
                unique_ids(session)?;
                absent(session, "UIDL")
            })
        },
    },
    Rule {
        id: "rfc1939-uidl-form",
        citation: "RFC 1939 §7 UIDL",
        level: Level::Must,
        text: "a unique-id has 1 to 70 printable characters without spaces",
        needs: Needs::Login,
        check: |probe| {
            with(probe, |session| {
                let listed = unique_ids(session)?;
                if listed.is_empty() {
                    return Err(empty());
                }
                for (number, id) in &listed {
                    let valid = (1..=70).contains(&id.len()) && id.iter().all(u8::is_ascii_graphic);
                    require(valid, || {
                        format!("message {number} has the unique-id {}", session.shown(id))
                    })?;
                }
                Ok(())
            })
        },
    },
    Rule {
        id: "rfc1939-uidl-unique",
        citation: "RFC 1939 §7 UIDL",
        level: Level::Should,
        text: "no two messages have the same unique-id",
        needs: Needs::Login,
        check: |probe| {
            with(probe, |session| {
                let listed = unique_ids(session)?;
                if listed.len() < 2 {
                    return Err(too_few());
                }
                let mut seen = HashSet::new();
                let twice = listed.iter().find(|(_, id)| !seen.insert(id));
                require(twice.is_none(), || {
                    let number = twice.map_or(0, |(number, _)| *number);
                    format!("message {number} has the unique-id of an earlier one")
                })
            })
        },
    },
    Rule {
        id: "rfc1939-uidl-persistent",
        citation: "RFC 1939 §7 UIDL",
        level: Level::Must,
        text: "unique-ids are the same in the next session",
        needs: Needs::Login,
        check: |probe| {
            // RFC 1939 §6 QUIT: without marks, it removes nothing. Nothing has been retrieved, either.
            let mut first = probe.new_session()?;
            let before = unique_ids(&mut first)?;
            if before.is_empty() {
                return Err(empty());
            }
            first.accepts("QUIT")?;
            drop(first);
            let mut second = probe.new_session()?;
            let after = unique_ids(&mut second)?;
            probe.keep_session(second);
            let after = after.iter().map(|(_, id)| id).collect::<HashSet<_>>();
            let lost = before.iter().filter(|(_, id)| !after.contains(id)).count();
            require(lost == 0, || format!("{lost} of {} unique-ids are not there", before.len()))
        },
    },
];

/// Tests with a session that ends as it was.
pub(super) fn with(
    probe: &mut Probe,
    check: impl FnOnce(&mut Dialogue) -> Result<(), Finding>,
) -> Result<(), Finding> {
    let mut session = probe.session()?;
    let found = check(&mut session);
    // After a rule that is broken, the next reply may not be that of the next command.
    if !matches!(found, Err(Finding::Broken(_))) {
        probe.keep_session(session);
    }
    found
}

/// The numbers in the reply to STAT.
pub(super) fn stat(session: &mut Dialogue) -> Result<(u64, u64), Finding> {
    let reply = session.accepts("STAT")?;
    let words = reply.words();
    let number = |at: usize| words.get(at).copied().and_then(decimal);
    match (number(0), number(1)) {
        (Some(messages), Some(octets)) => Ok((messages, octets)),
        _ => Err(Finding::broken(format!("STAT gets {}", reply.text()))),
    }
}

/// The messages, of which there must be some.
pub(super) fn count(session: &mut Dialogue) -> Result<u64, Finding> {
    match stat(session)?.0 {
        0 => Err(empty()),
        messages => Ok(messages),
    }
}

/// The lines of LIST: numbers and octets.
pub(super) fn scan(session: &mut Dialogue) -> Result<Vec<(u64, u64)>, Finding> {
    let lines = session.listing("LIST")?.ok_or_else(|| Finding::broken("LIST is refused"))?;
    let numbers = lines.iter().map(|line| {
        // RFC 1939 §5 LIST: more may follow after another space.
        let mut words = line.split(|octet| *octet == b' ');
        let (number, octets) = (words.next().and_then(decimal), words.next().and_then(decimal));
        number.zip(octets).ok_or_else(|| {
            Finding::broken(format!("LIST has the line \"{}\"", session.shown(line)))
        })
    });
    numbers.collect()
}

/// The lines of UIDL: numbers and unique-ids.
pub(super) fn unique_ids(session: &mut Dialogue) -> Result<Vec<(u64, Vec<u8>)>, Finding> {
    let lines = session.listing("UIDL")?.ok_or_else(|| Finding::not_offered("UIDL is refused"))?;
    let ids = lines.iter().map(|line| {
        let space = line.iter().position(|octet| *octet == b' ').unwrap_or(line.len());
        let (number, id) = line.split_at(space);
        let id = id.get(1..).unwrap_or_default().to_vec();
        let wrong = || Finding::broken(format!("UIDL has the line \"{}\"", session.shown(line)));
        Ok((decimal(number).ok_or_else(wrong)?, id))
    });
    ids.collect()
}

/// The first and the last line.
fn ends<T>(listed: &[T]) -> Result<impl Iterator<Item = &T>, Finding> {
    match listed {
        [] => Err(empty()),
        [only] => Ok([only].into_iter().chain(None)),
        [first, .., last] => Ok([first].into_iter().chain(Some(last))),
    }
}

/// Asks for messages that are not there.
fn absent(session: &mut Dialogue, command: &str) -> Result<(), Finding> {
    let messages = stat(session)?.0;
    session.refuses(&format!("{command} 0"))?;
    session.refuses(&format!("{command} {}", messages + 1))
}

pub(super) fn empty() -> Finding {
    Finding::not_tested("the maildrop is empty")
}

pub(super) fn too_few() -> Finding {
    Finding::not_tested("the maildrop has fewer than two messages")
}
