//! Unique-ids from the configured sources.

use std::io;
use std::path::Path;

use super::super::super::Failure;
use super::super::entry::Entry;
use super::super::folder::OpenFile;
use super::super::folders::Folders;
use super::super::header;
use super::super::stamp::Moment;
use super::lists::Lists;
use super::settings::{Places, Settings};
use crate::config::{NewMailOrder, UidlSource};
use crate::uidl::{DovecotSource, PassedOver, Source, Taken, TakenId, take_over};

/// The unique-id that the sources give to a message.
#[derive(Debug)]
pub(super) struct Sourced {
    /// The index of the message.
    pub(super) nth: usize,
    pub(super) id: TakenId,
    /// Where the unique-id comes from: the name, if no source has a usable one.
    pub(super) source: UidlSource,
    /// The first source whose unique-id the message does not have, and why.
    pub(super) passed_over: Option<(UidlSource, PassedOver)>,
}

/// Chooses unique-ids for messages, which are given in the order of the listing. Returns them in the
/// order in which they are to be listed, and the lists that they come from.
///
/// # Errors
/// When a list cannot be used, or a message cannot be read whose header has its unique-id.
pub(super) fn ask(
    folders: &Folders<'_>,
    settings: &Settings,
    places: &Places,
    messages: Vec<Entry<'_>>,
    is_used: impl Fn(&[u8]) -> bool,
) -> Result<Asked, Failure> {
    if messages.is_empty() {
        return Ok(Asked::default());
    }
    let root = folders.maildir().root();
    let mut messages = messages.into_iter().enumerate().collect::<Vec<_>>();
    if settings.order == NewMailOrder::Modified {
        messages.sort_by_cached_key(|(_, entry)| modified(folders, entry));
    }
    let base_names = messages.iter().map(|(_, entry)| root.separator().before_flags(entry.name));
    let base_names = base_names.collect::<Vec<_>>();
    let lists = Lists::read(root, settings, places, &base_names)?;
    let (words, sources): (Vec<_>, Vec<_>) = sources(settings, &lists).into_iter().unzip();
    let mut head = Vec::new();
    let is_used = |id: &TakenId| is_used(id.as_str().as_bytes());
    let mut failure = None;
    let taken = take_over(&base_names, &sources, settings.order, is_used, |nth| {
        let (_, entry) = messages.get(nth).filter(|_| failure.is_none())?;
        head.resize(header::LONGEST, 0);
        let file = folders.open_file(entry.folder, entry.name);
        let read = file.and_then(|OpenFile { file, .. }| header::read(&file, &mut head));
        match read {
            Ok(length) => Some(header::field(head.get(..length?)?, b"x-uidl")?.to_vec()),
            Err(error) => {
                failure = Some(unread(root.path(), entry.name, error));
                None
            }
        }
    });
    // Without the field, messages would have other unique-ids for good.
    if let Some(failure) = failure {
        return Err(failure);
    }
    let word = |index: usize| words.get(index).copied().unwrap_or(UidlSource::Name);
    let sourced = taken.into_iter().filter_map(|Taken { position, id, source, passed_over }| {
        let (nth, _) = *messages.get(position)?;
        let passed_over = passed_over.map(|(index, why)| (word(index), why));
        Some(Sourced { nth, id, source: source.map_or(UidlSource::Name, word), passed_over })
    });
    let sourced = sourced.collect();
    Ok(Asked { sourced, lists })
}

/// What the sources say.
#[derive(Debug, Default)]
pub(super) struct Asked {
    pub(super) sourced: Vec<Sourced>,
    pub(super) lists: Lists,
}

/// The sources that are there, and their words in the configuration.
fn sources<'a>(settings: &'a Settings, lists: &'a Lists) -> Vec<(UidlSource, Source<'a>)> {
    let source = |source: &UidlSource| match source {
        UidlSource::Dovecot => {
            let Settings { format, reuse_xuidl, duplicates, .. } = settings;
            let (reuse_xuidl, duplicates) = (*reuse_xuidl, *duplicates);
            let (list, format) = lists.dovecot.as_ref().zip(format.as_ref())?;
            Some(Source::Dovecot(DovecotSource { list, format, reuse_xuidl, duplicates }))
        }
        UidlSource::Courier => lists.courier.as_ref().map(Source::Courier),
        UidlSource::Map => lists.map.as_ref().map(Source::Map),
        UidlSource::BaseName => Some(Source::BaseName),
        UidlSource::Name => Some(Source::Name),
    };
    settings.sources().iter().filter_map(|word| Some((*word, source(word)?))).collect()
}

fn unread(maildir: &Path, name: &[u8], error: io::Error) -> Failure {
    let (maildir, name) = (maildir.display(), name.escape_ascii());
    Failure::new(format!("read the header of {name} in {maildir}"), error)
}

/// The time by which qmail-pop3d sorts. Files that have been renamed meanwhile come last.
fn modified(folders: &Folders<'_>, entry: &Entry<'_>) -> (bool, Option<Moment>) {
    let modified = folders.modified(entry.folder, entry.name).ok();
    (modified.is_none(), modified)
}
