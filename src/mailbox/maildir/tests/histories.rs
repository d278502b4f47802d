//! Any history of a Maildir that Dovecot has served: deliveries, flags, removals, lists that change,
//! and the loss of list or index. A unique-id that was shown never changes, and is never used for
//! two messages. New mail is listed last.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::num::NonZeroU32;

use proptest::prelude::*;

use super::super::MaildirStore;
use super::continuity::{DOVECOT, open, section};
use super::support::{Maildir, runtime, unique_ids};
use crate::config::{self, Dovecot};
use crate::mailbox::{Maildrop, Position};

#[derive(Clone, Debug)]
enum Step {
    /// A message of this name is delivered, unless it is there.
    Deliver(u8),
    /// It moves to `cur`, or gets other flags and sizes in its name.
    Flag(u8),
    /// Another program removes it.
    Remove(u8),
    /// Dovecot has another list, of these names in this order.
    List(u8, Vec<u8>),
    LoseList,
    LoseIndex,
    Login,
    /// A client removes the message at this position.
    Quit(u8),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let name = || 0..8_u8;
    let step = prop_oneof![
        5 => name().prop_map(Step::Deliver),
        3 => name().prop_map(Step::Flag),
        2 => name().prop_map(Step::Remove),
        2 => (1..4_u8, proptest::collection::vec(name(), 0..8)).prop_map(|(v, n)| Step::List(v, n)),
        1 => Just(Step::LoseList),
        2 => Just(Step::LoseIndex),
        5 => Just(Step::Login),
        1 => name().prop_map(Step::Quit),
    ];
    proptest::collection::vec(step, 1..30)
}

struct History {
    maildir: Maildir,
    store: MaildirStore,
    /// The present files by their names.
    present: BTreeMap<u8, String>,
    /// How often a name has come back after a login without it.
    returns: HashMap<u8, u32>,
    /// The names at the last login.
    listed: BTreeSet<u8>,
    flags: u32,
    shown: HashMap<(u8, u32), String>,
    owners: HashMap<String, (u8, u32)>,
    places: HashMap<(u8, u32), usize>,
}

impl History {
    fn new() -> Self {
        let maildir = Maildir::new();
        let dovecot = Dovecot { format: "%u-%v".to_owned(), ..Dovecot::default() };
        let section = config::Maildir { dovecot, ..section(DOVECOT) };
        let guard = config::Guard { share: 1, least: NonZeroU32::MIN, ..config::Guard::default() };
        Self {
            // A guard that refuses the least change.
            store: maildir.store().with_unique_ids(&section, &guard).unwrap(),
            maildir,
            present: BTreeMap::new(),
            returns: HashMap::new(),
            listed: BTreeSet::new(),
            flags: 0,
            shown: HashMap::new(),
            owners: HashMap::new(),
            places: HashMap::new(),
        }
    }

    async fn step(&mut self, step: &Step) {
        match step {
            Step::Deliver(name) if !self.present.contains_key(name) => {
                let file = format!("{}.h", u32::from(*name) * 7 % 8);
                self.maildir.deliver(&file, format!("{name}\n").as_bytes());
                self.present.insert(*name, format!("new/{file}"));
            }
            Step::Flag(name) => {
                let Some(file) = self.present.get_mut(name) else { return };
                self.flags += 1;
                let (flags, size) = (["", "S", "RS"], ["", ",S=2"]);
                let unique = format!("{}.h", u32::from(*name) * 7 % 8);
                let (size, flags) = (size[self.flags as usize % 2], flags[self.flags as usize % 3]);
                let to = format!("cur/{unique}{size}:2,{flags}");
                self.maildir.rename(file, &to);
                *file = to;
            }
            Step::Remove(name) => {
                if let Some(file) = self.present.remove(name) {
                    self.maildir.remove(&file);
                }
            }
            Step::List(validity, names) => {
                let mut list = format!("3 V{validity} N99\n");
                for (uid, name) in (1..).zip(names) {
                    list.push_str(&format!("{uid} :{}.h\n", u32::from(*name) * 7 % 8));
                }
                self.maildir.put("dovecot-uidlist", list.as_bytes());
            }
            Step::LoseList => drop(fs::remove_file(self.maildir.path("dovecot-uidlist"))),
            Step::LoseIndex => {
                self.maildir.come_to_rest();
                drop(fs::remove_file(self.maildir.path("restante.index")));
            }
            Step::Login => drop(self.login().await),
            Step::Quit(at) => self.quit(*at).await,
            Step::Deliver(_) => {}
        }
        // A message that comes before the index is written, with the inode number of one that has gone,
        // is taken for that one under another name.
        self.maildir.come_to_rest();
    }

    async fn login(&mut self) -> (super::super::MaildirMaildrop, Vec<u8>) {
        let maildrop = open(&self.store).await.unwrap();
        let ids = unique_ids(&maildrop);
        let mut names = Vec::new();
        for at in 0..maildrop.count() {
            let text = super::support::read(&maildrop, at).await.unwrap();
            names.push(text[0] - b'0');
        }
        self.check(&ids, &names);
        (maildrop, names)
    }

    fn check(&mut self, ids: &[String], names: &[u8]) {
        let present = self.present.keys().copied().collect::<BTreeSet<_>>();
        assert_eq!(names.iter().copied().collect::<BTreeSet<_>>(), present);
        assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len(), "{ids:?}");
        for gone in self.listed.difference(&present) {
            *self.returns.entry(*gone).or_default() += 1;
        }
        self.listed = present;
        let mut last = 0;
        for (name, id) in names.iter().zip(ids) {
            let message = (*name, self.returns.get(name).copied().unwrap_or_default());
            let shown = self.shown.entry(message).or_insert_with(|| id.clone());
            assert_eq!(shown, id, "the unique-id of {message:?} has changed");
            let owner = *self.owners.entry(id.clone()).or_insert(message);
            assert_eq!(owner, message, "{id} is of two messages");
            let next = self.places.len() + 1;
            let place = *self.places.entry(message).or_insert(next);
            assert!(last < place, "{message:?} has moved");
            last = place;
        }
    }

    async fn quit(&mut self, at: u8) {
        let (maildrop, names) = self.login().await;
        if let Some(name) = names.get(usize::from(at)) {
            maildrop.remove(vec![Position(at.into())], None).await.unwrap();
            let file = self.present.remove(name).unwrap();
            assert!(!self.maildir.exists(&file), "another message was removed");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_unique_id_that_was_shown_never_changes_in_a_maildir(steps in steps()) {
        runtime().block_on(async {
            let mut history = History::new();
            for step in &steps {
                history.step(step).await;
            }
            drop(history.login().await);
        });
    }
}
