//! The throttle against attackers and other clients, with a paused clock.

use std::cell::Cell;
use std::rc::Rc;

use proptest::prelude::*;
use tokio::task::LocalSet;
use tokio::time::{advance, sleep, timeout};

use super::state::KNOWN_TIME;
use super::*;

mod delays;
mod spread;

const FIRST: Duration = Duration::from_secs(1);
const MOST: Duration = Duration::from_secs(30);
const FORGET: Duration = Duration::from_secs(600);
const HOME: &str = "192.0.2.1";
const AWAY: &str = "198.51.100.9";

fn throttle() -> Arc<Throttle> {
    Arc::new(Throttle::new(settings(), 1_000))
}

fn settings() -> ThrottleSection {
    let trusted = vec!["10.0.0.0/8".parse().unwrap(), "2001:db8:7::5/128".parse().unwrap()];
    ThrottleSection { first_delay: FIRST, longest_delay: MOST, forget_after: FORGET, trusted }
}

fn attempt(throttle: &Arc<Throttle>, from: &str, name: &str) -> Option<Attempt> {
    throttle.attempt(from.parse().unwrap(), Some(&ClaimedName::new(name.as_bytes())))
}

fn secret(password: &str) -> Secret<Vec<u8>> {
    Secret::new(password.into())
}

/// Waits and fails; returns the seconds before the check.
async fn fail(throttle: &Arc<Throttle>, from: &str, name: &str, password: &str) -> u64 {
    let attempt = attempt(throttle, from, name).unwrap();
    let delay = attempt.delay();
    advance(delay).await;
    advance(attempt.failed(&secret(password)).pause.unwrap()).await;
    delay.as_secs()
}

/// Waits and succeeds; returns the seconds before the check.
async fn succeed(throttle: &Arc<Throttle>, from: &str, name: &str) -> u64 {
    let attempt = attempt(throttle, from, name).unwrap();
    let delay = attempt.delay();
    advance(delay).await;
    attempt.succeeded();
    delay.as_secs()
}

/// How many seconds an attempt waits. It is given up, but those behind it still wait for it.
fn wait(throttle: &Arc<Throttle>, from: &str, name: &str) -> Option<u64> {
    attempt(throttle, from, name).map(|attempt| attempt.delay().as_secs())
}

#[tokio::test(start_paused = true)]
async fn the_wait_doubles_up_to_the_longest_and_is_forgotten_step_by_step() {
    let throttle = throttle();
    let mut waits = Vec::new();
    for password in 0..9 {
        waits.push(fail(&throttle, HOME, "mrose", &password.to_string()).await);
    }
    assert_eq!(waits, [0, 1, 2, 4, 8, 16, 30, 30, 30]);
    advance(FORGET + MOST).await;
    assert_eq!(fail(&throttle, HOME, "mrose", "x").await, 16);
    advance(FORGET * 7).await;
    assert_eq!(wait(&throttle, HOME, "mrose"), Some(0));
}

#[tokio::test(start_paused = true)]
async fn the_same_wrong_password_does_not_grow_the_wait() {
    let throttle = throttle();
    for round in 0..500 {
        let waited = fail(&throttle, HOME, "mrose", "old").await;
        assert_eq!(waited, u64::from(round > 0 && round < 10), "round {round}");
        advance(Duration::from_secs(60)).await;
    }
    // For another user it is another guess.
    fail(&throttle, HOME, "fred", "old").await;
    assert_eq!(wait(&throttle, HOME, "anna"), Some(1));
}

#[tokio::test(start_paused = true)]
async fn a_user_is_one_in_any_case_and_a_network_a_64() {
    let throttle = throttle();
    fail(&throttle, "2001:db8:1:2::1", "MRose", "1").await;
    fail(&throttle, "2001:db8:1:2:ffff::9", "mrose", "2").await;
    assert_eq!(wait(&throttle, "2001:db8:1:2::7", "mrosE"), Some(2));
    assert_eq!(wait(&throttle, "2001:db8:1:3::1", "anna"), Some(0));
    fail(&throttle, "::ffff:192.0.2.1", "fred", "1").await;
    assert_eq!(wait(&throttle, HOME, "anna"), Some(1));
}

#[tokio::test(start_paused = true)]
async fn a_name_that_no_user_can_have_counts_as_well() {
    let throttle = throttle();
    let long = "x".repeat(100_000);
    for (password, name) in ["../mrose", "", "a\0b", &long].into_iter().enumerate() {
        fail(&throttle, HOME, name, &password.to_string()).await;
        assert_eq!(wait(&throttle, HOME, "anna"), Some(1 << password));
    }
}

#[tokio::test(start_paused = true)]
async fn a_success_takes_back_what_the_pair_has_counted_and_no_more() {
    let throttle = throttle();
    for password in ["1", "2", "3"] {
        fail(&throttle, HOME, "mrose", password).await;
    }
    fail(&throttle, HOME, "fred", "1").await;
    succeed(&throttle, HOME, "mrose").await;
    assert_eq!(wait(&throttle, HOME, "mrose"), Some(0));
    assert_eq!(wait(&throttle, AWAY, "mrose"), Some(0));
    // Fred's failure still counts for new pairs of the network.
    assert_eq!(wait(&throttle, HOME, "anna"), Some(1));
}

#[tokio::test(start_paused = true)]
async fn the_owner_of_an_attacked_account_gets_in_at_home_at_once_and_elsewhere_soon() {
    let throttle = throttle();
    succeed(&throttle, HOME, "mrose").await;
    for host in 0..100 {
        fail(&throttle, &format!("203.0.113.{host}"), "mrose", "guess").await;
    }
    assert_eq!(wait(&throttle, HOME, "mrose"), Some(0));
    assert_eq!(succeed(&throttle, AWAY, "mrose").await, 30);
    assert_eq!(wait(&throttle, AWAY, "mrose"), Some(0));
    // The attackers still wait.
    assert_eq!(wait(&throttle, "203.0.113.7", "mrose"), Some(30));
}

#[tokio::test(start_paused = true)]
async fn a_known_pair_waits_for_its_own_failures() {
    let throttle = throttle();
    succeed(&throttle, HOME, "mrose").await;
    assert_eq!(fail(&throttle, HOME, "mrose", "1").await, 0);
    assert_eq!(fail(&throttle, HOME, "mrose", "2").await, 1);
    assert_eq!(succeed(&throttle, HOME, "mrose").await, 2);
    assert_eq!(wait(&throttle, HOME, "mrose"), Some(0));
    advance(KNOWN_TIME).await;
    fail(&throttle, HOME, "fred", "1").await;
    assert_eq!(wait(&throttle, HOME, "mrose"), Some(1));
}

#[tokio::test(start_paused = true)]
async fn several_devices_of_a_known_pair_come_at_once() {
    let throttle = throttle();
    succeed(&throttle, HOME, "mrose").await;
    let devices: Vec<_> = (0..5).map(|_| attempt(&throttle, HOME, "mrose").unwrap()).collect();
    assert!(devices.iter().all(|attempt| attempt.delay().is_zero()));
    assert_eq!(wait(&throttle, HOME, "mrose"), Some(1));
}

#[tokio::test(start_paused = true)]
async fn an_attempt_without_an_answer_counts_for_nothing() {
    let throttle = throttle();
    for number in 0..100 {
        drop(attempt(&throttle, HOME, "mrose").unwrap());
        let mut unanswered = attempt(&throttle, HOME, "mrose").unwrap();
        unanswered.begin_check(&Arc::new(secret(&number.to_string())));
        unanswered.unanswered();
    }
    assert_eq!(wait(&throttle, HOME, "mrose"), Some(0));
    assert_eq!(throttle.lock().records()[2], 0);
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_is_dropped_during_the_check_has_failed() {
    let throttle = throttle();
    for (password, waited) in [("1", 0), ("2", 1), ("2", 2), ("3", 2)] {
        let mut attempt = attempt(&throttle, HOME, "mrose").unwrap();
        assert_eq!(attempt.delay().as_secs(), waited);
        advance(attempt.delay()).await;
        attempt.begin_check(&Arc::new(secret(password)));
    }
    assert_eq!(wait(&throttle, HOME, "mrose"), Some(4));
    assert_eq!(succeed(&throttle, HOME, "mrose").await, 8);
    assert_eq!(wait(&throttle, HOME, "mrose"), Some(0));
}

#[tokio::test(start_paused = true)]
async fn trusted_networks_and_clients_of_a_throttle_that_is_off_never_wait() {
    let on = throttle();
    let off = ThrottleSection { first_delay: Duration::ZERO, ..settings() };
    let off = Arc::new(Throttle::new(off, 1_000));
    for password in 0..100 {
        for (throttle, from) in
            [(&on, "10.1.2.3"), (&on, "::ffff:10.1.2.3"), (&on, "2001:db8:7::5"), (&off, HOME)]
        {
            assert_eq!(fail(throttle, from, "mrose", &password.to_string()).await, 0);
        }
    }
    assert_eq!(wait(&on, HOME, "mrose"), Some(0));
    // Another address of the same /64 is not trusted.
    fail(&on, "2001:db8:7::6", "mrose", "x").await;
    assert_eq!(wait(&on, "2001:db8:7::6", "mrose"), Some(1));
}

#[tokio::test(start_paused = true)]
async fn new_delays_apply_at_once_to_failures_that_were_counted_before() {
    let throttle = throttle();
    for password in ["1", "2", "3"] {
        fail(&throttle, HOME, "mrose", password).await;
    }
    throttle.change(ThrottleSection { first_delay: FIRST * 2, ..settings() });
    assert_eq!(fail(&throttle, HOME, "mrose", "4").await, 8);
    throttle.change(ThrottleSection { longest_delay: FIRST * 3, ..settings() });
    assert_eq!(wait(&throttle, HOME, "mrose"), Some(3));
}

#[tokio::test(start_paused = true)]
async fn while_it_is_off_it_does_not_count_and_when_it_is_on_again_failures_are_still_there() {
    let throttle = throttle();
    fail(&throttle, HOME, "mrose", "1").await;
    let begun_before = attempt(&throttle, HOME, "mrose").unwrap();
    throttle.change(ThrottleSection { first_delay: Duration::ZERO, ..settings() });
    for password in 0..100 {
        assert_eq!(fail(&throttle, HOME, "mrose", &password.to_string()).await, 0);
    }
    let begun_meanwhile = attempt(&throttle, HOME, "mrose").unwrap();
    throttle.change(settings());
    begun_meanwhile.failed(&secret("2"));
    drop(begun_before);
    // It waits behind the attempt that was begun before the change.
    assert_eq!(wait(&throttle, HOME, "mrose"), Some(2));
}

#[tokio::test(start_paused = true)]
async fn a_network_is_trusted_only_while_the_settings_say_so() {
    let throttle = throttle();
    for password in ["1", "2"] {
        fail(&throttle, HOME, "mrose", password).await;
    }
    let trusted = vec!["192.0.2.0/24".parse().unwrap()];
    throttle.change(ThrottleSection { trusted, ..settings() });
    assert_eq!(fail(&throttle, HOME, "mrose", "3").await, 0);
    assert_eq!(fail(&throttle, "10.1.2.3", "fred", "1").await, 0);
    assert_eq!(wait(&throttle, "10.1.2.3", "fred"), Some(1));
    throttle.change(settings());
    assert_eq!(wait(&throttle, HOME, "mrose"), Some(2));
}

#[tokio::test(start_paused = true)]
async fn a_new_time_to_forget_does_not_change_the_number_of_failures() {
    for forget in [FORGET / 10, FORGET * 100] {
        let throttle = throttle();
        for password in ["1", "2", "3"] {
            fail(&throttle, HOME, "mrose", password).await;
        }
        fail(&throttle, HOME, "fred", "1").await;
        throttle.change(ThrottleSection { forget_after: forget, ..settings() });
        let known = [(HOME, "mrose", 8), (AWAY, "mrose", 4), (HOME, "anna", 16)];
        for (from, name, waits) in known {
            assert_eq!(wait(&throttle, from, name), Some(waits), "{from} {name} {forget:?}");
        }
        advance(forget).await;
        assert_eq!(wait(&throttle, AWAY, "mrose"), Some(2), "{forget:?}");
        advance(forget * 3).await;
        assert_eq!(wait(&throttle, AWAY, "mrose"), Some(0), "{forget:?}");
        assert_eq!(throttle.lock().records()[2], 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_success_after_a_change_takes_back_what_was_counted_before_it() {
    let throttle = throttle();
    for password in ["1", "2", "3"] {
        fail(&throttle, HOME, "mrose", password).await;
    }
    fail(&throttle, HOME, "fred", "1").await;
    throttle.change(ThrottleSection { forget_after: FORGET / 10, ..settings() });
    succeed(&throttle, HOME, "mrose").await;
    assert_eq!(wait(&throttle, AWAY, "mrose"), Some(0));
    assert_eq!(wait(&throttle, HOME, "anna"), Some(1));
}

/// The guesses that are checked, and those that are turned away, of 50 connections from one address
/// in an hour. Each tries the next of `names` as soon as it has an answer.
async fn attack(throttle: &Arc<Throttle>, names: usize) -> (u32, u32) {
    const CONNECTIONS: u32 = 50;
    let (checked, turned_away) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
    let attackers = LocalSet::new();
    for connection in 0..CONNECTIONS {
        let (throttle, checked, turned_away) =
            (Arc::clone(throttle), Rc::clone(&checked), Rc::clone(&turned_away));
        attackers.spawn_local(async move {
            for guess in 0_u64.. {
                let number = u64::from(connection) + u64::from(CONNECTIONS) * guess;
                let name = format!("user{}", number % u64::try_from(names).unwrap());
                match attempt(&throttle, HOME, &name) {
                    Some(attempt) => {
                        sleep(attempt.delay()).await;
                        checked.set(checked.get() + 1);
                        attempt.failed(&secret(&number.to_string()));
                    }
                    None => {
                        turned_away.set(turned_away.get() + 1);
                        sleep(FIRST).await;
                    }
                }
            }
        });
    }
    let hour = Duration::from_secs(3600);
    assert!(timeout(hour, attackers).await.is_err());
    (checked.get(), turned_away.get())
}

#[tokio::test(start_paused = true)]
async fn parallel_connections_do_not_guess_one_account_faster() {
    let throttle = throttle();
    let (checked, turned_away) = attack(&throttle, 1).await;
    // Seven, and then one every 30 s, as for a single connection.
    assert!((100..=128).contains(&checked), "{checked} guesses");
    assert!(turned_away > 1_000);
}

#[tokio::test(start_paused = true)]
async fn names_sprayed_from_one_address_are_checked_once_each_and_then_one_by_one() {
    let throttle = throttle();
    let (checked, _) = attack(&throttle, 200).await;
    // An hour is six times `forget_after`: 200 clean records each time, and 120 in the queue.
    assert!((120..=200 * 7 + 128).contains(&checked), "{checked} guesses");
}

#[tokio::test(start_paused = true)]
async fn neighbours_of_an_attacker_are_checked() {
    for names in [1, 200, 1_000_000] {
        let throttle = throttle();
        succeed(&throttle, HOME, "known").await;
        let neighbours = async {
            for neighbour in 0..30 {
                sleep(Duration::from_secs(100)).await;
                let known = attempt(&throttle, HOME, "known").unwrap();
                assert_eq!(known.delay(), Duration::ZERO);
                known.succeeded();
                let new = attempt(&throttle, HOME, &format!("new{neighbour}")).unwrap();
                assert!(new.delay() <= MOST * 2, "{:?}", new.delay());
                sleep(new.delay()).await;
                new.succeeded();
            }
        };
        tokio::join!(neighbours, attack(&throttle, names));
    }
}

#[tokio::test(start_paused = true)]
async fn a_flood_does_not_push_out_what_matters_and_memory_stays_bounded() {
    let throttle = Arc::new(Throttle::new(settings(), 100));
    succeed(&throttle, HOME, "mrose").await;
    for password in 0..7 {
        fail(&throttle, AWAY, "victim", &password.to_string()).await;
    }
    for number in 0..1_000_u32 {
        let from = format!("{}.{}.0.1", 20 + (number >> 8), number & 255);
        fail(&throttle, &from, &format!("name{number}"), "x").await;
    }
    assert_eq!(wait(&throttle, AWAY, "victim"), Some(30));
    // Behind that attempt in the queue.
    assert_eq!(wait(&throttle, AWAY, "other"), Some(60));
    assert_eq!(wait(&throttle, "198.51.100.10", "victim"), Some(30));
    assert_eq!(wait(&throttle, HOME, "mrose"), Some(0));
    let tables = throttle.lock().records();
    assert!(tables.iter().all(|&records| records <= 100), "{tables:?}");
}

#[derive(Clone, Copy, Debug)]
enum Move {
    Fail(u8),
    Succeed,
    Drop,
    Pass(u16),
}

fn moves() -> impl Strategy<Value = Vec<(usize, usize, Move)>> {
    let act = prop_oneof![
        4 => any::<u8>().prop_map(Move::Fail),
        1 => Just(Move::Succeed),
        1 => Just(Move::Drop),
        1 => (0_u16..2_000).prop_map(Move::Pass),
    ];
    prop::collection::vec((0_usize..3, 0_usize..4, act), 1..120)
}

fn paused<F: Future>(work: F) -> F::Output {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_time().start_paused(true);
    runtime.build().unwrap().block_on(work)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// No attempt that begins after the end of the last one is turned away or waits longer than the
    /// longest wait. In the end all failures are forgotten.
    #[test]
    fn attempts_one_after_the_other_are_never_turned_away(moves in moves()) {
        paused(async {
            let throttle = throttle();
            for (from, name, act) in moves {
                let from = ["192.0.2.1", "192.0.2.2", "2001:db8::1"][from];
                let name = ["mrose", "fred", "anna", "../x"][name];
                let attempt = attempt(&throttle, from, name).unwrap();
                assert!(attempt.delay() <= MOST, "{:?}", attempt.delay());
                if !matches!(act, Move::Drop) {
                    advance(attempt.delay()).await;
                }
                match act {
                    Move::Fail(password) => {
                        let failure = attempt.failed(&secret(&password.to_string()));
                        advance(failure.pause.unwrap()).await;
                    }
                    Move::Succeed => attempt.succeeded(),
                    Move::Drop => {
                        // Those behind it still wait for it.
                        advance(attempt.delay()).await;
                        drop(attempt);
                    }
                    Move::Pass(seconds) => {
                        drop(attempt);
                        advance(Duration::from_secs(seconds.into())).await;
                    }
                }
            }
            advance(FORGET * 8).await;
            for from in ["192.0.2.1", "192.0.2.2", "2001:db8::1"] {
                assert_eq!(wait(&throttle, from, "fred"), Some(0));
            }
        });
    }

    /// The failures and successes of an attacker's own account never make its wait for other accounts
    /// shorter.
    #[test]
    fn an_account_of_the_attacker_does_not_clear_its_network(
        own in prop::collection::vec(prop::option::weighted(0.7, any::<u8>()), 0..40),
        guesses in 1_u32..12,
    ) {
        paused(async {
            let throttle = throttle();
            let start = Instant::now();
            for guess in 0..guesses {
                fail(&throttle, HOME, &format!("victim{guess}"), "x").await;
            }
            let begun = Instant::now();
            for password in own {
                match password {
                    Some(password) => fail(&throttle, HOME, "own", &password.to_string()).await,
                    None => succeed(&throttle, HOME, "own").await,
                };
            }
            // Failures that are forgotten meanwhile would have been forgotten without them as well.
            let forgotten = begun.elapsed().as_secs() / FORGET.as_secs();
            let early = begun.duration_since(start).as_secs() / FORGET.as_secs();
            let left = u64::from(guesses.min(6)).saturating_sub(forgotten + early + 1);
            let least = if left == 0 { 0 } else { (1 << (left - 1)).min(30) };
            let waits = wait(&throttle, HOME, "another").unwrap();
            assert!(waits >= least, "{waits} s, at least {least} s");
        });
    }
}
