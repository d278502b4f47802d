//! `courierpop3dsizelist` version 3: two numbers for each message, of which Courier makes its
//! unique-id.

use std::collections::HashMap;
use std::num::NonZeroU32;

use super::super::courier_list::{CourierId, CourierList};
use super::super::lines::decimal;
use super::super::order;
use super::{Exported, Listed, Names, Omitted, Reason};

/// Writes the list that makes Courier serve `messages`, in its own order, which is that of names.
///
/// - `list` is Courier's list. Its UIDVALIDITY and next number are kept. Without one, UIDVALIDITY
///   is that of most of the unique-ids, or else `now` in seconds since 1970.
/// - `removed` are the unique-ids of messages that clients may still remember. Neither these nor
///   those of the messages are given to new mail.
pub fn courier_list<'a>(
    list: Option<&CourierList>,
    now: NonZeroU32,
    messages: &[Listed<'a>],
    removed: impl IntoIterator<Item = &'a [u8]>,
) -> Exported {
    let (mut names, mut omitted) = (Names::default(), Vec::new());
    let mut records = Vec::with_capacity(messages.len());
    for (position, message) in messages.iter().enumerate() {
        match names.check(message.base_name).and_then(|()| courier_id(message)) {
            Ok(id) => records.push(Record { position, id, message }),
            Err(reason) => omitted.push(Omitted { position, reason }),
        }
    }
    let ids = messages.iter().map(|message| message.id).chain(removed);
    let header = Header::new(list, now, &ids.filter_map(numbered).collect::<Vec<_>>());
    records.sort_by(|a, b| order::courier(a.message.base_name, b.message.base_name));
    let moved = order::displaced(records.iter().map(|record| record.position));
    let mut text = format!("/3 {} {}\n", header.next, header.uid_validity).into_bytes();
    for record in &records {
        record.append_to(&mut text, header.uid_validity);
    }
    Exported { text, messages: records.len(), moved, omitted }
}

/// A line of the list.
struct Record<'a> {
    position: usize,
    id: CourierId,
    message: &'a Listed<'a>,
}

struct Header {
    next: u64,
    uid_validity: u64,
}

impl Header {
    /// The header of a list after these unique-ids have been given.
    fn new(list: Option<&CourierList>, now: NonZeroU32, ids: &[CourierId]) -> Self {
        let of_list = list.filter(|list| list.uid_validity != 0);
        let uid_validity = of_list.map(|list| list.uid_validity);
        let uid_validity = uid_validity.or_else(|| usual_uid_validity(ids));
        let uid_validity = uid_validity.unwrap_or(u64::from(now.get()));
        let given = ids.iter().filter_map(|id| match id {
            CourierId::Number(number, of_id) if *of_id == uid_validity => Some(*number),
            CourierId::Number(..) | CourierId::BaseName => None,
        });
        let next = given.max().map_or(1, |highest| highest.saturating_add(1));
        Self { next: next.max(of_list.map_or(1, |list| list.next)), uid_validity }
    }
}

/// The UIDVALIDITY of most of the unique-ids.
fn usual_uid_validity(ids: &[CourierId]) -> Option<u64> {
    let mut counts = HashMap::<u64, usize>::new();
    for id in ids {
        if let CourierId::Number(_, uid_validity @ 1..) = id {
            *counts.entry(*uid_validity).or_default() += 1;
        }
    }
    let usual = counts.into_iter().max_by_key(|(uid_validity, count)| (*count, *uid_validity));
    usual.map(|(uid_validity, _)| uid_validity)
}

fn courier_id(message: &Listed<'_>) -> Result<CourierId, Reason> {
    let is_base_name = || CourierId::BaseName.text(message.base_name) == message.id;
    let id = numbered(message.id).or_else(|| is_base_name().then_some(CourierId::BaseName));
    id.ok_or(Reason::NotOfCourier)
}

/// `UIDn` or `UIDn-UIDVALIDITY`, as Courier would write it.
fn numbered(id: &[u8]) -> Option<CourierId> {
    // Courier reads signed numbers.
    let number = |digits| decimal(digits).filter(|number| (1..HIGHEST).contains(number));
    let numbers = id.strip_prefix(b"UID")?;
    let courier_id = match numbers.iter().position(|octet| *octet == b'-') {
        None => CourierId::Number(number(numbers)?, 0),
        Some(at) => {
            let (before, dash_and_after) = numbers.split_at(at);
            CourierId::Number(number(before)?, number(dash_and_after.get(1..)?)?)
        }
    };
    (courier_id.text(b"") == id).then_some(courier_id)
}

impl Record<'_> {
    fn append_to(&self, text: &mut Vec<u8>, uid_validity: u64) {
        let (number, uid_validity) = match self.id {
            CourierId::Number(number, uid_validity) => (number, uid_validity),
            CourierId::BaseName => (0, uid_validity),
        };
        text.extend_from_slice(self.message.base_name);
        let octets = self.message.octets;
        // Courier finds a record only if its name has flags, as the file has after a login.
        text.extend_from_slice(format!(":2, {octets} {number}:{uid_validity}:0\n").as_bytes());
    }
}

const HIGHEST: u64 = i64::MAX.cast_unsigned();
