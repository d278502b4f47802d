//! Lists of other servers: each message has one unique-id, and no other message has it.

#![no_main]

use std::collections::HashSet;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use restante::config::{Duplicates, NewMailOrder};
use restante::uidl::{
    CourierList, DovecotList, DovecotSource, IdMap, Source, UidlFormat, take_over,
};

#[derive(Arbitrary, Debug)]
struct Input {
    dovecot: Vec<u8>,
    courier: Vec<u8>,
    map: Vec<u8>,
    format: String,
    rename: bool,
    xuidl: Option<Vec<u8>>,
    names: Vec<Vec<u8>>,
}

fuzz_target!(|input: Input| {
    let dovecot = DovecotList::read(input.dovecot.as_slice(), |_| true).ok();
    let courier = CourierList::read(input.courier.as_slice(), |_| true).ok();
    let map = IdMap::read(input.map.as_slice(), |name| name).ok();
    let format = UidlFormat::parse(&input.format).ok();
    let mut sources = Vec::new();
    if let (Some(list), Some(format)) = (&dovecot, &format) {
        let duplicates = if input.rename { Duplicates::Rename } else { Duplicates::Allow };
        let reuse_xuidl = input.xuidl.is_some();
        sources.push(Source::Dovecot(DovecotSource { list, format, reuse_xuidl, duplicates }));
    }
    sources.extend(courier.as_ref().map(Source::Courier));
    sources.extend(map.as_ref().map(Source::Map));
    sources.push(Source::BaseName);

    let names = input.names.iter().map(Vec::as_slice);
    // The files of the lists, too.
    let listed = dovecot.iter().flat_map(|list| list.records.keys());
    let listed = listed.chain(courier.iter().flat_map(|list| list.ids.keys())).map(|name| &**name);
    let names = names.chain(listed).collect::<Vec<_>>();
    let order = NewMailOrder::Number;
    let taken = take_over(&names, &sources, order, |_| false, |_| input.xuidl.clone());
    let positions = taken.iter().map(|taken| taken.position).collect::<HashSet<_>>();
    let ids = taken.iter().map(|taken| taken.id.as_str()).collect::<HashSet<_>>();
    assert_eq!((taken.len(), positions.len(), ids.len()), (names.len(), names.len(), names.len()));
});
