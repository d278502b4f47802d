//! CAPA, and what it lists (RFC 2449, RFC 3206, RFC 5034 §3).

use super::listing::{count, with};
use crate::cli::selftest::capabilities::Capabilities;
use crate::cli::selftest::probe::Probe;
use crate::cli::selftest::rule::{Finding, Level, Needs, Rule, require};

pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "rfc2449-capa",
        citation: "RFC 2449 §5",
        level: Level::May,
        text: "CAPA lists capabilities, each once, in lines of at most 512 octets",
        needs: Needs::Nothing,
        check: |probe| {
            let capabilities = probe.capabilities()?;
            let mut tags = Vec::new();
            for line in capabilities.lines()? {
                require(line.len() <= 510, || "a capability is longer than 512 octets".to_owned())?;
                let shown = probe.shown(line);
                require(!line.contains("  "), || format!("\"{shown}\" has more than one space"))?;
                let tag = line.split(' ').next().unwrap_or_default().to_ascii_uppercase();
                require(is_tag(&tag), || format!("\"{shown}\" begins with no name"))?;
                require(!tags.contains(&tag), || format!("{} is listed twice", probe.shown(&tag)))?;
                tags.push(tag);
            }
            Ok(())
        },
    },
    Rule {
        id: "rfc2449-resp-codes",
        citation: "RFC 2449 §8",
        level: Level::Must,
        text: "a server that announces AUTH-RESP-CODE or sends response codes announces RESP-CODES",
        needs: Needs::Nothing,
        check: |probe| {
            let capabilities = probe.capabilities()?;
            let codes = capabilities.has("RESP-CODES");
            let needed = capabilities.has("AUTH-RESP-CODE");
            match (codes, needed) {
                (true, _) => Ok(()),
                (false, true) => {
                    Err(Finding::broken("AUTH-RESP-CODE is listed without RESP-CODES"))
                }
                (false, false) => capabilities.need("RESP-CODES"),
            }
        },
    },
    Rule {
        id: "rfc2449-login-delay",
        citation: "RFC 2449 §6.5",
        level: Level::Must,
        text: "LOGIN-DELAY is a number of seconds, with USER if it differs",
        needs: Needs::Nothing,
        check: |probe| {
            let is_valid = |words: &[&str]| match words {
                [seconds] | [seconds, "USER"] => is_number(seconds),
                _ => false,
            };
            parameters(probe, "LOGIN-DELAY", is_valid)
        },
    },
    Rule {
        id: "rfc2449-expire",
        citation: "RFC 2449 §6.7",
        level: Level::Must,
        text: "EXPIRE is a number of days or NEVER, with USER if it differs",
        needs: Needs::Nothing,
        check: |probe| {
            let is_valid = |words: &[&str]| match words {
                [days] | [days, "USER"] => is_number(days) || *days == "NEVER",
                _ => false,
            };
            parameters(probe, "EXPIRE", is_valid)
        },
    },
    Rule {
        id: "rfc2449-implementation",
        citation: "RFC 2449 §6.9",
        level: Level::Must,
        text: "IMPLEMENTATION names the server",
        needs: Needs::Nothing,
        check: |probe| {
            parameters(probe, "IMPLEMENTATION", |words| words.iter().any(|word| !word.is_empty()))
        },
    },
    Rule {
        id: "rfc5034-sasl",
        citation: "RFC 5034 §3",
        level: Level::Must,
        text: "SASL lists mechanisms by their names",
        needs: Needs::Nothing,
        check: |probe| {
            parameters(probe, "SASL", |words| {
                !words.is_empty() && words.iter().all(|word| is_mechanism(word))
            })
        },
    },
    Rule {
        id: "rfc2449-capa-after-login",
        citation: "RFC 2449 §5",
        level: Level::Must,
        text: "after login, CAPA lists what it lists before, but for STLS",
        needs: Needs::Login,
        check: |probe| {
            let before = probe.capabilities()?;
            let before = before.lines()?;
            let mut session = probe.session()?;
            let after = Capabilities::ask(&mut session)?;
            require(after.lines().is_ok(), || "CAPA is refused after login".to_owned())?;
            probe.keep_session(session);
            let tags = before.iter().filter_map(|line| line.split(' ').next());
            let missing = tags.filter(|tag| !tag.eq_ignore_ascii_case("STLS") && !after.has(tag));
            let missing = missing.collect::<Vec<_>>().join(", ");
            require(missing.is_empty(), || {
                format!("after login, CAPA does not list {}", probe.shown(&missing))
            })
        },
    },
    Rule {
        id: "rfc2449-user",
        citation: "RFC 2449 §6.2",
        level: Level::Must,
        text: "USER is accepted where CAPA lists it",
        needs: Needs::Login,
        check: |probe| {
            probe.capabilities()?.need("USER")?;
            let user = probe.needed_login()?.user.clone();
            probe.fresh()?.accepts(&format!("USER {user}")).map(drop)
        },
    },
    Rule {
        id: "rfc2449-top",
        citation: "RFC 2449 §6.1",
        level: Level::Must,
        text: "TOP is accepted where CAPA lists it",
        needs: Needs::Login,
        check: |probe| {
            probe.capabilities()?.need("TOP")?;
            with(probe, |session| {
                count(session)?;
                let message = session.message("TOP 1 0")?;
                require(message.is_some(), || "TOP 1 0 is refused".to_owned())
            })
        },
    },
    Rule {
        id: "rfc2449-uidl",
        citation: "RFC 2449 §6.8",
        level: Level::Must,
        text: "UIDL is accepted where CAPA lists it",
        needs: Needs::Login,
        check: |probe| {
            probe.capabilities()?.need("UIDL")?;
            with(probe, |session| {
                let listing = session.listing("UIDL")?;
                require(listing.is_some(), || "UIDL is refused".to_owned())
            })
        },
    },
];

/// Checks the parameters of a capability that is listed.
fn parameters(
    probe: &mut Probe,
    tag: &str,
    is_valid: impl Fn(&[&str]) -> bool,
) -> Result<(), Finding> {
    let capabilities = probe.capabilities()?;
    capabilities.need(tag)?;
    let words = capabilities.parameters(tag).unwrap_or_default();
    require(is_valid(&words), || {
        format!("the parameters of {tag} are \"{}\"", probe.shown(&words.join(" ")))
    })
}

/// RFC 2449 §3: `cchar`.
fn is_tag(tag: &str) -> bool {
    !tag.is_empty() && tag.bytes().all(|octet| octet.is_ascii_graphic())
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|octet| octet.is_ascii_digit())
}

/// As in RFC 4422: 1 to 20 capitals, digits, hyphens and underscores.
fn is_mechanism(name: &str) -> bool {
    let is_allowed =
        |octet: u8| octet.is_ascii_uppercase() || octet.is_ascii_digit() || b"-_".contains(&octet);
    (1..=20).contains(&name.len()) && name.bytes().all(is_allowed)
}
