//! What the lists of other servers say about the messages that a login shows.
//!
//! The sources are asked for all messages, as if none had been listed here.

use std::collections::HashMap;

use super::super::super::{Failure, Position};
use super::super::folders::Folders;
use super::super::listing::Listing;

use super::settings::{Places, Settings};
use super::sources::{self, Asked};
use crate::config::UidlSource;
use crate::protocol::UniqueId;
use crate::uidl::{BadLine, PassedOver, displaced};

/// The messages of a login, compared with the lists of other servers that the configuration names.
#[derive(Debug)]
pub struct ListComparison {
    /// How each message is in the lists, in the order of the login.
    pub messages: Vec<InList>,
    /// How many messages have another place than on the other server.
    pub moved: usize,
    /// Where `dovecot-uidlist` ended too early.
    pub damage: Option<BadLine>,
    /// How many lines of `courierpop3dsizelist` are no record.
    pub ignored_lines: u64,
}

/// How a message is in the lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InList {
    /// With the unique-id that the login shows.
    Same,
    /// With another unique-id.
    Other,
    /// With a unique-id that another message has.
    Doubled,
    /// With a unique-id that cannot be listed.
    Illegal,
    /// Not at all, because no client has seen it.
    Absent,
}

impl ListComparison {
    /// Compares the messages that a login shows, of a listing.
    ///
    /// # Errors
    /// Those of a login that has to take the unique-ids over.
    pub(in super::super) fn of<'a>(
        (folders, listing): (&Folders<'_>, &Listing),
        settings: &Settings,
        places: &Places,
        shown: impl Iterator<Item = (Position, UniqueId<'a>)>,
    ) -> Result<Self, Failure> {
        // Hidden messages have unique-ids, too.
        let entries = listing.entries().collect();
        let Asked { sourced, lists } = sources::ask(folders, settings, places, entries, |_| false)?;
        let places = shown.enumerate().map(|(place, (at, id))| (at.0 as usize, (place, id)));
        let places = places.collect::<HashMap<_, _>>();
        let mut messages = vec![InList::Absent; places.len()];
        let mut in_order = Vec::new();
        for message in sourced {
            let Some((place, id)) = places.get(&message.nth) else { continue };
            if matches!(message.source, UidlSource::Dovecot | UidlSource::Courier) {
                in_order.push(*place);
            }
            if let Some(in_list) = messages.get_mut(*place) {
                *in_list = match message.passed_over.filter(|(source, _)| is_list(*source)) {
                    _ if is_list(message.source) && message.id.as_str() == id.as_str() => {
                        InList::Same
                    }
                    _ if is_list(message.source) => InList::Other,
                    Some((_, PassedOver::Illegal)) => InList::Illegal,
                    Some((_, PassedOver::Doubled)) => InList::Doubled,
                    None => InList::Absent,
                };
            }
        }
        let ignored_lines = lists.courier.map_or(0, |list| list.ignored_lines);
        let damage = lists.dovecot.and_then(|list| list.damage);
        Ok(Self { messages, moved: displaced(in_order), damage, ignored_lines })
    }
}

fn is_list(source: UidlSource) -> bool {
    match source {
        UidlSource::Dovecot | UidlSource::Courier | UidlSource::Map => true,
        UidlSource::BaseName | UidlSource::Name => false,
    }
}
