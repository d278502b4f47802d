//! What an operator sees of the throttle, and what is forgotten at once.

use super::*;
use crate::limits::network;
use crate::login::throttle::{Seen, Selection, Who};

fn selection(user: Option<&str>, from: Option<&str>) -> Selection {
    let user = user.map(|name| ClaimedName::new(name.as_bytes()));
    Selection { user, network: from.map(|text| network(text).unwrap()) }
}

fn shown(page: Vec<Delay>) -> Vec<String> {
    let line = |Delay { who, network, failures, wait, .. }: Delay| {
        let who = match who {
            Who::All => "all".into(),
            Who::User(name) => name.into_string(),
            Who::Account => "account".into(),
        };
        let network = network.map_or("all".into(), |network| network.to_string());
        format!("{who} {network} {failures} {}", wait.as_secs())
    };
    page.into_iter().map(line).collect()
}

fn list(throttle: &Throttle, user: Option<&str>, from: Option<&str>) -> Vec<String> {
    let (selection, mut seen, mut all) = (selection(user, from), Seen::default(), Vec::new());
    while let Some(page) = throttle.delays(&selection, &mut seen) {
        assert!(page.windows(2).all(|pair| pair[0].until >= pair[1].until));
        all.extend(shown(page));
    }
    all.sort();
    all
}

fn clear(throttle: &Throttle, user: Option<&str>, from: Option<&str>) -> usize {
    let (selection, mut seen, mut cleared) = (selection(user, from), Seen::default(), 0);
    while let Some(page) = throttle.clear_delays(&selection, &mut seen) {
        cleared += page.len();
    }
    cleared
}

#[tokio::test(start_paused = true)]
async fn an_operator_sees_who_waits_and_lets_them_in() {
    let throttle = throttle();
    assert!(list(&throttle, None, None).is_empty());
    for n in 0..3 {
        fail(&throttle, HOME, "mrose", &n.to_string()).await;
    }
    fail(&throttle, AWAY, "m\u{1b}[2J", "x").await;
    assert_eq!(list(&throttle, Some("mrose"), None), ["mrose 192.0.2.1/32 3 4", "mrose all 3 4"],);
    assert_eq!(
        list(&throttle, None, Some(AWAY)),
        ["all 198.51.100.9/32 1 1", "m\\x1b[2J 198.51.100.9/32 1 1"],
    );
    assert_eq!(list(&throttle, None, Some("192.0.0.0/16")), list(&throttle, None, Some(HOME)));
    assert_eq!(list(&throttle, None, None).len(), 6);
    assert!(wait(&throttle, HOME, "mrose") >= Some(4));

    // What the user has added to the network goes, too; the others still wait.
    assert!(clear(&throttle, Some("mrose"), None) >= 2);
    assert_eq!(wait(&throttle, "203.0.113.1", "mrose"), Some(0));
    assert_eq!(list(&throttle, Some("mrose"), None).len(), 0);
    assert_eq!(wait(&throttle, AWAY, "other"), Some(1));
    assert_eq!(clear(&throttle, Some("mrose"), None), 0);

    assert!(clear(&throttle, None, Some("198.51.100.0/24")) >= 2);
    assert_eq!(wait(&throttle, AWAY, "other"), Some(0));
    for n in 0..3 {
        fail(&throttle, HOME, "other", &n.to_string()).await;
    }
    assert!(clear(&throttle, None, None) >= 3);
    assert!(list(&throttle, None, None).is_empty());
    assert_eq!(wait(&throttle, HOME, "other"), Some(0));
}

/// The record of an account with one name says nothing new; that of several names has none of them.
#[tokio::test(start_paused = true)]
async fn an_account_with_several_names_is_cleared_by_each() {
    let throttle = throttle();
    for name in ["mrose", "m.rose"] {
        let mut attempt = attempt(&throttle, AWAY, name).unwrap();
        attempt.leads_to(b"7").unwrap();
        advance(MOST).await;
        attempt.failed(&secret(name));
        let accounts = list(&throttle, None, None);
        let accounts = accounts.iter().filter(|line| line.starts_with("account")).count();
        assert_eq!(accounts > 0, name == "m.rose", "{name}");
    }
    assert!(list(&throttle, Some("mrose"), None).iter().any(|line| line.starts_with("account")));
    clear(&throttle, Some("m.rose"), None);
    assert!(!list(&throttle, None, None).iter().any(|line| line.starts_with("account")));
}

#[tokio::test(start_paused = true)]
async fn a_name_is_remembered_as_long_as_its_failures_if_the_time_to_forget_changes() {
    let throttle = throttle();
    for n in 0..3 {
        fail(&throttle, HOME, "mrose", &n.to_string()).await;
    }
    throttle.change(ThrottleSection { forget_after: FORGET * 100, ..settings() });
    advance(FORGET * 10).await;
    assert_eq!(wait(&throttle, AWAY, "mrose"), Some(4));
    let named = list(&throttle, None, None);
    assert!(named.iter().any(|line| line.starts_with("mrose ")), "{named:?}");
}

#[tokio::test(start_paused = true)]
async fn pages_have_all_records_in_their_order() {
    let throttle = throttle();
    for n in 0..300 {
        fail(&throttle, &format!("172.{}.{}.9", n / 250, n % 250), &format!("user{n}"), "x").await;
    }
    let (selection, mut seen, mut pages, mut last) =
        (Selection::default(), Seen::default(), 0, None);
    while let Some(page) = throttle.delays(&selection, &mut seen) {
        pages += 1;
        for delay in page {
            assert!(last.is_none_or(|last| last >= delay.until));
            last = Some(delay.until);
        }
    }
    assert!(pages > 4, "{pages}");
    assert!(clear(&throttle, None, None) > 500);
    assert!(list(&throttle, None, None).is_empty());
}
