//! Programs of the checkpassword kind: their input, and the meaning of their exit status.

use std::num::NonZeroU32;

use super::*;
use crate::config::Asking;
use crate::credentials::ServiceStore;
use crate::credentials::{Account, CredentialStore as _};
use crate::password::Verifier;

fn store(script: &str, seconds: u64) -> ServiceStore<CheckpasswordProgram> {
    let command = ["/bin/sh", "-c", script].map(str::to_owned).to_vec();
    let program = CheckpasswordProgram::new(&command).unwrap();
    let (deadline, at_once) = (Duration::from_secs(seconds), NonZeroU32::new(2).unwrap());
    ServiceStore::new(program, Asking { deadline, at_once })
}

/// The arguments behind a script after `sh -c` are `$0` and `$@`.
const GOOD: &str = "test \"$(tr '\\0' '|' <&3 | cut -d'|' -f1,2)\" = 'mrose|tanstaaf' || exit 1
    HOME=/home/mrose USER=MRose exec \"$0\" \"$@\"";

async fn check(store: &ServiceStore<CheckpasswordProgram>, name: &str, password: &[u8]) -> String {
    let name = Username::try_from(name).unwrap();
    let account = Account::new(Verifier::AtStore("".into()));
    match store.check(&name, &account, &Secret::new(password.to_vec())).await {
        Check::Right(attributes) => format!("right {:?}", attributes.home),
        Check::Wrong => "wrong".into(),
        Check::Unavailable(why) => why.to_string(),
    }
}

#[tokio::test]
async fn the_right_password_and_no_other() {
    let store = store(GOOD, 60);
    assert_eq!(check(&store, "mrose", b"tanstaaf").await, "right Some(\"/home/mrose\")");
    let long = [b'x'; MAX_MESSAGE];
    for (name, password) in [
        ("mrose", &b"Tanstaaf"[..]),
        ("nobody", b"tanstaaf"),
        ("mrose", b""),
        ("mrose", b"tanstaaf\0"),
        ("mrose", b"tanstaaf "),
        ("mrose", b"\xff$(id);\r\n"),
        ("mrose;exit 0;", b"tanstaaf"),
        ("mrose", &long),
    ] {
        assert_eq!(check(&store, name, password).await, "wrong", "{name}");
    }
    assert_eq!(store.probe().await.unwrap(), "a name that does not exist is refused");
}

#[tokio::test]
async fn a_program_that_does_not_answer_is_never_a_wrong_password() {
    for (script, hint) in [
        ("echo 'no server\x1b[2J' >&2; exit 111", "cannot tell now (111): no server\\x1b[2J"),
        ("exit 2", "misused"),
        ("exit 0", "without running"),
        ("exit 3", "exit status: 3"),
        ("kill -9 $$", "signal: 9"),
        ("exec /no/such/program", "exit status: 127"),
        ("USER=jdoe exec \"$0\" \"$@\"", "logged in another user"),
        ("HOME=mrose exec \"$0\" \"$@\"", "HOME that it sets is not a whole path"),
        ("yes >&2", "no answer within 1s"),
        ("exec sleep 60", "no answer within 1s"),
        ("sleep 60 & wait", "no answer within 1s"),
    ] {
        let answer = check(&store(script, 1), "mrose", b"tanstaaf").await;
        assert!(answer.contains(hint), "{script}: {answer}");
    }
    let why = store("exec \"$0\" \"$@\"", 60).probe().await.unwrap_err().to_string();
    assert!(why.contains("any name"), "{why}");
}

#[tokio::test]
async fn only_a_program_that_cannot_tell_is_down() {
    for (script, down) in [("exit 111", true), ("exit 3", false), ("exit 1", false)] {
        let store = store(script, 60);
        // The breaker starts the first probe itself.
        let opened = async {
            while store.down().is_none() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        assert_eq!(timeout(Duration::from_secs(1), opened).await.is_ok(), down, "{script}");
    }
}

#[tokio::test]
async fn floods_and_processes_that_stay_do_not_delay_an_answer() {
    let flood = format!("yes | head -c 3000000 >&2; {GOOD}");
    assert!(check(&store(&flood, 60), "mrose", b"tanstaaf").await.starts_with("right"));
    let behind = format!("sleep 300 & {GOOD}");
    let begun = tokio::time::Instant::now();
    assert!(check(&store(&behind, 60), "mrose", b"tanstaaf").await.starts_with("right"));
    assert!(begun.elapsed() < Duration::from_secs(30));
}

#[test]
fn the_attributes_in_the_environment() {
    let name = Username::try_from("mrose@example.org").unwrap();
    for (environment, home, mail) in [
        (&b"A=B\0HOME=/h\0MAILDIR=/m\0USER=mrose@example.org\0"[..], Some("/h"), Some("/m")),
        (b"USER=mrose\0HOME=/a b\nHOME=/c\0", Some("/a b\nHOME=/c"), None),
        (b"XHOME=/x\0HOME=\0", None, None),
        (b"", None, None),
    ] {
        let found = attributes(&name, &with_proof(environment)).unwrap();
        assert_eq!(found.home.as_deref(), home.map(Path::new));
        assert_eq!(found.mail.as_deref(), mail.map(Path::new));
        assert_eq!((found.pop3, found.sessions), (true, None));
    }
    let rest = with_proof(b"HOME=/h\0MAILDIR=~/m\0RESTANTE_POP3=no\0RESTANTE_SESSIONS=3\0");
    let found = attributes(&name, &rest).unwrap();
    assert_eq!(found.mail.as_deref(), Some(Path::new("/h/m")));
    assert_eq!((found.pop3, found.sessions.map(u32::from)), (false, Some(3)));
    for (environment, hint) in [
        (with_proof(&[b'x'; MAX_ENVIRONMENT]), "more than"),
        (with_proof(b"USER=mrose@example.net\0"), "another user"),
        (with_proof(b"HOME=home\0"), "whole path"),
        (with_proof(b"MAILDIR=~/Maildir\0"), "home directory"),
        (with_proof(b"MAILDIR=/\xff\0"), "not UTF-8"),
        (with_proof(b"RESTANTE_POP3=perhaps\0"), "may use POP3"),
        (with_proof(b"RESTANTE_SESSIONS=0\0"), "1 or more"),
        (with_proof(b"RESTANTE_ALLOW_NETS=here\0"), "no network"),
        (Vec::new(), "without running"),
        (b"/usr/bin/env -0 RESTANTE=right\n".to_vec(), "without running"),
    ] {
        let why = attributes(&name, &environment).unwrap_err().to_string();
        assert!(why.contains(hint), "{why}");
    }
}

fn with_proof(environment: &[u8]) -> Vec<u8> {
    [environment, PROOF.as_bytes(), b"\0"].concat()
}

#[test]
fn programs_that_cannot_be_run_are_refused() {
    for (program, hint) in [
        ("/no/such/program", "correct the path"),
        ("/etc", "not a program"),
        ("/etc/passwd", "chmod +x"),
    ] {
        let error = CheckpasswordProgram::new(&[program.into()]).unwrap_err();
        assert!(error.to_string().contains(hint) && error.key == "command", "{error}");
    }
    assert_eq!(Complaint(b" \n".to_vec()).to_string(), "");
}
