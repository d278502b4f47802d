//! The configuration: from text to a checked [`Config`], with all faults at once.
//!
//! The types are here. `build` knows the meaning of each key; `section` reads TOML and continues
//! after a fault. A [`PartialConfig`] has the valid values of a file with faults. Certificates, users and
//! directories are not checked here, but by the rooms that use them and by `restante check`.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use crate::protocol::sasl::Mechanism;

mod bounds;
mod build;
mod client_settings;
mod credentials;
mod document;
mod duration;
mod entry;
mod fault;
mod hint;
mod listen;
mod maildir;
mod open_files;
mod partial;
mod remote;
mod section;
mod setting;
mod value;

pub use client_settings::{ClientPort, ClientSettings, MailServer, UserNameForm};
pub use credentials::{
    Asking, CheckpasswordSection, Credentials, FileSection, Introspection, LdapAttributes,
    LdapBind, LdapSection, LdapWay, Oauth2Section, PamSection, SqlSection, TokenTerms,
};
pub(crate) use duration::parse as parse_duration;
pub use fault::{Fault, Faults, Place};
pub use maildir::{
    Dovecot, Duplicates, FlagSeparator, Guard, GuardMode, Maildir, NewMailOrder, UidlSource,
};
pub use open_files::files_for;
pub use partial::{PartialConfig, PartialHost, PartialListen, PartialTls};
pub use setting::Settings;
pub use value::is_host_name;

/// A whole, checked configuration. Paths are absolute or relative to the current directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The name in the greeting.
    pub hostname: String,
    /// The user and group to run as once the ports are bound.
    pub run_as: Option<RunAs>,
    /// The sockets; at least one.
    pub listen: Vec<Listen>,
    /// Certificates; present if a listener uses TLS.
    pub tls: Option<Tls>,
    /// The location of the mail, and its unique-ids.
    pub maildir: Maildir,
    /// The guard of unique-ids.
    pub guard: Guard,
    /// Optional parts of the protocol.
    pub pop3: Pop3,
    /// Authentication.
    pub auth: Auth,
    /// Delays after failed logins.
    pub throttle: ThrottleSection,
    /// Credential stores in their order; at least one.
    pub credentials: Vec<Credentials>,
    /// Limits for clients.
    pub limits: Limits,
    /// Timeouts.
    pub timeouts: Timeouts,
    /// Format and level of the log.
    pub log: Log,
    /// Restrictions of the process.
    pub sandbox: Sandbox,
    /// The control socket.
    pub control: Control,
    /// Metrics over HTTP, if they are on.
    pub metrics: Option<HttpListen>,
    /// The settings of mail clients over HTTP, if they are on.
    pub web: Option<HttpListen>,
    /// The settings of mail clients, if they are told to them.
    pub client_settings: Option<ClientSettings>,
    /// The file of last logins.
    pub last_logins: LastLogins,
}

impl Config {
    /// Reads and checks a file.
    ///
    /// # Errors
    /// All [`Faults`], when the file cannot be read or is not a valid configuration.
    pub fn load(path: &Path) -> Result<Self, Faults> {
        Ok(PartialConfig::load(path)?.finish()?.0)
    }

    /// Checks a text as if it were the file `path`.
    ///
    /// - Relative paths start at the directory of that file.
    ///
    /// # Errors
    /// All [`Faults`], when the text is not a valid configuration.
    pub fn parse(text: &str, path: &Path) -> Result<Self, Faults> {
        Ok(PartialConfig::parse(text.to_owned(), path).finish()?.0)
    }

    /// The sockets for HTTP.
    pub fn http(&self) -> Vec<HttpListen> {
        self.metrics.into_iter().chain(self.web).collect()
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
            "guard",
            "pop3",
            "auth",
            "throttle",
            "credentials",
            "limits",
            "timeouts",
            "log",
            "sandbox",
            "control",
            "metrics",
            "client-settings",
            "web",
            "last-logins",
        ],
    ),
    ("listen", &["address", "tls", "default-domain", "proxy-protocol", "proxies"]),
    ("tls", &["certificate", "private-key", "client-ca", "host"]),
    ("tls.host", &["names", "certificate", "private-key", "default-domain"]),
    (
        "maildir",
        &[
            "path",
            "create",
            "flag-separator",
            "lock-wait",
            "yield-idle",
            "uidl",
            "order",
            "dovecot",
            "map",
        ],
    ),
    ("maildir.dovecot", &["format", "control", "reuse-xuidl", "duplicates", "deleted-flag"]),
    ("maildir.map", &["path"]),
    ("guard", &["mode", "share", "least"]),
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
    ("control", &["enabled", "path"]),
    ("metrics", &["listen", "tls"]),
    (
        "client-settings",
        &["domains", "display-name", "help", "user-name", "web-host", "pop3", "smtp", "imap"],
    ),
    ("client-settings.pop3", &["host", "port", "tls"]),
    ("client-settings.smtp", &["host", "port", "tls"]),
    ("client-settings.imap", &["host", "port", "tls"]),
    ("web", &["listen", "tls"]),
    ("last-logins", &["enabled", "path"]),
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
    /// The TLS mode.
    pub tls: TlsMode,
    /// The domain for user names without one, instead of that of `[auth]`.
    pub default_domain: Option<Arc<str>>,
    /// The networks of the proxies that speak the PROXY protocol. `None`: clients connect directly.
    pub proxies: Option<Arc<[IpNet]>>,
}

/// The TLS mode of a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum TlsMode {
    /// TLS from the first octet, as on port 995.
    Implicit,
    /// TLS after the client's STLS, as on port 110.
    Starttls,
    /// No TLS.
    Off,
}

/// `[tls]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// For clients that request no host, or one that is not listed.
    pub default: KeyPair,
    /// The CA certificates for client certificates. `None`: clients are not asked for one.
    pub client_ca: Option<PathBuf>,
    /// `[[tls.host]]`: certificates by the name that the client requests.
    pub hosts: Vec<TlsHost>,
}

/// A certificate chain and its private key, both PEM files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyPair {
    /// The chain, the server's own certificate first.
    pub certificate: PathBuf,
    /// The private key.
    pub private_key: PathBuf,
}

/// `[[tls.host]]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsHost {
    /// Host names in lower case; the star of `*.example.org` matches one label.
    pub names: Vec<String>,
    /// The certificate for them.
    pub pair: KeyPair,
    /// The domain for user names without one, instead of that of the listener.
    pub default_domain: Option<Arc<str>>,
}

/// `[pop3]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pop3 {
    /// Whether CAPA lists `UTF8 USER`.
    pub utf8: bool,
}

/// `[auth]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Auth {
    /// Whether passwords are accepted without TLS.
    pub allow_cleartext: bool,
    /// The SASL mechanisms that the operator allows. `None`: those that every user can use.
    pub mechanisms: Option<Vec<Mechanism>>,
    /// The time from the start of a failed login to its reply.
    pub failure_delay: Duration,
    /// How many passwords are hashed at the same time; default: the number of processors.
    pub hashes_at_once: NonZeroU32,
    /// How long a login waits for its turn to be hashed before it fails temporarily.
    pub hash_wait: Duration,
    /// Whether hashes are accepted that can be cracked in moments.
    pub weak_schemes: bool,
    /// How long a verified password is cached. Zero: it is verified every time.
    pub cache: Duration,
    /// The domain for user names without one.
    pub default_domain: Option<Arc<str>>,
}

/// `[throttle]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ThrottleSection {
    /// The delay after the first failure. Zero: there are no delays.
    pub first_delay: Duration,
    /// The longest delay. Twice this should be less than `timeouts.login`.
    pub longest_delay: Duration,
    /// The time after which one failure is forgotten.
    pub forget_after: Duration,
    /// Networks whose failures are not counted and whose logins are never delayed.
    pub trusted: Vec<IpNet>,
}

/// `[limits]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// All connections.
    pub connections: NonZeroU32,
    /// Connections from one IPv4 address or one IPv6 /64.
    pub connections_per_address: NonZeroU32,
    /// Sessions of one user, including those that wait for the lock.
    pub sessions_per_user: NonZeroU32,
    /// Consecutive bad commands before the connection is closed.
    pub bad_commands: NonZeroU32,
    /// Failed logins on one connection before it is closed.
    pub failed_logins: NonZeroU32,
}

/// `[timeouts]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// Without a command, after login (RFC 1939 §3: at least 10 minutes).
    pub idle: Duration,
    /// From the connection to the login, including the TLS handshake.
    pub login: Duration,
    /// Without the client accepting any octet that waits for it.
    pub write: Duration,
    /// How long sessions may continue to QUIT after SIGTERM.
    pub shutdown_grace: Duration,
}

/// `[log]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// The format of a line.
    pub format: LogFormat,
    /// The least important level to log.
    pub level: LogLevel,
    /// Whether each removed message has a line.
    pub removals: bool,
}

/// `[sandbox]`
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a key in the file")]
pub struct Sandbox {
    /// Whether file access is restricted to the files that are needed.
    pub landlock: bool,
    /// Other directories that hold mail, besides the constant part of `maildir.path`.
    pub mail_directories: Vec<PathBuf>,
    /// Whether system calls are restricted to those that are needed.
    pub seccomp: bool,
    /// Whether the process and the programs that it starts are kept from gaining privileges.
    pub no_new_privileges: bool,
    /// Whether core dumps and debuggers of the same user are allowed.
    pub core_dumps: bool,
}

/// `[control]`: the socket for `restante status` and the other commands about a running server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Control {
    /// Whether there is one.
    pub enabled: bool,
    /// Its file.
    pub path: PathBuf,
}

impl Control {
    /// The file, unless the configuration names another one.
    pub const PATH: &str = "/run/restante/control";
}

/// `[metrics]` or `[web]`: a socket for HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HttpListen {
    /// The service at this address.
    pub service: HttpService,
    /// Address and port.
    pub address: SocketAddr,
    /// Whether clients speak TLS, with the certificates of `[tls]`.
    pub tls: bool,
}

/// A service over HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HttpService {
    /// `[metrics]`: metrics and health.
    Metrics,
    /// `[web]`: the settings of mail clients.
    Web,
}

impl HttpService {
    /// What it is, for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Metrics => "metrics",
            Self::Web => "settings for mail clients",
        }
    }

    /// The key of its address.
    pub fn key(self) -> &'static str {
        match self {
            Self::Metrics => "metrics.listen",
            Self::Web => "web.listen",
        }
    }

    /// The cargo feature that it needs, and whether this program was built with it.
    pub fn feature(self) -> (&'static str, bool) {
        match self {
            Self::Metrics => ("metrics", cfg!(feature = "metrics")),
            Self::Web => ("web", cfg!(feature = "web")),
        }
    }
}

/// `[last-logins]`: the file for `restante last`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastLogins {
    /// Whether there is one.
    pub enabled: bool,
    /// Its path.
    pub path: PathBuf,
}

impl LastLogins {
    /// The file, unless the configuration names another one.
    pub const PATH: &str = "/var/lib/restante/last-logins";
}

/// The format of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// `journald` when started by the service manager, else `text`.
    Auto,
    /// For people.
    Text,
    /// An object per line.
    Json,
    /// Journal entries with fields, or text with the priority prefix of the journal.
    Journald,
}

/// The importance of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// Failures of the server.
    Error,
    /// What needs the operator's attention.
    Warn,
    /// Sessions, start and stop.
    Info,
    /// Faults of clients as well.
    Debug,
}
