//! The restrictions of the service unit, by its properties (systemd.exec(5)).
//!
//! Run by hand, `restante check` is not in the namespace of the service, and sees other mounts. As
//! `ExecStartPre=` of the unit it is, and does not need this.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::super::CONFIG;
use crate::config::RunAs;

/// A unit that serves the configuration.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unit {
    user: String,
    group: String,
    /// The supplementary groups of the server.
    pub(super) groups: Vec<String>,
    /// Access to directories. For a path, the rule of the nearest directory above it applies.
    rules: Vec<(PathBuf, PathAccess)>,
}

/// The access of a service to a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PathAccess {
    Writable,
    ReadOnly,
    /// Another directory is mounted over it.
    Hidden,
}

impl Unit {
    /// The unit on this machine that serves this configuration, if there is one.
    pub(super) fn serving(config: &Path) -> Option<Self> {
        // Otherwise the machine does not run systemd.
        if !Path::new("/run/systemd/system").is_dir() {
            return None;
        }
        let shown = Command::new("systemctl")
            .args(["show", UNIT_NAME, &format!("--property={PROPERTIES}")])
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .output();
        let text = String::from_utf8(shown.ok()?.stdout).ok()?;
        Self::parse(&text, &config.canonicalize().ok()?)
    }

    /// Parses the output of `systemctl show`. `None` if the unit does not serve `config`.
    pub(super) fn parse(text: &str, config: &Path) -> Option<Self> {
        let value = |key: &str| {
            text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('=')).unwrap_or("")
        };
        let named = |word: &str| Path::new(word).canonicalize().is_ok_and(|path| path == config);
        let command = value("ExecStart");
        let names_a_file = command.contains(" --config") || command.contains(" -c");
        let serves = match names_a_file {
            true => command.split([' ', '=', ';']).any(named),
            false => named(CONFIG),
        };
        if value("LoadState") != "loaded" || !serves {
            return None;
        }
        Some(Self {
            user: value("User").to_owned(),
            group: value("Group").to_owned(),
            groups: value("SupplementaryGroups").split_whitespace().map(str::to_owned).collect(),
            rules: rules(value),
        })
    }

    /// The user that it starts the server as. `None` for root.
    pub(super) fn user(&self) -> Option<RunAs> {
        let group = Some(self.group.clone()).filter(|group| !group.is_empty());
        let user = Some(self.user.clone()).filter(|user| !user.is_empty() && user != "root");
        user.map(|user| RunAs { user, group })
    }

    /// The access of the service to a path.
    pub(super) fn access(&self, path: &Path) -> PathAccess {
        let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let above = || self.rules.iter().filter(|(directory, _)| path.starts_with(directory));
        // A hidden directory hides all directories below it.
        if above().any(|(_, access)| *access == PathAccess::Hidden) {
            return PathAccess::Hidden;
        }
        let nearest = above().max_by_key(|(directory, _)| directory.components().count());
        nearest.map_or(PathAccess::Writable, |(_, access)| *access)
    }
}

/// The access to directories by the properties. For the same directory, later rules take precedence.
fn rules<'a>(value: impl Fn(&str) -> &'a str) -> Vec<(PathBuf, PathAccess)> {
    let mut rules = Vec::new();
    let mut add = |directories: &[&str], access| {
        rules.extend(directories.iter().map(|directory| (PathBuf::from(directory), access)));
    };
    match value("ProtectSystem") {
        "strict" => {
            add(&["/"], PathAccess::ReadOnly);
            // Other properties restrict these.
            add(&["/dev", "/proc", "/sys", "/home", "/root", "/run/user"], PathAccess::Writable);
        }
        "full" => add(&["/usr", "/boot", "/efi", "/etc"], PathAccess::ReadOnly),
        "yes" => add(&["/usr", "/boot", "/efi"], PathAccess::ReadOnly),
        _ => {}
    }
    match value("ProtectHome") {
        "yes" | "tmpfs" => add(HOMES, PathAccess::Hidden),
        "read-only" => add(HOMES, PathAccess::ReadOnly),
        _ => {}
    }
    if !matches!(value("PrivateTmp"), "" | "no") {
        add(&["/tmp", "/var/tmp"], PathAccess::Hidden);
    }
    for (key, access) in [
        ("ReadOnlyPaths", PathAccess::ReadOnly),
        ("ReadWritePaths", PathAccess::Writable),
        ("InaccessiblePaths", PathAccess::Hidden),
    ] {
        for directory in value(key).split_whitespace() {
            // "-": it may be missing. "+": it is below RootDirectory=.
            add(&[directory.trim_start_matches(['-', '+'])], access);
        }
    }
    for (key, above) in [
        ("StateDirectory", "/var/lib"),
        ("CacheDirectory", "/var/cache"),
        ("LogsDirectory", "/var/log"),
        ("RuntimeDirectory", "/run"),
    ] {
        for directory in value(key).split_whitespace() {
            add(&[&format!("{above}/{directory}")], PathAccess::Writable);
        }
    }
    rules
}

/// The unit of `config/restante.service`.
pub(super) const UNIT_NAME: &str = "restante.service";

const HOMES: &[&str] = &["/home", "/root", "/run/user"];

const PROPERTIES: &str = "LoadState,ExecStart,User,Group,SupplementaryGroups,ProtectSystem,\
                          ProtectHome,PrivateTmp,ReadWritePaths,ReadOnlyPaths,InaccessiblePaths,\
                          StateDirectory,CacheDirectory,LogsDirectory,RuntimeDirectory";

#[cfg(test)]
mod tests {
    use super::*;

    /// The output of systemd 252 for the unit in `config/`, with a configuration at `file`.
    fn shown(file: &Path) -> String {
        format!(
            "ExecStart={{ path=/usr/local/bin/restante ; argv[]=/usr/local/bin/restante serve \
             --config {} ; ignore_errors=no ; start_time=[n/a] ; stop_time=[n/a] ; pid=0 ; \
             code=(null) ; status=0/0 }}\n\
             StateDirectory=\nCacheDirectory=\nLogsDirectory=\nRuntimeDirectory=\n\
             User=vmail\nGroup=vmail\nSupplementaryGroups=ssl-cert\n\
             ReadWritePaths=/var/vmail -/srv/spare\nReadOnlyPaths=\nInaccessiblePaths=\n\
             PrivateTmp=yes\nProtectHome=yes\nProtectSystem=strict\nLoadState=loaded\n",
            file.display()
        )
    }

    #[test]
    fn the_properties_of_the_unit_decide_about_paths() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("restante.toml").canonicalize();
        assert!(file.is_err(), "it does not exist yet");
        std::fs::write(dir.path().join("restante.toml"), "").unwrap();
        let file = dir.path().join("restante.toml").canonicalize().unwrap();
        let unit = Unit::parse(&shown(&file), &file).unwrap();
        assert_eq!(unit.user().map(|user| (user.user, user.group)), {
            Some(("vmail".to_owned(), Some("vmail".to_owned())))
        });
        assert_eq!(unit.groups, ["ssl-cert"]);
        for (path, access) in [
            ("/var/vmail/example.org", PathAccess::Writable),
            ("/var/vmail-of-others", PathAccess::ReadOnly),
            ("/srv/mail", PathAccess::ReadOnly),
            ("/srv/spare/mail", PathAccess::Writable),
            ("/home/jon/Maildir", PathAccess::Hidden),
            ("/var/tmp/mail", PathAccess::Hidden),
        ] {
            assert_eq!(unit.access(Path::new(path)), access, "{path}");
        }
        for (from, to, path, access) in [
            ("ProtectHome=yes", "ProtectHome=no", "/home/jon", PathAccess::Writable),
            ("ProtectHome=yes", "ProtectHome=read-only", "/home/jon", PathAccess::ReadOnly),
            ("ProtectSystem=strict", "ProtectSystem=full", "/srv/mail", PathAccess::Writable),
            ("StateDirectory=", "StateDirectory=mail", "/var/lib/mail/a", PathAccess::Writable),
        ] {
            let text = shown(&file).replace(from, to);
            let unit = Unit::parse(&text, &file).unwrap();
            assert_eq!(unit.access(Path::new(path)), access, "{to}: {path}");
        }
        let text = shown(&file).replace("ProtectHome=yes", "ProtectHome=read-only");
        let text = text.replace("ReadWritePaths=", "ReadWritePaths=/home/jon ");
        let unit = Unit::parse(&text, &file).unwrap();
        assert_eq!(unit.access(Path::new("/home/jon/Maildir")), PathAccess::Writable);
    }

    #[test]
    fn a_unit_that_serves_another_file_is_ignored() {
        let dir = tempfile::tempdir().unwrap();
        let [ours, other] = ["ours", "other"].map(|name| {
            std::fs::write(dir.path().join(name), "").unwrap();
            dir.path().join(name).canonicalize().unwrap()
        });
        assert_eq!(Unit::parse(&shown(&other), &ours), None);
        let text = shown(&ours).replace("LoadState=loaded", "LoadState=not-found");
        assert_eq!(Unit::parse(&text, &ours), None);
        assert_eq!(Unit::parse("", &ours), None);
    }
}
