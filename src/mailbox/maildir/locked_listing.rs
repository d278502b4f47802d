//! What a login to a Maildir lists, for commands that need it without a session; and the
//! confirmation that clients may see it.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{AtFlags, CWD};
use rustix::io::Errno;

use super::super::{OpenError, Position};
use super::MaildirStore;
use super::assign::{ListComparison, Places, Purpose, Settings, courier_list, dovecot_list};
use super::create::{Missing, could_create};
use super::entry::{Entry, Form, Sizes};
use super::folder::OpenFile;
use super::folders::Folders;
use super::guard::Objection;
use super::header;
use super::lock::Root;
use super::name;
use super::open_maildrop::{OpenMaildrop, Terms};
use super::path::MailOwner;
use super::system::statat;
use super::time_limit::TimeLimit;
use crate::config::{Guard, GuardMode, UidlSource};
use crate::uidl::{CourierList, DovecotList};

/// The listing of a Maildir, which is locked until this is dropped.
#[derive(Debug)]
pub struct LockedListing {
    opened: OpenMaildrop,
    settings: Arc<Settings>,
    places: Places,
    objection: Option<Objection>,
    removed_ids: Vec<Vec<u8>>,
    sources: Option<HashMap<Position, UidlSource>>,
    unreadable: Vec<Box<[u8]>>,
}

/// A message as a login lists it.
#[derive(Clone, Copy, Debug)]
pub struct ListedMessage<'a> {
    /// The unique-id.
    pub id: &'a str,
    /// Where the unique-id comes from; `None` if it is in `restante.uids`.
    pub source: Option<UidlSource>,
    /// The name of its file.
    pub file_name: &'a [u8],
    /// The same without flags.
    pub base_name: &'a [u8],
    /// The octets in LIST.
    pub octets: u64,
    /// Whether the name has another size (`,S=`) than the file. Dovecot does not serve the message.
    pub has_wrong_size: bool,
}

impl LockedListing {
    fn of(terms: Terms) -> Result<Self, OpenError> {
        let (maildir, taken, mut assignment) =
            terms.assign(Purpose::Preview, &TimeLimit::bounded())?;
        let objection = assignment.objection.take();
        let removed_ids = std::mem::take(&mut assignment.removed_ids);
        let sources = assignment.sources.take();
        let unreadable = taken.left_out.iter().map(|left_out| left_out.unique.clone()).collect();
        let opened = OpenMaildrop::new(maildir, taken, assignment, terms.pools);
        let Terms { settings, places, .. } = terms;
        Ok(Self { opened, settings, places, objection, removed_ids, sources, unreadable })
    }

    /// The path of the Maildir.
    pub fn path(&self) -> &Path {
        self.root().path()
    }

    fn root(&self) -> &Root {
        self.opened.maildir.root()
    }

    /// The messages in the order of the listing.
    pub fn messages(&self) -> impl Iterator<Item = ListedMessage<'_>> {
        self.opened.messages().map(|(at, unique_id)| {
            let Entry { name: file_name, sizes, .. } = self.opened.listing.entry(at);
            let Sizes { physical, octets, form } = sizes;
            let separator = self.root().separator();
            let in_name = name::size(file_name, separator);
            // The name of a compressed message has the size of what is compressed.
            let has_wrong_size =
                form == Form::Plain && in_name.is_some_and(|size| size != physical);
            let source = match &self.sources {
                Some(of_new) => of_new.get(&at).copied(),
                None => Some(UidlSource::Name),
            };
            let (id, base_name) = (unique_id.as_str(), separator.before_flags(file_name));
            ListedMessage { id, source, file_name, base_name, octets, has_wrong_size }
        })
    }

    /// Compares the messages with the lists of other servers that the configuration names.
    ///
    /// # Errors
    /// Those of a login that has to take the unique-ids over.
    pub fn compare_lists(&self) -> Result<ListComparison, OpenError> {
        let Self { opened, settings, places, .. } = self;
        let compared = Folders::open(&opened.maildir).and_then(|folders| {
            let listing = (&folders, &opened.listing);
            ListComparison::of(listing, settings, places, opened.messages())
        });
        compared.map_err(OpenError::Unavailable)
    }

    /// The directory of Dovecot's list of this Maildir.
    pub fn dovecot_directory(&self) -> &Path {
        self.places.control().unwrap_or_else(|| self.path())
    }

    /// Dovecot's list of this Maildir, with the records of all files.
    ///
    /// # Errors
    /// When it cannot be used.
    pub fn dovecot_list(&self) -> Result<Option<DovecotList>, OpenError> {
        dovecot_list(self.root(), &self.places).map_err(OpenError::Unavailable)
    }

    /// Courier's list of this Maildir, without its records.
    ///
    /// # Errors
    /// When it cannot be used.
    pub fn courier_list(&self) -> Result<Option<CourierList>, OpenError> {
        courier_list(self.root()).map_err(OpenError::Unavailable)
    }

    /// The start of each message, with its header if that is not very long; `None` for one that
    /// cannot be read.
    ///
    /// # Errors
    /// When the folders cannot be opened.
    pub fn heads(&self) -> Result<impl Iterator<Item = Option<Vec<u8>>>, OpenError> {
        let folders = Folders::open(&self.opened.maildir).map_err(OpenError::Unavailable)?;
        Ok(self.opened.messages().map(move |(at, _)| {
            let entry = self.opened.listing.entry(at);
            let OpenFile { file, .. } = folders.open_file(entry.folder, entry.name).ok()?;
            let mut head = vec![0; header::LONGEST];
            let length = header::read(&file, &mut head).ok()??;
            head.truncate(length);
            Some(head)
        }))
    }

    /// The unique-ids of messages that have been removed, and that clients may still remember.
    pub fn removed_ids(&self) -> impl Iterator<Item = &[u8]> {
        self.removed_ids.iter().map(Vec::as_slice)
    }

    /// The names of messages that are left out because they cannot be read.
    pub fn unreadable(&self) -> impl Iterator<Item = &[u8]> {
        self.unreadable.iter().map(AsRef::as_ref)
    }

    /// Why the guard would refuse a login, or warn.
    pub fn objection(&self) -> Option<Objection> {
        self.objection
    }
}

/// For commands. They block, and lock the Maildir as a login does.
impl MaildirStore {
    /// What a login of a user would list. Writes nothing. `None` if there is no Maildir yet, and the
    /// login would make it.
    ///
    /// # Errors
    /// Those of a login, but for objections of the guard.
    pub fn preview(&self, owner: MailOwner<'_>) -> Result<Option<LockedListing>, OpenError> {
        self.with_terms(owner, LockedListing::of)
    }

    /// Takes the listing of a user whatever the guard says, and writes the index and
    /// `restante.uids`, so that later logins find no change. Returns the number of messages; `None`
    /// if there is no Maildir yet, and a login would make it.
    ///
    /// # Errors
    /// Those of a login, but for objections of the guard.
    pub fn accept(&self, owner: MailOwner<'_>) -> Result<Option<u32>, OpenError> {
        self.with_terms(owner, |terms| {
            let guard = Guard { mode: GuardMode::Off, ..terms.guard };
            remember(&Terms { guard, ..terms })
        })
    }

    /// Takes the listing of a user as a login does, and writes the index and `restante.uids`.
    /// Returns the number of messages; `None` if there is no Maildir yet, and a login would make it.
    ///
    /// # Errors
    /// Those of a login.
    pub fn apply(&self, owner: MailOwner<'_>) -> Result<Option<u32>, OpenError> {
        self.with_terms(owner, |terms| remember(&terms))
    }

    fn with_terms<T>(
        &self,
        owner: MailOwner<'_>,
        open: impl FnOnce(Terms) -> Result<T, OpenError>,
    ) -> Result<Option<T>, OpenError> {
        let path = self.template.maildir(owner).map_err(OpenError::Unavailable)?;
        if self.would_make(owner, &path) {
            return Ok(None);
        }
        open(self.terms(owner, path).map_err(OpenError::Unavailable)?).map(Some)
    }

    /// Whether a login of a user would make the Maildir at `path`.
    fn would_make(&self, owner: MailOwner<'_>, path: &Path) -> bool {
        let is_missing =
            || matches!(statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW), Err(Errno::NOENT));
        self.missing == Missing::Make
            && is_missing()
            && could_create(path, self.highest_root(owner)).is_ok()
    }
}

fn remember(terms: &Terms) -> Result<u32, OpenError> {
    let (maildir, taken, mut assignment) = terms.assign(Purpose::Show, &TimeLimit::bounded())?;
    if let Some(error) = assignment.error.take() {
        return Err(OpenError::Unavailable(error));
    }
    let opened = OpenMaildrop::new(maildir, taken, assignment, terms.pools);
    opened.remember().map_err(OpenError::Unavailable)?;
    Ok(opened.count())
}
