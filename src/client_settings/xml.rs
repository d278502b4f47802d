//! Documents, and text within XML.

use std::fmt::{self, Write};

/// Text that becomes the content of an element or the value of an attribute.
///
/// - Characters that XML 1.0 does not allow become U+FFFD.
pub(super) struct Xml<'a>(pub(super) &'a str);

impl fmt::Display for Xml<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                '\u{fffe}' | '\u{ffff}' => f.write_char('\u{fffd}')?,
                c if c < ' ' && !"\t\n\r".contains(c) => f.write_char('\u{fffd}')?,
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

/// The document that is written.
pub(super) fn document(write: impl FnOnce(&mut String) -> fmt::Result) -> String {
    let mut document = String::new();
    // Writing to a String does not fail.
    let written = write(&mut document);
    debug_assert!(written.is_ok());
    document
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_is_escaped() {
        let text = "<a href='b' c=\"d\">&amp;\u{0}\u{ffff}\u{fc}\n";
        assert_eq!(
            Xml(text).to_string(),
            "&lt;a href=&#39;b&#39; c=&quot;d&quot;&gt;&amp;amp;\u{fffd}\u{fffd}\u{fc}\n"
        );
    }
}
