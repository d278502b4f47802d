//! App passwords from the command that makes one to the log of a session, with a real server.

use std::process::Command;

use serde_json::Value;

use crate::serve::plain_place;
use crate::support::PROGRAM;
use crate::support::client::{Client, greeted};

const CONTROL: &str = "[control]\npath = \"control\"\n";

fn pass(client: &mut Client, password: &str) -> String {
    assert!(client.ask("USER mrose").starts_with("+OK"));
    client.ask(&format!("PASS {password}"))
}

#[test]
fn an_app_password_is_made_used_shown_and_removed() {
    let place = plain_place(CONTROL);
    let server = place.serve();
    let printed = place.told("user app-password add mrose phone");
    let password = printed.strip_suffix('\n').unwrap();
    assert_eq!((password.len(), password.split('-').count()), (29, 6), "{password}");
    assert_eq!(place.told("user app-password list mrose"), "phone\n");
    assert_eq!(place.told("user list"), "mrose\t1 app password\n");

    let mut client = greeted(&server);
    assert!(pass(&mut client, password).starts_with("+OK"));
    server.logged(&["login succeeded", "user=mrose app_password=phone mechanism=USER"]);
    let session: Value = serde_json::from_str(&place.told("sessions --json")).unwrap();
    assert_eq!(session["app-password"], "phone");
    let table = place.told("sessions");
    assert!(table.contains("APP-PASSWORD") && table.contains(" phone "), "{table}");
    client.ask("QUIT");
    server.logged(&["session ended", "user=mrose app_password=phone "]);

    place.told("user app-password remove mrose phone");
    let mut client = greeted(&server);
    assert!(pass(&mut client, password).starts_with("-ERR [AUTH]"));
    // The user's own password is another one.
    assert!(client.log_in().starts_with("+OK"));
    let again = place.run("user app-password remove mrose phone");
    let why = String::from_utf8(again.stderr).unwrap();
    assert!(why.contains("mrose has no app password phone; restante user app-password list"));
}

#[test]
fn a_hash_for_a_database_is_printed_and_the_password_beside_it() {
    let hash = |words: &[&str]| {
        let mut command = Command::new(PROGRAM);
        command.arg("hash").args(words).output().unwrap()
    };
    let made = hash(&["--app-password"]);
    let shown = String::from_utf8(made.stderr).unwrap();
    let password = shown.trim_end().strip_prefix("App password: ").unwrap();
    let field = String::from_utf8(made.stdout).unwrap();
    assert!(field.starts_with("{SSHA256}") && field.lines().count() == 1, "{field}");
    let place = plain_place("");
    let own = "mrose:{PLAIN}tanstaaf\n";
    let app = format!("mrose:{}::::::app_password=phone\n", field.trim_end());
    place.write("users", format!("{own}{app}"));
    assert!(pass(&mut greeted(&place.serve()), password).starts_with("+OK"));
    assert_eq!(hash(&["--app-password", "--scheme", "argon2id"]).status.code(), Some(2));
}
