//! The languages of replies (RFC 6856 §3), and the texts of all replies in each.
//!
//! - Replies are in English, in ASCII, until the client chooses another language: only a client that
//!   sends LANG has declared that it can read UTF-8. The log is always in English.
//! - A language is a file with a text for each [`Notice`] and each [`Fault`]. It does not compile
//!   until it has all of them.
//! - Numbers for the client (STAT, LIST, UIDL of one message) and response codes are not texts, and
//!   have no language.

use std::time::SystemTime;

use super::fault::Fault;
use super::listing::Totals;
use crate::protocol::{LanguageRange, MessageNumber, Reply, ReplyText};

mod english;
mod german;

/// A language.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Language {
    #[default]
    English,
    German,
}

impl Language {
    /// All languages; `LANG *` chooses the first.
    const ALL: [Self; 2] = [Self::English, Self::German];

    /// The text of a positive reply.
    pub(super) fn say(self, notice: &Notice) -> ReplyText {
        match self {
            Self::English => ReplyText::new(english::say(notice)),
            Self::German => ReplyText::in_utf8(german::say(notice)),
        }
    }

    /// The negative reply to a command with this fault.
    pub(super) fn refuse(self, fault: &Fault) -> Reply {
        Reply::Err(fault.response_code(), self.explain(fault))
    }

    fn explain(self, fault: &Fault) -> ReplyText {
        match self {
            Self::English => ReplyText::new(english::explain(fault)),
            Self::German => ReplyText::in_utf8(german::explain(fault)),
        }
    }

    /// The reply to choosing this language: its tag, then a text in it (RFC 6856 §3.2).
    pub(super) fn chosen(self) -> ReplyText {
        ReplyText::in_utf8(format!("{} {}", self.tag(), self.say(&Notice::LanguageChosen)))
    }

    /// The language that a client chooses by `range`.
    pub(super) fn choose(range: &LanguageRange) -> Option<Self> {
        Self::ALL.into_iter().find(|one| range.includes(one.tag()))
    }

    /// The lines of the reply to LANG without an argument.
    pub(super) fn listing() -> impl Iterator<Item = String> {
        Self::ALL.into_iter().map(|one| format!("{} {}", one.tag(), one.name()))
    }

    fn tag(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::German => "de",
        }
    }

    /// Its name in the language itself.
    fn name(self) -> &'static str {
        match self {
            Self::English => "English",
            Self::German => "Deutsch",
        }
    }
}

/// The text of a positive reply.
#[derive(Clone, Copy, Debug)]
pub(super) enum Notice {
    /// The name has come; the password is to follow.
    SendPass,
    /// The handshake may begin.
    BeginTls,
    /// A list of mechanisms follows.
    Mechanisms,
    /// A list of capabilities follows.
    Capabilities,
    /// A list of languages follows.
    Languages,
    /// Replies are in this language from now on.
    LanguageChosen,
    /// UTF8 was sent.
    Utf8,
    /// The number of messages in the maildrop, and their octets.
    Totals(Totals),
    /// The unique-ids of all messages follow.
    UniqueIds,
    /// A message of this number of octets follows.
    Octets(u64),
    /// The top of a message follows.
    Top,
    /// A message is marked as deleted.
    Marked(MessageNumber),
    /// The session ends before a login.
    Goodbye,
    /// The session ends; no message was removed, and this number of messages is left.
    NothingRemoved(u32),
    /// The session ends; the numbers of messages that were removed, and that are left.
    Removed(u32, u32),
}

/// How long another session has had a maildrop, for a person to read.
#[derive(Debug, PartialEq, Eq)]
enum Held {
    /// It is not known, or the clock has been set back.
    Unknown,
    /// Since this time of the day.
    Since(String),
    /// For a day or more.
    Hours(u64),
}

impl Held {
    fn of(since: Option<SystemTime>) -> Self {
        const DAY: u64 = 24 * 60 * 60;
        let Some(since) = since else { return Self::Unknown };
        let (Ok(age), Ok(epoch)) = (since.elapsed(), since.duration_since(SystemTime::UNIX_EPOCH))
        else {
            return Self::Unknown;
        };
        if age.as_secs() >= DAY {
            return Self::Hours(age.as_secs() / 3600);
        }
        let second = epoch.as_secs() % DAY;
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        Self::Since(format!("{hour:02}:{minute:02}:{second:02} UTC"))
    }
}

#[cfg(test)]
mod tests;
