//! From `[[credentials]]` to credential stores.

use std::net::IpAddr;
use std::sync::Arc;

use tokio::runtime::{Builder, Runtime};

use crate::config::{Config, Credentials, FileSection};
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
    TokenProvider,
};
use crate::login::{Authenticator, Rules, Verdict};
use crate::password::WeakSchemes;
use crate::protocol::{ClaimedName, Secret};

/// What `[[credentials]]` stand for, each kind in its order.
#[derive(Debug, Default)]
pub struct Stores {
    /// Those of passwords.
    pub passwords: Vec<Store>,
    /// Those of tokens.
    pub tokens: Vec<Box<dyn TokenProvider>>,
}

/// What a section of `[[credentials]]` stands for.
enum Opened {
    Passwords(Store),
    #[cfg_attr(not(feature = "oauth2"), expect(dead_code, reason = "no other kind takes tokens"))]
    Tokens(Box<dyn TokenProvider>),
}

/// Opens the stores of passwords and the providers of tokens. Blocks for those that are files.
///
/// # Errors
/// [`OpenError`] of the first that cannot be used.
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

/// A kind of store that this program does not have.
#[cfg(not(all(feature = "ldap", feature = "oauth2", feature = "pam", feature = "sql")))]
#[derive(Debug, thiserror::Error)]
#[error(
    "this restante was built without {0}; take a package, or build it with --features {0} (or full)"
)]
struct NotBuilt(&'static str);

/// How far stores are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// They are opened, and what is elsewhere is asked.
    Everything,
    /// They are opened only: programs, servers and databases are left alone.
    Offline,
}

/// What came of looking at a store.
#[derive(Debug)]
pub enum Probed {
    /// It was opened.
    Opened,
    /// What was reached, in a few words.
    Reached(String),
    /// Why it gives no answer, in a line: the server starts, and puts off logins that need it.
    NoAnswer(String),
    /// What is wrong with it: the server does not start.
    Unusable(OpenError),
}

/// Opens stores and asks them about a name that nobody has, all at the same time. What comes of it
/// is in the order of `sections`.
///
/// # Errors
/// Why none of them can be asked, in a line.
pub fn probe(
    sections: Vec<Credentials>,
    weak: WeakSchemes,
    extent: Extent,
) -> Result<Vec<Probed>, String> {
    runtime()?.block_on(async {
        let probe = |section| tokio::spawn(probe_one(section, weak, extent));
        let asked = sections.into_iter().map(probe);
        let mut outcomes = Vec::new();
        for store in asked.collect::<Vec<_>>() {
            outcomes.push(store.await.map_err(|error| error.to_string())?);
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

/// Puts a name and a password to the stores of a configuration, as a login from `peer` would, or
/// from anywhere. The labels are those of the stores that the verdict counts.
///
/// # Errors
/// Why a store cannot be used, in a line.
pub fn judge(
    config: &Config,
    name: &ClaimedName,
    password: Secret<Vec<u8>>,
    peer: Option<IpAddr>,
) -> Result<(Verdict, Vec<String>), String> {
    runtime()?.block_on(async {
        let weak = config.auth.weak_schemes.into();
        // Trying out is not a login: no hash is replaced.
        let sections = config.credentials.iter().map(without_rehash);
        let sections: Vec<_> = sections.collect();
        let stores = open(&sections, weak).map_err(|error| error.to_string())?.passwords;
        let authenticator = Authenticator::new(stores, Rules::default(), Arc::default())?;
        let verdict = authenticator.judge(name, &Arc::new(password), peer).await;
        Ok((verdict, authenticator.stores().iter().map(Store::label).collect()))
    })
}

fn without_rehash(section: &Credentials) -> Credentials {
    match section {
        Credentials::File(file) => Credentials::File(FileSection { rehash: false, ..file.clone() }),
        Credentials::Sql(_)
        | Credentials::Ldap(_)
        | Credentials::Pam(_)
        | Credentials::Checkpassword(_)
        | Credentials::Oauth2(_) => section.clone(),
    }
}

fn runtime() -> Result<Runtime, String> {
    Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .map_err(|error| format!("the runtime cannot be started: {error}"))
}
