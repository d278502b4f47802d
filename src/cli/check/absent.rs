//! Whether missing Maildirs can be created at login, and the file names in existing ones.

use std::fs;
use std::path::Path;

use super::Examination;
use crate::config;
use crate::mailbox::maildir::{PathTemplate, foreign_separator, is_mail_root};
use crate::server::separator;

impl Examination<'_> {
    /// If `create` is set, checks that Maildirs can be created at login.
    pub(super) fn mail_root(&mut self, maildir: &config::Maildir) {
        let template = PathTemplate::new(&maildir.path);
        let Some(root) = template.root().filter(|_| maildir.create) else { return };
        if is_mail_root(root).is_ok_and(|is_one| !is_one) && !has_mail_root(root) {
            let root = if root.as_os_str().is_empty() { Path::new(".") } else { root };
            self.warn(
                "maildir.create",
                format!(
                    "{0} is not a mail root, so Maildirs below it are not created; run restante init-root \
                     {0} while the mail is mounted",
                    root.display()
                ),
            );
        }
    }

    /// Looks for file names with another flag separator.
    pub(super) fn flags<'m>(
        &mut self,
        maildir: &config::Maildir,
        places: impl IntoIterator<Item = &'m Path>,
    ) {
        let separator = separator(maildir);
        let found = places.into_iter().find_map(|path| {
            let (other, name) = foreign_separator(path, separator).ok().flatten()?;
            Some((path, other, name))
        });
        if let Some((path, other, name)) = found {
            self.warn(
                "maildir.flag-separator",
                format!(
                    "is {:?}, but {}/cur has {name}; if all such names are from programs that set \
                     flags with {:?}, write that here, since otherwise unique-ids change with the flags",
                    separator.character().to_string(),
                    path.display(),
                    other.character().to_string()
                ),
            );
        }
    }
}

/// Whether a directory in this one is a mail root, such as that of a domain.
fn has_mail_root(directory: &Path) -> bool {
    let entries = fs::read_dir(directory).into_iter().flatten().take(LOOKED_AT).flatten();
    entries.into_iter().any(|entry| is_mail_root(&entry.path()).unwrap_or(false))
}

/// How many directories are examined at most.
const LOOKED_AT: usize = 1000;
