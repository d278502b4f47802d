//! Which files a configuration needs, and for what.
//!
//! What is read again is granted with its directory, as it is replaced there by renaming; and with
//! the directories that symbolic links lead to on the way, as those of certbot's `live` do.

use std::collections::{BTreeMap, VecDeque};
use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Component, Path, PathBuf};

use zeroize::Zeroizing;

use super::links;
use crate::config::{Config, Credentials, FileSection};
use crate::mailbox::maildir::PathTemplate;

/// The files that a configuration needs.
#[derive(Debug)]
pub(super) struct FileAccess {
    grants: BTreeMap<PathBuf, Extent>,
    /// Why mail can be everywhere, if it can.
    anywhere: Option<String>,
    /// Whether there is something to connect to.
    network: bool,
}

/// What may be done with what is below a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Extent {
    /// Files are read and directories listed.
    Read,
    /// Files and directories are made, files written and removed as well.
    Change,
}

impl FileAccess {
    /// What the configuration in `file` needs.
    pub(super) fn of(config: &Config, file: &Path) -> Self {
        let mut reach = Self { grants: BTreeMap::new(), anywhere: None, network: false };
        for path in RUNTIME {
            reach.add(Path::new(path), Extent::Read);
        }
        // For the names of functions when a fault is reported.
        if let Ok(program) = env::current_exe() {
            reach.add(&program, Extent::Read);
        }
        reach.add_replaced(file);
        for path in config.tls.iter().flat_map(certificates) {
            reach.add_replaced(path);
        }
        for section in &config.credentials {
            reach.add_store(section);
        }
        reach.add_mail(config);
        reach
    }

    /// What is granted.
    pub(super) fn grants(&self) -> impl Iterator<Item = (&Path, Extent)> {
        self.grants.iter().map(|(path, extent)| (path.as_path(), *extent))
    }

    /// Below what files can be made and removed.
    pub(super) fn changed(&self) -> impl Iterator<Item = &Path> {
        self.grants().filter(|(_, extent)| *extent == Extent::Change).map(|(path, _)| path)
    }

    /// Whether there is something to connect to.
    pub(super) fn network(&self) -> bool {
        self.network
    }

    /// Why mail can be everywhere, if it can.
    pub(super) fn anywhere(&self) -> Option<&str> {
        self.anywhere.as_deref()
    }

    /// What of `other` is not granted here, if anything.
    pub(super) fn lacks(&self, other: &Self) -> Option<String> {
        if other.network && !self.network {
            return Some("nothing on the network can be reached".to_owned());
        }
        if let (Some(why), None) = (&other.anywhere, &self.anywhere) {
            return Some(format!("mail cannot be read everywhere, as would be needed ({why})"));
        }
        let lacking = other.grants().find(|(path, extent)| !self.covers(path, *extent));
        lacking.map(|(path, _)| format!("{} cannot be reached", path.display()))
    }

    fn covers(&self, path: &Path, extent: Extent) -> bool {
        self.grants().any(|(granted, most)| path.starts_with(granted) && extent <= most)
    }

    /// Grants a file or directory, if it is there.
    fn add(&mut self, path: &Path, extent: Extent) {
        let Ok(path) = path.canonicalize() else { return };
        let most = self.grants.entry(path).or_insert(extent);
        *most = extent.max(*most);
    }

    /// Grants a file that may be replaced, and the directories that it is found through.
    fn add_replaced(&mut self, path: &Path) {
        self.add(path, Extent::Read);
        for directory in way(path) {
            // Whoever keeps files at the root of the file system gets these and no others.
            if directory.parent().is_some() {
                self.add(&directory, Extent::Read);
            }
        }
    }

    fn add_store(&mut self, section: &Credentials) {
        for (_, path) in section.files() {
            self.add_replaced(path);
        }
        match section {
            Credentials::File(FileSection { path, rehash: true }) => {
                self.add_directory_of(path);
            }
            Credentials::Sql(sql) if sql.url.starts_with("sqlite://") => {
                let path = sql.url.trim_start_matches("sqlite://");
                // Even who reads only needs to lock, and to make the files next to it.
                self.add_directory_of(Path::new(path));
            }
            Credentials::File(_) | Credentials::Pam(_) | Credentials::Checkpassword(_) => {}
            Credentials::Sql(_) | Credentials::Ldap(_) | Credentials::Oauth2(_) => {
                self.network = true;
                for path in SYSTEM {
                    self.add(Path::new(path), Extent::Read);
                }
                let named = ["SSL_CERT_FILE", "SSL_CERT_DIR"].map(env::var_os);
                for path in named.into_iter().flatten() {
                    self.add(Path::new(&path), Extent::Read);
                }
                for path in LINKED {
                    self.add_replaced(Path::new(path));
                }
            }
        }
    }

    /// Files are made next to this one.
    fn add_directory_of(&mut self, path: &Path) {
        let real = path.canonicalize();
        if let Some(directory) = real.as_deref().unwrap_or(path).parent() {
            self.add(directory, Extent::Change);
        }
    }

    fn add_mail(&mut self, config: &Config) {
        for directory in &config.sandbox.mail_directories {
            self.add(directory, Extent::Change);
        }
        let template = PathTemplate::new(config.maildir.path.clone());
        let root = template.root().map(Path::to_owned);
        self.anywhere = elsewhere(config)
            .filter(|_| config.sandbox.mail_directories.is_empty())
            .or_else(|| root.as_deref().and_then(missing));
        if self.anywhere.is_some() {
            self.add(Path::new("/"), Extent::Change);
        } else if let Some(root) = root {
            self.add(&root, Extent::Change);
            for target in links::below(&root, &config.maildir.path) {
                self.add(&target, Extent::Change);
            }
        }
    }
}

/// What says where mail is, other than the constant part of the template.
fn elsewhere(config: &Config) -> Option<String> {
    if PathTemplate::new(config.maildir.path.clone()).root().is_none() {
        return Some("maildir.path begins with {home}".to_owned());
    }
    let section = config.credentials.iter().find(|section| says_where_mail_is(section))?;
    Some(format!("a store of the kind {:?} says where the mail of a user is", section.kind()))
}

/// A guess that is wrong to the safe side, for a query or a file with the word in another sense.
fn says_where_mail_is(section: &Credentials) -> bool {
    match section {
        Credentials::File(file) => {
            let text = fs::read(&file.path).map(Zeroizing::new);
            text.is_ok_and(|text| memchr::memmem::find(&text, b"mail=").is_some())
        }
        Credentials::Sql(sql) => {
            let query = sql.query.to_string().to_ascii_lowercase();
            let columns = query.split(" from ").next().unwrap_or(&query);
            columns.contains("mail") || columns.contains('*')
        }
        Credentials::Ldap(ldap) => ldap.attributes.mail.is_some(),
        Credentials::Checkpassword(_) | Credentials::Pam(_) | Credentials::Oauth2(_) => false,
    }
}

/// A directory that comes later cannot be granted beforehand.
fn missing(root: &Path) -> Option<String> {
    (!root.is_dir()).then(|| format!("{} is not there yet", root.display()))
}

fn certificates(tls: &crate::config::Tls) -> impl Iterator<Item = &Path> {
    let pairs = tls.hosts.iter().map(|host| &host.pair).chain([&tls.default]);
    let files = pairs.flat_map(|pair| [pair.certificate.as_path(), pair.private_key.as_path()]);
    files.chain(tls.client_ca.as_deref())
}

/// The directory of a file, and those of what each symbolic link on the way leads to.
fn way(path: &Path) -> Vec<PathBuf> {
    let Ok(path) = std::path::absolute(path) else { return Vec::new() };
    let mut directories: Vec<PathBuf> = path.parent().map(Path::to_owned).into_iter().collect();
    let names = |path: &Path| path.components().map(name).collect::<VecDeque<_>>();
    let (mut here, mut ahead) = (PathBuf::from("/"), names(&path));
    while let Some(name) = ahead.pop_front() {
        if name == ".." {
            here.pop();
            continue;
        }
        let next = here.join(&name);
        match fs::read_link(&next) {
            Ok(target) if directories.len() < MOST_LINKS => {
                directories.extend(here.join(&target).parent().map(Path::to_owned));
                let mut names = names(&target);
                names.append(&mut ahead);
                ahead = names;
            }
            // The "/" that an absolute target begins with takes the place of what was before.
            _ => here = next,
        }
    }
    directories
}

fn name(component: Component<'_>) -> OsString {
    component.as_os_str().to_owned()
}

/// As many as the system follows.
const MOST_LINKS: usize = 40;

/// What the runtime and the C library read: about this process, the processors, and its limits.
const RUNTIME: &[&str] = &[
    "/dev/null",
    "/dev/random",
    "/dev/urandom",
    "/proc",
    "/sys/devices/system/cpu",
    "/sys/fs/cgroup",
];

/// What it takes to look up names and to verify certificates.
const SYSTEM: &[&str] = &[
    "/etc",
    "/lib",
    "/lib64",
    "/nix/store",
    "/run/nscd",
    "/run/systemd",
    "/usr",
    "/var/lib/ca-certificates",
    "/var/lib/sss",
];

/// The same, where they are links to what is replaced.
const LINKED: &[&str] =
    &["/etc/resolv.conf", "/etc/nsswitch.conf", "/etc/hosts", "/etc/ssl/certs/ca-certificates.crt"];
