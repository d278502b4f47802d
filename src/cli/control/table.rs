//! Tables and spans of time, for people.

use std::time::SystemTime;

use crate::cli::{Failure, print};
use crate::control::unix_time;

/// Rows of the same number of cells, printed in aligned columns. They are printed a block at a time,
/// because a server may have a hundred thousand; a later block may have wider columns.
pub(in crate::cli) struct Table {
    rows: Vec<Vec<String>>,
    widths: Vec<usize>,
}

impl Table {
    /// A table with this head.
    pub(in crate::cli) fn new(head: &[&str]) -> Self {
        let head = head.iter().map(|&cell| cell.to_owned()).collect();
        Self { rows: vec![head], widths: Vec::new() }
    }

    /// Adds a row.
    pub(in crate::cli) fn push(&mut self, row: impl Into<Vec<String>>) {
        self.rows.push(row.into());
    }

    /// Adds a row, and prints the rows if they are many.
    pub(super) fn add(&mut self, row: impl Into<Vec<String>>) -> Result<(), Failure> {
        self.push(row);
        if self.rows.len() < BLOCK { Ok(()) } else { print(self.block()) }
    }

    /// There are no more rows.
    pub(super) fn end(mut self) -> Result<(), Failure> {
        print(self.block())
    }

    /// The rows that have not been printed.
    pub(in crate::cli) fn block(&mut self) -> String {
        let mut lines = String::new();
        for row in &self.rows {
            self.widths.resize(self.widths.len().max(row.len()), 0);
            for (width, cell) in self.widths.iter_mut().zip(row) {
                *width = cell.chars().count().max(*width);
            }
        }
        for row in self.rows.drain(..) {
            let cells = row.iter().zip(&self.widths).map(|(cell, width)| format!("{cell:width$}"));
            lines.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
            lines.push('\n');
        }
        lines
    }
}

/// The rows of a block.
const BLOCK: usize = 1000;

/// A span of time in its two largest units: `12s`, `3m 20s`, `2h 5m`, `40d 3h`.
pub(in crate::cli) fn span(seconds: u64) -> String {
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
pub(in crate::cli) fn since(point: u64) -> u64 {
    now().saturating_sub(point)
}

/// The time from now until a point in time, in seconds since 1970.
pub(super) fn until(point: u64) -> u64 {
    point.saturating_sub(now())
}

/// The time of day in UTC of a point in time, in milliseconds since 1970.
pub(super) fn time_of_day(point: u64) -> String {
    let (seconds, milliseconds) = (point / 1000 % 86_400, point % 1000);
    let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
    format!("{hours:02}:{minutes:02}:{:02}.{milliseconds:03}Z", seconds % 60)
}

/// The current time, in seconds since 1970.
pub(in crate::cli) fn now() -> u64 {
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
            table.block(),
            "ID  USER             STATE\n7   äöü@example.org  update\n12  -\n"
        );
        table.push(["1234", "a", "update"].map(str::to_owned));
        assert_eq!(table.block(), "1234  a                update\n");
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
