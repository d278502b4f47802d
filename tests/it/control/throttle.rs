//! `restante throttle`, with clients that have failed to log in.

use super::{CONTROL, objects};
use crate::support::OFF;
use crate::support::Place;
use crate::support::client::{Client, GREETING};

/// A server whose clients wait after a failure, and one that has failed from this address.
fn place() -> Place {
    let place = Place::new();
    let rest = format!("allow-cleartext = true\n{CONTROL}");
    place.configure(&[OFF], &rest);
    let text = std::fs::read_to_string(place.path("restante.toml")).unwrap();
    place
        .write("restante.toml", text.replace("trusted = [\"127.0.0.1\", \"::1\"]", "trusted = []"));
    place
}

fn fail(address: std::net::SocketAddr, user: &str) {
    let mut client = Client::plain(address);
    assert_eq!(client.line(), GREETING);
    client.ask(&format!("USER {user}"));
    assert!(client.ask("PASS hunter2").starts_with("-ERR [AUTH]"));
}

#[test]
fn who_waits_is_listed_and_let_in_again() {
    let place = place();
    let server = place.serve();
    let address = server.address(0);
    assert_eq!(place.told("throttle list"), "USER  FROM  FAILURES  WAIT  FORGOTTEN-IN\n");
    fail(address, "mrose");
    fail(address, "nobody");
    let delays = objects(&place, "throttle list");
    let is = |user: Option<&str>, network: Option<&str>| {
        delays
            .iter()
            .any(|delay| delay["user"].as_str() == user && delay["network"].as_str() == network)
    };
    assert!(is(Some("mrose"), None) && is(Some("mrose"), Some("127.0.0.1/32")), "{delays:?}");
    assert!(is(Some("nobody"), None) && is(None, Some("127.0.0.1/32")), "{delays:?}");
    assert!(delays.iter().all(|delay| delay["account"] == false), "{delays:?}");
    assert!(delays.is_sorted_by(|a, b| a["until"].as_u64() >= b["until"].as_u64()));
    let table = place.told("throttle list --user mrose");
    assert_eq!(table.lines().count(), 3, "{table}");
    assert!(table.lines().skip(1).all(|line| line.starts_with("mrose ")), "{table}");
    assert_eq!(objects(&place, "throttle list --address 192.0.2.0/24").len(), 0);
    let network = "throttle list --address 127.0.0.0/8";
    assert_eq!(objects(&place, network).len(), delays.len() - 2);

    let cleared = place.told("throttle clear mrose");
    assert!(cleared.contains("\nmrose "), "{cleared}");
    server.logged(&["the operator clears the throttle", "uid=", "user=mrose"]);
    assert_eq!(objects(&place, "throttle list --user mrose").len(), 0);
    assert!(place.error("throttle clear mrose").contains("nothing delays mrose"));
    assert!(place.told("throttle clear 127.0.0.1").contains("127.0.0.1/32"));
    assert_eq!(objects(&place, "throttle list").len(), 0);
    fail(address, "third");
    assert!(place.told("throttle clear --all").contains("\nthird "));
    server.logged(&["the operator clears the throttle", "all=true"]);
    assert_eq!(objects(&place, "throttle list").len(), 0);
}

#[test]
fn what_is_to_be_cleared_must_be_named() {
    let place = place();
    let server = place.serve();
    server.address(0);
    for words in ["throttle clear", "throttle clear --all mrose"] {
        assert_eq!(place.run(words).status.code(), Some(2), "{words}");
    }
    let bad = place.error("throttle list --address mrose");
    assert!(bad.contains("mrose is no address and no network"), "{bad}");
    assert_eq!(server.count("the operator clears"), 0);
}
