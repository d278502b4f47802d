//! Reports on the lists of unique-ids of other servers.

use super::*;

/// The warnings about this key.
fn warnings(report: &Lines, key: &str) -> Vec<String> {
    let about = |line: &&String| line.contains(&format!(" {key}: "));
    report.warnings.iter().filter(about).cloned().collect()
}

/// A fixture with Maildirs of these users, and these lines at the end of `[maildir]`.
fn fixture(users: &[&str], lines: &str) -> Fixture {
    let fixture = Fixture::new();
    let names: String =
        users.iter().map(|user| format!("{user}@example.org:{{PLAIN}}x\n")).collect();
    fixture.write("users", &names);
    for user in users {
        for folder in ["cur", "new", "tmp"] {
            fs::create_dir_all(fixture.path(&format!("mail/example.org/{user}/{folder}"))).unwrap();
        }
    }
    let path = "path = \"mail/{domain}/{local}\"\n";
    fixture.write("restante.toml", &GOOD.replace(path, &format!("{path}{lines}")));
    fixture
}

#[test]
fn maildirs_with_an_old_list_that_is_not_used_are_counted() {
    let fixture = fixture(&["fred", "jon", "mrose"], "");
    let unclaimed = |fixture: &Fixture| warnings(&fixture.report(), "maildir.uidl");
    assert_eq!(unclaimed(&fixture), [""; 0]);
    fixture.write("mail/example.org/fred/dovecot-uidlist", "");
    fixture.write("mail/example.org/jon/courierpop3dsizelist", "");
    fixture.write("mail/example.org/mrose/dovecot-uidlist", "");
    let line = |users: &str, list: &str, source: &str| {
        format!(
            "restante.toml:15:1: maildir.uidl: is not set, and mail/example.org/{list} has the unique-ids \
             that clients of {users} know; write uidl = [\"{source}\", \"base-name\"] under [maildir], \
             or uidl = [\"name\"] if clients know the unique-ids of this server already, or may \
             download all mail again"
        )
    };
    let both = line("2 users (such as fred@example.org)", "fred/dovecot-uidlist", "dovecot");
    let one = line("1 user (jon@example.org)", "jon/courierpop3dsizelist", "courier");
    assert_eq!(unclaimed(&fixture), [both, one]);
    // Mail that this server has listed has the unique-ids that it has listed.
    fixture.write("mail/example.org/fred/restante.index", "");
    fixture.write("mail/example.org/jon/restante.uids", "");
    let left = line("1 user (mrose@example.org)", "mrose/dovecot-uidlist", "dovecot");
    assert_eq!(unclaimed(&fixture), [left]);
    let text = fs::read_to_string(fixture.path("restante.toml")).unwrap();
    for written in ["uidl = [\"name\"]", "uidl = [\"dovecto\"]"] {
        fixture
            .write("restante.toml", &text.replace("[maildir]", &format!("[maildir]\n{written}")));
        assert_eq!(unclaimed(&fixture), [""; 0], "{written}");
    }
}

/// Whatever the size of the sample.
#[test]
fn an_old_list_of_any_user_is_found() {
    let users: Vec<_> = (0..150).map(|number| format!("user{number}")).collect();
    let fixture = fixture(&users.iter().map(String::as_str).collect::<Vec<_>>(), "");
    // The sample has every second one.
    for number in [1, 3, 149] {
        fixture.write(&format!("mail/example.org/user{number}/courierpop3dsizelist"), "");
    }
    let [warning] = &warnings(&fixture.report(), "maildir.uidl")[..] else { panic!("one warning") };
    let words = "user1/courierpop3dsizelist has the unique-ids that clients of 3 users (such as \
                 user1@example.org) know; ";
    assert!(warning.contains(words), "{warning}");
}

/// Where Dovecot had it, if the configuration says where.
#[test]
fn an_old_list_elsewhere_is_found() {
    let fixture = fixture(&["fred"], "dovecot.control = \"control/{local}\"\n");
    fs::create_dir_all(fixture.path("control/fred")).unwrap();
    fixture.write("control/fred/dovecot-uidlist", "");
    let [warning] = &warnings(&fixture.report(), "maildir.uidl")[..] else { panic!("one warning") };
    assert!(warning.contains(" control/fred/dovecot-uidlist has the unique-ids "), "{warning}");
}

#[test]
fn a_wrong_format_is_an_error_at_its_place() {
    let lines = "uidl = [\"dovecot\"]\n[maildir.dovecot]\nformat = \"%u%k\"\n";
    let report = fixture(&["fred"], lines).report();
    assert_eq!(report.errors.len(), 1, "{report:?}");
    let start = "restante.toml:19:10: maildir.dovecot.format: there is no variable %k; ";
    assert!(report.errors[0].starts_with(start), "{report:?}");
}

/// A fixture with lists outside of the Maildirs, for a server that runs as `daemon`.
fn with_lists_elsewhere() -> Fixture {
    let fixture = fixture(
        &["fred", "mrose"],
        "uidl = [\"map\", \"dovecot\", \"courier\"]\n\
         dovecot.control = \"control/{local}/.INBOX\"\nmap.path = \"ids/{user}\"\n",
    );
    let text = fs::read_to_string(fixture.path("restante.toml")).unwrap();
    fixture.write("restante.toml", &format!("run-as = \"daemon\"\n{text}"));
    set_mode(&fixture, "", 0o755);
    fixture
}

fn set_mode(fixture: &Fixture, name: &str, mode: u32) {
    fs::set_permissions(fixture.path(name), fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn lists_that_cannot_be_read_are_named() {
    let fixture = with_lists_elsewhere();
    let found = |key: &str| warnings(&fixture.report(), key);
    let [control] = &found("maildir.dovecot.control")[..] else { panic!("one warning") };
    let start = "restante.toml:19:19: maildir.dovecot.control: control does not exist, so no ";
    assert!(control.starts_with(start), "{control}");
    let [map] = &found("maildir.map.path")[..] else { panic!("one warning") };
    assert!(map.starts_with("restante.toml:20:12: maildir.map.path: ids does not exist"), "{map}");
    for user in ["fred", "mrose"] {
        fs::create_dir_all(fixture.path(&format!("control/{user}/.INBOX"))).unwrap();
        fixture.write(&format!("control/{user}/.INBOX/dovecot-uidlist"), "");
    }
    fs::create_dir(fixture.path("ids")).unwrap();
    fixture.write("ids/fred@example.org", "");
    fixture.write("mail/example.org/mrose/courierpop3dsizelist", "");
    for key in ["maildir.uidl", "maildir.dovecot.control", "maildir.map.path"] {
        assert_eq!(found(key), [""; 0]);
    }
    set_mode(&fixture, "control/fred", 0o700);
    set_mode(&fixture, "control/mrose/.INBOX/dovecot-uidlist", 0o600);
    set_mode(&fixture, "ids/fred@example.org", 0o600);
    set_mode(&fixture, "mail/example.org/mrose/courierpop3dsizelist", 0o600);
    for (key, line) in [
        (
            "maildir.uidl",
            "18:8: maildir.uidl: the unique-ids of 1 user (mrose@example.org) cannot be read: daemon \
             cannot read mail/example.org/mrose/courierpop3dsizelist: ",
        ),
        (
            "maildir.dovecot.control",
            "19:19: maildir.dovecot.control: the unique-ids of 2 users (such as fred@example.org) \
             cannot be read: daemon cannot enter control/fred, a directory above ",
        ),
        (
            "maildir.map.path",
            "20:12: maildir.map.path: the unique-ids of 1 user (fred@example.org) cannot be read: \
             daemon cannot read ids/fred@example.org: ",
        ),
    ] {
        let [warning] = &found(key)[..] else { panic!("one warning at {key}") };
        assert!(warning.starts_with(&format!("restante.toml:{line}")), "{warning}");
    }
}

#[test]
fn lists_that_the_unit_hides_are_named() {
    let fixture = with_lists_elsewhere();
    fs::create_dir_all(fixture.path("control/fred/.INBOX")).unwrap();
    let file = fixture.path("restante.toml").canonicalize().unwrap();
    let hidden = fixture.path("control").canonicalize().unwrap();
    let text = format!(
        "LoadState=loaded\nExecStart=restante serve --config {} ;\nInaccessiblePaths={}\n",
        file.display(),
        hidden.display()
    );
    let circumstances = Circumstances { unit: Unit::parse(&text, &file), ..circumstances() };
    let report = fixture.report_in(&circumstances, Extent::Offline);
    let [warning] = &warnings(&report, "maildir.dovecot.control")[..] else { panic!("{report:?}") };
    let words =
        "control/fred/.INBOX/dovecot-uidlist is hidden from restante.service by ProtectHome=";
    assert!(warning.contains(words), "{warning}");
}
