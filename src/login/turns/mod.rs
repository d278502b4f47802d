//! Who is next where passwords wait to be hashed.
//!
//! - Networks take turns. Of those who wait, the first of each network is in the next round, its
//!   second in the one after that, whoever came first. A larger network ([`Network::levels`]) has as
//!   many in a round as it may do more, so nobody gains by having many addresses in it.
//! - Who has logged in from there lately ([`Standing::Known`]) comes before who has not, but of four
//!   turns one is for a stranger who waits.
//! - Within a round the first to come is the first to be served.
//!
//! There is one [`Turns`] in a process. A connection waits for one turn at a time, so there are no
//! more places than connections; who goes away leaves none behind.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use crate::limits::Level;
use crate::limits::Network;

/// Turns at what takes a processor for a while: so many at a time.
#[derive(Debug)]
pub struct Turns(Mutex<State>);

/// Who wants a turn.
#[derive(Clone, Copy, Debug)]
pub(super) struct Caller {
    pub(super) peer: IpAddr,
    pub(super) standing: Standing,
}

/// Which line a caller waits in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// The first one.
    Known,
    /// The second one.
    Stranger,
}

/// A turn. Dropped it is over, and somebody else's begins.
#[derive(Debug)]
pub(super) struct Turn(Arc<Turns>);

#[derive(Debug)]
struct State {
    at_once: u32,
    taken: u32,
    known: Line,
    strangers: Line,
    /// Turns that known ones have had in a row while strangers waited.
    in_a_row: u32,
}

/// Those who wait, in the order in which they are served.
#[derive(Debug, Default)]
struct Line {
    /// That of the last one who was served.
    round: u64,
    /// How many have come.
    arrivals: u64,
    waiting: BTreeMap<Place, (IpAddr, oneshot::Sender<Turn>)>,
    /// How many of each network wait.
    networks: BTreeMap<Network, u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    round: u64,
    arrival: u64,
}

/// A caller in a line. Dropped it is in none.
struct Waiting<'a> {
    turns: &'a Turns,
    standing: Standing,
    place: Place,
    turn: oneshot::Receiver<Turn>,
}

impl Turns {
    /// So many at once.
    pub fn new(at_once: NonZeroU32) -> Self {
        Self(Mutex::new(State {
            at_once: at_once.get(),
            taken: 0,
            known: Line::default(),
            strangers: Line::default(),
            in_a_row: 0,
        }))
    }

    /// So many at once from now on. Where that is fewer, those who have a turn finish first.
    pub fn change(self: &Arc<Self>, at_once: NonZeroU32) {
        let mut state = self.lock();
        state.at_once = at_once.get();
        self.hand_out(state);
    }

    /// Waits for a turn. Nobody waits while there is one to be had.
    pub(super) async fn take(self: &Arc<Self>, caller: Caller) -> Turn {
        loop {
            let mut waiting = {
                let mut state = self.lock();
                if state.taken < state.at_once {
                    state.taken += 1;
                    return Turn(Arc::clone(self));
                }
                let Caller { peer, standing } = caller;
                let (sender, turn) = oneshot::channel();
                let place = state.line(standing).enter(peer, sender);
                Waiting { turns: self, standing, place, turn }
            };
            if let Ok(turn) = (&mut waiting.turn).await {
                return turn;
            }
        }
    }

    /// Gives turns to those who wait, as long as there are some.
    fn hand_out<'a>(self: &'a Arc<Self>, mut state: MutexGuard<'a, State>) {
        while let Some(next) = state.next() {
            drop(state);
            // To one who has just gone away it is not given, and drops into other hands.
            drop(next.send(Turn(Arc::clone(self))));
            state = self.lock();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.taken -= 1;
        self.0.hand_out(state);
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.turns.lock().line(self.standing).leave(self.place);
    }
}

impl State {
    fn line(&mut self, standing: Standing) -> &mut Line {
        match standing {
            Standing::Known => &mut self.known,
            Standing::Stranger => &mut self.strangers,
        }
    }

    /// Who gets a turn, if there is one, and somebody to have it.
    fn next(&mut self) -> Option<oneshot::Sender<Turn>> {
        if self.taken >= self.at_once {
            return None;
        }
        let strangers_turn = self.in_a_row >= MOST_IN_A_ROW;
        let known = if strangers_turn { None } else { self.known.next() };
        let next = match known {
            Some(known) => {
                let strangers_wait = !self.strangers.waiting.is_empty();
                self.in_a_row = if strangers_wait { self.in_a_row + 1 } else { 0 };
                Some(known)
            }
            None => {
                self.in_a_row = 0;
                self.strangers.next().or_else(|| self.known.next())
            }
        };
        self.taken += u32::from(next.is_some());
        next
    }
}

impl Line {
    fn enter(&mut self, peer: IpAddr, sender: oneshot::Sender<Turn>) -> Place {
        let mut later = 0;
        for Level { network, factor } in Network::levels(peer) {
            let ahead = self.networks.entry(network).or_default();
            later = later.max(*ahead / factor);
            *ahead += 1;
        }
        self.arrivals += 1;
        let place = Place { round: self.round + 1 + u64::from(later), arrival: self.arrivals };
        self.waiting.insert(place, (peer, sender));
        place
    }

    fn leave(&mut self, place: Place) {
        if let Some((peer, _)) = self.waiting.remove(&place) {
            self.forget(peer);
        }
    }

    fn next(&mut self) -> Option<oneshot::Sender<Turn>> {
        let (place, (peer, sender)) = self.waiting.pop_first()?;
        self.round = place.round;
        self.forget(peer);
        Some(sender)
    }

    fn forget(&mut self, peer: IpAddr) {
        for Level { network, .. } in Network::levels(peer) {
            if let Some(waiting) = self.networks.get_mut(&network) {
                *waiting -= 1;
                if *waiting == 0 {
                    self.networks.remove(&network);
                }
            }
        }
    }
}

/// After so many turns of known ones one is a stranger's.
const MOST_IN_A_ROW: u32 = 3;

#[cfg(test)]
impl Turns {
    /// How many turns there are to be had.
    pub(crate) fn free(&self) -> u32 {
        let state = self.lock();
        state.at_once.saturating_sub(state.taken)
    }

    /// How many wait.
    pub(super) fn waiting(&self) -> usize {
        let state = self.lock();
        assert!(state.known.networks.len() <= 3 * state.known.waiting.len());
        assert!(state.strangers.networks.len() <= 3 * state.strangers.waiting.len());
        state.known.waiting.len() + state.strangers.waiting.len()
    }
}

#[cfg(test)]
mod tests;
