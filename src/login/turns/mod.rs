//! The order in which passwords are hashed.
//!
//! - Networks take turns. Of the waiting callers, the first of each network is in the next round, its
//!   second in the one after that, regardless of who came first. A larger network
//!   ([`Network::levels`]) has several in a round, according to its factor: many addresses in it are
//!   no advantage.
//! - A caller that has logged in from there lately ([`Standing::Known`]) comes before the others, but
//!   every fourth turn goes to a new pair if one waits.
//! - Within a round, callers are served in the order in which they came.
//!
//! There is one [`Turns`] in a process. A connection waits for one turn at a time, so at most as many
//! callers wait as there are connections. A caller that goes away leaves its queue.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use crate::limits::Level;
use crate::limits::Network;

/// Hands out turns at work that takes a processor for a while, a bounded number at a time.
#[derive(Debug)]
pub struct Turns(Mutex<State>);

/// A client that needs a turn.
#[derive(Clone, Copy, Debug)]
pub(super) struct Caller {
    pub(super) peer: IpAddr,
    pub(super) standing: Standing,
}

/// The queue that a caller waits in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// The one that is served first.
    Known,
    /// The other one.
    New,
}

/// A turn, which ends when it is dropped. Then the next one begins.
#[derive(Debug)]
pub(super) struct Turn(Arc<Turns>);

#[derive(Debug)]
struct State {
    at_once: u32,
    taken: u32,
    known: Queue,
    new: Queue,
    /// How many turns in a row known callers have had while new ones waited.
    in_a_row: u32,
}

/// Waiting callers, in the order in which they are served.
#[derive(Debug, Default)]
struct Queue {
    /// The round of the last caller that was served.
    round: u64,
    /// How many callers have entered.
    arrivals: u64,
    waiting: BTreeMap<Place, (IpAddr, oneshot::Sender<Turn>)>,
    /// How many callers of each network wait.
    networks: BTreeMap<Network, u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    round: u64,
    arrival: u64,
}

/// A caller in a queue, which it leaves when it is dropped.
struct Waiting<'a> {
    turns: &'a Turns,
    standing: Standing,
    place: Place,
    turn: oneshot::Receiver<Turn>,
}

impl Turns {
    /// Hands out `at_once` turns at a time.
    pub fn new(at_once: NonZeroU32) -> Self {
        Self(Mutex::new(State {
            at_once: at_once.get(),
            taken: 0,
            known: Queue::default(),
            new: Queue::default(),
            in_a_row: 0,
        }))
    }

    /// Changes how many turns there are at a time. Turns that have begun are not cut off.
    pub fn change(self: &Arc<Self>, at_once: NonZeroU32) {
        let mut state = self.lock();
        state.at_once = at_once.get();
        self.hand_out(state);
    }

    /// How many turns have begun, and how many callers wait for one.
    pub fn load(&self) -> (u32, usize) {
        let state = self.lock();
        (state.taken, state.known.waiting.len() + state.new.waiting.len())
    }

    /// Waits for a turn. If one is free, takes it at once.
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
                let place = state.queue(standing).enter(peer, sender);
                Waiting { turns: self, standing, place, turn }
            };
            if let Ok(turn) = (&mut waiting.turn).await {
                return turn;
            }
        }
    }

    /// Gives free turns to waiting callers.
    fn hand_out<'a>(self: &'a Arc<Self>, mut state: MutexGuard<'a, State>) {
        while let Some(next) = state.next() {
            drop(state);
            // If the caller has just gone away, the turn is dropped, and the next caller gets it.
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
        self.turns.lock().queue(self.standing).leave(self.place);
    }
}

impl State {
    fn queue(&mut self, standing: Standing) -> &mut Queue {
        match standing {
            Standing::Known => &mut self.known,
            Standing::New => &mut self.new,
        }
    }

    /// The caller that gets a turn, if one is free and a caller waits.
    fn next(&mut self) -> Option<oneshot::Sender<Turn>> {
        if self.taken >= self.at_once {
            return None;
        }
        let new_ones_turn = self.in_a_row >= MOST_IN_A_ROW;
        let known = if new_ones_turn { None } else { self.known.next() };
        let next = match known {
            Some(known) => {
                let new_ones_wait = !self.new.waiting.is_empty();
                self.in_a_row = if new_ones_wait { self.in_a_row + 1 } else { 0 };
                Some(known)
            }
            None => {
                self.in_a_row = 0;
                self.new.next().or_else(|| self.known.next())
            }
        };
        self.taken += u32::from(next.is_some());
        next
    }
}

impl Queue {
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

/// How many turns in a row known callers have at the most while a new one waits.
const MOST_IN_A_ROW: u32 = 3;

#[cfg(test)]
impl Turns {
    /// How many turns are free.
    pub(crate) fn free(&self) -> u32 {
        let state = self.lock();
        state.at_once.saturating_sub(state.taken)
    }

    /// How many callers wait.
    pub(super) fn waiting(&self) -> usize {
        let state = self.lock();
        assert!(state.known.networks.len() <= 3 * state.known.waiting.len());
        assert!(state.new.networks.len() <= 3 * state.new.waiting.len());
        state.known.waiting.len() + state.new.waiting.len()
    }
}

#[cfg(test)]
mod tests;
