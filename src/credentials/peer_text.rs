//! Text of another machine in an error.

use std::fmt::{self, Write as _};

/// Text of another machine. It is shown escaped and cut off.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct PeerText(String);

impl PeerText {
    pub(super) fn new(text: &str) -> Self {
        Self(text.chars().take(MOST_CHARACTERS).collect())
    }
}

impl fmt::Display for PeerText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().flat_map(char::escape_debug).try_for_each(|shown| f.write_char(shown))
    }
}

const MOST_CHARACTERS: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_escaped_and_cut_off() {
        assert_eq!(PeerText::new("a\nb\u{1b}").to_string(), r"a\nb\u{1b}");
        assert_eq!(PeerText::new(&"x".repeat(1000)).to_string(), "x".repeat(200));
    }
}
