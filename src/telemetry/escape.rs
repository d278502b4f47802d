//! Escapes for characters that must not reach a terminal or a log: control characters, and those
//! that reorder or hide the text around them.

use std::borrow::Cow;
use std::fmt::{self, Write as _};

use crate::protocol::is_invisible;

/// Writes text with Rust's escapes in place of the characters that are [invisible](is_invisible).
pub(super) struct Escaping<'a, W>(pub(super) &'a mut W);

impl<W: fmt::Write> fmt::Write for Escaping<'_, W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.chars().try_for_each(|c| self.write_char(c))
    }

    fn write_char(&mut self, c: char) -> fmt::Result {
        if is_invisible(c) {
            write!(self.0, "{}", c.escape_default())
        } else {
            self.0.write_char(c)
        }
    }
}

/// The most octets of a value that are shown, so that no value makes a line endless.
pub(super) const MOST: usize = 4096;

/// The beginning of a value, as much as is shown.
pub(super) fn bounded(value: &str) -> Cow<'_, str> {
    if value.len() <= MOST {
        return Cow::Borrowed(value);
    }
    let (shown, _) = value.split_at(value.floor_char_boundary(MOST));
    Cow::Owned(format!("{shown}…"))
}

/// The beginning of the `Debug` form, as much as is shown. The rest is not formatted.
pub(super) fn debugged(value: &dyn fmt::Debug) -> String {
    struct Bounded(String);
    impl fmt::Write for Bounded {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            let room = (MOST + 1).saturating_sub(self.0.len());
            let (fits, rest) = text.split_at(text.floor_char_boundary(room));
            self.0.push_str(fits);
            if rest.is_empty() { Ok(()) } else { Err(fmt::Error) }
        }
    }
    let mut shown = Bounded(String::new());
    match write!(shown, "{value:?}") {
        Ok(()) => shown.0,
        // Longer than is shown, or an error of its `Debug`.
        Err(fmt::Error) => shown.0 + "…",
    }
}

/// Writes JSON with escapes for the invisible characters that JSON allows in strings, and with no
/// string longer than is shown.
///
/// Outside of strings JSON has none of these characters, so the meaning does not change.
pub(super) fn json(text: &str, out: &mut impl fmt::Write) -> fmt::Result {
    const CUT: usize = usize::MAX;
    // How many octets of the current string were shown.
    let mut string = None;
    // How many characters of the current escape are still to come.
    let mut escape = 0_u8;
    for c in text.chars() {
        // Before a character or a whole escape, never within one.
        let is_whole = escape == 0;
        escape = match (escape, c) {
            (0, '\\') if string.is_some() => 1,
            (1, 'u') => 4,
            (left, _) => left.saturating_sub(1),
        };
        match &mut string {
            Some(_) if c == '"' && is_whole => string = None,
            None if c == '"' => string = Some(0),
            Some(CUT) => continue,
            Some(octets) => {
                *octets += c.len_utf8();
                if *octets > MOST && is_whole {
                    *octets = CUT;
                    out.write_char('…')?;
                    continue;
                }
            }
            None => {}
        }
        if is_invisible(c) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                write!(out, "\\u{unit:04x}")?;
            }
        } else {
            out.write_char(c)?;
        }
    }
    Ok(())
}
