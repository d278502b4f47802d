//! Text of a client or of the provider in an error.

use std::fmt;

/// Text that somebody else has chosen, escaped and cut off.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct PeerText(String);

impl PeerText {
    /// Keeps at most `most` characters of the escaped text.
    pub(super) fn new(text: &str, most: usize) -> Self {
        Self(text.escape_debug().take(most).collect())
    }
}

impl fmt::Display for PeerText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_escaped_and_cut_off() {
        for (text, shown) in [
            ("a\nb", r"a\nb"),
            ("\u{1b}[2J", r"\u{1b}[2J"),
            ("e\u{301}", "e\u{301}"),
            (&"x".repeat(1000), &"x".repeat(20)),
            (&"\n".repeat(1000), &r"\n".repeat(10)),
        ] {
            assert_eq!(PeerText::new(text, 20).to_string(), shown);
        }
    }
}
