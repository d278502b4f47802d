//! `restante serve` as a process: start, sessions, signals, limits, stop. TLS is in `tls.rs`.

use std::io::Read;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};

use crate::support::client::{Client, GREETING, Tls, greeted, logged_in};
use crate::support::{
    IMPLICIT, OFF, PATIENCE, PROGRAM, Place, STARTTLS, Server, default_user, refusal,
};

const CLEARTEXT: &str = "allow-cleartext = true\n";

/// A place whose server accepts passwords in the clear, on one plain socket.
pub(crate) fn plain_place(rest: &str) -> Place {
    let place = Place::new();
    place.configure(&[OFF], &format!("{CLEARTEXT}{rest}"));
    place
}

/// A client that has read the greeting.
/// A message of about this many octets, in lines.
pub(crate) fn large_message(octets: usize) -> Vec<u8> {
    let line = [b"x".repeat(98), b"\r\n".to_vec()].concat();
    [b"Subject: large\r\n\r\n".to_vec(), line.repeat(octets / 100)].concat()
}

#[test]
fn a_session_over_each_kind_of_socket() {
    let place = Place::new();
    place.deliver(1, b"Subject: one\n\n.dots\n");
    place.configure(&[OFF, STARTTLS, IMPLICIT], CLEARTEXT);
    let server = place.serve();
    for (number, kind) in ["none", "starttls", "implicit"].into_iter().enumerate() {
        let mut client = Client::plain(server.address(number));
        if kind == "implicit" {
            client = client.handshake(&Tls::new()).unwrap();
        }
        assert_eq!(client.line(), GREETING);
        if kind == "starttls" {
            client = client.upgrade(&Tls::new());
        }
        assert_eq!(client.log_in(), "+OK 1 message (23 octets)");
        assert_eq!(client.ask("RETR 1"), "+OK 23 octets");
        assert_eq!(client.body(), b"Subject: one\r\n\r\n.dots\r\n");
        assert_eq!(client.ask("QUIT"), "+OK goodbye, 1 message left");
        assert!(client.is_closed_in_order());
    }
    server.logged(&["login succeeded user=mrose mechanism=USER messages=1 octets=23"]);
    server.logged(&["login succeeded user=mrose mechanism=USER tls=1.3 messages=1 octets=23"]);
    let plain = server.logged(&["session ended user=mrose", "retrieved=1", "why=quit"]);
    assert!(plain.contains("left=1 octets=23 seconds="), "{plain}");
    assert!(plain.contains("peer=127.0.0.1:"), "{plain}");
    assert!(!plain.contains("tls="), "{plain}");
    server.logged(&["session ended user=mrose", "tls=1.3", "cipher_suite=TLS13_", "why=quit"]);
}

#[test]
fn each_removal_is_counted_in_the_log() {
    let place = plain_place("");
    place.deliver(1, b"Subject: one\n\n");
    place.deliver(2, b"Subject: two\n\n");
    let server = place.serve();
    let mut client = logged_in(&server);
    client.ask("DELE 1");
    assert_eq!(client.ask("QUIT"), "+OK 1 message removed, 1 left");
    assert_eq!(place.messages(), 1);
    server.logged(&["session ended", "retrieved=0 removed=1 left=1"]);
    server.logged(&["message removed user=mrose unique_id=1.M1P1.localhost octets=16"]);
    assert_eq!(server.count("message removed"), 1);
}

#[test]
fn removed_messages_have_no_line_of_their_own_where_the_operator_wants_none() {
    let place = plain_place("[log]\nremovals = false\n");
    place.deliver(1, b"Subject: one\n\n");
    let mut server = place.serve();
    let mut client = logged_in(&server);
    client.ask("DELE 1");
    assert_eq!(client.ask("QUIT"), "+OK 1 message removed, 0 left");
    server.signal(Signal::SIGTERM);
    assert_eq!(server.exit(), Some(0));
    server.logged(&["session ended", "removed=1"]);
    assert_eq!(server.count("message removed"), 0);
}

#[test]
fn no_client_is_served_as_root() {
    let place = Place::new();
    place.configure_as(None, &[OFF], CLEARTEXT);
    if !geteuid().is_root() {
        place.configure_as(Some("root"), &[OFF], CLEARTEXT);
        assert!(place.refuse().contains("run-as must not be root"));
        let own = nix::unistd::User::from_uid(geteuid()).unwrap().unwrap().name;
        let other = if own == "nobody" { "daemon" } else { "nobody" };
        place.configure_as(Some(other), &[OFF], CLEARTEXT);
        let said = place.refuse();
        assert!(said.contains(&format!("start it as \"{other}\" or as root")), "{said}");
        place.configure_as(Some(&own), &[OFF], CLEARTEXT);
        place.serve().address(0);
        return;
    }
    let said = place.refuse();
    assert!(said.starts_with("restante: mail is not served as root; write run-as = "), "{said}");
    place.configure(&[OFF], CLEARTEXT);
    let server = place.serve();
    server.address(0);
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    for kind in ["Uid:", "Gid:"] {
        let ids = status.lines().find_map(|line| line.strip_prefix(kind)).unwrap();
        assert!(ids.split_whitespace().all(|id| id != "0"), "{kind} {ids}");
    }
    let groups = status.lines().find_map(|line| line.strip_prefix("Groups:")).unwrap();
    assert!(groups.split_whitespace().all(|id| id != "0"), "{groups}");
}

#[test]
fn files_that_the_new_user_cannot_read_are_noticed_at_start() {
    if !geteuid().is_root() {
        return; // There is no other user to become.
    }
    let place = plain_place("");
    std::os::unix::fs::chown(place.path("users"), Some(0), Some(0)).unwrap();
    let said = place.refuse();
    assert!(said.contains("users"), "{said}");
    let place = Place::new();
    place.configure(&[IMPLICIT], "");
    std::os::unix::fs::chown(place.path("default.key"), Some(0), Some(0)).unwrap();
    let said = place.refuse();
    assert!(said.contains("default.key: cannot be read: Permission denied"), "{said}");
    assert!(said.contains("give the user that the server runs as read access"), "{said}");
}

#[test]
fn a_port_in_use_and_a_broken_file_are_named() {
    let place = Place::new();
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = holder.local_addr().unwrap().to_string();
    place.configure(&[(&address, "off")], CLEARTEXT);
    let said = place.refuse();
    let pid = std::process::id();
    let words = format!(" (pid {pid}) has this port; stop it, or change [[listen]]");
    assert!(said.starts_with(&format!("restante: cannot listen on {address}: ")), "{said}");
    assert!(said.ends_with(&words), "{said}");
    place.configure(&[OFF], "surprise = 1\n");
    let said = place.refuse();
    assert!(said.contains("restante.toml:") && said.contains("surprise"), "{said}");
}

#[test]
fn sighup_takes_over_what_it_can_and_names_the_rest() {
    let place = plain_place("");
    let server = place.serve();
    let mut before = greeted(&server);
    place.configure(&[OFF, OFF], "allow-cleartext = true\n[log]\nformat = \"text\"\n");
    let text = std::fs::read_to_string(place.path("restante.toml")).unwrap();
    place.write("restante.toml", text.replace("pop.example.org", "pop.example.net"));
    server.signal(Signal::SIGHUP);
    server.logged(&["listen has changed", "at the next start only"]);
    server.logged(&["log.format has changed", "at the next start only"]);
    server.logged(&["the configuration is in use for new connections"]);
    let mut after = Client::plain(server.address(0));
    assert_eq!(after.line(), "+OK pop.example.net POP3 server ready");
    assert_eq!(before.ask("QUIT"), "+OK goodbye");

    place.write("restante.toml", "hostname = 3\nlisten = 4\n");
    server.signal(Signal::SIGHUP);
    server.logged(&["restante.toml:1:", "hostname"]);
    server.logged(&["restante.toml:2:", "listen"]);
    server.logged(&["the configuration has faults, the old one stays in use"]);
    let mut after = Client::plain(server.address(0));
    assert_eq!(after.line(), "+OK pop.example.net POP3 server ready");
}

#[test]
fn sighup_changes_whom_failures_slow_down_and_forgets_none() {
    let place = plain_place("[log]\nlevel = \"debug\"\n");
    let server = place.serve();
    let reload = |times, old: &str, new: &str| {
        let text = std::fs::read_to_string(place.path("restante.toml")).unwrap();
        place.write("restante.toml", text.replace(old, new));
        server.signal(Signal::SIGHUP);
        server.logged_times("the configuration is in use for new connections", times);
    };
    let guess = |client: &mut Client| {
        client.ask("USER mrose");
        assert!(client.ask("PASS guess").starts_with("-ERR [AUTH]"));
    };
    let waits = |times| {
        let mut client = greeted(&server);
        client.send("USER mrose\r\nPASS tanstaaf\r\n");
        server.logged_times("earlier logins have failed, this one waits", times);
        client
    };
    let mut client = greeted(&server);
    guess(&mut client);
    reload(1, "trusted = [\"127.0.0.1\", \"::1\"]", "first-delay = \"15s\"");
    // The first failure was not counted, because the network was trusted then; this one is.
    guess(&mut client);
    let _one = waits(1);
    reload(2, "first-delay = \"15s\"", "first-delay = \"0s\"");
    logged_in(&server);
    reload(3, "first-delay = \"0s\"", "first-delay = \"15s\"");
    let _another = waits(2);
    assert_eq!(server.count("at the next start only"), 0);
}

#[test]
fn a_reload_with_a_broken_part_takes_over_nothing() {
    let place = plain_place("");
    let server = place.serve();
    greeted(&server);
    let text = std::fs::read_to_string(place.path("restante.toml")).unwrap();
    let text =
        text.replace("pop.example.org", "pop.example.net").replace("default.crt", "gone.crt");
    place.write("restante.toml", text);
    server.signal(Signal::SIGHUP);
    server.logged(&["ERROR", "the old configuration stays in use", "gone.crt"]);
    greeted(&server);
}

#[test]
fn no_way_to_log_in_is_listed_that_no_store_has() {
    let place = plain_place("");
    let text = std::fs::read_to_string(place.path("restante.toml")).unwrap();
    let file = "kind = \"file\"\npath = \"users\"\n";
    assert!(text.contains(file));
    // A provider that does not answer counts as available for a while.
    #[cfg(feature = "oauth2")]
    let provider = TcpListener::bind("127.0.0.1:0").unwrap();
    #[cfg(feature = "oauth2")]
    let tokens = format!(
        "kind = \"oauth2\"\nissuer = \"http://{}\"\naudience = \"restante\"\n",
        provider.local_addr().unwrap()
    );
    for (stores, mechanisms, user, sasl) in [
        (file, "", "+OK send PASS", Some("SASL SCRAM-SHA-256 SCRAM-SHA-1 PLAIN LOGIN")),
        (file, "mechanisms = [\"XOAUTH2\"]\n", "+OK send PASS", None),
        #[cfg(feature = "oauth2")]
        (
            &tokens,
            "",
            "-ERR [AUTH] passwords are not accepted here: use a token or a certificate",
            Some("SASL OAUTHBEARER XOAUTH2"),
        ),
    ] {
        place.write("restante.toml", text.replace(file, stores) + mechanisms);
        let server = place.serve();
        let mut client = greeted(&server);
        client.send("CAPA\r\nUSER mrose\r\nQUIT\r\n");
        let replies = String::from_utf8(client.rest()).unwrap();
        let lines: Vec<&str> = replies.lines().collect();
        assert_eq!(lines.iter().find(|line| line.starts_with("SASL")).copied(), sasl);
        assert!(lines.contains(&user), "{replies}");
        assert_eq!(lines.contains(&"USER"), user.starts_with("+OK"), "{replies}");
    }
}

#[test]
fn a_lack_of_descriptors_is_waited_out() {
    let place = plain_place("[limits]\nconnections = 100\nconnections-per-address = 1000\n");
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -n 40; exec \"$0\" serve --config \"$1\"", PROGRAM]);
    command.arg(place.path("restante.toml"));
    let server = Server::start(command);
    let mut existing = logged_in(&server);
    let crowd: Vec<TcpStream> =
        (0..60).map(|_| TcpStream::connect(server.address(0)).unwrap()).collect();
    server.logged(&["WARN", "no connection can be accepted for now"]);
    assert_eq!(existing.ask("NOOP"), "+OK");
    drop(crowd);
    while server.count("connections are accepted again") == 0 {
        assert_eq!(greeted(&server).ask("QUIT"), "+OK goodbye");
    }
    assert_eq!(existing.ask("NOOP"), "+OK");
    assert_eq!(server.count("no connection can be accepted"), 1, "once an episode");
}

#[test]
fn an_ipv4_client_of_an_ipv6_socket_is_shown_as_what_it_is() {
    if TcpListener::bind("[::1]:0").is_err() {
        return; // IPv6 is switched off here.
    }
    let place = Place::new();
    place.configure(&[("[::]:0", "off")], CLEARTEXT);
    let server = place.serve();
    let port = server.address(0).port();
    for (address, shown) in [
        (SocketAddr::from(([127, 0, 0, 1], port)), "session{peer=127.0.0.1:"),
        (format!("[::1]:{port}").parse().unwrap(), "session{peer=[::1]:"),
    ] {
        let mut client = Client::plain(address);
        assert_eq!(client.line(), GREETING);
        client.ask("QUIT");
        server.logged(&[shown, "session ended", "why=quit"]);
    }
}

#[test]
fn signals_that_mean_nothing_here_do_not_kill() {
    let place = plain_place("");
    let server = place.serve();
    greeted(&server);
    server.signal(Signal::SIGXFSZ);
    server.signal(Signal::SIGPIPE);
    assert_eq!(greeted(&server).ask("QUIT"), "+OK goodbye");
}

#[test]
fn a_socket_can_be_inherited() {
    let place = Place::new();
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    place.configure(&[(&address.to_string(), "off")], CLEARTEXT);
    let server = Server::start(inheriting(&place, socket));
    assert_eq!(server.address(0), address);
    assert_eq!(greeted(&server).ask("QUIT"), "+OK goodbye");
}

/// A reader of the log that has stopped does not delay sessions.
#[test]
fn an_unread_log_stops_no_session() {
    const REFUSED: usize = 10_000;
    let place = Place::new();
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let rest = format!("{CLEARTEXT}[log]\nlevel = \"debug\"\n");
    place.configure(&[(&address.to_string(), "off")], &rest);
    let mut child = inheriting(&place, socket).stderr(Stdio::piped()).spawn().unwrap();
    let mut client = Client::plain(address);
    assert_eq!(client.line(), GREETING);
    client.log_in();
    for _ in 0..REFUSED / 500 {
        client.send("DELE 7\r\nNOOP\r\n".repeat(500));
        for _ in 0..500 {
            assert_eq!((client.line().as_str(), client.line().as_str()), (NO_SUCH, "+OK"));
        }
    }
    assert!(client.ask("QUIT").starts_with("+OK"));
    let mut other = Client::plain(address);
    assert_eq!(other.line(), GREETING);
    assert!(other.log_in().starts_with("+OK"));

    let pid = Pid::from_raw(child.id().try_into().unwrap());
    kill(pid, Signal::SIGTERM).unwrap();
    let mut log = String::new();
    child.stderr.take().unwrap().read_to_string(&mut log).unwrap();
    assert!(child.wait().unwrap().success());
    let counts = log.lines().filter_map(|line| line.split_once("lost=")?.1.parse::<usize>().ok());
    let (written, lost) = (log.matches("a command was refused").count(), counts.sum::<usize>());
    assert!(lost > 0 && written > 0, "{written} lines are there, {lost} are lost");
    assert!(written + lost >= REFUSED, "{written} lines are there, {lost} are lost");
}

const NO_SUCH: &str = "-ERR no such message";

#[test]
fn an_inherited_socket_without_a_listener_is_an_error() {
    let place = plain_place("");
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address: SocketAddr = socket.local_addr().unwrap();
    let said = refusal(inheriting(&place, socket));
    assert!(said.contains(&format!("a socket on {address} that no [[listen]] names")), "{said}");
}

#[cfg(not(feature = "metrics"))]
#[test]
fn a_socket_is_not_inherited_for_a_service_that_is_not_built() {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let place = plain_place(&format!("[metrics]\nlisten = \"{address}\"\n"));
    let said = refusal(inheriting(&place, socket));
    let why = "restante: this program was built without the feature metrics; ";
    assert!(said.starts_with(why) && said.trim().ends_with(", or remove metrics.listen"), "{said}");
}

/// The command of a server as a service manager starts it, with the socket as descriptor 3.
fn inheriting(place: &Place, socket: TcpListener) -> Command {
    let mut command = Command::new("sh");
    command.args([
        "-c",
        "exec 3<&0 </dev/null; LISTEN_FDS=1 LISTEN_PID=$$ exec \"$0\" serve --config \"$1\"",
        PROGRAM,
    ]);
    command.arg(place.path("restante.toml")).stdin(Stdio::from(OwnedFd::from(socket)));
    command
}

/// The service manager's socket, and a command that uses it.
fn managed(place: &Place) -> (impl Fn() -> String, Command) {
    let path = place.path("notify");
    let socket = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
    if let Some(name) = default_user() {
        let user = nix::unistd::User::from_name(name).unwrap().unwrap();
        std::os::unix::fs::chown(&path, Some(user.uid.as_raw()), None).unwrap();
    }
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let told = move || {
        let mut message = [0; 1024];
        let octets = socket.recv(&mut message).unwrap();
        String::from_utf8(message[..octets].to_vec()).unwrap()
    };
    let mut command = place.command();
    command.env("NOTIFY_SOCKET", &path);
    (told, command)
}

#[test]
fn the_service_manager_is_told() {
    let place = plain_place("");
    let (told, command) = managed(&place);
    let mut server = Server::start(command);
    assert_eq!(told(), "READY=1\nSTATUS=serving\n");
    let good = std::fs::read_to_string(place.path("restante.toml")).unwrap();
    for (text, status) in [
        (good.as_str(), "serving"),
        ("surprise = 1\n", "serving; the last reload failed: "),
        (&good.replace("users", "gone"), "serving; the last reload failed: "),
        (&good, "serving"),
    ] {
        place.write("restante.toml", text);
        server.signal(Signal::SIGHUP);
        let reloading = told();
        assert!(reloading.starts_with("RELOADING=1\nMONOTONIC_USEC="), "{reloading}");
        let ready = told();
        assert!(ready.starts_with(&format!("READY=1\nSTATUS={status}")), "{ready}");
        assert_eq!(ready.contains("failed"), status.contains("failed"), "{ready}");
        assert_eq!(ready.lines().count(), 2, "{ready}");
    }
    server.signal(Signal::SIGTERM);
    // The grace time of 30 seconds, and the time that the unit leaves for removals.
    assert!(told().starts_with("STOPPING=1\nEXTEND_TIMEOUT_USEC=120000000\nSTATUS="));
    assert_eq!(server.exit(), Some(0));
}

#[test]
fn the_watchdog_of_the_service_manager_hears_of_progress() {
    let place = plain_place("");
    let (told, mut command) = managed(&place);
    command.env("WATCHDOG_USEC", "100000");
    let mut server = Server::start(command);
    assert!(told().starts_with("READY=1\n"));
    for _ in 0..3 {
        // The number of open connections may be reported in between.
        while told() != "WATCHDOG=1\n" {}
        logged_in(&server);
    }
    server.signal(Signal::SIGTERM);
    while !told().starts_with("STOPPING=1\n") {}
    assert_eq!(server.exit(), Some(0));
}

#[test]
fn the_watchdog_of_another_process_is_left_to_it() {
    let place = plain_place("");
    let (told, mut command) = managed(&place);
    command.env("WATCHDOG_USEC", "100000").env("WATCHDOG_PID", "1");
    let mut server = Server::start(command);
    assert!(told().starts_with("READY=1\n"));
    server.signal(Signal::SIGTERM);
    assert!(told().starts_with("STOPPING=1\n"));
    assert_eq!(server.exit(), Some(0));
}

/// A part of a message must not look like the whole.
#[test]
fn a_message_that_cannot_be_read_to_its_end_gets_no_final_dot() {
    let place = plain_place("");
    place.deliver(1, &large_message(24 << 20));
    place.deliver(2, b"Subject: two\n\n");
    let server = place.serve();
    let mut client = logged_in(&server);
    assert_eq!(client.ask("DELE 2"), "+OK message 2 deleted");
    assert!(client.ask("RETR 1").starts_with("+OK "));
    let path = place.path("mrose/Maildir/new/1.M1P1.localhost");
    std::fs::File::options().write(true).open(path).unwrap().set_len(20 << 20).unwrap();
    client.send("NOOP\r\nQUIT\r\n");
    let sent = client.rest();
    assert!(sent.len() < 24 << 20 && sent.ends_with(b"x"), "{} octets", sent.len());
    server.logged(&["session ended user=mrose", "removed=0 left=2", "why=body-failed"]);
    server.logged(&["ERROR", "not sent to its end", "mrose/Maildir/new/1.M1P1.localhost"]);
    assert_eq!(place.messages(), 2);
}

#[test]
fn the_demo_serves_its_samples_and_leaves_nothing() {
    let temporary = tempfile::tempdir().unwrap();
    let mut command = Command::new(PROGRAM);
    command
        .args(["demo", "--pop3", "127.0.0.1:0", "--pop3s", "127.0.0.1:0", "--messages", "9"])
        .env("TMPDIR", temporary.path());
    let mut server = Server::start(command);
    let mut client = Client::plain(server.address(0));
    assert_eq!(client.line(), "+OK localhost POP3 server ready");
    let mut client = client.upgrade(&Tls::new());
    client.ask("USER demo");
    assert!(client.ask("PASS restante").starts_with("+OK 9 messages"));
    assert_eq!(client.ask("TOP 5 3").split(' ').next(), Some("+OK"));
    assert!(client.body().ends_with(b":\r\n.\r\n"));
    assert_eq!(client.ask("QUIT"), "+OK goodbye, 9 messages left");
    let mut client = Client::tls(server.address(1), &Tls::new());
    assert_eq!(client.line(), "+OK localhost POP3 server ready");
    assert_eq!(std::fs::read_dir(temporary.path()).unwrap().count(), 1);
    server.signal(Signal::SIGINT);
    assert_eq!(server.exit(), Some(0));
    assert_eq!(std::fs::read_dir(temporary.path()).unwrap().count(), 0);
}

#[test]
fn the_demo_names_the_option_for_a_port_in_use() {
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = holder.local_addr().unwrap().to_string();
    for (taken, free) in [("--pop3", "--pop3s"), ("--pop3s", "--pop3")] {
        let mut command = Command::new(PROGRAM);
        command.args(["demo", taken, &address, free, "127.0.0.1:0"]);
        let said = refusal(command);
        let pid = std::process::id();
        let words =
            format!("(pid {pid}) has this port; choose another port with {taken} 127.0.0.1:PORT");
        assert!(said.starts_with(&format!("restante: cannot listen on {address}: ")), "{said}");
        assert!(said.ends_with(&words), "{said}");
    }
}

#[test]
fn wrong_usage_is_exit_code_2() {
    for arguments in [&["serve", "--nonsense"][..], &["nonsense"], &[]] {
        let output = Command::new(PROGRAM).args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
    }
    let said = |argument| Command::new(PROGRAM).arg(argument).output().unwrap().stdout;
    let version = format!("restante {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(String::from_utf8(said("-V")).unwrap(), version);
    let long = String::from_utf8(said("--version")).unwrap();
    assert!(long.starts_with(&version) && long.contains("\nfeatures: "), "{long}");
}
