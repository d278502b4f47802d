//! The server: sockets, TLS, limits and signals around the sessions.
//!
//! Only this room uses sockets and TLS, and only this room chooses the mailbox and the credential
//! stores. A start is [`bind`], [`assume`], [`run`], in this order. While the process may be root,
//! this room only binds sockets. Certificates and credential stores are read afterwards, as the
//! user that reads them again in a reload.
//!
//! - `listen`, `port_owner`, `account`, `privileges`: before the runtime starts.
//! - `supervise`: signals, reload, stop. `service_manager`: notifications of the service manager.
//!   `watchdog`: whether the server makes progress. `accept`: a loop for each socket. `connection`:
//!   one client.
//! - `control`: the control socket. `http_listener`: sockets for HTTP. `metrics`: the page for
//!   Prometheus, and health.
//! - `login_recorder`: the file of last logins.
//! - `sandbox`: restrictions of the process.
//! - `stores`: from the configuration to credential stores.
//! - `tls`: certificates and their renewal. `limits`: limits on connections. `proxy`: the PROXY
//!   protocol.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio::task::JoinError;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::client_settings;
use crate::config::{self, Config, Credentials, FlagSeparator, Limits, Timeouts};
use crate::credentials::{BadFile, OpenError, Store};
use crate::last_login::LastLogins;
use crate::login::{Authenticator, NoRandomness, Rules, Throttle, Turns};
use crate::mailbox::maildir::{MaildirStore, Missing, PathTemplate, Separator};
use crate::session::{Env, Policy};
use crate::telemetry::LevelHandle;
use crate::threads;
use crate::uidl::FormatError;

mod accept;
pub mod account;
mod connection;
mod control;
#[cfg(test)]
mod fixture;
#[cfg(feature = "http")]
mod http_listener;
mod limits;
mod listen;
mod login_recorder;
#[cfg(feature = "metrics")]
mod metrics;
mod port_owner;
mod privileges;
pub mod proxy;
mod reload;
mod sandbox;
mod service_manager;
pub mod stores;
mod stream;
mod supervise;
pub mod tls;
mod watchdog;

pub use control::{ControlError, ControlSocket};
pub use listen::{BindError, HttpSocket, Socket, Sockets, bind, try_bind};
pub use port_owner::PortOwner;
pub use privileges::{PrivilegeError, as_server, assume};
pub use sandbox::{Sandbox, drop_bounding_set, may_locate_mail};

/// The source of the configuration for a reload.
#[derive(Clone, Debug)]
pub enum Source {
    /// A file.
    File {
        /// Its path.
        path: PathBuf,
        /// Changes the log level when the configuration does.
        level: LevelHandle,
    },
    /// None: the program has generated the configuration.
    Fixed,
}

/// Serves until a signal ends it.
///
/// # Errors
/// [`Error`] when it cannot start, or when a listening socket breaks.
pub fn run(
    config: Config,
    sockets: Sockets,
    control: Option<ControlSocket>,
    source: Source,
    sandbox: Sandbox,
) -> Result<(), Error> {
    keep_threads(&config).map_err(Error::Runtime)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_keep_alive(FOR_EVER)
        .build()
        .map_err(Error::Runtime)?;
    // Tokio, and packages that build on it, resolve host names in blocking threads of the runtime.
    // With one such thread, tokio does not panic if the system refuses to start others.
    runtime.spawn_blocking(|| ());
    let outcome = runtime.block_on(supervise::supervise(config, sockets, control, source, sandbox));
    // Only work on a file system that does not answer can still be running. Do not wait for it.
    runtime.shutdown_timeout(Duration::from_secs(1));
    outcome
}

/// Keeps a thread in each pool that will certainly be needed.
fn keep_threads(config: &Config) -> io::Result<()> {
    let template = PathTemplate::new(config.maildir.path.clone());
    let mail = template.root().unwrap_or(Path::new("/"));
    let files = config.credentials.iter().filter_map(|section| match section {
        Credentials::File(file) => Some(file.path.as_path()),
        Credentials::Sql(_)
        | Credentials::Ldap(_)
        | Credentials::Pam(_)
        | Credentials::Checkpassword(_)
        | Credentials::Oauth2(_) => None,
    });
    threads::keep(mail, files)
}

/// Why the server cannot start, or stops.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The runtime, or a signal handler, could not be set up.
    #[error("the runtime cannot be started: {0}")]
    Runtime(io::Error),
    /// A certificate or a key cannot be used.
    #[error(transparent)]
    Tls(#[from] tls::TlsError),
    /// A credential store cannot be opened.
    #[error(transparent)]
    Store(#[from] OpenError),
    /// `maildir.dovecot.format` is invalid.
    #[error("maildir.dovecot.format: {0}")]
    Format(#[from] FormatError),
    /// A credential file has no users any more.
    #[error(transparent)]
    File(#[from] BadFile),
    /// The cache of logins has no key.
    #[error("no key for the login cache: {0}")]
    Randomness(#[from] NoRandomness),
    /// A listening socket no longer works.
    #[error("a listening socket is broken: {0}")]
    Listener(ListenerError),
    /// Removals that had not ended when the server had to stop.
    #[error("{0} removals had not ended and were left: does a file system not answer?")]
    Removals(usize),
}

/// Why the loop of a listening socket ended.
#[derive(Debug, thiserror::Error)]
pub enum ListenerError {
    /// Without an error.
    #[error("its loop ended")]
    Ended,
    /// The socket failed.
    #[error(transparent)]
    Socket(#[from] io::Error),
    /// The loop panicked.
    #[error(transparent)]
    Task(#[from] JoinError),
}

/// What all connections of a server share, from start to stop.
struct Shared<M, C> {
    reloadable: RwLock<Arc<Reloadable<M, C>>>,
    tls: Option<Arc<tls::Certificates>>,
    connection_limits: limits::ConnectionLimits,
    refusals: limits::ThrottledWarning,
    proxy_warnings: proxy::ProxyWarnings,
    /// Failed logins of users and networks. A reload keeps them.
    throttle: Arc<Throttle>,
    turns: Arc<Turns>,
    /// The directories below which the process can open mail. `None`: everywhere.
    within: Option<Arc<[PathBuf]>>,
    removals: TaskTracker,
    last_logins: Arc<LastLogins>,
    /// Cancelled when the server begins to stop: no more connections and logins; sessions that have
    /// logged in continue to QUIT.
    drain: CancellationToken,
    /// Cancelled when the grace time is over: sessions end after the running command.
    grace_over: CancellationToken,
    /// Cancelled to cut off the remaining sessions, but not their removals.
    cut: CancellationToken,
}

/// The part that a reload replaces. A connection keeps the one that it began with.
struct Reloadable<M, C> {
    env: Env<M, C>,
    limits: Limits,
    timeouts: Timeouts,
    /// What mail clients are told over HTTP.
    client_settings: Option<Arc<client_settings::Site>>,
}

/// Longer than any server runs: threads are kept for good.
const FOR_EVER: Duration = Duration::from_secs(10 * 365 * 86_400);

/// Records in each table of the throttle: about 152 MB when all are full.
const THROTTLE_ENTRIES: usize = 100_000;

impl<M, C> Shared<M, C> {
    fn current(&self) -> Arc<Reloadable<M, C>> {
        Arc::clone(&self.reloadable.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Shared<MaildirStore, Store> {
    fn new(config: &Config, within: Option<Arc<[PathBuf]>>) -> Result<Self, Error> {
        let tls = config.tls.clone().map(tls::Certificates::new).transpose()?;
        let throttle = Arc::new(Throttle::new(config.throttle.clone(), THROTTLE_ENTRIES));
        let turns = Arc::new(Turns::new(config.auth.hashes_at_once));
        let reloadable = Reloadable::new(config, within.clone(), &throttle, &turns)?;
        let Env { last_logins, removals, drain, grace_over, .. } = &reloadable.env;
        Ok(Self {
            throttle,
            turns,
            within,
            tls: tls.map(Arc::new),
            connection_limits: limits::ConnectionLimits::new(),
            refusals: limits::ThrottledWarning::default(),
            proxy_warnings: proxy::ProxyWarnings::default(),
            removals: removals.clone(),
            last_logins: Arc::clone(last_logins),
            drain: drain.clone(),
            grace_over: grace_over.clone(),
            cut: CancellationToken::new(),
            reloadable: RwLock::new(Arc::new(reloadable)),
        })
    }

    /// Applies another configuration to new connections; its throttle and its number of hashes to all.
    /// The sessions and removals go on. If a part of it is invalid, none of it is applied.
    fn renew(&self, config: &Config) -> Result<(), Error> {
        let Self { within, throttle, turns, removals, drain, grace_over, .. } = self;
        let old = self.current();
        let Reloadable {
            env: Env { mailbox, authenticator, policy, .. },
            limits,
            timeouts,
            client_settings,
        } = Reloadable::new(config, within.clone(), throttle, turns)?;
        let (sessions, removals) = (Arc::clone(&old.env.sessions), removals.clone());
        let last_logins = Arc::clone(&self.last_logins);
        let (drain, grace_over) = (drain.clone(), grace_over.clone());
        let old = old.env.authenticator.stores();
        for store in authenticator.stores() {
            old.iter().try_for_each(|old| store.replace(old))?;
        }
        if let (Some(certificates), Some(section)) = (&self.tls, &config.tls) {
            certificates.reload(section.clone())?;
        }
        throttle.change(config.throttle.clone());
        turns.change(config.auth.hashes_at_once);
        let env = Env {
            mailbox,
            authenticator,
            policy,
            sessions,
            last_logins,
            removals,
            drain,
            grace_over,
        };
        let reloadable = Arc::new(Reloadable { env, limits, timeouts, client_settings });
        *self.reloadable.write().unwrap_or_else(PoisonError::into_inner) = reloadable;
        Ok(())
    }
}

impl Reloadable<MaildirStore, Store> {
    fn new(
        config: &Config,
        within: Option<Arc<[PathBuf]>>,
        throttle: &Arc<Throttle>,
        turns: &Arc<Turns>,
    ) -> Result<Self, Error> {
        let Config { maildir, pop3, auth, limits, timeouts, .. } = config;
        let stores::Stores { passwords, tokens } =
            stores::open(&config.credentials, auth.weak_schemes.into())?;
        let mailbox = maildirs(config)?.within(within);
        let rules = Rules {
            turns: Arc::clone(turns),
            hash_wait: auth.hash_wait,
            cache: auth.cache,
            default_domain: auth.default_domain.clone(),
        };
        let authenticator = Authenticator::new(passwords, rules, Arc::clone(throttle))?;
        let policy = Policy {
            hostname: config.hostname.clone(),
            default_domain: auth.default_domain.clone(),
            utf8: pop3.utf8,
            sessions_per_user: limits.sessions_per_user.get(),
            lock_wait: maildir.lock_wait,
            yield_idle: maildir.yield_idle,
            log_removals: config.log.removals,
            allow_cleartext: auth.allow_cleartext,
            mechanisms: auth.mechanisms.clone(),
            failure_delay: auth.failure_delay,
            bad_commands: limits.bad_commands.get(),
            failed_logins: limits.failed_logins.get(),
            idle: timeouts.idle,
            write: timeouts.write,
        };
        let env = Env::new(mailbox, authenticator.with_token_providers(tokens), policy);
        let client_settings = client_settings::Site::of(config).map(Arc::new);
        Ok(Self { env, limits: limits.clone(), timeouts: timeouts.clone(), client_settings })
    }
}

/// The Maildirs of a configuration.
///
/// # Errors
/// When `maildir.dovecot.format` is invalid.
pub fn maildirs(config: &Config) -> Result<MaildirStore, FormatError> {
    let missing = if config.maildir.create { Missing::Make } else { Missing::Refuse };
    MaildirStore::new(PathTemplate::new(&config.maildir.path))
        .with_missing(missing)
        .with_separator(separator(&config.maildir))
        .with_unique_ids(&config.maildir, &config.guard)
}

/// The separator of flags in file names.
pub fn separator(config: &config::Maildir) -> Separator {
    match config.flag_separator {
        FlagSeparator::Colon => Separator::Colon,
        FlagSeparator::Semicolon => Separator::Semicolon,
        FlagSeparator::Exclamation => Separator::Exclamation,
        FlagSeparator::Underscore => Separator::Underscore,
    }
}

/// The address of a client as it is shown: an IPv4 client of an IPv6 socket has its IPv4 address.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// Whether a file of the server cannot be made as is usual where nothing is configured: its directory
/// does not exist, or belongs to another user.
fn lacks_directory(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A configuration with these lines about authentication.
    fn config(directory: &Path, auth: &str) -> Config {
        let users = directory.join("users");
        std::fs::write(&users, "mrose:{PLAIN}tanstaaf\n").unwrap();
        let text = format!(
            "hostname = \"pop.example.org\"\n\
             [[listen]]\naddress = \"127.0.0.1:0\"\ntls = \"off\"\n\
             [maildir]\npath = \"/srv/mail/{{user}}\"\n\
             [auth]\nallow-cleartext = true\n{auth}\
             [[credentials]]\nkind = \"file\"\npath = {users:?}\n"
        );
        Config::parse(&text, &directory.join("restante.toml")).unwrap()
    }

    #[tokio::test]
    async fn defaults_of_the_configuration_are_those_of_a_new_policy() {
        let directory = tempfile::tempdir().unwrap();
        let shared = Shared::new(&config(directory.path(), ""), None).unwrap();
        let expected = Policy { allow_cleartext: true, ..Policy::new("pop.example.org") };
        assert_eq!(shared.current().env.policy, expected);
    }

    #[tokio::test]
    async fn a_reload_keeps_the_sessions_and_changes_the_turns_at_hashing_of_all() {
        let directory = tempfile::tempdir().unwrap();
        let config = |n: u32| config(directory.path(), &format!("hashes-at-once = {n}\n"));
        let shared = Shared::new(&config(2), None).unwrap();
        let before = shared.current();
        shared.renew(&config(3)).unwrap();
        let turns = |env: &Env<_, _>| Arc::clone(env.authenticator.turns());
        assert!(Arc::ptr_eq(&turns(&before.env), &turns(&shared.current().env)));
        assert_eq!(shared.turns.free(), 3);
        let (before, after) = (&before.env, &shared.current().env);
        assert!(Arc::ptr_eq(&before.sessions, &after.sessions));
        assert!(Arc::ptr_eq(&before.last_logins, &after.last_logins));
        let _removal = before.removals.token();
        assert_eq!(after.removals.len(), 1);
        shared.drain.cancel();
        shared.grace_over.cancel();
        assert!(after.drain.is_cancelled() && after.grace_over.is_cancelled());
    }
}
