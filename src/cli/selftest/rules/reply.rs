//! Replies in general (RFC 1939 §3, RFC 2449 §4, §8): what all tests have seen.

use crate::cli::selftest::probe::Probe;
use crate::cli::selftest::record::Observed;
use crate::cli::selftest::rule::{Finding, Level, Needs, Rule};

pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "rfc1939-status",
        citation: "RFC 1939 §3",
        level: Level::Must,
        text: "every reply begins with +OK or -ERR, in capitals",
        needs: Needs::Nothing,
        check: |probe| none(probe, |observed| &observed.no_status),
    },
    Rule {
        id: "rfc1939-reply-crlf",
        citation: "RFC 1939 §3",
        level: Level::Must,
        text: "every reply ends with CRLF",
        needs: Needs::Nothing,
        check: |probe| none(probe, |observed| &observed.no_crlf),
    },
    Rule {
        id: "rfc2449-reply-length",
        citation: "RFC 2449 §4",
        level: Level::Must,
        text: "the first line of a reply has at most 512 octets",
        needs: Needs::Nothing,
        check: |probe| none(probe, |observed| &observed.too_long),
    },
    Rule {
        id: "rfc2449-codes",
        citation: "RFC 2449 §6.4",
        level: Level::Must,
        text: "where RESP-CODES is announced, text in brackets after -ERR or +OK is a response code",
        needs: Needs::Nothing,
        check: |probe| {
            probe.capabilities()?.need("RESP-CODES")?;
            none(probe, |observed| &observed.bad_code)
        },
    },
];

/// No reply was so.
fn none(probe: &Probe, so: fn(&Observed) -> &Option<String>) -> Result<(), Finding> {
    let record = probe.record.borrow();
    match so(&record.observed) {
        Some(reply) => Err(Finding::broken(format!("the server has sent \"{reply}\""))),
        None => Ok(()),
    }
}
