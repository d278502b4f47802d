//! Characters that are invisible or change how the text around them is shown.

/// Whether a character is a control character (C0, DEL, C1; line ends and ESC are some of them), or
/// a format character that changes the direction of text, breaks lines or has no width (such as the
/// tags of U+E0000).
///
/// No user name contains one, and none reaches a terminal or a log unescaped.
pub fn is_invisible(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}')
}
