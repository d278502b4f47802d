//! Why a provider gave no answer that can be used, and what is wrong with a token.

use super::peer_text::PeerText;
use crate::protocol::{ClaimedName, NameError};
use crate::threads::PoolError;

/// Why it is not known whether a token is good.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("{url}: {problem}")]
    Answer { url: String, problem: Problem },
    #[error("{url} is about the issuer {other}, and issuer is {issuer}: write the former")]
    OtherIssuer { url: String, other: PeerText, issuer: String },
    #[error("{url} has the keys at {keys}, which is not https")]
    KeysNotHttps { url: String, keys: PeerText },
    #[error("{0} takes any token for a good one")]
    TakesAnyToken(String),
}

impl Error {
    pub(super) fn answer(url: &str) -> impl FnOnce(Problem) -> Self {
        move |problem| Self::Answer { url: url.to_owned(), problem }
    }
}

/// What is wrong with the answer to a request.
#[derive(Debug, thiserror::Error)]
pub(super) enum Problem {
    #[error("the request was not made: {0}")]
    NotMade(#[from] PoolError),
    // Its text may come from the provider.
    #[error("{}", .0.to_string().escape_debug())]
    Http(#[from] ureq::Error),
    #[error("the answer is {0}")]
    Status(u16),
    #[error("the answer is {0}, check client-id and client-secret-file")]
    ClientRefused(u16),
    // Without the text, which may hold a token.
    #[error("the answer is not what it should be, at line {line}")]
    NotExpected { line: usize },
    #[error("the answer does not say whether the token is active")]
    NoActive,
    #[error("{found} keys are too many, {most} are taken")]
    TooManyKeys { found: usize, most: usize },
    #[error("there is no key for signatures of the kinds that are accepted")]
    NoKey,
}

/// What is wrong with a token.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum TokenError {
    #[error("the token is longer than 16 KiB")]
    TooLong,
    #[error("the token has octets that no bearer token has")]
    NotBearer,
    #[error("the token has critical extensions, and none are known here")]
    Critical,
    #[error("the token is no access token but {0}")]
    NoAccessToken(PeerText),
    #[error("the token is signed by the algorithm {0}, which is not accepted")]
    Algorithm(PeerText),
    #[error("the token is not signed with one key that the provider has")]
    UnknownKey,
    #[error("the token's signature is not the provider's")]
    Signature,
    #[error("the provider says that the token is not good")]
    Inactive,
    #[error("the token is not of {0}")]
    Issuer(String),
    #[error("the token is not meant for {0}")]
    Audience(String),
    #[error("the token has no exp")]
    NoExpiry,
    #[error("the token has expired")]
    Expired,
    #[error("the token is not valid yet")]
    NotYetValid,
    #[error("the token's {0} is not a time")]
    NotATime(&'static str),
    #[error("the token does not have the scope {0}")]
    Scope(String),
    #[error("the token is bound to a key of the client")]
    BoundToKey,
    #[error("the token has no text {0}")]
    NoName(String),
    #[error("the provider has not verified the token's email")]
    EmailNotVerified,
    #[error("the token's {claim}, {name}, is not a user name: it {error}")]
    Name { claim: String, name: ClaimedName, error: NameError },
}
