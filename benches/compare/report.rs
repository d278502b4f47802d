//! The table, and the same as JSON.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::rows::{Figure, Goal, Line, Row, Sample};
use crate::server::Product;

/// All samples of a row.
#[derive(Default)]
pub(crate) struct Measured {
    pub(crate) dovecot: Vec<Sample>,
    pub(crate) restante: Vec<Sample>,
    pub(crate) reference: Vec<Sample>,
}

impl Measured {
    /// The samples of a server.
    pub(crate) const fn of(&mut self, product: Product) -> &mut Vec<Sample> {
        match product {
            Product::Dovecot => &mut self.dovecot,
            Product::Restante => &mut self.restante,
        }
    }
}

/// A line of the table with its medians.
struct Result<'a> {
    row: &'a Row,
    line: &'a Line,
    dovecot: Option<f64>,
    restante: Option<f64>,
    reference: Option<f64>,
    beside: u32,
}

impl<'a> Result<'a> {
    fn new(row: &'a Row, line: &'a Line, measured: &Measured) -> Self {
        let median = |samples| Some(median(samples, line.figure)? * line.unit.scale);
        Self {
            row,
            line,
            dovecot: median(&measured.dovecot),
            restante: median(&measured.restante),
            reference: median(&measured.reference),
            beside: measured.restante.first().map_or(0, |sample| sample.beside),
        }
    }

    fn title(&self) -> String {
        match self.beside {
            0 => self.line.title.to_owned(),
            sessions => format!("{} ({sessions} of them)", self.line.title),
        }
    }

    fn ratio(&self) -> Option<f64> {
        Some(self.restante? / self.dovecot?)
    }

    fn goal(&self) -> String {
        match self.line.goal {
            Goal::Part(part) => format!("≤ 1/{part}"),
            Goal::PartAndBelow(part) => format!("≤ 1/{part}, < reference"),
            Goal::Times(times) => format!("≤ {times} × reference"),
            Goal::AtMost(limit) => format!("≤ {limit} {}", self.line.unit.name),
            Goal::Open => "—".to_owned(),
        }
    }

    /// Whether the goal is reached, if that is known.
    fn is_reached(&self) -> Option<bool> {
        let restante = self.restante?;
        match self.line.goal {
            Goal::Part(part) => Some(self.ratio()? <= 1.0 / part),
            Goal::PartAndBelow(part) => {
                Some(self.ratio()? <= 1.0 / part && restante < self.reference?)
            }
            Goal::Times(times) => Some(restante <= times * self.reference?),
            Goal::AtMost(limit) => Some(restante <= limit),
            Goal::Open => None,
        }
    }
}

/// The median.
pub(crate) fn median(samples: &[Sample], figure: Figure) -> Option<f64> {
    let mut figures: Vec<f64> = samples.iter().map(|sample| sample.figure(figure)).collect();
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied()
}

/// The table in Markdown.
pub(crate) fn table(rows: &[(Row, Measured)]) -> String {
    let head = ["row", "work", "unit", "Dovecot", "Restante", "ratio", "reference", "goal", ""];
    let mut lines = vec![head.map(str::to_owned)];
    for result in results(rows) {
        let outcome = match result.is_reached() {
            Some(true) => "reached",
            Some(false) => "NOT REACHED",
            None => "",
        };
        lines.push([
            result.row.name.to_owned(),
            result.title(),
            result.line.unit.name.to_owned(),
            figure(result.dovecot),
            figure(result.restante),
            result.ratio().map_or_else(|| "—".to_owned(), |ratio| format!("1/{:.2}", 1.0 / ratio)),
            figure(result.reference),
            result.goal(),
            outcome.to_owned(),
        ]);
    }
    let mut widths = [0; 9];
    for line in &lines {
        for (width, cell) in widths.iter_mut().zip(line) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    for (number, line) in lines.iter().enumerate() {
        for (cell, &width) in line.iter().zip(&widths) {
            // Writing to a String cannot fail.
            write!(text, "| {cell:width$} ").ok();
        }
        text.push_str("|\n");
        if number == 0 {
            for width in widths {
                write!(text, "|{}", "-".repeat(width + 2)).ok();
            }
            text.push_str("|\n");
        }
    }
    text
}

/// Three significant digits.
fn figure(value: Option<f64>) -> String {
    match value {
        None => "—".to_owned(),
        Some(value) if value.abs() >= 100.0 => format!("{value:.0}"),
        Some(value) if value.abs() >= 10.0 => format!("{value:.1}"),
        Some(value) if value.abs() >= 1.0 => format!("{value:.2}"),
        Some(value) => format!("{value:.3}"),
    }
}

/// Medians and every single sample.
pub(crate) fn json(rows: &[(Row, Measured)], facts: &Value) -> Value {
    let samples = |line: &Line, samples: &[Sample]| -> Vec<f64> {
        samples.iter().map(|sample| sample.figure(line.figure) * line.unit.scale).collect()
    };
    let lines: Vec<Value> = rows
        .iter()
        .flat_map(|(row, measured)| row.lines.iter().map(move |line| (row, line, measured)))
        .map(|(row, line, measured)| {
            let result = Result::new(row, line, measured);
            json!({
                "row": row.name,
                "work": result.title(),
                "unit": line.unit.name,
                "dovecot": result.dovecot,
                "restante": result.restante,
                "reference": result.reference,
                "ratio": result.ratio(),
                "goal": result.goal(),
                "reached": result.is_reached(),
                "samples": {
                    "dovecot": samples(line, &measured.dovecot),
                    "restante": samples(line, &measured.restante),
                    "reference": samples(line, &measured.reference),
                },
            })
        })
        .collect();
    json!({ "facts": facts, "lines": lines })
}

fn results(rows: &[(Row, Measured)]) -> impl Iterator<Item = Result<'_>> {
    rows.iter().flat_map(|(row, measured)| {
        row.lines.iter().map(move |line| Result::new(row, line, measured))
    })
}
