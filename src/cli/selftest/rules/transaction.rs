//! The TRANSACTION state in general (RFC 1939 §3, §5; RFC 2449 §6.6).

use std::time::Duration;

use super::listing::with;
use crate::cli::selftest::rule::{Finding, Level, Needs, Rule, require};

pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "rfc1939-noop",
        citation: "RFC 1939 §5 NOOP",
        level: Level::Must,
        text: "NOOP gets +OK",
        needs: Needs::Login,
        check: |probe| with(probe, |session| session.accepts("NOOP").map(drop)),
    },
    Rule {
        id: "rfc1939-session-keywords",
        citation: "RFC 1939 §3",
        level: Level::Must,
        text: "keywords are accepted in any case after login, too",
        needs: Needs::Login,
        check: |probe| with(probe, |session| session.accepts("sTaT").map(drop)),
    },
    Rule {
        id: "rfc1939-session-unknown",
        citation: "RFC 1939 §3",
        level: Level::Must,
        text: "an unknown command gets -ERR after login, and the session goes on",
        needs: Needs::Login,
        check: |probe| {
            with(probe, |session| {
                session.refuses("XYZZY")?;
                session.accepts("NOOP").map(drop)
            })
        },
    },
    Rule {
        id: "rfc1939-second-login",
        citation: "RFC 1939 §3",
        level: Level::Must,
        text: "USER and PASS get -ERR after login",
        needs: Needs::Login,
        check: |probe| {
            with(probe, |session| {
                session.refuses("USER restante-selftest")?;
                session.refuses("PASS restante-selftest")
            })
        },
    },
    Rule {
        id: "rfc2595-session-stls",
        citation: "RFC 2595 §4",
        level: Level::Must,
        text: "STLS gets -ERR after login",
        needs: Needs::Login,
        check: |probe| with(probe, |session| session.refuses("STLS")),
    },
    Rule {
        id: "rfc2449-session-pipelining",
        citation: "RFC 2449 §6.6",
        level: Level::Must,
        text: "commands that are sent at once get a reply each after login, too",
        needs: Needs::Login,
        check: |probe| {
            probe.capabilities()?.need("PIPELINING")?;
            with(probe, |session| {
                session.send(b"STAT\r\nXYZZY\r\nLIST\r\nNOOP\r\nXYZZY\r\n")?;
                for (is_known, is_long) in
                    [(true, false), (false, false), (true, true), (true, false), (false, false)]
                {
                    let reply = session.reply()?;
                    let expected = if is_known { reply.is_ok() } else { reply.is_err() };
                    require(expected, || "the replies are not those to the commands".to_owned())?;
                    if is_long {
                        session.lines()?;
                    }
                }
                Ok(())
            })
        },
    },
    Rule {
        id: "rfc1939-idle",
        citation: "RFC 1939 §3",
        level: Level::Must,
        text: "a session that is idle for nearly 10 minutes goes on",
        needs: Needs::Patience,
        check: |probe| {
            let mut session = probe.new_session()?;
            session.note("waiting for 595 s");
            session.wait(NEARLY_TEN_MINUTES);
            match session.ask("NOOP") {
                Ok(reply) if reply.is_ok() => {
                    probe.keep_session(session);
                    Ok(())
                }
                Ok(_) | Err(_) => Err(Finding::broken("the session has ended")),
            }
        },
    },
];

const NEARLY_TEN_MINUTES: Duration = Duration::from_secs(595);
