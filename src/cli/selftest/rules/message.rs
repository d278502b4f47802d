//! RETR and TOP (RFC 1939 §3, §5, §7).

use super::listing::{count, empty, scan, stat, with};
use crate::cli::selftest::dialogue::{Dialogue, Message};
use crate::cli::selftest::rule::{Finding, Level, Needs, Rule, require};

pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "rfc1939-retr-octets",
        citation: "RFC 1939 §5 RETR",
        level: Level::Must,
        text: "RETR sends as many octets as LIST says, without the dots that are added",
        needs: Needs::Login,
        check: |probe| {
            with(probe, |session| {
                for (number, octets, message) in retrieved(session)? {
                    let sent = message.text.len() as u64;
                    require(sent == octets, || {
                        format!("message {number} has {octets} octets in LIST, and {sent} in RETR")
                    })?;
                }
                Ok(())
            })
        },
    },
    Rule {
        id: "rfc1939-retr-lines",
        citation: "RFC 1939 §3",
        level: Level::Must,
        text: "the lines of a message end with CRLF",
        needs: Needs::Login,
        check: |probe| {
            with(probe, |session| {
                for (number, _, message) in retrieved(session)? {
                    let line = message.no_crlf.unwrap_or_default();
                    require(line.is_empty(), || {
                        format!("in message {number}, no CRLF ends the line \"{line}\"")
                    })?;
                }
                Ok(())
            })
        },
    },
    Rule {
        id: "rfc1939-dots",
        citation: "RFC 1939 §3",
        level: Level::Must,
        text: "a line of a message that begins with a dot gets another dot",
        needs: Needs::Login,
        check: |probe| {
            with(probe, |session| {
                let mut dotted = 0;
                for (number, _, message) in retrieved(session)? {
                    let line = message.single_dot.unwrap_or_default();
                    require(line.is_empty(), || {
                        format!("message {number} has the line \"{line}\"")
                    })?;
                    dotted += message.dotted;
                }
                match dotted {
                    0 => Err(Finding::not_tested("no message has a line that begins with a dot")),
                    _ => Ok(()),
                }
            })
        },
    },
    Rule {
        id: "rfc1939-retr-absent",
        citation: "RFC 1939 §5 RETR",
        level: Level::Must,
        text: "RETR with the number of no message, or with no number, gets -ERR",
        needs: Needs::Login,
        check: |probe| {
            with(probe, |session| {
                let messages = stat(session)?.0;
                // Those of 33 and 65 bits would be 1 if the highest bit were lost.
                for number in ["0", "-1", "4294967297", "18446744073709551617", "1x", "x", ""] {
                    session.refuses(format!("RETR {number}").trim_end())?;
                }
                session.refuses(&format!("RETR {}", messages + 1))
            })
        },
    },
    Rule {
        id: "rfc1939-top-header",
        citation: "RFC 1939 §7 TOP",
        level: Level::Must,
        text: "TOP with 0 lines sends the header and the blank line, as RETR does",
        needs: Needs::Login,
        check: |probe| {
            with(probe, |session| {
                let (number, message) = with_body(session, 1)?;
                let top = top(session, number, 0)?;
                require(top.text == message.parts().0, || {
                    let (got, wanted) = (top.text.len(), message.parts().0.len());
                    format!("message {number} has a header of {wanted} octets, TOP sends {got}")
                })
            })
        },
    },
    Rule {
        id: "rfc1939-top-lines",
        citation: "RFC 1939 §7 TOP",
        level: Level::Must,
        text: "TOP with a number sends the header and so many lines of the body",
        needs: Needs::Login,
        check: |probe| {
            with(probe, |session| {
                let (number, message) = with_body(session, 2)?;
                let top = top(session, number, 1)?;
                let (header, body) = message.parts();
                let expected = [header, body.first().copied().unwrap_or_default()].concat();
                require(top.text == expected, || {
                    let lines = top.parts().1.len();
                    format!("TOP {number} 1 sends another header, or {lines} lines of the body")
                })
            })
        },
    },
    Rule {
        id: "rfc1939-top-whole",
        citation: "RFC 1939 §7 TOP",
        level: Level::Must,
        text: "TOP with more lines than there are sends all of the message",
        needs: Needs::Login,
        check: |probe| {
            with(probe, |session| {
                let (number, message) = with_body(session, 0)?;
                let top = top(session, number, message.parts().1.len() + 1)?;
                require(top.text == message.text, || {
                    format!("message {number} is not what RETR sends")
                })
            })
        },
    },
    Rule {
        id: "rfc1939-top-arguments",
        citation: "RFC 1939 §7 TOP",
        level: Level::Must,
        text: "TOP without two valid numbers gets -ERR",
        needs: Needs::Login,
        check: |probe| {
            with(probe, |session| {
                let messages = count(session)?;
                if session.message("TOP 1 0")?.is_none() {
                    return Err(Finding::not_offered("TOP is refused"));
                }
                for arguments in ["", " 1", " 1 -1", " 1 x", " 0 0"] {
                    session.refuses(&format!("TOP{arguments}"))?;
                }
                session.refuses(&format!("TOP {} 0", messages + 1))
            })
        },
    },
    Rule {
        id: "rfc1939-numbers",
        citation: "RFC 1939 §4",
        level: Level::Must,
        text: "numbers and octets of messages stay the same in a session",
        needs: Needs::Login,
        check: |probe| {
            // One that has not retrieved anything.
            probe.end_session();
            with(probe, |session| {
                let before = scan(session)?;
                if before.is_empty() {
                    return Err(empty());
                }
                retrieved(session)?;
                let after = scan(session)?;
                require(before == after, || "LIST has changed after RETR".to_owned())
            })
        },
    },
];

/// The first messages, with the octets that LIST has for them. Long ones are left out.
fn retrieved(session: &mut Dialogue) -> Result<Vec<(u64, u64, Message)>, Finding> {
    let listed = scan(session)?;
    if listed.is_empty() {
        return Err(empty());
    }
    let short = listed.into_iter().filter(|(_, octets)| *octets <= MOST_OCTETS).take(MOST_MESSAGES);
    let retrieved = short.map(|(number, octets)| {
        let message = session.message(&format!("RETR {number}"))?;
        let refused = || Finding::broken(format!("RETR {number} is refused"));
        Ok((number, octets, message.ok_or_else(refused)?))
    });
    let retrieved = retrieved.collect::<Result<Vec<_>, Finding>>()?;
    match retrieved.is_empty() {
        true => Err(Finding::not_tested(format!("no message has less than {MOST_OCTETS} octets"))),
        false => Ok(retrieved),
    }
}

/// The first message with so many lines in its body, at least.
fn with_body(session: &mut Dialogue, lines: usize) -> Result<(u64, Message), Finding> {
    let mut retrieved = retrieved(session)?.into_iter();
    let found = retrieved.find(|(_, _, message)| message.parts().1.len() >= lines);
    let missing = || Finding::not_tested(format!("no message has {lines} lines in its body"));
    found.map(|(number, _, message)| (number, message)).ok_or_else(missing)
}

fn top(session: &mut Dialogue, number: u64, lines: usize) -> Result<Message, Finding> {
    let message = session.message(&format!("TOP {number} {lines}"))?;
    message.ok_or_else(|| Finding::not_offered("TOP is refused"))
}

/// How many messages are retrieved, and how long they may be.
const MOST_MESSAGES: usize = 10;
const MOST_OCTETS: u64 = 1 << 20;
