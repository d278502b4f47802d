//! Hints for unknown keys: the intended word, or the section that the key belongs to.

use strsim::osa_distance;

use super::KEYS;

/// The probable intention of a key that its section does not have.
pub(super) enum Meant {
    /// This key of the section, misspelt.
    Misspelt(&'static str),
    /// A key of these other sections.
    Elsewhere(Vec<&'static str>),
    /// No known key.
    Unknown,
}

impl Meant {
    /// Looks for the key among those of its section, then among those of the others.
    pub(super) fn by(word: &str, section: &str) -> Self {
        if let Some(near) = nearest(word, keys_of(section)) {
            return Self::Misspelt(near);
        }
        let elsewhere: Vec<_> =
            KEYS.iter().filter(|(_, keys)| keys.contains(&word)).map(|(name, _)| *name).collect();
        if elsewhere.is_empty() { Self::Unknown } else { Self::Elsewhere(elsewhere) }
    }

    /// The message for the key, in a section.
    pub(super) fn advice(&self, section: &str) -> String {
        match self {
            Self::Misspelt(near) => format!("is not a known key; did you mean {near:?}?"),
            Self::Elsewhere(names) => {
                let names = names.iter().map(|name| match *name {
                    "" => "the top of the file, before the first section".to_owned(),
                    name => format!("[{name}]"),
                });
                format!("does not belong here; move it to {}", either(&names.collect::<Vec<_>>()))
            }
            Self::Unknown => {
                let keys = keys_of(section).join(", ");
                format!("is not a known key; remove it (the keys of this section are {keys})")
            }
        }
    }
}

/// The keys of a section of [`KEYS`].
pub(super) fn keys_of(section: &str) -> &'static [&'static str] {
    KEYS.iter().find(|(name, _)| *name == section).map_or(&[], |(_, keys)| keys)
}

/// The most similar word, if there are at most two typing errors; more in a long word, fewer in a
/// short one.
fn nearest(word: &str, words: &[&'static str]) -> Option<&'static str> {
    let plain = word.to_lowercase().replace('_', "-");
    words
        .iter()
        .map(|candidate| (osa_distance(&plain, candidate), *candidate))
        .filter(|(errors, candidate)| {
            *errors <= (candidate.len() / 3).max(2).min(candidate.len() / 2)
        })
        .min()
        .map(|(_, candidate)| candidate)
}

/// `a`, `a or b`, `a, b or c`.
pub(super) fn either(words: &[String]) -> String {
    match words {
        [] => String::new(),
        [only] => only.clone(),
        [most @ .., last] => format!("{} or {last}", most.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_words_are_found() {
        let words = ["connections", "connections-per-address", "idle", "private-key"];
        for (word, near) in [
            ("conections", Some("connections")),
            ("Connections", Some("connections")),
            ("connections_per_address", Some("connections-per-address")),
            ("ilde", Some("idle")),
            ("idl", Some("idle")),
            ("proivate-key", Some("private-key")),
            ("time", None),
            ("private-keys", Some("private-key")),
            ("colour", None),
            ("", None),
        ] {
            assert_eq!(nearest(word, &words), near, "{word:?}");
        }
    }
}
