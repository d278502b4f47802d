//! What may not reach a terminal or a log as it is: control characters, and those that reorder or
//! hide what is around them.

use std::fmt;

/// Writes text with Rust's escapes in place of the characters that are [`hidden`].
pub(super) struct Escaping<'a, W>(pub(super) &'a mut W);

impl<W: fmt::Write> fmt::Write for Escaping<'_, W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.chars().try_for_each(|c| self.write_char(c))
    }

    fn write_char(&mut self, c: char) -> fmt::Result {
        if hidden(c) { write!(self.0, "{}", c.escape_default()) } else { self.0.write_char(c) }
    }
}

/// Writes text that is JSON already, with JSON's escapes for what JSON would let pass.
///
/// Outside of its strings JSON has none of these characters, so this changes no meaning.
pub(super) fn json(text: &str, out: &mut impl fmt::Write) -> fmt::Result {
    for c in text.chars() {
        if hidden(c) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                write!(out, "\\u{unit:04x}")?;
            }
        } else {
            out.write_char(c)?;
        }
    }
    Ok(())
}

/// Controls (C0, DEL, C1: line ends and ESC among them), and the format characters that turn the
/// direction of text, break lines, or take no room.
pub(super) fn hidden(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}')
}
