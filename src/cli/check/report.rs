//! What `restante check` has to say, and the forms in which it says it.

use std::cmp::Reverse;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anstream::AutoStream;
use anstyle::{AnsiColor, Style};
use serde_json::{Value, json};

use crate::config::{Fault, Place};
use crate::telemetry::Priority;

/// What there is to say about a configuration.
#[derive(Debug)]
pub(super) struct Report {
    /// The configuration.
    file: PathBuf,
    findings: Vec<Finding>,
    /// What the server would do: what about, and what.
    does: Vec<(&'static str, String)>,
}

/// One thing that is wrong, or that needs a look.
#[derive(Clone, Debug)]
pub(super) struct Finding {
    pub(super) severity: Severity,
    /// The file that it stands in.
    pub(super) file: PathBuf,
    pub(super) fault: Fault,
}

/// What comes of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Severity {
    /// The server does not start.
    Error,
    /// The server starts, and a store gives it no answer.
    Silence,
    /// The server serves in spite of it.
    Warning,
}

impl Report {
    pub(super) fn new(file: &Path) -> Self {
        Self { file: file.to_owned(), findings: Vec::new(), does: Vec::new() }
    }

    pub(super) fn add(&mut self, severity: Severity, file: &Path, fault: Fault) {
        self.findings.push(Finding { severity, file: file.to_owned(), fault });
    }

    /// Says what the server would do.
    pub(super) fn does(&mut self, about: &'static str, what: impl Into<String>) {
        self.does.push((about, what.into()));
    }

    /// Whether something keeps the server from starting.
    pub(super) fn has_errors(&self) -> bool {
        self.count(|severity| severity == Severity::Error) > 0
    }

    /// Whether an error has been found at this key, or within its section.
    pub(super) fn has_error_at(&self, key: &str) -> bool {
        self.findings
            .iter()
            .any(|Finding { severity, fault, .. }| *severity == Severity::Error && fault.is_in(key))
    }

    /// Everything that was found: errors before warnings, the configuration before other files,
    /// each in the order of its lines.
    pub(super) fn findings(&self) -> Vec<&Finding> {
        let mut findings: Vec<_> = self.findings.iter().collect();
        findings.sort_by_key(|Finding { severity, file, fault }| {
            let is_warning = *severity == Severity::Warning;
            (is_warning, Reverse(*file == self.file), file, fault.place)
        });
        findings
    }

    /// What the server would do, a line each.
    pub(super) fn summary(&self) -> String {
        self.does.iter().map(|(about, what)| format!("  {about:<12} {what}\n")).collect()
    }

    /// What the errors come to, if there are any.
    pub(super) fn consequence(&self) -> Option<String> {
        let silent = self.count(|severity| severity == Severity::Silence);
        let outcome = match (self.has_errors(), silent) {
            (true, _) => "the server would not start",
            (false, 0) => return None,
            (false, _) => "the server would start, and refuse logins that need the store",
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
        self.findings.iter().filter(|finding| is_meant(finding.severity)).count()
    }

    /// For people: what was found on standard error, the summary on standard output.
    pub(super) fn print(&self, quiet: bool) -> io::Result<()> {
        let mut out = AutoStream::auto(io::stderr()).lock();
        for finding in self.findings() {
            let (style, word, priority) = match finding.severity {
                Severity::Error | Severity::Silence => (ERROR, "error", Priority::Error),
                Severity::Warning if quiet => continue,
                Severity::Warning => (WARNING, "warning", Priority::Warning),
            };
            let (mark, line) = (priority.mark(), finding.fault.line(&finding.file));
            writeln!(out, "{mark}{style}{word}:{style:#} {line}")?;
        }
        if quiet || self.consequence().is_some() {
            return Ok(());
        }
        write!(io::stdout(), "{}\n{}", self.verdict(), self.summary())
    }

    /// For programs: everything on standard output.
    pub(super) fn print_json(&self) -> io::Result<()> {
        let findings: Vec<_> = self.findings().into_iter().map(Finding::json).collect();
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

impl Finding {
    fn json(&self) -> Value {
        let Fault { place, key, what } = &self.fault;
        json!({
            "severity": match self.severity {
                Severity::Error | Severity::Silence => "error",
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

/// `1 error`, `2 errors`.
pub(super) fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

const ERROR: Style = AnsiColor::Red.on_default().bold();
const WARNING: Style = AnsiColor::Yellow.on_default().bold();
