//! From `[[credentials]]` to credential stores.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinError;

use crate::config::{Config, Credentials};
#[cfg(feature = "ldap")]
use crate::credentials::LdapStore;
#[cfg(feature = "oauth2")]
use crate::credentials::Oauth2Provider;
#[cfg(feature = "pam")]
use crate::credentials::PamService;
#[cfg(feature = "sql")]
use crate::credentials::SqlStore;
use crate::credentials::{
    CheckpasswordProgram, CredentialStore as _, FileStore, OpenError, ServiceStore, Store,
    StoreError, TokenProvider,
};
use crate::login::{Authenticator, NoRandomness, Rules, Verdict};
use crate::password::WeakSchemes;
use crate::protocol::{ClaimedName, Secret, Username};

/// The stores of `[[credentials]]`, in their order.
#[derive(Debug, Default)]
pub struct Stores {
    /// Stores of passwords.
    pub passwords: Vec<Store>,
    /// Providers of tokens.
    pub tokens: Vec<Box<dyn TokenProvider>>,
}

/// The store of one section.
enum Opened {
    Passwords(Store),
    #[cfg_attr(not(feature = "oauth2"), expect(dead_code, reason = "no other kind accepts tokens"))]
    Tokens(Box<dyn TokenProvider>),
}

/// Opens the stores of passwords and the providers of tokens. Blocks while it reads files.
///
/// # Errors
/// [`OpenError`] of the first store that cannot be used.
pub fn open<'a>(
    sections: impl IntoIterator<Item = &'a Credentials>,
    weak: WeakSchemes,
) -> Result<Stores, OpenError> {
    let mut stores = Stores::default();
    for section in sections {
        match open_one(section, weak)? {
            Opened::Passwords(store) => stores.passwords.push(store),
            Opened::Tokens(provider) => stores.tokens.push(provider),
        }
    }
    Ok(stores)
}

fn open_one(section: &Credentials, weak: WeakSchemes) -> Result<Opened, OpenError> {
    let store = match section {
        Credentials::File(section) => Store::File(FileStore::open(section, weak)?),
        #[cfg(feature = "ldap")]
        Credentials::Ldap(section) => Store::Ldap(Box::new(LdapStore::open(section)?)),
        #[cfg(not(feature = "ldap"))]
        Credentials::Ldap(_) => return Err(not_built("ldap")),
        #[cfg(feature = "oauth2")]
        Credentials::Oauth2(section) => {
            return Ok(Opened::Tokens(Box::new(Oauth2Provider::open(section)?)));
        }
        #[cfg(not(feature = "oauth2"))]
        Credentials::Oauth2(_) => return Err(not_built("oauth2")),
        Credentials::Checkpassword(section) => {
            let program = CheckpasswordProgram::new(&section.command)?;
            Store::Checkpassword(Box::new(ServiceStore::new(program, section.asking)))
        }
        #[cfg(feature = "pam")]
        Credentials::Pam(section) => {
            let service = PamService::new(section)?;
            Store::Pam(Box::new(ServiceStore::new(service, section.asking)))
        }
        #[cfg(not(feature = "pam"))]
        Credentials::Pam(_) => return Err(not_built("pam")),
        #[cfg(feature = "sql")]
        Credentials::Sql(section) => Store::Sql(Box::new(SqlStore::open(section, weak)?)),
        #[cfg(not(feature = "sql"))]
        Credentials::Sql(_) => return Err(not_built("sql")),
    };
    Ok(Opened::Passwords(store))
}

#[cfg(not(all(feature = "ldap", feature = "oauth2", feature = "pam", feature = "sql")))]
fn not_built(feature: &'static str) -> OpenError {
    OpenError::at("kind")(NotBuilt(feature))
}

/// A kind of store that this program was built without.
#[cfg(not(all(feature = "ldap", feature = "oauth2", feature = "pam", feature = "sql")))]
#[derive(Debug, thiserror::Error)]
#[error(
    "this restante was built without {0}; install a package, or build it with --features {0} or full"
)]
struct NotBuilt(&'static str);

/// Why the stores of a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoresError {
    /// A store cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The cache of logins has no key.
    #[error("no key for the login cache: {0}")]
    Randomness(#[from] NoRandomness),
    /// The runtime for the queries cannot be started.
    #[error("the runtime cannot be started: {0}")]
    Runtime(#[from] io::Error),
    /// The store does not answer.
    #[error("{store}: {why}")]
    NoAnswer {
        /// Its label.
        store: String,
        /// What is wrong.
        why: StoreError,
    },
    /// The task of a query panicked.
    #[error(transparent)]
    Task(#[from] JoinError),
}

/// How stores are probed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// They are opened, and those that are not files are queried.
    Everything,
    /// They are opened, but no program, server or database is contacted.
    Offline,
}

/// The result of probing a store.
#[derive(Debug)]
pub enum Probed {
    /// It was opened.
    Opened,
    /// It answered. Describes it briefly.
    Reached(String),
    /// Why it did not answer. The server starts, but logins that need this store fail temporarily.
    NoAnswer(String),
    /// Why it cannot be used. The server does not start.
    Unusable(OpenError),
}

/// Opens stores and queries them for a name that does not exist, all at the same time. The results
/// are in the order of `sections`.
///
/// # Errors
/// [`StoresError`] when none of them can be queried.
pub fn probe(
    sections: Vec<Credentials>,
    weak: WeakSchemes,
    extent: Extent,
) -> Result<Vec<Probed>, StoresError> {
    runtime()?.block_on(async {
        let probe = |section| tokio::spawn(probe_one(section, weak, extent));
        let asked = sections.into_iter().map(probe);
        let mut outcomes = Vec::new();
        for store in asked.collect::<Vec<_>>() {
            outcomes.push(store.await?);
        }
        Ok(outcomes)
    })
}

async fn probe_one(section: Credentials, weak: WeakSchemes, extent: Extent) -> Probed {
    let opened = match open_one(&section, weak) {
        Ok(opened) => opened,
        Err(error) => return Probed::Unusable(error),
    };
    if extent == Extent::Offline {
        return Probed::Opened;
    }
    let (label, reached) = match opened {
        Opened::Passwords(store) => (store.label(), store.probe().await),
        Opened::Tokens(provider) => (provider.label(), provider.probe().await),
    };
    match reached {
        Ok(reached) => Probed::Reached(format!("{label}  {reached}")),
        Err(why) => Probed::NoAnswer(format!("{label}: {why}")),
    }
}

/// The names of the users of a store that is not a file; `None` if it cannot list them.
///
/// # Errors
/// [`StoresError`] when the store cannot be used, or does not answer.
pub fn users(
    section: &Credentials,
    weak: WeakSchemes,
) -> Result<Option<Vec<Username>>, StoresError> {
    runtime()?.block_on(async {
        let Opened::Passwords(store) = open_one(section, weak)? else { return Ok(None) };
        let users = store.users().await;
        users.map_err(|why| StoresError::NoAnswer { store: store.label(), why })
    })
}

/// Verifies a name and a password against the stores of a configuration, as a login from `peer`
/// would; `None` for any network. Also returns the labels of the stores.
///
/// # Errors
/// [`StoresError`] when a store cannot be used.
pub fn judge(
    config: &Config,
    name: &ClaimedName,
    password: Secret<Vec<u8>>,
    peer: Option<IpAddr>,
) -> Result<(Verdict, Vec<String>), StoresError> {
    runtime()?.block_on(async {
        let weak = config.auth.weak_schemes.into();
        let mut sections = config.credentials.clone();
        for section in &mut sections {
            // This is not a login, so no hash is replaced.
            if let Credentials::File(file) = section {
                file.rehash = false;
            }
        }
        let stores = open(&sections, weak)?.passwords;
        let authenticator = Authenticator::new(stores, Rules::default(), Arc::default())?;
        let verdict = authenticator.judge(name, &Arc::new(password), peer).await;
        Ok((verdict, authenticator.stores().iter().map(Store::label).collect()))
    })
}

fn runtime() -> io::Result<Runtime> {
    Builder::new_multi_thread().worker_threads(1).enable_all().build()
}
