//! The report of `restante check`, as text and as JSON.

use std::cmp::Reverse;
use std::fmt::Display;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anstream::AutoStream;
use anstyle::{AnsiColor, Style};
use serde_json::{Value, json};

use crate::config::{Fault, Place};
use crate::telemetry::Priority;

/// The diagnostics and the summary of a configuration.
#[derive(Debug)]
pub(super) struct Report {
    /// The configuration.
    file: PathBuf,
    diagnostics: Vec<Diagnostic>,
    /// What the server would do: the subject, and the description.
    does: Vec<(&'static str, String)>,
}

/// An error or a warning.
#[derive(Clone, Debug)]
pub(super) struct Diagnostic {
    pub(super) severity: Severity,
    /// The file that it is about.
    pub(super) file: PathBuf,
    pub(super) fault: Fault,
}

/// The consequence of a diagnostic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Severity {
    /// The server does not start.
    Error,
    /// The server starts, but a store does not answer.
    NoAnswer,
    /// The server serves all the same.
    Warning,
}

impl Report {
    pub(super) fn new(file: &Path) -> Self {
        Self { file: file.to_owned(), diagnostics: Vec::new(), does: Vec::new() }
    }

    pub(super) fn add(&mut self, severity: Severity, file: &Path, fault: Fault) {
        self.diagnostics.push(Diagnostic { severity, file: file.to_owned(), fault });
    }

    /// Adds a line to the summary.
    pub(super) fn does(&mut self, about: &'static str, what: impl Into<String>) {
        self.does.push((about, what.into()));
    }

    /// Whether an error keeps the server from starting.
    pub(super) fn has_errors(&self) -> bool {
        self.count(|severity| severity == Severity::Error) > 0
    }

    /// Whether there is an error at this key, or in its section.
    pub(super) fn has_error_at(&self, key: &str) -> bool {
        let mut errors = self.diagnostics.iter().filter(|it| it.severity == Severity::Error);
        errors.any(|it| it.fault.is_in(key))
    }

    /// All diagnostics: errors before warnings, the configuration before other files, each in the
    /// order of its lines.
    pub(super) fn diagnostics(&self) -> Vec<&Diagnostic> {
        let mut diagnostics: Vec<_> = self.diagnostics.iter().collect();
        diagnostics.sort_by_key(|Diagnostic { severity, file, fault }| {
            let is_warning = *severity == Severity::Warning;
            (is_warning, Reverse(*file == self.file), file, fault.place)
        });
        diagnostics
    }

    /// What the server would do, as text.
    pub(super) fn summary(&self) -> String {
        self.does.iter().map(|(about, what)| format!("  {about:<12} {what}\n")).collect()
    }

    /// The consequence of the errors, if there are any.
    pub(super) fn consequence(&self) -> Option<String> {
        let unanswered = self.count(|severity| severity == Severity::NoAnswer);
        let outcome = match (self.has_errors(), unanswered) {
            (true, _) => "the server would not start",
            (false, 0) => return None,
            (false, _) => "the server would start, but fail logins that need the store",
        };
        let errors = counted(self.count(|severity| severity != Severity::Warning), "error");
        Some(format!("{} has {errors}; {outcome}", self.file.display()))
    }

    fn verdict(&self) -> String {
        let file = self.file.display();
        match self.count(|severity| severity == Severity::Warning) {
            0 => format!("{file} is fine"),
            count => format!("{file} can be used, with {}", counted(count, "warning")),
        }
    }

    fn count(&self, is_meant: impl Fn(Severity) -> bool) -> usize {
        self.diagnostics.iter().filter(|diagnostic| is_meant(diagnostic.severity)).count()
    }

    /// As text: diagnostics on standard error, the summary on standard output.
    pub(super) fn print(&self, quiet: bool) -> io::Result<()> {
        let mut out = AutoStream::auto(io::stderr()).lock();
        for diagnostic in self.diagnostics() {
            let (style, word, priority) = match diagnostic.severity {
                Severity::Error | Severity::NoAnswer => (ERROR, "error", Priority::Error),
                Severity::Warning if quiet => continue,
                Severity::Warning => (WARNING, "warning", Priority::Warning),
            };
            let (mark, line) = (priority.mark(), diagnostic.fault.line(&diagnostic.file));
            writeln!(out, "{mark}{style}{word}:{style:#} {line}")?;
        }
        if quiet || self.consequence().is_some() {
            return Ok(());
        }
        write!(io::stdout(), "{}\n{}", self.verdict(), self.summary())
    }

    /// As JSON, on standard output.
    pub(super) fn print_json(&self) -> io::Result<()> {
        let findings: Vec<_> = self.diagnostics().into_iter().map(Diagnostic::json).collect();
        let does = self.does.iter();
        let summary: Vec<_> =
            does.map(|(about, what)| json!({ "about": about, "what": what })).collect();
        let whole = json!({
            "file": self.file.to_string_lossy(),
            "errors": self.count(|severity| severity != Severity::Warning),
            "warnings": self.count(|severity| severity == Severity::Warning),
            "starts": !self.has_errors(),
            "findings": findings,
            "summary": summary,
        });
        writeln!(io::stdout(), "{whole:#}")
    }
}

impl Diagnostic {
    fn json(&self) -> Value {
        let Fault { place, key, what } = &self.fault;
        json!({
            "severity": match self.severity {
                Severity::Error | Severity::NoAnswer => "error",
                Severity::Warning => "warning",
            },
            "file": self.file.to_string_lossy(),
            "line": place.map(|Place { line, .. }| line),
            "column": place.map(|Place { column, .. }| column),
            "key": Some(key).filter(|key| !key.is_empty()),
            "message": what,
        })
    }
}

/// `1 user (fred)`, `2 users (such as fred)`.
pub(super) fn counted_users(count: usize, example: impl Display) -> String {
    let such_as = if count == 1 { "" } else { "such as " };
    format!("{} ({such_as}{example})", counted(count, "user"))
}

/// `1 error`, `2 errors`.
pub(super) fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

const ERROR: Style = AnsiColor::Red.on_default().bold();
const WARNING: Style = AnsiColor::Yellow.on_default().bold();
