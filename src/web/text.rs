//! The texts of the page, in each language.

use super::request::Program;
use crate::client_settings::Protocol;
use crate::config::TlsMode;

/// The language of the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Language {
    English,
    German,
}

impl Language {
    pub(super) const ALL: [Self; 2] = [Self::English, Self::German];

    /// The language with this tag (RFC 5646).
    pub(super) fn by_tag(tag: &str) -> Option<Self> {
        let primary = tag.split('-').next().unwrap_or_default();
        Self::ALL.into_iter().find(|language| language.tag().eq_ignore_ascii_case(primary))
    }

    /// The first language of an `Accept-Language` field that is known, by weight.
    pub(super) fn accepted(field: Option<&str>) -> Self {
        let ranges = field.unwrap_or_default().split(',').filter_map(|range| {
            let (tag, weight) = range.trim().split_once(";q=").unwrap_or((range.trim(), "1"));
            let weight: f32 = weight.parse().ok()?;
            Some((Self::by_tag(tag).filter(|_| weight > 0.0)?, weight))
        });
        // Of the same weight, the first.
        let best = ranges.reduce(|best, other| if other.1 > best.1 { other } else { best });
        best.map_or(Self::English, |(language, _)| language)
    }

    pub(super) fn tag(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::German => "de",
        }
    }

    /// Its own name for itself.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::English => "English",
            Self::German => "Deutsch",
        }
    }

    pub(super) fn text(self) -> &'static Text {
        match self {
            Self::English => &ENGLISH,
            Self::German => &GERMAN,
        }
    }
}

/// The texts of a language.
pub(super) struct Text {
    pub(super) title: &'static str,
    pub(super) introduction: &'static str,
    pub(super) address: &'static str,
    pub(super) show: &'static str,
    pub(super) privacy: &'static str,
    pub(super) malformed: &'static str,
    pub(super) foreign: &'static str,
    pub(super) program: &'static str,
    pub(super) settings: &'static str,
    pub(super) password: &'static str,
    pub(super) more: &'static str,
    pub(super) download: &'static str,
    pub(super) incoming: &'static str,
    pub(super) outgoing: &'static str,
    pub(super) server: &'static str,
    pub(super) port: &'static str,
    pub(super) security: &'static str,
    pub(super) user_name: &'static str,
    pub(super) none: &'static str,
    pub(super) copy: &'static str,
    pub(super) copied: &'static str,
    pub(super) help: &'static str,
    programs: [&'static str; 5],
    steps: [&'static [&'static str]; 5],
}

impl Text {
    pub(super) fn program(&self, program: Program) -> &'static str {
        of(&self.programs, program).copied().unwrap_or_default()
    }

    pub(super) fn steps(&self, program: Program) -> &'static [&'static str] {
        of(&self.steps, program).copied().unwrap_or_default()
    }

    /// What a server is for.
    pub(super) fn purpose(&self, protocol: Protocol) -> &'static str {
        match protocol {
            Protocol::Pop3 | Protocol::Imap => self.incoming,
            Protocol::Smtp => self.outgoing,
        }
    }

    /// A TLS mode, as most programs call it.
    pub(super) fn security(&self, tls: TlsMode) -> &'static str {
        match tls {
            TlsMode::Implicit => "SSL/TLS",
            TlsMode::Starttls => "STARTTLS",
            TlsMode::Off => self.none,
        }
    }
}

fn of<T>(list: &[T; 5], program: Program) -> Option<&T> {
    Program::ALL.iter().zip(list).find(|(other, _)| **other == program).map(|(_, item)| item)
}

static ENGLISH: Text = Text {
    title: "Set up your e-mail",
    introduction: "Type your e-mail address. You get the settings for your mail program, ready to copy.",
    address: "E-mail address",
    show: "Show my settings",
    privacy: "The address only fills in this page. It is not stored.",
    malformed: "This is not a complete e-mail address. Please type one such as",
    foreign: "There are no settings here for addresses of",
    program: "Which program do you use?",
    settings: "Your settings",
    password: "The password is that of your mailbox, for both servers.",
    more: "Other ports and protocols",
    download: "Download the profile",
    incoming: "Incoming mail",
    outgoing: "Outgoing mail",
    server: "Server",
    port: "Port",
    security: "Security",
    user_name: "User name",
    none: "none",
    copy: "Copy",
    copied: "Copied",
    help: "Help",
    programs: ["Thunderbird", "Outlook", "iPhone, iPad, Mac", "Android", "Other programs"],
    steps: [
        &[
            "In the menu \u{2261}, choose New Account, then Email.",
            "Type your name and your e-mail address, and continue. Thunderbird finds the settings by itself.",
            "Choose POP3, continue, and type your password.",
        ],
        &[
            "Choose File, then Add Account, and type your e-mail address.",
            "If Outlook does not find the settings, open Advanced options, choose to set up the account \
             manually, and then POP.",
            "Copy the settings from below, and type your password.",
        ],
        &[
            "Download the profile on the device.",
            "iPhone and iPad: open Settings and tap Profile Downloaded. Mac: open the file, then System \
             Settings, Device Management.",
            "Install it, and type your password.",
        ],
        &[
            "In Thunderbird for Android or K-9 Mail, type your e-mail address and continue. The app finds \
             the settings by itself.",
            "In other apps, choose POP3 and a manual set-up, and copy the settings from below.",
        ],
        &[
            "Choose POP3, or POP, and a manual set-up.",
            "Copy the settings from below, and type your password.",
        ],
    ],
};

static GERMAN: Text = Text {
    title: "E-Mail einrichten",
    introduction: "Geben Sie Ihre E-Mail-Adresse ein. Sie erhalten die Einstellungen f\u{fc}r Ihr \
                   Mailprogramm, fertig zum Kopieren.",
    address: "E-Mail-Adresse",
    show: "Einstellungen anzeigen",
    privacy: "Die Adresse f\u{fc}llt nur diese Seite aus. Sie wird nicht gespeichert.",
    malformed: "Das ist keine vollst\u{e4}ndige E-Mail-Adresse. Bitte geben Sie eine ein wie",
    foreign: "Hier gibt es keine Einstellungen f\u{fc}r Adressen von",
    program: "Welches Programm verwenden Sie?",
    settings: "Ihre Einstellungen",
    password: "Das Passwort ist das Ihres Postfachs, f\u{fc}r beide Server.",
    more: "Weitere Ports und Protokolle",
    download: "Profil herunterladen",
    incoming: "Posteingang",
    outgoing: "Postausgang",
    server: "Server",
    port: "Port",
    security: "Verschl\u{fc}sselung",
    user_name: "Benutzername",
    none: "keine",
    copy: "Kopieren",
    copied: "Kopiert",
    help: "Hilfe",
    programs: ["Thunderbird", "Outlook", "iPhone, iPad, Mac", "Android", "Andere Programme"],
    steps: [
        &[
            "W\u{e4}hlen Sie im Men\u{fc} \u{2261} Neues Konto, dann E-Mail.",
            "Geben Sie Ihren Namen und Ihre E-Mail-Adresse ein, und fahren Sie fort. Thunderbird findet die \
             Einstellungen von selbst.",
            "W\u{e4}hlen Sie POP3, fahren Sie fort, und geben Sie Ihr Passwort ein.",
        ],
        &[
            "W\u{e4}hlen Sie Datei, dann Konto hinzuf\u{fc}gen, und geben Sie Ihre E-Mail-Adresse ein.",
            "Findet Outlook die Einstellungen nicht, \u{f6}ffnen Sie Erweiterte Optionen, w\u{e4}hlen Sie die \
             manuelle Einrichtung, dann POP.",
            "Kopieren Sie die Einstellungen von unten, und geben Sie Ihr Passwort ein.",
        ],
        &[
            "Laden Sie das Profil auf dem Ger\u{e4}t herunter.",
            "iPhone und iPad: \u{f6}ffnen Sie Einstellungen, und tippen Sie auf Profil geladen. Mac: \
             \u{f6}ffnen Sie die Datei, dann Systemeinstellungen, Ger\u{e4}teverwaltung.",
            "Installieren Sie es, und geben Sie Ihr Passwort ein.",
        ],
        &[
            "Geben Sie in Thunderbird f\u{fc}r Android oder K-9 Mail Ihre E-Mail-Adresse ein, und fahren Sie \
             fort. Die App findet die Einstellungen von selbst.",
            "W\u{e4}hlen Sie in anderen Apps POP3 und die manuelle Einrichtung, und kopieren Sie die \
             Einstellungen von unten.",
        ],
        &[
            "W\u{e4}hlen Sie POP3 oder POP und die manuelle Einrichtung.",
            "Kopieren Sie die Einstellungen von unten, und geben Sie Ihr Passwort ein.",
        ],
    ],
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_language_is_the_one_that_the_client_prefers() {
        for (field, expected) in [
            ("de", Language::German),
            ("de-AT,en;q=0.5", Language::German),
            ("en-GB, de;q=0.9", Language::English),
            ("fr, de;q=0.5, en;q=0.4", Language::German),
            ("de;q=0, en", Language::English),
            ("fr", Language::English),
            (";q=,,\u{e9};q=x", Language::English),
            ("", Language::English),
        ] {
            assert_eq!(Language::accepted(Some(field)), expected, "{field}");
        }
        assert_eq!(Language::accepted(None), Language::English);
    }
}
