//! Where the mail of users is: the directory above all of it, and their Maildirs.
//!
//! Which Maildir belongs to whom is text, and looked at for every user. What needs a look at the
//! disk is done for some users only, unless all are asked for: there may be 100 000 of them, on a
//! file system of another machine.

use std::collections::HashMap;
use std::fmt::Display;
use std::fs;
use std::io;
use std::path::{self, Path, PathBuf};

use super::Examination;
use super::access::{Account, is_read_only};
use super::report::counted;
use super::unit::{Reach, Unit};
use crate::credentials::Attributes;
use crate::mailbox::maildir::{PathTemplate, could_create};
use crate::protocol::Username;

/// Where the mail of a user is.
pub(super) struct Maildir {
    user: Username,
    path: PathBuf,
}

impl Examination<'_> {
    /// Looks at where the mail of these users is, and at whether the server gets at it.
    pub(super) fn mail(&mut self, users: Vec<(Username, Attributes)>, account: Option<&Account>) {
        let Some(maildir) = &self.draft.maildir else { return };
        let template = PathTemplate::new(&maildir.path);
        let maildirs = self.maildirs(&template, users);
        match maildirs.first() {
            Some(Maildir { user, path }) => {
                self.report.does("mail", format!("{}  for {user}", path.display()));
            }
            None => self.report.does("mail", template.as_path().display().to_string()),
        }
        self.shared(&maildirs);
        let sample = self.sample(&maildirs);
        // A relative template may begin with its placeholder.
        let root = template.root().filter(|root| !root.as_os_str().is_empty());
        if let Some(root) = root
            && !self.root(root, account)
        {
            return;
        }
        self.mail_root(maildir);
        self.not_there(&sample, &template);
        self.flags(maildir, sample.iter().map(|maildir| maildir.path.as_path()));
        let places = sample.iter().map(|maildir| maildir.path.as_path());
        let places: Vec<_> = root.into_iter().chain(places).collect();
        self.read_only(&places);
        if let Some(unit) = self.unit {
            self.out_of_reach(unit, &places);
        }
        if let Some(account) = account {
            self.closed(account, &sample);
        }
    }

    /// The Maildirs of these users; of those who have none, a word.
    fn maildirs(
        &mut self,
        template: &PathTemplate,
        users: Vec<(Username, Attributes)>,
    ) -> Vec<Maildir> {
        let is_by_home = template.as_path().starts_with("{home}");
        let (mut homeless, mut without_domain) = (Vec::new(), Vec::new());
        let mut maildirs = Vec::with_capacity(users.len());
        for (user, Attributes { home, mail, .. }) in users {
            match template.path(&user, home.as_deref(), mail.as_deref()) {
                Ok(path) => maildirs.push(Maildir { user, path }),
                Err(_) if home.is_none() && is_by_home => homeless.push(user),
                Err(_) => without_domain.push(user),
            }
        }
        for (lacking, placeholder, remedy) in [
            (homeless, "{home}", "give each a home directory, or write {user} in place of it"),
            (without_domain, "{domain}", "write {user}, or give every name a domain"),
        ] {
            let Some(first) = lacking.first() else { continue };
            let count = counted(lacking.len(), "user");
            self.warn(
                KEY,
                format!(
                    "{placeholder} cannot be filled in for {count} (say {first}), who cannot read \
                     mail: {remedy}"
                ),
            );
        }
        maildirs
    }

    /// Looks for Maildirs that belong to two users.
    fn shared(&mut self, maildirs: &[Maildir]) {
        let mut owners: HashMap<&Path, &Username> = HashMap::with_capacity(maildirs.len());
        let mut shared = Vec::new();
        for Maildir { user, path } in maildirs {
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
                "{} is the Maildir of {one} and of {other}{more}: write {{user}}, or {{domain}} as \
                 well, or correct what their store says",
                path.display()
            ),
        );
    }

    /// The Maildirs that are looked at: spread over all, for they are often in the order of names.
    fn sample<'m>(&mut self, maildirs: &'m [Maildir]) -> Vec<&'m Maildir> {
        if self.all_users || maildirs.len() <= SAMPLE {
            return maildirs.iter().collect();
        }
        let sample: Vec<_> = maildirs.iter().step_by(maildirs.len().div_ceil(SAMPLE)).collect();
        let (some, all) = (sample.len(), maildirs.len());
        self.report.does("looked at", format!("{some} of {all} Maildirs, --users looks at all"));
        sample
    }

    /// Looks at the directory that all mail is in; whether it can be used at all.
    fn root(&mut self, root: &Path, account: Option<&Account>) -> bool {
        if let Some(why) = missing(root) {
            // Hidden by the unit, it is not there for the server alone.
            self.error(
                KEY,
                format!(
                    "{} {why}: mount or create it, or correct the path; where it is mounted late, \
                     RequiresMountsFor={} in the unit makes the service wait for it",
                    root.display(),
                    whole(root)
                ),
            );
            return false;
        }
        let obstacle =
            account.and_then(|account| account.obstacle(root).or_else(|| account.link_to(root)));
        if let Some(obstacle) = &obstacle {
            self.warn(KEY, obstacle.clone());
        }
        obstacle.is_none()
    }

    /// Looks for users who have no Maildir, and get none at login.
    fn not_there(&mut self, sample: &[&Maildir], template: &PathTemplate) {
        let create = self.draft.maildir.as_ref().is_some_and(|maildir| maildir.create);
        let absent = sample.iter().filter(|maildir| missing(&maildir.path).is_some());
        let without: Vec<_> = absent
            .filter_map(|maildir| match create {
                true => {
                    let why = could_create(&maildir.path, template.root()).err()?;
                    Some((maildir, format!(": {why}")))
                }
                false => Some((maildir, " until it is made".to_owned())),
            })
            .collect();
        let Some((Maildir { user, path }, why)) = without.first() else { return };
        let count = counted(without.len(), "user");
        self.warn(
            KEY,
            format!(
                "there is no Maildir yet for {count} (say {} for {user}), who cannot log in{why}",
                path.display()
            ),
        );
    }

    /// Looks for mail that nobody can remove, as this process sees it.
    fn read_only(&mut self, places: &[&Path]) {
        if let Some(place) = places.iter().find(|place| is_read_only(place)) {
            self.warn(
                KEY,
                format!(
                    "messages cannot be removed: {} is read-only for this process; mount it \
                     read-write and, under systemd, write ReadWritePaths={} into the unit",
                    place.display(),
                    whole(place)
                ),
            );
        }
    }

    /// Looks for mail that the service does not get at, by what its unit says.
    fn out_of_reach(&mut self, unit: &Unit, places: &[&Path]) {
        let first = |reach| places.iter().find(|place| unit.reach(place) == reach);
        let name = unit.name();
        if let Some(place) = first(Reach::Hidden) {
            self.warn(
                KEY,
                format!(
                    "{} is hidden from {name} by ProtectHome=, PrivateTmp= or InaccessiblePaths=: \
                     for mail in home directories write ProtectHome=read-only and \
                     ReadWritePaths={} (systemctl edit {name})",
                    place.display(),
                    whole(place)
                ),
            );
        } else if let Some(place) = first(Reach::ReadOnly) {
            self.warn(
                KEY,
                format!(
                    "messages cannot be removed: {} is read-only for {name}, write \
                     ReadWritePaths={} into it (systemctl edit {name})",
                    place.display(),
                    whole(place)
                ),
            );
        }
    }

    /// Looks for Maildirs that the user whom the server runs as cannot read, or not write.
    fn closed(&mut self, account: &Account, sample: &[&Maildir]) {
        let closed: Vec<_> = sample
            .iter()
            .filter_map(|Maildir { user, path }| Some((user, account.obstacle_to_mail(path)?)))
            .collect();
        let Some((user, obstacle)) = closed.first() else { return };
        let count = counted(closed.len(), "user");
        self.warn(
            KEY,
            format!("{count} (say {user}) cannot fetch mail, or not remove it: {obstacle}"),
        );
    }
}

/// A path as a unit wants it.
fn whole(path: &Path) -> impl Display {
    let whole = path::absolute(path).unwrap_or_else(|_| path.to_owned());
    whole.display().to_string()
}

/// Why there is no directory; what the present user cannot see may be there all the same.
fn missing(directory: &Path) -> Option<&'static str> {
    match fs::metadata(directory) {
        Ok(metadata) if metadata.is_dir() => None,
        Ok(_) => Some("is not a directory"),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => None,
        Err(error)
            if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) =>
        {
            Some("is not there")
        }
        // A file system in trouble: logins are put off, and the server starts.
        Err(_) => None,
    }
}

/// So many Maildirs are looked at, at the most, unless all are asked for: a second even at 2 ms each.
const SAMPLE: usize = 100;

const KEY: &str = "maildir.path";
