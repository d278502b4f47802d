//! The order of turns, and callers that go away.

use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use proptest::prelude::*;

use super::*;

type Place = Pin<Box<dyn Future<Output = Turn>>>;

fn turns(at_once: u32) -> Arc<Turns> {
    Arc::new(Turns::new(NonZeroU32::new(at_once).unwrap()))
}

fn poll<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
    match Pin::new(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}

/// Enters a queue: no turn is free.
fn wait(turns: &Arc<Turns>, peer: &str, standing: Standing) -> Place {
    let (turns, peer) = (Arc::clone(turns), peer.parse().unwrap());
    let mut place: Place = Box::pin(async move { turns.take(Caller { peer, standing }).await });
    assert!(poll(&mut place).is_none());
    place
}

fn take(turns: &Arc<Turns>) -> Turn {
    let caller = Caller { peer: "192.0.2.1".parse().unwrap(), standing: Standing::New };
    poll(&mut pin!(turns.take(caller))).unwrap()
}

/// The words of the waiting callers, in the order in which these are served, one at a time.
fn order(busy: Turn, mut waiting: Vec<(&'static str, Place)>) -> String {
    let mut served = Vec::new();
    drop(busy);
    while !waiting.is_empty() {
        let mut ready = Vec::new();
        waiting.retain_mut(|(word, place)| match poll(place) {
            Some(turn) => {
                ready.push((*word, turn));
                false
            }
            None => true,
        });
        assert_eq!(ready.len(), 1, "one at a time");
        served.extend(ready.into_iter().map(|(word, _turn)| word));
    }
    served.join(" ")
}

#[test]
fn networks_take_turns_in_any_order_of_arrival() {
    use Standing::New;
    for (callers, expected) in [
        (
            &[("a", "192.0.2.1"), ("a", "192.0.2.1"), ("a", "192.0.2.1"), ("b", "198.51.100.1")][..],
            "a b a a",
        ),
        // Addresses of one IPv6 /64 are one network.
        (
            &[
                ("a", "2001:db8::1"),
                ("a", "2001:db8::2"),
                ("a", "2001:db8::3"),
                ("b", "2001:db8:1::1"),
            ],
            "a b a a",
        ),
        // Addresses of one IPv4 /24 have four turns in a round.
        (
            &[
                ("a", "192.0.2.1"),
                ("a", "192.0.2.2"),
                ("a", "192.0.2.3"),
                ("a", "192.0.2.4"),
                ("a", "192.0.2.5"),
                ("a", "192.0.2.6"),
                ("b", "198.51.100.1"),
            ],
            "a a a a b a a",
        ),
    ] {
        let turns = turns(1);
        let busy = take(&turns);
        let waiting = callers.iter().map(|&(word, peer)| (word, wait(&turns, peer, New))).collect();
        assert_eq!(order(busy, waiting), expected);
        assert_eq!((turns.free(), turns.waiting()), (1, 0));
    }
}

#[test]
fn a_network_that_comes_later_is_in_the_next_round() {
    let turns = turns(1);
    let mut busy = take(&turns);
    let mut many: Vec<_> = (0..40).map(|_| wait(&turns, "192.0.2.1", Standing::New)).collect();
    for mut place in many.drain(..20) {
        drop(busy);
        busy = poll(&mut place).unwrap();
    }
    let late = wait(&turns, "198.51.100.1", Standing::New);
    let mut waiting: Vec<_> = many.into_iter().map(|place| ("many", place)).collect();
    waiting.push(("late", late));
    assert!(order(busy, waiting).starts_with("many late many"));
}

#[test]
fn who_is_known_is_served_first_and_every_fourth_is_new() {
    use Standing::{Known, New};
    let turns = turns(1);
    let busy = take(&turns);
    let new = (0..3).map(|n| ("?", wait(&turns, &format!("203.0.{n}.1"), New)));
    let mut waiting: Vec<_> = new.collect();
    waiting.extend((0..8).map(|n| ("known", wait(&turns, &format!("198.51.{n}.1"), Known))));
    assert_eq!(order(busy, waiting), "known known known ? known known known ? known known ?");
}

#[test]
fn a_caller_that_goes_away_leaves_its_queue() {
    use Standing::{Known, New};
    let turns = turns(1);
    let busy = take(&turns);
    for standing in [Known, New] {
        // If these counted, the next caller would be in a late round.
        for _ in 0..100 {
            drop(wait(&turns, "192.0.2.1", standing));
        }
    }
    assert_eq!(turns.waiting(), 0);
    let same = wait(&turns, "192.0.2.1", New);
    let other = wait(&turns, "198.51.100.1", New);
    assert_eq!(order(busy, vec![("same", same), ("other", other)]), "same other");
    // The same while the turn is being handed over.
    let busy = take(&turns);
    let gone = wait(&turns, "192.0.2.1", New);
    let mut next = wait(&turns, "192.0.2.1", New);
    drop(busy);
    drop(gone);
    assert_eq!(turns.waiting(), 0);
    drop(poll(&mut next).unwrap());
    assert_eq!(turns.free(), 1);
}

#[test]
fn a_new_number_of_turns_applies_from_the_next_turn_on() {
    let turns = turns(2);
    let (first, second) = (take(&turns), take(&turns));
    let mut waiting: Vec<_> = (0..4).map(|_| wait(&turns, "192.0.2.1", Standing::New)).collect();
    let mut served = || waiting.iter_mut().filter_map(poll).collect::<Vec<_>>();
    turns.change(NonZeroU32::MIN);
    drop(first);
    assert!(served().is_empty(), "one has a turn, and that is all that may");
    turns.change(NonZeroU32::new(3).unwrap());
    assert_eq!(served().len(), 2);
    drop(second);
    assert_eq!(turns.free(), 1);
}

proptest! {
    /// There are never too many turns, no caller waits while one is free, and all are served.
    #[test]
    fn turns_are_neither_lost_nor_made(
        steps in prop::collection::vec((0_u8..6, 0_usize..64, 1_u32..5), 1..300),
    ) {
        let turns = turns(2);
        let (mut waiting, mut working) = (Vec::<Place>::new(), Vec::new());
        for (step, which, number) in steps {
            match step {
                0 if !waiting.is_empty() => drop(waiting.swap_remove(which % waiting.len())),
                1 | 2 if !working.is_empty() => drop(working.swap_remove(which % working.len())),
                3 if which < 8 => turns.change(NonZeroU32::new(number).unwrap()),
                _ => {
                    let standing =
                        if which % 3 == 0 { Standing::Known } else { Standing::New };
                    let peer = format!("192.0.{}.{}", which % 4, number).parse().unwrap();
                    let turns = Arc::clone(&turns);
                    waiting.push(Box::pin(async move {
                        turns.take(Caller { peer, standing }).await
                    }));
                }
            }
            waiting.retain_mut(|place| poll(place).map(|turn| working.push(turn)).is_none());
            prop_assert!(waiting.is_empty() || turns.free() == 0);
            prop_assert_eq!(turns.waiting(), waiting.len());
        }
        while !working.is_empty() {
            working.clear();
            waiting.retain_mut(|place| poll(place).map(|turn| working.push(turn)).is_none());
        }
        prop_assert!(waiting.is_empty());
        prop_assert!(turns.free() > 0);
    }
}
