//! Sessions from each state: one reply for each command, and only QUIT removes messages.

#![no_main]

use libfuzzer_sys::fuzz_target;
use restante::mailbox::memory::MemoryStore;
use restante::session::{End, Security};
use restante_fuzz::{Clock, MESSAGES, converse, count_replies, mrose};

/// The input that brings a session into each of its states.
const STATES: [&str; 5] = [
    "",
    "USER mrose\r\n",
    "AUTH LOGIN\r\n",
    "USER mrose\r\nPASS tanstaaf\r\n",
    "USER mrose\r\nPASS tanstaaf\r\nDELE 1\r\nRETR 2\r\n",
];

fuzz_target!(|input: (u8, u8, bool, &[u8])| {
    let (state, piece, cleartext, sent) = input;
    let state = STATES[usize::from(state) % STATES.len()];
    let security =
        if cleartext { Security::Cleartext { stls: true } } else { Security::ImplicitTls };
    let sent = [state.as_bytes(), sent].concat();
    let store = MemoryStore::default();
    for (at, message) in MESSAGES.iter().enumerate() {
        store.deliver(&mrose(), &format!("id-{at}"), message.as_bytes());
    }
    let piece = 1 << (piece % 12);
    let (output, end, summary) = converse(store.clone(), &sent, piece, security, Clock::Paused);
    let left = store.unique_ids(&mrose()).len();
    assert_eq!(summary.removed, (MESSAGES.len() - left) as u64);
    assert!(left == MESSAGES.len() || matches!(end, End::Quit));
    if !matches!(end, End::WrongProtocol(_)) {
        // A line that is too long is answered before its end has come.
        let lines = sent.split_inclusive(|octet| *octet == b'\n').count();
        assert!(count_replies(&sent, &output) <= lines);
    }
});
