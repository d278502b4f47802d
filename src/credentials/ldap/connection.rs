//! Connections to a directory: how they are opened, bound and reused, and what its answers mean.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ldap3::{Ldap, LdapConnAsync, LdapConnSettings, LdapError, LdapResult};
use ldap3::{Scope, SearchEntry, SearchOptions, StdStream};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::rustls::ClientConfig;

use super::error::{Error, Problem, code};
use super::{template, tls};
use crate::config::{LdapBind, LdapSection, LdapWay};
use crate::credentials::{OpenError, secret_file};
use crate::protocol::Secret;

/// A directory, and the idle connections to it, which are bound as the reader.
#[derive(Debug)]
pub(super) struct Directory {
    pub(super) url: String,
    starttls: bool,
    tls: Option<Arc<ClientConfig>>,
    reader: Option<Reader>,
    idle: Mutex<Vec<Idle>>,
    most_idle: usize,
}

/// The entry as which the directory is searched.
#[derive(Debug)]
struct Reader {
    dn: String,
    password: Secret<String>,
}

impl Reader {
    /// RFC 4513 §5.1.2: a bind without a password would be anonymous; the file has one.
    fn of(bind: &LdapBind) -> Result<Self, OpenError> {
        let password =
            secret_file::read(&bind.password_file).map_err(OpenError::at("bind-password-file"))?;
        Ok(Self { dn: bind.dn.clone(), password })
    }
}

#[derive(Debug)]
struct Idle {
    connection: Ldap,
    since: Instant,
}

/// A search request.
pub(super) struct Question<'a> {
    pub(super) base: &'a str,
    pub(super) scope: Scope,
    pub(super) filter: &'a str,
    pub(super) attributes: Vec<&'a str>,
}

/// The entries that a search found.
pub(super) enum Found {
    None,
    One(SearchEntry),
    Several,
}

impl Directory {
    /// Opens a directory without connecting to it.
    pub(super) fn open(section: &LdapSection) -> Result<Self, OpenError> {
        let LdapSection { url, starttls, ca, way, asking, .. } = section.clone();
        let encrypted = starttls || url.starts_with("ldaps://");
        let tls = if encrypted { Some(tls::client(ca.as_deref())?) } else { None };
        let reader = match way {
            LdapWay::Search { bind, filter, .. } => {
                template::check_filter(&filter).map_err(OpenError::at("filter"))?;
                bind.as_ref().map(Reader::of).transpose()?
            }
            LdapWay::Direct { .. } => None,
        };
        let most_idle = usize::try_from(asking.at_once.get()).unwrap_or(usize::MAX);
        Ok(Self { url, starttls, tls, reader, idle: Mutex::default(), most_idle })
    }

    /// Searches as the reader, over an idle connection or over a new one.
    pub(super) async fn search(&self, question: &Question<'_>) -> Result<Found, Error> {
        // A failure on an idle connection means little: the server may have been restarted since.
        if let Some(mut connection) = self.take_idle()
            && let Ok(answer) = entries(&mut connection, question).await
        {
            return self.conclude(answer, connection, question);
        }
        self.search_anew(question).await
    }

    /// Searches as the reader, over a new connection.
    pub(super) async fn search_anew(&self, question: &Question<'_>) -> Result<Found, Error> {
        let mut connection = self.connect().await?;
        if let Some(reader) = &self.reader {
            self.bind_reader(&mut connection, reader).await?;
        }
        let answer = entries(&mut connection, question).await.map_err(|error| self.error(error))?;
        self.conclude(answer, connection, question)
    }

    /// Searches over a connection that a user has bound.
    pub(super) async fn search_as_user(
        &self,
        connection: &mut Ldap,
        question: &Question<'_>,
    ) -> Result<Found, Error> {
        let answer = entries(connection, question).await.map_err(|error| self.error(error))?;
        self.found(answer, question)
    }

    /// Tries a password for the entry `dn`, on a new connection. If the password is right, the
    /// connection is bound as that entry; `None` if it is wrong.
    pub(super) async fn bind(&self, dn: &str, password: &str) -> Result<Option<Ldap>, Error> {
        let mut connection = self.connect().await?;
        let result = self.simple_bind(&mut connection, dn, password).await?;
        match result.rc {
            code::SUCCESS => Ok(Some(connection)),
            code::NO_SUCH_OBJECT
            | code::INVALID_DN_SYNTAX
            | code::INAPPROPRIATE_AUTHENTICATION
            | code::INVALID_CREDENTIALS => Ok(None),
            _ => Err(self.error(Problem::Bind(result.into()))),
        }
    }

    /// Checks that the directory takes `dn` for the name of an entry, which need not exist.
    pub(super) async fn try_name(&self, dn: &str) -> Result<(), Error> {
        let mut connection = self.connect().await?;
        let result = self.simple_bind(&mut connection, dn, "-").await?;
        match result.rc {
            code::INVALID_DN_SYNTAX => {
                Err(Error::NotAName { dn: dn.to_owned(), url: self.url.clone() })
            }
            code::SUCCESS
            | code::NO_SUCH_OBJECT
            | code::INAPPROPRIATE_AUTHENTICATION
            | code::INVALID_CREDENTIALS => Ok(()),
            _ => Err(self.error(Problem::Bind(result.into()))),
        }
    }

    /// How the directory is reached, for `restante check`.
    pub(super) fn reached(&self) -> String {
        let how = match (&self.tls, self.starttls) {
            (None, _) => "",
            (Some(_), true) => " with StartTLS",
            (Some(_), false) => " with TLS",
        };
        match &self.reader {
            Some(reader) => format!("{}{how} as {:?}", self.url, reader.dn),
            None => format!("{}{how}", self.url),
        }
    }

    async fn connect(&self) -> Result<Ldap, Error> {
        let mut settings = LdapConnSettings::new().set_starttls(self.starttls);
        if let Some(tls) = &self.tls {
            settings = settings.set_config(Arc::clone(tls));
        }
        if let Some(address) = tcp_address(&self.url) {
            let stream = open(&address).await.map_err(|error| self.error(error))?;
            settings = settings.set_std_stream(StdStream::Tcp(stream));
        }
        let opened = LdapConnAsync::with_settings(settings, &self.url).await;
        let (connection, handle) = opened.map_err(|error| self.error(Problem::opening(error)))?;
        // Ends with the last handle.
        tokio::spawn(connection.drive());
        Ok(handle)
    }

    async fn bind_reader(&self, connection: &mut Ldap, reader: &Reader) -> Result<(), Error> {
        let Reader { dn, password } = reader;
        let result = self.simple_bind(connection, dn, password.expose()).await?;
        match result.rc {
            code::SUCCESS => Ok(()),
            _ => Err(self.error(Problem::BindDn { dn: dn.clone(), answer: result.into() })),
        }
    }

    async fn simple_bind(
        &self,
        connection: &mut Ldap,
        dn: &str,
        password: &str,
    ) -> Result<LdapResult, Error> {
        connection.simple_bind(dn, password).await.map_err(|error| self.error(error))
    }

    /// Reads the answer to a search of the reader, and keeps the connection if it is still good.
    fn conclude(
        &self,
        answer: (Vec<SearchEntry>, LdapResult),
        connection: Ldap,
        question: &Question<'_>,
    ) -> Result<Found, Error> {
        let found = self.found(answer, question)?;
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < self.most_idle {
            idle.push(Idle { connection, since: Instant::now() });
        }
        Ok(found)
    }

    fn found(
        &self,
        (entries, result): (Vec<SearchEntry>, LdapResult),
        question: &Question<'_>,
    ) -> Result<Found, Error> {
        let mut entries = entries.into_iter();
        match (result.rc, entries.next(), entries.next()) {
            (code::SUCCESS | code::SIZE_LIMIT_EXCEEDED, Some(_), Some(_)) => Ok(Found::Several),
            (code::SUCCESS, Some(entry), None) => Ok(Found::One(entry)),
            (code::SUCCESS, None, _) => Ok(Found::None),
            (code::NO_SUCH_OBJECT, ..) => Err(self.error(Problem::NoBase(question.base.into()))),
            _ => Err(self.error(Problem::Search(result.into()))),
        }
    }

    /// The connection that was used last, as it is the least likely to have ended.
    fn take_idle(&self) -> Option<Ldap> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain_mut(|idle| idle.since.elapsed() < IDLE_TIME && !idle.connection.is_closed());
        idle.pop().map(|idle| idle.connection)
    }

    fn error(&self, problem: impl Into<Problem>) -> Error {
        Error::Directory { url: self.url.clone(), problem: Box::new(problem.into()) }
    }
}

/// Opens a connection without Nagle's algorithm, which ldap3 leaves on: a login would take 40 ms more
/// where the bind waits for the acknowledgement of the end of the TLS handshake.
async fn open(address: &str) -> io::Result<std::net::TcpStream> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    stream.into_std()
}

/// Host and port of a URL, unless it names a Unix socket.
fn tcp_address(url: &str) -> Option<String> {
    let (rest, port) = match url.split_once("://")? {
        ("ldap", rest) => (rest, "389"),
        ("ldaps", rest) => (rest, "636"),
        _ => return None,
    };
    let authority = rest.split('/').next().unwrap_or_default();
    let numbered = authority.rsplit_once(':').is_some_and(|(_, port)| !port.ends_with(']'));
    Some(match authority {
        "" => format!("localhost:{port}"),
        authority if numbered => authority.to_owned(),
        authority => format!("{authority}:{port}"),
    })
}

/// Searches; returns the first two entries and the result.
///
/// - References to other servers are ignored: some directories add them to every answer.
async fn entries(
    connection: &mut Ldap,
    question: &Question<'_>,
) -> Result<(Vec<SearchEntry>, LdapResult), LdapError> {
    // RFC 4511 §4.5.1.8: an empty list would ask for all attributes.
    let attributes = match question.attributes.as_slice() {
        [] => vec!["1.1"],
        named => named.to_vec(),
    };
    let mut stream = connection
        .with_search_options(SearchOptions::new().sizelimit(MOST_ENTRIES))
        .streaming_search(question.base, question.scope, question.filter, attributes)
        .await?;
    let mut entries = Vec::new();
    while let Some(answer) = stream.next().await? {
        let is_entry = !answer.is_ref() && !answer.is_intermediate();
        if is_entry && entries.len() < 2 {
            entries.push(SearchEntry::construct(answer));
        }
    }
    Ok((entries, stream.finish().await))
}

/// How long a connection may be idle: routers drop those that are idle for long.
const IDLE_TIME: Duration = Duration::from_secs(60);

/// Two entries show that a filter is ambiguous.
const MOST_ENTRIES: i32 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_and_ports() {
        for (url, address) in [
            ("ldap://localhost", Some("localhost:389")),
            ("ldaps://ldap.example.org/", Some("ldap.example.org:636")),
            ("ldap://127.0.0.1:1389", Some("127.0.0.1:1389")),
            ("ldap://[::1]", Some("[::1]:389")),
            ("ldaps://[::1]:1636/", Some("[::1]:1636")),
            ("ldap:///", Some("localhost:389")),
            ("ldapi://%2frun%2fldapi", None),
        ] {
            assert_eq!(tcp_address(url).as_deref(), address, "{url}");
        }
    }
}
