//! Characters that are not seen, and change how the text around them is shown.

/// Whether a character is a control (C0, DEL, C1: line ends and ESC among them), or a format
/// character that turns the direction of text, breaks lines, or takes no room: the tags of
/// U+E0000 are some of those.
///
/// No user name has one, and none reaches a terminal or a log as it is.
pub fn is_invisible(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}')
}
