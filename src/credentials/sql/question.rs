//! The query of the configuration, made ready: placeholders become parameters, once and for all.

use sqlx::{AssertSqlSafe, SqlSafeStr as _, SqlStr};

use crate::protocol::Username;

/// A query and what is bound to its parameters.
///
/// - Every placeholder is a parameter of its own, whether it stands there once or twice.
/// - What is known of a user goes into the parameters and never into the text.
/// - `{domain}` of a name without one is NULL: `COALESCE({domain}, 'example.org')` gives it one.
#[derive(Debug)]
pub(super) struct Question {
    text: SqlStr,
    parameters: Vec<Part>,
}

/// How a database writes parameters.
#[derive(Clone, Copy, Debug)]
pub(super) enum Marks {
    /// `$1`, `$2`, …
    Numbered,
    /// `?`
    Bare,
}

/// What is bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    User,
    Local,
    Domain,
}

impl Question {
    pub(super) fn new(query: &str, marks: Marks) -> Self {
        let mut text = String::with_capacity(query.len());
        let mut parameters = Vec::new();
        let mut rest = query;
        while let Some((before, part, after)) = next(rest) {
            parameters.push(part);
            text.push_str(before);
            match marks {
                Marks::Numbered => text.push_str(&format!("${}", parameters.len())),
                Marks::Bare => text.push('?'),
            }
            rest = after;
        }
        text.push_str(rest);
        // Safe: all of it is from the configuration, and nothing is ever added to it.
        Self { text: AssertSqlSafe(text).into_sql_str(), parameters }
    }

    pub(super) fn text(&self) -> SqlStr {
        self.text.clone()
    }

    /// How many parameters there are; all of them are text.
    pub(super) fn parameters(&self) -> usize {
        self.parameters.len()
    }

    /// Whether names with the same local part get the same answer.
    pub(super) fn is_about_local_part(&self) -> bool {
        self.parameters.iter().all(|part| *part == Part::Local)
    }

    /// What is bound for this name, in order.
    pub(super) fn values(&self, name: &Username) -> impl Iterator<Item = Option<String>> {
        self.parameters.iter().map(|part| match part {
            Part::User => Some(name.as_str().to_owned()),
            Part::Local => Some(name.local().to_owned()),
            Part::Domain => name.domain().map(str::to_owned),
        })
    }
}

/// The first placeholder, with what is before and after it.
fn next(text: &str) -> Option<(&str, Part, &str)> {
    let found = PLACEHOLDERS.iter().filter_map(|&(placeholder, part)| {
        text.split_once(placeholder).map(|(before, after)| (before, part, after))
    });
    found.min_by_key(|(before, ..)| before.len())
}

const PLACEHOLDERS: [(&str, Part); 3] =
    [("{user}", Part::User), ("{local}", Part::Local), ("{domain}", Part::Domain)];

#[cfg(test)]
mod tests {
    use super::*;

    fn translated(query: &str, marks: Marks, name: &str) -> (String, Vec<Option<String>>) {
        let question = Question::new(query, marks);
        let name = Username::try_from(name).unwrap();
        (question.text().as_str().to_owned(), question.values(&name).collect())
    }

    #[test]
    fn placeholders_become_parameters() {
        let query = "SELECT password FROM users WHERE local={local} AND domain = {domain} OR a={user} OR b={user}";
        let values = ["mrose", "example.org", "mrose@example.org", "mrose@example.org"]
            .map(|value| Some(value.to_owned()));
        for (marks, text) in [
            (
                Marks::Numbered,
                "SELECT password FROM users WHERE local=$1 AND domain = $2 OR a=$3 OR b=$4",
            ),
            (Marks::Bare, "SELECT password FROM users WHERE local=? AND domain = ? OR a=? OR b=?"),
        ] {
            let got = translated(query, marks, "mrose@example.org");
            assert_eq!(got, (text.to_owned(), values.to_vec()));
        }
    }

    #[test]
    fn the_domain_of_a_name_without_one_is_null() {
        let (_, values) = translated("… {domain} {local}", Marks::Bare, "mrose");
        assert_eq!(values, [None, Some("mrose".to_owned())]);
    }

    #[test]
    fn nothing_of_a_name_is_text_of_the_query() {
        for name in [
            "' OR 1=1 --",
            "{domain}",
            "\" OR \"\"=\"",
            "a\\",
            "$1",
            "?",
            "x'; DROP TABLE users; --",
        ] {
            let (text, values) = translated("SELECT {user}", Marks::Numbered, name);
            assert_eq!(text, "SELECT $1");
            assert_eq!(values, [Some(name.to_ascii_lowercase())]);
        }
    }
}
