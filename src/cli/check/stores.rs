//! Credential stores: files with their users, and stores that are not files.

use std::path::Path;

use super::Examination;
use super::report::{Severity, counted_users};
use crate::config::{Credentials, Fault, FileSection, Place};
use crate::credentials::{self, Attributes, Diagnostic, OpenError, edit};
use crate::password::WeakSchemes;
use crate::protocol::Username;
use crate::server::stores::{self, Extent, Probed};

impl Examination<'_> {
    /// Checks the credential files. Returns all users whose attributes are valid.
    pub(super) fn users(&mut self) -> Vec<(Username, Attributes)> {
        let weak = WeakSchemes::from(self.config.auth.weak_schemes);
        let mut users = Vec::new();
        for (nth, store) in self.config.credentials.iter().enumerate() {
            let Some(Credentials::File(FileSection { path, .. })) = store else { continue };
            let key = format!("credentials[{nth}].path");
            let found = credentials::inspect(path, weak);
            for error in &found.errors {
                self.add_diagnostic(Severity::Error, &key, path, error);
            }
            for warning in &found.warnings {
                self.add_diagnostic(Severity::Warning, &key, path, warning);
            }
            self.report.does("users", format!("{} in {}", found.users, path.display()));
            let listed = edit::list(path, weak).into_iter().flatten();
            users.extend(listed.filter_map(|user| Some((user.name, user.attributes?))));
        }
        users
    }

    /// Warns about users without a domain: with a default domain, their names cannot occur.
    pub(super) fn bare_names(&mut self, users: &[(Username, Attributes)]) {
        let Some(domain) = &self.config.auth.default_domain else { return };
        let mut bare = users.iter().map(|(user, _)| user).filter(|user| user.domain().is_none());
        let Some(first) = bare.next() else { return };
        let users = counted_users(bare.count() + 1, first);
        self.warn(
            "auth.default-domain",
            format!(
                "{users} without a domain cannot log in, since a client that logs in as {first} is \
                 {first}@{domain}; rename them in the credential file"
            ),
        );
    }

    /// Adds a problem of a line at that line, and one of the whole file at the key that names it.
    fn add_diagnostic(
        &mut self,
        severity: Severity,
        key: &str,
        path: &Path,
        diagnostic: &Diagnostic,
    ) {
        match diagnostic {
            Diagnostic::Line(line, problem) => {
                let line = usize::try_from(*line).unwrap_or(usize::MAX);
                let place = Some(Place { line, column: 1 });
                let fault = Fault { place, key: String::new(), what: problem.to_string() };
                self.report.add(severity, path, fault);
            }
            Diagnostic::File(problem) => {
                self.add(severity, key, format!("{} {problem}", path.display()));
            }
        }
    }

    /// Opens the stores that are not files and, unless offline, queries them.
    pub(super) fn stores(&mut self, extent: Extent) {
        let sections = self.config.credentials.iter().enumerate();
        let others = sections.filter_map(|(nth, section)| Some((nth, section.as_ref()?)));
        let others = others.filter(|(nth, section)| {
            // An unreadable file of a store has been reported already.
            !matches!(section, Credentials::File(_))
                && !self.report.has_error_at(&format!("credentials[{nth}]"))
        });
        let (places, asked): (Vec<_>, Vec<_>) =
            others.map(|(nth, section)| (nth, section.clone())).unzip();
        if asked.is_empty() {
            return;
        }
        let outcomes = match stores::probe(asked, self.config.auth.weak_schemes.into(), extent) {
            Ok(outcomes) => outcomes,
            Err(error) => return self.error("credentials", error),
        };
        for (nth, outcome) in places.into_iter().zip(outcomes) {
            match outcome {
                Probed::Opened => {}
                Probed::Reached(what) => self.report.does("store", what),
                Probed::NoAnswer(why) => {
                    self.add(Severity::NoAnswer, &format!("credentials[{nth}].kind"), why);
                }
                Probed::Unusable(OpenError { key, why }) => {
                    self.error(&format!("credentials[{nth}].{key}"), why.to_string());
                }
            }
        }
    }
}
