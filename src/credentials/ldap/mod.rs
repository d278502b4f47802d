//! Users in a directory: LDAP (RFC 4511), by search and bind or by direct bind.
//!
//! The directory shows no verifiers but those of app passwords, which are an attribute: any other
//! password is right when a simple bind with it succeeds (RFC 4513 §5.1.3). This file decides which
//! operations a login takes and what their results mean for it.
//!
//! - `connection`: connections and operations. `error`: their errors. `tls`: the TLS client.
//! - `template`: filters and names of entries for a user. `entry`: the attributes of an entry.

use std::str;
use std::sync::Arc;

use ldap3::Scope;

use self::connection::{Directory, Found, Question};
use self::error::Error;
use crate::config::{LdapAttributes, LdapSection, LdapWay};
use crate::credentials::{
    Account, Attributes, Breaker, Check, CredentialStore, Decoy, Lookup, OpenError, Outage,
    StoreError,
};
use crate::password::Verifier;
use crate::protocol::{Secret, Username};

mod connection;
mod entry;
mod error;
mod template;
mod tls;

/// The users of a directory.
///
/// - Search and bind: a filter finds one entry, over a connection that is reused. A bind as that
///   entry then tries the password, on a new connection, as a bind changes the authorization of the
///   connection.
/// - Direct bind: the name of the entry is made from the user's, and whether it exists is not known
///   before the bind.
/// - User names are always escaped (RFC 4514 §2.4, RFC 4515 §3).
/// - Referrals are not followed: a password is only sent to the configured server.
#[derive(Debug)]
pub struct LdapStore {
    users: Arc<Users>,
    breaker: Breaker<Error>,
}

/// The users, without the breaker.
#[derive(Debug)]
struct Users {
    directory: Directory,
    way: LdapWay,
    attributes: LdapAttributes,
}

impl LdapStore {
    /// Opens a store without connecting to the directory. Must be called within a runtime.
    ///
    /// # Errors
    /// An error in the section, or in a file that it names.
    pub fn open(section: &LdapSection) -> Result<Self, OpenError> {
        let directory = Directory::open(section)?;
        let LdapSection { url, way, attributes, asking, .. } = section.clone();
        let users = Arc::new(Users { directory, way, attributes });
        let probe = |users: Arc<Users>| async move { users.reach().await.map(drop) };
        let breaker = Breaker::new(format!("ldap {url}"), asking, &users, probe);
        Ok(Self { users, breaker })
    }
}

impl CredentialStore for LdapStore {
    fn label(&self) -> String {
        format!("ldap {}", self.users.directory.url)
    }

    async fn look_up(&self, name: &Username) -> Lookup {
        if is_another_spelling(name.as_str()) {
            return Lookup::Unknown;
        }
        match &self.users.way {
            LdapWay::Direct { dn } => match template::entry_name(dn, name) {
                Some(dn) => Lookup::Perhaps(Account::new(Verifier::AtStore(dn.into()))),
                None => Lookup::Unknown,
            },
            LdapWay::Search { base, filter, .. } => match template::filter(filter, name) {
                Some(filter) => {
                    let question = self.users.question(base, Scope::Subtree, &filter);
                    let search = self.users.directory.search(&question);
                    match self.breaker.call(search).await {
                        Ok(found) => self.users.lookup(found, &question),
                        Err(why) => Lookup::Unavailable(why.into()),
                    }
                }
                None => Lookup::Unknown,
            },
        }
    }

    async fn check(
        &self,
        _name: &Username,
        account: &Account,
        password: &Secret<Vec<u8>>,
    ) -> Check {
        let Verifier::AtStore(dn) = &account.verifier else {
            return Check::Unavailable(Error::NotAtStore.into());
        };
        // RFC 4513 §5.1.2: a bind with a name and no password succeeds without authentication.
        // RFC 4513 §5.1.3: a password is sent as UTF-8.
        let password = match str::from_utf8(password.expose()) {
            Ok(password) if !password.is_empty() => password,
            Ok(_) | Err(_) => return Check::Wrong,
        };
        let bound = self.users.bind(dn, password, &account.attributes);
        match self.breaker.call(bound).await {
            Ok(Some(attributes)) => Check::Right(attributes),
            Ok(None) => Check::Wrong,
            Err(why) => Check::Unavailable(why.into()),
        }
    }

    /// The name of an entry that does not exist. The directory refuses a bind as it with the same
    /// result, and counts no failure for a user.
    fn decoy(&self, _name: &Username) -> Option<Decoy> {
        let entry = match &self.users.way {
            LdapWay::Search { base, .. } if base.is_empty() => MISSING_ENTRY.to_owned(),
            LdapWay::Search { base, .. } => format!("{MISSING_ENTRY},{base}"),
            LdapWay::Direct { .. } => return None,
        };
        Some(Decoy { verifier: Verifier::AtStore(entry.into()), users: USERS })
    }

    /// The local part where the filter asks for nothing else, and otherwise the name of the entry.
    fn account_key(&self, name: &Username, found: Option<&Account>) -> Option<Vec<u8>> {
        match &self.users.way {
            LdapWay::Search { filter, .. } if filter.is_about_local_part() => {
                Some(name.local().into())
            }
            LdapWay::Search { .. } | LdapWay::Direct { .. } => found.and_then(Account::key),
        }
    }

    fn down(&self) -> Option<Outage> {
        self.breaker.down()
    }

    async fn probe(&self) -> Result<String, StoreError> {
        Ok(self.breaker.bypass(self.users.reach()).await?)
    }
}

impl Users {
    fn question<'a>(&'a self, base: &'a str, scope: Scope, filter: &'a str) -> Question<'a> {
        Question { base, scope, filter, attributes: self.attributes.names() }
    }

    /// What the answer to a search for a user means. An answer that cannot be used is no failure of
    /// the directory, so this is done outside the breaker.
    fn lookup(&self, found: Found, question: &Question<'_>) -> Lookup {
        let entry = match found {
            Found::One(entry) => entry,
            Found::None => return Lookup::Unknown,
            Found::Several => {
                let (base, filter) = (question.base.into(), question.filter.into());
                return Lookup::Unavailable(Error::Ambiguous { base, filter }.into());
            }
        };
        match self.attributes.read(&entry) {
            Ok(attributes) => {
                let app_passwords = self.attributes.app_passwords(&entry, &attributes);
                let verifier = Verifier::AtStore(entry.dn.into());
                Lookup::Found(Account { verifier, attributes, app_passwords })
            }
            Err(error) => Lookup::Unavailable(Error::from(error).into()),
        }
    }

    /// The attributes of the user if the password is right, `None` if it is wrong.
    async fn bind(
        &self,
        dn: &str,
        password: &str,
        known: &Attributes,
    ) -> Result<Option<Attributes>, Error> {
        let Some(mut connection) = self.directory.bind(dn, password).await? else {
            return Ok(None);
        };
        if matches!(self.way, LdapWay::Search { .. }) || self.attributes.names().is_empty() {
            return Ok(Some(known.clone()));
        }
        let own = self.question(dn, Scope::Base, "(objectClass=*)");
        match self.directory.search_as_user(&mut connection, &own).await? {
            Found::One(entry) => Ok(Some(self.attributes.read(&entry)?)),
            Found::None | Found::Several => Err(Error::OwnEntryHidden(dn.into())),
        }
    }

    /// Asks about an unknown name over a new connection; returns how the directory was reached.
    async fn reach(&self) -> Result<String, Error> {
        let name = Username::try_from(PROBE)?;
        let reached = self.directory.reached();
        match &self.way {
            LdapWay::Search { base, filter, .. } => {
                let filter = template::filter(filter, &name).unwrap_or_default();
                let question = self.question(base, Scope::Subtree, &filter);
                self.directory.search_anew(&question).await?;
                Ok(format!("{reached}, searched {base:?}"))
            }
            LdapWay::Direct { dn } => {
                let dn = template::entry_name(dn, &name).unwrap_or_default();
                self.directory.try_name(&dn).await?;
                Ok(format!("{reached}, which takes names such as {dn:?}"))
            }
        }
    }
}

/// Whether a directory may match this name to the entry of a user whom we know by another name.
///
/// - RFC 4518 §2: directories ignore the case of letters, how many spaces stand between words, and
///   which of the equivalent forms of a character is used. Each user would have any number of names,
///   and of maildrops.
fn is_another_spelling(name: &str) -> bool {
    let spaces = name.contains("  ");
    // Full case folding would also refuse "ß", and the "ς" at the end of Greek names.
    let capitals = name.to_lowercase() != name;
    spaces || capitals || stringprep::x520prep(name, false).map_or(true, |same| same != name)
}

/// The weight of a directory's decoys among those of other stores: how many users it has is not
/// known.
const USERS: u64 = 10_000;

/// The first part of the name of an entry that does not exist.
const MISSING_ENTRY: &str = "cn=nobody\\2c for Restante";

/// A name that no user has, with a domain, so that it fills every placeholder.
const PROBE: &str = "restante-probe@example.invalid";

#[cfg(test)]
mod tests;
