//! All texts in all languages.

use std::time::Duration;

use super::*;
use crate::login::Refusal;
use crate::mailbox::{Failure, MessageError, OpenError};
use crate::protocol::sasl::ResponseError;
use crate::protocol::{CommandError, LineError, Reply, Takes};
use crate::session::fault::Strike;

fn number() -> MessageNumber {
    MessageNumber::try_from(&b"7"[..]).unwrap()
}

fn in_use(since: Option<SystemTime>) -> Fault {
    Fault::Maildrop(OpenError::InUse { since })
}

/// All notices.
fn notices() -> Vec<Notice> {
    let totals = |messages| Notice::Totals(Totals { messages, octets: 320 });
    vec![
        Notice::SendPass,
        Notice::BeginTls,
        Notice::Mechanisms,
        Notice::Capabilities,
        Notice::Languages,
        Notice::LanguageChosen,
        Notice::Utf8,
        totals(1),
        totals(2),
        Notice::UniqueIds,
        Notice::Octets(u64::MAX),
        Notice::Top,
        Notice::Marked(number()),
        Notice::Goodbye,
        Notice::NothingRemoved(0),
        Notice::Removed(1, 1),
    ]
}

/// All faults.
fn faults() -> Vec<Fault> {
    let failure = || Failure::new("disk", std::io::Error::other("on fire"));
    let takes = [
        Takes::Nothing,
        Takes::Name,
        Takes::Password,
        Takes::Mechanism,
        Takes::Language,
        Takes::Number,
        Takes::NumberOrNothing,
        Takes::NumberAndLines,
    ];
    let mut faults: Vec<_> =
        takes.map(|takes| Fault::Command(CommandError::Arguments("RETR", takes))).into();
    faults.extend([
        Fault::Command(CommandError::Unknown),
        Fault::Line(LineError::TooLong),
        Fault::Line(LineError::ForbiddenOctet),
        Fault::TooManyBadCommands,
        Fault::TooManyCommands,
        Fault::Evicted,
        Fault::Kicked,
        Fault::LogInFirst,
        Fault::AlreadyLoggedIn,
        Fault::UserFirst,
        Fault::TlsActive,
        Fault::NoTls,
        Fault::CleartextRefused,
        Fault::NoPasswords,
        Fault::Command(CommandError::UnknownMechanism),
        Fault::Cancelled,
        Fault::Response(ResponseError::NotBase64),
        Fault::Response(ResponseError::Malformed),
        Fault::Response(ResponseError::ForAnother),
        Fault::Response(ResponseError::Downgraded),
        Fault::Response(ResponseError::Unbound),
        Fault::Refused(Refusal::BadCredentials),
        Fault::Refused(Refusal::NotAllowed),
        Fault::Refused(Refusal::BadToken),
        Fault::Refused(Refusal::BadCertificate),
        Fault::Refused(Refusal::Throttled),
        Fault::Refused(Refusal::Overloaded),
        Fault::TooSlow,
        Fault::Refused(Refusal::Unavailable("the password is tanstaaf".to_owned())),
        Fault::TooManySessions(1),
        Fault::TooManySessions(u32::MAX),
        in_use(None),
        in_use(Some(SystemTime::now())),
        in_use(Some(SystemTime::UNIX_EPOCH)),
        Fault::Maildrop(OpenError::Unavailable(failure())),
        Fault::Maildrop(OpenError::Guarded(failure())),
        Fault::NoSuchLanguage,
        Fault::Command(CommandError::NoSuchMessage),
        Fault::Deleted,
        Fault::Message(number(), MessageError::Gone),
        Fault::Message(number(), MessageError::Unreadable(failure())),
        Fault::NotRemoved { remaining: 2, marked: 7, cause: Some(failure()) },
    ]);
    faults
}

fn texts(language: Language) -> Vec<ReplyText> {
    let notices = notices();
    let said = notices.iter().map(|notice| language.say(notice));
    said.chain(faults().iter().map(|fault| language.explain(fault))).collect()
}

#[test]
fn english_is_ascii_and_no_language_says_what_another_says() {
    let (english, german) = (texts(Language::English), texts(Language::German));
    for (english, german) in english.iter().zip(&german) {
        assert!(english.to_string().is_ascii());
        assert_ne!(english, german);
    }
    assert!(german.iter().any(|text| !text.to_string().is_ascii()));
}

/// `ReplyText` replaces characters that are not allowed with `?`. No text has one.
#[test]
fn every_text_fits_a_reply_and_keeps_to_itself_what_is_for_the_log() {
    for text in Language::ALL.into_iter().flat_map(texts) {
        let line = Reply::Ok(text).to_string();
        assert!(!line.contains('?') && line.len() < 200, "{line}");
        assert!(!line.contains("fire") && !line.contains("tanstaaf"), "{line}");
    }
}

/// fetchmail looks for these words in the refusal of a login, and its user reads them.
#[test]
fn only_what_is_not_the_users_fault_sounds_busy() {
    for fault in faults().into_iter().filter(|fault| fault.strike() == Strike::FailedLogin) {
        let text = Language::English.refuse(&fault).to_string();
        let busy = ["lock", "wait", "[IN-USE]"].iter().any(|word| text.contains(word));
        assert_eq!(busy, text.contains("[SYS/TEMP]") || text.contains("[IN-USE]"), "{text}");
    }
}

#[test]
fn since_when_is_said_in_words_for_a_person() {
    let now = SystemTime::now();
    let held = |age| Held::of(Some(now - Duration::from_secs(age)));
    assert!(matches!(held(0), Held::Since(time) if time.ends_with(" UTC") && time.len() == 12));
    assert_eq!(held(48 * 3600), Held::Hours(48));
    assert_eq!(Held::of(Some(now + Duration::from_secs(3600))), Held::Unknown);
    assert_eq!(Held::of(None), Held::Unknown);
    let since = in_use(Some(now - Duration::from_secs(48 * 3600)));
    for (language, words) in
        [(Language::English, "session for 48 hours"), (Language::German, "seit 48 Stunden")]
    {
        assert!(language.explain(&since).to_string().contains(words));
    }
}

#[test]
fn one_session_is_not_several() {
    for (language, one, more) in [
        (Language::English, "more than 1 session;", "more than 2 sessions;"),
        (Language::German, "mehr als 1 Sitzung darf", "mehr als 2 Sitzungen darf"),
    ] {
        for (limit, words) in [(1, one), (2, more)] {
            let text = language.explain(&Fault::TooManySessions(limit)).to_string();
            assert!(text.contains(words), "{text}");
        }
    }
}
