//! Attackers with many addresses, or with many names for one account, and what the time of an answer
//! tells them.

use super::*;

/// The guesses that are checked in ten minutes. Each of `networks` tries again as soon as it has an
/// answer.
async fn storm(networks: Vec<String>, name: impl Fn(u64) -> String + Clone + 'static) -> u32 {
    let throttle = throttle();
    let checked = Rc::new(Cell::new(0));
    let attackers = LocalSet::new();
    for (number, network) in (0_u64..).zip(networks) {
        let (throttle, checked, name) = (Arc::clone(&throttle), Rc::clone(&checked), name.clone());
        attackers.spawn_local(async move {
            for guess in 0_u64.. {
                match attempt(&throttle, &network, &name(number)) {
                    Some(attempt) => {
                        sleep(attempt.delay()).await;
                        checked.set(checked.get() + 1);
                        attempt.failed(&secret(&guess.to_string()));
                    }
                    None => sleep(FIRST).await,
                }
            }
        });
    }
    let minutes = Duration::from_secs(10 * 60);
    assert!(timeout(minutes, attackers).await.is_err());
    checked.get()
}

#[tokio::test(start_paused = true)]
async fn one_customer_with_many_networks_gets_what_a_few_get() {
    let victim = |_| "mrose".to_owned();
    let alone = storm(vec![HOME.into()], victim).await;
    for (factor, networks) in [
        (4, (0..200).map(|host| format!("203.0.113.{host}")).collect::<Vec<_>>()),
        (4, (0..200).map(|net| format!("2001:db8:1:{net:x}::1")).collect()),
        (16, (0..240).map(|net| format!("2001:db8:1:{net:x}{:02x}::1", net % 16)).collect()),
    ] {
        let first = u32::try_from(networks.len()).unwrap();
        let checked = storm(networks, victim).await;
        // All of them begin before the first failure is known.
        let most = first + factor * (alone + 7);
        assert!(checked <= most, "{checked} guesses, {most} at the most: {factor} times {alone}");
    }
}

#[tokio::test(start_paused = true)]
async fn one_bad_address_hardly_delays_its_neighbours() {
    let throttle = throttle();
    for guess in 0..500 {
        fail(&throttle, "192.0.2.66", "victim", &guess.to_string()).await;
    }
    assert_eq!(wait(&throttle, "192.0.2.66", "mrose"), Some(30));
    let neighbour = attempt(&throttle, HOME, "mrose").unwrap().delay();
    assert!(neighbour <= FIRST / 4, "{neighbour:?}");
    for address in 67..90 {
        for guess in 0..7 {
            fail(&throttle, &format!("192.0.2.{address}"), "victim", &guess.to_string()).await;
        }
    }
    let neighbour = attempt(&throttle, HOME, "fred").unwrap().delay();
    assert_eq!(neighbour, MOST / 4);
    assert_eq!(wait(&throttle, AWAY, "fred"), Some(0));
}

#[tokio::test(start_paused = true)]
async fn a_success_takes_back_what_the_pair_has_counted_in_larger_networks_as_well() {
    let throttle = throttle();
    for address in 1..=4 {
        fail(&throttle, &format!("192.0.2.{address}"), "mrose", "1").await;
    }
    let neighbour = |name| attempt(&throttle, "192.0.2.200", name).unwrap().delay();
    assert_eq!(neighbour("anna"), FIRST / 4);
    advance(FIRST).await;
    succeed(&throttle, HOME, "mrose").await;
    assert_eq!(neighbour("anna"), Duration::ZERO);
}

/// Waits for the name and for the account, and fails; returns the seconds before the check.
async fn fail_at(throttle: &Arc<Throttle>, from: &str, name: &str, account: &str) -> Option<u64> {
    let begun = Instant::now();
    let mut attempt = attempt(throttle, from, name)?;
    sleep(attempt.delay()).await;
    sleep(attempt.leads_to(account.as_bytes())?).await;
    // A password that was not tried before.
    let password = throttle.lock().records()[3].to_string();
    attempt.failed(&secret(&password));
    Some(begun.elapsed().as_secs())
}

#[tokio::test(start_paused = true)]
async fn all_names_of_an_account_share_its_record() {
    let throttle = throttle();
    for (number, least) in [(1, 0), (2, 1), (3, 2), (4, 4), (5, 8), (6, 16), (7, 30)] {
        let from = format!("203.0.{number}.1");
        let name = format!("mrose@x{number}.example");
        let waited = fail_at(&throttle, &from, &name, "mrose").await.unwrap();
        assert_eq!(waited, least, "{name}");
    }
    // An account with one name adds no wait to that of the name.
    let throttle = self::throttle();
    for least in [0, 1, 2, 4, 8, 16, 30, 30] {
        assert_eq!(fail_at(&throttle, HOME, "mrose", "mrose").await, Some(least));
    }
    assert_eq!(fail_at(&throttle, AWAY, "fred", "fred").await, Some(0));
}

#[tokio::test(start_paused = true)]
async fn many_names_from_one_address_guess_one_account_no_faster_than_one_name() {
    let throttle = throttle();
    let checked = Rc::new(Cell::new(0_u32));
    let attackers = LocalSet::new();
    for connection in 0..49 {
        let (throttle, checked) = (Arc::clone(&throttle), Rc::clone(&checked));
        attackers.spawn_local(async move {
            for guess in 0_u32.. {
                let name = format!("mrose@x{connection}-{guess}.example");
                match fail_at(&throttle, HOME, &name, "mrose").await {
                    Some(_) => checked.set(checked.get() + 1),
                    None => sleep(FIRST).await,
                }
            }
        });
    }
    assert!(timeout(Duration::from_secs(3600), attackers).await.is_err());
    // Some wait for the network and are then turned away by the account, so there are fewer.
    assert!((50..=128).contains(&checked.get()), "{} guesses", checked.get());
}

#[tokio::test(start_paused = true)]
async fn the_owner_gets_in_whatever_names_are_tried() {
    let throttle = throttle();
    succeed(&throttle, HOME, "mrose").await;
    for host in 0..100 {
        fail_at(&throttle, &format!("203.0.113.{host}"), &format!("x{host}"), "mrose").await;
    }
    for (from, most) in [(HOME, 0), (AWAY, 30)] {
        let begun = Instant::now();
        let mut attempt = attempt(&throttle, from, "mrose").unwrap();
        sleep(attempt.delay()).await;
        sleep(attempt.leads_to(b"mrose").unwrap()).await;
        attempt.succeeded();
        assert_eq!(begun.elapsed().as_secs(), most, "{from}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_time_of_a_wrong_password_does_not_tell_who_has_logged_in_from_there() {
    for others in 0..20 {
        let throttle = throttle();
        succeed(&throttle, HOME, "mrose").await;
        for number in 0..others {
            fail(&throttle, HOME, &format!("name{number}"), "x").await;
        }
        let begun = Instant::now();
        for guess in 0..9 {
            let mut times = Vec::new();
            for name in ["mrose", "fred"] {
                let begun = Instant::now();
                let attempt = attempt(&throttle, HOME, name).unwrap();
                sleep(attempt.delay()).await;
                let failure = attempt.failed(&secret(&guess.to_string()));
                sleep(failure.pause.unwrap()).await;
                times.push(begun.elapsed().as_secs());
            }
            // The second one finds one more failure in the network.
            let [known, new] = times[..] else { panic!() };
            let next = if known == 0 { 1 } else { (known * 2).min(30) };
            assert_eq!(new, next, "{others} others, {:?}", begun.elapsed());
        }
        // With the right password a known pair does not wait for others.
        assert!(wait(&throttle, HOME, "mrose").unwrap() <= 30);
    }
}

#[tokio::test(start_paused = true)]
async fn an_attempt_without_a_name_counts_for_the_network_alone() {
    let throttle = throttle();
    let unnamed = |from: &str| throttle.attempt(from.parse().unwrap(), None).unwrap();
    for host in 0..12 {
        let attempt = unnamed(&format!("203.0.{host}.1"));
        assert_eq!(attempt.delay(), Duration::ZERO);
        attempt.failed(&secret("token"));
    }
    assert_eq!(unnamed(HOME).delay(), Duration::ZERO);
    assert_eq!(unnamed("203.0.7.1").delay(), FIRST);
}

/// How long an attempt waits for its name and its account in all, if other networks add failures for
/// that name meanwhile.
async fn wait_while_others_fail(account: Option<&[u8]>) -> Duration {
    let throttle = throttle();
    let others = async |password: &str| {
        let mut attempt = attempt(&throttle, AWAY, "mrose").unwrap();
        sleep(attempt.delay()).await;
        if let Some(account) = account {
            sleep(attempt.leads_to(account).unwrap()).await;
        }
        attempt.failed(&secret(password));
    };
    for password in ["1", "2", "3"] {
        others(password).await;
    }
    let mut attempt = attempt(&throttle, HOME, "mrose").unwrap();
    others("4").await;
    let more = account.map(|account| attempt.leads_to(account).unwrap());
    attempt.delay() + more.unwrap_or_default()
}

#[tokio::test(start_paused = true)]
async fn a_name_that_exists_waits_as_long_as_one_that_does_not() {
    let of_no_user = wait_while_others_fail(None).await;
    assert_eq!(of_no_user, FIRST * 4);
    assert_eq!(wait_while_others_fail(Some(b"mrose")).await, of_no_user);
}
