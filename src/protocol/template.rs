//! Text of the configuration with placeholders for a user: `{user}`, `{local}`, `{domain}` and
//! `{home}`.

use std::fmt;

use super::Username;

/// A word in braces that stands for a property of a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placeholder {
    /// `{user}`: the whole name.
    User,
    /// `{local}`: the part before the last `@`.
    Local,
    /// `{domain}`: the part after it.
    Domain,
    /// `{home}`: the home directory that a credential store names.
    Home,
}

impl Placeholder {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::User, Self::Local, Self::Domain, Self::Home];

    /// Those whose value comes from the name.
    pub const OF_A_NAME: [Self; 3] = [Self::User, Self::Local, Self::Domain];

    /// As it is written.
    pub fn word(self) -> &'static str {
        match self {
            Self::User => "{user}",
            Self::Local => "{local}",
            Self::Domain => "{domain}",
            Self::Home => "{home}",
        }
    }

    /// Its value for a name. `None` for the domain of a name without one, and for the home
    /// directory.
    pub fn value(self, name: &Username) -> Option<&str> {
        match self {
            Self::User => Some(name.as_str()),
            Self::Local => Some(name.local()),
            Self::Domain => name.domain(),
            Self::Home => None,
        }
    }
}

/// Text with placeholders, at least one of which distinguishes users.
///
/// - Every brace in it belongs to a placeholder.
/// - Values are not searched for placeholders again.
/// - `Display` shows it as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    pieces: Vec<Piece>,
}

/// A piece of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// Text that is the same for all users.
    Text(Box<str>),
    /// A value of the user.
    Placeholder(Placeholder),
}

/// Why text is not a template. `Display` says what to write.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// A NUL character.
    #[error("has a NUL character; remove it")]
    Nul,
    /// A variable of another program.
    #[error("{variable:?} is not a placeholder here; write {:?}", ours.word())]
    Foreign {
        /// The variable, as it is written.
        variable: &'static str,
        /// The placeholder to use in its place.
        ours: Placeholder,
    },
    /// An unmatched brace.
    #[error("has an unmatched brace; write {}", one_of(known))]
    Unpaired {
        /// The placeholders that may be used.
        known: &'static [Placeholder],
    },
    /// Another word in braces.
    #[error("{word:?} is not a placeholder here; write {}", one_of(known))]
    Unknown {
        /// The word, with its braces.
        word: String,
        /// The placeholders that may be used.
        known: &'static [Placeholder],
    },
    /// No placeholder distinguishes users.
    #[error("is the same for all users; write {{user}} or {{local}} in it")]
    SameForAll,
}

impl Template {
    /// Reads a template that may have the placeholders `known`.
    ///
    /// # Errors
    /// [`TemplateError`] if a brace does not belong to one of them, or if none of them
    /// distinguishes users.
    pub fn parse(text: &str, known: &'static [Placeholder]) -> Result<Self, TemplateError> {
        if text.contains('\0') {
            return Err(TemplateError::Nul);
        }
        if let Some(&(variable, ours)) = FOREIGN.iter().find(|(other, _)| text.contains(other)) {
            return Err(TemplateError::Foreign { variable, ours });
        }
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            let (before, word) = rest.split_at_checked(at).unwrap_or_default();
            let end = word.find('}').filter(|end| *end > 0);
            let (word, after) = end
                .and_then(|end| word.split_at_checked(end + 1))
                .ok_or(TemplateError::Unpaired { known })?;
            let placeholder = known.iter().find(|placeholder| placeholder.word() == word);
            let placeholder = placeholder
                .ok_or_else(|| TemplateError::Unknown { word: word.to_owned(), known })?;
            pieces.extend([Piece::Text(before.into()), Piece::Placeholder(*placeholder)]);
            rest = after;
        }
        pieces.push(Piece::Text(rest.into()));
        pieces.retain(|piece| *piece != Piece::Text("".into()));
        let template = Self { pieces };
        if template.placeholders().any(|placeholder| placeholder != Placeholder::Domain) {
            Ok(template)
        } else {
            Err(TemplateError::SameForAll)
        }
    }

    /// Its pieces in order. No text is empty.
    pub fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    /// Its placeholders in order.
    pub fn placeholders(&self) -> impl Iterator<Item = Placeholder> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Placeholder(placeholder) => Some(*placeholder),
            Piece::Text(_) => None,
        })
    }

    /// Whether names with the same local part give the same text.
    pub fn is_about_local_part(&self) -> bool {
        self.placeholders().all(|placeholder| placeholder == Placeholder::Local)
    }

    /// The text for a user, each value of the name passed through `escape`. `None` if the name has
    /// no value for a placeholder.
    pub fn fill(&self, name: &Username, escape: impl Fn(&str) -> String) -> Option<String> {
        let piece = |piece: &Piece| match piece {
            Piece::Text(text) => Some(text.to_string()),
            Piece::Placeholder(placeholder) => placeholder.value(name).map(&escape),
        };
        self.pieces.iter().map(piece).collect()
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.pieces.iter().try_for_each(|piece| match piece {
            Piece::Text(text) => f.write_str(text),
            Piece::Placeholder(placeholder) => f.write_str(placeholder.word()),
        })
    }
}

/// `{user}, {local} or {domain}`
fn one_of(known: &[Placeholder]) -> String {
    let words: Vec<_> = known.iter().map(|placeholder| placeholder.word()).collect();
    match words.split_last() {
        Some((last, [])) => (*last).to_owned(),
        Some((last, others)) => format!("{} or {last}", others.join(", ")),
        None => String::new(),
    }
}

/// The variables of Dovecot and Postfix, and our placeholders for them.
const FOREIGN: [(&str, Placeholder); 3] =
    [("%u", Placeholder::User), ("%n", Placeholder::Local), ("%d", Placeholder::Domain)];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_not_searched_for_placeholders() {
        for (text, name, filled) in [
            ("a {user} b", "mrose@example.org", Some("a <mrose@example.org> b")),
            ("{local}{domain}", "mrose@example.org", Some("<mrose><example.org>")),
            ("{user}{user}", "{local}", Some("<{local}><{local}>")),
            ("{local} {domain}", "mrose", None),
        ] {
            let template = Template::parse(text, &Placeholder::OF_A_NAME).unwrap();
            let name = Username::try_from(name).unwrap();
            assert_eq!(template.to_string(), text);
            let found = template.fill(&name, |value| format!("<{value}>"));
            assert_eq!(found.as_deref(), filled, "{text}");
        }
        let about =
            |text| Template::parse(text, &Placeholder::OF_A_NAME).unwrap().is_about_local_part();
        assert!(about("{local}") && !about("{user}") && !about("{local}@{domain}"));
    }

    #[test]
    fn an_error_says_what_to_write() {
        for (text, message) in [
            ("a\0{user}", "has a NUL character; remove it"),
            ("%n", "\"%n\" is not a placeholder here; write \"{local}\""),
            ("{user", "has an unmatched brace; write {user}, {local} or {domain}"),
            ("user}", "has an unmatched brace; write {user}, {local} or {domain}"),
            (
                "{user}{home}",
                "\"{home}\" is not a placeholder here; write {user}, {local} or {domain}",
            ),
            ("{}", "\"{}\" is not a placeholder here; write {user}, {local} or {domain}"),
            (
                "{{user}}",
                "\"{{user}\" is not a placeholder here; write {user}, {local} or {domain}",
            ),
            ("", "is the same for all users; write {user} or {local} in it"),
            ("{domain}", "is the same for all users; write {user} or {local} in it"),
        ] {
            let error = Template::parse(text, &Placeholder::OF_A_NAME).unwrap_err();
            assert_eq!(error.to_string(), message, "{text:?}");
        }
    }
}
