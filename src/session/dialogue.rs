//! Replies to commands: exactly one each, and a count of what the client gets wrong.

use std::net::IpAddr;
use std::time::Duration;

use super::end::{End, Summary};
use super::env::{Link, Policy};
use super::fault::{Fault, Strike};
use super::language::{Language, Notice};
use super::stream::Stream;
use super::wire::Wire;
use crate::limits::Entry;
use crate::login::Throttle;
use crate::mailbox::{Message, OpenError};
use crate::protocol::sasl;
use crate::protocol::{Extent, LanguageRange, Line, Reply, ReplyText, Username};

/// The server's side of a conversation.
pub(super) struct Dialogue<'s> {
    pub(super) wire: Wire<'s>,
    summary: &'s mut Summary,
    throttle: &'s Throttle,
    peer: IpAddr,
    conduct: Conduct,
    language: Language,
}

/// How the client has behaved so far.
#[derive(Clone, Copy)]
struct Conduct {
    /// Lines without being logged in.
    before_login: u32,
    bad_in_a_row: u32,
    failed_logins: u32,
    most_bad_in_a_row: u32,
    most_failed_logins: u32,
    /// How long the connection may still wait for a maildrop that is in use.
    lock_wait: Duration,
}

impl<'s> Dialogue<'s> {
    pub(super) fn new(
        stream: &'s mut dyn Stream,
        policy: &Policy,
        throttle: &'s Throttle,
        link: &Link,
        summary: &'s mut Summary,
    ) -> Self {
        Self {
            wire: Wire::new(stream, policy.write, link.login_deadline),
            summary,
            throttle,
            peer: link.peer,
            conduct: Conduct {
                before_login: 0,
                bad_in_a_row: 0,
                failed_logins: 0,
                most_bad_in_a_row: policy.bad_commands,
                most_failed_logins: policy.failed_logins,
                lock_wait: policy.lock_wait.max(LEAST_LOCK_WAIT),
            },
            language: Language::default(),
        }
    }

    /// Counts a line of a client that is not logged in, and says whether it is one too many.
    pub(super) fn exceeds_login(&mut self) -> bool {
        self.conduct.before_login += 1;
        self.conduct.before_login > MOST_BEFORE_LOGIN
    }

    /// Says why the session ends, unless that would have to wait for the client.
    pub(super) async fn dismiss(&mut self, fault: &Fault) {
        fault.log();
        self.wire.parting(&self.language.refuse(fault)).await;
    }

    /// Opens the reply to the command that has just been read.
    pub(super) fn answer(&mut self) -> Answer<'_, 's> {
        Answer { dialogue: self }
    }

    /// Puts out what a positive reply begins with.
    fn open(&mut self, text: ReplyText) {
        self.conduct.bad_in_a_row = 0;
        self.wire.reply(&Reply::Ok(text));
    }

    fn announce(&mut self, notice: Notice) {
        self.open(self.language.say(&notice));
    }

    /// Why the client has to go now, if it has misbehaved enough.
    pub(super) fn verdict(&self) -> Option<End> {
        let conduct = self.conduct;
        if conduct.failed_logins >= conduct.most_failed_logins {
            Some(End::TooManyFailedLogins)
        } else if conduct.bad_in_a_row >= conduct.most_bad_in_a_row {
            Some(End::TooManyFaults)
        } else {
            None
        }
    }
}

/// The lines that a client may send without logging in: none that wants to needs 20.
const MOST_BEFORE_LOGIN: u32 = 200;

/// A session that has removed mail replies to QUIT, writes the index and gives the lock back: so long
/// its user waits for that, whatever the operator says.
const LEAST_LOCK_WAIT: Duration = Duration::from_millis(100);

/// The right and the duty to answer one command.
///
/// Each method gives the one reply and takes the `Answer` with it; a handler has to show the
/// [`Replied`] it got. So no command goes without a reply, and none gets two.
#[must_use]
pub(super) struct Answer<'d, 's> {
    dialogue: &'d mut Dialogue<'s>,
}

/// Proof that a command has been answered.
#[must_use]
pub(super) struct Replied(());

impl Answer<'_, '_> {
    /// `+OK` and figures, which are the same in every language.
    pub(super) fn ok(self, figures: impl Into<ReplyText>) -> Replied {
        self.dialogue.open(figures.into());
        Replied(())
    }

    /// `+OK` and a text.
    pub(super) fn say(self, notice: Notice) -> Replied {
        self.dialogue.announce(notice);
        Replied(())
    }

    /// LANG: lists the languages, or chooses one for this reply and all later ones
    /// (RFC 6856 §3.2).
    pub(super) async fn language(self, range: Option<LanguageRange>) -> Result<Replied, End> {
        let Some(range) = range else {
            return self.lines(Notice::Languages, Language::listing()).await;
        };
        let Some(language) = Language::of(&range) else {
            return Ok(self.fault(&Fault::NoSuchLanguage));
        };
        self.dialogue.language = language;
        self.dialogue.open(language.chosen());
        Ok(Replied(()))
    }

    /// `-ERR`; the operator is told more than the client.
    pub(super) fn fault(self, fault: &Fault) -> Replied {
        self.strike(fault, fault.strike())
    }

    /// The same where the server has begun to look for the password: the login has failed, however
    /// the client has ended it.
    pub(super) fn unproved(self, fault: &Fault) -> Replied {
        self.strike(fault, Strike::FailedLogin)
    }

    /// Whether the log takes a line about this client, which is not logged in.
    pub(super) fn logs(&self, entry: Entry) -> bool {
        self.dialogue.throttle.logs(self.dialogue.peer, entry)
    }

    fn strike(self, fault: &Fault, strike: Strike) -> Replied {
        if fault.log_entry().is_none_or(|entry| self.logs(entry)) {
            fault.log();
        }
        let language = self.dialogue.language;
        let conduct = &mut self.dialogue.conduct;
        match strike {
            Strike::None => conduct.bad_in_a_row = 0,
            Strike::BadCommand => conduct.bad_in_a_row += 1,
            Strike::FailedLogin => conduct.failed_logins += 1,
        }
        // Clients that try one mechanism after the other would wait that long for each of them.
        if let Fault::Maildrop(OpenError::InUse { .. }) = fault {
            conduct.lock_wait = Duration::ZERO;
        }
        let reply = match self.dialogue.verdict() {
            Some(End::TooManyFaults) => language.refuse(&Fault::TooManyBadCommands),
            _ => language.refuse(fault),
        };
        self.dialogue.wire.reply(&reply);
        Replied(())
    }

    /// A challenge of a SASL exchange (RFC 5034 §4).
    pub(super) fn challenge(self, challenge: &[u8]) -> Replied {
        self.dialogue.wire.line(&sasl::challenge_line(challenge));
        Replied(())
    }

    /// `+OK`, lines, a dot. The lines are made as the client takes them.
    pub(super) async fn lines(
        self,
        notice: Notice,
        lines: impl Iterator<Item = impl Line>,
    ) -> Result<Replied, End> {
        self.dialogue.announce(notice);
        let wire = &mut self.dialogue.wire;
        for line in lines {
            if wire.peer_gone() {
                break;
            }
            wire.line(&line);
            wire.relieve().await?;
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
        self.dialogue.wire.body(message, extent).await?;
        if extent == Extent::Whole {
            self.dialogue.summary.retrieved += 1;
            self.dialogue.summary.octets += message.octets();
        }
        Ok(Replied(()))
    }

    /// Whether the client is gone, so that nobody takes the reply.
    pub(super) fn peer_gone(&self) -> bool {
        self.dialogue.wire.peer_gone()
    }

    /// No reply, for nobody would take it.
    pub(super) fn unheard(self) -> Replied {
        self.dialogue.conduct.bad_in_a_row = 0;
        Replied(())
    }

    /// Sends the messages that the client has asked for and that are held back, or fails.
    pub(super) async fn flush_mail(&mut self) -> Result<(), End> {
        self.dialogue.wire.flush_mail().await
    }

    /// How long a login may wait for a maildrop that is in use.
    pub(super) fn lock_wait(&self) -> Duration {
        self.dialogue.conduct.lock_wait
    }

    /// What has come from the client behind the command.
    pub(super) fn unread(&self) -> &[u8] {
        self.dialogue.wire.unread()
    }

    /// The client has logged in: the deadline for that is off, the figures begin.
    pub(super) fn logged_in(&mut self, user: &Username, messages: u32) {
        self.dialogue.wire.lift_deadline();
        let summary = &mut *self.dialogue.summary;
        summary.user = Some(user.clone());
        summary.left = u64::from(messages);
    }

    /// The figures of this session, for those who know them.
    pub(super) fn summary(&mut self) -> &mut Summary {
        self.dialogue.summary
    }
}
