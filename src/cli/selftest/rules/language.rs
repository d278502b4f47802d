//! UTF8 and LANG (RFC 6856).

use crate::cli::selftest::dialogue::Dialogue;
use crate::cli::selftest::probe::Probe;
use crate::cli::selftest::rule::{Finding, Level, Needs, Rule, require};

pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "rfc6856-utf8",
        citation: "RFC 6856 §2.1",
        level: Level::Must,
        text: "UTF8 is accepted before login where CAPA lists it, and takes no argument",
        needs: Needs::Nothing,
        check: |probe| {
            let mut dialogue = listed(probe, "UTF8")?;
            dialogue.refuses("UTF8 xyzzy")?;
            dialogue.accepts("UTF8")?;
            Ok(())
        },
    },
    Rule {
        id: "rfc6856-lang-list",
        citation: "RFC 6856 §3.2",
        level: Level::Must,
        text: "LANG lists languages, each with its tag, a space and its name",
        needs: Needs::Nothing,
        check: |probe| {
            let mut dialogue = listed(probe, "LANG")?;
            let Some(languages) = dialogue.listing("LANG")? else {
                return Err(Finding::broken("LANG is refused"));
            };
            for octets in &languages {
                let line = String::from_utf8_lossy(octets);
                let (tag, name) = line.split_once(' ').unwrap_or((&line, ""));
                let is_valid = is_language_tag(tag) && !name.is_empty();
                require(is_valid, || {
                    format!("\"{}\" is no tag with a name", dialogue.shown(octets))
                })?;
            }
            Ok(())
        },
    },
    Rule {
        id: "rfc6856-lang-choice",
        citation: "RFC 6856 §3.2",
        level: Level::Must,
        text: "LANG with * gets +OK and a tag; a language that is not there gets -ERR",
        needs: Needs::Nothing,
        check: |probe| {
            let mut dialogue = listed(probe, "LANG")?;
            let reply = dialogue.accepts("LANG *")?;
            let tag = reply.words().first().map(|tag| String::from_utf8_lossy(tag).into_owned());
            require(tag.is_some_and(|tag| is_language_tag(&tag)), || {
                "the reply to LANG * has no language tag".to_owned()
            })?;
            // No language has a tag between qaa and qtz (RFC 5646).
            dialogue.refuses("LANG qtz")
        },
    },
];

/// A connection to a server that lists the capability; its language may be changed.
fn listed(probe: &mut Probe, tag: &str) -> Result<Dialogue, Finding> {
    probe.capabilities()?.need(tag)?;
    probe.fresh()
}

fn is_language_tag(tag: &str) -> bool {
    tag.split('-').all(|part| {
        (1..=8).contains(&part.len()) && part.bytes().all(|octet| octet.is_ascii_alphanumeric())
    })
}
