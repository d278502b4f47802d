//! Users in a directory: LDAP (RFC 4511), by search and bind or by direct bind.
//!
//! The directory keeps the verifiers to itself: a password is right when a simple bind with it
//! succeeds (RFC 4513 §5.1.3). Here is what is asked and what the answers mean for a login.
//! `connection` asks; `template` puts names into questions; `entry` reads what an entry says; `tls` has the client.

use std::str;
use std::sync::Arc;
use std::time::Duration;

use self::connection::{Bound, Directory, Found, Question, Reader};
use crate::config::{Asking, LdapAttributes, LdapSection, LdapWay};
use crate::credentials::breaker::within;
use crate::credentials::{
    Account, Attributes, Breaker, Check, CredentialStore, Decoy, Lookup, OpenError, StoreError,
};
use crate::password::Verifier;
use crate::protocol::{Secret, Username};
use ldap3::Scope;

mod connection;
mod entry;
mod template;
mod tls;

/// The users of a directory.
///
/// - Search and bind: one entry is found by a filter, over a connection that is kept; then the
///   password is tried by a bind as that entry, on a connection of its own, for a bind changes
///   whose connection it is.
/// - Direct bind: the name of the entry is put together from the user's, and nothing is known
///   before the bind.
/// - Names are escaped wherever they are put in (RFC 4514 §2.4, RFC 4515 §3); no setting changes
///   that.
/// - Referrals are not followed: a password goes to the configured server alone.
#[derive(Debug)]
pub struct LdapStore {
    users: Arc<Users>,
    breaker: Breaker<String>,
    deadline: Duration,
}

/// What is asked, whatever becomes of the questions.
#[derive(Debug)]
struct Users {
    directory: Directory,
    way: LdapWay,
    attributes: LdapAttributes,
}

impl LdapStore {
    /// Makes ready to ask a directory; it need not be there yet. Has to be called within a runtime.
    ///
    /// # Errors
    /// What an administrator has to mend, in a line.
    pub fn open(section: &LdapSection) -> Result<Self, OpenError> {
        let LdapSection { url, starttls, ca, way, attributes, asking } = section.clone();
        let Asking { deadline, at_once } = asking;
        let encrypted = starttls || url.starts_with("ldaps://");
        let tls = if encrypted { Some(tls::client(ca.as_deref())?) } else { None };
        let reader = match &way {
            LdapWay::Search { bind, filter, .. } => {
                template::check_filter(filter)
                    .map_err(|why| OpenError::at("filter")(StoreError(why.into())))?;
                bind.as_ref().map(Reader::of).transpose()?
            }
            LdapWay::Direct { .. } => None,
        };
        let most_kept = usize::try_from(at_once.get()).unwrap_or(usize::MAX);
        let directory = Directory::new(url, starttls, tls, reader, most_kept);
        let label = format!("ldap {directory}");
        let users = Arc::new(Users { directory, way, attributes });
        let asked = Arc::clone(&users);
        let probe = move || {
            let users = Arc::clone(&asked);
            async move { users.reach().await.map(drop) }
        };
        let breaker = Breaker::new(label, at_once, deadline, probe);
        Ok(Self { users, breaker, deadline })
    }
}

impl CredentialStore for LdapStore {
    fn label(&self) -> String {
        format!("ldap {}", self.users.directory)
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
                    let found = self.users.directory.search(&question);
                    let found = self.breaker.call(self.deadline, found).await;
                    self.users.known(&question, found.map_err(|why| why.to_string()))
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
            return Check::Unavailable(StoreError(
                "only the directory can check this password".into(),
            ));
        };
        // RFC 4513 §5.1.2: a bind with a name and no password succeeds, whoever asks.
        // RFC 4513 §5.1.3: what people type goes over as UTF-8.
        let password = match str::from_utf8(password.expose()) {
            Ok(password) if !password.is_empty() => password,
            Ok(_) | Err(_) => return Check::Wrong,
        };
        let bind = self.users.bind(dn, password, &account.attributes);
        match self.breaker.call(self.deadline, bind).await {
            Ok(Some(attributes)) => Check::Right(attributes),
            Ok(None) => Check::Wrong,
            Err(why) => Check::Unavailable(why.into()),
        }
    }

    /// An entry that is not there: the same way to the same server, which says the same, and no
    /// user's count of failures grows.
    fn decoy(&self, _name: &Username) -> Option<Decoy> {
        let entry = match &self.users.way {
            LdapWay::Search { base, .. } if base.is_empty() => NOBODY.to_owned(),
            LdapWay::Search { base, .. } => format!("{NOBODY},{base}"),
            LdapWay::Direct { .. } => return None,
        };
        Some(Decoy { verifier: Verifier::AtStore(entry.into()), users: USERS })
    }

    /// The name of the entry, however it was found.
    fn account_key(&self, name: &Username, found: Option<&Account>) -> Option<Vec<u8>> {
        match &self.users.way {
            LdapWay::Search { filter, .. } if filter.is_about_local_part() => {
                Some(name.local().into())
            }
            LdapWay::Search { .. } | LdapWay::Direct { .. } => found.and_then(Account::key),
        }
    }

    fn down(&self) -> Option<StoreError> {
        self.breaker.down().map(StoreError::from)
    }

    async fn probe(&self) -> Result<String, StoreError> {
        Ok(within(self.deadline, self.users.reach()).await?)
    }
}

impl Users {
    fn question<'a>(&'a self, base: &'a str, scope: Scope, filter: &'a str) -> Question<'a> {
        Question { base, scope, filter, attributes: self.attributes.names() }
    }

    /// What a search says of a user.
    fn known(&self, question: &Question<'_>, found: Result<Found, String>) -> Lookup {
        let entry = match found {
            Ok(Found::One(entry)) => entry,
            Ok(Found::Nothing) => return Lookup::Unknown,
            Ok(Found::Several) => {
                let why = format!(
                    "several entries below {:?} match the filter {:?}; make it find one",
                    question.base, question.filter
                );
                return Lookup::Unavailable(StoreError(why.into()));
            }
            Err(why) => return Lookup::Unavailable(StoreError(why.into())),
        };
        match self.attributes.read(&entry) {
            Ok(attributes) => {
                Lookup::Found(Account { verifier: Verifier::AtStore(entry.dn.into()), attributes })
            }
            Err(why) => Lookup::Unavailable(StoreError(why.into())),
        }
    }

    /// What the directory says of the user when the password is right, nothing when it is wrong.
    async fn bind(
        &self,
        dn: &str,
        password: &str,
        known: &Attributes,
    ) -> Result<Option<Attributes>, String> {
        let mut bound = match self.directory.bind(dn, password).await? {
            Bound::Right(bound) => bound,
            Bound::Wrong => return Ok(None),
        };
        match &self.way {
            LdapWay::Search { .. } => return Ok(Some(known.clone())),
            LdapWay::Direct { .. } if self.attributes.names().is_empty() => {
                return Ok(Some(known.clone()));
            }
            LdapWay::Direct { .. } => {}
        }
        let own = self.question(dn, Scope::Base, "(objectClass=*)");
        match self.directory.ask(&mut bound, &own).await? {
            Found::One(entry) => self.attributes.read(&entry).map(Some),
            Found::Nothing | Found::Several => {
                Err(format!("{dn:?} may not read its own entry; allow that, or name no attributes"))
            }
        }
    }

    /// Asks over a new connection about a name that nobody has, and says what was reached.
    async fn reach(&self) -> Result<String, String> {
        let name = Username::try_from(PROBE).map_err(|fault| fault.to_string())?;
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

/// Whether a directory takes this name for that of somebody who is called otherwise here.
///
/// - RFC 4518 §2: directories pass over the number of blanks between words, and over what form of a
///   letter it is, a capital one included. Their users would have as many names, and as many
///   maildrops, as they like.
fn is_another_spelling(name: &str) -> bool {
    let blanks = name.contains("  ");
    // No more than that: full folding would change "ß", and the "ς" at the end of Greek names.
    let capitals = name.to_lowercase() != name;
    blanks || capitals || stringprep::x520prep(name, false).map_or(true, |same| same != name)
}

/// How many users a directory counts for beside other stores: it does not say how many it has.
const USERS: u64 = 10_000;

/// Begins the name of an entry that does not exist.
const NOBODY: &str = "cn=nobody\\2c for Restante";

/// A name that nobody has, and that fills every placeholder.
const PROBE: &str = "restante-probe@example.invalid";

#[cfg(test)]
mod tests;
