//! The greeting, and commands before login (RFC 1939 §3, §4).

use std::time::Duration;

use crate::cli::client::MAX_COMMAND;
use crate::cli::selftest::capabilities::Capabilities;
use crate::cli::selftest::rule::{Level, Needs, Rule, require};

pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "rfc1939-greeting",
        citation: "RFC 1939 §4",
        level: Level::Must,
        text: "the server greets a client with a positive reply",
        needs: Needs::Nothing,
        check: |probe| {
            let (mut dialogue, _) = probe.greeting()?;
            dialogue.accepts("QUIT")?;
            Ok(())
        },
    },
    Rule {
        id: "rfc1939-keyword-case",
        citation: "RFC 1939 §3",
        level: Level::Must,
        text: "keywords are accepted in any case",
        needs: Needs::Nothing,
        check: |probe| {
            let (mut dialogue, _) = probe.greeting()?;
            dialogue.accepts("qUiT")?;
            Ok(())
        },
    },
    Rule {
        id: "rfc1939-quit",
        citation: "RFC 1939 §4 QUIT",
        level: Level::Must,
        text: "QUIT before login gets +OK, and the server closes the connection",
        needs: Needs::Nothing,
        check: |probe| {
            let (mut dialogue, _) = probe.greeting()?;
            dialogue.accepts("QUIT")?;
            require(dialogue.is_closed()?, || "the connection stays open after QUIT".to_owned())
        },
    },
    Rule {
        id: "rfc1939-unknown-command",
        citation: "RFC 1939 §3",
        level: Level::Must,
        text: "an unknown command gets -ERR, and the session goes on",
        needs: Needs::Nothing,
        check: |probe| {
            // A server may end a connection after a few bad commands.
            let mut dialogue = probe.fresh()?;
            for command in ["XYZZY", "XYZZY 1 2"] {
                dialogue.refuses(command)?;
            }
            dialogue.accepts("QUIT")?;
            Ok(())
        },
    },
    Rule {
        id: "rfc1939-wrong-state",
        citation: "RFC 1939 §3",
        level: Level::Must,
        text: "commands for mail get -ERR before login",
        needs: Needs::Nothing,
        check: |probe| {
            let mut dialogue = probe.fresh()?;
            for command in ["STAT", "LIST", "RETR 1"] {
                dialogue.refuses(command)?;
            }
            Ok(())
        },
    },
    Rule {
        id: "rfc1939-pass-without-user",
        citation: "RFC 1939 §7 PASS",
        level: Level::Must,
        text: "PASS gets -ERR if USER has not come before it",
        needs: Needs::Nothing,
        check: |probe| {
            let mut dialogue = probe.fresh()?;
            dialogue.refuses("PASS restante-selftest")
        },
    },
    Rule {
        id: "rfc1939-split-command",
        citation: "RFC 1939 §3",
        level: Level::Must,
        text: "a command that arrives in pieces is one command",
        needs: Needs::Nothing,
        check: |probe| {
            let mut dialogue = probe.before_login()?;
            for piece in ["XY", "ZZY\r", "\nXYZ", "ZY\r\n"] {
                dialogue.send(piece.as_bytes())?;
                dialogue.wait(BETWEEN_PIECES);
            }
            for _ in 0..2 {
                let reply = dialogue.reply()?;
                require(reply.is_err(), || "an unknown command does not get -ERR".to_owned())?;
            }
            dialogue.accepts("QUIT")?;
            Ok(())
        },
    },
    Rule {
        id: "rfc1939-printable",
        citation: "RFC 1939 §3",
        level: Level::Should,
        text: "a command with a NUL is not accepted",
        needs: Needs::Nothing,
        check: |probe| probe.fresh()?.refuses_or_closes("QUIT\0", "the NUL is overlooked"),
    },
    Rule {
        id: "rfc2449-command-length",
        citation: "RFC 2449 §4",
        level: Level::Must,
        text: "a command of 255 octets gets one reply, and the session goes on",
        needs: Needs::Nothing,
        check: |probe| {
            let mut dialogue = probe.fresh()?;
            Capabilities::ask(&mut dialogue)?.lines()?;
            let command = format!("XYZZY {}", "x".repeat(MAX_COMMAND - "XYZZY \r\n".len()));
            dialogue.refuses(&command)?;
            dialogue.accepts("QUIT")?;
            Ok(())
        },
    },
    Rule {
        id: "rfc2449-pipelining",
        citation: "RFC 2449 §6.6",
        level: Level::Must,
        text: "commands that are sent at once get a reply each, in their order",
        needs: Needs::Nothing,
        check: |probe| {
            probe.capabilities()?.need("PIPELINING")?;
            let mut dialogue = probe.before_login()?;
            dialogue.send(b"XYZZY\r\nCAPA\r\nXYZZY\r\nCAPA\r\n")?;
            for is_known in [false, true, false, true] {
                let reply = dialogue.reply()?;
                let expected = if is_known { reply.is_ok() } else { reply.is_err() };
                require(expected, || "the replies are not those to the commands".to_owned())?;
                if is_known {
                    dialogue.lines()?;
                }
            }
            probe.keep(dialogue);
            Ok(())
        },
    },
];

/// Long enough for a packet of its own.
const BETWEEN_PIECES: Duration = Duration::from_millis(100);
