//! German.

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
        Notice::SendPass => "weiter mit PASS".into(),
        Notice::BeginTls => "TLS kann jetzt beginnen".into(),
        Notice::Mechanisms => "es folgen die Anmeldeverfahren".into(),
        Notice::Capabilities => "es folgen die Fähigkeiten".into(),
        Notice::Languages => "es folgen die Sprachen".into(),
        Notice::LanguageChosen => "die Antworten sind ab jetzt auf Deutsch".into(),
        Notice::Utf8 => "der UTF-8-Modus ist eingeschaltet".into(),
        Notice::Totals(Totals { messages, octets }) => {
            format!("{} ({octets} Byte)", counted(*messages, "Nachricht")).into()
        }
        Notice::UniqueIds => "es folgen die Kennungen".into(),
        Notice::Octets(octets) => format!("{octets} Byte").into(),
        Notice::Top => "es folgt der Anfang der Nachricht".into(),
        Notice::Marked(number) => format!("Nachricht {number} gelöscht").into(),
        Notice::Goodbye => "auf Wiedersehen".into(),
        Notice::NothingRemoved(left) => {
            format!("auf Wiedersehen, {} übrig", counted(*left, "Nachricht")).into()
        }
        Notice::Removed(removed, left) => {
            format!("{} entfernt, {left} übrig", counted(*removed, "Nachricht")).into()
        }
    }
}

pub(super) fn explain(fault: &Fault) -> Cow<'static, str> {
    match fault {
        Fault::Command(CommandError::Unknown) => "diesen Befehl gibt es nicht".into(),
        Fault::Command(CommandError::Arguments(keyword, takes)) => {
            format!("{keyword} erwartet {}", arguments(*takes)).into()
        }
        Fault::Line(LineError::TooLong) => "die Zeile ist zu lang".into(),
        Fault::Line(LineError::ForbiddenOctet) => {
            "NUL-Zeichen und einzelne CR sind nicht erlaubt".into()
        }
        Fault::TooManyBadCommands => "zu viele fehlerhafte Befehle".into(),
        Fault::TooManyCommands => "zu viele Befehle ohne Anmeldung".into(),
        Fault::Evicted => {
            "zu viele Verbindungen, und diese ist nicht angemeldet; bitte nochmals versuchen".into()
        }
        Fault::Kicked => "die Sitzung wurde vom Betreiber beendet; es wird nichts gelöscht".into(),
        Fault::LogInFirst => "bitte zuerst anmelden".into(),
        Fault::AlreadyLoggedIn => "die Anmeldung ist bereits erfolgt".into(),
        Fault::UserFirst => "bitte zuerst USER senden".into(),
        Fault::TlsActive => "TLS ist bereits aktiv".into(),
        Fault::NoTls => "auf diesem Port gibt es kein TLS".into(),
        Fault::CleartextRefused => {
            "ohne TLS wird kein Passwort angenommen: bitte Port 995 oder STLS verwenden".into()
        }
        Fault::NoPasswords => {
            "hier wird kein Passwort angenommen: bitte ein Token oder Zertifikat verwenden".into()
        }
        Fault::Command(CommandError::UnknownMechanism) => {
            "dieses Anmeldeverfahren wird nicht angeboten".into()
        }
        Fault::Cancelled => "die Anmeldung wurde abgebrochen".into(),
        Fault::Response(ResponseError::NotBase64) => {
            "die Antwort ist nicht in Base64 kodiert".into()
        }
        Fault::Response(ResponseError::Malformed) => {
            "die Antwort passt nicht zum Anmeldeverfahren".into()
        }
        Fault::Response(ResponseError::ForAnother) => {
            "niemand darf sich im Namen eines anderen Benutzers anmelden".into()
        }
        Fault::Response(ResponseError::Downgraded) => {
            "Kanalbindung wird hier angeboten, und wer sie beherrscht, muss sie verwenden".into()
        }
        Fault::Response(ResponseError::Unbound) => {
            "die Kanalbindung gehört nicht zu dieser Verbindung".into()
        }
        Fault::Refused(Refusal::BadCredentials | Refusal::RepeatedPassword) => {
            "Benutzername oder Passwort ist falsch".into()
        }
        Fault::Refused(Refusal::NotAllowed) => "dieser Benutzer darf POP3 nicht verwenden".into(),
        Fault::Refused(Refusal::BadToken) => "das Token ist ungültig".into(),
        Fault::Refused(Refusal::BadCertificate) => {
            "das Zertifikat gehört hier zu keinem Benutzer".into()
        }
        Fault::Refused(Refusal::Throttled) => later("zu viele fehlgeschlagene Anmeldungen"),
        Fault::Refused(Refusal::Overloaded) => later("zu viele Anmeldungen gleichzeitig"),
        Fault::TooSlow => later("die Anmeldung hat zu lange gedauert"),
        Fault::Refused(Refusal::Unavailable(_)) => {
            later("Passwörter können zurzeit nicht geprüft werden")
        }
        Fault::TooManySessions(limit) => {
            let sessions = counted(*limit, "Sitzung");
            later(&format!("mehr als {sessions} darf dieser Benutzer nicht haben"))
        }
        Fault::Maildrop(OpenError::InUse { since }) => {
            let held = match Held::of(*since) {
                Held::Unknown => String::new(),
                Held::Since(time) => format!(" seit {time}"),
                Held::Hours(hours) => format!(" seit {hours} Stunden"),
            };
            later(&format!("dieses Postfach ist{held} in einer anderen Sitzung geöffnet"))
        }
        Fault::Maildrop(OpenError::Unavailable(_)) => {
            later("das Postfach kann zurzeit nicht gelesen werden")
        }
        Fault::Maildrop(OpenError::Guarded(_)) => {
            later("das Postfach hat sich verändert und wird von der Verwaltung geprüft")
        }
        Fault::NoSuchLanguage => "in dieser Sprache gibt es keine Antworten".into(),
        Fault::Command(CommandError::NoSuchMessage) => "diese Nachricht gibt es nicht".into(),
        Fault::Deleted => "diese Nachricht ist bereits gelöscht".into(),
        Fault::Message(number, MessageError::Gone) => {
            format!("Nachricht {number} ist nicht mehr vorhanden").into()
        }
        Fault::Message(number, MessageError::Unreadable(_)) => {
            format!("Nachricht {number} kann zurzeit nicht gelesen werden").into()
        }
        Fault::NotRemoved { remaining, marked, .. } => {
            format!("{remaining} von {marked} Nachrichten nicht entfernt").into()
        }
    }
}

fn arguments(takes: Takes) -> &'static str {
    match takes {
        Takes::Nothing => "kein Argument",
        Takes::Name => "einen Namen ohne Leerzeichen",
        Takes::Password => "ein Passwort",
        Takes::Mechanism => "ein Anmeldeverfahren und höchstens eine erste Antwort",
        Takes::Language => "ein Sprachkürzel, * oder nichts",
        Takes::Number => "die Nummer einer Nachricht",
        Takes::NumberOrNothing => "die Nummer einer Nachricht oder nichts",
        Takes::NumberAndLines => "die Nummer einer Nachricht und eine Anzahl von Zeilen",
    }
}

fn later(what: &str) -> Cow<'static, str> {
    format!("{what}; bitte später erneut versuchen").into()
}

/// `1 Nachricht`, `2 Nachrichten`
fn counted(number: u32, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "en" })
}
