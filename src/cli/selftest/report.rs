//! The outcomes, for people and as JSON.

use serde::Serialize;

use super::probe::Probe;
use super::rule::{Finding, Level, Rule};
use crate::cli::control::print_json;
use crate::cli::progress::Progress;
use crate::cli::{Failure, print};

/// How outcomes are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Text { verbose: bool },
    Json,
}

/// Prints the outcomes, and counts them.
pub(super) struct Report {
    format: Format,
    progress: Progress,
    counts: Counts,
}

#[derive(Clone, Debug, Default, Serialize)]
struct Counts {
    kept: usize,
    broken: usize,
    /// Those of `broken` that a server SHOULD obey, not MUST.
    broken_should: usize,
    not_offered: usize,
    not_tested: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Outcome {
    Kept,
    Broken,
    NotOffered,
    NotTested,
}

/// The line of a rule.
#[derive(Serialize)]
struct Line<'a> {
    id: &'a str,
    citation: &'a str,
    level: Level,
    rule: &'a str,
    outcome: Outcome,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
    exchange: Vec<String>,
}

/// The last line.
#[derive(Serialize)]
struct Summary<'a> {
    server: String,
    tls: super::Tls,
    user: Option<&'a str>,
    #[serde(flatten)]
    counts: &'a Counts,
}

impl Report {
    /// Prints what is tested.
    pub(super) fn begin(format: Format, probe: &Probe, rules: usize) -> Result<Self, Failure> {
        if let Format::Text { .. } = format {
            print(format!("{}, {}\n", probe.target, probe.target.tls))?;
        }
        let progress = Progress::new(rules, "rules");
        progress.show(0)?;
        Ok(Self { format, progress, counts: Counts::default() })
    }

    /// Prints the outcome of a rule.
    pub(super) fn outcome(
        &mut self,
        rule: &Rule,
        found: Result<(), Finding>,
        exchange: Vec<String>,
    ) -> Result<(), Failure> {
        let (outcome, why) = match found {
            Ok(()) => (Outcome::Kept, None),
            Err(Finding::Broken(why)) => (Outcome::Broken, Some(why)),
            Err(Finding::NotOffered(why)) => (Outcome::NotOffered, Some(why)),
            Err(Finding::NotTested(why)) => (Outcome::NotTested, Some(why)),
        };
        self.counts.add(outcome, rule.level);
        let Rule { id, citation, level, text, .. } = *rule;
        let line = Line { id, citation, level, rule: text, outcome, why, exchange };
        self.progress.clear()?;
        match self.format {
            Format::Text { verbose } => print(line.for_people(verbose))?,
            Format::Json => print_json(&line)?,
        }
        self.progress.show(self.counts.all())
    }

    /// Prints the summary.
    ///
    /// # Errors
    /// [`Failure`] when a rule is broken, or when the login was refused.
    pub(super) fn finish(&self, probe: &Probe) -> Result<(), Failure> {
        self.progress.clear()?;
        let counts = &self.counts;
        match self.format {
            Format::Text { .. } => {
                let Counts { kept, broken, not_offered, not_tested, .. } = counts;
                print(format!(
                    "{kept} kept, {broken} broken, {not_offered} not offered, \
                     {not_tested} not tested\n"
                ))?;
            }
            Format::Json => print_json(&Summary {
                server: probe.target.to_string(),
                tls: probe.target.tls,
                user: probe.login.as_ref().map(|login| login.user.as_str()),
                counts,
            })?,
        }
        if let (Some(why), Some(login)) = (probe.refusal(), &probe.login) {
            return Err(Failure::new(format!("the login of {} is refused: {why}", login.user)));
        }
        match (counts.broken, counts.broken_should) {
            (0, _) => Ok(()),
            (broken, should) => Err(Failure::new(format!(
                "{} breaks {broken} of {} rules, of which {should} are only recommendations (SHOULD)",
                probe.target,
                counts.all(),
            ))),
        }
    }
}

impl Counts {
    fn add(&mut self, outcome: Outcome, level: Level) {
        *match outcome {
            Outcome::Kept => &mut self.kept,
            Outcome::Broken => &mut self.broken,
            Outcome::NotOffered => &mut self.not_offered,
            Outcome::NotTested => &mut self.not_tested,
        } += 1;
        self.broken_should += usize::from(outcome == Outcome::Broken && level == Level::Should);
    }

    fn all(&self) -> usize {
        self.kept + self.broken + self.not_offered + self.not_tested
    }
}

impl Line<'_> {
    fn for_people(&self, verbose: bool) -> String {
        let outcome = match self.outcome {
            Outcome::Kept => "kept",
            Outcome::Broken => "BROKEN",
            Outcome::NotOffered => "not offered",
            Outcome::NotTested => "not tested",
        };
        let Self { id, citation, level, rule, .. } = self;
        let mut text = format!("{outcome:<11}  {id:<26}  {level:<6}  {rule}\n");
        if let Some(why) = &self.why {
            text += &format!("{INDENT}{why}\n");
        }
        if verbose || self.outcome == Outcome::Broken {
            text += &format!("{INDENT}{citation}\n");
            for line in &self.exchange {
                text += &format!("{INDENT}  {line}\n");
            }
        }
        text
    }
}

/// As wide as the first column.
const INDENT: &str = "             ";
