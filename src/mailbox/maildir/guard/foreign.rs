//! Whether `restante.uids` is the file of this Maildir, if no index tells.
//!
//! Each login enters all messages that are there. So a message that the file does not know has come
//! after the file was last written to, however many of the known ones are gone. The ctime of the
//! message says when it came at the latest: no program can set it back, and it changes when a
//! message is moved here from another folder. Network and FUSE file systems do not guarantee this,
//! so there the time is not used.
//!
//! If messages are older than the file and not in it, the file was copied to this place. If they are
//! all younger, this cannot be told from a maildrop that a client has emptied, and nothing is
//! refused.

use std::time::Duration;

use super::super::entry::Entry;
use super::super::folders::Folders;
use super::super::name;
use super::super::separator::Separator;
use super::super::stamp::Moment;
use super::super::uids::State;
use super::{Objection, count, is_share};
use crate::config::{self, GuardMode};

/// The messages that `restante.uids` does not know.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct UnknownMail<'a> {
    pub(in super::super) state: &'a State,
    /// How many messages there are.
    pub(in super::super) of: u32,
    /// Those that are not in the file.
    pub(in super::super) new: &'a [Entry<'a>],
}

/// Objects to a file that is not that of this Maildir.
pub(in super::super) fn objection(
    settings: &config::Guard,
    folders: &Folders<'_>,
    unknown: &UnknownMail<'_>,
) -> Option<Objection> {
    let of = unknown.of;
    let is_much = |part| part >= settings.least.get() && is_share(part, settings.share, of);
    if settings.mode == GuardMode::Off || !is_much(count(unknown.new.len())) {
        return None;
    }
    let current = folders.maildir().root().separator();
    for other in Separator::ALL.into_iter().filter(|other| *other != current) {
        let known = count(unknown.known_with(other));
        if is_much(known) {
            return Some(Objection::OtherSeparator { known, of, separator: other.character() });
        }
    }
    let unknown = count(unknown.older_than_the_state(folders));
    is_much(unknown).then_some(Objection::ForeignState { unknown, of })
}

impl UnknownMail<'_> {
    /// How many the file knows by the names that they would have with another separator.
    fn known_with(&self, other: Separator) -> usize {
        let is_known =
            |entry: &&Entry<'_>| self.state.by_name(name::unique(entry.name, other)).is_some();
        self.new.iter().filter(is_known).count()
    }

    /// How many were there when the file was last written to.
    fn older_than_the_state(&self, folders: &Folders<'_>) -> usize {
        if !folders.maildir().has_reliable_ctime() {
            return 0;
        }
        // A time in the future says nothing: the clock has been set back.
        let written = self.state.written().filter(|written| *written <= Moment::now());
        let Some(latest) = written.map(|written| written.before(LONGEST_LOGIN)) else { return 0 };
        let changed = |file: &Entry<'_>| folders.changed(file.folder, file.name).ok();
        let is_older = |file: &&Entry<'_>| changed(file).is_some_and(|changed| changed < latest);
        self.new.iter().filter(is_older).count()
    }
}

/// A message that arrives while a login counts the others is older than the batch that this login
/// writes, by less than this. In tests, nothing arrives meanwhile.
const LONGEST_LOGIN: Duration = Duration::from_secs(if cfg!(test) { 0 } else { 60 * 60 });
