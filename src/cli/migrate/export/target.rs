//! The server that is to serve the mail: its list of a user is read, made again, and replaced.

use std::fmt;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::Format;
use super::list_file::{self, Kind, ListFile, Written};
use crate::cli::migrate::accounts::Account;
use crate::config::{Config, Duplicates, GuardMode};
use crate::mailbox::OpenError;
use crate::mailbox::maildir::MaildirStore;
use crate::uidl::{
    BadLine, DovecotList, DovecotSource, Exported, FormatError, Listed, Reason, UidlFormat,
    courier_list, dovecot_list,
};

/// The server that is to serve the mail, and its settings.
pub(super) struct Target {
    server: Server,
    store: MaildirStore,
    mode: GuardMode,
    now: NonZeroU32,
}

enum Server {
    Dovecot(UidlFormat),
    Courier,
}

/// Why the list of a user was not written.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error("a login would be refused: {0}")]
    Guarded(String),
    #[error(transparent)]
    File(#[from] list_file::Error),
}

impl Target {
    pub(super) fn new(
        format: Format,
        config: &Config,
        store: MaildirStore,
    ) -> Result<Self, FormatError> {
        let server = match format {
            Format::Dovecot => Server::Dovecot(UidlFormat::parse(&config.maildir.dovecot.format)?),
            Format::Courier => Server::Courier,
        };
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let now = u32::try_from(since.as_secs()).ok().and_then(NonZeroU32::new);
        let now = now.unwrap_or(NonZeroU32::MAX);
        Ok(Self { server, store, mode: config.guard.mode, now })
    }

    /// Writes the list of a user, for whom no session can begin meanwhile.
    /// `None` if there is no Maildir yet.
    pub(super) fn export(&self, account: &Account) -> Result<Option<Export>, Error> {
        // Until this is dropped, no session begins.
        let Some(listing) = account.listing(&self.store)? else { return Ok(None) };
        let warning = account.guarded(&listing, self.mode).map_err(Error::Guarded)?;
        let messages = listing.messages().map(|message| Listed {
            id: message.id.as_bytes(),
            base_name: message.base_name,
            octets: message.octets,
        });
        let messages = messages.collect::<Vec<_>>();
        let (path, removed) = (listing.path(), listing.removed_ids());
        let (file, exported, damage) = match &self.server {
            Server::Dovecot(format) => {
                let file = ListFile::open(listing.dovecot_directory(), Kind::Dovecot)?;
                let list = listing.dovecot_list()?;
                let list = list.unwrap_or_else(|| DovecotList::new(self.now));
                let source = DovecotSource {
                    list: &list,
                    format,
                    reuse_xuidl: false,
                    duplicates: Duplicates::Allow,
                };
                let exported = dovecot_list(&source, &messages, removed);
                (file, exported, list.damage)
            }
            Server::Courier => {
                let file = ListFile::open(path, Kind::Courier)?;
                let list = listing.courier_list()?;
                let exported = courier_list(list.as_ref(), self.now, &messages, removed);
                (file, exported, None)
            }
        };
        let written = file.replace(&exported.text, path)?;
        let mut export = Export::new(&exported, &messages, file.path(), written, damage);
        export.warning = warning;
        let unreadable = listing.unreadable().map(|name| name.escape_ascii().to_string());
        export.omitted.extend(unreadable.map(|name| (name, Reason::Unreadable)));
        Ok(Some(export))
    }
}

/// What was exported for a user.
#[derive(Debug)]
pub(super) struct Export {
    path: PathBuf,
    written: Written,
    messages: usize,
    moved: usize,
    damage: Option<BadLine>,
    /// What the guard says.
    warning: Option<String>,
    /// The unique-ids that are not in the list, and why.
    pub(super) omitted: Vec<(String, Reason)>,
}

impl Export {
    fn new(
        exported: &Exported,
        messages: &[Listed<'_>],
        path: &Path,
        written: Written,
        damage: Option<BadLine>,
    ) -> Self {
        let id = |position: usize| {
            let id = messages.get(position).map(|message| message.id.escape_ascii().to_string());
            id.unwrap_or_default()
        };
        let omitted = exported.omitted.iter().map(|omitted| (id(omitted.position), omitted.reason));
        Self {
            path: path.to_owned(),
            written,
            messages: exported.messages,
            moved: exported.moved,
            damage,
            warning: None,
            omitted: omitted.collect(),
        }
    }
}

impl fmt::Display for Export {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        match &self.written {
            Written::Unchanged => writeln!(f, "{} messages, unchanged: {path}", self.messages)?,
            Written::Replaced(None) => writeln!(f, "{} messages: {path}", self.messages)?,
            Written::Replaced(Some(old)) => {
                writeln!(f, "{} messages: {path}, the old list is {old}", self.messages)?;
            }
        }
        if let Some(damage) = &self.damage {
            writeln!(f, "  {damage} in the old list; what followed it has new UIDs")?;
        }
        if let Some(warning) = &self.warning {
            writeln!(f, "  a login shows these messages, but {warning}")?;
        }
        if self.moved > 0 {
            writeln!(
                f,
                "  {} messages have another place in the order of that server",
                self.moved
            )?;
        }
        for (id, reason) in &self.omitted {
            writeln!(f, "  {id}: {reason}")?;
        }
        Ok(())
    }
}
