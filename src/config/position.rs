//! The positions of the values of a file, for errors that are found later.

use std::collections::BTreeMap;

/// The octet at which each value starts, by its key: `tls.host[0].certificate`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Positions(BTreeMap<String, usize>);

impl Positions {
    pub(super) fn record(&mut self, key: String, octet: usize) {
        self.0.insert(key, octet);
    }

    /// The octet at which a value starts. Without such a value, that of the section or list around it.
    pub(super) fn of(&self, key: &str) -> usize {
        let mut key = key;
        loop {
            if let Some(octet) = self.0.get(key) {
                return *octet;
            }
            match key.rsplit_once(['.', '[']) {
                Some((around, _)) => key = around,
                None => return 0,
            }
        }
    }
}
