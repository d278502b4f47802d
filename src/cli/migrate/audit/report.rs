//! The report: a line for each user and a total, or a JSON object.

use serde_json::{Map, Value, json};

use super::compare::Comparison;
use crate::cli::progress::Progress;
use crate::cli::{Failure, print};

/// Collects and prints what was found out.
#[derive(Debug)]
pub(super) struct Report {
    format: Format,
    /// How many users there are.
    all: usize,
    total: Comparison,
    same: usize,
    different: usize,
    failed: usize,
    users: Map<String, Value>,
    progress: Progress,
    /// Why there are users who were not compared.
    pub(super) incomplete: Option<Failure>,
}

/// What was found out about a user.
pub(super) struct Compared {
    pub(super) comparison: Comparison,
    /// What the guard says about the mail.
    pub(super) warning: Option<String>,
}

/// How the report is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Text,
    Json,
}

impl Report {
    pub(super) fn new(format: Format, all: usize) -> Self {
        Self {
            format,
            all,
            total: Comparison::default(),
            same: 0,
            different: 0,
            failed: 0,
            users: Map::new(),
            progress: Progress::new(all, "users"),
            incomplete: None,
        }
    }

    /// Adds a user whose listings have been compared.
    pub(super) fn compared(&mut self, user: &str, compared: &Compared) -> Result<(), Failure> {
        let Compared { comparison, warning } = compared;
        self.total.add(comparison);
        if comparison.differs() {
            self.different += 1;
        } else {
            self.same += 1;
        }
        let mut value = serde_json::to_value(comparison).unwrap_or_default();
        let mut text = comparison.to_string();
        if let Some(warning) = warning {
            text = format!("{text}; but {warning}");
            if let Value::Object(value) = &mut value {
                value.insert("warning".to_owned(), json!(warning));
            }
        }
        self.add(user, &text, || value)
    }

    /// Adds a user whose listings could not be compared.
    pub(super) fn failed(&mut self, user: &str, why: &str) -> Result<(), Failure> {
        self.failed += 1;
        self.add(user, why, || json!({ "error": why }))
    }

    fn add(
        &mut self,
        user: &str,
        text: &str,
        value: impl FnOnce() -> Value,
    ) -> Result<(), Failure> {
        match self.format {
            Format::Text => {
                self.progress.clear()?;
                print(format!("{user}: {text}\n"))?;
            }
            Format::Json => _ = self.users.insert(user.to_owned(), value()),
        }
        self.progress.show(self.same + self.different + self.failed)
    }

    /// Prints the total, and says what follows.
    ///
    /// # Errors
    /// The consequence: exit code 1 if a user differs, 2 if one could not be compared.
    pub(super) fn finish(mut self) -> Result<(), Failure> {
        self.print_total().map_err(|failure| failure.exit_with(COULD_NOT_ASK))?;
        let Self { all, different, failed, .. } = &self;
        if *failed > 0 {
            let what = format!("{failed} of {all} users could not be compared");
            return Err(Failure::new(what).exit_with(COULD_NOT_ASK));
        }
        if *different > 0 {
            let what = format!(
                "the listings of {different} of {all} users differ, so their clients would notice \
                 the move"
            );
            return Err(Failure::new(what).exit_with(DIFFERENT));
        }
        self.incomplete.take().map_or(Ok(()), |why| Err(why.exit_with(COULD_NOT_ASK)))
    }

    fn print_total(&self) -> Result<(), Failure> {
        let Self { all, total, same, different, failed, .. } = self;
        match self.format {
            Format::Text if *all == 1 => Ok(()),
            Format::Text => print(format!("all {all} users: {total}\n")),
            Format::Json => {
                let object = json!({
                    "users": self.users,
                    "total": total,
                    "users-same": same,
                    "users-different": different,
                    "users-failed": failed,
                });
                let text = serde_json::to_string_pretty(&object).map_err(Failure::of)?;
                print(text + "\n")
            }
        }
    }
}

/// Exit codes.
pub(super) const DIFFERENT: u8 = 1;
pub(super) const COULD_NOT_ASK: u8 = 2;
