//! The meaning of each key: its type, default and bounds, and which keys depend on each other.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::thread;

use super::bounds::{Number, Span, number, span};
use super::client_settings::client_settings;
use super::credentials::credentials;
use super::document::{Document, ReadResult};
use super::entry::Entry;
use super::fault::{Fault, Faults, Place};
use super::listen::{default_domain, free_address, listen, overlap};
use super::maildir::{guard, maildir};
use super::partial::{PartialConfig, PartialHost, PartialListen, PartialTls};
use super::section::Section;
use super::setting::Settings;
use super::{
    Auth, Control, HttpListen, HttpService, KeyPair, LastLogins, Limits, Log, LogFormat, LogLevel,
    Pop3, Sandbox, ThrottleSection, Timeouts, TlsMode, open_files, value,
};
use crate::protocol::sasl::Mechanism;

const MOST_CONNECTIONS: u32 = 1_000_000;
const CONNECTIONS_PER_ADDRESS: Number = number("connections-per-address", 50, 1_000_000);
const SESSIONS_PER_USER: Number = number("sessions-per-user", 4, 1_000);
const BAD_COMMANDS: Number = number("bad-commands", 20, 1_000);
const FAILED_LOGINS: Number = number("failed-logins", 5, 100);
const MOST_HASHES_AT_ONCE: u32 = 1_024;

const FAILURE_DELAY: Span = span("failure-delay", 2, 0, 10);
const CACHE: Span = span("cache", 0, 0, HOUR);
const FIRST_DELAY: Span = span("first-delay", 1, 0, MINUTE);
const LONGEST_DELAY: Span = span("longest-delay", 15, 1, MINUTE);
const FORGET_AFTER: Span = span("forget-after", 15 * MINUTE, MINUTE, 24 * HOUR);
const HASH_WAIT: Span = span("hash-wait", 10, 1, MINUTE);
const IDLE: Span = Span {
    why_least: Some("RFC 1939 §3 requires at least 10 minutes"),
    ..span("idle", 10 * MINUTE, 10 * MINUTE, 24 * HOUR)
};
const LOGIN: Span = span("login", 2 * MINUTE, 10, 10 * MINUTE);
const WRITE: Span = span("write", 5 * MINUTE, 10, HOUR);
const SHUTDOWN_GRACE: Span = span("shutdown-grace", 30, 0, 10 * MINUTE);

// Valid values for the messages.
const HOST_NAME: &str = "\"pop.example.org\"";
const RUN_AS: &str = "\"vmail:vmail\"";
const WEB_ADDRESS: &str = "\"[::]:443\"";
const METRICS_ADDRESS: &str = "\"127.0.0.1:9110\"";
const MECHANISM: &str = "\"PLAIN\"";
pub(super) const NETWORK: &str = "\"192.0.2.0/24\"";
const MAIL_DIRECTORY: &str = "\"/srv/mail\"";

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;

impl PartialConfig {
    /// Reads a file.
    ///
    /// # Errors
    /// [`Faults`] when it cannot be read, or is not UTF-8.
    pub fn load(path: &Path) -> Result<Self, Faults> {
        let unreadable =
            |place, what| Faults::new(path, vec![Fault { place, key: String::new(), what }]);
        let bytes = fs::read(path).map_err(|error| {
            let remedy = if error.kind() == io::ErrorKind::PermissionDenied {
                "give the user that the server runs as read access"
            } else {
                "name the configuration with --config"
            };
            unreadable(None, format!("cannot be read: {error}; {remedy}"))
        })?;
        let text = String::from_utf8(bytes).map_err(|error| {
            let readable =
                error.as_bytes().get(..error.utf8_error().valid_up_to()).unwrap_or_default();
            let place = Place::of(&String::from_utf8_lossy(readable), readable.len());
            unreadable(Some(place), "is not UTF-8 from here on; save the file as UTF-8".to_owned())
        })?;
        Ok(Self::parse(text, path))
    }

    /// Reads a text as if it were the file `path`.
    pub fn parse(text: String, path: &Path) -> Self {
        let base = path.parent().unwrap_or(Path::new(""));
        let mut config = build(&text, base);
        (config.file, config.text) = (path.to_owned(), text);
        config
    }
}

/// Reads a configuration as far as possible; relative paths start at `base`.
fn build(text: &str, base: &Path) -> PartialConfig {
    let (document, table) = Document::open(text, base);
    let config = read_sections(&Section::root(&document, &table));
    let ReadResult { faults, is_toml, has_sections, settings, positions, files } = document.close();
    if !has_sections {
        // The sections of the keys are unknown, so no value is used.
        let (document, table) = Document::open("", base);
        let empty = read_sections(&Section::root(&document, &table));
        return PartialConfig { faults, is_toml, positions, ..empty };
    }
    PartialConfig { faults, is_toml, settings, positions, files, ..config }
}

/// Reads every section, whatever the faults of the others.
fn read_sections(root: &Section<'_>) -> PartialConfig {
    let hostname = hostname(root);
    let run_as =
        root.entry("run-as").and_then(|entry| entry.checked(value::run_as(entry.text(RUN_AS)?)));
    let auth = auth(&root.section("auth"));
    let listen = listen(root, auth.allow_cleartext);
    let metrics = metrics(&root.section("metrics"), &listen);
    let web = web(root, &listen, metrics.as_ref());
    let uses_tls = listen.iter().any(|listen| listen.tls.is_some_and(|tls| tls != TlsMode::Off))
        || metrics.as_ref().is_some_and(|metrics| metrics.tls)
        || web.as_ref().is_some_and(|web| web.tls);
    let tls = tls(root, uses_tls);
    let maildir = maildir(&root.section("maildir"));
    let guard = guard(&root.section("guard"));
    let pop3 = Pop3 { utf8: root.section("pop3").flag("utf8", false) };
    let throttle = throttle(&root.section("throttle"));
    let credentials = credentials(root);
    let limits = limits(&root.section("limits"));
    let timeouts = timeouts(&root.section("timeouts"));
    let log = log(&root.section("log"));
    let sandbox = sandbox(&root.section("sandbox"));
    let control = control(&root.section("control"));
    let client_settings = client_settings(&root.section("client-settings"), &listen, &auth);
    let last_logins = last_logins(&root.section("last-logins"));
    PartialConfig {
        file: PathBuf::new(),
        text: String::new(),
        faults: Vec::new(),
        is_toml: true,
        settings: Settings::default(),
        positions: BTreeMap::new(),
        files: Vec::new(),
        hostname,
        run_as,
        listen,
        tls,
        maildir,
        guard,
        pop3,
        auth,
        throttle,
        credentials,
        limits,
        timeouts,
        log,
        sandbox,
        control,
        metrics,
        web,
        client_settings,
        last_logins,
    }
}

/// The name in the greeting. Default: the host name of the system.
fn hostname(root: &Section<'_>) -> Option<String> {
    if let Some(entry) = root.entry("hostname") {
        return entry.checked(value::host_name(entry.text(HOST_NAME)?));
    }
    let uname = rustix::system::uname();
    let system = uname.nodename().to_string_lossy();
    let name = value::host_name(&system);
    match &name {
        Ok(name) => root.default("hostname", name.as_str()),
        Err(_) => root.lacks(
            "hostname",
            format!(
                "is missing, and the name of this system, {system:?}, is not a host name; write \
                 hostname = {HOST_NAME}"
            ),
        ),
    }
    name.ok()
}

fn auth(section: &Section<'_>) -> Auth {
    let hashes_at_once =
        Number { key: "hashes-at-once", default: processors(), most: MOST_HASHES_AT_ONCE };
    Auth {
        // An invalid value is reported here. It counts as true, so that the listeners do not report
        // it as well.
        allow_cleartext: section.sound_flag("allow-cleartext", false).unwrap_or(true),
        failure_delay: section.duration(&FAILURE_DELAY),
        hashes_at_once: section.number(&hashes_at_once),
        hash_wait: section.duration(&HASH_WAIT),
        mechanisms: mechanisms(section),
        weak_schemes: section.flag("weak-schemes", false),
        cache: section.duration(&CACHE),
        default_domain: default_domain(section),
    }
}

fn mechanisms(section: &Section<'_>) -> Option<Vec<Mechanism>> {
    let entry = section.entry("mechanisms")?;
    let names = entry.texts(MECHANISM)?;
    if names.is_empty() {
        entry.refuse(format!("is empty; write at least one mechanism: [{MECHANISM}]"));
    }
    Some(names.iter().filter_map(|(name, text)| name.mechanism(text)).collect())
}

fn throttle(section: &Section<'_>) -> ThrottleSection {
    let first_delay = section.duration(&FIRST_DELAY);
    let longest_delay = section.sound_duration(&LONGEST_DELAY);
    let is_longer = longest_delay.is_some_and(|longest| first_delay > longest);
    if let Some(entry) = section.entry("first-delay").filter(|_| is_longer) {
        entry.refuse("is longer than longest-delay; make it shorter");
    }
    let trusted = section.entry("trusted").and_then(|entry| entry.texts(NETWORK));
    let network = |(entry, text): &(Entry<'_>, &str)| entry.checked(value::network(text));
    ThrottleSection {
        first_delay,
        longest_delay: longest_delay.unwrap_or(LONGEST_DELAY.default),
        forget_after: section.duration(&FORGET_AFTER),
        trusted: trusted.iter().flatten().filter_map(network).collect(),
    }
}

fn tls(root: &Section<'_>, needed: bool) -> Option<PartialTls> {
    let section = root.section("tls");
    if !section.is_present() {
        if needed && root.entry("tls").is_none() {
            root.lacks(
                "tls",
                "is missing; write a section [tls] with certificate and private-key, or \
                 tls = \"off\" for every listener",
            );
        }
        return None;
    }
    let default = key_pair(&section);
    let client_ca = section.file("client-ca", "\"tls/clients.pem\"");
    let mut seen = HashMap::new();
    let mut hosts = Vec::new();
    for (nth, host) in section.sections("host").iter().enumerate() {
        let names = host_names(host, nth, &mut seen);
        let (pair, default_domain) = (key_pair(host), default_domain(host));
        hosts.push(PartialHost { names, pair, default_domain });
    }
    Some(PartialTls { default, client_ca, hosts })
}

/// The names of `tls.host[nth]`. `seen` has the names of the hosts before it.
fn host_names(section: &Section<'_>, nth: usize, seen: &mut HashMap<String, usize>) -> Vec<String> {
    let Some(entry) = section.required("names", &format!("[{HOST_NAME}]")) else {
        return Vec::new();
    };
    let Some(texts) = entry.texts(HOST_NAME) else { return Vec::new() };
    if texts.is_empty() {
        entry.refuse(format!("is empty; write at least one name: [{HOST_NAME}]"));
    }
    let mut names = Vec::new();
    for (entry, text) in texts {
        let Some(name) = entry.checked(value::certificate_name(text)) else { continue };
        match seen.insert(name.clone(), nth) {
            Some(first) => entry.refuse(format!(
                "{name:?} is already a name of tls.host[{first}]; remove one of them"
            )),
            None => names.push(name),
        }
    }
    names
}

fn key_pair(section: &Section<'_>) -> Option<KeyPair> {
    let certificate = section.required_file("certificate", "\"tls/fullchain.pem\"");
    let private_key = section.required_file("private-key", "\"tls/privkey.pem\"");
    Some(KeyPair { certificate: certificate?, private_key: private_key? })
}

fn limits(section: &Section<'_>) -> Limits {
    let connections = open_files::at_most(10_000);
    Limits {
        connections: section.number(&number("connections", connections, MOST_CONNECTIONS)),
        connections_per_address: section.number(&CONNECTIONS_PER_ADDRESS),
        sessions_per_user: section.number(&SESSIONS_PER_USER),
        bad_commands: section.number(&BAD_COMMANDS),
        failed_logins: section.number(&FAILED_LOGINS),
    }
}

fn timeouts(section: &Section<'_>) -> Timeouts {
    Timeouts {
        idle: section.duration(&IDLE),
        login: section.duration(&LOGIN),
        write: section.duration(&WRITE),
        shutdown_grace: section.duration(&SHUTDOWN_GRACE),
    }
}

fn log(section: &Section<'_>) -> Log {
    Log {
        format: section.choice("format", LogFormat::Auto),
        level: section.choice("level", LogLevel::Info),
        removals: section.flag("removals", true),
    }
}

fn sandbox(section: &Section<'_>) -> Sandbox {
    let directories = section.entry("mail-directories");
    let directories = directories.and_then(|entry| entry.texts(MAIL_DIRECTORY));
    let directory = |(entry, text): &(Entry<'_>, &str)| entry.checked(value::directory(text));
    Sandbox {
        landlock: section.flag("landlock", true),
        mail_directories: directories.iter().flatten().filter_map(directory).collect(),
        seccomp: section.flag("seccomp", true),
        no_new_privileges: section.flag("no-new-privileges", true),
        core_dumps: section.flag("core-dumps", false),
    }
}

fn control(section: &Section<'_>) -> Control {
    let (enabled, path) = switched(section, Control::PATH);
    Control { enabled, path }
}

fn metrics(section: &Section<'_>, listen: &[PartialListen]) -> Option<HttpListen> {
    let tls = section.flag("tls", false);
    let entry = section.entry("listen")?;
    let address = entry.checked(value::socket_address(entry.text(METRICS_ADDRESS)?))?;
    let address = free_address(&entry, address, listen)?;
    Some(HttpListen { service: HttpService::Metrics, address, tls })
}

fn web(
    root: &Section<'_>,
    listen: &[PartialListen],
    metrics: Option<&HttpListen>,
) -> Option<HttpListen> {
    let section = root.section("web");
    let tls = section.flag("tls", true);
    let entry = section.entry("listen")?;
    if root.entry("client-settings").is_none() {
        section.refuse(
            &["listen"],
            "has nothing to serve; write a section [client-settings], and [client-settings.smtp] with \
             host = \"smtp.example.org\"",
        );
    }
    let address = entry.checked(value::socket_address(entry.text(WEB_ADDRESS)?))?;
    if metrics.is_some_and(|metrics| overlap(metrics.address, address)) {
        entry.refuse(format!("{address} is the address of metrics.listen; change one of them"));
        return None;
    }
    let address = free_address(&entry, address, listen)?;
    Some(HttpListen { service: HttpService::Web, address, tls })
}

fn last_logins(section: &Section<'_>) -> LastLogins {
    let (enabled, path) = switched(section, LastLogins::PATH);
    LastLogins { enabled, path }
}

/// Whether a file of the server is on, and its path, which has a default.
fn switched(section: &Section<'_>, default: &'static str) -> (bool, PathBuf) {
    let enabled = section.flag("enabled", true);
    let path = section.entry("path").and_then(|entry| entry.path(default));
    section.default("path", default);
    (enabled, path.unwrap_or_else(|| default.into()))
}

fn processors() -> NonZeroU32 {
    let count = thread::available_parallelism().map_or(1, |count| count.get());
    let count = u32::try_from(count).map_or(MOST_HASHES_AT_ONCE, |n| n.min(MOST_HASHES_AT_ONCE));
    NonZeroU32::new(count).unwrap_or(NonZeroU32::MIN)
}
