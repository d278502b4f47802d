//! The guard: it refuses a login that would show clients other unique-ids than before, so that they
//! would download all their mail again.
//!
//! - *Unclaimed*: another server has served this Maildir, and its list is not configured as a
//!   source.
//! - *Changed*: messages that are still there would have other unique-ids. Files with other names
//!   count only if they are nearly all: a client that moves mail to and fro renames some.
//! - *Replaced*: nearly all names are gone, and as many new files have the same octets in the same
//!   order, and were written before the last session. The Maildir has been copied or restored
//!   without its names.
//! - *Foreign*: there is no index, and `restante.uids` does not know messages that were there before
//!   it was last written. It is an old copy, or that of another Maildir, or the separator before the
//!   flags is another one now.
//!
//! A refused login does no harm: no client forgets a message because of it. What was there before
//! is what the index has, so without an index only unclaimed lists and a foreign state are refused.
//! New, removed and moved mail is no change.

use std::collections::BTreeSet;

use super::super::{Failure, OpenError, Position};
use super::entry::Entry;
use super::folders::Folders;
use super::take_listing::TakenListing;
use super::uids::State;
use crate::config::{self, GuardMode};
use crate::counters;

mod compare;
mod foreign;

use self::compare::Comparison;
pub(super) use self::foreign::{UnknownMail, objection as foreign_state};

/// Why a listing should not be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Objection {
    /// There is a list of another server that no source reads.
    #[error(
        "{list} has the unique-ids that clients know, and maildir.uidl is not set: write \
         uidl = [\"{source_word}\", \"base-name\"] under [maildir]; or uidl = [\"name\"], if clients \
         know the unique-ids of this server already, or may download all mail again"
    )]
    Unclaimed {
        /// The name of the list.
        list: &'static str,
        /// The source that reads it.
        source_word: &'static str,
    },
    /// Messages would have other unique-ids.
    #[error(
        "{changed} of the {of} messages that are still there would have other unique-ids, or ones \
         that restante.uids does not know, and clients would download them again: restore the \
         configuration, the file names and restante.uids; or run restante guard accept USER"
    )]
    Changed {
        /// How many.
        changed: u32,
        /// How many messages are still there.
        of: u32,
    },
    /// Messages have other file names.
    #[error(
        "{replaced} of {of} messages have other file names, as if they had been copied or restored \
         without their names, and clients would download them again: restore the names; or run \
         restante guard accept USER"
    )]
    Replaced {
        /// How many.
        replaced: u32,
        /// How many messages the last session had.
        of: u32,
    },
    /// `restante.uids` does not know messages that were there when it was written.
    #[error(
        "{unknown} of {of} messages are older than restante.uids, but not in it, so it is an old \
         copy or that of another Maildir, and clients would download them again: restore the \
         latest restante.uids of this Maildir; or run restante guard accept USER"
    )]
    ForeignState {
        /// How many.
        unknown: u32,
        /// How many messages there are.
        of: u32,
    },
    /// `restante.uids` knows messages by names that were read with another separator.
    #[error(
        "restante.uids has {known} of {of} messages by names in which {separator} separates the flags, \
         and clients would download them again: write flag-separator = \"{separator}\" under \
         [maildir]; or run restante guard accept USER"
    )]
    OtherSeparator {
        /// How many.
        known: u32,
        /// How many messages there are.
        of: u32,
        /// That separator.
        separator: char,
    },
}

/// Whether messages would have other unique-ids than before.
pub(super) enum Change<'a> {
    /// If the file with this old entry is the one with this new position, whether its unique-id
    /// would differ.
    By(&'a dyn Fn(&Entry<'_>, Position) -> bool),
    /// None of them that is where it was. Only files with other names could have.
    OnlyByRenaming(&'a dyn Fn(&Entry<'_>, Position) -> bool),
}

/// Objects to a listing that differs too much from the last one, which was shown with `state` if that
/// existed.
pub(super) fn objection(
    settings: &config::Guard,
    folders: &Folders<'_>,
    taken: &TakenListing,
    change: &Change<'_>,
    state: Option<&State>,
) -> Option<Objection> {
    let (differs, may_differ) = match change {
        Change::By(differs) => (differs, true),
        Change::OnlyByRenaming(differs) => (differs, has_other_names(settings, taken)),
    };
    if settings.mode == GuardMode::Off || !may_differ {
        return None;
    }
    let comparison = Comparison::of(folders, taken, differs);
    changed(settings, &comparison).or_else(|| replaced(settings, &comparison, state))
}

/// Whether enough names are gone, and as many are new.
fn has_other_names(settings: &config::Guard, taken: &TakenListing) -> bool {
    let gone = taken.stats.not_found;
    let still_there = taken.index.listing.count().saturating_sub(gone);
    let new = taken.listing.count().saturating_sub(still_there);
    gone.min(new) >= settings.least.get()
}

fn changed(settings: &config::Guard, comparison: &Comparison<'_>) -> Option<Objection> {
    let Comparison { remembered, still_there, renamed, .. } = comparison;
    // A client that moves mail to another folder and back renames it.
    let renamed_by_other =
        Some(renamed.differing).filter(|it| is_share(*it, NEARLY_ALL, *remembered));
    let changed = still_there.differing + renamed_by_other.unwrap_or_default();
    let of = still_there.count + renamed.count;
    let is_much = changed >= settings.least.get() && is_share(changed, settings.share, of);
    is_much.then_some(Objection::Changed { changed, of })
}

fn replaced(
    settings: &config::Guard,
    comparison: &Comparison<'_>,
    state: Option<&State>,
) -> Option<Objection> {
    let (of, least) = (comparison.remembered, settings.least.get());
    let is_much = |part| part >= least && is_share(part, NEARLY_ALL, of);
    let is_possible = is_much(count(comparison.gone.len())) && is_much(count(comparison.new.len()));
    let copied = if is_possible { comparison.copied(state) } else { Vec::new() };
    let replaced = count(copied.len());
    // Mail of few different sizes, say of one program, pairs by chance.
    let distinct = count(copied.iter().collect::<BTreeSet<_>>().len());
    let is_copy = is_much(replaced)
        && distinct >= least.div_ceil(2)
        && is_much(count(comparison.older_than_the_listing()));
    is_copy.then_some(Objection::Replaced { replaced, of })
}

/// Refuses a login, or warns.
///
/// # Errors
/// When the guard is set to refuse.
pub(super) fn enforce(
    settings: &config::Guard,
    folders: &Folders<'_>,
    objection: Objection,
) -> Result<(), OpenError> {
    count_objection(settings.mode, &objection);
    let path = folders.maildir().root().path().display();
    match settings.mode {
        GuardMode::Refuse => {
            let error = std::io::Error::other(objection);
            Err(OpenError::Guarded(Failure::new(format!("show the mail in {path}"), error)))
        }
        GuardMode::Warn => {
            tracing::warn!(%path, %objection, "clients may download mail again");
            Ok(())
        }
        GuardMode::Off => Ok(()),
    }
}

fn count_objection(mode: GuardMode, objection: &Objection) {
    let action = match mode {
        GuardMode::Refuse => "refused",
        GuardMode::Warn => "warned",
        GuardMode::Off => return,
    };
    let (word, messages) = match *objection {
        Objection::Unclaimed { .. } => ("unclaimed", 0),
        Objection::Changed { changed, .. } => ("changed", changed),
        Objection::Replaced { replaced, .. } => ("replaced", replaced),
        Objection::ForeignState { unknown, .. } => ("foreign-state", unknown),
        Objection::OtherSeparator { known, .. } => ("other-separator", known),
    };
    if let Some(counters) = counters::on() {
        counters.objections.add((word, action), 1);
        counters.changed_unique_ids.add(action, messages.into());
    }
}

fn is_share(part: u32, percent: u8, of: u32) -> bool {
    u64::from(part) * 100 >= u64::from(percent) * u64::from(of)
}

fn count(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

/// The share of messages, in per cent, whose replacement is taken for that of all.
const NEARLY_ALL: u8 = 80;
