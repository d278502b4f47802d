//! The guard as an operator meets it: a refused login, what the log and `restante guard` say about
//! it, and the two ways out.

use std::fs;
use std::process::Command;

use crate::support::client::Client;
use crate::support::{LENIENT, OFF, PROGRAM, Place, eventually};

const LIST: &str = "mrose/Maildir/dovecot-uidlist";

/// A place with mail that Dovecot has served.
fn place() -> Place {
    let place = Place::new();
    for number in 1..=3 {
        place.deliver(number, b"Subject: a message\n\ntext\n");
    }
    place.write(LIST, "3 V7 N4\n1 :3.M1P1.localhost\n2 :1.M1P1.localhost\n3 :2.M1P1.localhost\n");
    place
}

/// The exit code of `restante guard`, and what it says.
fn guard(place: &Place, word: &str) -> (Option<i32>, String) {
    let mut command = Command::new(PROGRAM);
    command.args(["guard", word, "mrose", "--config"]).arg(place.path("restante.toml"));
    let output = command.output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(text).unwrap())
}

fn unique_ids(client: &mut Client) -> Vec<String> {
    assert!(client.ask("UIDL").starts_with("+OK"));
    let body = String::from_utf8(client.body()).unwrap();
    body.lines().map(|line| line.split_once(' ').unwrap().1.to_owned()).collect()
}

#[test]
fn an_unclaimed_list_is_refused_until_it_is_accepted() {
    let place = place();
    place.configure(&[OFF], LENIENT);
    let (code, said) = guard(&place, "status");
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("dovecot-uidlist") && said.contains("uidl = [\"dovecot\""), "{said}");
    let server = place.serve();
    let mut client = Client::plain(server.address(0));
    client.line();
    let reply = client.log_in();
    assert!(reply.starts_with("-ERR [SYS/TEMP] "), "{reply}");
    assert!(!reply.contains("dovecot"), "{reply}");
    drop(client);
    eventually("the log says why", || {
        let words = ["ERROR", "mrose", "dovecot-uidlist", "uidl"];
        server.log().iter().any(|line| words.iter().all(|word| line.contains(word)))
    });
    let (code, said) = guard(&place, "accept");
    assert_eq!(
        (code, said.as_str()),
        (Some(0), "mrose: 3 messages are accepted as they are now\n")
    );
    assert_eq!(guard(&place, "status"), (Some(0), "mrose: a login shows 3 messages\n".to_owned()));
    let mut client = Client::plain(server.address(0));
    client.line();
    assert!(client.log_in().starts_with("+OK"));
    let expected = ["1.M1P1.localhost", "2.M1P1.localhost", "3.M1P1.localhost"];
    assert_eq!(unique_ids(&mut client), expected);
    let (code, said) = guard(&place, "status");
    assert_eq!(code, Some(1));
    assert!(said.contains("another session"), "{said}");
}

#[test]
fn the_line_that_is_named_takes_the_list_over() {
    let place = place();
    place.configure(&[OFF], LENIENT);
    let text = fs::read_to_string(place.path("restante.toml")).unwrap();
    let lines = "[maildir]\nuidl = [\"dovecot\", \"base-name\"]\n";
    place.write("restante.toml", text.replace("[maildir]\n", lines));
    assert_eq!(guard(&place, "status"), (Some(0), "mrose: a login shows 3 messages\n".to_owned()));
    let server = place.serve();
    let mut client = Client::plain(server.address(0));
    client.line();
    assert!(client.log_in().starts_with("+OK"));
    let expected = ["0000000100000007", "0000000200000007", "0000000300000007"];
    assert_eq!(unique_ids(&mut client), expected);
    client.send("RETR 1\r\n");
    assert!(client.line().starts_with("+OK"));
}
