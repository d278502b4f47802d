//! Why a directory gave no answer that can be used, and what an administrator can do about it.

use std::{fmt, io};

use ldap3::{LdapError, LdapResult};
use tokio_rustls::rustls;

use super::entry::AttributeError;
use crate::protocol::NameError;

/// Why it is not known whether a user exists, or whether a password is right.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("{url} {problem}")]
    Directory { url: String, problem: Box<Problem> },
    #[error("{dn:?} is not the name of an entry for {url}; correct dn")]
    NotAName { dn: String, url: String },
    #[error("several entries below {base:?} match the filter {filter:?}; make it find one")]
    Ambiguous { base: String, filter: String },
    #[error("{0:?} may not read its own entry; allow that, or name no attributes")]
    OwnEntryHidden(String),
    #[error(transparent)]
    Attribute(#[from] AttributeError),
    #[error("only the directory can check this password")]
    NotAtStore,
    #[error("the name of the probe {0}")]
    ProbeName(#[from] NameError),
}

/// What is wrong with a directory, or with what it answers.
#[derive(Debug, thiserror::Error)]
pub(super) enum Problem {
    #[error("cannot be reached: {0}")]
    Unreachable(#[from] io::Error),
    #[error(
        "refuses StartTLS: {0}; give it a certificate, or write starttls = false on a trusted network"
    )]
    StartTls(Answer),
    #[error("is not who it should be: {0}; correct url, or ca")]
    Untrusted(rustls::Error),
    #[error("ended the connection without an answer: {0}")]
    Ended(#[from] LdapError),
    #[error(
        "does not take the password of bind-dn {dn:?}: {answer}; correct bind-dn or \
         bind-password-file"
    )]
    BindDn { dn: String, answer: Answer },
    #[error("has no entry {0:?}, or does not show it: correct base, or allow it to be read")]
    NoBase(String),
    #[error("answers a bind with {0}{advice}", advice = .0.advice())]
    Bind(Answer),
    #[error("answers a search with {0}{advice}", advice = .0.advice())]
    Search(Answer),
}

impl Problem {
    /// Why a connection was not opened.
    pub(super) fn opening(error: LdapError) -> Self {
        if let LdapError::LdapResult { result } = error {
            Self::StartTls(result.into())
        } else if let LdapError::Io { source } = error {
            match untrusted(&source) {
                Some(certificate) => Self::Untrusted(certificate.clone()),
                None => Self::Unreachable(source),
            }
        } else {
            Self::Unreachable(io::Error::other(error))
        }
    }
}

/// The error of the server's certificate, if it is one.
fn untrusted(error: &io::Error) -> Option<&rustls::Error> {
    let error = error.get_ref()?.downcast_ref::<rustls::Error>()?;
    matches!(error, rustls::Error::InvalidCertificate(_)).then_some(error)
}

/// A result code, shown by its name in RFC 4511 §4.1.9, with the text of the server.
#[derive(Debug)]
pub(super) struct Answer {
    code: u32,
    /// At most 200 characters, not escaped.
    text: Option<String>,
}

impl From<LdapResult> for Answer {
    fn from(LdapResult { rc: code, text, .. }: LdapResult) -> Self {
        let text = Some(text.trim()).filter(|text| !text.is_empty());
        Self { code, text: text.map(|text| text.chars().take(200).collect()) }
    }
}

impl Answer {
    fn advice(&self) -> &'static str {
        match self.code {
            code::REFERRAL => {
                ", which is not followed; name the server that has the entries in url"
            }
            code::STRONGER_AUTH_REQUIRED | code::CONFIDENTIALITY_REQUIRED => {
                "; use ldaps:// or starttls = true"
            }
            _ => "",
        }
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match code::NAMES.iter().find(|(code, _)| *code == self.code) {
            Some((_, name)) => f.write_str(name)?,
            None => write!(f, "{}", self.code)?,
        }
        self.text.as_ref().map_or(Ok(()), |text| write!(f, " ({})", text.escape_debug()))
    }
}

/// Result codes (RFC 4511 §4.1.9).
pub(super) mod code {
    pub(in super::super) const SUCCESS: u32 = 0;
    pub(in super::super) const SIZE_LIMIT_EXCEEDED: u32 = 4;
    pub(super) const STRONGER_AUTH_REQUIRED: u32 = 8;
    pub(super) const REFERRAL: u32 = 10;
    pub(super) const CONFIDENTIALITY_REQUIRED: u32 = 13;
    pub(in super::super) const NO_SUCH_OBJECT: u32 = 32;
    pub(in super::super) const INVALID_DN_SYNTAX: u32 = 34;
    pub(in super::super) const INAPPROPRIATE_AUTHENTICATION: u32 = 48;
    pub(in super::super) const INVALID_CREDENTIALS: u32 = 49;

    /// The names of those that are likely to be seen.
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
    fn a_code_is_shown_by_name_with_the_servers_text() {
        let shown = |rc, text: String| {
            let (matched, refs, ctrls) = (String::new(), Vec::new(), Vec::new());
            Answer::from(LdapResult { rc, matched, text, refs, ctrls }).to_string()
        };
        assert_eq!(shown(49, String::new()), "invalidCredentials");
        assert_eq!(shown(53, "a\nb\u{1b}".into()), r"unwillingToPerform (a\nb\u{1b})");
        assert_eq!(shown(53, "\"".repeat(1000)).len(), "unwillingToPerform ()".len() + 400);
        assert_eq!(shown(118, "x".repeat(1000)).len(), "118 ()".len() + 200);
    }
}
