//! `restante last`, with a real server that records the logins.

use std::fs;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::serve::plain_place;
use crate::support::Place;
use crate::support::client::logged_in;

const RECORDED: &str = "[last-logins]\npath = \"state/last-logins\"\n";

/// A place with a second user and a directory for the file.
fn place() -> Place {
    let place = plain_place(RECORDED);
    place.user("bob");
    place.folder("state");
    place
}

/// Serves one login, and stops.
fn serve_one(place: &Place) {
    let mut server = place.serve();
    let mut client = logged_in(&server);
    client.ask("QUIT");
    server.signal(Signal::SIGTERM);
    assert_eq!(server.exit(), Some(0));
}

#[test]
fn logins_are_recorded_across_restarts_and_listed_without_a_server() {
    let place = place();
    serve_one(&place);
    serve_one(&place);
    let objects = place.told("last --json");
    let users: Vec<Value> =
        objects.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let [bob, mrose] = &users[..] else { panic!("{objects}") };
    assert_eq!(
        (&bob["user"], &bob["last"], &bob["logins"]),
        (&"bob".into(), &Value::Null, &0.into())
    );
    assert_eq!((&mrose["user"], &mrose["logins"]), (&"mrose".into(), &2.into()));
    assert!(mrose["last"].as_u64().unwrap() >= mrose["since"].as_u64().unwrap());
    let table = place.told("last");
    let rows: Vec<Vec<&str>> =
        table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[0], ["USER", "LAST", "LOGIN", "AGO", "LOGINS"]);
    assert_eq!(rows[1], ["bob", "-", "-", "0"]);
    assert_eq!((rows[2][0], *rows[2].last().unwrap(), rows.len()), ("mrose", "2", 3));
}

#[test]
fn users_are_old_only_if_that_is_known() {
    let place = place();
    serve_one(&place);
    // What was before the file is not known.
    assert_eq!(place.told("last --older-than 1d"), "");
    let file = place.path("state/last-logins");
    let name = fs::read_to_string(&file).unwrap().lines().nth(1).unwrap().to_owned();
    let ago = |days: u64| name.split(' ').next().unwrap().parse::<u64>().unwrap() - days * 86_400;
    let text = format!("# last logins since {}\n{} 7 mrose\n{name}\n", ago(400), ago(300));
    fs::write(&file, text).unwrap();
    assert_eq!(place.told("last --older-than 180d"), "bob\n");
    fs::write(&file, format!("# last logins since {}\n{} 7 mrose\n", ago(400), ago(300))).unwrap();
    assert_eq!(place.told("last --older-than 180d"), "bob\nmrose\n");
    assert_eq!(place.told("last --older-than 365d"), "bob\n");
    assert_eq!(place.run("last --older-than half-a-year").status.code(), Some(2));
}

#[test]
fn without_the_file_the_server_works_and_the_command_says_what_to_do() {
    let place = plain_place(RECORDED);
    let server = place.serve();
    drop(logged_in(&server));
    server.logged(&["last logins are not recorded", "state/last-logins: No such file"]);
    assert!(place.error("last").contains("the server makes it if the directory exists"));
    place.folder("state");
    place.write("state/last-logins", "something else\n");
    assert!(place.error("last").contains("is no list of last logins"));
    let off = plain_place("[last-logins]\nenabled = false\n");
    assert!(off.error("last").contains("last-logins.enabled = false"));
}
