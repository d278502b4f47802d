//! What the service unit lets the server do, as far as its properties tell (systemd.exec(5)).
//!
//! Run by hand, `restante check` is outside of the namespace that the service runs in, and sees
//! other mounts. Within it, as the unit's own `ExecStartPre=`, it needs none of this.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::super::CONFIG;
use crate::config::RunAs;

/// A unit that serves the configuration.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unit {
    user: String,
    group: String,
    groups: Vec<String>,
    /// What the unit says of directories; the longest that a path is below counts.
    rules: Vec<(PathBuf, Reach)>,
}

/// What a service can do below a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    Writable,
    ReadOnly,
    /// Something else is in its place.
    Hidden,
}

impl Unit {
    /// The unit that serves this file, if there is one on this machine.
    pub(super) fn serving(config: &Path) -> Option<Self> {
        // Where systemd is not what runs the machine, there is nobody to ask.
        if !Path::new("/run/systemd/system").is_dir() {
            return None;
        }
        let shown = Command::new("systemctl")
            .args(["show", NAME, &format!("--property={PROPERTIES}")])
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .output();
        let text = String::from_utf8(shown.ok()?.stdout).ok()?;
        Self::parse(&text, &config.canonicalize().ok()?)
    }

    /// Reads what `systemctl show` says; nothing when it is not about a unit that serves `config`.
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

    /// What to call it.
    #[expect(clippy::unused_self, reason = "there is one, and this is where its name is known")]
    pub(super) fn name(&self) -> &'static str {
        NAME
    }

    /// Whom it starts the server as; nothing when that is root.
    pub(super) fn user(&self) -> Option<RunAs> {
        let group = Some(self.group.clone()).filter(|group| !group.is_empty());
        let user = Some(self.user.clone()).filter(|user| !user.is_empty() && user != "root");
        user.map(|user| RunAs { user, group })
    }

    /// The groups that it gives the server besides.
    pub(super) fn groups(&self) -> &[String] {
        &self.groups
    }

    /// What the service can do at a path.
    pub(super) fn reach(&self, path: &Path) -> Reach {
        let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let above = || self.rules.iter().filter(|(directory, _)| path.starts_with(directory));
        // Nothing is mounted below what is hidden.
        if above().any(|(_, reach)| *reach == Reach::Hidden) {
            return Reach::Hidden;
        }
        let nearest = above().max_by_key(|(directory, _)| directory.components().count());
        nearest.map_or(Reach::Writable, |(_, reach)| *reach)
    }
}

/// What the properties say of directories. Of two that say something of the same one, the first
/// counts least.
fn rules<'a>(value: impl Fn(&str) -> &'a str) -> Vec<(PathBuf, Reach)> {
    let mut rules = Vec::new();
    let mut add = |directories: &[&str], reach| {
        rules.extend(directories.iter().map(|directory| (PathBuf::from(directory), reach)));
    };
    match value("ProtectSystem") {
        "strict" => {
            add(&["/"], Reach::ReadOnly);
            // These are the business of other properties.
            add(&["/dev", "/proc", "/sys", "/home", "/root", "/run/user"], Reach::Writable);
        }
        "full" => add(&["/usr", "/boot", "/efi", "/etc"], Reach::ReadOnly),
        "yes" => add(&["/usr", "/boot", "/efi"], Reach::ReadOnly),
        _ => {}
    }
    match value("ProtectHome") {
        "yes" | "tmpfs" => add(HOMES, Reach::Hidden),
        "read-only" => add(HOMES, Reach::ReadOnly),
        _ => {}
    }
    if !matches!(value("PrivateTmp"), "" | "no") {
        add(&["/tmp", "/var/tmp"], Reach::Hidden);
    }
    for (key, reach) in [
        ("ReadOnlyPaths", Reach::ReadOnly),
        ("ReadWritePaths", Reach::Writable),
        ("InaccessiblePaths", Reach::Hidden),
    ] {
        for directory in value(key).split_whitespace() {
            // "-" is for those that may be missing, "+" for those below RootDirectory=.
            add(&[directory.trim_start_matches(['-', '+'])], reach);
        }
    }
    for (key, above) in [
        ("StateDirectory", "/var/lib"),
        ("CacheDirectory", "/var/cache"),
        ("LogsDirectory", "/var/log"),
        ("RuntimeDirectory", "/run"),
    ] {
        for directory in value(key).split_whitespace() {
            add(&[&format!("{above}/{directory}")], Reach::Writable);
        }
    }
    rules
}

/// The unit of `config/restante.service`.
const NAME: &str = "restante.service";

const HOMES: &[&str] = &["/home", "/root", "/run/user"];

const PROPERTIES: &str = "LoadState,ExecStart,User,Group,SupplementaryGroups,ProtectSystem,\
                          ProtectHome,PrivateTmp,ReadWritePaths,ReadOnlyPaths,InaccessiblePaths,\
                          StateDirectory,CacheDirectory,LogsDirectory,RuntimeDirectory";

#[cfg(test)]
mod tests {
    use super::*;

    /// What systemd 252 shows of the unit in `config/`, for a configuration at `file`.
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
    fn the_unit_says_what_the_service_gets_at() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("restante.toml").canonicalize();
        assert!(file.is_err(), "not there yet");
        std::fs::write(dir.path().join("restante.toml"), "").unwrap();
        let file = dir.path().join("restante.toml").canonicalize().unwrap();
        let unit = Unit::parse(&shown(&file), &file).unwrap();
        assert_eq!(unit.user().map(|user| (user.user, user.group)), {
            Some(("vmail".to_owned(), Some("vmail".to_owned())))
        });
        assert_eq!(unit.groups(), ["ssl-cert"]);
        for (path, reach) in [
            ("/var/vmail/example.org", Reach::Writable),
            ("/var/vmail-of-others", Reach::ReadOnly),
            ("/srv/mail", Reach::ReadOnly),
            ("/srv/spare/mail", Reach::Writable),
            ("/home/jon/Maildir", Reach::Hidden),
            ("/var/tmp/mail", Reach::Hidden),
        ] {
            assert_eq!(unit.reach(Path::new(path)), reach, "{path}");
        }
        for (from, to, path, reach) in [
            ("ProtectHome=yes", "ProtectHome=no", "/home/jon", Reach::Writable),
            ("ProtectHome=yes", "ProtectHome=read-only", "/home/jon", Reach::ReadOnly),
            ("ProtectSystem=strict", "ProtectSystem=full", "/srv/mail", Reach::Writable),
            ("StateDirectory=", "StateDirectory=mail", "/var/lib/mail/a", Reach::Writable),
        ] {
            let text = shown(&file).replace(from, to);
            let unit = Unit::parse(&text, &file).unwrap();
            assert_eq!(unit.reach(Path::new(path)), reach, "{to}: {path}");
        }
        let text = shown(&file).replace("ProtectHome=yes", "ProtectHome=read-only");
        let text = text.replace("ReadWritePaths=", "ReadWritePaths=/home/jon ");
        let unit = Unit::parse(&text, &file).unwrap();
        assert_eq!(unit.reach(Path::new("/home/jon/Maildir")), Reach::Writable);
    }

    #[test]
    fn a_unit_that_serves_something_else_says_nothing() {
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
