//! `restante selftest` against this server, and against servers that break one rule each.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::process::{Command, Stdio};
use std::sync::{LazyLock, Mutex};
use std::thread;

use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};
use serde_json::Value;

use crate::support::{IMPLICIT, OFF, PROGRAM, Place, STARTTLS};

mod flawed;

use flawed::{Flawed, PASSWORD};

/// The output and the exit code of a command.
#[derive(Debug)]
struct Said {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

fn selftest(words: &[&str], password: &str) -> Said {
    let mut command = Command::new(PROGRAM);
    command.arg("selftest").args(words);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // It may end without reading it.
    writeln!(child.stdin.take().unwrap(), "{password}").ok();
    let output = child.wait_with_output().unwrap();
    let text = |octets| String::from_utf8(octets).unwrap();
    Said { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

/// The outcome of each rule in the output of `--json`.
fn outcomes(said: &Said) -> BTreeMap<String, String> {
    let lines = said.stdout.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let text = |value: &Value, key: &str| Some(value.get(key)?.as_str()?.to_owned());
    lines.filter_map(|line| Some((text(&line, "id")?, text(&line, "outcome")?))).collect()
}

fn those<'a>(outcomes: &'a BTreeMap<String, String>, wanted: &str) -> BTreeSet<&'a str> {
    let found = outcomes.iter().filter(|(_, outcome)| *outcome == wanted);
    found.map(|(id, _)| id.as_str()).collect()
}

/// That of a server without a flaw.
static OF_FLAWLESS: LazyLock<Said> = LazyLock::new(|| of_flawed("none"));

/// A test of all rules but the one that takes ten minutes.
fn of_flawed(flaw: &'static str) -> Said {
    let address = Flawed::serve(flaw).to_string();
    let words = ["--tls", "starttls", "--insecure", "--user", "mrose", "--stdin"];
    let more = ["--destructive", "--json", "--timeout", "3"];
    selftest(&[&[address.as_str()], &words[..], &more[..]].concat(), PASSWORD)
}

#[test]
fn each_rule_is_broken_by_a_server_that_breaks_it() {
    let said = &*OF_FLAWLESS;
    let rules = outcomes(said);
    assert_eq!(those(&rules, "broken"), BTreeSet::new(), "{said:?}");
    assert_eq!(those(&rules, "not-offered"), BTreeSet::new(), "{said:?}");
    assert_eq!(those(&rules, "not-tested"), BTreeSet::from(["rfc1939-idle"]), "{said:?}");
    assert_eq!(said.code, Some(0));
    // They wait for most of their time.
    let flaws = those(&rules, "kept").into_iter().map(|id| id.to_owned().leak() as &'static str);
    let flaws = Mutex::new(flaws.collect::<Vec<_>>());
    let wrong = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                loop {
                    let Some(flaw) = flaws.lock().unwrap().pop() else { break };
                    let said = of_flawed(flaw);
                    let broken = outcomes(&said).get(flaw).is_some_and(|found| found == "broken");
                    if !broken || said.code != Some(1) {
                        wrong.lock().unwrap().push(format!("{flaw}: {said:?}"));
                    }
                }
            });
        }
    });
    let wrong = wrong.into_inner().unwrap();
    assert!(wrong.is_empty(), "{} are not found:\n{}", wrong.len(), wrong.join("\n"));
}

/// RFC 1939 §4: after a login that is refused, the server may close the connection.
#[test]
fn the_wrong_password_is_sent_once() {
    for (flaw, broken, untested) in [
        ("closes-after-wrong-password", &[][..], &["rfc1939-idle"][..]),
        ("ignores-wrong-password", &["rfc1939-wrong-password"], &["rfc1939-idle", "rfc3206-auth"]),
    ] {
        let said = of_flawed(flaw);
        let rules = outcomes(&said);
        assert_eq!(those(&rules, "broken"), broken.iter().copied().collect(), "{flaw}: {said:?}");
        assert_eq!(those(&rules, "not-tested"), untested.iter().copied().collect(), "{flaw}");
        let sent = said.stdout.matches("C: PASS restante-selftest-wrong-password").count();
        assert_eq!(sent, 1, "{flaw}: {said:?}");
    }
}

/// A server with three messages of the user mrose.
fn place() -> Place {
    let place = Place::new();
    place.configure(&[STARTTLS, IMPLICIT], "[pop3]\nutf8 = true\n");
    for number in 1..=3 {
        place.deliver(number, b"Subject: a message\n\none\n.two\nthree\n");
    }
    place
}

#[test]
fn this_server_keeps_all_rules() {
    let place = place();
    let server = place.serve();
    let authorities = place.path("default.crt");
    let user = ["--cafile", authorities.to_str().unwrap(), "--user", "mrose", "--stdin", "--json"];
    let tested = |address: SocketAddr, words: &[&str]| {
        let address = format!("localhost:{}", address.port());
        let said = selftest(&[&[address.as_str()], words, &user].concat(), "tanstaaf");
        assert_eq!(said.code, Some(0), "{said:?}");
        outcomes(&said)
    };
    let rules = tested(server.address(1), &[]);
    assert_eq!(those(&rules, "not-offered"), BTreeSet::from(["rfc2449-login-delay"]));
    assert_eq!(place.messages(), 3);
    let rules = tested(server.address(0), &["--tls", "starttls", "--destructive"]);
    assert_eq!(those(&rules, "not-offered"), BTreeSet::from(["rfc2449-login-delay"]));
    assert_eq!(those(&rules, "not-tested"), BTreeSet::from(["rfc1939-idle"]));
    assert_eq!(place.messages(), 2);
}

#[test]
fn a_server_without_tls() {
    let place = Place::new();
    place.configure(&[OFF], "allow-cleartext = true\n");
    let server = place.serve();
    let address = server.address(0).to_string();
    let words = [address.as_str(), "--tls", "off", "--insecure", "--user", "mrose", "--stdin"];
    let said = selftest(&[&words[..], &["--json"]].concat(), "tanstaaf");
    let rules = outcomes(&said);
    // The only one that this server breaks is the one that its operator has asked for.
    assert_eq!(those(&rules, "broken"), BTreeSet::from(["rfc8314-no-cleartext"]), "{said:?}");
    assert_eq!(rules["rfc2595-stls"], "not-offered");
    // The maildrop is empty, which is said.
    assert_eq!(rules["rfc1939-retr-octets"], "not-tested");
    assert!(said.stdout.contains("\"why\":\"the maildrop is empty\""), "{said:?}");
    let breaks = format!("restante: {address} breaks 1 of {} rules", rules.len());
    assert!(said.stderr.starts_with(&breaks), "{said:?}");
    assert_eq!(said.code, Some(1));
    // The broken rule is shown with what was sent and what came.
    let said = selftest(&words, "tanstaaf");
    let at = said.stdout.find("BROKEN       rfc8314-no-cleartext").unwrap();
    let shown = said.stdout[at..].lines().take(5).collect::<Vec<_>>().join("\n");
    assert!(shown.contains("without TLS") && shown.contains("  C: CAPA"), "{shown}");
}

#[test]
fn passwords_are_not_shown() {
    let place = place();
    let server = place.serve();
    let address = server.address(1).to_string();
    let words = [address.as_str(), "--insecure", "--user", "mrose", "--stdin", "--verbose"];
    let said = selftest(&words, "tanstaaf");
    assert_eq!(said.code, Some(0), "{said:?}");
    for shown in ["  C: PASS ***\n", "  C: AUTH PLAIN ***\n", "  C: ***\n"] {
        assert!(said.stdout.contains(shown), "{shown}: {said:?}");
    }
    // AG1yb3NlAHRhbnN0YWFm is the response of PLAIN.
    for secret in ["tanstaaf", "AG1yb3NlAHRhbnN0YWFm", "dGFuc3RhYWY"] {
        assert!(!said.stdout.contains(secret), "{secret}: {said:?}");
    }
}

#[test]
fn passwords_that_the_server_repeats_are_not_shown() {
    let address = Flawed::serve("repeats-password").to_string();
    let words = [&address, "--tls", "starttls", "--insecure", "--user", "mrose", "--stdin"];
    for (password, expected) in [
        (PASSWORD, "the server sends \"***\""),
        ("tanstaaf", "the login is refused: -ERR [AUTH] *** is wrong"),
    ] {
        let said = selftest(&[&words[..], &["--verbose", "--destructive"]].concat(), password);
        assert_eq!(said.code, Some(1), "{said:?}");
        assert!(said.stdout.contains(expected), "{password}: {said:?}");
        let shown = said.stdout.contains(password) || said.stderr.contains(password);
        assert!(!shown, "{password}: {said:?}");
    }
}

#[test]
fn a_login_that_is_refused_is_not_tried_again() {
    let place = place();
    let server = place.serve();
    let address = server.address(1).to_string();
    let words = [address.as_str(), "--insecure", "--user", "mrose", "--stdin"];
    let said = selftest(&words, "not tanstaaf");
    assert_eq!(said.code, Some(1));
    let why = "restante: the login of mrose is refused: -ERR [AUTH] wrong user name or password\n";
    assert_eq!(said.stderr, why);
    // By PASS and by AUTH; and the other wrong password, on purpose.
    server.logged_times("login failed", 3);
    assert_eq!(server.count("login failed"), 3, "{:?}", server.log());
}

#[test]
fn a_login_without_a_reply_is_not_tried_again() {
    let address = Flawed::serve("ignores-wrong-password").to_string();
    let words = [&address, "--tls", "starttls", "--insecure", "--user", "mrose", "--stdin"];
    let said = selftest(&[&words[..], &["--json"]].concat(), "not tanstaaf");
    assert_eq!(said.code, Some(1));
    let why = "restante: the login of mrose is refused: the connection failed: ";
    assert!(said.stderr.starts_with(why), "{said:?}");
    assert_eq!(said.stdout.matches("C: PASS ***").count(), 1, "{said:?}");
}

#[test]
fn a_server_that_cannot_be_tested() {
    let place = place();
    let server = place.serve();
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let (starttls, implicit) = (server.address(0).to_string(), server.address(1).to_string());
    for (words, code, expected) in [
        (&[free.as_str()][..], 1, "cannot connect"),
        (&[&implicit], 1, "invalid peer certificate"),
        (&[&starttls, "--insecure"], 1, "write --tls starttls"),
        (&[&implicit, "--tls", "off", "--timeout", "2"], 1, "write --tls implicit"),
        (&[&implicit, "--cafile", "/dev/null"], 1, "/dev/null has no certificates"),
        (&["pop3://localhost"], 2, "write HOST or HOST:PORT"),
        (&["localhost", "--destructive"], 2, "--user <USER>"),
        (&["localhost", "--user", "mrose", "--password", "x"], 2, "use the prompt"),
    ] {
        let said = selftest(words, "");
        assert_eq!(said.code, Some(code), "{words:?}: {said:?}");
        assert!(said.stderr.contains(expected), "{words:?}: {said:?}");
        assert_eq!(said.stdout, "", "{words:?}");
    }
}

/// What `openssl req -x509` makes, if nothing else is asked for.
#[test]
fn a_self_signed_certificate_that_is_marked_as_an_authority() {
    let place = place();
    let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    place.write("default.crt", params.self_signed(&key).unwrap().pem());
    place.write("default.key", key.serialize_pem());
    let server = place.serve();
    let address = format!("localhost:{}", server.address(1).port());
    let authorities = place.path("default.crt");
    for more in [&["--cafile", authorities.to_str().unwrap()][..], &[]] {
        let said = selftest(&[&[address.as_str()], more].concat(), "");
        assert_eq!(said.code, Some(1), "{said:?}");
        let why = "TLS from the start: the server's certificate is marked as that of an authority, \
                   which only signs others; replace it, or accept any certificate with --insecure\n";
        assert!(said.stderr.ends_with(why), "{said:?}");
    }
    let said = selftest(&[&address, "--insecure"], "");
    assert_eq!(said.code, Some(0), "{said:?}");
}

#[test]
fn each_rule_is_in_the_document() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/SELFTEST.md");
    let page = fs::read_to_string(page).unwrap();
    let rules = outcomes(&OF_FLAWLESS).into_keys().collect::<BTreeSet<_>>();
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    let rows = rows.map(str::to_owned).collect::<BTreeSet<_>>();
    assert_eq!(rules, rows);
}
