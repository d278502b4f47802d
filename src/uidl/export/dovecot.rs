//! `dovecot-uidlist`: a UID for each message, and a `P` with its unique-id, which Dovecot serves
//! whatever its format is.

use std::collections::HashSet;

use super::super::dovecot_uidlist::DovecotRecord;
use super::super::lines::decimal;
use super::super::take_over::DovecotSource;
use super::super::uidl_format::{UidlFormat, UidlValues};
use super::{Exported, Listed, Names, Omitted, Reason};

/// Writes the list that makes Dovecot serve `messages` in their order.
///
/// - `source` has Dovecot's settings and its list of the files that exist. UIDVALIDITY, UIDs, GUIDs
///   and sizes of that list are kept, also of files that are not in the listing.
/// - `removed` are the unique-ids of messages that clients may still remember. Neither these nor
///   those of the messages are given to new mail.
pub fn dovecot_list<'a>(
    source: &DovecotSource<'_>,
    messages: &[Listed<'a>],
    removed: impl IntoIterator<Item = &'a [u8]>,
) -> Exported {
    let ids = messages.iter().map(|message| message.id).chain(removed);
    let mut uids = Uids { source, next: next_uid(source, ids) };
    let (mut names, mut omitted) = (Names::default(), Vec::new());
    let mut records = Vec::with_capacity(messages.len());
    for (position, message) in messages.iter().enumerate() {
        match names.check(message.base_name).and_then(|()| uids.of(message.base_name)) {
            Ok(uid) => records.push(record(source, message, uid)),
            Err(reason) => omitted.push(Omitted { position, reason }),
        }
    }
    let next = uids.next;
    set_orders(&mut records);
    let count = records.len();
    records.extend(others(source, messages, &names));
    records.sort_unstable_by_key(|record| record.uid);
    Exported { text: text(source, next, &records), messages: count, moved: 0, omitted }
}

/// A line of the list.
struct Record<'a> {
    uid: u32,
    guid: Option<&'a [u8]>,
    uidl: Option<&'a [u8]>,
    order: Option<usize>,
    physical_octets: Option<u64>,
    virtual_octets: Option<u64>,
    base_name: &'a [u8],
}

/// Gives out UIDs.
struct Uids<'a> {
    source: &'a DovecotSource<'a>,
    next: u32,
}

impl Uids<'_> {
    /// The UID of a message: that of Dovecot's list, or a new one.
    fn of(&mut self, base_name: &[u8]) -> Result<u32, Reason> {
        if let Some(record) = self.source.list.records.get(base_name) {
            return Ok(record.uid);
        }
        // The header needs a next UID, too.
        let next = self.next.checked_add(1).ok_or(Reason::NoUidLeft)?;
        Ok(std::mem::replace(&mut self.next, next))
    }
}

/// A UID above those of the list, and above those from which the format, or a usual one that the
/// other Dovecot may have, would make one of `ids`.
fn next_uid<'a>(source: &DovecotSource<'_>, ids: impl Iterator<Item = &'a [u8]>) -> u32 {
    let usual = USUAL_FORMATS.iter().filter_map(|format| UidlFormat::parse(format).ok());
    let usual = usual.collect::<Vec<_>>();
    ids.fold(source.list.next_uid, |next, id| {
        let made_of = |uid: &u32| {
            let uid_validity = source.list.uid_validity;
            let values = UidlValues { uid: *uid, uid_validity, base_name: b"", guid: b"" };
            let mut formats = usual.iter().chain([source.format]);
            formats.any(|format| format.expand(&values) == id)
        };
        let highest =
            numbers(id).filter(|uid| *uid >= next && *uid < u32::MAX).filter(made_of).max();
        highest.map_or(next, |uid| uid + 1)
    })
}

/// The formats that are made of UIDs in the comments of Dovecot's 20-pop3.conf, and its default.
const USUAL_FORMATS: [&str; 5] = ["%08Xu%08Xv", "%08Xv%08Xu", "%u", "%v.%u", "%v-%u"];

/// The numbers in a unique-id that may be a UID, in decimal or hexadecimal.
fn numbers(id: &[u8]) -> impl Iterator<Item = u32> {
    const DIGITS: usize = 8;
    let decimals = id.split(|octet| !octet.is_ascii_digit()).filter_map(decimal);
    let hexadecimals = id.split(|octet| !octet.is_ascii_hexdigit()).flat_map(|digits| {
        let windows = digits.windows(DIGITS.min(digits.len()).max(1));
        windows.filter_map(|digits| u32::from_str_radix(str::from_utf8(digits).ok()?, 16).ok())
    });
    decimals.chain(hexadecimals)
}

fn record<'a>(source: &'a DovecotSource<'_>, message: &Listed<'a>, uid: u32) -> Record<'a> {
    let Listed { id, base_name, .. } = *message;
    // An empty value stands for the base name.
    let uidl = Some(if id == base_name { b"".as_slice() } else { id });
    Record { uidl, ..unordered(uid, source.list.records.get(base_name), base_name) }
}

fn unordered<'a>(uid: u32, known: Option<&'a DovecotRecord>, base_name: &'a [u8]) -> Record<'a> {
    Record {
        uid,
        guid: known.and_then(|known| known.guid.as_deref()),
        uidl: known.and_then(|known| known.uidl.as_deref()),
        order: None,
        physical_octets: known.and_then(|known| known.physical_octets),
        virtual_octets: known.and_then(|known| known.virtual_octets),
        base_name,
    }
}

/// Sets the orders where they differ from the order of UIDs.
///
/// Dovecot lists messages without an order last, by their UIDs. So does it with new mail.
fn set_orders(records: &mut [Record<'_>]) {
    let mut neighbours = records.windows(2);
    let last = neighbours.rposition(|pair| matches!(pair, [a, b] if a.uid > b.uid));
    let count = last.map_or(0, |last| last + 1);
    for (index, record) in records.iter_mut().take(count).enumerate() {
        record.order = Some(index + 1);
    }
}

/// The records of files that are not in the listing, which IMAP clients may know.
fn others<'a>(
    source: &'a DovecotSource<'_>,
    messages: &[Listed<'_>],
    names: &Names<'_>,
) -> impl Iterator<Item = Record<'a>> {
    let ids = messages.iter().map(|message| message.id).collect::<HashSet<_>>();
    let known = source.list.records.iter().filter(|(name, _)| !names.0.contains(&***name));
    known.map(move |(base_name, known)| {
        let record = unordered(known.uid, Some(known), base_name);
        let uidl = record.uidl.filter(|uidl| !ids.contains(uidl));
        Record { uidl, ..record }
    })
}

fn text(source: &DovecotSource<'_>, next_uid: u32, records: &[Record<'_>]) -> Vec<u8> {
    let mut text = format!("3 V{} N{next_uid}", source.list.uid_validity).into_bytes();
    if let Some(guid) = &source.list.mailbox_guid {
        text.extend_from_slice(format!(" G{guid}").as_bytes());
    }
    text.push(b'\n');
    for record in records {
        record.append_to(&mut text);
    }
    text
}

impl Record<'_> {
    fn append_to(&self, text: &mut Vec<u8>) {
        text.extend_from_slice(self.uid.to_string().as_bytes());
        let mut field = |key: u8, value: &[u8]| {
            text.extend_from_slice(&[b' ', key]);
            text.extend_from_slice(value);
        };
        let number = |value: Option<u64>| value.map(|value| value.to_string());
        if let Some(guid) = self.guid {
            field(b'G', guid);
        }
        if let Some(uidl) = self.uidl {
            field(b'P', uidl);
        }
        if let Some(order) = self.order {
            field(b'O', order.to_string().as_bytes());
        }
        if let Some(octets) = number(self.physical_octets) {
            field(b'S', octets.as_bytes());
        }
        if let Some(octets) = number(self.virtual_octets) {
            field(b'W', octets.as_bytes());
        }
        text.extend_from_slice(b" :");
        text.extend_from_slice(self.base_name);
        text.push(b'\n');
    }
}
