//! The sections of the configuration for the settings of Dovecot, from the output of `doveconf -n`.
//!
//! - `block` reads the output, `settings` finds the settings that apply to POP3.
//! - `location` is where the mail is, `variable` translates the variables in a path.
//! - `note` has the comments on settings without an equivalent.

use toml::Value;

mod block;
mod location;
mod note;
mod settings;
#[cfg(test)]
mod tests;
mod variable;

use block::{Block, SyntaxError};
use location::{Location, NotAMaildir};
use note::Note;
use settings::Settings;

/// Why settings cannot be translated.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum DoveconfError {
    #[error(transparent)]
    Syntax(#[from] SyntaxError),
    #[error(transparent)]
    NotAMaildir(#[from] NotAMaildir),
}

/// The sections for the output of `doveconf -n`, with comments.
///
/// # Errors
/// [`DoveconfError`] when the text is no such output, or the mail is not in Maildirs.
pub(super) fn translate(text: &str) -> Result<String, DoveconfError> {
    let root = Block::parse(text)?;
    let settings = Settings::of(&root);
    let location = Location::of(&settings);
    let mut paths = Paths { home: home(&settings), notes: Vec::new() };
    let path = match location.maildir()? {
        Some(path) => paths.template(path),
        None => {
            paths.notes.push(Note::NoLocation(location.setting));
            None
        }
    };
    let control = location.control().and_then(|control| paths.template(&control));
    if control.is_some() && location.hides_layout() {
        paths.notes.push(Note::HiddenLayout);
    }
    let mut notes = note::of(&settings);
    notes.append(&mut paths.notes);

    let mut sections = format!("# From the settings of Dovecot{}.\n", version(text));
    for note in &notes {
        sections.push_str(&note.comment());
    }
    let path = path.map(|path| ("path", path.into()));
    let maildir = path.into_iter().chain([("uidl", sources(&settings))]);
    write_section(&mut sections, "maildir", maildir);
    let control = control.map(|control| ("control", control.into()));
    write_section(&mut sections, "maildir.dovecot", of_pop3(&settings).into_iter().chain(control));
    Ok(sections)
}

/// The translation of paths.
struct Paths {
    /// The template of home directories.
    home: String,
    notes: Vec<Note>,
}

impl Paths {
    fn template(&mut self, path: &str) -> Option<String> {
        match variable::template(path, &self.home) {
            Ok(template) => {
                if template.starts_with(HOME) && !self.notes.contains(&Note::Home) {
                    self.notes.push(Note::Home);
                }
                Some(template)
            }
            Err(error) => {
                self.notes.push(Note::NoPlaceholder(path.to_owned(), error));
                None
            }
        }
    }
}

/// The template of home directories: that of the only user database, or `mail_home`.
fn home(settings: &Settings<'_>) -> String {
    let mut databases = settings.root.blocks_of("userdb");
    let of_database = match (databases.next(), databases.next()) {
        (Some(only), None) => static_home(only),
        _ => None,
    };
    let home = of_database.or_else(|| settings.setting("mail_home"));
    let template = home.and_then(|home| variable::template(home, HOME).ok());
    template.unwrap_or_else(|| HOME.to_owned())
}

/// The home directory in a user database of the kind `static`.
fn static_home<'a>(database: &'a Block<'a>) -> Option<&'a str> {
    if database.setting("driver") == Some("static") {
        let mut words = database.setting("args")?.split_whitespace();
        return words.find_map(|word| word.strip_prefix("home="));
    }
    let fields = database.blocks_of("fields").next()?;
    fields.setting("home").filter(|_| database.header == "userdb static")
}

/// The value of `uidl`.
///
/// - For new mail, Dovecot makes an id of `%f` or `%g` from the base name as well.
fn sources(settings: &Settings<'_>) -> Value {
    let is_base_name = matches!(
        settings.setting("pop3_uidl_format"),
        Some("%f" | "%g" | "%{filename}" | "%{guid}")
    );
    match is_base_name {
        true => vec!["dovecot", "base-name"].into(),
        false => vec!["dovecot"].into(),
    }
}

/// The keys of `[maildir.dovecot]` that settings of POP3 have other values for.
fn of_pop3(settings: &Settings<'_>) -> Vec<(&'static str, Value)> {
    let text = |key, name| Some((key, settings.setting(name)?.into()));
    let reuse = settings.is_set("pop3_reuse_xuidl").then(|| ("reuse-xuidl", true.into()));
    let keys = [
        text("format", "pop3_uidl_format"),
        reuse,
        text("duplicates", "pop3_uidl_duplicates"),
        text("deleted-flag", "pop3_deleted_flag"),
    ];
    keys.into_iter().flatten().collect()
}

/// Writes a section, unless it has no keys.
fn write_section(text: &mut String, name: &str, keys: impl Iterator<Item = (&'static str, Value)>) {
    let lines: String = keys.map(|(key, value)| format!("{key} = {value}\n")).collect();
    if !lines.is_empty() {
        text.push_str(&format!("\n[{name}]\n{lines}"));
    }
}

/// The version in the first line of the output: `# 2.3.19.1 (9b53102964): FILE`.
fn version(text: &str) -> String {
    let first = text.lines().next().and_then(|line| line.strip_prefix("# "));
    let word = first.and_then(|line| line.split(' ').next()).unwrap_or_default();
    let is_version = word.starts_with(|c: char| c.is_ascii_digit())
        && word.bytes().all(|octet| octet.is_ascii_graphic());
    if is_version { format!(" {word}") } else { String::new() }
}

/// The placeholder for home directories.
const HOME: &str = "{home}";
