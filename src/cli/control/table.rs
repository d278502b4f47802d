//! Tables and spans of time, for people.

use std::fmt;
use std::time::SystemTime;

use crate::control::unix_time;

/// Rows of the same number of cells, printed in aligned columns.
pub(in crate::cli) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with this head.
    pub(in crate::cli) fn new(head: &[&str]) -> Self {
        Self { rows: vec![head.iter().map(|&cell| cell.to_owned()).collect()] }
    }

    /// Adds a row.
    pub(in crate::cli) fn push(&mut self, row: impl Into<Vec<String>>) {
        self.rows.push(row.into());
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or_default();
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell: &String| cell.chars().count()).max().unwrap_or_default()
        };
        let widths: Vec<_> = (0..columns).map(width).collect();
        for row in &self.rows {
            let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
            writeln!(f, "{}", cells.collect::<Vec<_>>().join("  ").trim_end())?;
        }
        Ok(())
    }
}

/// A span of time in its two largest units: `12s`, `3m 20s`, `2h 5m`, `40d 3h`.
pub(super) fn span(seconds: u64) -> String {
    const UNITS: [(u64, &str); 4] = [(86_400, "d"), (3600, "h"), (60, "m"), (1, "s")];
    let largest = UNITS.iter().position(|(unit, _)| seconds >= *unit).unwrap_or(UNITS.len() - 1);
    let mut rest = seconds;
    let parts = UNITS.iter().skip(largest).take(2).map(|(unit, name)| {
        let count = rest / unit;
        rest %= unit;
        (count, name)
    });
    let parts: Vec<_> = parts.collect();
    let shown = parts.iter().enumerate().filter(|(nth, (count, _))| *nth == 0 || *count > 0);
    shown.map(|(_, (count, name))| format!("{count}{name}")).collect::<Vec<_>>().join(" ")
}

/// The time from a point in time until now, both in seconds since 1970.
pub(super) fn since(point: u64) -> u64 {
    now().saturating_sub(point)
}

/// The current time, in seconds since 1970.
pub(super) fn now() -> u64 {
    unix_time(SystemTime::now())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned() {
        let mut table = Table::new(&["ID", "USER", "STATE"]);
        table.push(["7", "äöü@example.org", "update"].map(str::to_owned));
        table.push(["12", "-", ""].map(str::to_owned));
        assert_eq!(
            table.to_string(),
            "ID  USER             STATE\n7   äöü@example.org  update\n12  -\n"
        );
    }

    #[test]
    fn spans_have_two_units() {
        for (seconds, expected) in [
            (0, "0s"),
            (59, "59s"),
            (60, "1m"),
            (200, "3m 20s"),
            (3600, "1h"),
            (3661, "1h 1m"),
            (86_399, "23h 59m"),
            (40 * 86_400 + 3 * 3600 + 59, "40d 3h"),
        ] {
            assert_eq!(span(seconds), expected);
        }
    }
}
