//! The languages that replies are written in (RFC 6856 §3), and what there is to say in each.
//!
//! - English until the client chooses another one, in ASCII: only who has sent LANG has said that
//!   it can read UTF-8. What the log says is in English always.
//! - A language is a file with one text for each [`Notice`] and each [`Fault`]: it does not
//!   compile before it has them all.
//! - What a client reads as figures (STAT, LIST, UIDL of one message) is no text and has no
//!   language; response codes have none either.

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
    /// All of them; the first is that of `LANG *`.
    const ALL: [Self; 2] = [Self::English, Self::German];

    /// Says what there is to say.
    pub(super) fn say(self, notice: &Notice) -> ReplyText {
        match self {
            Self::English => ReplyText::new(english::say(notice)),
            Self::German => ReplyText::in_utf8(german::say(notice)),
        }
    }

    /// The reply to a command that was refused.
    pub(super) fn refuse(self, fault: &Fault) -> Reply {
        Reply::Err(fault.code(), self.explain(fault))
    }

    fn explain(self, fault: &Fault) -> ReplyText {
        match self {
            Self::English => ReplyText::new(english::explain(fault)),
            Self::German => ReplyText::in_utf8(german::explain(fault)),
        }
    }

    /// The lines of the reply to LANG: each language by tag and name (RFC 6856 §3.2).
    pub(super) fn listing() -> impl Iterator<Item = String> + Send {
        Self::ALL.iter().map(|one| format!("{} {}", one.tag(), one.name()))
    }

    /// The first language that the range includes.
    pub(super) fn of(range: &LanguageRange) -> Option<Self> {
        Self::ALL.into_iter().find(|one| range.includes(one.tag()))
    }

    /// What came of choosing this language: its tag, then a text in it (RFC 6856 §3.2).
    pub(super) fn chosen(self) -> ReplyText {
        ReplyText::in_utf8(format!("{} {}", self.tag(), self.say(&Notice::LanguageChosen)))
    }

    fn tag(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::German => "de",
        }
    }

    /// What it is called by those who speak it.
    fn name(self) -> &'static str {
        match self {
            Self::English => "English",
            Self::German => "Deutsch",
        }
    }
}

/// What a positive reply says in words.
#[derive(Clone, Copy, Debug)]
pub(super) enum Notice {
    /// A name has come, and its password is to follow.
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
    /// So many messages are in the maildrop.
    Totals(Totals),
    /// The unique-ids of all messages follow.
    UniqueIds,
    /// A message of so many octets follows.
    Octets(u64),
    /// The top of a message follows.
    Top,
    /// A message is marked as deleted.
    Marked(MessageNumber),
    /// The session ends before a login.
    Goodbye,
    /// The session ends; nothing was removed, so many messages are left.
    NothingRemoved(u32),
    /// The session ends; so many messages were removed, and so many are left.
    Removed(u32, u32),
}

/// For how long another session has had a maildrop, as a person wants to hear it.
#[derive(Debug, PartialEq, Eq)]
enum Held {
    /// Nothing that would help: it is not known, or the clock has been turned.
    Somehow,
    /// Since this time of the day.
    Since(String),
    /// For a day or more.
    Hours(u64),
}

impl Held {
    fn of(since: Option<SystemTime>) -> Self {
        const DAY: u64 = 24 * 60 * 60;
        let Some(since) = since else { return Self::Somehow };
        let (Ok(age), Ok(epoch)) = (since.elapsed(), since.duration_since(SystemTime::UNIX_EPOCH))
        else {
            return Self::Somehow;
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
