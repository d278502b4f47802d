//! The unique-ids of the messages that are in a Maildir now: those that clients have been shown,
//! and new ones for new messages.

use std::borrow::Cow;
use std::collections::HashSet;
use std::mem;
use std::num::NonZeroU32;
use std::time::SystemTime;

use super::super::lock::Root;
use super::line::{LONGEST_NAME, Line, is_id};
use super::text::Batch;
use super::{Error, Kind, Mark, State};
use crate::uidl::by_name;

/// What a login finds in a Maildir, compared with what the file remembers.
#[derive(Debug)]
pub(in super::super) struct Reconciled<'a> {
    /// The messages that the file knows, in the order of first listing.
    pub(in super::super) known: Vec<Message>,
    /// The messages that it does not know, in the order in which they were given.
    pub(in super::super) added: Vec<Added<'a>>,
    /// The records of the messages that are gone.
    pub(in super::super) removed: Vec<u32>,
    now: NonZeroU32,
}

/// A message of a listing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in super::super) struct Message {
    pub(super) record: u32,
    /// Its place among the messages that were given.
    pub(super) given: usize,
}

/// A message with a new unique-id.
#[derive(Debug)]
pub(in super::super) struct Added<'a> {
    pub(super) given: usize,
    pub(in super::super) name: &'a [u8],
    pub(in super::super) id: Cow<'a, [u8]>,
}

impl State {
    /// Finds the unique-ids of the messages that are present, and chooses those of new messages.
    ///
    /// - Each message is given by its unique name, with the unique-ids that the sources propose for
    ///   it, the best one first. The order is that of the sources.
    /// - A message that is not given counts as removed, unless it is [kept](Reconciled::keep). Of
    ///   several messages of one name only the first counts; where files share their
    ///   unique name, the caller makes it longer.
    /// - A known message keeps its unique-id, whatever is proposed.
    /// - A new message gets the first proposal that can be a unique-id and that no other message
    ///   has, or has had. Without such a proposal it gets a hash of its name and a number.
    pub(in super::super) fn reconcile<'a, P: IntoIterator<Item = &'a [u8]>>(
        &self,
        present: impl IntoIterator<Item = (&'a [u8], P)>,
        now: SystemTime,
    ) -> Reconciled<'a> {
        let mut is_present = vec![false; self.records.len()];
        let (mut known, mut added) = (Vec::new(), Vec::new());
        let (mut names, mut taken) = (HashSet::new(), HashSet::new());
        let mut search = self.search();
        for (given, (name, proposals)) in present.into_iter().enumerate() {
            if let Some(record) = search.find(name) {
                let seen = is_present.get_mut(record as usize);
                if seen.is_some_and(|seen| !mem::replace(seen, true)) {
                    known.push(Message { record, given });
                }
            } else if name.len() <= LONGEST_NAME && names.insert(name) {
                let id = self.choose(name, proposals, &taken);
                taken.insert(id.clone());
                added.push(Added { given, name, id });
            }
        }
        // The order of the records is that of first listing.
        known.sort_unstable();
        let is_gone = |at: &u32| !is_present.get(*at as usize).copied().unwrap_or_default();
        let mut removed = self.by_name.iter().copied().filter(is_gone).collect::<Vec<_>>();
        removed.sort_unstable();
        Reconciled { known, added, removed, now: seconds(now) }
    }

    fn choose<'a>(
        &self,
        name: &[u8],
        proposals: impl IntoIterator<Item = &'a [u8]>,
        taken: &HashSet<Cow<'a, [u8]>>,
    ) -> Cow<'a, [u8]> {
        let is_free = |id: &[u8]| is_id(id) && self.by_id(id).is_none() && !taken.contains(id);
        if let Some(id) = proposals.into_iter().find(|id| is_free(id)) {
            return Cow::Borrowed(id);
        }
        let mut number = 1_u64;
        loop {
            // A unique name has no slash, so no source proposes the hash of this.
            let id = by_name::hash(&[name, b"/", number.to_string().as_bytes()].concat());
            if is_free(&id) {
                return Cow::Owned(id.to_vec());
            }
            number += 1;
        }
    }
}

impl Added<'_> {
    /// Its place among the messages that were given.
    pub(in super::super) fn given(&self) -> usize {
        self.given
    }
}

impl Reconciled<'_> {
    /// Keeps messages that are present, although they were not given: they are not removed. All of
    /// them are passed at once.
    pub(in super::super) fn keep<'n>(
        &mut self,
        state: &State,
        names: impl IntoIterator<Item = &'n [u8]>,
    ) {
        let kept = names.into_iter().filter_map(|name| state.present(name));
        let kept = kept.collect::<HashSet<_>>();
        if !kept.is_empty() {
            self.removed.retain(|record| !kept.contains(record));
        }
    }

    /// The listing as it will be: the place of each message among those that were given, and its
    /// unique-id.
    pub(in super::super) fn listing<'s>(
        &'s self,
        state: &'s State,
    ) -> impl Iterator<Item = (usize, &'s [u8])> {
        let known = self.known.iter().map(|known| (known.given, state.id(known.record)));
        known.chain(self.added.iter().map(|added| (added.given, &*added.id)))
    }

    /// Writes what is new to the file, and syncs it. Then the listing may be shown.
    ///
    /// If that fails, the listing has the known messages only, and the error is for the log. The
    /// new ones are listed by a later login.
    ///
    /// # Errors
    /// When there is no file yet, and it cannot be made. Clients may know all messages from another
    /// server. If a listing omits them, clients forget them and fetch them again; a refused login
    /// does no harm.
    pub(in super::super) fn save(
        mut self,
        mut state: State,
        root: &Root,
    ) -> Result<Assigned, Error> {
        let mut messages = mem::take(&mut self.known);
        let is_first = state.end.is_none();
        let saved = self.apply(&mut state).and_then(|(batch, added)| {
            state.write(root, &batch, self.now)?;
            Ok(added)
        });
        let error = match saved {
            Ok(added) => {
                messages.extend(added);
                None
            }
            Err(error) if is_first => return Err(error),
            Err(error) => Some(error),
        };
        Ok(Assigned { state, messages, error })
    }

    /// Adds what is new to the records. Returns the lines that say it, and the new messages.
    pub(super) fn apply(&self, state: &mut State) -> Result<(Batch, Vec<Message>), Error> {
        let (mut batch, mut messages) = (Batch::default(), Vec::new());
        for &at in &self.removed {
            let (id, name) = state.texts(state.record(at).start);
            batch.push(&Line::Removed { id, name: name.into(), at: self.now });
            state.set_kind(at, Kind::Removed(self.now));
        }
        for &Added { given, name, ref id } in &self.added {
            batch.push(&Line::Added { id, name: name.into() });
            messages.push(Message { record: state.push(Kind::Present, id, name)?, given });
        }
        Ok((batch, messages))
    }
}

/// The messages of a listing with their unique-ids.
#[derive(Debug)]
pub(in super::super) struct Assigned {
    state: State,
    messages: Vec<Message>,
    /// Why the new messages are not among them.
    pub(in super::super) error: Option<Error>,
}

impl Assigned {
    /// The mark of the file as it is now; `None` if there is none, because there are no messages.
    pub(in super::super) fn mark(&self) -> Option<Mark> {
        self.state.exists().then(|| self.state.mark())
    }

    /// The listing: the place of each message among those that were given, and its unique-id.
    pub(in super::super) fn listing(&self) -> impl Iterator<Item = (usize, &[u8])> {
        self.messages.iter().map(|message| (message.given, self.state.id(message.record)))
    }
}

/// The seconds since 1970, as the file has them.
pub(super) fn seconds(time: SystemTime) -> NonZeroU32 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    NonZeroU32::new(u32::try_from(since).unwrap_or(u32::MAX)).unwrap_or(NonZeroU32::MIN)
}
