//! The lists of unique-ids that other servers have left: whether the server can read those that the
//! configuration uses, and whether there are some that it does not use.

use std::path::{Path, PathBuf};

use super::Examination;
use super::access::ServerUser;
use super::mail::{Maildir, missing};
use super::report::counted_users;
use super::unit::{PathAccess, UNIT_NAME};
use crate::config::{self, UidlSource};
use crate::mailbox::maildir::PathTemplate;
use crate::uidl::{COURIER_LIST, DOVECOT_LIST, UidlFormat};

/// A list of unique-ids, and the key that leads to it.
struct List {
    key: &'static str,
    path: PathBuf,
}

impl Examination<'_> {
    /// Checks the format of Dovecot's unique-ids.
    pub(super) fn uidl_format(&mut self) {
        let Some(maildir) = &self.config.maildir else { return };
        if let Err(error) = UidlFormat::parse(&maildir.dovecot.format) {
            self.error("maildir.dovecot.format", error);
        }
    }

    /// Checks the lists for these users.
    pub(super) fn lists(
        &mut self,
        maildir: &config::Maildir,
        sample: &[&Maildir],
        server_user: Option<&ServerUser>,
    ) {
        for (key, template) in [(CONTROL, &maildir.dovecot.control), (MAP, &maildir.map)] {
            let Some(template) = template.as_ref().map(PathTemplate::new) else { continue };
            let root = template.root().filter(|root| !root.as_os_str().is_empty());
            if let Some(root) = root {
                self.list_root(key, root, server_user);
            }
        }
        let lists = |user: &&Maildir| lists_of(maildir, user);
        self.hidden_list(sample.iter().flat_map(lists));
        if let Some(server_user) = server_user {
            self.unreadable_lists(maildir, sample, server_user);
        }
        if maildir.uidl.is_none() && self.config.is_sound(UIDL) {
            self.unclaimed(sample);
        }
    }

    /// Checks the directory of the lists of all users.
    fn list_root(&mut self, key: &str, root: &Path, server_user: Option<&ServerUser>) {
        if let Some(why) = missing(root) {
            self.warn(
                key,
                format!(
                    "{} {why}, so no unique-ids are taken from there; mount or create it, or correct \
                     the path",
                    root.display()
                ),
            );
        } else if let Some(obstacle) = server_user.and_then(|it| it.obstacle(root)) {
            self.warn(key, obstacle);
        }
    }

    /// Looks for a list that the unit hides. For those in Maildirs, that has been reported.
    fn hidden_list(&mut self, mut lists: impl Iterator<Item = List>) {
        let Some(unit) = &self.circumstances.unit else { return };
        let is_hidden = |list: &List| unit.access(&list.path) == PathAccess::Hidden;
        if let Some(List { key, path }) = lists.find(|list| list.key != UIDL && is_hidden(list)) {
            self.warn(
                key,
                format!(
                    "{} is hidden from {UNIT_NAME} by ProtectHome=, PrivateTmp= or InaccessiblePaths=; \
                     for lists in home directories write ProtectHome=read-only (systemctl edit {UNIT_NAME})",
                    path.display()
                ),
            );
        }
    }

    /// Looks for lists that the server's user cannot read.
    fn unreadable_lists(
        &mut self,
        maildir: &config::Maildir,
        sample: &[&Maildir],
        server_user: &ServerUser,
    ) {
        for key in [UIDL, CONTROL, MAP] {
            let obstacle = |user: &Maildir| {
                let lists = lists_of(maildir, user).into_iter().filter(|list| list.key == key);
                lists.into_iter().find_map(|list| server_user.obstacle(&list.path))
            };
            let closed: Vec<_> =
                sample.iter().filter_map(|user| Some((user, obstacle(user)?))).collect();
            let Some((first, obstacle)) = closed.first() else { continue };
            let users = counted_users(closed.len(), &first.user);
            self.warn(key, format!("the unique-ids of {users} cannot be read: {obstacle}"));
        }
    }

    /// Looks for Maildirs that another server has served and this one has not, if the configuration
    /// does not say which unique-ids they have.
    fn unclaimed(&mut self, sample: &[&Maildir]) {
        let never_listed = |it: &&&Maildir| !OWN.iter().any(|own| exists(it, own));
        let unclaimed: Vec<_> = sample.iter().filter(never_listed).collect();
        for (source, name) in [("dovecot", DOVECOT_LIST), ("courier", COURIER_LIST)] {
            let with_list: Vec<_> = unclaimed.iter().filter(|it| exists(it, name)).collect();
            let Some(first) = with_list.first() else { continue };
            let users = counted_users(with_list.len(), &first.user);
            self.warn(
                UIDL,
                format!(
                    "is not set, and {}/{name} has the unique-ids that clients of {users} know; write \
                     uidl = [\"{source}\", \"base-name\"] under [maildir], or uidl = [\"name\"] if \
                     clients know the unique-ids of this server already, or may download all mail again",
                    first.path.display()
                ),
            );
        }
    }
}

/// The lists that the configuration uses for a user, whether or not they exist.
fn lists_of(maildir: &config::Maildir, user: &Maildir) -> Vec<List> {
    let uses = |source| maildir.uidl.iter().flatten().any(|used| *used == source);
    let filled = |template: &PathBuf| PathTemplate::new(template).fill_in(user.owner()).ok();
    let mut lists = Vec::new();
    let (key, directory) = match &maildir.dovecot.control {
        Some(control) => (CONTROL, filled(control)),
        None => (UIDL, Some(user.path.clone())),
    };
    if let Some(directory) = directory.filter(|_| uses(UidlSource::Dovecot)) {
        lists.push(List { key, path: directory.join(DOVECOT_LIST) });
    }
    if uses(UidlSource::Courier) {
        lists.push(List { key: UIDL, path: user.path.join(COURIER_LIST) });
    }
    let map = maildir.map.as_ref().and_then(filled);
    lists.extend(map.map(|path| List { key: MAP, path }));
    lists
}

/// Whether a Maildir has a file of this name.
fn exists(maildir: &Maildir, name: &str) -> bool {
    maildir.path.join(name).symlink_metadata().is_ok()
}

const UIDL: &str = "maildir.uidl";
const CONTROL: &str = "maildir.dovecot.control";
const MAP: &str = "maildir.map.path";

/// The files that show that this server has listed the mail.
const OWN: [&str; 2] = ["restante.uids", "restante.index"];
