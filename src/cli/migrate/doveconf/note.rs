//! Comments on settings that have no equivalent, or that are needed elsewhere.

use super::block::Block;
use super::settings::Settings;
use super::variable::NoPlaceholder;
use crate::uidl::{FormatError, UidlFormat};

/// A comment. `Display` is its text.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Note {
    #[error(
        "Dovecot serves no POP3 with these settings. If it never did, no client knows unique-ids of \
         it: remove the keys below except path."
    )]
    NoPop3,
    #[error(
        "{0} is not set, so Dovecot looks for the mail of each user. Write path; if the mail is not \
         in Maildirs, copy it first: doveadm backup -u USER maildir:DIRECTORY"
    )]
    NoLocation(&'static str),
    #[error(
        "{0:?} cannot be translated: {1}. Write the path, or let the credential store provide the \
         location of each user's mail (docs/CREDENTIALS.md)."
    )]
    NoPlaceholder(String, NoPlaceholder),
    #[error(
        "{{home}} is the home directory that the credential store provides (docs/CREDENTIALS.md); \
         restante check warns about users without one."
    )]
    Home,
    #[error(
        "The output does not show mailbox_list_layout = fs. With that layout, the last part of \
         control is INBOX, not .INBOX."
    )]
    HiddenLayout,
    #[error(
        "The user database ({0}) may give a user another home directory, or another location of the \
         mail. Let the credential store provide the same (docs/CREDENTIALS.md)."
    )]
    UserDatabase(String),
    #[error(
        "auth_username_format = {0:?}: Dovecot changes user names before it makes a path of them, \
         and this server only changes them to lower case. Compare a path with that of \
         doveadm user USER."
    )]
    UserNames(String),
    #[error("Mail is encrypted (mail_crypt). Encrypted messages cannot be served.")]
    Encrypted,
    #[error("pop3_uidl_format = {0:?} cannot be used: {1}.")]
    Format(String, FormatError),
    #[error("The settings in {0:?} apply to some connections only. They are not translated.")]
    Filter(String),
}

impl Note {
    /// The lines of the comment. Control characters, which TOML does not allow there, are escaped.
    pub(super) fn comment(&self) -> String {
        let escaped = |c: char| match c.is_control() {
            true => c.escape_default().to_string(),
            false => c.to_string(),
        };
        let text: String = self.to_string().chars().map(escaped).collect();
        let (mut lines, mut line) = (String::new(), "#".to_owned());
        for word in text.split(' ') {
            if line.chars().count() + word.chars().count() >= WIDTH {
                lines = lines + &line + "\n";
                line = "#".to_owned();
            }
            line = line + " " + word;
        }
        lines + &line + "\n"
    }
}

/// The notes on settings other than paths.
pub(super) fn of(settings: &Settings<'_>) -> Vec<Note> {
    let mut notes = Vec::new();
    if !serves_pop3(settings) {
        notes.push(Note::NoPop3);
    }
    if encrypts(settings) {
        notes.push(Note::Encrypted);
    }
    let format = settings.setting("auth_username_format");
    if let Some(format) = format.filter(|format| !LOWER_CASE.contains(format)) {
        notes.push(Note::UserNames(format.to_owned()));
    }
    let format = settings.setting("pop3_uidl_format");
    if let Some((format, error)) = format.and_then(|it| Some((it, UidlFormat::parse(it).err()?))) {
        notes.push(Note::Format(format.to_owned(), error));
    }
    for database in settings.root.blocks_of("userdb") {
        notes.extend(of_database(database));
    }
    let filters = settings.root.blocks().filter(|block| FILTERS.contains(&block.kind()));
    let filters = filters.filter(|block| CONCERNED.iter().any(|start| block.mentions(start)));
    notes.extend(filters.map(|block| Note::Filter(block.header.to_owned())));
    notes
}

/// Whether POP3 is one of the protocols: words in 2.3, a block in 2.4.
fn serves_pop3(settings: &Settings<'_>) -> bool {
    if let Some(protocols) = settings.setting("protocols") {
        return protocols.split_whitespace().any(|protocol| protocol == "pop3");
    }
    let mut blocks = settings.root.blocks_of("protocols").peekable();
    blocks.peek().is_none() || blocks.any(|block| block.is_set("pop3"))
}

/// Whether the plugin for encryption is loaded: words in 2.3, a block in 2.4.
fn encrypts(settings: &Settings<'_>) -> bool {
    let words = settings.setting("mail_plugins").unwrap_or_default();
    let is_word = words.split_whitespace().any(|plugin| plugin == "mail_crypt");
    is_word || settings.blocks_of("mail_plugins").any(|block| block.is_set("mail_crypt"))
}

/// The note on a user database that may provide the location of the mail.
fn of_database(database: &Block<'_>) -> Option<Note> {
    let name = database.header.split(' ').nth(1);
    let driver = database.setting("driver").or(name)?;
    let is_static = driver == "static" && {
        let args = database.setting("args").unwrap_or_default();
        !args.contains("mail=") && !database.mentions("mail_")
    };
    let is_known = is_static || driver == "passwd";
    (!is_known).then(|| Note::UserDatabase(driver.to_owned()))
}

const WIDTH: usize = 100;

/// The values of `auth_username_format` that do what this server does.
const LOWER_CASE: &[&str] = &["%Lu", "%{user | lower}", "%{user|lower}"];

/// Blocks that apply to some connections.
const FILTERS: &[&str] = &["local", "local_name", "remote"];

/// The start of the names of settings that are translated.
const CONCERNED: &[&str] = &["mail_", "mailbox_", "pop3_", "location"];
