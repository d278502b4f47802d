//! Complete configuration files: those that must be refused, with the exact errors, and those that
//! must load. The example and the reference must have every key.
//!
//! `BLESS=1 cargo test --test it config` rewrites the expected errors; review the difference.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::fs;
use std::num::{NonZeroU16, NonZeroU32};
use std::path::{Path, PathBuf};
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use restante::config::{
    Asking, Auth, CheckpasswordSection, ClientPort, ClientSettings, Config, Control, Credentials,
    Dovecot, Duplicates, FileSection, FlagSeparator, Guard, GuardMode, HttpListen, HttpService,
    Introspection, KEYS, KeyPair, LastLogins, LdapAttributes, LdapBind, LdapSection, LdapWay,
    Limits, Listen, Log, LogFormat, LogLevel, MailServer, Maildir, NewMailOrder, Oauth2Section,
    PamSection, PartialConfig, Pop3, RunAs, Sandbox, SqlSection, ThrottleSection, Timeouts, Tls,
    TlsHost, TlsMode, TokenTerms, UidlSource, UserNameForm,
};
use restante::protocol::sasl::Mechanism;
use restante::protocol::{Placeholder, Template};

#[test]
fn bad_files_are_refused_for_the_expected_reason() {
    let bless = env::var_os("BLESS").is_some();
    let cases = directories("tests/configs/bad");
    assert!(cases.len() >= 25, "{} cases", cases.len());
    let mut different = Vec::new();
    for case in cases {
        let Err(faults) = Config::load(&case.join("restante.toml")) else {
            panic!("{} loads", case.display());
        };
        let found = format!("{faults}\n").replace(&format!("{}/", case.display()), "");
        let expected = case.join("expected-error");
        if bless {
            fs::write(&expected, &found).unwrap();
        } else if fs::read_to_string(&expected).unwrap() != found {
            different.push(format!("{}:\n{found}", case.display()));
        }
    }
    assert!(different.is_empty(), "other errors than expected:\n{}", different.join("\n"));
}

#[test]
fn good_files_load() {
    let cases = directories("tests/configs/good");
    assert!(!cases.is_empty());
    for case in cases {
        let config = Config::load(&case.join("restante.toml"));
        assert!(config.is_ok(), "{}:\n{}", case.display(), config.unwrap_err());
    }
}

fn client_port(number: u16, tls: TlsMode) -> ClientPort {
    ClientPort { number: NonZeroU16::new(number).unwrap(), tls }
}

fn template(text: &str) -> Template {
    Template::parse(text, &Placeholder::OF_A_NAME).unwrap()
}

#[test]
fn every_value_arrives_in_its_place() {
    let base = Path::new("tests/configs/good/everything");
    let number = |number| NonZeroU32::new(number).unwrap();
    let listen = |address: &str, tls| Listen {
        address: address.parse().unwrap(),
        tls,
        default_domain: address.ends_with(":995").then(|| "example.org".into()),
        proxies: None,
    };
    let proxies = ["192.0.2.7/32", "2001:db8::/32"].map(|net| net.parse().unwrap());
    let asking = Asking { deadline: Duration::from_secs(5), at_once: number(10) };
    let expected = Config {
        hostname: "POP.example.org".to_owned(),
        run_as: Some(RunAs { user: "vmail".to_owned(), group: Some("mail".to_owned()) }),
        listen: vec![
            listen("[::]:995", TlsMode::Implicit),
            listen("0.0.0.0:110", TlsMode::Starttls),
            listen("127.0.0.1:0", TlsMode::Off),
            Listen { proxies: Some(proxies.into()), ..listen("127.0.0.1:0", TlsMode::Off) },
        ],
        tls: Some(Tls {
            default: KeyPair {
                certificate: base.join("tls/fullchain.pem"),
                private_key: PathBuf::from("/etc/ssl/private/pop.pem"),
            },
            client_ca: Some(base.join("tls/clients.pem")),
            hosts: vec![TlsHost {
                names: vec!["pop.example.net".to_owned(), "*.example.net".to_owned()],
                pair: KeyPair {
                    certificate: base.join("tls/net.pem"),
                    private_key: base.join("tls/net.key"),
                },
                default_domain: Some("example.net".into()),
            }],
        }),
        maildir: Maildir {
            path: base.join("mail/{user}"),
            create: true,
            flag_separator: FlagSeparator::Semicolon,
            lock_wait: Duration::ZERO,
            yield_idle: Duration::from_secs(86_400),
            uidl: Some(vec![
                UidlSource::Map,
                UidlSource::Dovecot,
                UidlSource::Courier,
                UidlSource::BaseName,
                UidlSource::Name,
            ]),
            order: NewMailOrder::Modified,
            dovecot: Dovecot {
                format: "%v-%u".to_owned(),
                control: Some(base.join("control/{user}/.INBOX")),
                reuse_xuidl: true,
                duplicates: Duplicates::Rename,
                deleted_flag: Some("$POP3Deleted".to_owned()),
            },
            map: Some(PathBuf::from("{home}/unique-ids")),
        },
        guard: Guard { mode: GuardMode::Warn, share: 100, least: number(1) },
        pop3: Pop3 { utf8: true },
        auth: Auth {
            allow_cleartext: true,
            failure_delay: Duration::from_millis(500),
            hashes_at_once: number(3),
            hash_wait: Duration::from_secs(60),
            mechanisms: Some(vec![Mechanism::ScramSha256Plus, Mechanism::XOAuth2]),
            weak_schemes: true,
            cache: Duration::from_secs(300),
            default_domain: Some("bücher.example".into()),
        },
        throttle: ThrottleSection {
            first_delay: Duration::from_millis(500),
            longest_delay: Duration::from_secs(60),
            forget_after: Duration::from_secs(86_400),
            trusted: ["127.0.0.1/32", "2001:db8::/32"].map(|net| net.parse().unwrap()).into(),
        },
        credentials: vec![
            Credentials::File(FileSection { path: base.join("users"), rehash: true }),
            Credentials::File(FileSection {
                path: PathBuf::from("/etc/restante/more-users"),
                rehash: false,
            }),
            Credentials::Sql(SqlSection {
                url: "postgres://restante@localhost/mail".to_owned(),
                password_file: Some(base.join("sql-password")),
                ca: Some(base.join("tls/ca.pem")),
                query: template("SELECT password FROM users WHERE name = {user}"),
                update_query: Some(template(
                    "UPDATE users SET last_login = now() WHERE name = {user}",
                )),
                list_query: Some("SELECT name FROM users".to_owned()),
                asking: Asking { deadline: Duration::from_secs(1), at_once: number(1_000) },
            }),
            Credentials::Ldap(LdapSection {
                url: "ldap://localhost".to_owned(),
                starttls: false,
                ca: Some(PathBuf::from("/etc/ssl/ldap.pem")),
                way: LdapWay::Search {
                    bind: Some(LdapBind {
                        dn: "cn=restante,dc=example,dc=org".to_owned(),
                        password_file: base.join("ldap-password"),
                    }),
                    base: "dc=example,dc=org".to_owned(),
                    filter: template("(mail={user})"),
                },
                attributes: LdapAttributes {
                    home: Some("homeDirectory".to_owned()),
                    mail: Some("mailMessageStore".to_owned()),
                    pop3: Some("pop3Enabled".to_owned()),
                    sessions: Some("pop3Sessions".to_owned()),
                    allow_nets: Some("allowNets".to_owned()),
                    app_password: Some("appPassword".to_owned()),
                },
                asking,
            }),
            Credentials::Ldap(LdapSection {
                url: "ldaps://localhost".to_owned(),
                starttls: false,
                ca: None,
                way: LdapWay::Direct { dn: template("uid={local},dc=example,dc=org") },
                attributes: LdapAttributes::default(),
                asking,
            }),
            Credentials::Pam(PamSection { service: "pop3".to_owned(), asking }),
            Credentials::Checkpassword(CheckpasswordSection {
                command: vec!["/usr/bin/checkpassword".to_owned(), "-v".to_owned()],
                asking,
            }),
            Credentials::Oauth2(Oauth2Section {
                terms: TokenTerms {
                    issuer: "https://login.example.org".to_owned(),
                    audience: "restante".to_owned(),
                    scope: Some("mail".to_owned()),
                    user_claim: "sub".to_owned(),
                },
                introspection: Some(Introspection {
                    url: "https://login.example.org/introspect".to_owned(),
                    client_id: "pop".to_owned(),
                    client_secret_file: base.join("oauth2-secret"),
                }),
                ca: None,
                asking,
            }),
        ],
        limits: Limits {
            connections: number(1_000_000),
            connections_per_address: number(1),
            sessions_per_user: number(1_000),
            bad_commands: number(1_000),
            failed_logins: number(100),
        },
        timeouts: Timeouts {
            idle: Duration::from_secs(86_400),
            login: Duration::from_secs(600),
            write: Duration::from_secs(3_600),
            shutdown_grace: Duration::ZERO,
        },
        log: Log { format: LogFormat::Json, level: LogLevel::Debug, removals: false },
        sandbox: Sandbox {
            landlock: false,
            mail_directories: vec!["/srv/mail".into(), "/home".into()],
            seccomp: false,
            no_new_privileges: false,
            core_dumps: true,
        },
        control: Control { enabled: false, path: "/run/pop3/control".into() },
        metrics: Some(HttpListen {
            service: HttpService::Metrics,
            address: "[::1]:9111".parse().unwrap(),
            tls: true,
        }),
        client_settings: Some(ClientSettings {
            domains: vec!["example.org".to_owned(), "xn--bcher-kva.example".to_owned()],
            display_name: Some("M&N <Mail>".to_owned()),
            help: Some("mailto:help@example.org".to_owned()),
            user_name: UserNameForm::LocalPart,
            web_host: Some("web.example.org".to_owned()),
            pop3_host: Some("pop3.example.org".to_owned()),
            pop3: vec![client_port(2110, TlsMode::Starttls)],
            smtp: MailServer {
                host: "smtp.example.org".to_owned(),
                port: client_port(587, TlsMode::Starttls),
            },
            imap: Some(MailServer {
                host: "imap.example.org".to_owned(),
                port: client_port(143, TlsMode::Off),
            }),
        }),
        web: Some(HttpListen {
            service: HttpService::Web,
            address: "[::]:443".parse().unwrap(),
            tls: false,
        }),
        last_logins: LastLogins { enabled: false, path: "/srv/pop3/last-logins".into() },
    };
    assert_eq!(Config::load(&base.join("restante.toml")).unwrap(), expected);
}

#[test]
fn a_missing_file_is_one_line() {
    let faults = Config::load(Path::new("tests/configs/absent.toml")).unwrap_err();
    assert_eq!(
        faults.to_string(),
        "tests/configs/absent.toml: cannot be read: No such file or directory (os error 2); name \
         the configuration with --config"
    );
}

/// A key that is listed but not read would be accepted and ignored.
#[test]
fn every_key_is_read() {
    let everything = fs::read_to_string("tests/configs/good/everything/restante.toml").unwrap();
    for (section, keys) in KEYS {
        for key in *keys {
            // No key has the type of a time of day.
            let noon = toml::Value::Datetime("12:00:00".parse().unwrap());
            let text = with_value(&everything, section, key, noon);
            let faults = Config::parse(&text, Path::new("restante.toml")).unwrap_err();
            let ends = |path: &str| path == *key || path.ends_with(&format!(".{key}"));
            assert!(
                faults.list().iter().any(|fault| ends(&fault.key) && fault.what.contains("a date")),
                "[{section}] {key} is not read:\n{faults}"
            );
        }
    }
}

proptest! {
    /// A file with any damage is read, or refused with a message and a position within it.
    #[test]
    fn a_damaged_file_is_read_or_refused(
        damage in vec((0..2_000_usize, 0..4_usize, "[\\PC\n\r\t]{0,4}"), 1..4),
    ) {
        let path = Path::new("tests/configs/good/everything/restante.toml");
        let mut text: Vec<char> = fs::read_to_string(path).unwrap().chars().collect();
        for (at, removed, put_in) in damage {
            let at = at.min(text.len());
            let end = (at + removed).min(text.len());
            text.splice(at..end, put_in.chars());
        }
        let text = String::from_iter(text);
        if let Err(faults) = Config::parse(&text, path) {
            prop_assert!(!faults.list().is_empty());
            for fault in faults.list() {
                let place = fault.place.unwrap();
                let lines = text.split('\n').count();
                prop_assert!(place.line <= lines, "{fault:?}");
                let line = fault.line(path);
                prop_assert!(!line.contains(char::is_control), "{line:?}");
            }
        }
    }
}

#[test]
fn the_example_loads_and_shows_every_default() {
    let path = Path::new("config/restante.toml");
    let text = fs::read_to_string(path).unwrap();
    let example = Config::load(path).unwrap_or_else(|faults| panic!("{faults}"));
    assert_eq!(documented_keys(&text), all_keys(), "keys of KEYS and keys of the example");

    // `#key = value` is a default, `# text` a remark: with every default written out, only values
    // that depend on the machine change.
    let written_out: String = text
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(key) if key.starts_with(|c: char| c.is_ascii_lowercase()) => key,
            _ => line,
        })
        .flat_map(|line| [line, "\n"])
        .collect();
    let mut config = Config::parse(&written_out, path).unwrap_or_else(|faults| panic!("{faults}"));
    config.auth.hashes_at_once = example.auth.hashes_at_once;
    config.limits.connections = example.limits.connections;
    assert_eq!(config, example);
}

#[test]
fn the_reference_has_a_row_for_every_key() {
    let mut rows = reference();
    let example = fs::read_to_string("config/restante.toml").unwrap();
    for (section, keys) in KEYS {
        for key in *keys {
            if KEYS.iter().any(|(name, _)| *name == path_of(section, key)) {
                continue; // a section, and its keys have rows
            }
            let Some(default) = rows.remove(&path_of(section, key)) else {
                panic!("{} has no row in docs/CONFIGURATION.md", path_of(section, key));
            };
            // The example and the reference have the same default.
            let shown = default_in(&example, section, key);
            if !MACHINE.contains(&path_of(section, key).as_str()) && default != "required" {
                assert_eq!(shown.unwrap_or(&default), default, "{}", path_of(section, key));
            }
        }
    }
    assert!(rows.is_empty(), "docs/CONFIGURATION.md has rows for no key: {rows:?}");
}

/// The default of a key that an example shows.
fn default_in<'a>(example: &'a str, section: &str, key: &str) -> Option<&'a str> {
    let header = |line: &&str| line.trim_matches(['#', ' ', '[', ']']) == section;
    let lines = example.lines().skip_while(|line| !section.is_empty() && !header(line)).skip(1);
    let is_in_section = |line: &&str| !line.trim_start_matches(['#', ' ']).starts_with('[');
    let mut lines = lines.take_while(is_in_section);
    lines.find_map(|line| line.strip_prefix(&format!("#{key} = ")))
}

/// Every file that loads, by its absolute path.
fn loadable() -> Vec<PathBuf> {
    let cases = directories("tests/configs/good");
    let files = cases.iter().map(|case| case.join("restante.toml"));
    let files = files.chain([PathBuf::from("config/restante.toml")]);
    files.map(|file| std::path::absolute(file).unwrap()).collect()
}

#[test]
fn the_printed_configuration_reads_as_the_same() {
    for file in loadable() {
        let (config, settings) = PartialConfig::load(&file).unwrap().finish().unwrap();
        for printed in [settings.to_string(), settings.clone().without_defaults().to_string()] {
            // Paths are absolute, so it may be in any directory.
            let again =
                PartialConfig::parse(printed.clone(), Path::new("/elsewhere/restante.toml"));
            let (same, same_settings) =
                again.finish().unwrap_or_else(|faults| panic!("{faults}\n{printed}"));
            assert_eq!(same, config, "{}:\n{printed}", file.display());
            assert_eq!(same_settings.table(), settings.table(), "{printed}");
        }
    }
}

/// The name of each value of a table in the reference.
fn keys_in(table: &toml::Table, section: &str) -> BTreeMap<String, String> {
    let mut keys = BTreeMap::new();
    for (key, value) in table {
        let path = path_of(section, key);
        let sections = value.as_array().filter(|list| list.iter().any(toml::Value::is_table));
        let sections = sections.map_or_else(|| vec![value], |list| list.iter().collect());
        for value in sections {
            match value.as_table() {
                Some(inner) => keys.extend(keys_in(inner, &path)),
                None => drop(keys.insert(path.clone(), value.to_string())),
            }
        }
    }
    keys
}

/// Together with the other tests of keys: the example, the reference and the output of
/// `restante config` have the same keys.
#[test]
fn every_key_is_printed() {
    let file = Path::new("tests/configs/good/everything/restante.toml");
    let (_, settings) = PartialConfig::load(file).unwrap().finish().unwrap();
    let printed: BTreeSet<_> = keys_in(&settings.table(), "").into_keys().collect();
    let all: BTreeSet<_> = reference().into_keys().collect();
    assert_eq!(printed, all);
}

#[test]
fn every_default_of_the_reference_is_printed() {
    // The smallest section of each kind.
    let text = r#"
        listen = [{ address = "[::]:110", tls = "starttls" }]
        tls = { certificate = "a", private-key = "b" }
        maildir = { path = "{user}", uidl = ["dovecot", "map"], map = { path = "{user}" } }
        credentials = [
            { kind = "file", path = "users" },
            { kind = "sql", url = "sqlite:///a", query = "{user}" },
            { kind = "ldap", url = "ldap://localhost", base = "o=a", filter = "(a={user})" },
            { kind = "pam", service = "pop3" },
            { kind = "checkpassword", command = ["/bin/false"] },
            { kind = "oauth2", issuer = "https://a", audience = "b" },
        ]
        client-settings = { pop3 = {}, smtp = { host = "a" }, imap = { host = "b" } }
    "#;
    let config = PartialConfig::parse(text.to_owned(), Path::new("restante.toml"));
    let (_, settings) = config.finish().unwrap_or_else(|faults| panic!("{faults}"));
    let printed = keys_in(&settings.table(), "");
    for (key, default) in reference() {
        let value = printed.get(&key).map(String::as_str);
        match default.as_str() {
            "required" => {}
            // Two sections have a meaning only with sources.
            "none" if key == "maildir.uidl" => {}
            "none" => assert_eq!(value, None, "{key}"),
            // These depend on the machine.
            _ if MACHINE.contains(&key.as_str()) => assert!(value.is_some(), "{key}"),
            default => assert_eq!(value, Some(default), "{key}"),
        }
    }
    let differing = keys_in(&settings.without_defaults().table(), "");
    assert!(differing.keys().all(|key| !key.starts_with("limits.")), "{differing:?}");
}

/// Keys whose default depends on the machine.
const MACHINE: &[&str] = &["hostname", "auth.hashes-at-once", "limits.connections"];

/// The text after replacing the first value of a key, or the whole section of that name.
fn with_value(text: &str, section: &str, key: &str, value: toml::Value) -> String {
    let mut root: toml::Table = text.parse().unwrap();
    let mut table = &mut root;
    for step in section.split('.').filter(|step| !step.is_empty()) {
        let inner = &mut table[step];
        // Not every kind of store has every key.
        let inner = if inner.is_array() {
            inner.as_array_mut().unwrap().iter_mut().find(|it| it.get(key).is_some()).unwrap()
        } else {
            inner
        };
        table = inner.as_table_mut().unwrap();
    }
    assert!(table.insert(key.to_owned(), value).is_some(), "[{section}] {key} is in everything");
    root.to_string()
}

/// Every section and key in an example, commented out or not.
fn documented_keys(text: &str) -> BTreeSet<(String, String)> {
    let mut keys = BTreeSet::new();
    let mut section = String::new();
    for line in text.lines().map(|line| line.trim_start_matches('#').trim_start()) {
        if line.starts_with('[') && line.ends_with(']') {
            section = line.trim_matches(['[', ']']).to_owned();
            let (parent, name) = section.rsplit_once('.').unwrap_or(("", &section));
            keys.insert((parent.to_owned(), name.to_owned()));
        } else if let Some((key, _)) = line.split_once(" = ")
            && key.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        {
            keys.insert((section.clone(), key.to_owned()));
        }
    }
    keys
}

/// The default of each key in the reference.
fn reference() -> BTreeMap<String, String> {
    let mut rows = BTreeMap::new();
    let mut section = None;
    for line in fs::read_to_string("docs/CONFIGURATION.md").unwrap().lines() {
        if let Some(heading) = line.strip_prefix("## ") {
            section = match heading.split('`').nth(1) {
                Some(name) => Some(name.trim_matches(['[', ']']).to_owned()),
                None => (heading == "Top of the file").then(String::new),
            };
        } else if let (Some(section), Some(row)) = (&section, line.strip_prefix("| `")) {
            let cells: Vec<&str> = row.split(" | ").collect();
            let key = cells[0].trim_end_matches('`');
            rows.insert(path_of(section, key), cells[2].trim_matches('`').to_owned());
        }
    }
    rows
}

fn all_keys() -> BTreeSet<(String, String)> {
    KEYS.iter()
        .flat_map(|(section, keys)| {
            keys.iter().map(|key| ((*section).to_owned(), (*key).to_owned()))
        })
        .collect()
}

fn path_of(section: &str, key: &str) -> String {
    if section.is_empty() { key.to_owned() } else { format!("{section}.{key}") }
}

fn directories(path: &str) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> =
        fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()).collect();
    found.retain(|path| path.is_dir());
    found.sort();
    found
}
