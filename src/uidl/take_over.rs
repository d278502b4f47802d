//! The choice of a unique-id for each message of a Maildir, and the order of its listing.

use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};

use super::by_name::{self, without_sizes};
use super::courier_list::CourierList;
use super::dovecot_uidlist::{DovecotList, DovecotRecord};
use super::map::IdMap;
use super::order;
use super::taken_id::TakenId;
use super::uidl_format::{UidlFormat, UidlValues};
use crate::config::{Duplicates, NewMailOrder};

/// Where unique-ids come from.
#[derive(Clone, Copy, Debug)]
pub enum Source<'a> {
    /// Dovecot's list.
    Dovecot(DovecotSource<'a>),
    /// Courier's list.
    Courier(&'a CourierList),
    /// The base name: qmail-pop3d, and Dovecot's `%f`.
    BaseName,
    /// The operator's own list, by base names or unique names.
    Map(&'a IdMap),
    /// The unique name, as for users whose mail comes from no other server.
    Name,
}

/// Dovecot's list and the settings of its POP3 server.
#[derive(Clone, Copy, Debug)]
pub struct DovecotSource<'a> {
    /// `dovecot-uidlist`.
    pub list: &'a DovecotList,
    /// `pop3_uidl_format`.
    pub format: &'a UidlFormat,
    /// `pop3_reuse_xuidl`.
    pub reuse_xuidl: bool,
    /// `pop3_uidl_duplicates`.
    pub duplicates: Duplicates,
}

/// The unique-id of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    /// The index of the message in `names`.
    pub position: usize,
    /// The unique-id, which no other message has.
    pub id: TakenId,
    /// The index of its source; `None` if no source has a legal one that is not another message's.
    pub source: Option<usize>,
    /// The index of the first source whose unique-id for the message it does not have, and why.
    pub passed_over: Option<(usize, PassedOver)>,
}

/// Why a message does not have the unique-id of a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PassedOver {
    /// It cannot be a unique-id.
    Illegal,
    /// Another message has it.
    Doubled,
}

/// Chooses a unique-id for each message, in the order of the listing.
///
/// - `names` are the base names, in the order in which they are listed without another server.
/// - `is_used` says whether an id belongs to a message that is not among them.
/// - A message has the id of the first source that has a legal one for it which is not another
///   message's. Sources are asked one after the other; each decides in the order of UIDs.
/// - Messages in a list come first, in the order of their server: Dovecot's `O` and UIDs, Courier's
///   order of names. New mail comes last: in that server's order of new names, or in the order of
///   `names` if that is the order of the modification times.
/// - With [`Duplicates::Allow`], Dovecot listed an id twice. Here, the first in the order of UIDs
///   keeps it.
/// - `xuidl` gives the value of the header field `X-UIDL` of a message.
pub fn take_over(
    names: &[&[u8]],
    sources: &[Source<'_>],
    order: NewMailOrder,
    is_used: impl Fn(&TakenId) -> bool,
    mut xuidl: impl FnMut(usize) -> Option<Vec<u8>>,
) -> Vec<Taken> {
    let listed = in_listing_order(names, sources, order);
    let by_uid = in_uid_order(&listed, sources);
    let choices = (0..names.len()).map(|_| Choice::default()).collect();
    let mut ids = Ids { choices, used: HashSet::new(), is_used };
    for (index, source) in sources.iter().enumerate() {
        let mut seen = HashMap::new();
        for message in &by_uid {
            // Dovecot counts the ids of all messages.
            if ids.is_chosen(*message) && !source.renames() {
                continue;
            }
            let id = source.id(message.base_name, || xuidl(message.position));
            let id = if source.renames() {
                id.map(|id| renamed(id, &mut seen, |id| ids.is_used(id)))
            } else {
                id
            };
            if let Some(id) = id {
                ids.choose(*message, id, Some(index));
            }
        }
    }
    for message in &by_uid {
        ids.choose_by_name(*message);
    }
    listed.into_iter().filter_map(|message| ids.take(message)).collect()
}

#[derive(Clone, Copy)]
struct Message<'a> {
    position: usize,
    base_name: &'a [u8],
}

impl Source<'_> {
    /// The unique-id of a message; `None` if the source does not know the message.
    pub fn id(&self, base: &[u8], xuidl: impl FnOnce() -> Option<Vec<u8>>) -> Option<Vec<u8>> {
        match self {
            Self::Dovecot(dovecot) => dovecot.id(base, xuidl),
            Self::Courier(list) => list.ids.get(base).map(|id| id.text(base)),
            Self::BaseName => Some(base.to_vec()),
            Self::Map(map) => {
                let id = map.get(base).or_else(|| map.get(without_sizes(base)));
                id.map(|id| id.as_str().as_bytes().to_vec())
            }
            Self::Name => Some(id_of_name(base)),
        }
    }

    fn renames(&self) -> bool {
        matches!(self, Self::Dovecot(DovecotSource { duplicates: Duplicates::Rename, .. }))
    }

    /// Compares names in the order of this server.
    fn compare(&self, a: &[u8], b: &[u8]) -> Option<Ordering> {
        match self {
            Self::Dovecot(_) => Some(order::dovecot(a, b)),
            Self::Courier(_) => Some(order::courier(a, b)),
            Self::BaseName | Self::Map(_) | Self::Name => None,
        }
    }

    fn dovecot_record(&self, base: &[u8]) -> Option<&DovecotRecord> {
        match self {
            Self::Dovecot(dovecot) => dovecot.list.records.get(base),
            Self::Courier(_) | Self::BaseName | Self::Map(_) | Self::Name => None,
        }
    }
}

impl DovecotSource<'_> {
    fn id(&self, base: &[u8], xuidl: impl FnOnce() -> Option<Vec<u8>>) -> Option<Vec<u8>> {
        let record = self.list.records.get(base)?;
        if let Some(uidl) = &record.uidl {
            return Some(if uidl.is_empty() { base.to_vec() } else { uidl.to_vec() });
        }
        let reused = if self.reuse_xuidl { xuidl() } else { None };
        reused.or_else(|| {
            let guid = record.guid.as_deref().filter(|guid| !guid.is_empty());
            let (uid, uid_validity) = (record.uid, self.list.uid_validity);
            let guid = guid.unwrap_or(base);
            Some(self.format.expand(&UidlValues { uid, uid_validity, base_name: base, guid }))
        })
    }
}

/// The id under which Dovecot lists a message with `duplicates = rename`; `seen` counts the ids.
///
/// Messages whose ids are used already have been counted before.
fn renamed(
    mut id: Vec<u8>,
    seen: &mut HashMap<Vec<u8>, u32>,
    is_used: impl Fn(&[u8]) -> bool,
) -> Vec<u8> {
    let numbered = |id: &[u8], number: u32| [id, format!("-{number}").as_bytes()].concat();
    loop {
        let count = match seen.get(&id) {
            Some(count) => *count,
            None if is_used(&id) => {
                let mut numbers = 2..u32::MAX;
                numbers.find(|number| !is_used(&numbered(&id, *number))).unwrap_or(2) - 1
            }
            None => break,
        };
        let count = count.saturating_add(1);
        let next = numbered(&id, count);
        seen.insert(std::mem::replace(&mut id, next), count);
    }
    seen.insert(id.clone(), 1);
    id
}

/// The ids that are chosen so far.
struct Ids<F> {
    choices: Vec<Choice>,
    used: HashSet<TakenId>,
    is_used: F,
}

/// What is chosen for a message.
#[derive(Default)]
struct Choice {
    /// The id and the index of its source.
    id: Option<(TakenId, Option<usize>)>,
    passed_over: Option<(usize, PassedOver)>,
}

impl<F: Fn(&TakenId) -> bool> Ids<F> {
    fn is_used(&self, id: &[u8]) -> bool {
        TakenId::try_from(id.to_vec()).is_ok_and(|id| (self.is_used)(&id))
    }

    fn is_chosen(&self, message: Message<'_>) -> bool {
        self.choices.get(message.position).is_some_and(|choice| choice.id.is_some())
    }

    /// Chooses an id that is legal and not another message's, unless the message has one.
    fn choose(&mut self, message: Message<'_>, id: Vec<u8>, source: Option<usize>) {
        let Some(choice @ Choice { id: None, .. }) = self.choices.get_mut(message.position) else {
            return;
        };
        let why = match TakenId::try_from(id) {
            Ok(id) if !(self.is_used)(&id) && self.used.insert(id.clone()) => {
                choice.id = Some((id, source));
                return;
            }
            Ok(_) => PassedOver::Doubled,
            Err(_) => PassedOver::Illegal,
        };
        choice.passed_over = choice.passed_over.or(source.map(|source| (source, why)));
    }

    /// Chooses the unique name or a hash of it; if another message has that, a hash of the name and
    /// a number.
    fn choose_by_name(&mut self, message: Message<'_>) {
        let base = message.base_name;
        let mut ids = std::iter::once(id_of_name(base)).chain((2..=u64::MAX).map(|number| {
            by_name::hash(&[base, b"\0", number.to_string().as_bytes()].concat()).to_vec()
        }));
        while let (false, Some(id)) = (self.is_chosen(message), ids.next()) {
            self.choose(message, id, None);
        }
    }

    fn take(&mut self, message: Message<'_>) -> Option<Taken> {
        let Choice { id, passed_over } = self.choices.get_mut(message.position)?;
        let (id, source) = id.take()?;
        Some(Taken { position: message.position, id, source, passed_over: *passed_over })
    }
}

/// The unique-id of a message that comes from no other server.
fn id_of_name(base: &[u8]) -> Vec<u8> {
    let unique = without_sizes(base);
    if by_name::is_unique_id(unique) { unique.to_vec() } else { by_name::hash(unique).to_vec() }
}

/// The place of a message in the listing, before names are compared.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    /// The index of the first list that has the message. No list has new mail, which comes last.
    source: usize,
    order: u32,
    uid: u32,
}

impl Place {
    fn of(base: &[u8], sources: &[Source<'_>]) -> Self {
        let mut places = sources.iter().enumerate().filter_map(|(index, source)| match source {
            Source::Dovecot(dovecot) => {
                let DovecotRecord { uid, order, .. } = dovecot.list.records.get(base)?;
                Some(Self { source: index, order: *order, uid: *uid })
            }
            Source::Courier(list) if list.ids.contains_key(base) => {
                Some(Self { source: index, order: 0, uid: 0 })
            }
            Source::Courier(_) | Source::BaseName | Source::Map(_) | Source::Name => None,
        });
        places.next().unwrap_or(Self { source: sources.len(), order: 0, uid: 0 })
    }
}

fn in_listing_order<'a>(
    names: &[&'a [u8]],
    sources: &[Source<'_>],
    order: NewMailOrder,
) -> Vec<Message<'a>> {
    let messages = names.iter().enumerate().map(|(position, &base_name)| {
        (Place::of(base_name, sources), Message { position, base_name })
    });
    let mut messages = messages.collect::<Vec<_>>();
    // The sort is stable: messages that no server orders keep the order of `names`.
    messages.sort_by(|(place_a, a), (place_b, b)| {
        place_a.cmp(place_b).then_with(|| {
            let own = sources.get(place_a.source);
            if own.is_none() && order == NewMailOrder::Modified {
                return Ordering::Equal;
            }
            let mut orders = own.into_iter().chain(sources);
            let order = orders.find_map(|source| source.compare(a.base_name, b.base_name));
            order.unwrap_or(Ordering::Equal)
        })
    });
    messages.into_iter().map(|(_, message)| message).collect()
}

/// The messages in the order of Dovecot's UIDs, then those without a UID in the order of the listing.
fn in_uid_order<'a>(listed: &[Message<'a>], sources: &[Source<'_>]) -> Vec<Message<'a>> {
    let mut messages = listed.to_vec();
    messages.sort_by_cached_key(|message| {
        let record = sources.iter().find_map(|source| source.dovecot_record(message.base_name));
        record.map_or(u32::MAX, |record| record.uid)
    });
    messages
}
