//! Connections to a directory: how one is opened, whose it is, and what its answers mean.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use std::{fmt, io};

use ldap3::{Ldap, LdapConnAsync, LdapConnSettings, LdapError, LdapResult};
use ldap3::{Scope, SearchEntry, SearchOptions, StdStream};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::rustls::{self, ClientConfig};

use crate::config::LdapBind;
use crate::credentials::{OpenError, secret_file};
use crate::protocol::Secret;

/// A directory, and the connections to it that are kept for searches.
pub(super) struct Directory {
    url: String,
    starttls: bool,
    tls: Option<Arc<ClientConfig>>,
    reader: Option<Reader>,
    kept: Mutex<Vec<Kept>>,
    most_kept: usize,
}

/// As whom a directory is searched.
#[derive(Debug)]
pub(super) struct Reader {
    dn: String,
    password: Secret<String>,
}

impl Reader {
    /// RFC 4513 §5.1.2: a bind without a password would be anonymous; the file has one.
    pub(super) fn of(bind: &LdapBind) -> Result<Self, OpenError> {
        let password =
            secret_file::read(&bind.password_file).map_err(OpenError::at("bind-password-file"))?;
        Ok(Self { dn: bind.dn.clone(), password })
    }
}

/// A connection that is nobody's at the moment, bound as the reader.
struct Kept {
    connection: Ldap,
    since: Instant,
}

/// What is searched for.
pub(super) struct Question<'a> {
    pub(super) base: &'a str,
    pub(super) scope: Scope,
    pub(super) filter: &'a str,
    pub(super) attributes: Vec<&'a str>,
}

/// What a search found.
pub(super) enum Found {
    Nothing,
    One(SearchEntry),
    Several,
}

/// What became of a bind.
pub(super) enum Bound {
    /// The connection is now the user's.
    Right(Ldap),
    Wrong,
}

impl Directory {
    pub(super) fn new(
        url: String,
        starttls: bool,
        tls: Option<Arc<ClientConfig>>,
        reader: Option<Reader>,
        most_kept: usize,
    ) -> Self {
        Self { url, starttls, tls, reader, kept: Mutex::default(), most_kept }
    }

    /// Asks as the reader, over a connection that is kept or over a new one.
    pub(super) async fn search(&self, question: &Question<'_>) -> Result<Found, String> {
        // The server may have been started anew since: a connection that has ended says nothing.
        if let Some(mut kept) = self.take()
            && let Ok(answer) = entries(&mut kept, question).await
        {
            return self.conclude(answer, kept, question);
        }
        self.search_anew(question).await
    }

    /// Asks as the reader, over a new connection.
    pub(super) async fn search_anew(&self, question: &Question<'_>) -> Result<Found, String> {
        let mut fresh = self.connect().await?;
        if let Some(reader) = &self.reader {
            self.introduce(&mut fresh, reader).await?;
        }
        let answer = entries(&mut fresh, question).await.map_err(|error| self.ended(&error))?;
        self.conclude(answer, fresh, question)
    }

    /// Asks over a connection, whosever it is.
    pub(super) async fn ask(
        &self,
        connection: &mut Ldap,
        question: &Question<'_>,
    ) -> Result<Found, String> {
        let answer = entries(connection, question).await.map_err(|error| self.ended(&error))?;
        self.found(answer, question)
    }

    /// Tries a password for the entry `dn`, on a connection of its own.
    pub(super) async fn bind(&self, dn: &str, password: &str) -> Result<Bound, String> {
        let mut connection = self.connect().await?;
        let said = connection.simple_bind(dn, password).await;
        let result = said.map_err(|error| self.ended(&error))?;
        match result.rc {
            code::SUCCESS => Ok(Bound::Right(connection)),
            code::NO_SUCH_OBJECT
            | code::INVALID_DN_SYNTAX
            | code::INAPPROPRIATE_AUTHENTICATION
            | code::INVALID_CREDENTIALS => Ok(Bound::Wrong),
            _ => Err(self.trouble("a bind", &result)),
        }
    }

    /// Whether `dn`, of nobody, is the name of an entry as far as the directory is concerned.
    pub(super) async fn try_name(&self, dn: &str) -> Result<(), String> {
        let mut connection = self.connect().await?;
        let said = connection.simple_bind(dn, "-").await;
        let result = said.map_err(|error| self.ended(&error))?;
        match result.rc {
            code::INVALID_DN_SYNTAX => {
                Err(format!("{dn:?} is not the name of an entry for {self}; correct dn"))
            }
            code::SUCCESS
            | code::NO_SUCH_OBJECT
            | code::INAPPROPRIATE_AUTHENTICATION
            | code::INVALID_CREDENTIALS => Ok(()),
            _ => Err(self.trouble("a bind", &result)),
        }
    }

    /// What has been reached, for `restante check`.
    pub(super) fn reached(&self) -> String {
        let how = match (&self.tls, self.starttls) {
            (None, _) => "",
            (Some(_), true) => " with StartTLS",
            (Some(_), false) => " with TLS",
        };
        match &self.reader {
            Some(reader) => format!("{self}{how} as {:?}", reader.dn),
            None => format!("{self}{how}"),
        }
    }

    async fn connect(&self) -> Result<Ldap, String> {
        let mut settings = LdapConnSettings::new().set_starttls(self.starttls);
        if let Some(tls) = &self.tls {
            settings = settings.set_config(Arc::clone(tls));
        }
        if let Some(address) = tcp_address(&self.url) {
            let stream = open(&address).await;
            let stream = stream.map_err(|error| format!("{self} cannot be reached: {error}"))?;
            settings = settings.set_std_stream(StdStream::Tcp(stream));
        }
        let opened = LdapConnAsync::with_settings(settings, &self.url).await;
        let (connection, handle) = opened.map_err(|error| self.unreachable(&error))?;
        // Ends with the last handle.
        tokio::spawn(connection.drive());
        Ok(handle)
    }

    /// Makes the connection the reader's.
    async fn introduce(&self, connection: &mut Ldap, reader: &Reader) -> Result<(), String> {
        let said = connection.simple_bind(&reader.dn, reader.password.expose()).await;
        let result = said.map_err(|error| self.ended(&error))?;
        if result.rc == code::SUCCESS {
            return Ok(());
        }
        Err(format!(
            "{self} does not take the password of bind-dn {:?}: {}; correct bind-dn or \
             bind-password-file",
            reader.dn,
            shown(&result)
        ))
    }

    /// Says what was found and keeps the connection, if it is still good.
    fn conclude(
        &self,
        answer: (Vec<SearchEntry>, LdapResult),
        connection: Ldap,
        question: &Question<'_>,
    ) -> Result<Found, String> {
        let found = self.found(answer, question)?;
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < self.most_kept {
            kept.push(Kept { connection, since: Instant::now() });
        }
        Ok(found)
    }

    fn found(
        &self,
        (entries, result): (Vec<SearchEntry>, LdapResult),
        question: &Question<'_>,
    ) -> Result<Found, String> {
        let mut entries = entries.into_iter();
        match (result.rc, entries.next(), entries.next()) {
            (code::SUCCESS | code::SIZE_LIMIT_EXCEEDED, Some(_), Some(_)) => Ok(Found::Several),
            (code::SUCCESS, Some(entry), None) => Ok(Found::One(entry)),
            (code::SUCCESS, None, _) => Ok(Found::Nothing),
            (code::NO_SUCH_OBJECT, ..) => Err(format!(
                "{self} has no entry {:?}, or does not show it: correct base, or allow it to be \
                 read",
                question.base
            )),
            _ => Err(self.trouble("a search", &result)),
        }
    }

    /// The connection that was used last, as it is the least likely to have ended.
    fn take(&self) -> Option<Ldap> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain_mut(|kept| kept.since.elapsed() < KEPT && !kept.connection.is_closed());
        kept.pop().map(|kept| kept.connection)
    }

    fn unreachable(&self, error: &LdapError) -> String {
        if let LdapError::LdapResult { result } = error {
            format!(
                "{self} refuses StartTLS: {}; let it have a certificate, or write starttls = \
                 false where nobody can listen",
                shown(result)
            )
        } else if let Some(certificate) = untrusted(error) {
            format!("{self} is not who it should be: {certificate}; correct url, or ca")
        } else if let LdapError::Io { source } = error {
            format!("{self} cannot be reached: {source}")
        } else {
            format!("{self} cannot be reached: {error}")
        }
    }

    fn ended(&self, error: &LdapError) -> String {
        format!("{self} ended the connection without an answer: {error}")
    }

    fn trouble(&self, what: &str, result: &LdapResult) -> String {
        let said = format!("{self} answers {what} with {}", shown(result));
        match result.rc {
            code::REFERRAL => {
                format!(
                    "{said}, which is not followed; name the server that has the entries in url"
                )
            }
            code::STRONGER_AUTH_REQUIRED | code::CONFIDENTIALITY_REQUIRED => {
                format!("{said}; use ldaps:// or starttls = true")
            }
            _ => said,
        }
    }
}

impl fmt::Display for Directory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url)
    }
}

impl fmt::Debug for Directory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Directory")
            .field("url", &self.url)
            .field("starttls", &self.starttls)
            .field("reader", &self.reader)
            .finish_non_exhaustive()
    }
}

/// A connection whose messages leave at once, in place of one that ldap3 makes: where the last of
/// TLS and a bind wait for one another's acknowledgement, a login takes 40 ms more.
async fn open(address: &str) -> io::Result<std::net::TcpStream> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    stream.into_std()
}

/// Host and port of an address that is not a socket of this machine.
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

/// The first two entries, as a third says nothing more, and how the search ended.
///
/// - References to other servers are passed over: some directories add them to every answer.
async fn entries(
    connection: &mut Ldap,
    question: &Question<'_>,
) -> Result<(Vec<SearchEntry>, LdapResult), LdapError> {
    // RFC 4511 §4.5.1.8: no attributes at all.
    let attributes = match question.attributes.as_slice() {
        [] => vec!["1.1"],
        named => named.to_vec(),
    };
    let mut stream = connection
        .with_search_options(SearchOptions::new().sizelimit(ENOUGH))
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

/// What is wrong with the certificate, if that is what is wrong.
fn untrusted(error: &LdapError) -> Option<&rustls::Error> {
    let LdapError::Io { source } = error else { return None };
    let error = source.get_ref()?.downcast_ref::<rustls::Error>()?;
    matches!(error, rustls::Error::InvalidCertificate(_)).then_some(error)
}

/// What a server said, in the words of RFC 4511 §4.1.9 and its own, escaped and not at length.
fn shown(result: &LdapResult) -> String {
    let known = code::NAMES.iter().find(|(code, _)| *code == result.rc);
    let code = known.map_or_else(|| result.rc.to_string(), |(_, name)| (*name).to_owned());
    match result.text.trim() {
        "" => code,
        text => format!("{code} ({})", text.chars().take(200).collect::<String>().escape_debug()),
    }
}

/// How long a connection may lie idle: routers forget those that do.
const KEPT: Duration = Duration::from_secs(60);

/// One entry is wanted; two are one too many.
const ENOUGH: i32 = 2;

/// RFC 4511 §4.1.9: how an operation ends.
mod code {
    pub(super) const SUCCESS: u32 = 0;
    pub(super) const SIZE_LIMIT_EXCEEDED: u32 = 4;
    pub(super) const STRONGER_AUTH_REQUIRED: u32 = 8;
    pub(super) const REFERRAL: u32 = 10;
    pub(super) const CONFIDENTIALITY_REQUIRED: u32 = 13;
    pub(super) const NO_SUCH_OBJECT: u32 = 32;
    pub(super) const INVALID_DN_SYNTAX: u32 = 34;
    pub(super) const INAPPROPRIATE_AUTHENTICATION: u32 = 48;
    pub(super) const INVALID_CREDENTIALS: u32 = 49;

    /// Those that are likely to be seen.
    pub(super) const NAMES: [(u32, &str); 19] = [
        (1, "operationsError"),
        (2, "protocolError"),
        (3, "timeLimitExceeded"),
        (SIZE_LIMIT_EXCEEDED, "sizeLimitExceeded"),
        (7, "authMethodNotSupported"),
        (STRONGER_AUTH_REQUIRED, "strongerAuthRequired"),
        (REFERRAL, "referral"),
        (11, "adminLimitExceeded"),
        (CONFIDENTIALITY_REQUIRED, "confidentialityRequired"),
        (19, "constraintViolation"),
        (NO_SUCH_OBJECT, "noSuchObject"),
        (INVALID_DN_SYNTAX, "invalidDNSyntax"),
        (INAPPROPRIATE_AUTHENTICATION, "inappropriateAuthentication"),
        (INVALID_CREDENTIALS, "invalidCredentials"),
        (50, "insufficientAccessRights"),
        (51, "busy"),
        (52, "unavailable"),
        (53, "unwillingToPerform"),
        (80, "other"),
    ];
}

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

    #[test]
    fn what_a_server_says_is_shown_escaped_and_not_at_length() {
        let result = |rc, text: String| LdapResult {
            rc,
            matched: String::new(),
            text,
            refs: Vec::new(),
            ctrls: Vec::new(),
        };
        assert_eq!(shown(&result(49, String::new())), "invalidCredentials");
        assert_eq!(shown(&result(53, "a\nb\u{1b}".into())), r"unwillingToPerform (a\nb\u{1b})");
        assert_eq!(shown(&result(118, "x".repeat(1000))).len(), "118 ()".len() + 200);
    }
}
