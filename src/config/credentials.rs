//! `[[credentials]]`: what each kind of store is told, and which keys belong to which kind.

use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::build::{file, number, optional_file, span};
use super::read::{Number, Section, Span};
use super::remote;
use crate::protocol::Template;

/// `[[credentials]]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credentials {
    /// `kind = "file"`
    File(FileSection),
    /// `kind = "sql"`
    Sql(SqlSection),
    /// `kind = "ldap"`
    Ldap(LdapSection),
    /// `kind = "pam"`
    Pam(PamSection),
    /// `kind = "checkpassword"`
    Checkpassword(CheckpasswordSection),
    /// `kind = "oauth2"`
    Oauth2(Oauth2Section),
}

impl Credentials {
    /// What `kind` says.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::File(_) => "file",
            Self::Sql(_) => "sql",
            Self::Ldap(_) => "ldap",
            Self::Pam(_) => "pam",
            Self::Checkpassword(_) => "checkpassword",
            Self::Oauth2(_) => "oauth2",
        }
    }

    /// Whether it can say without a password whether it has a user.
    pub fn looks_users_up(&self) -> bool {
        match self {
            Self::File(_) | Self::Sql(_) => true,
            Self::Ldap(section) => matches!(section.way, LdapWay::Search { .. }),
            Self::Pam(_) | Self::Checkpassword(_) | Self::Oauth2(_) => false,
        }
    }

    /// The files that it names, by their keys.
    pub fn files(&self) -> Vec<(&'static str, &Path)> {
        let named = match self {
            Self::File(section) => vec![("path", Some(&section.path))],
            Self::Sql(section) => {
                vec![("password-file", section.password_file.as_ref()), ("ca", section.ca.as_ref())]
            }
            Self::Ldap(section) => {
                let password_file = match &section.way {
                    LdapWay::Search { bind, .. } => bind.as_ref().map(|bind| &bind.password_file),
                    LdapWay::Direct { .. } => None,
                };
                vec![("bind-password-file", password_file), ("ca", section.ca.as_ref())]
            }
            Self::Pam(_) | Self::Checkpassword(_) => Vec::new(),
            Self::Oauth2(section) => {
                let introspection = section.introspection.as_ref();
                let secret = introspection.map(|asked| &asked.client_secret_file);
                vec![("client-secret-file", secret), ("ca", section.ca.as_ref())]
            }
        };
        named.into_iter().filter_map(|(key, path)| Some((key, path?.as_path()))).collect()
    }
}

/// A credential file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileSection {
    /// The file.
    pub path: PathBuf,
    /// Weaker hashes are replaced by argon2id when their users log in.
    pub rehash: bool,
}

impl From<&Path> for FileSection {
    /// A file about which no more than its path is written.
    fn from(path: &Path) -> Self {
        Self { path: path.to_owned(), rehash: false }
    }
}

/// A database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SqlSection {
    /// Where it is, without a password.
    pub url: String,
    /// The file that holds the password for it.
    pub password_file: Option<PathBuf>,
    /// Certificates that its own may come from, besides the well-known ones.
    pub ca: Option<PathBuf>,
    /// The question, with `{user}`, `{local}` and `{domain}` where parameters are bound.
    pub query: Template,
    /// How it is asked.
    pub asking: Asking,
}

/// A directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LdapSection {
    /// Where it is.
    pub url: String,
    /// Whether TLS is begun within a connection of `ldap://`.
    pub starttls: bool,
    /// Certificates that its own has to come from; those of the system when there are none here.
    pub ca: Option<PathBuf>,
    /// How the entry of a user is found.
    pub way: LdapWay,
    /// The attributes of an entry that count.
    pub attributes: LdapAttributes,
    /// How it is asked.
    pub asking: Asking,
}

/// The names of the attributes of an entry that count, each if it is named.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LdapAttributes {
    /// The home directory: an absolute path.
    pub home: Option<String>,
    /// The Maildir: an absolute path or one below `~`, `maildir:` before it or not.
    pub mail: Option<String>,
    /// Whether the user may use POP3: `TRUE` or `FALSE`.
    pub pop3: Option<String>,
    /// How many sessions the user may have: a number from 1.
    pub sessions: Option<String>,
    /// Where the user may log in from: networks, one or several a value.
    pub allow_nets: Option<String>,
}

/// How the entry of a user is found in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LdapWay {
    /// By its name alone.
    Direct {
        /// The name, with `{user}`, `{local}` and `{domain}`.
        dn: Template,
    },
    /// By a search.
    Search {
        /// As whom; anonymously when nothing is said.
        bind: Option<LdapBind>,
        /// Below what.
        base: String,
        /// For what, with `{user}`, `{local}` and `{domain}`.
        filter: Template,
    },
}

/// As whom a directory is searched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LdapBind {
    /// The name.
    pub dn: String,
    /// The file that holds its password.
    pub password_file: PathBuf,
}

/// PAM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PamSection {
    /// The name of the file in `/etc/pam.d`.
    pub service: String,
    /// How it is asked.
    pub asking: Asking,
}

/// A program that follows the checkpassword protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckpasswordSection {
    /// The program and its arguments; no shell sees them.
    pub command: Vec<String>,
    /// How it is asked.
    pub asking: Asking,
}

/// A provider of tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Oauth2Section {
    /// What a token has to say.
    pub terms: TokenTerms,
    /// Where a token can be asked about; its signature is verified here when there is none.
    pub introspection: Option<Introspection>,
    /// Certificates that its own has to come from; those of the system when there are none here.
    pub ca: Option<PathBuf>,
    /// How it is asked.
    pub asking: Asking,
}

/// What a token has to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenTerms {
    /// The provider, exactly as its tokens name it.
    pub issuer: String,
    /// Whom a token has to be meant for.
    pub audience: String,
    /// What a token has to allow.
    pub scope: Option<String>,
    /// The claim that names the user.
    pub user_claim: String,
}

/// Where a token can be asked about (RFC 7662).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Introspection {
    /// The address.
    pub url: String,
    /// Who we are to the provider.
    pub client_id: String,
    /// The file that holds our secret.
    pub client_secret_file: PathBuf,
}

/// How a store that is elsewhere is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asking {
    /// How long an answer may take.
    pub deadline: Duration,
    /// How many questions are under way at the same time.
    pub at_once: NonZeroU32,
}

/// The kinds of stores.
#[derive(Clone, Copy, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    File,
    Sql,
    Ldap,
    Pam,
    Checkpassword,
    Oauth2,
}

impl Kind {
    /// The keys that belong to it, besides `kind`.
    fn keys(self) -> &'static [&'static str] {
        match self {
            Self::File => &["path", "rehash"],
            Self::Sql => &["url", "password-file", "ca", "query", "deadline", "at-once"],
            Self::Ldap => &[
                "url",
                "starttls",
                "ca",
                "dn",
                "bind-dn",
                "bind-password-file",
                "base",
                "filter",
                "home-attribute",
                "mail-attribute",
                "pop3-attribute",
                "sessions-attribute",
                "allow-nets-attribute",
                "deadline",
                "at-once",
            ],
            Self::Pam => &["service", "deadline", "at-once"],
            Self::Checkpassword => &["command", "deadline", "at-once"],
            Self::Oauth2 => &[
                "issuer",
                "audience",
                "scope",
                "user-claim",
                "introspection",
                "client-id",
                "client-secret-file",
                "ca",
                "deadline",
                "at-once",
            ],
        }
    }
}

/// All keys of the section, whatever the kind.
pub(super) const KEYS: &[&str] = &[
    "kind",
    "path",
    "rehash",
    "url",
    "password-file",
    "ca",
    "query",
    "starttls",
    "dn",
    "bind-dn",
    "bind-password-file",
    "base",
    "filter",
    "home-attribute",
    "mail-attribute",
    "pop3-attribute",
    "sessions-attribute",
    "allow-nets-attribute",
    "service",
    "command",
    "issuer",
    "audience",
    "scope",
    "user-claim",
    "introspection",
    "client-id",
    "client-secret-file",
    "deadline",
    "at-once",
];

const DEADLINE: Span = span("deadline", 5, 1, 60);
const AT_ONCE: Number = number("at-once", 10, 1_000);

const USER_CLAIM: &str = "email";

// Values that are always right, for the messages.
const KIND: &str = "\"file\"";
const QUERY: &str = "\"SELECT password FROM users WHERE name = {user}\"";
const SQL_URL: &str = "\"postgres://restante@localhost/mail\"";
const LDAP_URL: &str = "\"ldaps://ldap.example.org\"";
const BASE: &str = "\"ou=people,dc=example,dc=org\"";
const FILTER: &str = "\"(&(objectClass=inetOrgPerson)(mail={user}))\"";
const DN: &str = "\"uid={local},ou=people,dc=example,dc=org\"";
const SERVICE: &str = "\"restante\"";
const COMMAND: &str = "[\"/usr/bin/checkpassword-pam\", \"-s\", \"restante\"]";
const WEB: &str = "\"https://login.example.org\"";

/// Reads the sections; nothing stands for one that cannot be used.
pub(super) fn credentials(root: &Section<'_>, base: &Path) -> Vec<Option<Credentials>> {
    let sections = root.sections("credentials");
    if root.entry("credentials").is_none() {
        root.lacks(
            "credentials",
            "is missing, write a section [[credentials]] with kind = \"file\" and path = \"users\"",
        );
    }
    sections.iter().map(|section| store(section, base)).collect()
}

fn store(section: &Section<'_>, base: &Path) -> Option<Credentials> {
    let kind: Kind = section.required("kind", KIND)?.choice(KIND)?;
    let mut foreign = KEYS.to_vec();
    foreign.retain(|key| *key != "kind" && !kind.keys().contains(key));
    let keys = kind.keys().join(", ");
    refuse(
        section,
        &foreign,
        &format!("is not a key of this kind, remove it; its keys are {keys}"),
    );
    match kind {
        Kind::File => {
            let rehash = section.flag("rehash", false);
            let path = file(section, "path", "\"users\"", base)?;
            Some(Credentials::File(FileSection { path, rehash }))
        }
        Kind::Sql => sql(section, base).map(Credentials::Sql),
        Kind::Ldap => ldap(section, base).map(Credentials::Ldap),
        Kind::Pam => {
            let asking = asking(section);
            let service = checked(section, "service", SERVICE, remote::pam_service)?;
            Some(Credentials::Pam(PamSection { service, asking }))
        }
        Kind::Checkpassword => checkpassword(section).map(Credentials::Checkpassword),
        Kind::Oauth2 => oauth2(section, base).map(Credentials::Oauth2),
    }
}

fn sql(section: &Section<'_>, base: &Path) -> Option<SqlSection> {
    let url = checked(section, "url", SQL_URL, remote::sql_url);
    let query = checked(section, "query", QUERY, remote::query);
    let password_file = optional_file(section, "password-file", "\"sql-password\"", base);
    let ca = optional_file(section, "ca", "\"tls/ca.pem\"", base);
    let asking = asking(section);
    Some(SqlSection { url: url?, password_file, ca, query: query?, asking })
}

fn ldap(section: &Section<'_>, base: &Path) -> Option<LdapSection> {
    let url = checked(section, "url", LDAP_URL, remote::ldap_url);
    let starttls = match url.as_ref().is_none_or(|url| url.starts_with("ldap://")) {
        true => section.flag("starttls", true),
        false => {
            refuse(section, &["starttls"], "is for ldap:// only, remove it");
            false
        }
    };
    let ca = optional_file(section, "ca", "\"tls/ca.pem\"", base);
    let way = ldap_way(section, base);
    let attribute = |key, example: &str| {
        section.entry(key).and_then(|entry| entry.checked(remote::attribute(entry.text(example)?)))
    };
    let attributes = LdapAttributes {
        home: attribute("home-attribute", "\"homeDirectory\""),
        mail: attribute("mail-attribute", "\"mailMessageStore\""),
        pop3: attribute("pop3-attribute", "\"pop3Allowed\""),
        sessions: attribute("sessions-attribute", "\"sessionLimit\""),
        allow_nets: attribute("allow-nets-attribute", "\"allowNets\""),
    };
    let asking = asking(section);
    Some(LdapSection { url: url?, starttls, ca, way: way?, attributes, asking })
}

fn ldap_way(section: &Section<'_>, base: &Path) -> Option<LdapWay> {
    let Some(dn) = section.entry("dn") else {
        let below = section.required("base", BASE).and_then(|entry| entry.text(BASE));
        let filter = checked(section, "filter", FILTER, remote::ldap_filter);
        let bind = match section.entry("bind-dn") {
            Some(entry) => {
                let dn = entry.text("\"cn=restante,dc=example,dc=org\"");
                let password = file(section, "bind-password-file", "\"ldap-password\"", base);
                Some(LdapBind { dn: dn?.to_owned(), password_file: password? })
            }
            None => {
                let why = "is of no use without bind-dn, write that or remove this";
                refuse(section, &["bind-password-file"], why);
                None
            }
        };
        return Some(LdapWay::Search { bind, base: below?.to_owned(), filter: filter? });
    };
    let why = "is for a search, which is not made when there is dn: remove one of them";
    refuse(section, &["base", "filter", "bind-dn", "bind-password-file"], why);
    let dn = dn.checked(remote::ldap_dn(dn.text(DN)?))?;
    Some(LdapWay::Direct { dn })
}

fn checkpassword(section: &Section<'_>) -> Option<CheckpasswordSection> {
    let asking = asking(section);
    let entry = section.required("command", COMMAND)?;
    let words: Vec<_> =
        entry.texts(COMMAND)?.into_iter().map(|(_, word)| word.to_owned()).collect();
    let command = entry.checked(remote::command(words))?;
    Some(CheckpasswordSection { command, asking })
}

fn oauth2(section: &Section<'_>, base: &Path) -> Option<Oauth2Section> {
    let issuer = checked(section, "issuer", WEB, remote::web_address);
    let audience = section.required("audience", SERVICE).and_then(|entry| entry.text(SERVICE));
    let scope = section.entry("scope").and_then(|entry| entry.text("\"mail\""));
    section.default("user-claim", USER_CLAIM);
    let user_claim = section.entry("user-claim").map_or(Some(USER_CLAIM), |e| e.text("\"email\""));
    let introspection = introspection(section, base);
    let ca = optional_file(section, "ca", "\"tls/ca.pem\"", base);
    let asking = asking(section);
    let terms = TokenTerms {
        issuer: issuer?,
        audience: audience?.to_owned(),
        scope: scope.map(str::to_owned),
        user_claim: user_claim?.to_owned(),
    };
    Some(Oauth2Section { terms, introspection: introspection?, ca, asking })
}

/// Nothing when there is to be none; `None` when there is a fault in it.
fn introspection(section: &Section<'_>, base: &Path) -> Option<Option<Introspection>> {
    if section.entry("introspection").is_none() {
        let why = "is of no use without introspection, write that or remove this";
        refuse(section, &["client-id", "client-secret-file"], why);
        return Some(None);
    }
    let url = checked(section, "introspection", WEB, remote::web_address);
    let client_id = section.required("client-id", SERVICE).and_then(|entry| entry.text(SERVICE));
    let secret = file(section, "client-secret-file", "\"oauth2-secret\"", base);
    let client_id = client_id?.to_owned();
    Some(Some(Introspection { url: url?, client_id, client_secret_file: secret? }))
}

fn asking(section: &Section<'_>) -> Asking {
    Asking { deadline: section.duration(&DEADLINE), at_once: section.number(&AT_ONCE) }
}

/// Refuses the keys that are there; one that is misspelt has been refused already.
fn refuse(section: &Section<'_>, keys: &[&'static str], why: &str) {
    for entry in keys.iter().filter_map(|key| section.entry_as_written(key)) {
        entry.refuse(why);
    }
}

/// Text that must be there and stand a check.
fn checked<T>(
    section: &Section<'_>,
    key: &'static str,
    example: &str,
    check: impl Fn(&str) -> Result<T, String>,
) -> Option<T> {
    let entry = section.required(key, example)?;
    entry.checked(check(entry.text(example)?))
}
