//! From `[[credentials]]` to credential stores.

use std::net::IpAddr;
use std::sync::Arc;

use tokio::runtime::{Builder, Runtime};

#[cfg(any(feature = "ldap", feature = "oauth2", feature = "sql"))]
use super::secret_file;
#[cfg(feature = "oauth2")]
use crate::config::Introspection;
#[cfg(feature = "oauth2")]
use crate::config::Oauth2Section;
#[cfg(feature = "sql")]
use crate::config::SqlSection;
#[cfg(feature = "ldap")]
use crate::config::{self, LdapSection};
use crate::config::{Asking, Config, Credentials, FileSection};
#[cfg(feature = "pam")]
use crate::credentials::PamService;
use crate::credentials::{
    CheckpasswordProgram, CredentialStore as _, FileOptions, FileStore, Gatekeeper,
    GatekeeperStore, Store, TokenProvider,
};
#[cfg(feature = "ldap")]
use crate::credentials::{LdapBind, LdapKeys, LdapSettings, LdapStore, LdapWay};
#[cfg(feature = "oauth2")]
use crate::credentials::{Oauth2Introspection, Oauth2Provider, Oauth2Settings};
#[cfg(feature = "sql")]
use crate::credentials::{SqlSettings, SqlStore};
use crate::login::{Authenticator, Identity, Reason, Rules, Verdict};
use crate::password::WeakSchemes;
use crate::protocol::{ClaimedName, Secret};

/// What a section of `[[credentials]]` stands for.
enum Opened {
    Passwords(Store),
    #[cfg_attr(not(feature = "oauth2"), expect(dead_code, reason = "no other kind takes tokens"))]
    Tokens(Box<dyn TokenProvider>),
}

/// Opens the stores of passwords and the providers of tokens, each in their order. Blocks for those
/// that are files.
///
/// # Errors
/// Why one cannot be used, in a line.
pub fn open<'a>(
    sections: impl IntoIterator<Item = &'a Credentials>,
    weak: WeakSchemes,
) -> Result<(Vec<Store>, Vec<Box<dyn TokenProvider>>), String> {
    let (mut stores, mut providers) = (Vec::new(), Vec::new());
    for section in sections {
        match open_one(section, weak)? {
            Opened::Passwords(store) => stores.push(store),
            Opened::Tokens(provider) => providers.push(provider),
        }
    }
    Ok((stores, providers))
}

fn open_one(section: &Credentials, weak: WeakSchemes) -> Result<Opened, String> {
    let store = match section {
        Credentials::File(section) => {
            let options = FileOptions { weak, rehash: section.rehash };
            let store = FileStore::open(&section.path, options);
            Store::File(store.map_err(|error| error.to_string())?)
        }
        #[cfg(feature = "ldap")]
        Credentials::Ldap(section) => Store::Ldap(Box::new(ldap(section)?)),
        #[cfg(not(feature = "ldap"))]
        Credentials::Ldap(_) => return Err(not_built("ldap")),
        #[cfg(feature = "oauth2")]
        Credentials::Oauth2(section) => return Ok(Opened::Tokens(Box::new(oauth2(section)?))),
        #[cfg(not(feature = "oauth2"))]
        Credentials::Oauth2(_) => return Err(not_built("oauth2")),
        Credentials::Checkpassword(section) => {
            let program = CheckpasswordProgram::new(section.command.clone())?;
            Store::Checkpassword(behind(program, &section.asking))
        }
        #[cfg(feature = "pam")]
        Credentials::Pam(section) => {
            let service = PamService::new(section.service.clone(), section.asking.at_once)?;
            Store::Pam(behind(service, &section.asking))
        }
        #[cfg(not(feature = "pam"))]
        Credentials::Pam(_) => return Err(not_built("pam")),
        #[cfg(feature = "sql")]
        Credentials::Sql(section) => Store::Sql(Box::new(sql(section, weak)?)),
        #[cfg(not(feature = "sql"))]
        Credentials::Sql(_) => return Err(not_built("sql")),
    };
    Ok(Opened::Passwords(store))
}

/// What is said of a kind of store that this program does not have.
#[cfg(not(all(feature = "ldap", feature = "oauth2", feature = "pam", feature = "sql")))]
fn not_built(feature: &str) -> String {
    format!(
        "this restante was built without {feature}; take a package, or build it with --features \
         {feature} (or full)"
    )
}

fn behind<G: Gatekeeper>(gatekeeper: G, asking: &Asking) -> Box<GatekeeperStore<G>> {
    Box::new(GatekeeperStore::new(gatekeeper, asking.deadline, asking.at_once))
}

#[cfg(feature = "sql")]
fn sql(section: &SqlSection, weak: WeakSchemes) -> Result<SqlStore, String> {
    SqlStore::open(SqlSettings {
        url: section.url.clone(),
        password: section.password_file.as_deref().map(secret_file::read).transpose()?,
        ca: section.ca.clone(),
        query: section.query.to_string(),
        weak,
        deadline: section.asking.deadline,
        at_once: section.asking.at_once,
    })
}

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
    /// Why it gives no answer, in a line: the server starts, and puts off log-ins that need it.
    Silent(String),
    /// What is wrong with it, in a line: the server does not start.
    Unusable(String),
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
        Err(why) => return Probed::Unusable(why),
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
        Err(why) => Probed::Silent(format!("{label}: {why}")),
    }
}

/// What would come of a log-in.
#[derive(Debug)]
pub struct Judgement {
    /// The store that decided.
    pub store: Decided,
    /// Who would be let in, or why nobody.
    pub outcome: Result<Identity, Reason>,
}

/// Which store decided.
#[derive(Debug)]
pub enum Decided {
    /// This one.
    By(String),
    /// None of these, all of which were asked.
    Nobody(Vec<String>),
}

/// Puts a name and a password to the stores of a configuration, as a login from `peer` would, or
/// from anywhere.
///
/// # Errors
/// Why a store cannot be used, in a line.
pub fn judge(
    config: &Config,
    name: &ClaimedName,
    password: Secret<Vec<u8>>,
    peer: Option<IpAddr>,
) -> Result<Judgement, String> {
    runtime()?.block_on(async {
        let weak = config.auth.weak_schemes.into();
        // Trying out is not a log-in: no hash is replaced.
        let sections = config.credentials.iter().map(without_rehash);
        let sections: Vec<_> = sections.collect();
        let (stores, _no_passwords) = open(&sections, weak)?;
        let authenticator = Authenticator::new(stores, Rules::default(), Arc::default())?;
        let Verdict { store, outcome } = authenticator.judge(name, &Arc::new(password), peer).await;
        let labels = || authenticator.stores().iter().map(Store::label);
        let store = match store.and_then(|nth| labels().nth(nth)) {
            Some(label) => Decided::By(label),
            None => Decided::Nobody(labels().collect()),
        };
        Ok(Judgement { store, outcome })
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

#[cfg(feature = "ldap")]
fn ldap(section: &LdapSection) -> Result<LdapStore, String> {
    let way = match section.way.clone() {
        config::LdapWay::Direct { dn } => LdapWay::Direct { dn: dn.to_string() },
        config::LdapWay::Search { bind, base, filter } => {
            let bind = match bind {
                Some(bind) => Some(LdapBind {
                    dn: bind.dn,
                    password: secret_file::read(&bind.password_file)?,
                }),
                None => None,
            };
            LdapWay::Search { bind, base, filter: filter.to_string() }
        }
    };
    LdapStore::open(LdapSettings {
        url: section.url.clone(),
        starttls: section.starttls,
        ca: section.ca.clone(),
        way,
        keys: LdapKeys {
            home: section.home_attribute.clone(),
            mail: section.mail_attribute.clone(),
            pop3: section.pop3_attribute.clone(),
            sessions: section.sessions_attribute.clone(),
            allow_nets: section.allow_nets_attribute.clone(),
        },
        deadline: section.asking.deadline,
        at_once: section.asking.at_once,
    })
}

#[cfg(feature = "oauth2")]
fn oauth2(section: &Oauth2Section) -> Result<Oauth2Provider, String> {
    let introspection = section.introspection.as_ref().map(introspection).transpose()?;
    Oauth2Provider::open(Oauth2Settings {
        issuer: section.issuer.clone(),
        audience: section.audience.clone(),
        scope: section.scope.clone(),
        user_claim: section.user_claim.clone(),
        introspection,
        ca: section.ca.clone(),
        deadline: section.asking.deadline,
        at_once: section.asking.at_once,
    })
}

#[cfg(feature = "oauth2")]
fn introspection(section: &Introspection) -> Result<Oauth2Introspection, String> {
    Ok(Oauth2Introspection {
        url: section.url.clone(),
        client_id: section.client_id.clone(),
        client_secret: secret_file::read(&section.client_secret_file)?,
    })
}
