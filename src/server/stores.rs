//! From `[[credentials]]` to credential stores.

use std::fs;
use std::io;
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use tokio::runtime::{Builder, Runtime};

use crate::config::{
    self, Asking, Config, Credentials, FileSection, Introspection, LdapSection, Oauth2Section,
    SqlSection,
};
#[cfg(feature = "pam")]
use crate::credentials::PamService;
use crate::credentials::{
    CheckpasswordProgram, CredentialStore as _, FileOptions, FileStore, Gatekeeper,
    GatekeeperStore, LdapBind, LdapKeys, LdapSettings, LdapStore, LdapWay, Oauth2Introspection,
    Oauth2Settings, Oauth2Store, SqlSettings, SqlStore, Store,
};
use crate::login::{Authenticator, Identity, Reason, Rules, Verdict};
use crate::password::WeakSchemes;
use crate::protocol::{ClaimedName, Secret};

/// Opens a store. Blocks when it is a file.
///
/// # Errors
/// Why it cannot be used, in a line.
pub fn open(section: &Credentials, weak: WeakSchemes) -> Result<Store, String> {
    match section {
        Credentials::File(section) => {
            let options = FileOptions { weak, rehash: section.rehash };
            FileStore::open(&section.path, options)
                .map(Store::File)
                .map_err(|error| error.to_string())
        }
        Credentials::Ldap(section) => ldap(section).map(Box::new).map(Store::Ldap),
        Credentials::Oauth2(section) => oauth2(section).map(Box::new).map(Store::Oauth2),
        Credentials::Checkpassword(section) => {
            let program = CheckpasswordProgram::new(section.command.clone())?;
            Ok(Store::Checkpassword(behind(program, &section.asking)))
        }
        #[cfg(feature = "pam")]
        Credentials::Pam(section) => {
            let service = PamService::new(section.service.clone(), section.asking.at_once)?;
            Ok(Store::Pam(behind(service, &section.asking)))
        }
        #[cfg(not(feature = "pam"))]
        Credentials::Pam(_) => {
            Err("this restante was built without PAM; build it with --features pam".into())
        }
        Credentials::Sql(section) => sql(section, weak).map(Box::new).map(Store::Sql),
    }
}

fn behind<G: Gatekeeper>(gatekeeper: G, asking: &Asking) -> Box<GatekeeperStore<G>> {
    Box::new(GatekeeperStore::new(gatekeeper, asking.deadline, asking.at_once))
}

fn sql(section: &SqlSection, weak: WeakSchemes) -> Result<SqlStore, String> {
    SqlStore::open(SqlSettings {
        url: section.url.clone(),
        password: section.password_file.as_deref().map(secret).transpose()?,
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
    let store = match open(&section, weak) {
        Ok(store) => store,
        Err(why) => return Probed::Unusable(why),
    };
    if extent == Extent::Offline {
        return Probed::Opened;
    }
    let label = store.label();
    match store.probe().await {
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
        let stores = sections.map(|section| open(&section, weak)).collect::<Result<Vec<_>, _>>()?;
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

fn ldap(section: &LdapSection) -> Result<LdapStore, String> {
    let way = match section.way.clone() {
        config::LdapWay::Direct { dn } => LdapWay::Direct { dn: dn.to_string() },
        config::LdapWay::Search { bind, base, filter } => {
            let bind = match bind {
                Some(bind) => {
                    Some(LdapBind { dn: bind.dn, password: secret(&bind.password_file)? })
                }
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

fn oauth2(section: &Oauth2Section) -> Result<Oauth2Store, String> {
    let introspection = section.introspection.as_ref().map(introspection).transpose()?;
    Oauth2Store::open(Oauth2Settings {
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

fn introspection(section: &Introspection) -> Result<Oauth2Introspection, String> {
    Ok(Oauth2Introspection {
        url: section.url.clone(),
        client_id: section.client_id.clone(),
        client_secret: secret(&section.client_secret_file)?,
    })
}

/// Reads a file that holds a secret in one line.
///
/// # Errors
/// Why it cannot be used and what to do, with the path and nothing of what is in it.
fn secret(path: &Path) -> Result<Secret<String>, String> {
    let shown = path.display();
    let cannot = |error: io::Error| match error.kind() == io::ErrorKind::NotFound {
        true => format!("{shown} is not there; write the secret to it, in one line"),
        false => format!("{shown} cannot be read: {error}"),
    };
    let metadata = fs::metadata(path).map_err(cannot)?;
    if !metadata.is_file() || metadata.len() > MAX_SECRET_OCTETS {
        return Err(format!("{shown} is not a small file; write the secret to one, in one line"));
    }
    if metadata.mode() & 0o004 != 0 {
        return Err(format!("{shown} can be read by everybody; take that away with chmod o-r"));
    }
    let text = Secret::new(fs::read_to_string(path).map_err(cannot)?);
    let line = text.expose().trim_end_matches(['\r', '\n']);
    if line.is_empty() || line.contains(['\r', '\n', '\0']) {
        return Err(format!("{shown} does not have one line; write the secret and nothing else"));
    }
    Ok(Secret::new(line.to_owned()))
}

/// Longer than any password or key in a line.
const MAX_SECRET_OCTETS: u64 = 16 * 1024;

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn read(text: &str, mode: u32) -> Result<String, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), text).unwrap();
        fs::set_permissions(file.path(), fs::Permissions::from_mode(mode)).unwrap();
        secret(file.path()).map(|secret| secret.expose().clone())
    }

    #[test]
    fn a_secret_is_a_line_that_not_everybody_may_read() {
        assert_eq!(read("tanstaaf\n", 0o600), Ok("tanstaaf".into()));
        assert_eq!(read(" two words \r\n", 0o640), Ok(" two words ".into()));
        for (text, mode, hint) in [
            ("tanstaaf\n", 0o644, "chmod o-r"),
            ("", 0o600, "one line"),
            ("\n", 0o600, "one line"),
            ("tanstaaf\nmore\n", 0o600, "one line"),
            (&"tanstaaf".repeat(4096), 0o600, "small file"),
        ] {
            let why = read(text, mode).unwrap_err();
            assert!(why.contains(hint) && !why.contains("tanstaaf"), "{why}");
        }
        assert!(secret(Path::new("/")).unwrap_err().contains("small file"));
        assert!(secret(Path::new("/no/such")).unwrap_err().contains("write the secret to it"));
    }
}
