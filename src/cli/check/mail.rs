//! The location of the mail: the directory above all of it, and the Maildirs of users.
//!
//! The paths of Maildirs are computed for all users, and old lists are looked for in all. Otherwise
//! the Maildirs are examined only for a sample, unless `--users` is given: there may be 100 000 of
//! them on a network file system.

use std::collections::HashMap;
use std::fmt::Display;
use std::fs;
use std::io;
use std::path::{self, Path, PathBuf};

use super::Examination;
use super::access::{ServerUser, is_read_only};
use super::report::{counted, counted_users};
use super::unit::{PathAccess, UNIT_NAME, Unit};
use crate::credentials::Attributes;
use crate::mailbox::maildir::{MailOwner, PathTemplate, could_create};
use crate::protocol::Username;

/// The location of a user's mail.
pub(super) struct Maildir {
    pub(super) user: Username,
    pub(super) home: Option<PathBuf>,
    pub(super) path: PathBuf,
}

impl Maildir {
    pub(super) fn owner(&self) -> MailOwner<'_> {
        MailOwner { user: &self.user, home: self.home.as_deref(), mail: None }
    }
}

impl Examination<'_> {
    /// Checks the location of these users' mail, and whether the server can access it.
    pub(super) fn mail(
        &mut self,
        users: Vec<(Username, Attributes)>,
        server_user: Option<&ServerUser>,
    ) {
        let Some(maildir) = &self.config.maildir else { return };
        let template = PathTemplate::new(&maildir.path);
        let maildirs = self.maildirs(&template, users);
        match maildirs.first() {
            Some(Maildir { user, path, .. }) => {
                self.report.does("mail", format!("{}  for {user}", path.display()));
            }
            None => self.report.does("mail", template.as_path().display().to_string()),
        }
        self.shared(&maildirs);
        let sample = self.sample(&maildirs);
        // A relative template may begin with its placeholder.
        let root = template.root().filter(|root| !root.as_os_str().is_empty());
        if let Some(root) = root
            && !self.root(root, server_user)
        {
            return;
        }
        self.mail_root(maildir);
        self.not_there(&sample, &template);
        self.flags(maildir, sample.iter().map(|maildir| maildir.path.as_path()));
        let places = sample.iter().map(|maildir| maildir.path.as_path());
        let places: Vec<_> = root.into_iter().chain(places).collect();
        self.read_only(&places);
        if let Some(unit) = &self.circumstances.unit {
            self.restricted(unit, &places);
        }
        if let Some(server_user) = server_user {
            self.closed(server_user, &sample);
        }
        self.lists(maildir, &maildirs, &sample, server_user);
    }

    /// The Maildirs of these users. Warns about users for whom the template cannot be filled in.
    fn maildirs(
        &mut self,
        template: &PathTemplate,
        users: Vec<(Username, Attributes)>,
    ) -> Vec<Maildir> {
        let is_by_home = template.as_path().starts_with("{home}");
        let (mut homeless, mut without_domain) = (Vec::new(), Vec::new());
        let mut maildirs = Vec::with_capacity(users.len());
        for (user, Attributes { home, mail, .. }) in users {
            let (home_of, mail) = (home.as_deref(), mail.as_deref());
            let owner = MailOwner { user: &user, home: home_of, mail };
            match template.maildir(owner) {
                Ok(path) => maildirs.push(Maildir { user, home, path }),
                Err(_) if home.is_none() && is_by_home => homeless.push(user),
                Err(_) => without_domain.push(user),
            }
        }
        for (lacking, placeholder, remedy) in [
            (homeless, "{home}", "give each a home directory, or write {user} instead"),
            (without_domain, "{domain}", "write {user} instead, or give every name a domain"),
        ] {
            let Some(first) = lacking.first() else { continue };
            let users = counted_users(lacking.len(), first);
            self.warn(
                KEY,
                format!("there is no {placeholder} for {users}, who cannot log in; {remedy}"),
            );
        }
        maildirs
    }

    /// Looks for Maildirs that belong to two users.
    fn shared(&mut self, maildirs: &[Maildir]) {
        let mut owners: HashMap<&Path, &Username> = HashMap::with_capacity(maildirs.len());
        let mut shared = Vec::new();
        for Maildir { user, path, .. } in maildirs {
            // The same user may be in two stores.
            if let Some(other) = owners.insert(path, user).filter(|other| *other != user) {
                shared.push((path, other, user));
            }
        }
        let Some((path, one, other)) = shared.first() else { return };
        let more = match shared.len() {
            1 => String::new(),
            count => format!(", and so for {} more", counted(count - 1, "user")),
        };
        self.warn(
            KEY,
            format!(
                "{} is the Maildir of {one} and of {other}{more}; write {{user}}, or {{domain}} as \
                 well, or correct the credential store",
                path.display()
            ),
        );
    }

    /// The Maildirs that are examined: spread over all, since users are often sorted by name.
    fn sample<'m>(&mut self, maildirs: &'m [Maildir]) -> Vec<&'m Maildir> {
        if self.circumstances.all_users || maildirs.len() <= SAMPLE {
            return maildirs.iter().collect();
        }
        let sample: Vec<_> = maildirs.iter().step_by(maildirs.len().div_ceil(SAMPLE)).collect();
        let (some, all) = (sample.len(), maildirs.len());
        self.report.does("examined", format!("{some} of {all} Maildirs; --users examines all"));
        sample
    }

    /// Checks the directory of all mail. `false`: the server cannot use it.
    fn root(&mut self, root: &Path, server_user: Option<&ServerUser>) -> bool {
        if let Some(why) = missing(root) {
            // The unit may hide it from the server only, which the message does not say.
            self.error(
                KEY,
                format!(
                    "{} {why}; mount or create it, or correct the path; if it is mounted late, \
                     RequiresMountsFor={} in the unit makes the service wait for it",
                    root.display(),
                    absolute(root)
                ),
            );
            return false;
        }
        let obstacle = server_user.and_then(|it| it.obstacle(root).or_else(|| it.link_to(root)));
        if let Some(obstacle) = &obstacle {
            self.warn(KEY, obstacle.clone());
        }
        obstacle.is_none()
    }

    /// Looks for users without a Maildir for whom none is created at login.
    fn not_there(&mut self, sample: &[&Maildir], template: &PathTemplate) {
        let create = self.config.maildir.as_ref().is_some_and(|maildir| maildir.create);
        let absent = sample.iter().filter(|maildir| missing(&maildir.path).is_some());
        let without: Vec<_> = absent
            .filter_map(|maildir| match create {
                true => {
                    let why = could_create(&maildir.path, template.root()).err()?;
                    Some((maildir, format!(": {why}")))
                }
                false => Some((maildir, " until it is created".to_owned())),
            })
            .collect();
        let Some((Maildir { user, path, .. }, why)) = without.first() else { return };
        let users = counted_users(without.len(), format_args!("{} for {user}", path.display()));
        self.warn(KEY, format!("there is no Maildir yet for {users}, who cannot log in{why}"));
    }

    /// Looks for mail on a file system that is read-only for this process.
    fn read_only(&mut self, places: &[&Path]) {
        if let Some(place) = places.iter().find(|place| is_read_only(place)) {
            self.warn(
                KEY,
                format!(
                    "messages cannot be removed: {} is read-only for this process; mount it \
                     read-write and, under systemd, write ReadWritePaths={} into the unit",
                    place.display(),
                    absolute(place)
                ),
            );
        }
    }

    /// Looks for mail to which the unit restricts access.
    fn restricted(&mut self, unit: &Unit, places: &[&Path]) {
        let first = |access| places.iter().find(|place| unit.access(place) == access);
        if let Some(place) = first(PathAccess::Hidden) {
            self.warn(
                KEY,
                format!(
                    "{} is hidden from {UNIT_NAME} by ProtectHome=, PrivateTmp= or InaccessiblePaths=; \
                     for mail in home directories write ProtectHome=read-only and \
                     ReadWritePaths={} (systemctl edit {UNIT_NAME})",
                    place.display(),
                    absolute(place)
                ),
            );
        } else if let Some(place) = first(PathAccess::ReadOnly) {
            self.warn(
                KEY,
                format!(
                    "messages cannot be removed: {} is read-only for {UNIT_NAME}; write \
                     ReadWritePaths={} into the unit (systemctl edit {UNIT_NAME})",
                    place.display(),
                    absolute(place)
                ),
            );
        }
    }

    /// Looks for Maildirs that the server's user cannot read, or cannot write.
    fn closed(&mut self, server_user: &ServerUser, sample: &[&Maildir]) {
        let closed: Vec<_> = sample
            .iter()
            .filter_map(|Maildir { user, path, .. }| {
                Some((user, server_user.obstacle_to_mail(path)?))
            })
            .collect();
        let Some((user, obstacle)) = closed.first() else { return };
        let users = counted_users(closed.len(), user);
        self.warn(KEY, format!("{users} cannot read mail, or cannot remove it: {obstacle}"));
    }
}

/// An absolute path, as a unit needs it.
fn absolute(path: &Path) -> impl Display {
    let absolute = path::absolute(path).unwrap_or_else(|_| path.to_owned());
    absolute.display().to_string()
}

/// Why a path is not a directory. `None` also if the current user cannot see it.
pub(super) fn missing(directory: &Path) -> Option<&'static str> {
    match fs::metadata(directory) {
        Ok(metadata) if metadata.is_dir() => None,
        Ok(_) => Some("is not a directory"),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => None,
        Err(error)
            if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) =>
        {
            Some("does not exist")
        }
        // An error of the file system: the server starts, and logins fail temporarily.
        Err(_) => None,
    }
}

/// How many Maildirs are examined at most, unless all are: at 2 ms each, they take 0.2 s.
const SAMPLE: usize = 100;

const KEY: &str = "maildir.path";
