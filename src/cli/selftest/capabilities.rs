//! What a server says that it can do (RFC 2449 §5).

use super::dialogue::Dialogue;
use super::rule::Finding;

/// The lines of a reply to CAPA; none if it is refused.
#[derive(Debug)]
pub(super) struct Capabilities(Option<Vec<String>>);

impl Capabilities {
    /// Asks for them.
    pub(super) fn ask(dialogue: &mut Dialogue) -> Result<Self, Finding> {
        let lines = dialogue.listing("CAPA")?;
        let text = |line: Vec<u8>| String::from_utf8_lossy(&line).into_owned();
        Ok(Self(lines.map(|lines| lines.into_iter().map(text).collect())))
    }

    /// The lines, or that there are none because CAPA is not offered.
    pub(super) fn lines(&self) -> Result<&[String], Finding> {
        self.0.as_deref().ok_or_else(|| Finding::not_offered("CAPA is refused"))
    }

    /// The parameters of a capability.
    pub(super) fn parameters(&self, tag: &str) -> Option<Vec<&str>> {
        let mut lines = self.0.iter().flatten().map(|line| line.split(' '));
        lines.find_map(|mut words| {
            let is_it = words.next().is_some_and(|first| first.eq_ignore_ascii_case(tag));
            is_it.then(|| words.collect())
        })
    }

    /// Whether it is listed.
    pub(super) fn has(&self, tag: &str) -> bool {
        self.parameters(tag).is_some()
    }

    /// Whether it is listed; otherwise it cannot be tested.
    pub(super) fn need(&self, tag: &str) -> Result<(), Finding> {
        self.lines()?;
        match self.has(tag) {
            true => Ok(()),
            false => Err(Finding::not_offered(format!("CAPA does not list {tag}"))),
        }
    }

    /// The mechanisms of SASL, in capitals.
    pub(super) fn mechanisms(&self) -> impl Iterator<Item = String> {
        self.parameters("SASL").into_iter().flatten().map(str::to_ascii_uppercase)
    }
}
