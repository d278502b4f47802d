//! `restante check`: reads a configuration with everything that it names, as `serve` would.
//!
//! An error is what keeps the server from serving; a warning is what it serves in spite of. All of
//! them are reported at once, each with its place; without errors, a summary says what the server
//! would do.

use std::collections::HashMap;
use std::fs;
use std::io::{self, Write};
use std::iter;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use nix::unistd::geteuid;

use super::Failure;
use crate::auth::{self, Attributes, WeakSchemes, edit};
use crate::config::{
    Config, Credentials, Fault, FileSection, KeyPair, Mechanism, Place, RunAs, Throttle, Tls,
    TlsMode,
};
use crate::mailbox::maildir::PathTemplate;
use crate::protocol::Username;
use crate::server::stores::{self, Extent, Probed};
use crate::server::{self, tls};
use crate::telemetry::Priority;

mod access;

use access::Account;

/// What `restante check` takes.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The configuration.
    #[arg(long, short, value_name = "FILE", default_value = super::CONFIG)]
    config: PathBuf,
    /// Do not ask the stores that are elsewhere: databases, directories, programs, providers.
    #[arg(long)]
    offline: bool,
}

/// Prints what there is to say about a configuration.
///
/// # Errors
/// [`Failure`] when the server could not serve with it.
pub fn run(args: Args) -> Result<(), Failure> {
    let Args { config: file, offline } = args;
    let extent = if offline { Extent::Offline } else { Extent::Everything };
    let (mut report, read) = Report::of(&file, SystemTime::now());
    if let Some(read) = read {
        // What is closed to the server has been reported, and is closed to us from here on.
        match become_the_server(read.config.run_as.as_ref()) {
            Ok(()) => report.ask(&file, &read, extent),
            Err(why) if report.errors.is_empty() => return Err(why),
            Err(_) => {}
        }
    }
    let (warn, err) = (Priority::Warning.mark(), Priority::Error.mark());
    let warnings = report.warnings.iter().map(|warning| format!("{warn}warning: {warning}\n"));
    let errors = report.errors.iter().chain(&report.silent).map(|error| format!("{err}{error}\n"));
    say(io::stderr(), &warnings.chain(errors).collect::<String>())?;
    let file = file.display();
    if let Some(consequence) = report.consequence() {
        let errors = counted(report.errors.len() + report.silent.len(), "error");
        return Err(Failure::new(format!("{file} has {errors}; {consequence}")));
    }
    let verdict = match report.warnings.len() {
        0 => "is fine".to_owned(),
        count => format!("can be used, with {}", counted(count, "warning")),
    };
    say(io::stdout(), &format!("{file} {verdict}\n{}\n", report.summary()))
}

/// Becomes the user of `run-as`, when this is root's doing: a store may let root in and not the
/// server, and no program is run as root that was not meant to be.
pub(super) fn become_the_server(run_as: Option<&RunAs>) -> Result<(), Failure> {
    match run_as {
        Some(_) if geteuid().is_root() => server::assume(run_as).map_err(Failure::of),
        Some(_) | None => Ok(()),
    }
}

fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

fn say(mut to: impl Write, text: &str) -> Result<(), Failure> {
    let said = to.write_all(text.as_bytes());
    said.map_err(|error| Failure::new(format!("the report cannot be written: {error}")))
}

/// What there is to say about a configuration, a line each.
#[derive(Debug, Default)]
struct Report {
    /// What keeps the server from starting.
    errors: Vec<String>,
    /// Stores that give no answer.
    silent: Vec<String>,
    warnings: Vec<String>,
    /// What the server would do: what about, and what.
    does: Vec<(&'static str, String)>,
}

impl Report {
    /// Looks at a configuration as of `now`, and at the files that it names; at other stores than
    /// files see [`Self::ask`].
    fn of(file: &Path, now: SystemTime) -> (Self, Option<Read>) {
        let mut report = Self::default();
        let config = match Config::load(file) {
            Ok(config) => config,
            Err(faults) => {
                report.errors = faults.to_string().lines().map(str::to_owned).collect();
                return (report, None);
            }
        };
        // It has been read a moment ago; should it be gone now, the places are wrong, no more.
        let text = fs::read_to_string(file).unwrap_or_default();
        let mut examination = Examination { file, text: &text, report: &mut report };
        examination.listeners(&config);
        if let Some(tls) = &config.tls {
            examination.certificates(tls, &config.hostname, now);
            examination.clients(tls, &config.credentials);
        }
        examination.mechanisms(&config);
        examination.throttle(&config);
        let users = examination.users(&config.credentials, config.auth.weak_schemes.into());
        let maildirs = examination.mail(&config, &users);
        examination.account(&config, &maildirs);
        (report, Some(Read { config, text }))
    }

    /// Opens the stores that are not files and, unless offline, asks them.
    fn ask(&mut self, file: &Path, Read { config, text }: &Read, extent: Extent) {
        let mut examination = Examination { file, text, report: self };
        examination.stores(&config.credentials, config.auth.weak_schemes.into(), extent);
    }

    /// What the errors come to, if there are any.
    fn consequence(&self) -> Option<&'static str> {
        match (self.errors.is_empty(), self.silent.is_empty()) {
            (false, _) => Some("the server would not start"),
            (true, false) => Some("the server would start, and refuse log-ins that need the store"),
            (true, true) => None,
        }
    }

    fn summary(&self) -> String {
        let line = |(about, what): &(&str, String)| format!("  {about:<12} {what}");
        self.does.iter().map(line).collect::<Vec<_>>().join("\n")
    }
}

/// A configuration, and the text that it was read from.
struct Read {
    config: Config,
    text: String,
}

/// A configuration that is being looked at.
struct Examination<'a> {
    file: &'a Path,
    text: &'a str,
    report: &'a mut Report,
}

impl Examination<'_> {
    fn line(&self, key: &str, what: impl Into<String>) -> String {
        let place = Some(Place::of_key(self.text, key));
        Fault { place, key: key.to_owned(), what: what.into() }.line(self.file)
    }

    fn error(&mut self, key: &str, what: impl Into<String>) {
        let line = self.line(key, what);
        self.report.errors.push(line);
    }

    fn warn(&mut self, key: &str, what: impl Into<String>) {
        let line = self.line(key, what);
        self.report.warnings.push(line);
    }

    fn does(&mut self, about: &'static str, what: impl Into<String>) {
        self.report.does.push((about, what.into()));
    }

    fn listeners(&mut self, config: &Config) {
        self.does("greets as", &config.hostname);
        for listen in &config.listen {
            let how = match (listen.tls, config.auth.allow_cleartext) {
                (TlsMode::Implicit, _) => "implicit TLS",
                (TlsMode::Starttls, false) => "STLS, no password without it",
                (TlsMode::Starttls, true) => "STLS, passwords without it too",
                (TlsMode::Off, _) => "no TLS, passwords in the clear",
            };
            self.does("listens on", format!("{}  {how}", listen.address));
        }
    }

    fn certificates(&mut self, tls: &Tls, hostname: &str, now: SystemTime) {
        // A client that is given the name of the greeting asks for it, if it asks at all.
        let has_its_own =
            tls.hosts.iter().flat_map(|host| &host.names).any(|name| covers(name, hostname));
        let own = if has_its_own { Vec::new() } else { vec![hostname.to_owned()] };
        let wanted = iter::once(&own).chain(tls.hosts.iter().map(|host| &host.names));
        for ((section, pair), names) in pairs(tls).zip(wanted) {
            self.certificate(&section, pair, names, now);
        }
    }

    /// Looks at one pair, which is presented to clients that want one of `names`.
    fn certificate(&mut self, section: &str, pair: &KeyPair, names: &[String], now: SystemTime) {
        let key = format!("{section}.certificate");
        let seen = match tls::inspect(pair, now) {
            Ok(seen) => seen,
            Err(faults) => {
                for fault in faults {
                    if fault.path() == pair.private_key {
                        self.error(&format!("{section}.private-key"), fault.to_string());
                    } else {
                        self.error(&key, fault.to_string());
                    }
                }
                return;
            }
        };
        for warning in &seen.warnings {
            self.warn(&key, warning);
        }
        for warning in &seen.key_warnings {
            self.warn(&format!("{section}.private-key"), warning);
        }
        let has = if seen.names.is_empty() { "no host".to_owned() } else { seen.names.join(", ") };
        for name in names.iter().filter(|name| !seen.names.iter().any(|has| covers(has, name))) {
            self.warn(
                &key,
                format!(
                    "the certificate is for {has}, not for {name}: clients that connect to that \
                     name will refuse it"
                ),
            );
        }
        self.does("certificate", format!("{has}  {}", seen.time_left(now)));
    }

    /// Looks at whom the certificates of clients have to come from.
    fn clients(&mut self, tls: &Tls, stores: &[Credentials]) {
        let Some(path) = &tls.client_ca else { return };
        if !stores.iter().any(Credentials::looks_users_up) {
            self.warn(
                "tls.client-ca",
                "nobody can log in with a certificate, for no store knows users without their \
                 password: add one of kind \"file\", \"sql\", or \"ldap\" with base and filter",
            );
        }
        match tls::Clients::load(Some(path)) {
            Ok(clients) => {
                let trusted = counted(clients.count(), "certificate");
                self.does("client-ca", format!("{trusted} in {}", path.display()));
            }
            Err(fault) => self.error("tls.client-ca", fault.to_string()),
        }
    }

    /// Looks for mechanisms that are to be offered and cannot be.
    fn mechanisms(&mut self, config: &Config) {
        let any = |fits: fn(&Credentials) -> bool| config.credentials.iter().any(fits);
        for (nth, mechanism) in config.auth.mechanisms.iter().flatten().enumerate() {
            let (is_of_use, why) = match mechanism {
                Mechanism::Plain | Mechanism::Login => (
                    any(|store| !matches!(store, Credentials::Oauth2(_))),
                    "no store takes passwords",
                ),
                Mechanism::ScramSha1
                | Mechanism::ScramSha1Plus
                | Mechanism::ScramSha256
                | Mechanism::ScramSha256Plus => (
                    any(|store| matches!(store, Credentials::File(_) | Credentials::Sql(_))),
                    "only stores of kind \"file\" and \"sql\" have keys for it",
                ),
                Mechanism::Oauthbearer | Mechanism::Xoauth2 => (
                    any(|store| matches!(store, Credentials::Oauth2(_))),
                    "no store takes tokens, add one of kind \"oauth2\"",
                ),
                Mechanism::External => (
                    config.tls.as_ref().is_some_and(|tls| tls.client_ca.is_some()),
                    "clients are not asked for certificates, write client-ca in [tls]",
                ),
            };
            if !is_of_use {
                let key = format!("auth.mechanisms[{nth}]");
                self.warn(&key, format!("nobody can log in by this mechanism: {why}"));
            }
        }
    }

    /// Looks at whether strangers can wait for their turn.
    fn throttle(&mut self, config: &Config) {
        let Throttle { first_delay, longest_delay, .. } = config.throttle;
        if !first_delay.is_zero() && config.timeouts.login <= 2 * longest_delay {
            self.warn(
                "throttle.longest-delay",
                "twice as long is not less than timeouts.login: log-ins that have to wait are cut \
                 off, shorten it or lengthen that",
            );
        }
    }

    /// Looks at the credential files; all their users, but for those of whom it is not known where
    /// their mail is.
    fn users(&mut self, stores: &[Credentials], weak: WeakSchemes) -> Vec<(Username, Attributes)> {
        let mut users = Vec::new();
        for (nth, store) in stores.iter().enumerate() {
            let Credentials::File(FileSection { path, .. }) = store else { continue };
            let key = format!("credentials[{nth}].path");
            let found = auth::inspect(path, weak);
            for finding in &found.errors {
                let line = self.finding(&key, path, finding);
                self.report.errors.push(line);
            }
            for finding in &found.warnings {
                let line = self.finding(&key, path, finding);
                self.report.warnings.push(line);
            }
            if found.errors.is_empty() && found.users == 0 {
                self.warn(
                    &key,
                    format!(
                        "{} has no users, add one with restante user add --file {0}",
                        path.display()
                    ),
                );
            }
            self.does("users", format!("{} in {}", found.users, path.display()));
            let listed = edit::list(path, weak).into_iter().flatten();
            users.extend(listed.filter_map(|user| Some((user.name, user.attributes?))));
        }
        users
    }

    /// Looks at the stores that are not files.
    fn stores(&mut self, sections: &[Credentials], weak: WeakSchemes, extent: Extent) {
        let others = sections.iter().enumerate().filter(|(nth, section)| {
            // Of a file that is closed to the server, nothing new would be said.
            let section_is_faulty = format!(" credentials[{nth}].");
            !matches!(section, Credentials::File(_))
                && !self.report.errors.iter().any(|line| line.contains(&section_is_faulty))
        });
        let (places, asked): (Vec<_>, Vec<_>) =
            others.map(|(nth, section)| ((nth, section), section.clone())).unzip();
        if asked.is_empty() {
            return;
        }
        let outcomes = match stores::probe(asked, weak, extent) {
            Ok(outcomes) => outcomes,
            Err(why) => return self.error("credentials", why),
        };
        for ((nth, section), outcome) in places.into_iter().zip(outcomes) {
            match outcome {
                Probed::Opened => {}
                Probed::Reached(what) => self.does("store", what),
                Probed::Silent(why) => {
                    let line = self.line(&format!("credentials[{nth}].kind"), why);
                    self.report.silent.push(line);
                }
                Probed::Unusable(why) => {
                    // What is said of a file stands where it is named.
                    let named = section.files().into_iter().find(|(_, path)| {
                        why.strip_prefix(&*path.to_string_lossy())
                            .is_some_and(|rest| rest.starts_with(' '))
                    });
                    let key = named.map_or("kind", |(key, _)| key);
                    self.error(&format!("credentials[{nth}].{key}"), why);
                }
            }
        }
    }

    /// What is said of a line stands at that line, what is said of the file where it is named.
    fn finding(&self, key: &str, path: &Path, finding: &auth::Finding) -> String {
        match finding.line.and_then(|line| usize::try_from(line).ok()) {
            Some(line) => {
                let place = Some(Place { line, column: 1 });
                Fault { place, key: String::new(), what: finding.what.clone() }.line(path)
            }
            None => self.line(key, format!("{} {}", path.display(), finding.what)),
        }
    }

    /// Looks at where the mail of these users is; their Maildirs.
    fn mail(&mut self, config: &Config, users: &[(Username, Attributes)]) -> Vec<Maildir> {
        const KEY: &str = "maildir.path";
        let path = &config.maildir.path;
        let template = PathTemplate::new(path);
        let missing_root = root_of(path).filter(|root| is_missing(root));
        let (mut homeless, mut without_domain, mut without) = (Vec::new(), Vec::new(), Vec::new());
        let mut owners: HashMap<PathBuf, &Username> = HashMap::new();
        let mut maildirs = Vec::new();
        for (user, Attributes { home, mail, .. }) in users {
            let Ok(path) = template.path(user, home.as_deref(), mail.as_deref()) else {
                let lacking = if home.is_none() && path.starts_with("{home}") {
                    &mut homeless
                } else {
                    &mut without_domain
                };
                lacking.push(user);
                continue;
            };
            if !missing_root.is_some_and(|root| path.starts_with(root)) && is_missing(&path) {
                without.push((user, path.clone()));
            }
            // The same user may be in two stores.
            if let Some(other) = owners.insert(path.clone(), user).filter(|other| *other != user) {
                self.warn(
                    KEY,
                    format!(
                        "{} is the Maildir of {other} and of {user}: write {{user}}, or \
                         {{domain}} as well, or correct what their store says",
                        path.display()
                    ),
                );
            }
            maildirs.push(Maildir { user: user.clone(), path });
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
        match maildirs.first() {
            Some(Maildir { user, path }) => {
                self.does("mail", format!("{}  for {user}", path.display()));
            }
            None => self.does("mail", path.display().to_string()),
        }
        if let Some((user, path)) = without.first() {
            let count = counted(without.len(), "user");
            self.warn(
                KEY,
                format!(
                    "there is no Maildir yet for {count} (say {} for {user}), who cannot log in \
                     until it is made",
                    path.display()
                ),
            );
        }
        if let Some(root) = missing_root {
            let root = root.display();
            self.warn(KEY, format!("{root} is not a directory, create it or correct the path"));
        }
        maildirs
    }

    /// Looks at whom the server becomes, and whether that user gets at what it needs.
    fn account(&mut self, config: &Config, maildirs: &[Maildir]) {
        const KEY: &str = "run-as";
        let Some(run_as) = &config.run_as else {
            self.does("runs as", "whoever starts it, root excepted");
            return;
        };
        let account = match Account::look_up(run_as) {
            Ok(account) => account,
            Err(what) => return self.error(KEY, what),
        };
        let group = run_as.group.iter().map(|group| format!(":{group}"));
        self.does("runs as", run_as.user.clone() + &group.collect::<String>());
        let mut needed = Vec::new();
        for (section, pair) in config.tls.iter().flat_map(pairs) {
            needed.push((format!("{section}.certificate"), pair.certificate.as_path()));
            needed.push((format!("{section}.private-key"), pair.private_key.as_path()));
        }
        let client_ca = config.tls.iter().filter_map(|tls| tls.client_ca.as_deref());
        needed.extend(client_ca.map(|path| ("tls.client-ca".to_owned(), path)));
        for (nth, store) in config.credentials.iter().enumerate() {
            let files = store.files().into_iter();
            needed.extend(files.map(|(key, path)| (format!("credentials[{nth}].{key}"), path)));
        }
        for (key, path) in needed {
            if let Some(obstacle) = account.obstacle(path) {
                self.error(&key, obstacle);
            }
        }
        match root_of(&config.maildir.path).and_then(|root| account.obstacle(root)) {
            Some(obstacle) => self.warn("maildir.path", obstacle),
            None => self.closed(&account, maildirs),
        }
        if let Some(obstacle) = account.obstacle(self.file) {
            self.warn(KEY, format!("{obstacle}, or a reload will fail"));
        }
    }

    /// Looks for Maildirs that this user cannot read, or not write.
    fn closed(&mut self, account: &Account, maildirs: &[Maildir]) {
        let closed: Vec<_> = maildirs
            .iter()
            .filter_map(|Maildir { user, path }| Some((user, account.obstacle_to_mail(path)?)))
            .collect();
        if let Some((user, obstacle)) = closed.first() {
            let count = counted(closed.len(), "user");
            self.warn(
                "maildir.path",
                format!("{count} (say {user}) cannot fetch mail, or not remove it: {obstacle}"),
            );
        }
    }
}

/// Where the mail of a user is.
struct Maildir {
    user: Username,
    path: PathBuf,
}

/// All certificates, by the section that names them; the default one first.
fn pairs(tls: &Tls) -> impl Iterator<Item = (String, &KeyPair)> {
    let hosts = tls.hosts.iter().enumerate();
    iter::once(("tls".to_owned(), &tls.default))
        .chain(hosts.map(|(nth, host)| (format!("tls.host[{nth}]"), &host.pair)))
}

/// The directory above the first placeholder, the same for all users; none above their homes.
fn root_of(template: &Path) -> Option<&Path> {
    let placeholder = |path: &Path| path.to_string_lossy().contains('{');
    let root = template.ancestors().find(|path| !placeholder(path));
    root.filter(|root| !root.as_os_str().is_empty())
}

/// Whether there is no directory; what the present user cannot see may be there all the same.
fn is_missing(directory: &Path) -> bool {
    match fs::metadata(directory) {
        Ok(metadata) => !metadata.is_dir(),
        Err(error) => error.kind() != io::ErrorKind::PermissionDenied,
    }
}

/// Whether a name stands for a host name. Of a wildcard that is asked about, only the same
/// wildcard is sure to.
fn covers(has: &str, name: &str) -> bool {
    has.eq_ignore_ascii_case(name)
        || has.strip_prefix("*.").is_some_and(|domain| {
            name.split_once('.')
                .is_some_and(|(label, rest)| label != "*" && rest.eq_ignore_ascii_case(domain))
        })
}

#[cfg(test)]
mod tests;
