//! German.

use std::borrow::Cow;

use super::{Held, Notice};
use crate::protocol::Takes;
use crate::session::fault::Fault;
use crate::session::listing::Totals;

pub(super) fn say(notice: &Notice) -> Cow<'static, str> {
    match notice {
        Notice::SendPass => "weiter mit PASS".into(),
        Notice::BeginTls => "jetzt mit TLS beginnen".into(),
        Notice::Mechanisms => "die Verfahren folgen".into(),
        Notice::Capabilities => "die Fähigkeiten folgen".into(),
        Notice::Languages => "die Sprachen folgen".into(),
        Notice::LanguageChosen => "die Antworten sind auf Deutsch".into(),
        Notice::Utf8 => "der UTF-8-Modus ist eingeschaltet".into(),
        Notice::Totals(Totals { messages, octets }) => {
            format!("{} ({octets} Oktette)", counted(*messages, "Nachricht")).into()
        }
        Notice::UniqueIds => "die Kennungen folgen".into(),
        Notice::Octets(octets) => format!("{octets} Oktette").into(),
        Notice::Top => "der Anfang der Nachricht folgt".into(),
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
        Fault::UnknownCommand => "diesen Befehl gibt es nicht".into(),
        Fault::Arguments(keyword, takes) => {
            format!("{keyword} verlangt {}", arguments(*takes)).into()
        }
        Fault::LineTooLong => "die Zeile ist zu lang".into(),
        Fault::ForbiddenOctet => "ein NUL oder ein einzelnes CR ist nicht erlaubt".into(),
        Fault::TooManyBadCommands => "zu viele falsche Befehle".into(),
        Fault::LogInFirst => "zuerst anmelden".into(),
        Fault::AlreadyLoggedIn => "schon angemeldet".into(),
        Fault::UserFirst => "zuerst USER senden".into(),
        Fault::TlsActive => "TLS ist schon eingeschaltet".into(),
        Fault::NoTls => "an diesem Port gibt es kein TLS".into(),
        Fault::CleartextRefused => {
            "ohne TLS wird kein Passwort angenommen: Port 995 verwenden oder STLS".into()
        }
        Fault::NoPasswords => {
            "hier wird kein Passwort angenommen: Token oder Zertifikat verwenden".into()
        }
        Fault::UnknownMechanism => "dieses Verfahren wird nicht angeboten".into(),
        Fault::Cancelled => "die Anmeldung wurde abgebrochen".into(),
        Fault::NotBase64 => "die Antwort ist kein Base64".into(),
        Fault::MalformedResponse => "die Antwort passt nicht zum Verfahren".into(),
        Fault::ForAnother => "niemand darf für einen anderen Benutzer handeln".into(),
        Fault::Downgraded => {
            "Kanalbindung wird hier angeboten, und wer sie kann, muss sie verwenden".into()
        }
        Fault::Unbound => "die Kanalbindung ist nicht die dieser Verbindung".into(),
        Fault::BadCredentials => "Benutzername oder Passwort ist falsch".into(),
        Fault::NotAllowed => "dieser Benutzer darf POP3 nicht verwenden".into(),
        Fault::BadToken => "das Token ist nicht gültig".into(),
        Fault::BadCertificate => "das Zertifikat gehört hier keinem Benutzer".into(),
        Fault::Throttled => later("zu viele Anmeldungen sind fehlgeschlagen"),
        Fault::Overloaded => later("zu viele Anmeldungen zur gleichen Zeit"),
        Fault::TooSlow => later("die Anmeldung hat zu lange gedauert"),
        Fault::CredentialsUnavailable(_) => {
            later("Passwörter können zur Zeit nicht geprüft werden")
        }
        Fault::TooManySessions(limit) => {
            let sessions = counted(*limit, "Sitzung");
            later(&format!("dieser Benutzer hat {sessions} und darf nicht mehr haben"))
        }
        Fault::InUse(since) => {
            let held = match Held::of(*since) {
                Held::Somehow => String::new(),
                Held::Since(time) => format!(" seit {time}"),
                Held::Hours(hours) => format!(" seit {hours} Stunden"),
            };
            later(&format!("dieses Postfach ist{held} in einer anderen Sitzung offen"))
        }
        Fault::MaildropUnavailable(_) => later("das Postfach kann zur Zeit nicht gelesen werden"),
        Fault::NoSuchLanguage => "in dieser Sprache gibt es keine Antworten".into(),
        Fault::NoSuchMessage => "diese Nachricht gibt es nicht".into(),
        Fault::Deleted => "die Nachricht ist schon gelöscht".into(),
        Fault::Gone(number) => format!("Nachricht {number} ist nicht mehr da").into(),
        Fault::Unreadable(number, _) => {
            format!("Nachricht {number} kann zur Zeit nicht gelesen werden").into()
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
        Takes::Mechanism => "ein Verfahren und höchstens eine erste Antwort",
        Takes::Language => "ein Sprachkürzel, * oder nichts",
        Takes::Number => "die Nummer einer Nachricht",
        Takes::NumberOrNothing => "die Nummer einer Nachricht oder nichts",
        Takes::NumberAndLines => "die Nummer einer Nachricht und eine Zahl von Zeilen",
    }
}

fn later(what: &str) -> Cow<'static, str> {
    format!("{what}; bitte später noch einmal versuchen").into()
}

/// `1 Nachricht`, `2 Nachrichten`
fn counted(number: u32, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "en" })
}
