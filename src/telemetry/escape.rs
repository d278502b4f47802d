//! What may not reach a terminal or a log as it is: control characters, and those that reorder or
//! hide what is around them.

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

/// The most octets of a value that are shown: whatever a peer or a file says, a line has an end.
pub(super) const MOST: usize = 4096;

/// As much of a value as is shown.
pub(super) fn bounded(value: &str) -> Cow<'_, str> {
    if value.len() <= MOST {
        return Cow::Borrowed(value);
    }
    let (shown, _) = value.split_at(value.floor_char_boundary(MOST));
    Cow::Owned(format!("{shown}…"))
}

/// As much of what `Debug` writes as is shown; more is not even made.
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
        // Longer than is shown, or its own fault.
        Err(fmt::Error) => shown.0 + "…",
    }
}

/// Writes text that is JSON already, with JSON's escapes for what JSON would let pass, and no string
/// longer than is shown.
///
/// Outside of its strings JSON has none of these characters, so this changes no meaning.
pub(super) fn json(text: &str, out: &mut impl fmt::Write) -> fmt::Result {
    const CUT: usize = usize::MAX;
    // How much of the string that it is in was shown.
    let mut string = None;
    // How many characters of an escape are still to come.
    let mut escape = 0_u8;
    for c in text.chars() {
        // In front of a character or a whole escape, never within one.
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
