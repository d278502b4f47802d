//! Commands and their arguments: names, message-numbers, languages, the first octets.

#![no_main]

use libfuzzer_sys::fuzz_target;
use restante::protocol::{ClaimedName, Command, LanguageRange, Username, WrongProtocol};

fuzz_target!(|line: &[u8]| {
    let once = Command::parse(line);
    assert_eq!(once.is_ok(), Command::parse(line).is_ok());
    // Keywords are case-insensitive (RFC 1939 §3).
    let word = line.iter().position(|octet| *octet == b' ').unwrap_or(line.len());
    let (keyword, rest) = line.split_at(word);
    let other = [keyword.to_ascii_lowercase().as_slice(), rest].concat();
    assert_eq!(once.is_ok(), Command::parse(&other).is_ok());

    if let Ok(name) = Username::try_from(&ClaimedName::new(line)) {
        // An accepted name is in its canonical form.
        let again = Username::try_from(name.as_str()).expect("a name is a name");
        assert_eq!(name, again);
        assert!(!name.as_str().contains(|c: char| c.is_control()));
    }
    if let (Some(range), Ok(tag)) = (LanguageRange::parse(line), std::str::from_utf8(line)) {
        range.includes(tag);
    }
    WrongProtocol::recognise(line);
    WrongProtocol::may_follow(line);
});
