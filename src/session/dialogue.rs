//! Replies to commands, exactly one each, and the count of a client's errors.

use std::borrow::Cow;
use std::net::IpAddr;
use std::time::Duration;

use super::connections::{Activity, Handle};
use super::end::End;
use super::env::{Link, Policy};
use super::fault::{Fault, Strike};
use super::language::{Language, Notice};
use super::stream::Stream;
use super::watch::{ShownLines, Speaker, shown};
use super::wire::Wire;
use crate::limits::Entry;
use crate::login::{Identity, Throttle};
use crate::mailbox::{Message, OpenError};
use crate::protocol::sasl;
use crate::protocol::{Extent, LanguageRange, Line, Reply, ReplyText};

/// The server's side of a session.
pub(super) struct Dialogue<'s> {
    pub(super) wire: Wire<'s>,
    policy: &'s Policy,
    handle: &'s Handle,
    throttle: &'s Throttle,
    peer: IpAddr,
    /// The lines of the client before login.
    before_login: u32,
    bad_in_a_row: u32,
    failed_logins: u32,
    /// How long the connection may still wait for a maildrop that is in use.
    lock_wait: Duration,
    language: Language,
}

impl<'s> Dialogue<'s> {
    pub(super) fn new(
        stream: &'s mut dyn Stream,
        policy: &'s Policy,
        throttle: &'s Throttle,
        link: &'s Link,
    ) -> Self {
        Self {
            wire: Wire::new(stream, policy.write, link.login_deadline),
            policy,
            handle: link.handle(),
            throttle,
            peer: link.peer(),
            before_login: 0,
            bad_in_a_row: 0,
            failed_logins: 0,
            lock_wait: policy.lock_wait.max(LEAST_LOCK_WAIT),
            language: Language::default(),
        }
    }

    /// Counts a line of a client that is not logged in. Returns whether it exceeds the limit.
    pub(super) fn exceeds_login(&mut self) -> bool {
        self.before_login += 1;
        self.before_login > MOST_BEFORE_LOGIN
    }

    /// Tells the client why the session ends, if it takes that without waiting.
    pub(super) async fn dismiss(&mut self, fault: &Fault) {
        fault.log();
        let reply = self.language.refuse(fault);
        if self.wire.farewell(&reply).await {
            self.handle.tell(Speaker::Server, || shown::reply(&reply));
        }
    }

    /// Writes a status line.
    pub(super) fn reply(&mut self, reply: &Reply) {
        self.handle.tell(Speaker::Server, || shown::reply(reply));
        self.wire.reply(reply);
    }

    /// Opens the reply to the command that has just been read.
    pub(super) fn answer(&mut self) -> Answer<'_, 's> {
        Answer { dialogue: self }
    }

    /// Writes the status line of a positive reply.
    fn open(&mut self, text: ReplyText) {
        self.bad_in_a_row = 0;
        self.reply(&Reply::Ok(text));
    }

    fn announce(&mut self, notice: Notice) {
        self.open(self.language.say(&notice));
    }

    /// The reason to end the session, if the client has reached a limit for errors.
    pub(super) fn limit_reached(&self) -> Option<End> {
        if self.failed_logins >= self.policy.failed_logins {
            Some(End::TooManyFailedLogins)
        } else if self.bad_in_a_row >= self.policy.bad_commands {
            Some(End::TooManyFaults)
        } else {
            None
        }
    }
}

/// The number of lines that a client may send before login. No login needs 20.
const MOST_BEFORE_LOGIN: u32 = 200;

/// The shortest wait for the lock, whatever the operator sets: a session that has removed mail
/// replies to QUIT first, and then writes the index and releases the lock.
const LEAST_LOCK_WAIT: Duration = Duration::from_millis(100);

/// The right and the duty to answer one command.
///
/// Each method sends the reply and consumes the `Answer`; a handler must return the [`Replied`]
/// that it gets. So each command has exactly one reply.
#[must_use]
pub(super) struct Answer<'d, 's> {
    dialogue: &'d mut Dialogue<'s>,
}

/// Proof that a command has been answered.
#[must_use]
pub(super) struct Replied(());

impl Answer<'_, '_> {
    /// `+OK` and numbers, which are the same in every language.
    pub(super) fn ok(self, figures: impl Into<Cow<'static, str>>) -> Replied {
        self.dialogue.open(ReplyText::new(figures));
        Replied(())
    }

    /// `+OK` and a text.
    pub(super) fn say(self, notice: Notice) -> Replied {
        self.dialogue.announce(notice);
        Replied(())
    }

    /// `+OK` in the language that the client has chosen; later replies are in that language, too.
    fn language(self, language: Language) -> Replied {
        self.dialogue.language = language;
        self.dialogue.open(language.chosen());
        Replied(())
    }

    /// LANG: lists the languages, or chooses one (RFC 6856 §3.2).
    pub(super) async fn lang(self, range: Option<LanguageRange>) -> Result<Replied, End> {
        let Some(range) = range else {
            return self.lines(Notice::Languages, Language::listing()).await;
        };
        Ok(match Language::choose(&range) {
            Some(language) => self.language(language),
            None => self.fault(&Fault::NoSuchLanguage),
        })
    }

    /// `-ERR`. The log has more details than the reply.
    pub(super) fn fault(self, fault: &Fault) -> Replied {
        self.strike(fault, fault.strike())
    }

    /// `-ERR` after the server has begun to verify a password: it counts as a failed login, however
    /// the client has ended it.
    pub(super) fn unproved(self, fault: &Fault) -> Replied {
        self.strike(fault, Strike::FailedLogin)
    }

    /// Whether the log accepts a line about this client, which is not logged in.
    pub(super) fn logs(&self, entry: Entry) -> bool {
        self.dialogue.throttle.logs(self.dialogue.peer, entry)
    }

    fn strike(self, fault: &Fault, strike: Strike) -> Replied {
        if fault.log_entry().is_none_or(|entry| self.logs(entry)) {
            fault.log();
        }
        let dialogue = self.dialogue;
        match strike {
            Strike::None => dialogue.bad_in_a_row = 0,
            Strike::BadCommand => dialogue.bad_in_a_row += 1,
            Strike::FailedLogin => dialogue.failed_logins += 1,
        }
        // A client that tries several mechanisms would wait for the lock with each of them.
        if let Fault::Maildrop(OpenError::InUse { .. }) = fault {
            dialogue.lock_wait = Duration::ZERO;
        }
        let reply = match dialogue.limit_reached() {
            Some(End::TooManyFaults) => dialogue.language.refuse(&Fault::TooManyBadCommands),
            _ => dialogue.language.refuse(fault),
        };
        dialogue.reply(&reply);
        Replied(())
    }

    /// A challenge of a SASL exchange (RFC 5034 §4).
    pub(super) fn challenge(self, challenge: &[u8]) -> Replied {
        let line = sasl::challenge_line(challenge);
        self.dialogue.handle.tell(Speaker::Server, || shown::challenge(&line));
        self.dialogue.wire.line(&line);
        Replied(())
    }

    /// `+OK`, lines, a dot. Lines are encoded as the client takes them.
    pub(super) async fn lines(
        self,
        notice: Notice,
        lines: impl Iterator<Item = impl Line>,
    ) -> Result<Replied, End> {
        self.dialogue.announce(notice);
        let (handle, wire) = (self.dialogue.handle, &mut self.dialogue.wire);
        let mut shown = handle.may_be_watched().then(|| ShownLines::new(handle));
        for line in lines {
            if wire.peer_gone() {
                break;
            }
            if let Some(shown) = &mut shown {
                shown.tell(&line);
            }
            wire.line(&line);
            wire.flush_if_full().await?;
        }
        if let Some(shown) = shown {
            shown.end();
        }
        wire.line(&'.');
        Ok(Replied(()))
    }

    /// `+OK`, a message or its top, a dot.
    pub(super) async fn message(
        self,
        notice: Notice,
        message: &mut impl Message,
        extent: Extent,
    ) -> Result<Replied, End> {
        self.dialogue.announce(notice);
        let sent = self.dialogue.wire.body(message, extent).await?;
        let octets = if extent == Extent::Whole { message.octets() } else { sent };
        self.dialogue.handle.tell(Speaker::Server, || shown::body(extent, octets));
        if extent == Extent::Whole {
            self.dialogue.handle.change(|Activity { summary, .. }| {
                summary.retrieved += 1;
                summary.octets += octets;
            });
        }
        Ok(Replied(()))
    }

    /// Whether the client is gone, so that a reply cannot be sent.
    pub(super) fn peer_gone(&self) -> bool {
        self.dialogue.wire.peer_gone()
    }

    /// No reply, because the client is gone.
    pub(super) fn no_reply(self) -> Replied {
        self.dialogue.bad_in_a_row = 0;
        Replied(())
    }

    /// Sends the messages that the client has asked for and that are held back, or fails.
    pub(super) async fn flush_mail(&mut self) -> Result<(), End> {
        self.dialogue.wire.flush_mail().await
    }

    /// How long a login may wait for a maildrop that is in use.
    pub(super) fn lock_wait(&self) -> Duration {
        self.dialogue.lock_wait
    }

    /// The octets that the client has sent after the command.
    pub(super) fn unread(&self) -> &[u8] {
        self.dialogue.wire.unread()
    }

    /// The client has logged in: lifts the login deadline, and begins the summary.
    pub(super) fn logged_in(&mut self, identity: &Identity, messages: u32) {
        self.dialogue.wire.lift_deadline();
        self.dialogue.handle.logged_in(identity, messages);
    }
}
