//! `[maildir]`: where the mail is, and which unique-ids another server gave to it. `[guard]`: when a
//! login is refused because unique-ids would change.

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use toml::Value;

use super::bounds::{Number, Span, number, span};
use super::section::Section;
use super::value;

/// `[maildir]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Maildir {
    /// The template; its placeholders have been checked.
    pub path: PathBuf,
    /// Whether a missing Maildir below a mail root is created at login.
    pub create: bool,
    /// The character before the flags in file names.
    pub flag_separator: FlagSeparator,
    /// How long a login waits for another session of the user to end.
    pub lock_wait: Duration,
    /// How long that session must have been idle to end for the login.
    pub yield_idle: Duration,
    /// Where unique-ids come from, for mail that has never been listed. `None`: not set, so from the
    /// names.
    pub uidl: Option<Vec<UidlSource>>,
    /// The order in which new mail is listed.
    pub order: NewMailOrder,
    /// `[maildir.dovecot]`
    pub dovecot: Dovecot,
    /// `[maildir.map]`: the template of the operator's own list of unique-ids.
    pub map: Option<PathBuf>,
}

/// The character before the flags in file names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[expect(missing_docs, reason = "the names say it all")]
pub enum FlagSeparator {
    #[serde(rename = ":")]
    Colon,
    #[serde(rename = ";")]
    Semicolon,
    #[serde(rename = "!")]
    Exclamation,
    #[serde(rename = "_")]
    Underscore,
}

/// A source of unique-ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum UidlSource {
    /// Dovecot's `dovecot-uidlist`.
    Dovecot,
    /// Courier's `courierpop3dsizelist`.
    Courier,
    /// The file name without flags: qmail-pop3d, and Dovecot's `%f`.
    BaseName,
    /// The operator's own list.
    Map,
    /// The unique name, as for mail that no other server has served.
    Name,
}

impl UidlSource {
    /// The word for it in the configuration.
    pub fn word(self) -> &'static str {
        match self {
            Self::Dovecot => "dovecot",
            Self::Courier => "courier",
            Self::BaseName => "base-name",
            Self::Map => "map",
            Self::Name => "name",
        }
    }
}

/// The order in which new mail is listed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum NewMailOrder {
    /// By the number at the start of the file name.
    #[default]
    Number,
    /// By the time of the last modification: qmail-pop3d, solid-pop3d.
    Modified,
}

/// `[maildir.dovecot]`: the settings of the Dovecot that served the mail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dovecot {
    /// `pop3_uidl_format`. Its syntax has not been checked.
    pub format: String,
    /// The template of the directory with its lists. `None`: the Maildir.
    pub control: Option<PathBuf>,
    /// `pop3_reuse_xuidl`.
    pub reuse_xuidl: bool,
    /// `pop3_uidl_duplicates`.
    pub duplicates: Duplicates,
    /// `pop3_deleted_flag`: the keyword of messages that are not listed.
    pub deleted_flag: Option<String>,
}

impl Default for Dovecot {
    fn default() -> Self {
        Self {
            format: FORMAT.to_owned(),
            control: None,
            reuse_xuidl: false,
            duplicates: Duplicates::default(),
            deleted_flag: None,
        }
    }
}

/// What Dovecot did when two messages had the same unique-id.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Duplicates {
    /// It listed both. Here, the first in the order of UIDs keeps it.
    #[default]
    Allow,
    /// It appended `-2`, `-3` and so on, in the order of UIDs.
    Rename,
}

/// `[guard]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guard {
    /// What happens at a login when unique-ids would change.
    pub mode: GuardMode,
    /// How many of the remembered messages would have to change: per cent of those that still exist.
    pub share: u8,
    /// And at least so many messages.
    pub least: NonZeroU32,
}

impl Default for Guard {
    fn default() -> Self {
        let least = NonZeroU32::MIN.saturating_add(9);
        Self { mode: GuardMode::default(), share: 20, least }
    }
}

/// What happens at a login when unique-ids would change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum GuardMode {
    /// The login is refused.
    #[default]
    Refuse,
    /// The change is logged.
    Warn,
    /// Nothing.
    Off,
}

/// Reads `[maildir]`.
pub(super) fn maildir(section: &Section<'_>) -> Option<Maildir> {
    let (lock_wait, yield_idle) = (section.duration(&LOCK_WAIT), section.duration(&YIELD_IDLE));
    let create = section.flag("create", false);
    let flag_separator = section.choice("flag-separator", FlagSeparator::Colon);
    let sources = Sources::read(section);
    let order = section.choice("order", NewMailOrder::default());
    let dovecot = dovecot(&section.section("dovecot"), &sources);
    let map = map(section, &sources);
    let path = section.required("path", PATH)?.template(PATH)?;
    let uidl = sources.list;
    Some(Maildir { path, create, flag_separator, lock_wait, yield_idle, uidl, order, dovecot, map })
}

/// The sources in `uidl`.
struct Sources {
    /// The valid ones. `None` without the key.
    list: Option<Vec<UidlSource>>,
    /// Whether there are others, which have been reported.
    has_fault: bool,
}

impl Sources {
    fn read(section: &Section<'_>) -> Self {
        let Some(entry) = section.entry("uidl") else {
            // If it is in the wrong section, that is reported instead.
            return Self { list: None, has_fault: section.is_misplaced("uidl") };
        };
        let Some(texts) = entry.texts(SOURCE) else {
            return Self { list: None, has_fault: true };
        };
        if texts.is_empty() {
            entry.refuse("is empty; write at least one source: [\"name\"]");
        }
        let mut list = Vec::new();
        for (item, word) in &texts {
            match item.choice(SOURCE) {
                Some(source) if list.contains(&source) => {
                    item.refuse(format!("{word:?} occurs twice; remove one of them"));
                }
                Some(source) => list.push(source),
                None => {}
            }
        }
        let has_fault = list.is_empty() || list.len() != texts.len();
        Self { list: Some(list), has_fault }
    }

    fn iter(&self) -> impl Iterator<Item = UidlSource> {
        self.list.iter().flatten().copied()
    }

    /// Whether this is one of them. A source that is invalid may have been meant as any.
    fn may_have(&self, source: UidlSource) -> bool {
        self.has_fault || self.iter().any(|listed| listed == source)
    }

    /// What to write to have this source as well.
    fn line_with(&self, source: UidlSource) -> String {
        let list: Vec<_> = [source].into_iter().chain(self.iter()).collect();
        let list = Value::try_from(list).map(|list| list.to_string()).unwrap_or_default();
        format!("uidl = {list}")
    }
}

/// Reads `[maildir.dovecot]`.
///
/// - Keywords are in Dovecot's control directory, so `control` may go with `deleted-flag` alone.
fn dovecot(section: &Section<'_>, sources: &Sources) -> Dovecot {
    let deleted_flag = section.entry("deleted-flag");
    let has_flag = deleted_flag.is_some();
    let deleted_flag =
        deleted_flag.and_then(|entry| entry.checked(value::keyword(entry.text(KEYWORD)?)));
    let is_source = sources.may_have(UidlSource::Dovecot);
    if !is_source {
        let line = sources.line_with(UidlSource::Dovecot);
        let why = format!(
            "has no effect without \"dovecot\" in uidl; write {line} in [maildir], or remove this"
        );
        section.refuse(&["format", "reuse-xuidl", "duplicates"], &why);
        if !has_flag {
            section.refuse(&["control"], &why);
        }
    }
    let control = section.entry("control").and_then(|entry| entry.template(CONTROL));
    if !is_source {
        return Dovecot { control, deleted_flag, ..Dovecot::default() };
    }
    section.default("format", FORMAT);
    let format = section.entry("format").and_then(|entry| entry.text("\"%08Xu%08Xv\""));
    Dovecot {
        format: format.unwrap_or(FORMAT).to_owned(),
        control,
        reuse_xuidl: section.flag("reuse-xuidl", false),
        duplicates: section.choice("duplicates", Duplicates::default()),
        deleted_flag,
    }
}

/// Reads `[maildir.map]`.
fn map(section: &Section<'_>, sources: &Sources) -> Option<PathBuf> {
    let entry = section.entry("map");
    let map = section.section("map");
    let is_source = sources.may_have(UidlSource::Map);
    match entry {
        None if is_source && !sources.has_fault => section.lacks(
            "map",
            format!(
                "is missing, and uidl has \"map\"; write a section [maildir.map] with path = {MAP}"
            ),
        ),
        Some(entry) if !is_source => entry.refuse(format!(
            "has no effect without \"map\" in uidl; write {} in [maildir], or remove this section",
            sources.line_with(UidlSource::Map)
        )),
        _ => {}
    }
    if !map.is_present() {
        return None;
    }
    map.required("path", MAP)?.template(MAP)
}

/// Reads `[guard]`.
pub(super) fn guard(section: &Section<'_>) -> Guard {
    Guard {
        mode: section.choice("mode", GuardMode::default()),
        share: u8::try_from(section.number(&SHARE).get()).unwrap_or(u8::MAX),
        least: section.number(&LEAST),
    }
}

const LOCK_WAIT: Span = span("lock-wait", 5, 0, 60);
const YIELD_IDLE: Span = span("yield-idle", 60, 10, 86_400);
const SHARE: Number = number("share", 20, 100);
const LEAST: Number = number("least", 10, 1_000_000);

/// Dovecot's own default, as version 2.3 spells it.
const FORMAT: &str = "%08Xu%08Xv";

// Valid values for the messages.
const PATH: &str = "\"/var/vmail/{domain}/{local}/Maildir\"";
const CONTROL: &str = "\"/var/control/{user}/.INBOX\"";
const MAP: &str = "\"/etc/restante/uidl/{user}\"";
const SOURCE: &str = "\"dovecot\"";
const KEYWORD: &str = "\"$POP3Deleted\"";
