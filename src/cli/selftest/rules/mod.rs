//! The rules, in the order in which they are tested: first those that need no login.

use super::rule::Rule;

mod authorization;
mod capability;
mod language;
mod listing;
mod login;
mod message;
mod reply;
mod sasl;
mod tls;
mod transaction;
mod update;

/// All rules. Those about replies in general come last, when there have been many.
pub(super) fn all() -> impl Iterator<Item = &'static Rule> {
    [
        authorization::RULES,
        tls::RULES,
        capability::RULES,
        language::RULES,
        sasl::RULES,
        login::RULES,
        transaction::RULES,
        listing::RULES,
        message::RULES,
        update::RULES,
        reply::RULES,
    ]
    .into_iter()
    .flatten()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn each_rule_has_a_name_of_its_own_that_begins_with_its_rfc() {
        let mut names = HashSet::new();
        for rule in all() {
            let rfc = rule.citation.strip_prefix("RFC ").unwrap();
            let number = rfc.split(' ').next().unwrap();
            assert!(rule.id.starts_with(&format!("rfc{number}-")), "{}", rule.id);
            assert!(rule.citation.contains('§'), "{}", rule.citation);
            assert!(names.insert(rule.id), "{} is there twice", rule.id);
        }
    }
}
