//! The files that a configuration needs, and the kind of access.
//!
//! For a file that is read again, access is granted to its directory, since it is replaced there by
//! renaming, and to the directories that symbolic links on its path lead to, as in certbot's `live`.

use std::collections::{BTreeMap, VecDeque};
use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Component, Path, PathBuf};

use zeroize::Zeroizing;

use super::links;
use crate::config::{Config, Credentials, FileSection};
use crate::mailbox::maildir::PathTemplate;

/// The access that a configuration needs.
#[derive(Debug)]
pub(super) struct FileAccess {
    grants: BTreeMap<PathBuf, Extent>,
    /// Why mail may be in any directory, if so.
    anywhere: Option<Anywhere>,
    /// Whether the server connects to others.
    network: bool,
}

/// The kind of access to a directory and all below it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Extent {
    /// Reading files and listing directories.
    Read,
    /// Also creating, writing and removing files and directories.
    Write,
}

/// Why mail may be in any directory.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::server) enum Anywhere {
    #[error("maildir.path begins with {{home}}")]
    Home,
    #[error("a store of kind {0:?} provides the location of a user's mail")]
    Store(&'static str),
    #[error("{} does not exist yet", .0.display())]
    Missing(PathBuf),
}

/// The access that a configuration needs and does not have.
#[derive(Debug, thiserror::Error)]
pub(in crate::server) enum NotGranted {
    #[error("no network service can be reached")]
    Network,
    #[error("mail cannot be read in all directories, as needed ({0})")]
    Anywhere(Anywhere),
    #[error("{} cannot be reached", .0.display())]
    Path(PathBuf),
}

impl FileAccess {
    /// The access that the configuration in `file` needs.
    pub(super) fn of(config: &Config, file: &Path) -> Self {
        let mut access = Self { grants: BTreeMap::new(), anywhere: None, network: false };
        for path in RUNTIME {
            access.add(Path::new(path), Extent::Read);
        }
        // For the names of functions in a backtrace.
        if let Ok(program) = env::current_exe() {
            access.add(&program, Extent::Read);
        }
        access.add_replaced(file);
        for path in config.tls.iter().flat_map(certificates) {
            access.add_replaced(path);
        }
        for section in &config.credentials {
            access.add_store(section);
        }
        access.add_mail(config);
        access.add_lists(config);
        if config.last_logins.enabled {
            // It is replaced there.
            access.add_directory_of(&config.last_logins.path);
        }
        access
    }

    /// The granted directories and files.
    pub(super) fn grants(&self) -> impl Iterator<Item = (&Path, Extent)> {
        self.grants.iter().map(|(path, extent)| (path.as_path(), *extent))
    }

    /// The directories in which files can be created and removed.
    pub(super) fn writable(&self) -> impl Iterator<Item = &Path> {
        self.grants().filter(|(_, extent)| *extent == Extent::Write).map(|(path, _)| path)
    }

    /// Whether the server connects to others.
    pub(super) fn network(&self) -> bool {
        self.network
    }

    /// Why mail may be in any directory, if so.
    pub(super) fn anywhere(&self) -> Option<&Anywhere> {
        self.anywhere.as_ref()
    }

    /// Checks that all access of `other` is granted here.
    ///
    /// # Errors
    /// [`NotGranted`] for the first that is not.
    pub(super) fn grants_all_of(&self, other: &Self) -> Result<(), NotGranted> {
        if other.network && !self.network {
            return Err(NotGranted::Network);
        }
        if let (Some(why), None) = (&other.anywhere, &self.anywhere) {
            return Err(NotGranted::Anywhere(why.clone()));
        }
        match other.grants().find(|(path, extent)| !self.covers(path, *extent)) {
            Some((path, _)) => Err(NotGranted::Path(path.to_owned())),
            None => Ok(()),
        }
    }

    fn covers(&self, path: &Path, extent: Extent) -> bool {
        self.grants().any(|(granted, most)| path.starts_with(granted) && extent <= most)
    }

    /// Grants a file or directory, if it exists.
    fn add(&mut self, path: &Path, extent: Extent) {
        let Ok(path) = path.canonicalize() else { return };
        let most = self.grants.entry(path).or_insert(extent);
        *most = extent.max(*most);
    }

    /// Grants a file that may be replaced, and the directories on its path.
    fn add_replaced(&mut self, path: &Path) {
        self.add(path, Extent::Read);
        for directory in directories_of(path) {
            // Of the root directory, only the file itself is granted.
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
                // Even a reader locks it, and creates files next to it (-wal, -shm).
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

    /// Grants creating files next to this one.
    fn add_directory_of(&mut self, path: &Path) {
        let real = path.canonicalize();
        if let Some(directory) = real.as_deref().unwrap_or(path).parent() {
            self.add(directory, Extent::Write);
        }
    }

    fn add_mail(&mut self, config: &Config) {
        for directory in &config.sandbox.mail_directories {
            self.add(directory, Extent::Write);
        }
        let template = PathTemplate::new(config.maildir.path.clone());
        let root = template.root().map(Path::to_owned);
        self.anywhere = anywhere(config)
            .filter(|_| config.sandbox.mail_directories.is_empty())
            .or_else(|| root.as_deref().and_then(missing));
        if self.anywhere.is_some() {
            self.add(Path::new("/"), Extent::Write);
        } else if let Some(root) = root {
            self.add(&root, Extent::Write);
            for target in links::below(&root, &config.maildir.path) {
                self.add(&target, Extent::Write);
            }
        }
    }

    /// Grants reading the lists of unique-ids that are outside of the Maildirs.
    fn add_lists(&mut self, config: &Config) {
        let Config { maildir, sandbox, .. } = config;
        for path in maildir.dovecot.control.iter().chain(&maildir.map) {
            let template = PathTemplate::new(path);
            match template.root() {
                Some(root) if root.as_os_str().is_empty() => self.add(Path::new("."), Extent::Read),
                Some(root) => {
                    self.add(root, Extent::Read);
                    for target in links::below(root, path) {
                        self.add(&target, Extent::Read);
                    }
                }
                // Otherwise, these name the home directories.
                None if sandbox.mail_directories.is_empty() => {
                    self.add(Path::new("/"), Extent::Read);
                }
                None => {}
            }
        }
    }
}

/// Why mail may be outside of the constant part of the template.
fn anywhere(config: &Config) -> Option<Anywhere> {
    if PathTemplate::new(config.maildir.path.clone()).root().is_none() {
        return Some(Anywhere::Home);
    }
    let section = config.credentials.iter().find(|section| may_locate_mail(section))?;
    Some(Anywhere::Store(section.kind()))
}

/// Whether a store may provide the location of mail. It may return `true` for a query or a file that
/// has the word in another sense.
pub fn may_locate_mail(section: &Credentials) -> bool {
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

/// A missing directory cannot be granted in advance.
fn missing(root: &Path) -> Option<Anywhere> {
    (!root.is_dir()).then(|| Anywhere::Missing(root.to_owned()))
}

fn certificates(tls: &crate::config::Tls) -> impl Iterator<Item = &Path> {
    let pairs = tls.hosts.iter().map(|host| &host.pair).chain([&tls.default]);
    let files = pairs.flat_map(|pair| [pair.certificate.as_path(), pair.private_key.as_path()]);
    files.chain(tls.client_ca.as_deref())
}

/// The directory of a file, and those of the targets of all symbolic links on its path.
fn directories_of(path: &Path) -> Vec<PathBuf> {
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
            // If the target is absolute, its first component "/" replaces `here`.
            _ => here = next,
        }
    }
    directories
}

fn name(component: Component<'_>) -> OsString {
    component.as_os_str().to_owned()
}

/// As many links as the system follows.
const MOST_LINKS: usize = 40;

/// Files that the runtime and the C library read about this process, its limits and the processors.
const RUNTIME: &[&str] = &[
    "/dev/null",
    "/dev/random",
    "/dev/urandom",
    "/proc",
    "/sys/devices/system/cpu",
    "/sys/fs/cgroup",
];

/// Files for resolving names and for verifying certificates.
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

/// Of these, files that may be symbolic links to files that are replaced.
const LINKED: &[&str] =
    &["/etc/resolv.conf", "/etc/nsswitch.conf", "/etc/hosts", "/etc/ssl/certs/ca-certificates.crt"];

#[cfg(test)]
mod tests {
    use super::*;

    /// What a configuration with these lines in `[maildir]` may read, but not write.
    fn readable(directory: &Path, lines: &str) -> Vec<PathBuf> {
        let text = format!(
            "hostname = \"pop.example.org\"\nlisten = [{{ address = \"[::]:110\", tls = \"off\" }}]\n\
             auth.allow-cleartext = true\ncredentials = [{{ kind = \"file\", path = \"users\" }}]\n\
             [maildir]\npath = \"mail/{{user}}\"\n{lines}"
        );
        let file = directory.join("restante.toml");
        let access = FileAccess::of(&Config::parse(&text, &file).unwrap(), &file);
        let read = access.grants().filter(|(_, extent)| *extent == Extent::Read);
        read.map(|(path, _)| path.to_owned()).collect()
    }

    #[test]
    fn lists_of_unique_ids_are_granted_for_reading() {
        let directory = tempfile::tempdir().unwrap();
        let base = directory.path().canonicalize().unwrap();
        for folder in ["mail", "control", "ids"] {
            fs::create_dir(base.join(folder)).unwrap();
        }
        let grants = |lines: &str| readable(&base, lines);
        assert!(!grants("").contains(&base.join("control")));
        let both = grants(
            "uidl = [\"dovecot\", \"map\"]\nmap.path = \"ids/{user}\"\n\
             dovecot.control = \"control/{user}/.INBOX\"\n",
        );
        assert!(both.contains(&base.join("control")) && both.contains(&base.join("ids")));
        let home = "uidl = [\"map\"]\nmap.path = \"{home}/ids\"\n";
        assert!(grants(home).contains(&PathBuf::from("/")));
        let named = grants(&format!("{home}[sandbox]\nmail-directories = [\"/home\"]\n"));
        assert!(!named.contains(&PathBuf::from("/")));
    }
}
