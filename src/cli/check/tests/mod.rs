//! Reports on configurations in a temporary directory.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::*;

mod certificates;
mod lists;
mod mail;

/// The lines of a report.
#[derive(Debug, Default)]
struct Lines {
    errors: Vec<String>,
    unanswered: Vec<String>,
    warnings: Vec<String>,
    summary: String,
    consequence: Option<String>,
}

/// A directory with a configuration and the files that it names.
struct Fixture(tempfile::TempDir);

impl Fixture {
    fn new() -> Self {
        let fixture = Self(tempfile::tempdir().unwrap());
        fs::create_dir(fixture.path("mail")).unwrap();
        fixture.certificate("tls", &["pop.example.org"]);
        fixture.write("users", "mrose@example.org:{PLAIN}tanstaaf\n");
        fixture.write("restante.toml", GOOD);
        fixture
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    /// Writes `name.crt` and `name.key`.
    fn certificate(&self, name: &str, names: &[&str]) {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let made = rcgen::generate_simple_self_signed(names).unwrap();
        self.write(&format!("{name}.crt"), &made.cert.pem());
        self.write(&format!("{name}.key"), &made.signing_key.serialize_pem());
    }

    /// The report, without the path of the directory.
    fn report(&self) -> Lines {
        self.report_in(&circumstances(), Extent::Everything)
    }

    fn report_in(&self, circumstances: &Circumstances, extent: Extent) -> Lines {
        let (mut report, config) = examine(&self.path("restante.toml"), circumstances);
        if let Some(config) = config {
            let report = &mut report;
            Examination { config: &config, circumstances, report }.stores(extent);
        }
        let plain = |text: String| text.replace(&format!("{}/", self.0.path().display()), "");
        let mut lines = Lines {
            summary: plain(report.summary()),
            consequence: report.consequence(),
            ..Lines::default()
        };
        for diagnostic in report.diagnostics() {
            let list = match diagnostic.severity {
                Severity::Error => &mut lines.errors,
                Severity::NoAnswer => &mut lines.unanswered,
                Severity::Warning => &mut lines.warnings,
            };
            list.push(plain(diagnostic.fault.line(&diagnostic.file)));
        }
        lines
    }
}

fn circumstances() -> Circumstances {
    Circumstances {
        now: SystemTime::now(),
        bind: false,
        all_users: false,
        is_service: false,
        unit: None,
    }
}

const GOOD: &str = r#"hostname = "pop.example.org"

[[listen]]
address = "[::]:995"
tls = "implicit"

[[listen]]
address = "[::]:110"
tls = "starttls"

[tls]
certificate = "tls.crt"
private-key = "tls.key"

[maildir]
path = "mail/{domain}/{local}"

[[credentials]]
kind = "file"
path = "users"
"#;

#[test]
fn a_valid_configuration_has_a_summary() {
    let fixture = Fixture::new();
    let report = fixture.report();
    assert_eq!(report.errors, [""; 0]);
    let summary = &report.summary;
    for line in [
        "  greets as    pop.example.org",
        "  listens on   [::]:995  implicit TLS",
        "  listens on   [::]:110  STLS, passwords only with it",
        "  users        1 in users",
        "  mail         mail/example.org/mrose  for mrose@example.org",
        "  runs as      the user that starts it, except root",
    ] {
        assert!(summary.lines().any(|found| found == line), "{line:?} is not in\n{summary}");
    }
    assert!(summary.contains("  certificate  for pop.example.org, "), "{summary}");
}

#[test]
fn errors_of_all_kinds_come_at_once_with_their_places() {
    let fixture = Fixture::new();
    fixture.write("tls.key", "not a key");
    fixture.write("users", "mrose@example.org:{PLAIN}tanstaaf\nno colon here\n");
    fixture.write("restante.toml", &format!("run-as = \"no-such-user-here\"\n{GOOD}"));
    let report = fixture.report();
    assert_eq!(report.errors.len(), 3, "{report:?}");
    assert!(report.errors[0].starts_with("restante.toml:1:10: run-as: there is no user"));
    assert!(report.errors[1].starts_with("restante.toml:14:15: tls.private-key: "), "{report:?}");
    assert!(report.errors[2].starts_with("users:2:1: "), "{report:?}");
}

#[test]
fn mechanisms_that_cannot_be_offered_are_named() {
    let fixture = Fixture::new();
    let mechanisms = "[auth]\nmechanisms = [\"PLAIN\", \"OAUTHBEARER\", \"EXTERNAL\"]\n[maildir]";
    fixture.write("restante.toml", &GOOD.replace("[maildir]", mechanisms));
    let about = |report: Lines| {
        let lines = report.warnings.into_iter().filter(|line| line.contains(" auth.mechanisms["));
        lines.collect::<Vec<_>>()
    };
    let found = about(fixture.report());
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0].contains(":16:24: auth.mechanisms[1]: ") && found[0].contains("\"oauth2\""));
    assert!(found[1].contains(" auth.mechanisms[2]: ") && found[1].contains("client-ca"));
    let program = "kind = \"checkpassword\"\ncommand = [\"/bin/false\"]\n";
    let text = GOOD.replace("[maildir]", "[auth]\nmechanisms = [\"SCRAM-SHA-256\"]\n[maildir]");
    fixture.write("restante.toml", &text.replace("kind = \"file\"\npath = \"users\"\n", program));
    assert_eq!(about(fixture.report()).len(), 1);
}

#[test]
fn a_throttle_that_the_login_timeout_cuts_off_is_named() {
    let fixture = Fixture::new();
    for (throttle, warned) in [
        ("longest-delay = \"59s\"", false),
        ("longest-delay = \"1m\"", true),
        ("longest-delay = \"1m\"\nfirst-delay = \"0s\"", false),
    ] {
        fixture.write("restante.toml", &format!("{GOOD}[throttle]\n{throttle}\n"));
        let report = fixture.report();
        let found = report.warnings.iter().any(|line| line.contains(" throttle.longest-delay: "));
        assert_eq!(found, warned, "{throttle}: {report:?}");
    }
}

#[test]
fn networks_that_are_not_of_proxies_alone_are_named() {
    let fixture = Fixture::new();
    let proxied = "proxy-protocol = true\nproxies = [\"0.0.0.0/0\", \"10.0.0.0/8\", \"::/0\"]\n";
    fixture.write(
        "restante.toml",
        &GOOD.replacen("[[listen]]\n", &format!("[[listen]]\n{proxied}"), 1),
    );
    let report = fixture.report();
    assert!(report.errors.is_empty(), "{report:?}");
    let found: Vec<_> = report.warnings.iter().filter(|line| line.contains("].proxies[")).collect();
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(
        found[0].contains(" listen[0].proxies[0]: 0.0.0.0/0 is not a network of proxies alone")
    );
    assert!(found[1].contains(" listen[0].proxies[2]: ::/0 is not a network of proxies alone"));
}

#[test]
fn files_that_the_user_of_run_as_cannot_read_are_errors() {
    let fixture = Fixture::new();
    let with_ca = GOOD.replace("private-key", "client-ca = \"clients.pem\"\nprivate-key");
    fixture.write("restante.toml", &format!("run-as = \"daemon\"\n{with_ca}"));
    fs::copy(fixture.path("tls.crt"), fixture.path("clients.pem")).unwrap();
    for name in ["tls.key", "clients.pem", "restante.toml"] {
        fs::set_permissions(fixture.path(name), fs::Permissions::from_mode(0o600)).unwrap();
    }
    fs::set_permissions(fixture.0.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let report = fixture.report();
    let named = |lines: &[String], start: &str| lines.iter().any(|line| line.starts_with(start));
    assert!(named(&report.errors, "restante.toml:15:15: tls.private-key: daemon cannot "));
    assert!(named(&report.errors, "restante.toml:14:13: tls.client-ca: daemon cannot "));
    assert!(named(&report.warnings, "restante.toml:1:10: run-as: daemon cannot "), "{report:?}");
}

#[test]
fn a_fault_of_the_file_neither_hides_nor_causes_others() {
    let fixture = Fixture::new();
    for name in ["tls.crt", "tls.key", "users"] {
        fs::remove_file(fixture.path(name)).unwrap();
    }
    fs::remove_dir(fixture.path("mail")).unwrap();
    let found_outside = [
        " run-as: there is no user",
        " tls.certificate: tls.crt: cannot be read",
        " tls.private-key: tls.key: cannot be read",
        " maildir.path: mail does not exist",
        " credentials[0].path: users does not exist",
    ];
    for (right, wrong, fault) in [
        ("implicit", "ssl", ":6:7: listen[0].tls: "),
        ("hostname", "hostnam", ":2:1: hostnam: "),
        ("certificate =", "certficate =", ":13:1: tls.certficate: "),
        ("[tls]", "[tsl]", ":12:2: tsl: "),
        ("[maildir]", "[mail-dir]", ":16:2: mail-dir: "),
        ("path = \"users\"", "path = \"users\"\n[limits]\nconnection = 3", ":23:1: limits.con"),
        ("path = \"users\"", "path = \"users\"\nrehash = 3", ":22:10: credentials[0].rehash: "),
        ("path = \"users\"", "path = \"users\"\nrehash = = 3", ":22:10: invalid TOML: "),
    ] {
        let text = format!("run-as = \"no-such-user-here\"\n{GOOD}").replacen(right, wrong, 1);
        fixture.write("restante.toml", &text);
        let report = fixture.report();
        for words in found_outside.iter().chain([&fault]) {
            let is_there = report.errors.iter().any(|line| line.contains(words));
            assert!(is_there, "{wrong}: {words} is not in {:#?}", report.errors);
        }
        assert_eq!(report.errors.len(), found_outside.len() + 1, "{wrong}: {report:#?}");
    }
}

#[test]
fn an_invalid_section_header_ends_the_check() {
    let fixture = Fixture::new();
    fs::remove_file(fixture.path("users")).unwrap();
    fixture.write("restante.toml", &GOOD.replace("[maildir]", "[maildir"));
    let report = fixture.report();
    assert_eq!(report.errors.len(), 1, "{report:?}");
    assert!(report.errors[0].starts_with("restante.toml:15:9: invalid TOML: "), "{report:?}");
}

#[test]
fn errors_come_before_warnings_and_both_by_line() {
    let fixture = Fixture::new();
    fixture.certificate("tls", &["mail.example.org"]);
    fixture.write("users", "no colon here\nmrose:{PLAIN}x\n");
    let text = format!("run-as = \"no-such-user-here\"\n{GOOD}[limits]\nconnection = 3\n");
    fixture.write("restante.toml", &text);
    let (report, _) = examine(&fixture.path("restante.toml"), &circumstances());
    let order: Vec<_> = report
        .diagnostics()
        .into_iter()
        .map(|diagnostic| {
            let name = diagnostic.file.file_name().unwrap().to_str().unwrap().to_owned();
            (diagnostic.severity == Severity::Warning, name, diagnostic.fault.place.unwrap().line)
        })
        .collect();
    let file = |name: &str| name.to_owned();
    assert_eq!(
        order[..4],
        [
            (false, file("restante.toml"), 1),
            (false, file("restante.toml"), 23),
            (false, file("users"), 1),
            (true, file("restante.toml"), 13),
        ]
    );
    assert!(order[4..].iter().all(|(is_warning, ..)| *is_warning), "{order:?}");
}

#[test]
fn ports_that_cannot_be_bound_are_errors_at_their_keys() {
    let fixture = Fixture::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap();
    let text = GOOD.replace("[::]:995", &taken.to_string()).replace("[::]:110", "192.0.2.1:1110");
    fixture.write("restante.toml", &text);
    let bind = Circumstances { bind: true, ..circumstances() };
    let report = fixture.report_in(&bind, Extent::Offline);
    assert_eq!(report.errors.len(), 2, "{report:#?}");
    let start = format!("restante.toml:4:11: listen[0].address: cannot listen on {taken}: ");
    assert!(report.errors[0].starts_with(&start), "{report:#?}");
    assert!(report.errors[0].contains(&format!("(pid {}) has this port", std::process::id())));
    assert!(report.errors[1].contains("does not have the address 192.0.2.1"), "{report:#?}");
}

#[test]
fn an_address_for_http_that_cannot_be_bound_is_an_error_at_its_key() {
    let fixture = Fixture::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap();
    let good = GOOD.replace("[::]:995", "127.0.0.1:0").replace("[::]:110", "127.0.0.1:0");
    fixture.write("restante.toml", &format!("{good}\n[metrics]\nlisten = \"{taken}\"\n"));
    let bind = Circumstances { bind: true, ..circumstances() };
    let report = fixture.report_in(&bind, Extent::Offline);
    let [error] = &report.errors[..] else { panic!("{report:#?}") };
    let why = match cfg!(feature = "metrics") {
        true => &format!("cannot listen on {taken}: "),
        false => "this program was built without the feature metrics; build it with ",
    };
    assert!(error.contains(&format!(": metrics.listen: {why}")), "{error}");
}

#[test]
fn each_warning_names_its_place() {
    let fixture = Fixture::new();
    fixture.certificate("tls", &["mail.example.org"]);
    fixture.write("users", "mrose:{PLAIN}x\nfred@example.org:{DES-CRYPT}x\n");
    let report = fixture.report();
    assert_eq!(report.errors, [""; 0]);
    for (start, words) in [
        ("restante.toml:12:15: tls.certificate: ", "for mail.example.org, not for pop.example.org"),
        ("restante.toml:13:15: tls.private-key: ", "every user of this machine can read"),
        ("users:2:1: ", "fred@example.org"),
        ("restante.toml:16:8: maildir.path: ", "no {domain} for 1 user (mrose)"),
    ] {
        assert!(
            report.warnings.iter().any(|line| line.starts_with(start) && line.contains(words)),
            "{start}…{words} is not in {:#?}",
            report.warnings
        );
    }
}

#[test]
fn a_missing_store_is_an_error_at_its_key() {
    let fixture = Fixture::new();
    fs::remove_file(fixture.path("users")).unwrap();
    let report = fixture.report();
    let start = "restante.toml:20:8: credentials[0].path: users does not exist; restante user add";
    assert!(report.errors.iter().any(|line| line.starts_with(start)), "{report:?}");
}

#[test]
fn stores_are_queried_at_the_same_time_and_reported_in_their_order() {
    let fixture = Fixture::new();
    // Each waits for the others before it fails.
    let store = |nth: usize| {
        let there = |nth: usize| fixture.path(&format!("asked-{nth}")).display().to_string();
        let [first, second, third] = [0, 1, 2].map(there);
        format!(
            "[[credentials]]\nkind = \"checkpassword\"\ndeadline = \"30s\"\n\
             command = [\"/bin/sh\", \"-c\", \"\"\"touch {}\n\
             until [ -e {first} -a -e {second} -a -e {third} ]; do sleep 0.1; done\n\
             echo number {nth} >&2; exit 111\"\"\"]\n",
            there(nth)
        )
    };
    let stores = [0, 1, 2].map(store).concat();
    fixture.write("restante.toml", &format!("{GOOD}{stores}"));
    let report = fixture.report();
    assert_eq!((report.errors.len(), report.unanswered.len()), (0, 3), "{report:?}");
    assert!(
        report.consequence.as_ref().is_some_and(|what| what.contains("the server would start"))
    );
    for (nth, error) in report.unanswered.iter().enumerate() {
        let said = "checkpassword /bin/sh: it cannot tell now (111): number";
        let expected = format!("credentials[{}].kind: {said} {nth}", nth + 1);
        assert!(error.ends_with(&expected), "{expected} is not {error}");
    }
}

#[cfg(feature = "sql")]
#[test]
fn a_store_that_cannot_be_opened_is_reported_offline_too() {
    let fixture = Fixture::new();
    fixture.write("secret", "sesame\n");
    fs::set_permissions(fixture.path("secret"), fs::Permissions::from_mode(0o644)).unwrap();
    let store = "[[credentials]]\nkind = \"sql\"\nurl = \"postgres://restante@127.0.0.1:1/mail\"\n\
                 password-file = \"secret\"\nquery = \"SELECT 1 FROM t WHERE name = {user}\"\n";
    fixture.write("restante.toml", &format!("{GOOD}{store}"));
    let offline = || fixture.report_in(&circumstances(), Extent::Offline);
    let report = offline();
    let start = "restante.toml:24:17: credentials[1].password-file: ";
    assert!(report.errors[0].starts_with(start), "{report:?}");
    assert!(report.consequence.unwrap().ends_with("1 error; the server would not start"));
    fs::set_permissions(fixture.path("secret"), fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(offline().consequence, None, "no server listens at port 1, and it was not queried");
}

#[test]
fn an_empty_store_gets_a_hint() {
    let fixture = Fixture::new();
    fixture.write("users", "# no users yet\n");
    let report = fixture.report();
    assert!(
        report.warnings.iter().any(|line| line.contains("has no users; add one")),
        "{report:?}"
    );
}
