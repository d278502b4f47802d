//! `[[credentials]]`: the sections of each kind of store, and the keys of each kind.

use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::bounds::{Number, Span, number, span};
use super::remote::{self, RemoteError};
use super::section::Section;
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
    /// The value of `kind`.
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

    /// Whether it can look up a user without a password.
    pub fn looks_users_up(&self) -> bool {
        match self {
            Self::File(_) | Self::Sql(_) => true,
            Self::Ldap(section) => matches!(section.way, LdapWay::Search { .. }),
            Self::Pam(_) | Self::Checkpassword(_) | Self::Oauth2(_) => false,
        }
    }

    /// The files that it names, each with its key.
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
    /// A section with only a path.
    fn from(path: &Path) -> Self {
        Self { path: path.to_owned(), rehash: false }
    }
}

/// A database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SqlSection {
    /// The address, without a password.
    pub url: String,
    /// The file that holds the database password.
    pub password_file: Option<PathBuf>,
    /// CA certificates for the server, in addition to the well-known authorities.
    pub ca: Option<PathBuf>,
    /// The query; `{user}`, `{local}` and `{domain}` are bound as parameters.
    pub query: Template,
    /// The statement that records a login of a user, with the same placeholders.
    pub update_query: Option<Template>,
    /// The query for the names of all users, without placeholders.
    pub list_query: Option<String>,
    /// Limits for its queries.
    pub asking: Asking,
}

/// An LDAP directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LdapSection {
    /// The address.
    pub url: String,
    /// Whether a connection to `ldap://` is upgraded to TLS.
    pub starttls: bool,
    /// CA certificates for the server. `None`: the authorities of the system.
    pub ca: Option<PathBuf>,
    /// How the entry of a user is found.
    pub way: LdapWay,
    /// The attributes of an entry that are used.
    pub attributes: LdapAttributes,
    /// Limits for its queries.
    pub asking: Asking,
}

/// The configured names of attributes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LdapAttributes {
    /// The home directory: an absolute path.
    pub home: Option<String>,
    /// The Maildir: an absolute path or one below `~`, with or without the prefix `maildir:`.
    pub mail: Option<String>,
    /// Whether the user may use POP3: `TRUE` or `FALSE`.
    pub pop3: Option<String>,
    /// How many sessions the user may have: a number from 1.
    pub sessions: Option<String>,
    /// The networks that the user may log in from, one or several in a value.
    pub allow_nets: Option<String>,
    /// The app passwords, each as `NAME:{SSHA256}…`.
    pub app_password: Option<String>,
}

/// How the entry of a user is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LdapWay {
    /// By its DN.
    Direct {
        /// The DN, with `{user}`, `{local}` and `{domain}`.
        dn: Template,
    },
    /// By a search.
    Search {
        /// The bind for the search. `None`: it is anonymous.
        bind: Option<LdapBind>,
        /// The entry to search below.
        base: String,
        /// The search filter, with `{user}`, `{local}` and `{domain}`.
        filter: Template,
    },
}

/// The bind for a search.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LdapBind {
    /// The DN to bind as.
    pub dn: String,
    /// The file that holds its password.
    pub password_file: PathBuf,
}

/// PAM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PamSection {
    /// The name of the file in `/etc/pam.d`.
    pub service: String,
    /// Limits for its queries.
    pub asking: Asking,
}

/// A program that follows the checkpassword protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckpasswordSection {
    /// The program and its arguments, which are not passed through a shell.
    pub command: Vec<String>,
    /// Limits for its queries.
    pub asking: Asking,
}

/// A provider of tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Oauth2Section {
    /// What a token must contain.
    pub terms: TokenTerms,
    /// The introspection endpoint. `None`: the signature of a token is verified instead.
    pub introspection: Option<Introspection>,
    /// CA certificates for the server. `None`: the authorities of the system.
    pub ca: Option<PathBuf>,
    /// Limits for its queries.
    pub asking: Asking,
}

/// What a token must contain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenTerms {
    /// The provider, exactly as its tokens name it.
    pub issuer: String,
    /// The audience that a token must have.
    pub audience: String,
    /// The scope that a token must have.
    pub scope: Option<String>,
    /// The claim that names the user.
    pub user_claim: String,
}

/// An introspection endpoint (RFC 7662).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Introspection {
    /// The address.
    pub url: String,
    /// The client ID of this server.
    pub client_id: String,
    /// The file that holds the client secret.
    pub client_secret_file: PathBuf,
}

/// Limits for the queries of a store that is not a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asking {
    /// The time limit for an answer.
    pub deadline: Duration,
    /// The number of queries at the same time.
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
    /// Its keys, except `kind`.
    fn keys(self) -> &'static [&'static str] {
        match self {
            Self::File => &["path", "rehash"],
            Self::Sql => &[
                "url",
                "password-file",
                "ca",
                "query",
                "update-query",
                "list-query",
                "deadline",
                "at-once",
            ],
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
                "app-password-attribute",
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
    "update-query",
    "list-query",
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
    "app-password-attribute",
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

// Valid values for the messages.
const KIND: &str = "\"file\"";
const QUERY: &str = "\"SELECT password FROM users WHERE name = {user}\"";
const UPDATE_QUERY: &str = "\"UPDATE users SET last_login = now() WHERE name = {user}\"";
const LIST_QUERY: &str = "\"SELECT name FROM users\"";
const SQL_URL: &str = "\"postgres://restante@localhost/mail\"";
const LDAP_URL: &str = "\"ldaps://ldap.example.org\"";
const BASE: &str = "\"ou=people,dc=example,dc=org\"";
const FILTER: &str = "\"(&(objectClass=inetOrgPerson)(mail={user}))\"";
const DN: &str = "\"uid={local},ou=people,dc=example,dc=org\"";
const SERVICE: &str = "\"restante\"";
const COMMAND: &str = "[\"/usr/bin/checkpassword-pam\", \"-s\", \"restante\"]";
const WEB: &str = "\"https://login.example.org\"";

/// Reads the sections. `None` stands for one with a fault.
pub(super) fn credentials(root: &Section<'_>) -> Vec<Option<Credentials>> {
    let sections = root.sections("credentials");
    if root.entry("credentials").is_none() {
        root.lacks(
            "credentials",
            "is missing; write a section [[credentials]] with kind = \"file\" and path = \"users\"",
        );
    }
    sections.iter().map(store).collect()
}

fn store(section: &Section<'_>) -> Option<Credentials> {
    let kind: Kind = section.required("kind", KIND)?.choice(KIND)?;
    let mut foreign = KEYS.to_vec();
    foreign.retain(|key| *key != "kind" && !kind.keys().contains(key));
    let keys = kind.keys().join(", ");
    let why = format!("does not belong to this kind; remove it (the keys of this kind are {keys})");
    section.refuse(&foreign, &why);
    match kind {
        Kind::File => {
            let rehash = section.flag("rehash", false);
            let path = section.required_file("path", "\"users\"")?;
            Some(Credentials::File(FileSection { path, rehash }))
        }
        Kind::Sql => sql(section).map(Credentials::Sql),
        Kind::Ldap => ldap(section).map(Credentials::Ldap),
        Kind::Pam => {
            let asking = asking(section);
            let service = checked(section, "service", SERVICE, remote::pam_service)?;
            Some(Credentials::Pam(PamSection { service, asking }))
        }
        Kind::Checkpassword => checkpassword(section).map(Credentials::Checkpassword),
        Kind::Oauth2 => oauth2(section).map(Credentials::Oauth2),
    }
}

fn sql(section: &Section<'_>) -> Option<SqlSection> {
    let url = checked(section, "url", SQL_URL, remote::sql_url);
    let query = checked(section, "query", QUERY, remote::query);
    let update_query = section.entry("update-query");
    let update_query =
        update_query.and_then(|entry| entry.checked(remote::query(entry.text(UPDATE_QUERY)?)));
    let list_query = section.entry("list-query");
    let list_query =
        list_query.and_then(|entry| entry.checked(remote::list_query(entry.text(LIST_QUERY)?)));
    let password_file = section.file("password-file", "\"sql-password\"");
    let ca = section.file("ca", "\"tls/ca.pem\"");
    let asking = asking(section);
    let (url, query) = (url?, query?);
    Some(SqlSection { url, password_file, ca, query, update_query, list_query, asking })
}

fn ldap(section: &Section<'_>) -> Option<LdapSection> {
    let url = checked(section, "url", LDAP_URL, remote::ldap_url);
    let starttls = match url.as_ref().is_none_or(|url| url.starts_with("ldap://")) {
        true => section.flag("starttls", true),
        false => {
            section.refuse(&["starttls"], "is only for ldap://; remove it");
            false
        }
    };
    let ca = section.file("ca", "\"tls/ca.pem\"");
    let way = ldap_way(section);
    let attribute = |key, example: &str| {
        section.entry(key).and_then(|entry| entry.checked(remote::attribute(entry.text(example)?)))
    };
    let attributes = LdapAttributes {
        home: attribute("home-attribute", "\"homeDirectory\""),
        mail: attribute("mail-attribute", "\"mailMessageStore\""),
        pop3: attribute("pop3-attribute", "\"pop3Allowed\""),
        sessions: attribute("sessions-attribute", "\"sessionLimit\""),
        allow_nets: attribute("allow-nets-attribute", "\"allowNets\""),
        app_password: attribute("app-password-attribute", "\"appPassword\""),
    };
    let asking = asking(section);
    Some(LdapSection { url: url?, starttls, ca, way: way?, attributes, asking })
}

fn ldap_way(section: &Section<'_>) -> Option<LdapWay> {
    let Some(dn) = section.entry("dn") else {
        let below = section.required("base", BASE).and_then(|entry| entry.text(BASE));
        let filter = checked(section, "filter", FILTER, remote::ldap_filter);
        let bind = match section.entry("bind-dn") {
            Some(entry) => {
                let dn = entry.text("\"cn=restante,dc=example,dc=org\"");
                let password = section.required_file("bind-password-file", "\"ldap-password\"");
                Some(LdapBind { dn: dn?.to_owned(), password_file: password? })
            }
            None => {
                let why = "has no effect without bind-dn; write that, or remove this";
                section.refuse(&["bind-password-file"], why);
                None
            }
        };
        return Some(LdapWay::Search { bind, base: below?.to_owned(), filter: filter? });
    };
    let why = "is for a search, but dn replaces the search; remove one of them";
    let of_a_search = ["base", "filter", "bind-dn", "bind-password-file", "app-password-attribute"];
    section.refuse(&of_a_search, why);
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

fn oauth2(section: &Section<'_>) -> Option<Oauth2Section> {
    let issuer = checked(section, "issuer", WEB, remote::web_address);
    let audience = section.required("audience", SERVICE).and_then(|entry| entry.text(SERVICE));
    let scope = section.entry("scope").and_then(|entry| entry.text("\"mail\""));
    section.default("user-claim", USER_CLAIM);
    let user_claim = section.entry("user-claim").map_or(Some(USER_CLAIM), |e| e.text("\"email\""));
    let introspection = introspection(section);
    let ca = section.file("ca", "\"tls/ca.pem\"");
    let asking = asking(section);
    let terms = TokenTerms {
        issuer: issuer?,
        audience: audience?.to_owned(),
        scope: scope.map(str::to_owned),
        user_claim: user_claim?.to_owned(),
    };
    Some(Oauth2Section { terms, introspection: introspection?, ca, asking })
}

/// The section's introspection endpoint, if it has one. The outer `None`: it has a fault.
fn introspection(section: &Section<'_>) -> Option<Option<Introspection>> {
    if section.entry("introspection").is_none() {
        let why = "has no effect without introspection; write that, or remove this";
        section.refuse(&["client-id", "client-secret-file"], why);
        return Some(None);
    }
    let url = checked(section, "introspection", WEB, remote::web_address);
    let client_id = section.required("client-id", SERVICE).and_then(|entry| entry.text(SERVICE));
    let secret = section.required_file("client-secret-file", "\"oauth2-secret\"");
    let client_id = client_id?.to_owned();
    Some(Some(Introspection { url: url?, client_id, client_secret_file: secret? }))
}

fn asking(section: &Section<'_>) -> Asking {
    Asking { deadline: section.duration(&DEADLINE), at_once: section.number(&AT_ONCE) }
}

/// A required text that is checked.
fn checked<T>(
    section: &Section<'_>,
    key: &'static str,
    example: &str,
    check: impl Fn(&str) -> Result<T, RemoteError>,
) -> Option<T> {
    let entry = section.required(key, example)?;
    entry.checked(check(entry.text(example)?))
}
