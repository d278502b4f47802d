//! A real `restante serve` in a temporary directory, and a small client for it.
//!
//! Works for an ordinary user and for root, who gives the directory to the user `nobody` first. Every
//! wait is bounded: if it ends too late, the test fails with the log of the server.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{self, Signal};
use nix::unistd::{Pid, User, geteuid};
use tempfile::TempDir;
use tokio::time::Instant;

pub(crate) mod client;
pub(crate) mod clock;
mod command;
mod connection;
#[expect(unreachable_pub, reason = "fuzz includes it in a library")]
pub(crate) mod session;

/// The time limit of operations that normally are immediate.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Sockets for a configuration: the address and the kind of TLS.
pub(crate) const OFF: (&str, &str) = ("127.0.0.1:0", "off");
pub(crate) const STARTTLS: (&str, &str) = ("127.0.0.1:0", "starttls");
pub(crate) const IMPLICIT: (&str, &str) = ("127.0.0.1:0", "implicit");

/// Passwords in the clear, and limits for clients that fail a thousand times in a test.
pub(crate) const LENIENT: &str = "allow-cleartext = true\n[limits]\nbad-commands = 1000\n\
                                  failed-logins = 100\nconnections-per-address = 1000\n";

/// A server with these limits.
pub(crate) fn lenient_place() -> Place {
    let place = Place::new();
    place.configure(&[OFF], LENIENT);
    place
}

/// A temporary directory with all files of a server.
///
/// The user is `mrose` with the password `tanstaaf`; `pair` makes certificates.
pub(crate) struct Place {
    directory: TempDir,
}

impl Place {
    /// A certificate for `localhost`, the user, an empty Maildir, and no configuration yet.
    pub(crate) fn new() -> Self {
        Self::within(tempfile::tempdir().unwrap())
    }

    /// The same in a file system in memory, if there is one: reading a file that is one large hole is
    /// cheap there.
    pub(crate) fn in_memory() -> Self {
        Self::within(tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap())
    }

    fn within(directory: TempDir) -> Self {
        let place = Self { directory };
        place.hand_over(place.directory.path());
        place.pair("default", &["localhost"]);
        place.write("users", "");
        place.user("mrose");
        place
    }

    /// A user with the password `tanstaaf` and an empty Maildir.
    pub(crate) fn user(&self, name: &str) {
        let users = fs::read_to_string(self.path("users")).unwrap();
        self.write("users", format!("{users}{name}:{{PLAIN}}tanstaaf\n"));
        for folder in ["", "/Maildir", "/Maildir/cur", "/Maildir/new", "/Maildir/tmp"] {
            self.folder(&format!("{name}{folder}"));
        }
    }

    /// A file or folder of this place.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Replaces a file at once, as a renewal does.
    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let (path, new) = (self.path(name), self.path(&format!("{name}.new")));
        fs::write(&new, content).unwrap();
        fs::set_permissions(&new, fs::Permissions::from_mode(0o600)).unwrap();
        self.hand_over(&new);
        fs::rename(new, path).unwrap();
    }

    /// Delivers a message. Its file name begins with `number`, which decides its position.
    pub(crate) fn deliver(&self, number: u32, message: &[u8]) {
        self.deliver_to("mrose", number, message);
    }

    /// The same for another user.
    pub(crate) fn deliver_to(&self, user: &str, number: u32, message: &[u8]) {
        self.write(&format!("{user}/Maildir/new/{number}.M1P1.localhost"), message);
    }

    /// The number of messages in the Maildir.
    pub(crate) fn messages(&self) -> usize {
        ["cur", "new"]
            .iter()
            .map(|folder| fs::read_dir(self.path(&format!("mrose/Maildir/{folder}"))).unwrap())
            .map(Iterator::count)
            .sum()
    }

    /// Makes `<stem>.crt` and `<stem>.key`. Returns the certificate.
    pub(crate) fn pair(&self, stem: &str, names: &[&str]) -> Vec<u8> {
        let names: Vec<String> = names.iter().map(|&name| name.into()).collect();
        let made = rcgen::generate_simple_self_signed(names).unwrap();
        self.write(&format!("{stem}.key"), made.signing_key.serialize_pem());
        self.write(&format!("{stem}.crt"), made.cert.pem());
        made.cert.der().to_vec()
    }

    /// Writes a configuration with these sockets (address and kind of TLS) and further text, which
    /// may begin with keys of `[auth]`.
    pub(crate) fn configure(&self, listen: &[(&str, &str)], rest: &str) {
        self.configure_as(default_user(), listen, rest);
    }

    /// The same with another `run-as`, or none.
    pub(crate) fn configure_as(&self, run_as: Option<&str>, listen: &[(&str, &str)], rest: &str) {
        let run_as = run_as.map_or_else(String::new, |user| format!("run-as = \"{user}\"\n"));
        let listen: String = listen
            .iter()
            .map(|(address, tls)| format!("[[listen]]\naddress = \"{address}\"\ntls = \"{tls}\"\n"))
            .collect();
        let text = format!(
            "hostname = \"pop.example.org\"\n{run_as}{listen}\
             [tls]\ncertificate = \"default.crt\"\nprivate-key = \"default.key\"\n\
             [maildir]\npath = \"{{user}}/Maildir\"\n\
             [throttle]\ntrusted = [\"127.0.0.1\", \"::1\"]\n\
             [[credentials]]\nkind = \"file\"\npath = \"users\"\n\
             [auth]\nfailure-delay = \"0s\"\n{rest}"
        );
        self.write("restante.toml", text);
    }

    /// Starts a server.
    pub(crate) fn serve(&self) -> Server {
        Server::start(self.command())
    }

    /// Runs a server that must fail to start. Returns its standard error.
    pub(crate) fn refuse(&self) -> String {
        refusal(self.command())
    }

    /// The command that starts a server here.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(PROGRAM);
        command.arg("serve").arg("--config").arg(self.path("restante.toml"));
        command
    }

    pub(crate) fn folder(&self, name: &str) {
        fs::create_dir(self.path(name)).unwrap();
        self.hand_over(&self.path(name));
    }

    /// Gives a file to the user of the server.
    pub(crate) fn hand_over(&self, path: &Path) {
        if let Some(name) = default_user() {
            let user = User::from_name(name).unwrap().expect("every system has this user");
            chown(path, Some(user.uid.as_raw()), Some(user.gid.as_raw())).unwrap();
        }
    }
}

/// The program under test.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_restante");

/// Asserts that a command fails. Returns its standard error.
pub(crate) fn refusal(command: Command) -> String {
    let mut server = Server::start(command);
    assert_eq!(server.exit(), Some(1), "{}", server.log.show());
    server.log.whole()
}

/// The user that the server changes to, if the tests run as root.
pub(crate) fn default_user() -> Option<&'static str> {
    geteuid().is_root().then_some("nobody")
}

/// Sleeps, for clients that are slow on purpose. To wait for an event, use [`eventually`].
pub(crate) fn pause(time: Duration) {
    mpsc::channel::<()>().1.recv_timeout(time).unwrap_err();
}

/// Waits until a condition holds.
pub(crate) fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        pause(Duration::from_millis(2));
    }
}

/// A running server, which is killed when this is dropped.
pub(crate) struct Server {
    pid: Pid,
    exit: Receiver<ExitStatus>,
    exited: bool,
    log: Log,
}

impl Server {
    /// Starts a command that becomes a server, and waits until it is ready.
    pub(crate) fn start(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let log = Log::follow(&mut child);
        let pid = Pid::from_raw(child.id().try_into().unwrap());
        let (tell, exit) = mpsc::channel();
        thread::spawn(move || tell.send(child.wait().unwrap()));
        Self { pid, exit, exited: false, log }
    }

    /// The actual address of the socket with this number, in the order of the configuration.
    pub(crate) fn address(&self, number: usize) -> std::net::SocketAddr {
        // As text or as JSON.
        let says = |line: &str| {
            let (_, rest) = line.split_once("listening")?.1.split_once("address")?;
            let rest = rest.trim_start_matches(['"', ':', '=']);
            Some(rest.split(['"', ' ']).next()?.to_owned())
        };
        let address = self.log.wait(|lines| lines.iter().filter_map(|line| says(line)).nth(number));
        address.parse().unwrap()
    }

    /// Waits for a line of the log with all of `words`, and returns it.
    pub(crate) fn logged(&self, words: &[&str]) -> String {
        self.log.wait(|lines| {
            lines.iter().find(|line| words.iter().all(|word| line.contains(word))).cloned()
        })
    }

    /// Waits until `word` has been logged this number of times.
    pub(crate) fn logged_times(&self, word: &str, times: usize) {
        self.log.wait(|lines| {
            (lines.iter().filter(|line| line.contains(word)).count() >= times).then_some(())
        });
    }

    /// The number of lines with `word` in the log so far.
    pub(crate) fn count(&self, word: &str) -> usize {
        self.log.lines().iter().filter(|line| line.contains(word)).count()
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        signal::kill(self.pid, signal).unwrap();
    }

    /// Waits for the end of the server. Returns its exit code.
    pub(crate) fn exit(&mut self) -> Option<i32> {
        let status = self.exit.recv_timeout(PATIENCE);
        let status = status.unwrap_or_else(|_| panic!("it does not end; {}", self.log.show()));
        self.exited = true;
        status.code()
    }

    /// All lines of the log so far.
    pub(crate) fn log(&self) -> Vec<String> {
        self.log.lines()
    }

    /// Kills it, and waits until it has ended.
    pub(crate) fn kill(mut self) {
        self.signal(Signal::SIGKILL);
        assert_eq!(self.exit(), None);
    }

    /// The number of its open descriptors.
    pub(crate) fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.pid)).unwrap().count()
    }

    /// Its peak memory, in KiB.
    pub(crate) fn peak_memory(&self) -> u64 {
        self.figure("status", "VmHWM:")
    }

    /// The bytes that it has read, from files and sockets.
    pub(crate) fn bytes_read(&self) -> u64 {
        self.figure("io", "rchar:")
    }

    fn figure(&self, file: &str, name: &str) -> u64 {
        let figures = fs::read_to_string(format!("/proc/{}/{file}", self.pid)).unwrap();
        let figure = figures.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        figure.split_whitespace().next().unwrap().parse().unwrap()
    }

    /// The process.
    pub(crate) fn pid(&self) -> Pid {
        self.pid
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if !self.exited && self.exit.try_recv().is_err() {
            signal::kill(self.pid, Signal::SIGKILL).ok();
            self.exit.recv_timeout(PATIENCE).ok();
        }
        if thread::panicking() {
            eprintln!("{}", self.log.show());
        }
    }
}

/// The lines that a server has written to standard error so far.
#[derive(Clone, Default)]
struct Log(Arc<(Mutex<Lines>, Condvar)>);

#[derive(Default)]
struct Lines {
    lines: Vec<String>,
    closed: bool,
}

impl Log {
    fn follow(child: &mut Child) -> Self {
        let log = Self::default();
        let written = log.clone();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        thread::spawn(move || {
            let (lines, changed) = &*written.0;
            for line in stderr.lines() {
                lines.lock().unwrap().lines.push(line.unwrap());
                changed.notify_all();
            }
            lines.lock().unwrap().closed = true;
            changed.notify_all();
        });
        log
    }

    fn wait<T>(&self, find: impl Fn(&[String]) -> Option<T>) -> T {
        let (lines, changed) = &*self.0;
        let state = lines.lock().unwrap();
        let waiting = |state: &mut Lines| !state.closed && find(&state.lines).is_none();
        let (state, _) = changed.wait_timeout_while(state, PATIENCE, waiting).unwrap();
        let found = find(&state.lines);
        drop(state);
        found.unwrap_or_else(|| panic!("the line is not there; {}", self.show()))
    }

    /// All lines after the process has ended.
    fn whole(&self) -> String {
        let (lines, changed) = &*self.0;
        let state = lines.lock().unwrap();
        let waiting = |state: &mut Lines| !state.closed;
        let (state, _) = changed.wait_timeout_while(state, PATIENCE, waiting).unwrap();
        state.lines.join("\n")
    }

    fn lines(&self) -> Vec<String> {
        self.0.0.lock().unwrap().lines.clone()
    }

    fn show(&self) -> String {
        format!("the log of the server:\n{}", self.lines().join("\n"))
    }
}
