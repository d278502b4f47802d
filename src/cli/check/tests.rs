//! Reports on configurations in a directory of their own.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use super::*;

/// A directory with a configuration and what it names.
struct House(tempfile::TempDir);

impl House {
    fn new() -> Self {
        let house = Self(tempfile::tempdir().unwrap());
        fs::create_dir(house.path("mail")).unwrap();
        house.certificate("tls", &["pop.example.org"]);
        house.write("users", "mrose@example.org:{PLAIN}tanstaaf\n");
        house.write("restante.toml", GOOD);
        house
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

    /// The report, with the directory taken out of its lines.
    fn report(&self, now: SystemTime) -> Report {
        let file = self.path("restante.toml");
        let (mut report, read) = Report::of(&file, now);
        if let Some(read) = read {
            report.ask(&file, &read, Extent::Everything);
        }
        let prefix = format!("{}/", self.0.path().display());
        for line in report.errors.iter_mut().chain(&mut report.silent).chain(&mut report.warnings) {
            *line = line.replace(&prefix, "");
        }
        for (_, what) in &mut report.does {
            *what = what.replace(&prefix, "");
        }
        report
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

const DAY: Duration = Duration::from_secs(86_400);

#[test]
fn a_good_house_is_summed_up() {
    let house = House::new();
    let report = house.report(SystemTime::now());
    assert_eq!(report.errors, [""; 0]);
    let summary = report.summary();
    for line in [
        "  greets as    pop.example.org",
        "  listens on   [::]:995  implicit TLS",
        "  listens on   [::]:110  STLS, no password without it",
        "  users        1 in users",
        "  mail         mail/example.org/mrose  for mrose@example.org",
        "  runs as      whoever starts it, root excepted",
    ] {
        assert!(summary.lines().any(|found| found == line), "{line:?} is not in\n{summary}");
    }
    assert!(summary.contains("  certificate  pop.example.org  "), "{summary}");
}

#[test]
fn errors_of_all_kinds_come_at_once_with_their_places() {
    let house = House::new();
    house.write("tls.key", "not a key");
    house.write("users", "mrose@example.org:{PLAIN}tanstaaf\nno colon here\n");
    house.write("restante.toml", &format!("run-as = \"no-such-user-here\"\n{GOOD}"));
    let report = house.report(SystemTime::now());
    assert_eq!(report.errors.len(), 3, "{report:?}");
    assert!(report.errors[0].starts_with("restante.toml:14:15: tls.private-key: "), "{report:?}");
    assert!(report.errors[1].starts_with("users:2:1: "), "{report:?}");
    assert!(report.errors[2].starts_with("restante.toml:1:10: run-as: there is no user"));
}

#[test]
fn certificate_and_key_are_both_named_when_both_are_missing() {
    let house = House::new();
    fs::remove_file(house.path("tls.crt")).unwrap();
    fs::remove_file(house.path("tls.key")).unwrap();
    let report = house.report(SystemTime::now());
    assert_eq!(report.errors.len(), 2, "{report:?}");
    assert!(report.errors[0].starts_with("restante.toml:12:15: tls.certificate: tls.crt: "));
    assert!(report.errors[1].starts_with("restante.toml:13:15: tls.private-key: tls.key: "));
}

#[test]
fn whom_clients_have_their_certificates_from_is_looked_at() {
    let house = House::new();
    let with_ca = "client-ca = \"clients.pem\"\nprivate-key";
    house.write("restante.toml", &GOOD.replace("private-key", with_ca));
    let certificate = fs::read_to_string(house.path("tls.crt")).unwrap();
    for (text, hint) in [
        (None, "cannot be read: No such file"),
        (Some(String::new()), "has no certificate in it"),
        (Some("-----BEGIN CERTIFICATE-----\nMAA=\n".to_owned()), "is not a whole PEM file"),
        (Some(certificate.replacen("MII", "AAA", 1)), "cannot be used"),
    ] {
        if let Some(text) = text {
            house.write("clients.pem", &text);
        }
        let report = house.report(SystemTime::now());
        assert_eq!(report.errors.len(), 1, "{report:?}");
        let start = format!("restante.toml:13:13: tls.client-ca: clients.pem: {hint}");
        assert!(report.errors[0].starts_with(&start), "{start} is not {report:?}");
    }
    house.write("clients.pem", &certificate.repeat(2));
    let report = house.report(SystemTime::now());
    assert_eq!(report.errors, [""; 0]);
    let summary = report.summary();
    assert!(summary.contains("\n  client-ca    2 certificates in clients.pem\n"), "{summary}");
    let of_no_use = "restante.toml:13:13: tls.client-ca: nobody can log in with a certificate";
    let warned = |report: Report| report.warnings.iter().any(|line| line.starts_with(of_no_use));
    assert!(!warned(report));
    let text = fs::read_to_string(house.path("restante.toml")).unwrap();
    let program = "kind = \"checkpassword\"\ncommand = [\"/bin/false\"]\n";
    let store = "kind = \"file\"\npath = \"users\"\n";
    house.write("restante.toml", &text.replace(store, program));
    assert!(warned(house.report(SystemTime::now())));
}

#[test]
fn mechanisms_that_cannot_be_offered_are_named() {
    let house = House::new();
    let mechanisms = "[auth]\nmechanisms = [\"PLAIN\", \"OAUTHBEARER\", \"EXTERNAL\"]\n[maildir]";
    house.write("restante.toml", &GOOD.replace("[maildir]", mechanisms));
    let about = |report: Report| {
        let lines = report.warnings.into_iter().filter(|line| line.contains(" auth.mechanisms["));
        lines.collect::<Vec<_>>()
    };
    let found = about(house.report(SystemTime::now()));
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0].contains(":16:24: auth.mechanisms[1]: ") && found[0].contains("\"oauth2\""));
    assert!(found[1].contains(" auth.mechanisms[2]: ") && found[1].contains("client-ca"));
    let program = "kind = \"checkpassword\"\ncommand = [\"/bin/false\"]\n";
    let text = GOOD.replace("[maildir]", "[auth]\nmechanisms = [\"SCRAM-SHA-256\"]\n[maildir]");
    house.write("restante.toml", &text.replace("kind = \"file\"\npath = \"users\"\n", program));
    assert_eq!(about(house.report(SystemTime::now())).len(), 1);
}

#[test]
fn a_throttle_that_the_login_timeout_cuts_off_is_named() {
    let house = House::new();
    for (throttle, warned) in [
        ("longest-delay = \"59s\"", false),
        ("longest-delay = \"1m\"", true),
        ("longest-delay = \"1m\"\nfirst-delay = \"0s\"", false),
    ] {
        house.write("restante.toml", &format!("{GOOD}[throttle]\n{throttle}\n"));
        let report = house.report(SystemTime::now());
        let found = report.warnings.iter().any(|line| line.contains(" throttle.longest-delay: "));
        assert_eq!(found, warned, "{throttle}: {report:?}");
    }
}

#[test]
fn files_that_the_user_of_run_as_cannot_read_are_errors() {
    let house = House::new();
    let with_ca = GOOD.replace("private-key", "client-ca = \"clients.pem\"\nprivate-key");
    house.write("restante.toml", &format!("run-as = \"daemon\"\n{with_ca}"));
    fs::copy(house.path("tls.crt"), house.path("clients.pem")).unwrap();
    for name in ["tls.key", "clients.pem", "restante.toml"] {
        fs::set_permissions(house.path(name), fs::Permissions::from_mode(0o600)).unwrap();
    }
    fs::set_permissions(house.0.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let report = house.report(SystemTime::now());
    let named = |lines: &[String], start: &str| lines.iter().any(|line| line.starts_with(start));
    assert!(named(&report.errors, "restante.toml:15:15: tls.private-key: daemon cannot "));
    assert!(named(&report.errors, "restante.toml:14:13: tls.client-ca: daemon cannot "));
    assert!(named(&report.warnings, "restante.toml:1:10: run-as: daemon cannot "), "{report:?}");
}

#[test]
fn users_without_a_maildir_are_counted() {
    let house = House::new();
    house.write("users", "fred@example.org:{PLAIN}x\nmrose@example.org:{PLAIN}x\n");
    let absent = "restante.toml:16:8: maildir.path: there is no Maildir yet for ";
    let found = |report: &Report| report.warnings.iter().find(|w| w.starts_with(absent)).cloned();
    let both = found(&house.report(SystemTime::now())).unwrap();
    assert!(both.contains("2 users (say mail/example.org/fred for fred@example.org)"), "{both}");
    fs::create_dir_all(house.path("mail/example.org/fred")).unwrap();
    fs::create_dir_all(house.path("mail/example.org/mrose")).unwrap();
    assert_eq!(found(&house.report(SystemTime::now())), None);
}

#[test]
fn what_the_file_says_of_a_users_mail_is_what_counts() {
    let house = House::new();
    house.write("restante.toml", &GOOD.replace("mail/{domain}/{local}", "{home}/Maildir"));
    let home = house.path("mail");
    let home = home.display();
    house.write(
        "users",
        &format!(
            "mrose:{{PLAIN}}x::::{home}/mrose::\n\
             fred:{{PLAIN}}x::::::userdb_mail=maildir:{home}/fred\n\
             nobody:{{PLAIN}}x::::::userdb_mail=maildir:%h/Maildir\n\
             bob:{{PLAIN}}x\n"
        ),
    );
    let maildir_path = |report: &Report| {
        let about = report.warnings.iter().filter(|line| line.contains(" maildir.path: "));
        about.map(|line| line.replace("restante.toml:16:8: maildir.path: ", "")).collect()
    };
    let found: Vec<String> = maildir_path(&house.report(SystemTime::now()));
    assert_eq!(
        found,
        [
            "{home} cannot be filled in for 1 user (say bob), who cannot read mail: give each a \
             home directory, or write {user} in place of it",
            "there is no Maildir yet for 2 users (say mail/mrose/Maildir for mrose), who cannot \
             log in until it is made",
        ]
    );
    fs::create_dir_all(house.path("mail/mrose/Maildir")).unwrap();
    fs::create_dir_all(house.path("mail/fred")).unwrap();
    let report = house.report(SystemTime::now());
    assert_eq!(maildir_path(&report).len(), 1, "{report:?}");
    assert!(report.summary().contains("mail/mrose/Maildir  for mrose"), "{report:?}");
}

#[test]
fn maildirs_that_the_user_of_run_as_does_not_get_at_are_counted() {
    let house = House::new();
    house.write("restante.toml", &format!("run-as = \"daemon\"\n{GOOD}"));
    fs::set_permissions(house.0.path(), fs::Permissions::from_mode(0o755)).unwrap();
    for (folder, mode) in [("cur", 0o777), ("new", 0o777), ("tmp", 0o755)] {
        let folder = house.path(&format!("mail/example.org/mrose/{folder}"));
        fs::create_dir_all(&folder).unwrap();
        fs::set_permissions(folder, fs::Permissions::from_mode(mode)).unwrap();
    }
    let open = [("mail/example.org", 0o755), ("mail/example.org/mrose/cur", 0o777)];
    let warning = |modes: [(&str, u32); 2]| {
        for (path, mode) in modes {
            fs::set_permissions(house.path(path), fs::Permissions::from_mode(mode)).unwrap();
        }
        let report = house.report(SystemTime::now());
        report.warnings.into_iter().find(|line| line.contains("cannot fetch mail"))
    };
    assert_eq!(warning(open), None);
    let [above, cur] = open;
    for (modes, why) in [
        ([(above.0, 0o700), cur], "daemon cannot enter "),
        ([above, (cur.0, 0o755)], "daemon cannot read and write mail/example.org/mrose/cur"),
    ] {
        let start = "restante.toml:17:8: maildir.path: 1 user (say mrose@example.org) cannot fetch \
                     mail, or not remove it: ";
        let line = warning(modes).unwrap();
        assert!(line.starts_with(&format!("{start}{why}")), "{line}");
    }
    // What every login would refuse is not fine because nobody is kept from it.
    for folder in ["tmp", "new"] {
        let path = house.path("mail/example.org/mrose").join(folder);
        fs::remove_dir(&path).unwrap();
        let missing = warning(open).unwrap();
        assert!(missing.contains(&format!("open mail/example.org/mrose/{folder}: ")), "{missing}");
        std::os::unix::fs::symlink("cur", &path).unwrap();
        let link = warning(open).unwrap();
        assert!(link.contains(&format!("open mail/example.org/mrose/{folder}: not a ")), "{link}");
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).unwrap();
    }
}

#[test]
fn faults_of_the_file_itself_are_reported_alone() {
    let house = House::new();
    house.write("restante.toml", &GOOD.replace("implicit", "ssl").replace("[::]:110", "110"));
    let report = house.report(SystemTime::now());
    assert_eq!(report.errors.len(), 2, "{report:?}");
    assert!(report.errors[0].starts_with("restante.toml:5:7: listen[0].tls: "), "{report:?}");
    assert!(report.does.is_empty(), "{report:?}");
}

#[test]
fn warnings_name_what_needs_a_look() {
    let house = House::new();
    house.certificate("tls", &["mail.example.org"]);
    house.write("users", "mrose:{PLAIN}x\nfred@example.org:{DES-CRYPT}x\n");
    fs::remove_dir(house.path("mail")).unwrap();
    let report = house.report(SystemTime::now());
    assert_eq!(report.errors, [""; 0]);
    for (start, words) in [
        ("restante.toml:12:15: tls.certificate: ", "for mail.example.org, not for pop.example.org"),
        ("users:2:1: ", "fred@example.org"),
        ("restante.toml:16:8: maildir.path: ", "filled in for 1 user (say mrose)"),
        ("restante.toml:16:8: maildir.path: ", "mail is not a directory"),
    ] {
        assert!(
            report.warnings.iter().any(|line| line.starts_with(start) && line.contains(words)),
            "{start}…{words} is not in {:#?}",
            report.warnings
        );
    }
}

#[test]
fn dates_of_certificates_are_looked_at() {
    let house = House::new();
    let report = house.report(SystemTime::UNIX_EPOCH + DAY);
    let warned = report.warnings.iter().any(|line| line.contains("tls.certificate: "));
    assert!(warned, "{report:?}");
}

#[test]
fn two_users_in_one_maildir_are_named() {
    let house = House::new();
    house.write("users", "mrose@example.org:{PLAIN}x\nmrose@example.net:{PLAIN}x\n");
    house.write("restante.toml", &GOOD.replace("{domain}/{local}", "{local}"));
    let report = house.report(SystemTime::now());
    let shared = "mail/mrose is the Maildir of mrose@example.org and of mrose@example.net: ";
    assert!(report.warnings.iter().any(|line| line.contains(shared)), "{report:?}");
}

#[test]
fn a_name_that_has_its_own_certificate_is_not_asked_of_the_default_one() {
    let house = House::new();
    house.certificate("tls", &["other.example.org"]);
    house.certificate("own", &["*.example.org"]);
    let host = "[[tls.host]]\nnames = [\"pop.example.org\"]\ncertificate = \"own.crt\"\nprivate-key = \"own.key\"\n";
    house.write("restante.toml", &format!("{GOOD}\n{host}"));
    let report = house.report(SystemTime::now());
    assert!(!report.warnings.iter().any(|line| line.contains("not for")), "{report:?}");
}

#[test]
fn a_store_that_is_not_there_is_an_error_where_it_is_named() {
    let house = House::new();
    fs::remove_file(house.path("users")).unwrap();
    let report = house.report(SystemTime::now());
    let start = "restante.toml:20:8: credentials[0].path: users is not there; restante user add";
    assert!(report.errors.iter().any(|line| line.starts_with(start)), "{report:?}");
}

#[test]
fn stores_are_asked_at_the_same_time_and_reported_in_their_order() {
    let house = House::new();
    // Each waits for the others before it says that it cannot tell.
    let store = |nth: usize| {
        let there = |nth: usize| house.path(&format!("asked-{nth}")).display().to_string();
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
    house.write("restante.toml", &format!("{GOOD}{stores}"));
    let report = house.report(SystemTime::now());
    assert_eq!((report.errors.len(), report.silent.len()), (0, 3), "{report:?}");
    assert!(report.consequence().is_some_and(|what| what.contains("the server would start")));
    for (nth, error) in report.silent.iter().enumerate() {
        let said = "checkpassword /bin/sh: it cannot tell now (111): number";
        let expected = format!("credentials[{}].kind: {said} {nth}", nth + 1);
        assert!(error.ends_with(&expected), "{expected} is not {error}");
    }
}

#[test]
fn what_keeps_a_store_from_being_opened_is_said_offline_too() {
    let house = House::new();
    house.write("secret", "sesame\n");
    fs::set_permissions(house.path("secret"), fs::Permissions::from_mode(0o644)).unwrap();
    let store = "[[credentials]]\nkind = \"sql\"\nurl = \"postgres://restante@127.0.0.1:1/mail\"\n\
                 password-file = \"secret\"\nquery = \"SELECT 1 FROM t WHERE name = {user}\"\n";
    house.write("restante.toml", &format!("{GOOD}{store}"));
    let offline = || {
        let (mut report, read) = Report::of(&house.path("restante.toml"), SystemTime::now());
        report.ask(Path::new("restante.toml"), &read.unwrap(), Extent::Offline);
        report
    };
    let report = offline();
    let start = "restante.toml:24:17: credentials[1].password-file: ";
    assert!(report.errors[0].starts_with(start), "{report:?}");
    assert_eq!(report.consequence(), Some("the server would not start"));
    fs::set_permissions(house.path("secret"), fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(offline().consequence(), None, "nobody listens at port 1, and nobody asked");
}

#[test]
fn an_empty_store_gets_a_hint() {
    let house = House::new();
    house.write("users", "# nobody yet\n");
    let report = house.report(SystemTime::now());
    assert!(
        report.warnings.iter().any(|line| line.contains("has no users, add one")),
        "{report:?}"
    );
}

#[test]
fn names_in_certificates() {
    for (has, name, covered) in [
        ("pop.example.org", "POP.example.org", true),
        ("*.example.org", "pop.example.org", true),
        ("*.example.org", "example.org", false),
        ("*.example.org", "a.pop.example.org", false),
        ("*.example.org", "*.example.org", true),
        ("pop.example.org", "*.example.org", false),
        ("*.org", "*.example.org", false),
        ("*.example.org", "*.a.example.org", false),
    ] {
        assert_eq!(covers(has, name), covered, "{has} {name}");
    }
}

#[test]
fn the_root_of_a_template() {
    for (template, root) in [
        ("/var/vmail/{domain}/{local}/Maildir", Some("/var/vmail")),
        ("/var/vmail/x-{user}", Some("/var/vmail")),
        ("/{user}", Some("/")),
        ("{home}/Maildir", None),
    ] {
        assert_eq!(root_of(Path::new(template)), root.map(Path::new), "{template}");
    }
}
