//! The unique-ids of the messages of a listing, as clients see them.
//!
//! - With `restante.uids`, a message has the unique-id that clients have been shown. That holds
//!   whatever the configuration says.
//! - A message that is not in that file gets its unique-id from the configured sources. The lists
//!   of other servers are read only then. It is written down before it is shown.
//! - When that file is made first, the messages in the index have been shown with unique-ids that
//!   are made of their names. They keep them. If the index cannot be read, all messages keep them.
//! - Without that file and without other sources, unique-ids are made of names, and the listing is
//!   shown as it is.
//!
//! `settings` is the configuration, `lists` reads the lists of other servers, `candidates` finds
//! the names by which `restante.uids` knows messages, and `sources` asks the sources. For the
//! operator, `compare_lists` compares what clients see with those lists.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::io;
use std::time::SystemTime;

use super::super::{Failure, OpenError, Position};
use super::entry::Entry;
use super::folders::Folders;
use super::guard::{self, Change, Objection, UnknownMail};
use super::index::{self, KnownState};
use super::lock::Root;
use super::shown::Shown;
use super::take_listing::TakenListing;
use super::uids::{self, Mark, Reconciled, State, sync_directory};
use crate::config::{self, UidlSource};
use crate::protocol::UniqueId;

mod candidates;
mod compare_lists;
mod lists;
mod settings;
mod sources;

use self::candidates::{Candidate, candidates, long_key};
pub use self::compare_lists::{InList, ListComparison};
pub(super) use self::lists::{courier_list, dovecot_list};
pub(super) use self::settings::{Places, Settings};
use self::sources::Sourced;

/// What decides on the unique-ids of a login.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules<'a> {
    pub(super) settings: &'a Settings,
    pub(super) places: &'a Places,
    pub(super) guard: &'a config::Guard,
    pub(super) purpose: Purpose,
}

/// What the unique-ids are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// A client sees them. They are written down before.
    Show,
    /// The operator sees them. Nothing is written.
    Preview,
}

/// The messages that clients see, with their unique-ids.
#[derive(Debug, Default)]
pub(super) struct Assignment {
    /// `None` if they are those of the listing.
    pub(super) shown: Option<Shown>,
    /// The mark of `restante.uids`; `None` without that file.
    pub(super) mark: Option<Mark>,
    /// New messages that are not shown, because their unique-ids could not be written down.
    pub(super) unsaved: BTreeSet<Position>,
    /// Why something could not be written down. The listing is sound, but not complete.
    pub(super) error: Option<Failure>,
    /// Why a login would be refused; only with [`Purpose::Preview`].
    pub(super) objection: Option<Objection>,
    /// The unique-ids of removed messages; only with [`Purpose::Preview`].
    pub(super) removed_ids: Vec<Vec<u8>>,
    /// Where the unique-ids of new messages come from; only with [`Purpose::Preview`]. `None` if
    /// there is no `restante.uids`, and all are made of names.
    pub(super) sources: Option<HashMap<Position, UidlSource>>,
}

/// Assigns unique-ids to the messages of a listing.
///
/// # Errors
/// When they cannot be known or written down, and when the guard refuses to show them.
pub(super) fn assign(
    folders: &Folders<'_>,
    taken: &TakenListing,
    rules: &Rules<'_>,
) -> Result<Assignment, OpenError> {
    let assigning = Assigning { folders, taken, rules };
    if taken.index.state == KnownState::Absent && rules.settings.are_plain() {
        return assigning.by_name();
    }
    let root = folders.maildir().root();
    let last = match taken.index.state {
        KnownState::Present(mark) => Some(mark),
        KnownState::Absent | KnownState::Unknown => None,
    };
    let state = State::read(root, &rules.settings.origin(), last);
    let state = state.map_err(|error| unusable(root, error))?;
    assigning.warn_of_age(&state);
    if state.exists() || rules.settings.have_other_sources() {
        return assigning.by_state(state);
    }
    assigning.by_name()
}

struct Assigning<'a> {
    folders: &'a Folders<'a>,
    taken: &'a TakenListing,
    rules: &'a Rules<'a>,
}

impl<'a> Assigning<'a> {
    /// Unique-ids are made of names.
    fn by_name(&self) -> Result<Assignment, OpenError> {
        let Self { taken, .. } = self;
        let differs = |last: &Entry<'_>, now: Position| {
            self.has_state_been_lost() || last.unique_id() != taken.listing.entry(now).unique_id()
        };
        let change = match self.has_state_been_lost() {
            true => Change::By(&differs),
            false => Change::OnlyByRenaming(&differs),
        };
        let objection = self.unclaimed()?.or_else(|| self.objection(&change, None));
        let objection = self.enforce(objection)?;
        let deleted = self.deleted()?;
        let shown = if deleted.is_empty() {
            None
        } else {
            let visible = taken.positions().filter(|at| !deleted.contains(at));
            let messages = visible.map(|at| (at, taken.listing.entry(at).unique_id()));
            Some(Shown::of(&taken.listing, messages).map_err(OpenError::Unavailable)?)
        };
        Ok(Assignment { shown, objection, ..Assignment::default() })
    }

    /// Unique-ids are those of `restante.uids`, and new ones from the sources.
    fn by_state(&self, state: State) -> Result<Assignment, OpenError> {
        let Self { folders, taken, rules } = self;
        let root = folders.maildir().root();
        let candidates = candidates(folders, taken, &state);
        let mut search = state.search();
        let (known, new) =
            candidates.iter().partition::<Vec<_>, _>(|candidate| search.knows(&candidate.key));
        let keeps_name = |new: &&Candidate<'_>| match taken.index.state {
            KnownState::Absent => new.was_listed,
            KnownState::Unknown => taken.index.is_lost,
            KnownState::Present(_) => false,
        };
        let (named, new) = new
            .into_iter()
            .partition::<Vec<_>, _>(|candidate| !state.exists() && keeps_name(candidate));
        let named_ids = named
            .iter()
            .map(|it| it.entry().unique_id().as_str().as_bytes())
            .collect::<HashSet<_>>();
        let is_used = |id: &[u8]| state.by_id(id).is_some() || named_ids.contains(id);
        let entries = new.iter().map(|candidate| candidate.entry()).collect();
        let asked = sources::ask(folders, rules.settings, rules.places, entries, is_used);
        let asked = asked.map_err(OpenError::Unavailable)?;
        let known = known.into_iter().map(|candidate| Given { candidate, new: None });
        let named = named.into_iter().map(|candidate| {
            let id = candidate.entry().unique_id().as_str().as_bytes().to_vec();
            Given { candidate, new: Some((id, UidlSource::Name)) }
        });
        let sourced =
            asked.sourced.into_iter().filter_map(|Sourced { nth, id, source, .. }| {
                let id = id.as_str().as_bytes().to_vec();
                Some(Given { candidate: new.get(nth)?, new: Some((id, source)) })
            });
        let given = known.chain(named).chain(sourced).collect::<Vec<_>>();
        let present = given.iter().map(|given| (&*given.candidate.key, given.id()));
        let mut reconciled = state.reconcile(present, SystemTime::now());
        let long = taken.left_out.iter().map(|it| long_key(&it.unique, it.inode));
        let long = long.collect::<Vec<_>>();
        let left_out = taken.left_out.iter().map(|it| &*it.unique);
        reconciled.keep(&state, left_out.chain(long.iter().map(Vec::as_slice)));
        let objection = self.objection_to(&state, &reconciled, &given);
        let objection = self.enforce(objection)?;
        let deleted = self.deleted()?;
        let show = |messages: &mut dyn Iterator<Item = (usize, &[u8])>| {
            let positions =
                messages.filter_map(|(nth, id)| Some((given.get(nth)?.candidate.at, id)));
            let visible = positions.filter(|(at, _)| !deleted.contains(at));
            let visible = visible.filter_map(|(at, id)| Some((at, UniqueId::try_from(id).ok()?)));
            Shown::of(&taken.listing, visible).map(Some).map_err(OpenError::Unavailable)
        };
        if rules.purpose == Purpose::Preview {
            let shown = show(&mut reconciled.listing(&state))?;
            let removed = state.messages().filter(|message| message.removed.is_some());
            let removed_ids = removed.map(|message| message.id.to_vec()).collect();
            let sources =
                given.iter().filter_map(|it| Some((it.candidate.at, it.new.as_ref()?.1))).collect();
            let sources = Some(sources);
            return Ok(Assignment {
                shown,
                objection,
                removed_ids,
                sources,
                ..Assignment::default()
            });
        }
        let last_mark = state.exists().then(|| state.mark());
        let mut assigned = reconciled.save(state, root).map_err(|error| unusable(root, error))?;
        if assigned.mark().is_some() {
            self.remove_index_without_mark()?;
        }
        let mut unsaved = BTreeSet::new();
        if let Some(error) = &assigned.error {
            let saved = assigned.listing().map(|(nth, _)| nth).collect::<HashSet<_>>();
            let given = given.iter().enumerate().filter(|(nth, _)| !saved.contains(nth));
            unsaved.extend(given.map(|(_, given)| given.candidate.at));
            let (path, hidden) = (root.path().display(), unsaved.len());
            tracing::error!(
                %path, %error, hidden,
                "new messages are not shown, because their unique-ids cannot be written down"
            );
        }
        let shown = show(&mut assigned.listing())?;
        // The mark says that the file is synced up to there.
        let mark = if assigned.error.is_some() { last_mark } else { assigned.mark() };
        let what = || format!("write the unique-ids of {} down", root.path().display());
        let error = assigned.error.take();
        let error = error.map(|error| Failure::new(what(), io::Error::other(error)));
        Ok(Assignment { shown, mark, unsaved, error, objection, ..Assignment::default() })
    }

    /// Removes an index that was written without `restante.uids`. After a power cut it would hide
    /// that file, and clients have been shown the unique-ids that are there.
    fn remove_index_without_mark(&self) -> Result<(), OpenError> {
        if self.taken.index.state != KnownState::Absent {
            return Ok(());
        }
        let root = self.folders.maildir().root();
        let what = || format!("remove the last index of {}", root.path().display());
        let removed = index::remove(root).and_then(|()| sync_directory(root));
        removed.map_err(|error| OpenError::Unavailable(Failure::new(what(), error)))
    }

    /// The objection to unique-ids that are about to be written down.
    fn objection_to(
        &self,
        state: &State,
        reconciled: &Reconciled<'_>,
        given: &[Given<'_, '_>],
    ) -> Option<Objection> {
        let mut ids = vec![None; self.taken.listing.count() as usize];
        for message in reconciled.listing(state) {
            let (nth, id) = message;
            let at = given.get(nth).map(|given| given.candidate.at.0 as usize);
            if let Some(place) = at.and_then(|at| ids.get_mut(at)) {
                *place = Some(id);
            }
        }
        let id_of = |at: Position| ids.get(at.0 as usize).copied().flatten();
        match self.taken.index.state {
            // What was shown of the messages that the index has is in the file.
            KnownState::Present(_) => {
                let new = added(reconciled, given).map(|candidate| candidate.at);
                let new = new.collect::<HashSet<_>>();
                let is_new = |_: &Entry<'_>, now: Position| new.contains(&now);
                let is_little = new.len() < self.rules.guard.least.get() as usize;
                let change =
                    if is_little { Change::OnlyByRenaming(&is_new) } else { Change::By(&is_new) };
                self.objection(&change, Some(state))
            }
            KnownState::Absent => {
                let differs = |last: &Entry<'_>, now: Position| {
                    Some(last.unique_id().as_str().as_bytes()) != id_of(now)
                };
                self.objection(&Change::By(&differs), None)
            }
            KnownState::Unknown => self.foreign_state(state, reconciled, given),
        }
    }

    /// The objection to a file that is not of this Maildir, if there is no index to compare with.
    fn foreign_state(
        &self,
        state: &State,
        reconciled: &Reconciled<'_>,
        given: &[Given<'_, '_>],
    ) -> Option<Objection> {
        let Self { folders, taken, rules } = self;
        let new = added(reconciled, given).map(Candidate::entry).collect::<Vec<_>>();
        let unknown = UnknownMail { state, of: taken.listing.count(), new: &new };
        guard::foreign_state(rules.guard, folders, &unknown)
    }

    fn objection(&self, change: &Change<'_>, state: Option<&State>) -> Option<Objection> {
        guard::objection(self.rules.guard, self.folders, self.taken, change, state)
    }

    /// The objection to making unique-ids of names where another server has made others.
    fn unclaimed(&self) -> Result<Option<Objection>, OpenError> {
        let was_listed = self.taken.index.is_lost || self.taken.index.state != KnownState::Unknown;
        let is_possible = !was_listed
            && self.taken.listing.count() > 0
            && !self.rules.settings.are_set()
            && self.rules.guard.mode != config::GuardMode::Off;
        let root = self.folders.maildir().root();
        if !is_possible {
            return Ok(None);
        }
        lists::unclaimed(root, self.rules.places).map_err(OpenError::Unavailable)
    }

    /// Enforces an objection; returns it if that is only a preview.
    fn enforce(&self, objection: Option<Objection>) -> Result<Option<Objection>, OpenError> {
        match (objection, self.rules.purpose) {
            (Some(objection), Purpose::Show) => {
                guard::enforce(self.rules.guard, self.folders, objection).map(|()| None)
            }
            (objection, _) => Ok(objection),
        }
    }

    /// The messages that are hidden by a keyword of Dovecot.
    fn deleted(&self) -> Result<HashSet<Position>, OpenError> {
        let root = self.folders.maildir().root();
        let Rules { settings, places, .. } = self.rules;
        let letter =
            lists::deleted_letter(root, settings, places).map_err(OpenError::Unavailable)?;
        let Some(letter) = letter else { return Ok(HashSet::new()) };
        let has_flag = |at: &Position| {
            let name = self.taken.listing.entry(*at).name;
            root.separator().flags(name).contains(&letter)
        };
        Ok(self.taken.positions().filter(has_flag).collect())
    }

    /// Whether the last session had `restante.uids`, and this one does not.
    fn has_state_been_lost(&self) -> bool {
        matches!(self.taken.index.state, KnownState::Present(_))
    }

    /// Logs that the file is not the one that the last session had, and no later one.
    fn warn_of_age(&self, state: &State) {
        if matches!(self.taken.index.state, KnownState::Present(_)) && !state.continues_last() {
            let path = self.folders.maildir().root().path().display();
            tracing::error!(
                %path,
                "restante.uids is missing, or is not the one of the last session or a later one; \
                 restore the latest one"
            );
        }
    }
}

/// A message.
struct Given<'c, 'a> {
    candidate: &'c Candidate<'a>,
    /// If it is new, the unique-id that is proposed for it, and where that comes from.
    new: Option<(Vec<u8>, UidlSource)>,
}

impl Given<'_, '_> {
    fn id(&self) -> Option<&[u8]> {
        self.new.as_ref().map(|(id, _)| id.as_slice())
    }
}

/// The messages that `restante.uids` does not know.
fn added<'g, 'a>(
    reconciled: &'g Reconciled<'_>,
    given: &'g [Given<'_, 'a>],
) -> impl Iterator<Item = &'g Candidate<'a>> {
    let given = reconciled.added.iter().filter_map(|added| given.get(added.given()));
    given.map(|given| given.candidate)
}

fn unusable(root: &Root, error: uids::Error) -> OpenError {
    let what = format!("find the unique-ids of {}", root.path().display());
    OpenError::Unavailable(Failure::new(what, io::Error::other(error)))
}
