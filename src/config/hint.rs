//! What to write instead: the word that was meant, the section that a key belongs to.

use super::KEYS;

/// What to do about a key that is not known in a section.
pub(super) fn advice(word: &str, section: &str) -> String {
    let here = KEYS.iter().find(|(name, _)| *name == section).map_or(&[][..], |(_, keys)| keys);
    if let Some(near) = nearest(word, here) {
        return format!("is not a key, did you mean {near:?}?");
    }
    let elsewhere: Vec<String> = KEYS
        .iter()
        .filter(|(_, keys)| keys.contains(&word))
        .map(|(name, _)| match *name {
            "" => "the top of the file, before the first section".to_owned(),
            name => format!("[{name}]"),
        })
        .collect();
    if elsewhere.is_empty() {
        format!("is not a key, remove it; known here are {}", here.join(", "))
    } else {
        format!("is not a key here, move it to {}", either(&elsewhere))
    }
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

/// How many characters have to be put in, left out or changed to make one word of the other.
fn slips(one: &str, other: &str) -> usize {
    let mut row: Vec<usize> = (0..=other.chars().count()).collect();
    for (before, a) in one.chars().enumerate() {
        let mut diagonal = before;
        let mut left = before + 1;
        let mut next = vec![left];
        for (above, b) in row.iter().skip(1).zip(other.chars()) {
            left = (diagonal + usize::from(a != b)).min(left + 1).min(above + 1);
            diagonal = *above;
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
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
        ] {
            assert_eq!(slips(one, other), count, "{one} {other}");
            assert_eq!(slips(other, one), count, "{other} {one}");
        }
    }
}
