//! Shared code of this room's unit tests.

use std::fs;
use std::io::Write;
use std::num::NonZeroU32;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use std::sync::{Arc, RwLock};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::{Reloadable, Shared, limits as connection_limits, proxy};
use crate::config::{KeyPair, Limits, Timeouts};
use crate::credentials::{Account, CredentialStore, Decoy, Lookup, StoreError};
use crate::login::{Authenticator, Rules, Turns};
use crate::mailbox::Mailbox;
use crate::password::Verifier;
use crate::protocol::Username;
use crate::session::{Env, Policy};

/// The limit on connections of [`shared`].
pub(super) const CONNECTIONS: u32 = 4;

/// A server for `mailbox` without TLS. Every user can log in with the password `tanstaaf`.
pub(super) fn shared<M: Mailbox>(mailbox: M) -> Shared<M, Everybody> {
    let limits = limits(CONNECTIONS, CONNECTIONS);
    let minute = Duration::from_secs(60);
    let timeouts = Timeouts { idle: minute, login: minute, write: minute, shutdown_grace: minute };
    let authenticator = Authenticator::new(vec![Everybody], Rules::default(), Arc::default());
    let policy = Policy {
        allow_cleartext: true,
        failure_delay: Duration::ZERO,
        bad_commands: 10,
        failed_logins: 3,
        sessions_per_user: 10,
        lock_wait: Duration::ZERO,
        idle: minute,
        write: minute,
        ..Policy::new("pop.example.org")
    };
    let env = Env::new(mailbox, authenticator.unwrap(), policy);
    Shared {
        throttle: Arc::default(),
        turns: Arc::new(Turns::new(NonZeroU32::MIN)),
        within: None,
        tls: None,
        connection_limits: connection_limits::ConnectionLimits::new(),
        refusals: connection_limits::ThrottledWarning::default(),
        proxy_warnings: proxy::ProxyWarnings::default(),
        removals: env.removals.clone(),
        last_logins: Arc::clone(&env.last_logins),
        drain: env.drain.clone(),
        grace_over: env.grace_over.clone(),
        reloadable: RwLock::new(Arc::new(Reloadable {
            env,
            limits,
            timeouts,
            client_settings: None,
        })),
        cut: CancellationToken::new(),
    }
}

/// Knows every user.
pub(super) struct Everybody;

impl CredentialStore for Everybody {
    fn label(&self) -> String {
        "everybody".to_owned()
    }

    async fn look_up(&self, _name: &Username) -> Lookup {
        Lookup::Found(Account::new(Verifier::plain("tanstaaf")))
    }

    fn decoy(&self, _name: &Username) -> Option<Decoy> {
        None
    }

    async fn probe(&self) -> Result<String, StoreError> {
        Ok("everybody is here".to_owned())
    }
}

/// Limits with the given bounds on connections.
pub(super) fn limits(connections: u32, per_address: u32) -> Limits {
    let bound = |value| NonZeroU32::new(value).unwrap();
    Limits {
        connections: bound(connections),
        connections_per_address: bound(per_address),
        sessions_per_user: bound(10),
        bad_commands: bound(10),
        failed_logins: bound(3),
    }
}

/// A new self-signed pair in `dir`, in files that begin with `stem`.
pub(super) fn key_pair(dir: &Path, stem: &str, names: &[&str]) -> KeyPair {
    let names: Vec<String> = names.iter().map(|&name| name.into()).collect();
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(names).unwrap();
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(2120, 1, 1);
    let certificate = params.self_signed(&key).unwrap();
    let pair = KeyPair {
        certificate: dir.join(format!("{stem}.crt")),
        private_key: dir.join(format!("{stem}.key")),
    };
    fs::write(&pair.certificate, certificate.pem()).unwrap();
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&pair.private_key)
        .unwrap();
    file.write_all(key.serialize_pem().as_bytes()).unwrap();
    pair
}
