//! Each SASL mechanism, from its name to the credentials to verify.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use restante::protocol::Secret;
use restante::protocol::sasl::{
    Channel, Mechanism, Nonce, ScramHash, ScramKeys, Step, challenge_line, decode, decode_initial,
    saslprep,
};

/// The keys of a user, and those of a decoy.
static KEYS: LazyLock<[ScramKeys; 4]> = LazyLock::new(|| {
    let derive = |hash| ScramKeys::derive(b"pencil", b"salt of sixteen.", 1, hash);
    let decoy = |hash| ScramKeys::decoy(&[7; 32], 1, hash);
    [
        derive(ScramHash::Sha1),
        derive(ScramHash::Sha256),
        decoy(ScramHash::Sha1),
        decoy(ScramHash::Sha256),
    ]
});

fuzz_target!(|input: (u8, bool, Vec<Vec<u8>>)| {
    let (mechanism, encoded, responses) = input;
    let mechanism = Mechanism::ALL[usize::from(mechanism) % Mechanism::ALL.len()];
    assert_eq!(Mechanism::parse(mechanism.name().as_bytes()), Some(mechanism));
    let channel = Channel { exporter: Some([1; 32]), end_point: Some(vec![2; 32]) };
    let mut exchange = mechanism.begin(channel);
    for (at, response) in responses.iter().enumerate() {
        let read = if at == 0 { decode_initial(response) } else { decode(response) };
        let response = match read {
            Ok(response) if encoded => response,
            _ => Secret::new(response.clone()),
        };
        assert!(!challenge_line(exchange.challenge()).contains(['\r', '\n']));
        saslprep(response.expose());
        exchange = match exchange.step(response) {
            Step::Challenge(next) => next,
            Step::NeedKeys(awaiting) => {
                let second = responses.get(at + 1).cloned().unwrap_or_default();
                let sha256 = usize::from(awaiting.hash() == ScramHash::Sha256);
                let Some(keys) = KEYS.get(sha256 + 2 * (second.len() % 2)) else { return };
                let exchange = awaiting.supply(keys, &Nonce::new([3; 18]));
                if let Ok(proof) = exchange.step(&Secret::new(second)) {
                    assert!(proof.verify(keys).is_none(), "a proof without the password");
                }
                return;
            }
            Step::Verify(..)
            | Step::Token(_)
            | Step::NoToken(_)
            | Step::External(_)
            | Step::Refused(_) => return,
        };
    }
});
