//! Any history of deliveries, removals, messages that come back, and crashes: a unique-id that was
//! shown never changes, and is never used for two messages.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::*;

#[derive(Clone, Debug)]
enum Step {
    /// A message of this name appears, with these proposals.
    Deliver(u8, Vec<u8>),
    Remove(u8),
    /// The sources propose other unique-ids, or in another order.
    Propose(u8, Vec<u8>),
    Login(Outcome),
    Wait,
}

/// What becomes of a login.
#[derive(Clone, Copy, Debug)]
enum Outcome {
    /// The listing is shown.
    Shown,
    /// The server is killed, or the power is cut, when so much of the batch has been written, in
    /// parts of 256. No listing is shown.
    Cut(u8),
    /// Nothing can be written. The known messages are shown.
    Failed,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let proposals = || proptest::collection::vec(0..9_u8, 0..3);
    let name = || 0..7_u8;
    let outcome = prop_oneof![
        4 => Just(Outcome::Shown),
        1 => any::<u8>().prop_map(Outcome::Cut),
        1 => Just(Outcome::Cut(255)),
        1 => Just(Outcome::Failed),
    ];
    let step = prop_oneof![
        4 => (name(), proposals()).prop_map(|(name, ids)| Step::Deliver(name, ids)),
        3 => name().prop_map(Step::Remove),
        1 => (name(), proposals()).prop_map(|(name, ids)| Step::Propose(name, ids)),
        5 => outcome.prop_map(Step::Login),
        1 => Just(Step::Wait),
    ];
    proptest::collection::vec(step, 1..60)
}

/// What clients have been shown.
#[derive(Default)]
struct Model {
    /// The present messages with their proposals, in the order of the sources.
    present: Vec<(u8, Vec<u8>)>,
    /// How often a name has come back after its removal was written down.
    returns: HashMap<u8, u32>,
    /// The names that the file has as present.
    on_disk: BTreeSet<u8>,
    /// The messages in the order of the first listing that was written down.
    places: BTreeMap<(u8, u32), usize>,
    /// The unique-id of each message.
    shown: BTreeMap<(u8, u32), String>,
    /// The message of each unique-id that was shown.
    owners: HashMap<String, (u8, u32)>,
    day: u64,
}

impl Model {
    fn step(&mut self, disk: &mut Disk, step: &Step) {
        match step {
            Step::Deliver(name, ids) => {
                if self.present.iter().all(|(present, _)| present != name) {
                    let place = usize::from(*name) % (self.present.len() + 1);
                    self.present.insert(place, (*name, ids.clone()));
                }
            }
            Step::Remove(name) => self.present.retain(|(present, _)| present != name),
            Step::Propose(name, ids) => {
                self.present
                    .iter_mut()
                    .filter(|(present, _)| present == name)
                    .for_each(|(_, proposals)| proposals.clone_from(ids));
                self.present.reverse();
            }
            Step::Login(outcome) => self.login(disk, *outcome),
            Step::Wait => self.day += 1,
        }
    }

    fn login(&mut self, disk: &mut Disk, outcome: Outcome) {
        let given = self.present.iter().map(|(name, ids)| {
            let ids = ids.iter().map(|id| format!("ID{id}").into_bytes()).collect::<Vec<_>>();
            (format!("1.{name}").into_bytes(), ids)
        });
        let given = given.collect::<Vec<_>>();
        let present = given.iter().map(|(name, ids)| (&name[..], ids.iter().map(Vec::as_slice)));
        let (state, now) = (disk.read().unwrap(), day(self.day));
        let reconciled = state.reconcile(present, now);
        let order = reconciled.known.iter().map(|message| message.given);
        let order = order.chain(reconciled.added.iter().map(|added| added.given));
        let order = order.map(|place| self.present[place].0).collect::<Vec<_>>();
        assert_eq!(order.len(), given.len(), "each message is listed");
        let (known, mut written) = (reconciled.known.len(), true);
        let ids = disk.save(state, &reconciled, now, |text| {
            let length = match outcome {
                Outcome::Shown => text.len(),
                Outcome::Cut(parts) => (text.len() * (usize::from(parts) + 1)) >> 8,
                Outcome::Failed => 0,
            };
            written = length == text.len();
            &text[..length]
        });
        if written {
            for name in std::mem::take(&mut self.on_disk) {
                if !order.contains(&name) {
                    *self.returns.entry(name).or_default() += 1;
                }
            }
            self.on_disk = order.iter().copied().collect();
            for name in &order {
                let next = self.places.len() + 1;
                self.places.entry(self.message(*name)).or_insert(next);
            }
        }
        let listed = match outcome {
            Outcome::Shown => ids.len(),
            Outcome::Failed if !written => known,
            Outcome::Failed => ids.len(),
            Outcome::Cut(_) => return,
        };
        self.show(&order[..listed], &ids[..listed]);
    }

    /// The message that has a name now.
    fn message(&self, name: u8) -> (u8, u32) {
        (name, self.returns.get(&name).copied().unwrap_or_default())
    }

    fn show(&mut self, names: &[u8], ids: &[String]) {
        assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len(), "{ids:?}");
        let mut last = 0;
        for (name, id) in names.iter().zip(ids) {
            let message = self.message(*name);
            let shown = self.shown.entry(message).or_insert_with(|| id.clone());
            assert_eq!(shown, id, "the unique-id of {message:?} has changed");
            let place = self.places[&message];
            assert!(last < place, "{message:?} has moved");
            last = place;
            let owner = *self.owners.entry(id.clone()).or_insert(message);
            assert_eq!(owner, message, "{id} is of two messages");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn a_unique_id_that_was_shown_never_changes_and_is_of_one_message(steps in steps()) {
        let (mut model, mut disk) = (Model::default(), Disk::default());
        for step in &steps {
            model.step(&mut disk, step);
        }
        model.login(&mut disk, Outcome::Shown);
    }
}
