//! Unique-ids from the configured sources, for messages that have never been shown.

use std::io;
use std::path::Path;
use std::time::Duration;

use super::super::super::Failure;
use super::super::folder::OpenFile;
use super::super::folders::Folders;
use super::super::header;
use super::super::stamp::Moment;
use super::Rules;
use super::candidates::Candidate;
use super::lists::Lists;
use super::settings::Settings;
use crate::config::{NewMailOrder, UidlSource};
use crate::uidl::{DovecotSource, Source, TakenId, take_over};

/// Chooses unique-ids for new messages, which are given in the order of the listing. Returns them
/// in the order in which they are to be listed.
///
/// # Errors
/// When a list cannot be used, or a message cannot be read whose header has its unique-id.
pub(super) fn ask<'c, 'a>(
    folders: &Folders<'_>,
    rules: &Rules<'_>,
    new: &[&'c Candidate<'a>],
    is_used: impl Fn(&[u8]) -> bool,
) -> Result<Vec<(&'c Candidate<'a>, TakenId)>, Failure> {
    if new.is_empty() {
        return Ok(Vec::new());
    }
    let (root, settings) = (folders.maildir().root(), rules.settings);
    let mut new = new.to_vec();
    if settings.order == NewMailOrder::Modified {
        new.sort_by_cached_key(|candidate| modified(folders, candidate));
    }
    let base_names = new.iter().map(|new| root.separator().before_flags(new.entry.name));
    let base_names = base_names.collect::<Vec<_>>();
    let lists = Lists::read(root, settings, rules.places, &base_names)?;
    let sources = sources(settings, &lists);
    let mut head = Vec::new();
    let is_used = |id: &TakenId| is_used(id.as_str().as_bytes());
    let mut failure = None;
    let taken = take_over(&base_names, &sources, settings.order, is_used, |nth| {
        let entry = new.get(nth).filter(|_| failure.is_none())?.entry;
        head.resize(HEAD, 0);
        let file = folders.open_file(entry.folder, entry.name);
        let read =
            file.and_then(|OpenFile { file, .. }| header::read_within(HEAD_TIME, &file, &mut head));
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
    let chosen = taken.into_iter().filter_map(|taken| Some((*new.get(taken.position)?, taken.id)));
    Ok(chosen.collect())
}

fn sources<'a>(settings: &'a Settings, lists: &'a Lists) -> Vec<Source<'a>> {
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
    settings.sources().iter().filter_map(source).collect()
}

fn unread(maildir: &Path, name: &[u8], error: io::Error) -> Failure {
    let (maildir, name) = (maildir.display(), name.escape_ascii());
    Failure::new(format!("read the header of {name} in {maildir}"), error)
}

/// The time by which qmail-pop3d sorts. Files that have been renamed meanwhile come last.
fn modified(folders: &Folders<'_>, candidate: &Candidate<'_>) -> (bool, Option<Moment>) {
    let entry = candidate.entry;
    let modified = folders.modified(entry.folder, entry.name).ok();
    (modified.is_none(), modified)
}

/// The octets of a message in which its header is searched.
const HEAD: usize = 64 << 10;

/// The time limit for decompressing them.
const HEAD_TIME: Duration = Duration::from_secs(1);
