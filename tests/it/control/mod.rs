//! The control socket, and the commands that use it, with a real server.

use std::fs::{self, OpenOptions};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::Command;

use nix::libc::O_NONBLOCK;
use nix::sys::signal::Signal;
use rustix::fs::{CWD, Mode, mkfifoat};
use serde_json::Value;

use crate::serve::{large_message, plain_place};
use crate::support::client::{Client, greeted, logged_in};
use crate::support::{PATIENCE, PROGRAM, Place, eventually};

mod throttle;
mod watch;

const CONTROL: &str = "[control]\npath = \"control\"\n";

/// The objects that a command prints.
fn objects(place: &Place, words: &str) -> Vec<Value> {
    let text = place.told(&format!("{words} --json"));
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn the_status_is_that_of_the_server() {
    let place = plain_place(CONTROL);
    let server = place.serve();
    server.address(0);
    let mode = fs::metadata(place.path("control")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let _client = logged_in(&server);
    let status = &objects(&place, "status")[0];
    assert_eq!(status["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(status["listeners"][0]["address"], server.address(0).to_string());
    for (key, expected) in [("connections", 1), ("sessions", 1), ("logins", 1)] {
        assert_eq!(status[key], expected, "{key}");
    }
    assert_eq!(status["stores"][0]["down"], Value::Null);
    assert_eq!(status["last-reload"], Value::Null);
    let text = place.told("status");
    for line in ["connections  1, 1 of them logged in\n", "logins       1, 1 in the last minute\n"]
    {
        assert!(text.contains(line), "{text}");
    }
}

#[test]
fn a_store_that_is_down_is_listed_with_the_reason() {
    let store = "[[credentials]]\nkind = \"checkpassword\"\n\
                 command = [\"/bin/sh\", \"-c\", \"exit 111\"]\n";
    let place = plain_place(&format!("{store}{CONTROL}"));
    let server = place.serve();
    server.logged(&["WARN", "the store is down"]);
    let status = &objects(&place, "status")[0];
    let [file, program] = [0, 1].map(|nth| &status["stores"][nth]);
    assert_eq!([&file["down"], &file["down-since"]], [&Value::Null; 2]);
    assert!(program["down"].is_string(), "{program}");
    assert!(program["down-since"].as_u64().unwrap() >= status["started"].as_u64().unwrap());
    let text = place.told("status");
    assert!(text.contains("checkpassword /bin/sh: down for "), "{text}");
}

#[test]
fn certificates_are_listed_with_their_end() {
    let place = Place::new();
    place.configure(&[crate::support::IMPLICIT], CONTROL);
    let server = place.serve();
    server.address(0);
    let status = &objects(&place, "status")[0];
    let certificate = &status["certificates"][0];
    assert_eq!(certificate["names"][0], "localhost");
    assert!(certificate["expires"].as_u64().unwrap() > status["started"].as_u64().unwrap());
    assert_eq!(certificate["file"], Value::Null);
    assert!(place.told("status").contains("default.crt (localhost): expires in "));
    // The old one stays in use.
    place.write("default.crt", "garbage");
    let changed = objects(&place, "status")[0]["certificates"][0].clone();
    assert_eq!(
        [&changed["names"], &changed["expires"]],
        ["names", "expires"].map(|key| &certificate[key])
    );
    assert!(changed["file"]["error"].as_str().unwrap().contains("default.crt"), "{changed}");
    let text = place.told("status");
    assert!(text.contains("\n             not in use: the file cannot be used: "), "{text}");
    place.pair("default", &["pop.example.org"]);
    place.told("reload");
    let renewed = &objects(&place, "status")[0]["certificates"][0];
    assert_eq!((&renewed["names"][0], &renewed["file"]), (&"pop.example.org".into(), &Value::Null));
}

#[test]
fn sessions_are_listed_and_ended() {
    let place = plain_place(CONTROL);
    place.deliver(1, b"Subject: one\n\n");
    place.deliver(2, b"Subject: two\n\n");
    let server = place.serve();
    let mut client = logged_in(&server);
    client.ask("RETR 1");
    client.body();
    client.ask("DELE 1");
    let mut waiting = greeted(&server);
    let waits = |session: &Value| session["idle"].is_number();
    eventually("both wait", || objects(&place, "sessions").iter().all(waits));
    let sessions = objects(&place, "sessions");
    let keys = ["id", "user", "state", "retrieved", "marked", "tls"];
    let of = |session: &Value| keys.map(|key| session[key].to_string());
    let logged_in = ["1", "\"mrose\"", "\"transaction\"", "1", "1", "null"];
    assert_eq!(of(&sessions[0]), logged_in);
    assert_eq!(of(&sessions[1]), ["2", "null", "\"authorization\"", "0", "0", "null"]);
    assert_eq!(objects(&place, "sessions --user mrose").len(), 1);
    assert_eq!(objects(&place, "sessions --address 127.0.0.1").len(), 2);
    assert_eq!(objects(&place, "sessions --address 192.0.2.1").len(), 0);
    let table = place.told("sessions");
    assert!(table.starts_with("ID  USER   APP-PASSWORD  ADDRESS "), "{table}");

    let ended = place.told("kick mrose");
    assert!(ended.starts_with("1: mrose from 127.0.0.1:"), "{ended}");
    assert!(ended.ends_with(": ended, nothing is removed\n"), "{ended}");
    let farewell = "-ERR [SYS/TEMP] the operator has ended this session; nothing is removed\r\n";
    assert_eq!(client.rest(), farewell.as_bytes());
    server.logged(&["session ended", "retrieved=1 removed=0 left=2", "why=kicked"]);
    place.told("kick 2");
    assert_eq!(waiting.rest(), farewell.as_bytes());
    assert_eq!(place.messages(), 2);
    assert!(place.error("kick mrose").contains("no connection of mrose"));
    eventually("none is left", || objects(&place, "sessions").is_empty());
}

/// A client that does not read is in the middle of a reply.
#[test]
fn a_session_that_sends_is_ended_at_once() {
    let place = plain_place(CONTROL);
    place.deliver(1, &large_message(12 << 20));
    let server = place.serve();
    let mut client = logged_in(&server);
    client.ask("DELE 1");
    client.ask("RSET");
    client.ask("RETR 1");
    eventually("the session sends", || objects(&place, "sessions")[0]["idle"].is_null());
    place.told("kick --user mrose");
    server.logged(&["session ended", "why=kicked"]);
    let rest = client.rest();
    assert!(rest.len() < 12 << 20 && !rest.ends_with(b".\r\n"));
    assert!(!rest.windows(4).any(|octets| octets == b"-ERR"));
}

#[test]
fn a_reload_is_answered_when_the_configuration_is_in_use() {
    let place = plain_place(CONTROL);
    let server = place.serve();
    server.address(0);
    assert_eq!(place.told("reload"), "the configuration is in use for new connections\n");
    server.logged(&["restante reload: the configuration is in use"]);
    let text = fs::read_to_string(place.path("restante.toml")).unwrap();
    place.write("restante.toml", text.replace("pop.example.org", "mail.example.org"));
    place.told("reload");
    let greeting = Client::plain(server.address(0)).line();
    assert_eq!(greeting, "+OK mail.example.org POP3 server ready");
    place.write("restante.toml", text.replace("hostname", "hostnames"));
    let socket = place.path("control");
    let output = Command::new(PROGRAM).args(["reload", "--socket"]).arg(&socket).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let refused = String::from_utf8(output.stderr).unwrap();
    assert!(refused.contains("restante.toml:1:1: hostnames: is not a known key"), "{refused}");
    place.write("restante.toml", text.replace("path = \"control\"", "path = \"other\""));
    let output = Command::new(PROGRAM).args(["reload", "--socket"]).arg(&socket).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.ends_with("\ncontrol has changed, which takes effect at the next start only\n"));
}

/// A file system that does not answer, in the middle of a reload.
#[test]
fn a_reload_that_hangs_delays_nothing_else() {
    let place = Place::new();
    let rest = format!("allow-cleartext = true\n{CONTROL}");
    place.configure(&[crate::support::OFF, crate::support::IMPLICIT], &rest);
    let server = place.serve();
    server.address(0);
    let file = place.path("default.crt");
    fs::remove_file(&file).unwrap();
    mkfifoat(CWD, &file, Mode::RUSR | Mode::ROTH).unwrap();
    let mut reloading = Conversation::new(&place);
    reloading.send("reload");
    // Opened without waiting for a reader, of whom there is none before.
    let open = || OpenOptions::new().write(true).custom_flags(O_NONBLOCK).open(&file);
    let mut writer = None;
    eventually("the certificate is being read", || {
        writer = open().ok();
        writer.is_some()
    });
    let _asking: Vec<_> = (0..8).map(|_| Conversation::new(&place).sent("status")).collect();
    assert!(Conversation::new(&place).sent("sessions").answer().contains("done"));
    assert!(greeted(&server).ask("CAPA").starts_with("+OK"));
    // Later readers do not wait for a writer.
    fs::remove_file(&file).unwrap();
    drop(writer);
    assert!(reloading.answer().starts_with("{\"error\":"));
}

#[test]
fn a_server_that_stops_can_be_asked() {
    let place = plain_place(CONTROL);
    place.deliver(1, b"Subject: one\n\n");
    let mut server = place.serve();
    let mut client = logged_in(&server);
    // With a mark, its session may go on for the whole grace time.
    client.ask("DELE 1");
    server.signal(Signal::SIGTERM);
    server.logged(&["sessions may go on to their QUIT"]);
    eventually("it stops", || objects(&place, "status")[0]["is-stopping"] == true);
    place.told("kick mrose");
    server.logged(&["session ended", "why=kicked"]);
    assert_eq!(server.exit(), Some(0));
}

/// A connection to the control socket of a place.
struct Conversation(BufReader<UnixStream>);

impl Conversation {
    fn new(place: &Place) -> Self {
        let stream = UnixStream::connect(place.path("control")).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self(BufReader::new(stream))
    }

    fn send(&mut self, command: &str) {
        writeln!(self.0.get_mut(), "{{\"command\":\"{command}\"}}").unwrap();
    }

    fn sent(mut self, command: &str) -> Self {
        self.send(command);
        self
    }

    /// The next line.
    fn answer(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        line
    }
}

#[test]
fn without_a_server_the_commands_say_so() {
    let place = plain_place(CONTROL);
    let socket = place.path("control");
    assert!(place.error("status").contains("No such file or directory"));
    let mut server = place.serve();
    server.address(0);
    server.signal(Signal::SIGTERM);
    assert_eq!(server.exit(), Some(0));
    let refused = place.error("status");
    assert!(refused.contains("Connection refused") && refused.contains("is the server running"));
    // The next server takes the place of the one that does not run any more, but of no other.
    let running = place.serve();
    running.address(0);
    place.told("status");
    let second = place.serve();
    second.logged(&["WARN", "no control socket", "another server listens there"]);
    fs::remove_file(&socket).unwrap();
    place.write("control", "a file");
    place.serve().logged(&["WARN", "no control socket", "the file is not a socket"]);
    assert_eq!(fs::read(&socket).unwrap(), b"a file");
    place.configure(&[crate::support::OFF], "allow-cleartext = true\n[control]\nenabled = false\n");
    assert!(place.error("status").contains("control.enabled = false"));
}

/// Only root and the user of the server can open the socket; their mistakes are bounded.
#[test]
fn bad_requests_get_an_error_or_the_end() {
    let place = plain_place(CONTROL);
    let server = place.serve();
    server.address(0);
    let socket = place.path("control");
    assert!(fs::symlink_metadata(&socket).unwrap().file_type().is_socket());
    for (sent, expected) in [
        (&b"\n"[..], "{\"error\":\"this is no request: "),
        (b"{\"command\":\"stop\"}\n", "{\"error\":\"this is no request: unknown variant `stop`"),
        (b"{\"command\":\"kick\"}\n", "{\"error\":\"name a user, an address or an id\"}\n"),
        (b"\xff\xfe\n", "{\"error\":\"this is no request: "),
        (&[b'['; 4096], "{\"error\":\"this is no request: "),
        (
            &[br#"{"command":"status"}"#, &[b' '; 4096][..]].concat(),
            "{\"error\":\"longer than 4096",
        ),
        (b"{\"command\":\"status\"}", ""),
        (b"", ""),
    ] {
        let mut stream = UnixStream::connect(&socket).unwrap();
        stream.write_all(sent).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with(expected), "{answer}");
        assert!(!expected.is_empty() || answer.is_empty(), "{answer}");
    }
    // Clients that say nothing leave room for others.
    let silent: Vec<_> = (0..10).map(|_| UnixStream::connect(&socket).unwrap()).collect();
    place.told("status");
    drop(silent);
}

/// Sixteen are served at a time.
#[test]
fn clients_that_send_no_request_leave_their_places_to_others() {
    let place = plain_place(CONTROL);
    let server = place.serve();
    server.address(0);
    let mut watching = Conversation::new(&place);
    watching.0.get_mut().write_all(b"{\"command\":\"watch\",\"address\":\"127.0.0.1\"}\n").unwrap();
    server.logged(&["the operator watches sessions"]);
    let mut silent: Vec<_> = (0..15).map(|_| Conversation::new(&place)).collect();
    silent[1].0.get_mut().write_all(b"{\"command\":").unwrap();
    assert!(Conversation::new(&place).sent("sessions").answer().contains("done"));
    drop(logged_in(&server));
    assert!(watching.answer().contains("connected from"));
}

/// A socket of another program, or of another version.
#[test]
fn answers_that_cannot_be_understood_are_an_error() {
    let place = plain_place(CONTROL);
    let listener = UnixListener::bind(place.path("control")).unwrap();
    let answering = std::thread::spawn(move || {
        for answer in [&b"220 ready\r\n"[..], b"", b"{\"error\":\"no\"}\n"] {
            let (mut stream, _) = listener.accept().unwrap();
            // Whatever is unread would reset the connection.
            BufReader::new(&stream).read_line(&mut String::new()).unwrap();
            stream.write_all(answer).unwrap();
        }
    });
    for expected in ["cannot be understood", "the connection was closed", "restante: no\n"] {
        let told = place.error("status");
        assert!(told.contains(expected), "{told}");
    }
    answering.join().unwrap();
}
