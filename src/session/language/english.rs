//! English, in ASCII: for clients that have not chosen a language.
//!
//! fetchmail looks for the word `wait` in a refused login: with it the server is busy, without it the
//! password is wrong.

use std::borrow::Cow;

use super::{Held, Notice};
use crate::login::Refusal;
use crate::mailbox::{MessageError, OpenError};
use crate::protocol::sasl::ResponseError;
use crate::protocol::{CommandError, LineError, Takes};
use crate::session::fault::Fault;
use crate::session::listing::Totals;

pub(super) fn say(notice: &Notice) -> Cow<'static, str> {
    match notice {
        Notice::SendPass => "send PASS".into(),
        Notice::BeginTls => "begin TLS now".into(),
        Notice::Mechanisms => "mechanisms follow".into(),
        Notice::Capabilities => "capabilities follow".into(),
        Notice::Languages => "languages follow".into(),
        Notice::LanguageChosen => "replies are in English".into(),
        Notice::Utf8 => "UTF-8 mode is on".into(),
        Notice::Totals(Totals { messages, octets }) => {
            format!("{} ({octets} octets)", counted(*messages, "message")).into()
        }
        Notice::UniqueIds => "unique-ids follow".into(),
        Notice::Octets(octets) => format!("{octets} octets").into(),
        Notice::Top => "top of message follows".into(),
        Notice::Marked(number) => format!("message {number} deleted").into(),
        Notice::Goodbye => "goodbye".into(),
        Notice::NothingRemoved(left) => {
            format!("goodbye, {} left", counted(*left, "message")).into()
        }
        Notice::Removed(removed, left) => {
            format!("{} removed, {left} left", counted(*removed, "message")).into()
        }
    }
}

pub(super) fn explain(fault: &Fault) -> Cow<'static, str> {
    match fault {
        Fault::Command(CommandError::Unknown) => "unknown command".into(),
        Fault::Command(CommandError::Arguments(keyword, takes)) => {
            format!("{keyword} takes {}", arguments(*takes)).into()
        }
        Fault::Line(LineError::TooLong) => "line too long".into(),
        Fault::Line(LineError::ForbiddenOctet) => "a NUL or a bare CR is not allowed".into(),
        Fault::TooManyBadCommands => "too many bad commands".into(),
        Fault::TooManyCommands => "too many commands before login".into(),
        Fault::Evicted => "too many connections, and this one has not logged in; try again".into(),
        Fault::Kicked => "the operator has ended this session; nothing is removed".into(),
        Fault::LogInFirst => "log in first".into(),
        Fault::AlreadyLoggedIn => "already logged in".into(),
        Fault::UserFirst => "send USER first".into(),
        Fault::TlsActive => "TLS is already active".into(),
        Fault::NoTls => "TLS is not available on this port".into(),
        Fault::CleartextRefused => {
            "passwords are not accepted without TLS: use port 995 or STLS".into()
        }
        Fault::NoPasswords => {
            "passwords are not accepted here: use a token or a certificate".into()
        }
        Fault::Command(CommandError::UnknownMechanism) => "this mechanism is not offered".into(),
        Fault::Cancelled => "authentication cancelled".into(),
        Fault::Response(ResponseError::NotBase64) => "the response is not base64".into(),
        Fault::Response(ResponseError::Malformed) => "malformed response".into(),
        Fault::Response(ResponseError::ForAnother) => {
            "acting for another user is not allowed".into()
        }
        Fault::Response(ResponseError::Downgraded) => {
            "channel binding is required from clients that support it".into()
        }
        Fault::Response(ResponseError::Unbound) => {
            "the channel binding does not match this connection".into()
        }
        Fault::Refused(Refusal::BadCredentials | Refusal::RepeatedPassword) => {
            "wrong user name or password".into()
        }
        Fault::Refused(Refusal::NotAllowed) => "this user may not use POP3".into(),
        Fault::Refused(Refusal::BadToken) => "the token is not valid".into(),
        Fault::Refused(Refusal::BadCertificate) => "this certificate belongs to no user".into(),
        Fault::Refused(Refusal::Throttled) => "too many failed logins; wait and try again".into(),
        Fault::Refused(Refusal::Overloaded) => "too many logins at once; wait and try again".into(),
        Fault::TooSlow => "the login took too long; wait and try again".into(),
        Fault::Refused(Refusal::Unavailable(_)) => {
            "passwords cannot be checked now; wait and try again".into()
        }
        Fault::TooManySessions(limit) => {
            let sessions = counted(*limit, "session");
            format!("this user may have no more than {sessions}; wait and try again").into()
        }
        Fault::Maildrop(OpenError::InUse { since }) => {
            let held = match Held::of(*since) {
                Held::Unknown => String::new(),
                Held::Since(time) => format!(" since {time}"),
                Held::Hours(hours) => format!(" for {hours} hours"),
            };
            format!("this maildrop is open in another session{held}; wait and try again").into()
        }
        Fault::Maildrop(OpenError::Unavailable(_)) => {
            "the maildrop cannot be read now; wait and try again".into()
        }
        Fault::Maildrop(OpenError::Guarded(_)) => {
            "the maildrop has changed and waits for the administrator; try again later".into()
        }
        Fault::NoSuchLanguage => "this language is not available".into(),
        Fault::Command(CommandError::NoSuchMessage) => "no such message".into(),
        Fault::Deleted => "message is already deleted".into(),
        Fault::Message(number, MessageError::Gone) => format!("message {number} is gone").into(),
        Fault::Message(number, MessageError::Unreadable(_)) => {
            format!("message {number} cannot be read now").into()
        }
        Fault::NotRemoved { remaining, marked, .. } => {
            format!("{remaining} of {marked} messages not removed").into()
        }
    }
}

fn arguments(takes: Takes) -> &'static str {
    match takes {
        Takes::Nothing => "no argument",
        Takes::Name => "a name without spaces",
        Takes::Password => "a password",
        Takes::Mechanism => "a mechanism and at most one initial response",
        Takes::Language => "a language tag, *, or no argument",
        Takes::Number => "a message-number",
        Takes::NumberOrNothing => "a message-number or no argument",
        Takes::NumberAndLines => "a message-number and a number of lines",
    }
}

/// `1 message`, `2 messages`
fn counted(number: u32, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}
