//! Counts of messages, as commands print them.

use std::fmt;

/// Writes `240 same, 2 missing`. Of the counts after the first, those of 0 are left out.
pub(super) fn write_counts(
    f: &mut fmt::Formatter<'_>,
    (first, what): (usize, &str),
    others: &[(usize, &str)],
) -> fmt::Result {
    write!(f, "{first} {what}")?;
    let mut others = others.iter().filter(|(count, _)| *count > 0);
    others.try_for_each(|(count, what)| write!(f, ", {count} {what}"))
}
