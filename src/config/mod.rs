//! The configuration: text in, checked [`Config`] out, all faults at once.
//!
//! The types are here; `build` knows what each key means, `read` how to take it from TOML and go
//! on after a fault. A [`Draft`] is what there is of a file with faults. What is outside of the file (certificates, users, directories) is not looked
//! at: that is for the rooms that use it, and for `restante check`.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use crate::protocol::sasl::Mechanism;

mod build;
mod credentials;
mod draft;
mod duration;
mod entry;
mod fault;
mod hint;
mod open_files;
mod position;
mod read;
mod remote;
mod setting;
mod value;

pub use credentials::{
    Asking, CheckpasswordSection, Credentials, FileSection, Introspection, LdapAttributes,
    LdapBind, LdapSection, LdapWay, Oauth2Section, PamSection, SqlSection, TokenTerms,
};
pub use draft::{Draft, DraftHost, DraftListen, DraftTls};
pub use fault::{Fault, Faults, Place};
pub use open_files::files_for;
pub use setting::Settings;

/// A whole, checked configuration. Paths are absolute or relative to the current directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The name in the greeting.
    pub hostname: String,
    /// Whom to become after binding, when started as root.
    pub run_as: Option<RunAs>,
    /// The sockets; at least one.
    pub listen: Vec<Listen>,
    /// Certificates; present when a listener uses TLS.
    pub tls: Option<Tls>,
    /// Where the mail is.
    pub maildir: Maildir,
    /// What the protocol offers.
    pub pop3: Pop3,
    /// How passwords are taken.
    pub auth: Auth,
    /// How guessing is slowed down.
    pub throttle: Throttle,
    /// Credential stores in the order in which they are asked; at least one.
    pub credentials: Vec<Credentials>,
    /// Bounds on what clients may use.
    pub limits: Limits,
    /// How long things may take.
    pub timeouts: Timeouts,
    /// What is logged, and how.
    pub log: Log,
    /// What the process gives up once it has started.
    pub sandbox: Sandbox,
}

impl Config {
    /// Reads and checks a file.
    ///
    /// # Errors
    /// [`Faults`], all of them, when the file cannot be read or is not a configuration.
    pub fn load(path: &Path) -> Result<Self, Faults> {
        Ok(Draft::load(path)?.finish()?.0)
    }

    /// Checks a text as if it had been read from the file `path`.
    ///
    /// - Relative paths in it are relative to that file.
    ///
    /// # Errors
    /// [`Faults`], all of them, when the text is not a configuration.
    pub fn parse(text: &str, path: &Path) -> Result<Self, Faults> {
        Ok(Draft::parse(text.to_owned(), path).finish()?.0)
    }
}

/// The sections and their keys; `""` is the top of the file.
pub const KEYS: &[(&str, &[&str])] = &[
    (
        "",
        &[
            "hostname",
            "run-as",
            "listen",
            "tls",
            "maildir",
            "pop3",
            "auth",
            "throttle",
            "credentials",
            "limits",
            "timeouts",
            "log",
            "sandbox",
        ],
    ),
    ("listen", &["address", "tls", "default-domain"]),
    ("tls", &["certificate", "private-key", "client-ca", "host"]),
    ("tls.host", &["names", "certificate", "private-key", "default-domain"]),
    ("maildir", &["path", "create", "flag-separator", "lock-wait", "yield-idle"]),
    ("pop3", &["utf8"]),
    (
        "auth",
        &[
            "allow-cleartext",
            "mechanisms",
            "failure-delay",
            "hashes-at-once",
            "hash-wait",
            "weak-schemes",
            "cache",
            "default-domain",
        ],
    ),
    ("throttle", &["first-delay", "longest-delay", "forget-after", "trusted"]),
    ("credentials", credentials::KEYS),
    (
        "limits",
        &[
            "connections",
            "connections-per-address",
            "sessions-per-user",
            "bad-commands",
            "failed-logins",
        ],
    ),
    ("timeouts", &["idle", "login", "write", "shutdown-grace"]),
    ("log", &["format", "level", "removals"]),
    ("sandbox", &["landlock", "mail-directories", "seccomp", "no-new-privileges", "core-dumps"]),
];

/// `run-as = "user:group"`; without a group, the user's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunAs {
    /// Name of the user.
    pub user: String,
    /// Name of the group.
    pub group: Option<String>,
}

/// `[[listen]]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    /// Address and port.
    pub address: SocketAddr,
    /// How TLS comes about on this socket.
    pub tls: TlsMode,
    /// The domain of names without one, in place of that of `[auth]`.
    pub default_domain: Option<Arc<str>>,
}

/// How TLS comes about on a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TlsMode {
    /// At once, as on port 995.
    Implicit,
    /// On the client's STLS, as on port 110.
    Starttls,
    /// Never.
    Off,
}

/// `[tls]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// For clients that name no host, or one that is not listed.
    pub default: KeyPair,
    /// The authorities that certificates of clients have to come from. `None`: clients are not asked
    /// for one.
    pub client_ca: Option<PathBuf>,
    /// `[[tls.host]]`: certificates by the name that the client asks for.
    pub hosts: Vec<TlsHost>,
}

/// A certificate chain and its private key, both PEM files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyPair {
    /// The chain, the server's own certificate first.
    pub certificate: PathBuf,
    /// Its key.
    pub private_key: PathBuf,
}

/// `[[tls.host]]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsHost {
    /// Host names in lower case; `*.example.org` stands for one label.
    pub names: Vec<String>,
    /// What to present for them.
    pub pair: KeyPair,
    /// The domain of names without one, in place of that of the listener.
    pub default_domain: Option<Arc<str>>,
}

/// `[maildir]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Maildir {
    /// The template; its placeholders have been checked.
    pub path: PathBuf,
    /// A Maildir that is missing is made at login, below a mail root.
    pub create: bool,
    /// What stands before the flags in the names of files.
    pub flag_separator: FlagSeparator,
    /// How long a second session waits for the first one to end.
    pub lock_wait: Duration,
    /// How long the first one may do nothing before it ends for the second one.
    pub yield_idle: Duration,
}

/// What stands before the flags in the name of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[expect(missing_docs, reason = "the names say it all")]
pub enum FlagSeparator {
    #[serde(rename = ":")]
    Colon,
    #[serde(rename = ";")]
    Semicolon,
    #[serde(rename = "!")]
    Exclamation,
    #[serde(rename = "_")]
    Underscore,
}

/// `[pop3]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pop3 {
    /// `UTF8 USER` is listed among the capabilities.
    pub utf8: bool,
}

/// `[auth]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Auth {
    /// Passwords are taken without TLS.
    pub allow_cleartext: bool,
    /// The SASL mechanisms that the operator allows. `None`: those that every user of the stores can
    /// use.
    pub mechanisms: Option<Vec<Mechanism>>,
    /// How long the reply to a failed login is held back.
    pub failure_delay: Duration,
    /// Passwords verified at the same time; default: the number of processors.
    pub hashes_at_once: NonZeroU32,
    /// How long a login waits for its turn before it is told to come back later.
    pub hash_wait: Duration,
    /// Hashes that are no protection any more are taken all the same.
    pub weak_schemes: bool,
    /// How long a verified password is cached. Zero: it is verified every time.
    pub cache: Duration,
    /// The domain of names without one.
    pub default_domain: Option<Arc<str>>,
}

/// `[throttle]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Throttle {
    /// How long the next login waits after a failed one. Zero: it never waits.
    pub first_delay: Duration,
    /// How long it waits at the most, however many have failed.
    pub longest_delay: Duration,
    /// How long failures are remembered.
    pub forget_after: Duration,
    /// Networks whose logins never wait.
    pub trusted: Vec<IpNet>,
}

/// `[limits]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections in all.
    pub connections: NonZeroU32,
    /// Connections from one IPv4 address, or one IPv6 /64.
    pub connections_per_address: NonZeroU32,
    /// Sessions of one user, those included that wait for the lock.
    pub sessions_per_user: NonZeroU32,
    /// Bad commands in a row before the connection is closed.
    pub bad_commands: NonZeroU32,
    /// Failed logins before the connection is closed.
    pub failed_logins: NonZeroU32,
}

/// `[timeouts]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// Without a command, after login (RFC 1939 §3: at least 10 minutes).
    pub idle: Duration,
    /// From the connection to the login, the TLS handshake included.
    pub login: Duration,
    /// In which the client takes next to nothing of what waits for it.
    pub write: Duration,
    /// From SIGTERM until sessions no longer go on to their QUIT.
    pub shutdown_grace: Duration,
}

/// `[log]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// The form of a line.
    pub format: LogFormat,
    /// The least important level that is logged.
    pub level: LogLevel,
    /// Each message that is removed has a line.
    pub removals: bool,
}

/// `[sandbox]`
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own in the file")]
pub struct Sandbox {
    /// The process can reach only the files that it needs.
    pub landlock: bool,
    /// Where mail may be, besides the constant part of `maildir.path`.
    pub mail_directories: Vec<PathBuf>,
    /// The process can make only the system calls that it needs.
    pub seccomp: bool,
    /// Neither the process nor a program that it starts can gain privileges.
    pub no_new_privileges: bool,
    /// The memory of the process may be written to a file when it crashes.
    pub core_dumps: bool,
}

/// The form of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// `journald` when started by the service manager, else `text`.
    Auto,
    /// For people.
    Text,
    /// An object a line.
    Json,
    /// Text with the priority prefix that journald understands.
    Journald,
}

/// The importance of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// Something failed that should not.
    Error,
    /// Something that needs a look.
    Warn,
    /// Sessions, start and stop.
    Info,
    /// Faults of clients as well.
    Debug,
}
