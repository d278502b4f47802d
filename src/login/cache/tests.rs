//! What the cache answers, and when it forgets.

use std::collections::HashMap;
use std::sync::Arc;
use std::thread;

use proptest::prelude::*;
use tokio::time::advance;

use super::*;

const LIFETIME: Duration = Duration::from_secs(300);

fn cache<T: Clone>() -> Cache<T> {
    Cache::new(LIFETIME, 100).unwrap()
}

fn user(name: &str) -> Username {
    Username::try_from(name).unwrap()
}

fn secret(password: &str) -> Secret<Vec<u8>> {
    Secret::new(password.into())
}

#[test]
fn only_this_user_with_this_password_and_this_context() {
    let cache = cache();
    cache.remember(&user("mrose"), b"hash", &secret("tanstaaf"), 1);
    assert_eq!(cache.knows(&user("MRose"), b"hash", &secret("tanstaaf")), Some(1));
    for (name, context, password) in [
        ("fred", "hash", "tanstaaf"),
        ("mrose", "hash", "Tanstaaf"),
        ("mrose", "hash", ""),
        ("mrose", "other", "tanstaaf"),
        ("mrose", "hasht", "anstaaf"),
        ("mroseh", "ash", "tanstaaf"),
    ] {
        let known = cache.knows(&user(name), context.as_bytes(), &secret(password));
        assert_eq!(known, None, "{name} {context} {password}");
    }
    // A wrong guess does not remove the entry.
    assert_eq!(cache.knows(&user("mrose"), b"hash", &secret("tanstaaf")), Some(1));
}

#[tokio::test(start_paused = true)]
async fn an_entry_ends_after_its_lifetime_and_use_does_not_prolong_it() {
    let cache = cache();
    cache.remember(&user("mrose"), b"", &secret("tanstaaf"), ());
    for _ in 0..3 {
        advance(LIFETIME / 3 - Duration::from_millis(1)).await;
        assert_eq!(cache.knows(&user("mrose"), b"", &secret("tanstaaf")), Some(()));
    }
    advance(Duration::from_millis(3)).await;
    assert_eq!(cache.knows(&user("mrose"), b"", &secret("tanstaaf")), None);
}

#[test]
fn a_new_password_takes_the_place_of_the_old_one() {
    let cache = cache();
    cache.remember(&user("mrose"), b"", &secret("old"), 1);
    cache.remember(&user("mrose"), b"", &secret("new"), 2);
    assert_eq!(cache.knows(&user("mrose"), b"", &secret("old")), None);
    assert_eq!(cache.knows(&user("mrose"), b"", &secret("new")), Some(2));
}

#[test]
fn without_lifetime_or_entries_it_is_off() {
    for (lifetime, entries) in [(Duration::ZERO, 100), (LIFETIME, 0)] {
        let cache = Cache::new(lifetime, entries).unwrap();
        cache.remember(&user("mrose"), b"", &secret("tanstaaf"), ());
        assert_eq!(cache.knows(&user("mrose"), b"", &secret("tanstaaf")), None);
        assert_eq!(cache.lock().len(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn it_is_bounded_and_drops_the_oldest_entry() {
    let cache = cache();
    for number in 0..1_000 {
        cache.remember(&user(&format!("user{number}")), b"", &secret("x"), number);
        advance(Duration::from_millis(1)).await;
    }
    assert_eq!(cache.lock().len(), 100);
    assert_eq!(cache.knows(&user("user899"), b"", &secret("x")), None);
    assert_eq!(cache.knows(&user("user900"), b"", &secret("x")), Some(900));
}

#[test]
fn two_caches_have_two_keys_and_neither_shows_anything() {
    let (one, other) = (cache::<()>(), cache::<()>());
    assert_ne!(one.key.expose(), other.key.expose());
    assert_ne!(one.key.expose(), &[0; 32]);
    one.remember(&user("mrose"), b"", &secret("tanstaaf"), ());
    let shown = format!("{one:?}");
    assert!(!shown.contains("tanstaaf") && shown.contains("code: CtOutput { ... }"), "{shown}");
}

/// A user with a context, a password and a value.
fn truth(number: usize) -> (Username, String, Secret<Vec<u8>>, usize) {
    // Half of the users share a password, and all of them the context.
    let password = if number.is_multiple_of(2) { "same".into() } else { format!("own{number}") };
    (user(&format!("user{number}")), "context".into(), secret(&password), number)
}

proptest! {
    /// Users in any order, in several threads at once: a value that is found belongs to the user.
    #[test]
    fn a_value_never_answers_for_another_user(
        orders in prop::collection::vec(prop::collection::vec((0_usize..40, any::<bool>()), 50), 4),
    ) {
        let cache = Arc::new(Cache::new(LIFETIME, 20).unwrap());
        let threads: Vec<_> = orders.into_iter().map(|order| {
            let cache = Arc::clone(&cache);
            thread::spawn(move || {
                for (number, remember) in order {
                    let (name, context, password, value) = truth(number);
                    if remember {
                        cache.remember(&name, context.as_bytes(), &password, value);
                    } else {
                            let known = cache.knows(&name, context.as_bytes(), &password);
                            assert!(known.is_none_or(|known| known == number));
                    }
                    // With the password of another user: `None`, unless it is the same.
                    let (_, _, other, _) = truth(number + 1);
                    assert_eq!(cache.knows(&name, context.as_bytes(), &other), None);
                }
            })
        }).collect();
        for thread in threads {
            thread.join().unwrap();
        }
        prop_assert!(cache.lock().len() <= 20);
    }

    /// Compared with a map of the last values.
    #[test]
    fn it_says_what_was_remembered_last(
        steps in prop::collection::vec((0_u8..10, 0_u8..3, any::<bool>()), 1..100),
    ) {
        let cache = cache();
        let mut model = HashMap::new();
        for (at, (number, password, remember)) in steps.into_iter().enumerate() {
            let name = user(&format!("user{number}"));
            let password = format!("password{password}");
            if remember {
                cache.remember(&name, b"", &secret(&password), at);
                model.insert(name, (password, at));
            } else {
                let known = model.get(&name).filter(|(last, _)| *last == password);
                let wanted = known.map(|(_, at)| *at);
                prop_assert_eq!(cache.knows(&name, b"", &secret(&password)), wanted);
            }
        }
    }
}
