//! How messages get their unique-ids: the configuration, and the places of the lists of one user.

use std::path::{Path, PathBuf};

use super::super::super::Failure;
use super::super::path::{MailOwner, PathTemplate};
use crate::config::{self, Duplicates, NewMailOrder, UidlSource};
use crate::uidl::{FormatError, UidlFormat};

/// `[maildir]` of the configuration, as far as it is about unique-ids.
#[derive(Clone, Debug, Default)]
pub(in super::super) struct Settings {
    /// `None` if they are not set.
    sources: Option<Vec<UidlSource>>,
    pub(super) order: NewMailOrder,
    /// `None` if there are no settings.
    pub(super) format: Option<UidlFormat>,
    pub(super) reuse_xuidl: bool,
    pub(super) duplicates: Duplicates,
    /// The IMAP keyword of messages that are not shown.
    pub(super) deleted_flag: Option<String>,
    control: Option<PathTemplate>,
    map: Option<PathTemplate>,
}

impl Settings {
    /// Takes the settings of the configuration.
    ///
    /// # Errors
    /// When `dovecot.format` is invalid.
    pub(in super::super) fn new(maildir: &config::Maildir) -> Result<Self, FormatError> {
        let config::Maildir { uidl, order, dovecot, map, .. } = maildir;
        let template = |path: &Option<PathBuf>| path.clone().map(PathTemplate::new);
        Ok(Self {
            sources: uidl.clone(),
            order: *order,
            format: Some(UidlFormat::parse(&dovecot.format)?),
            reuse_xuidl: dovecot.reuse_xuidl,
            duplicates: dovecot.duplicates,
            deleted_flag: dovecot.deleted_flag.clone(),
            control: template(&dovecot.control),
            map: template(map),
        })
    }

    /// Whether the listing has all that clients see, unless there is `restante.uids`.
    pub(in super::super) fn are_plain(&self) -> bool {
        !self.have_other_sources() && self.deleted_flag.is_none()
    }

    /// Whether the operator has set the sources.
    pub(super) fn are_set(&self) -> bool {
        self.sources.is_some()
    }

    /// Whether there are other sources than the names of the files.
    pub(super) fn have_other_sources(&self) -> bool {
        self.sources() != [UidlSource::Name]
    }

    /// The sources, the first one first.
    pub(super) fn sources(&self) -> &[UidlSource] {
        self.sources.as_deref().unwrap_or(&[UidlSource::Name])
    }

    /// The sources as they are written in the configuration.
    pub(super) fn origin(&self) -> String {
        self.sources().iter().map(|source| source.word()).collect::<Vec<_>>().join(",")
    }

    /// The places of the lists of a user.
    ///
    /// # Errors
    /// When a template cannot be filled in.
    pub(in super::super) fn places(&self, owner: MailOwner<'_>) -> Result<Places, Failure> {
        let fill = |template: &Option<PathTemplate>, key| {
            let Some(template) = template else { return Ok(None) };
            let root = template.root().map(Path::to_owned);
            Ok(Some(Place { path: template.fill_in(owner)?, root, key }))
        };
        Ok(Places {
            control: fill(&self.control, "maildir.dovecot.control")?,
            map: fill(&self.map, "maildir.map.path")?,
        })
    }
}

/// Where the lists of a user are.
#[derive(Clone, Debug, Default)]
pub(in super::super) struct Places {
    /// The directory of Dovecot's list; the Maildir by default.
    pub(super) control: Option<Place>,
    /// The operator's own list.
    pub(super) map: Option<Place>,
}

impl Places {
    /// The directory of Dovecot's list, if it is not the Maildir.
    pub(in super::super) fn control(&self) -> Option<&Path> {
        self.control.as_ref().map(|control| control.path.as_path())
    }
}

/// A file or directory of a user, outside the Maildir.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) path: PathBuf,
    /// The part of the path that all users share, if there is one. It must exist.
    pub(super) root: Option<PathBuf>,
    /// The setting that says it.
    pub(super) key: &'static str,
}
