//! What to write instead: the word that was meant, the section that a key belongs to.

use super::KEYS;

/// What a key that is not known in its section was probably meant to be.
pub(super) enum Meant {
    /// This key of the section, misspelt.
    Misspelt(&'static str),
    /// A key of these other sections.
    Elsewhere(Vec<&'static str>),
    /// Nothing that is known.
    Nothing,
}

impl Meant {
    /// Looks for the key among those of its section, then among those of the others.
    pub(super) fn by(word: &str, section: &str) -> Self {
        if let Some(near) = nearest(word, keys_of(section)) {
            return Self::Misspelt(near);
        }
        let elsewhere: Vec<_> =
            KEYS.iter().filter(|(_, keys)| keys.contains(&word)).map(|(name, _)| *name).collect();
        if elsewhere.is_empty() { Self::Nothing } else { Self::Elsewhere(elsewhere) }
    }

    /// What to do about it, in a section.
    pub(super) fn advice(&self, section: &str) -> String {
        match self {
            Self::Misspelt(near) => format!("is not a key, did you mean {near:?}?"),
            Self::Elsewhere(names) => {
                let names = names.iter().map(|name| match *name {
                    "" => "the top of the file, before the first section".to_owned(),
                    name => format!("[{name}]"),
                });
                format!("is not a key here, move it to {}", either(&names.collect::<Vec<_>>()))
            }
            Self::Nothing => {
                format!("is not a key, remove it; known here are {}", keys_of(section).join(", "))
            }
        }
    }
}

/// The keys of a section of [`KEYS`].
pub(super) fn keys_of(section: &str) -> &'static [&'static str] {
    KEYS.iter().find(|(name, _)| *name == section).map_or(&[], |(_, keys)| keys)
}

/// The word that was probably meant: two slips, more in a long word, fewer in a short one.
fn nearest(word: &str, words: &[&'static str]) -> Option<&'static str> {
    let plain = word.to_lowercase().replace('_', "-");
    words
        .iter()
        .map(|candidate| (slips(&plain, candidate), *candidate))
        .filter(|(slips, candidate)| {
            *slips <= (candidate.len() / 3).max(2).min(candidate.len() / 2)
        })
        .min()
        .map(|(_, candidate)| candidate)
}

/// How many characters have to be put in, left out, changed, or swapped with their neighbour, to
/// make one word of the other.
fn slips(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut above: Vec<usize> = (0..=other.len()).collect();
    // The row before that, and the character that it stands for: for two that are swapped.
    let mut before: Option<(Vec<usize>, char)> = None;
    for (nth, a) in one.chars().enumerate() {
        let mut row = vec![nth + 1];
        for (at, &b) in other.iter().enumerate() {
            let cell = |row: &[usize], at: usize| row.get(at).copied().unwrap_or(usize::MAX - 1);
            let changed = cell(&above, at) + usize::from(a != b);
            let mut least = changed.min(cell(&row, at) + 1).min(cell(&above, at + 1) + 1);
            if let (Some((row, last)), Some(left)) = (&before, at.checked_sub(1))
                && *last == b
                && other.get(left) == Some(&a)
            {
                least = least.min(cell(row, left) + 1);
            }
            row.push(least);
        }
        before = Some((std::mem::replace(&mut above, row), a));
    }
    above.last().copied().unwrap_or_default()
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

    #[test]
    fn slips_are_counted() {
        for (one, other, count) in [
            ("", "", 0),
            ("", "abc", 3),
            ("abc", "", 3),
            ("abc", "abd", 1),
            ("kitten", "sitting", 3),
            ("tsl", "tls", 1),
            ("abdc", "abcd", 1),
            ("bca", "abc", 2),
        ] {
            assert_eq!(slips(one, other), count, "{one} {other}");
            assert_eq!(slips(other, one), count, "{other} {one}");
        }
    }
}
