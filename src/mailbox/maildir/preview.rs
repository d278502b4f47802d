//! What a login would show, for the operator; and the confirmation that it may be shown.
//!
//! Both block, and lock the Maildir as a login does.

use std::path::{Path, PathBuf};

use super::super::OpenError;
use super::MaildirStore;
use super::assign::Purpose;
use super::guard::Objection;
use super::open_maildrop::{OpenMaildrop, Terms};
use super::time_limit::TimeLimit;
use crate::config::{Guard, GuardMode};
use crate::protocol::Username;

/// What a login would show.
#[derive(Clone, Debug)]
pub struct Preview {
    /// The Maildir.
    pub path: PathBuf,
    /// The messages in the order in which clients see them.
    pub messages: Vec<PreviewedMessage>,
    /// Why the guard would refuse the login, or warn.
    pub objection: Option<Objection>,
}

/// A message as a login would show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreviewedMessage {
    /// Its unique-id.
    pub unique_id: String,
    /// The name of its file.
    pub name: Vec<u8>,
    /// Its octets as RETR sends them.
    pub octets: u64,
}

impl MaildirStore {
    /// What a login of a user would show, whose home directory and mail are where a credential store
    /// says. Writes nothing.
    ///
    /// # Errors
    /// Those of a login, but for objections of the guard.
    pub fn preview(
        &self,
        user: &Username,
        home: Option<&Path>,
        mail: Option<&Path>,
    ) -> Result<Preview, OpenError> {
        let terms = self.terms_of(user, home, mail)?;
        let (maildir, taken, assignment) = terms.assign(Purpose::Preview, &TimeLimit::bounded())?;
        let objection = assignment.objection;
        let opened = OpenMaildrop::new(maildir, taken, assignment, terms.pools);
        let messages = opened.messages().map(|(at, unique_id)| {
            let entry = opened.listing.entry(at);
            let (unique_id, name) = (unique_id.as_str().to_owned(), entry.name.to_vec());
            PreviewedMessage { unique_id, name, octets: entry.sizes.octets }
        });
        Ok(Preview { messages: messages.collect(), path: terms.path, objection })
    }

    /// Shows the mail of a user whatever the guard says, and remembers it, so that later logins
    /// find no change. Returns the number of messages.
    ///
    /// # Errors
    /// Those of a login, but for objections of the guard.
    pub fn accept(
        &self,
        user: &Username,
        home: Option<&Path>,
        mail: Option<&Path>,
    ) -> Result<u32, OpenError> {
        let terms = self.terms_of(user, home, mail)?;
        let guard = Guard { mode: GuardMode::Off, ..terms.guard };
        let terms = Terms { guard, ..terms };
        let (maildir, taken, assignment) = terms.assign(Purpose::Show, &TimeLimit::bounded())?;
        let opened = OpenMaildrop::new(maildir, taken, assignment, terms.pools);
        opened.remember().map_err(OpenError::Unavailable)?;
        Ok(opened.count())
    }

    fn terms_of(
        &self,
        user: &Username,
        home: Option<&Path>,
        mail: Option<&Path>,
    ) -> Result<Terms, OpenError> {
        let path = self.template.path(user, home, mail).map_err(OpenError::Unavailable)?;
        self.terms(user, home, path).map_err(OpenError::Unavailable)
    }
}
