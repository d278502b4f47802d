//! The query of the configuration, prepared once: its placeholders become parameters.

use sqlx::{AssertSqlSafe, SqlSafeStr as _, SqlStr};

use crate::protocol::{Piece, Placeholder, Template, Username};

/// A query and its parameters.
///
/// - Each occurrence of a placeholder is a separate parameter.
/// - No part of a user name ever becomes part of the text.
/// - `{domain}` of a name without one is NULL: `COALESCE({domain}, 'example.org')` gives it one.
#[derive(Debug)]
pub(super) struct Question {
    text: SqlStr,
    parameters: Vec<Placeholder>,
}

/// How a database writes parameters.
#[derive(Clone, Copy, Debug)]
pub(super) enum Placeholders {
    /// `$1`, `$2`, …
    Numbered,
    /// `?`
    QuestionMarks,
}

impl Question {
    pub(super) fn new(query: &Template, placeholders: Placeholders) -> Self {
        let mut text = String::new();
        let mut parameters = Vec::new();
        for piece in query.pieces() {
            match piece {
                Piece::Text(piece) => text.push_str(piece),
                Piece::Placeholder(placeholder) => {
                    parameters.push(*placeholder);
                    match placeholders {
                        Placeholders::Numbered => text.push_str(&format!("${}", parameters.len())),
                        Placeholders::QuestionMarks => text.push('?'),
                    }
                }
            }
        }
        // Safe: the text is from the configuration alone.
        Self { text: AssertSqlSafe(text).into_sql_str(), parameters }
    }

    /// A query without parameters.
    pub(super) fn about_all(query: &str) -> Self {
        let text = AssertSqlSafe(query.to_owned()).into_sql_str();
        Self { text, parameters: Vec::new() }
    }

    pub(super) fn text(&self) -> SqlStr {
        self.text.clone()
    }

    /// The number of parameters, all of which are text.
    pub(super) fn parameters(&self) -> usize {
        self.parameters.len()
    }

    /// Whether the answer depends only on the local part of the name.
    pub(super) fn is_about_local_part(&self) -> bool {
        self.parameters.iter().all(|part| *part == Placeholder::Local)
    }

    /// The values of the parameters for this name, in order.
    pub(super) fn values(&self, name: &Username) -> impl Iterator<Item = Option<String>> {
        self.parameters.iter().map(|part| part.value(name).map(str::to_owned))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn translated(
        query: &str,
        placeholders: Placeholders,
        name: &str,
    ) -> (String, Vec<Option<String>>) {
        let query = Template::parse(query, &Placeholder::OF_A_NAME).unwrap();
        let question = Question::new(&query, placeholders);
        let name = Username::try_from(name).unwrap();
        (question.text().as_str().to_owned(), question.values(&name).collect())
    }

    #[test]
    fn placeholders_become_parameters() {
        let query = "SELECT password FROM users WHERE local={local} AND domain = {domain} OR a={user} OR b={user}";
        let values = ["mrose", "example.org", "mrose@example.org", "mrose@example.org"]
            .map(|value| Some(value.to_owned()));
        for (placeholders, text) in [
            (
                Placeholders::Numbered,
                "SELECT password FROM users WHERE local=$1 AND domain = $2 OR a=$3 OR b=$4",
            ),
            (
                Placeholders::QuestionMarks,
                "SELECT password FROM users WHERE local=? AND domain = ? OR a=? OR b=?",
            ),
        ] {
            let got = translated(query, placeholders, "mrose@example.org");
            assert_eq!(got, (text.to_owned(), values.to_vec()));
        }
    }

    #[test]
    fn the_domain_of_a_name_without_one_is_null() {
        let (_, values) = translated("… {domain} {local}", Placeholders::QuestionMarks, "mrose");
        assert_eq!(values, [None, Some("mrose".to_owned())]);
    }

    #[test]
    fn no_part_of_a_name_becomes_text_of_the_query() {
        for name in [
            "' OR 1=1 --",
            "{domain}",
            "\" OR \"\"=\"",
            "a\\",
            "$1",
            "?",
            "x'; DROP TABLE users; --",
        ] {
            let (text, values) = translated("SELECT {user}", Placeholders::Numbered, name);
            assert_eq!(text, "SELECT $1");
            assert_eq!(values, [Some(name.to_ascii_lowercase())]);
        }
    }
}
