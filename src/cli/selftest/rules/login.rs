//! Logins, and what a session may not do (RFC 1939 §4, §7; RFC 3206).

use crate::cli::selftest::login::Way;
use crate::cli::selftest::rule::{Finding, Level, Needs, Rule, require};

pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "rfc1939-user-pass",
        citation: "RFC 1939 §7 PASS",
        level: Level::Must,
        text: "USER and PASS log in, and the session begins",
        needs: Needs::Login,
        check: |probe| {
            if !probe.capabilities()?.has("USER") && !probe.fresh()?.ask("USER x")?.is_ok() {
                return Err(Finding::not_offered("USER is neither listed nor accepted"));
            }
            probe.admitted()?;
            let (mut dialogue, reply) = probe.attempt(Way::UserPass)?;
            require(reply.is_ok(), || format!("the login is refused: {}", reply.text()))?;
            dialogue.accepts("STAT")?;
            probe.keep_session(dialogue);
            Ok(())
        },
    },
    Rule {
        id: "rfc1939-wrong-password",
        citation: "RFC 1939 §4",
        level: Level::Must,
        text: "a wrong password gets -ERR and no session",
        needs: Needs::Login,
        check: |probe| {
            let reply = probe.wrong_password()?;
            require(reply.is_err(), || format!("a wrong password gets {}", reply.text()))
        },
    },
    Rule {
        id: "rfc3206-auth",
        citation: "RFC 3206 §6",
        level: Level::Must,
        text: "where AUTH-RESP-CODE is announced, a wrong password gets [AUTH]",
        needs: Needs::Login,
        check: |probe| {
            probe.capabilities()?.need("AUTH-RESP-CODE")?;
            let reply = probe.wrong_password()?;
            let text = reply.text();
            require(reply.has_code("AUTH"), || format!("a wrong password gets {text}"))
        },
    },
    Rule {
        id: "rfc1939-lock",
        citation: "RFC 1939 §4",
        level: Level::Must,
        text: "a second session of the user is refused while the first has the maildrop",
        needs: Needs::Login,
        check: |probe| {
            let reply = probe.second_login()?;
            require(reply.is_err(), || "there are two sessions at a time".to_owned())
        },
    },
    Rule {
        id: "rfc2449-in-use",
        citation: "RFC 2449 §8.1.2",
        level: Level::Should,
        text: "where RESP-CODES is announced, that refusal has the code [IN-USE]",
        needs: Needs::Login,
        check: |probe| {
            probe.capabilities()?.need("RESP-CODES")?;
            let reply = probe.second_login()?;
            if reply.is_ok() {
                return Err(Finding::not_tested("the second session is not refused"));
            }
            require(reply.has_code("IN-USE"), || format!("the reply is {}", reply.text()))
        },
    },
];
