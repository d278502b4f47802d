//! The lists of unique-ids that other servers have left: whether the server can read those that the
//! configuration uses, and whether there are some that it does not use.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::Instant;

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

    /// Checks the lists for these users, and some things for a sample of them only.
    pub(super) fn lists(
        &mut self,
        maildir: &config::Maildir,
        users: &[Maildir],
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
            self.unclaimed(maildir, users);
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
    fn unclaimed(&mut self, maildir: &config::Maildir, users: &[Maildir]) {
        let start = Instant::now();
        let is_in_time = |_: &&Maildir| self.circumstances.all_users || start.elapsed() < LOOKING;
        let (mut looked, mut unclaimed) = (0, Vec::new());
        for user in users.iter().take_while(is_in_time) {
            looked += 1;
            if let Some((source, list)) = old_list(maildir, user)
                && !OWN.iter().any(|own| exists(&user.path.join(own)))
            {
                unclaimed.push((source, user, list));
            }
        }
        if looked < users.len() {
            let all = users.len();
            let what = format!("{looked} of {all} Maildirs for old lists; --users examines all");
            self.report.does("examined", what);
        }
        for source in [UidlSource::Dovecot, UidlSource::Courier] {
            let mut of = unclaimed.iter().filter(|(other, ..)| *other == source);
            let Some((_, first, list)) = of.next() else { continue };
            let (users, word) = (counted_users(of.count() + 1, &first.user), source.word());
            self.warn(
                UIDL,
                format!(
                    "is not set, and {} has the unique-ids that clients of {users} know; write \
                     uidl = [\"{word}\", \"base-name\"] under [maildir], or uidl = [\"name\"] if \
                     clients know the unique-ids of this server already, or may download all mail again",
                    list.display()
                ),
            );
        }
    }
}

/// The list of another server, and the source that would read it.
fn old_list(maildir: &config::Maildir, user: &Maildir) -> Option<(UidlSource, PathBuf)> {
    let dovecot = dovecot_list(maildir, user).map(|list| (UidlSource::Dovecot, list));
    let courier = (UidlSource::Courier, user.path.join(COURIER_LIST));
    dovecot.into_iter().chain([courier]).find(|(_, list)| exists(list))
}

fn exists(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

/// The lists that the configuration uses for a user, whether or not they exist.
fn lists_of(maildir: &config::Maildir, user: &Maildir) -> Vec<List> {
    let uses = |source| maildir.uidl.iter().flatten().any(|used| *used == source);
    let mut lists = Vec::new();
    let key = if maildir.dovecot.control.is_some() { CONTROL } else { UIDL };
    if uses(UidlSource::Dovecot) {
        lists.extend(dovecot_list(maildir, user).map(|path| List { key, path }));
    }
    if uses(UidlSource::Courier) {
        lists.push(List { key: UIDL, path: user.path.join(COURIER_LIST) });
    }
    let map = maildir.map.as_ref().and_then(|template| filled(template, user));
    lists.extend(map.map(|path| List { key: MAP, path }));
    lists
}

/// The place of Dovecot's list of a user.
fn dovecot_list(maildir: &config::Maildir, user: &Maildir) -> Option<PathBuf> {
    let directory = match &maildir.dovecot.control {
        Some(control) => filled(control, user)?,
        None => user.path.clone(),
    };
    Some(directory.join(DOVECOT_LIST))
}

fn filled(template: &Path, user: &Maildir) -> Option<PathBuf> {
    PathTemplate::new(template).fill_in(user.owner()).ok()
}

/// How long old lists are looked for, unless all users are examined. On a local disk, 10 000 users
/// take 0.1 s, or 0.8 s if their directories are not in memory.
const LOOKING: Duration = Duration::from_secs(5);

const UIDL: &str = "maildir.uidl";
const CONTROL: &str = "maildir.dovecot.control";
const MAP: &str = "maildir.map.path";

/// The files that show that this server has listed the mail.
const OWN: [&str; 2] = ["restante.uids", "restante.index"];
