//! Symbolic links by which Maildirs are kept outside of the mail root.

use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::process::geteuid;

use crate::mailbox::maildir::is_link_trusted;

/// The targets of the links below `root`, down to the Maildirs of a template.
///
/// - Only links that the mailbox follows: those of root, and those that belong to the owner of their
///   target.
/// - At most [`MOST_NAMES`] names are examined, so that the start is fast.
pub(super) fn below(root: &Path, template: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut left = MOST_NAMES;
    let mut level = vec![root.to_owned()];
    let Ok(rest) = template.strip_prefix(root) else { return found };
    for name in rest.components() {
        let name = Path::new(name.as_os_str());
        let mut deeper = Vec::new();
        for directory in &level {
            for path in entries(directory, name) {
                if left == 0 {
                    return found;
                }
                left -= 1;
                let Ok(metadata) = fs::symlink_metadata(&path) else { continue };
                if metadata.is_dir() {
                    deeper.push(path);
                } else if metadata.is_symlink() && is_followed(&metadata, &path) {
                    found.push(path.clone());
                    deeper.push(path);
                }
            }
        }
        level = deeper;
    }
    found
}

fn is_followed(link: &Metadata, path: &Path) -> bool {
    let Some(target) = fs::metadata(path).ok().filter(Metadata::is_dir) else { return false };
    // A compromised server may have created links to the mail of others, so its own links count only
    // if it owns the target.
    let server = if link.uid() == target.uid() { geteuid().as_raw() } else { ROOT };
    is_link_trusted(link.uid(), target.uid(), server)
}

/// The entries of a directory that a component of a template can stand for.
fn entries(directory: &Path, name: &Path) -> Vec<PathBuf> {
    if !name.to_string_lossy().contains('{') {
        return vec![directory.join(name)];
    }
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.take(MOST_NAMES).map(|entry| entry.path()).collect()
}

const ROOT: u32 = 0;

const MOST_NAMES: usize = 20_000;
